//! Names from the host, as they appear in the text of filters and in warnings.
//!
//! A host may take such a name from its own users. A raw name could imitate other parts of the text, add lines to a log,
//! or control a terminal.
//!
//! Plain values; nothing here is shared.

use std::fmt;

/// The name of a connector or a session. A name of letters, digits and the characters `-_.:@+` prints as it is. Any
/// other name is quoted and escaped like a Rust string.
pub(crate) struct Name<'a>(pub(crate) &'a str);

impl fmt::Display for Name<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let is_plain = |c: char| c.is_alphanumeric() || "-_.:@+".contains(c);
        if !self.0.is_empty() && self.0.chars().all(is_plain) {
            f.write_str(self.0)
        } else {
            write!(f, "{:?}", self.0)
        }
    }
}
