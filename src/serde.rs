//! The names of kinds and origins, which are serialized in their `Display` form. Filters have their own file,
//! `filter/serialized.rs`. The other implementations are derived where the types are declared.
//!
//! Plain values; nothing here is shared.

use std::fmt;

use serde::de::{self, Deserialize, Deserializer, Visitor};
use serde::ser::{Serialize, Serializer};

use crate::event::{EventKind, EventOrigin};

macro_rules! as_name {
    ($($name:ident, $expecting:literal;)+) => { $(
        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(self.as_str())
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                struct Name;

                impl Visitor<'_> for Name {
                    type Value = $name;

                    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                        f.write_str($expecting)
                    }

                    fn visit_str<Error: de::Error>(self, text: &str) -> Result<$name, Error> {
                        text.parse().map_err(|_| de::Error::invalid_value(de::Unexpected::Str(text), &self))
                    }
                }

                deserializer.deserialize_str(Name)
            }
        }
    )+ };
}

as_name! {
    EventKind, "the name of an event kind";
    EventOrigin, "the name of an event origin";
}
