//! The hand-written parts of the feature `serde`. The other implementations are derived where the types are declared.
//!
//! Names are serialized in their `Display` form. Filters have their own depth limit, because a deserializer may have
//! none. A deeply nested filter could overflow the stack of the thread that deserializes it, or of the dispatch thread
//! that evaluates it. A thread-local variable holds the depth, so threads share nothing.

use std::cell::Cell;
use std::fmt;

use serde::de::{self, Deserialize, Deserializer, Visitor};
use serde::ser::{self, Serialize, Serializer};

use crate::event::{EventKind, EventOrigin};
use crate::filter::CustomFilter;

/// Maximum nesting depth of `any`, `all` and `not`. serde_json can read this depth: its own limit is 128 levels.
const MAX_DEPTH: usize = 32;

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

/// Serialization and deserialization of the filters inside `any`, `all` and `not`, with the depth limit.
pub(crate) mod combined {
    use super::*;

    pub(crate) fn serialize<T: Serialize, S: Serializer>(filters: &T, serializer: S) -> Result<S::Ok, S::Error> {
        let _level = Level::enter().ok_or_else(|| ser::Error::custom(TooDeep))?;
        filters.serialize(serializer)
    }

    pub(crate) fn deserialize<'de, T: Deserialize<'de>, D: Deserializer<'de>>(deserializer: D) -> Result<T, D::Error> {
        let _level = Level::enter().ok_or_else(|| de::Error::custom(TooDeep))?;
        T::deserialize(deserializer)
    }
}

/// Returns an error, because a custom filter is a function and has no serialized form.
pub(crate) fn refuse_custom<E, S: Serializer>(_: &CustomFilter<E>, _: S) -> Result<S::Ok, S::Error> {
    Err(ser::Error::custom(
        "a custom filter is a function and cannot be serialized",
    ))
}

struct TooDeep;

impl fmt::Display for TooDeep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "filters are nested more than {MAX_DEPTH} deep")
    }
}

thread_local! {
    static DEPTH: Cell<usize> = const { Cell::new(0) };
}

/// Guard for one level of nesting. It decrements the depth when it is dropped.
struct Level;

impl Level {
    /// Increments the depth, or returns `None` at the limit.
    fn enter() -> Option<Level> {
        DEPTH.with(|depth| {
            let deeper = depth.get() + 1;
            (deeper <= MAX_DEPTH).then(|| {
                depth.set(deeper);
                Level
            })
        })
    }
}

impl Drop for Level {
    fn drop(&mut self) {
        DEPTH.with(|depth| depth.set(depth.get() - 1));
    }
}
