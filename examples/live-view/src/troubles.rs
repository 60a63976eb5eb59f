//! What goes wrong with a source, said on standard error.

use std::fmt::Display;

pub(crate) struct Troubles;

impl Troubles {
    pub(crate) fn report(&self, trouble: impl Display) {
        eprintln!("live-view: {trouble}");
    }
}
