//! The serialized form of a filter.
//!
//! In a text format, a filter is the string `"*"`, or a map from the name of the variant to its content. Every text
//! format has strings and maps, while formats differ in how they write an enum, and some cannot write an enum within
//! an enum. Reading this form requires a self-describing format.
//!
//! In a binary format, a filter is an enum with newtype variants, because such a format need not be self-describing.
//! The indices of the variants are part of that form, so they never change.
//!
//! A deserializer may have no limit of its own for nesting. A deeply nested filter could then overflow the stack of
//! the deserializing thread, so this module limits the depth in both directions.
//!
//! Plain values; nothing here is shared.

use std::fmt;
use std::marker::PhantomData;

use serde::de::{self, Deserialize, DeserializeSeed, Deserializer, EnumAccess, MapAccess, SeqAccess, Visitor};
use serde::de::{Unexpected, VariantAccess};
use serde::ser::{self, Serialize, SerializeMap, SerializeSeq, Serializer};

use crate::filter::{EventFilter, Operator};
use crate::sync::Arc;

/// Maximum nesting depth of `any`, `all` and `not`. A level of a filter is up to two levels of the format. Common
/// formats allow 128, some of which belong to the surrounding document.
const MAX_DEPTH: usize = 32;

/// The name of the enum in a binary format.
const ENUM: &str = "EventFilter";

/// The variants that have a serialized form.
#[derive(Clone, Copy, PartialEq)]
enum Variant {
    All,
    ScrollId,
    ConnectorUid,
    ConnectorId,
    Session,
    Kind,
    Origin,
    Any,
    Every,
    Not,
}

impl Variant {
    /// The variants in order of index.
    const ALL: [Variant; 10] = [
        Variant::All,
        Variant::ScrollId,
        Variant::ConnectorUid,
        Variant::ConnectorId,
        Variant::Session,
        Variant::Kind,
        Variant::Origin,
        Variant::Any,
        Variant::Every,
        Variant::Not,
    ];

    /// The names of the variants, in order of index.
    const NAMES: [&str; 10] = [
        "*",
        "scroll_id",
        "connector_uid",
        "connector_id",
        "session",
        "kind",
        "origin",
        "any",
        "all",
        "not",
    ];

    fn name(self) -> &'static str {
        Self::NAMES[self as usize]
    }
}

/// The names of a session, as in [`EventFilter::Session`].
#[derive(serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Session {
    connector_id: Arc<str>,
    native_session_id: Arc<str>,
}

struct TooDeep;

impl fmt::Display for TooDeep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "filters are nested more than {MAX_DEPTH} deep")
    }
}

fn deeper(depth: usize) -> Result<usize, TooDeep> {
    if depth < MAX_DEPTH { Ok(depth + 1) } else { Err(TooDeep) }
}

impl<E> Serialize for EventFilter<E> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let depth = 0;
        Nested { filter: self, depth }.serialize(serializer)
    }
}

/// A filter and the number of levels around it.
struct Nested<'a, E> {
    filter: &'a EventFilter<E>,
    depth: usize,
}

impl<E> Serialize for Nested<'_, E> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let deeper = || deeper(self.depth).map_err(ser::Error::custom);
        match self.filter {
            EventFilter::All if serializer.is_human_readable() => serializer.serialize_str(Variant::All.name()),
            EventFilter::All => serializer.serialize_unit_variant(ENUM, Variant::All as u32, Variant::All.name()),
            EventFilter::ScrollId(id) => write(serializer, Variant::ScrollId, id),
            EventFilter::ConnectorUid(uid) => write(serializer, Variant::ConnectorUid, uid),
            EventFilter::ConnectorId(id) => write(serializer, Variant::ConnectorId, id),
            EventFilter::Session {
                connector_id,
                native_session_id,
            } => {
                let session = Session {
                    connector_id: Arc::clone(connector_id),
                    native_session_id: Arc::clone(native_session_id),
                };
                write(serializer, Variant::Session, &session)
            }
            EventFilter::Kind(kind) => write(serializer, Variant::Kind, kind),
            EventFilter::Origin(origin) => write(serializer, Variant::Origin, origin),
            EventFilter::Any(list) => write(serializer, Variant::Any, &List::new(Operator::Any, list, deeper()?)),
            EventFilter::Every(list) => write(serializer, Variant::Every, &List::new(Operator::Every, list, deeper()?)),
            EventFilter::Not(filter) => {
                let depth = deeper()?;
                write(serializer, Variant::Not, &Nested { filter, depth })
            }
            EventFilter::Custom(_) => Err(ser::Error::custom(
                "a custom filter is a function and cannot be serialized",
            )),
        }
    }
}

fn write<S: Serializer, T: Serialize + ?Sized>(
    serializer: S,
    variant: Variant,
    content: &T,
) -> Result<S::Ok, S::Error> {
    if serializer.is_human_readable() {
        let mut map = serializer.serialize_map(Some(1))?;
        map.serialize_entry(variant.name(), content)?;
        map.end()
    } else {
        serializer.serialize_newtype_variant(ENUM, variant as u32, variant.name(), content)
    }
}

/// The list of an `any` or `all`, and the number of levels around its parts. The serialized list has no runs.
struct List<'a, E> {
    operator: Operator,
    list: &'a [EventFilter<E>],
    depth: usize,
}

impl<'a, E> List<'a, E> {
    fn new(operator: Operator, list: &'a [EventFilter<E>], depth: usize) -> Self {
        List { operator, list, depth }
    }
}

impl<E> Serialize for List<'_, E> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let depth = self.depth;
        // Some binary formats need the length.
        let length = self.operator.members(self.list).count();
        let mut parts = serializer.serialize_seq(Some(length))?;
        for filter in self.operator.members(self.list) {
            parts.serialize_element(&Nested { filter, depth })?;
        }
        parts.end()
    }
}

impl<'de, E> Deserialize<'de> for EventFilter<E> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        FilterSeed::new(0).deserialize(deserializer)
    }
}

/// Deserializes a filter with this number of levels around it.
struct FilterSeed<E> {
    depth: usize,
    filter: PhantomData<EventFilter<E>>,
}

impl<E> FilterSeed<E> {
    fn new(depth: usize) -> Self {
        let filter = PhantomData;
        FilterSeed { depth, filter }
    }

    fn content(&self, variant: Variant) -> ContentSeed<E> {
        ContentSeed {
            variant,
            depth: self.depth,
            filter: PhantomData,
        }
    }
}

impl<'de, E> DeserializeSeed<'de> for FilterSeed<E> {
    type Value = EventFilter<E>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<EventFilter<E>, D::Error> {
        if deserializer.is_human_readable() {
            deserializer.deserialize_any(self)
        } else {
            deserializer.deserialize_enum(ENUM, &Variant::NAMES, self)
        }
    }
}

impl<'de, E> Visitor<'de> for FilterSeed<E> {
    type Value = EventFilter<E>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a filter: \"*\", or a map with one key")
    }

    fn visit_str<Error: de::Error>(self, text: &str) -> Result<EventFilter<E>, Error> {
        match VariantSeed.visit_str(text)? {
            Variant::All => Ok(EventFilter::All),
            _ => Err(Error::invalid_type(Unexpected::UnitVariant, &self)),
        }
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<EventFilter<E>, A::Error> {
        let Some(variant) = map.next_key_seed(VariantSeed)? else {
            return Err(de::Error::invalid_length(0, &self));
        };
        let filter = map.next_value_seed(self.content(variant))?;
        match map.next_key_seed(VariantSeed)? {
            None => Ok(filter),
            Some(_) => Err(de::Error::invalid_length(2, &self)),
        }
    }

    fn visit_enum<A: EnumAccess<'de>>(self, data: A) -> Result<EventFilter<E>, A::Error> {
        let (variant, content) = data.variant_seed(VariantSeed)?;
        match variant {
            Variant::All => content.unit_variant().map(|()| EventFilter::All),
            _ => content.newtype_variant_seed(self.content(variant)),
        }
    }
}

/// Deserializes a variant by its name or its index.
struct VariantSeed;

impl<'de> DeserializeSeed<'de> for VariantSeed {
    type Value = Variant;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Variant, D::Error> {
        if deserializer.is_human_readable() {
            // The name is a key of a map. Some formats write an identifier differently.
            deserializer.deserialize_str(self)
        } else {
            deserializer.deserialize_identifier(self)
        }
    }
}

impl Visitor<'_> for VariantSeed {
    type Value = Variant;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the name of a filter variant")
    }

    fn visit_str<Error: de::Error>(self, name: &str) -> Result<Variant, Error> {
        let found = Variant::ALL.into_iter().find(|variant| variant.name() == name);
        found.ok_or_else(|| Error::unknown_variant(name, &Variant::NAMES))
    }

    fn visit_bytes<Error: de::Error>(self, name: &[u8]) -> Result<Variant, Error> {
        self.visit_str(&String::from_utf8_lossy(name))
    }

    fn visit_u64<Error: de::Error>(self, index: u64) -> Result<Variant, Error> {
        let variant = usize::try_from(index).ok().and_then(|index| Variant::ALL.get(index));
        variant
            .copied()
            .ok_or_else(|| Error::invalid_value(Unexpected::Unsigned(index), &"the index of a filter variant"))
    }
}

/// Deserializes the content of a variant.
struct ContentSeed<E> {
    variant: Variant,
    depth: usize,
    filter: PhantomData<EventFilter<E>>,
}

impl<'de, E> DeserializeSeed<'de> for ContentSeed<E> {
    type Value = EventFilter<E>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<EventFilter<E>, D::Error> {
        let deeper = || deeper(self.depth).map_err(de::Error::custom);
        Ok(match self.variant {
            // Version 0.1 wrote a map with this key for a flattened field.
            Variant::All => <()>::deserialize(deserializer).map(|()| EventFilter::All)?,
            Variant::ScrollId => EventFilter::ScrollId(Deserialize::deserialize(deserializer)?),
            Variant::ConnectorUid => EventFilter::ConnectorUid(Deserialize::deserialize(deserializer)?),
            Variant::ConnectorId => EventFilter::ConnectorId(Deserialize::deserialize(deserializer)?),
            Variant::Session => {
                let Session {
                    connector_id,
                    native_session_id,
                } = Deserialize::deserialize(deserializer)?;
                EventFilter::Session {
                    connector_id,
                    native_session_id,
                }
            }
            Variant::Kind => EventFilter::Kind(Deserialize::deserialize(deserializer)?),
            Variant::Origin => EventFilter::Origin(Deserialize::deserialize(deserializer)?),
            Variant::Any => EventFilter::any(deserializer.deserialize_seq(ListVisitor(FilterSeed::new(deeper()?)))?),
            Variant::Every => EventFilter::all(deserializer.deserialize_seq(ListVisitor(FilterSeed::new(deeper()?)))?),
            Variant::Not => EventFilter::not(FilterSeed::new(deeper()?).deserialize(deserializer)?),
        })
    }
}

/// Deserializes the list of an `any` or `all`. The seed is that of each part.
struct ListVisitor<E>(FilterSeed<E>);

impl<'de, E> Visitor<'de> for ListVisitor<E> {
    type Value = Vec<EventFilter<E>>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a sequence of filters")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut parts: A) -> Result<Vec<EventFilter<E>>, A::Error> {
        let mut filters = Vec::new();
        while let Some(filter) = parts.next_element_seed(FilterSeed::new(self.0.depth))? {
            filters.push(filter);
        }
        Ok(filters)
    }
}
