//! Conversion between an event's routing and the subject it is published on.
//!
//! All functions are pure. A subject is `sb1.<realm>.<class>.<connector>.<session>.<scroll>.<kind>`. Each id is one
//! token, so a server can select events by any id. Every id has exactly one token, and apart from long ids (see below),
//! no two ids share a token. A token that no id maps to is refused. A subscriber of an id therefore misses none of its
//! events.
//!
//! Tokens keep ASCII letters, digits, `-` and `_`. Every other byte of UTF-8 becomes `=` and two upper-case hex
//! digits, like percent-encoding. `=` is legal both in subjects and in keys of JetStream buckets, whereas `%` is not
//! legal in keys. `_` alone means that no id is bound, so the id `_` becomes `=5F`. The empty id becomes `=`.
//!
//! A token of more than [`MAX_TOKEN_LEN`] bytes is replaced by `==` and a hash of the id. The id then travels in a
//! header. The hash is a UUID of version 5 (RFC 9562): SHA-1 in a namespace of this crate. It is the same in every
//! release, on every machine and in every language. Two ids with the same hash share only a subject: receivers read the
//! id from the header and evaluate filters with that id.

use std::borrow::Cow;
use std::fmt::{self, Write};

use async_nats::HeaderName;
use sharing_bus::EventRouting;
use uuid::Uuid;

/// The first token: the format and its version.
const VERSION: &str = "sb1";

/// The first token of archived events. It differs from the token of live events, so that no subscriber receives both.
const ARCHIVE: &str = "sb1-archive";

/// The token of an id that is not bound.
const UNBOUND: &str = "_";

/// Maximum length of a token or realm in bytes. It limits a subject to fewer than 300 bytes.
const MAX_TOKEN_LEN: usize = 64;

/// The namespace of hashed ids. It is random and must never change.
const HASH_NAMESPACE: Uuid = Uuid::from_u128(0x5d9c_6f0e_3b1a_4c57_9a42_e86d_70f1_2bc3);

/// The connector's id if its token is a hash, encoded like a token but of any length.
pub(crate) const CONNECTOR_ID: HeaderName = HeaderName::from_static("Sb-Connector-Id");
/// The session's id if its token is a hash, encoded like a token but of any length.
pub(crate) const SESSION_ID: HeaderName = HeaderName::from_static("Sb-Session-Id");
/// The connector's unique id, which has no token in the subject.
pub(crate) const CONNECTOR_UID: HeaderName = HeaderName::from_static("Sb-Connector-Uid");

/// A group of bridges that exchange events. Bridges of different realms on one NATS account do not receive each
/// other's events.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Realm(String);

impl Realm {
    /// Creates a realm. A realm is one unencoded token, so that operators can name it in permissions.
    pub(crate) fn new(name: &str) -> Result<Realm, InvalidRealm> {
        if name.is_empty() || name.len() > MAX_TOKEN_LEN || !name.bytes().all(is_plain) {
            return Err(InvalidRealm(name.to_owned()));
        }
        Ok(Realm(name.to_owned()))
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

/// The error for a realm that is not 1 to 64 ASCII letters, digits, `-` and `_`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvalidRealm(String);

impl fmt::Display for InvalidRealm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "not a realm of 1 to 64 ASCII letters, digits, '-' and '_': {:?}",
            self.0
        )
    }
}

impl std::error::Error for InvalidRealm {}

/// The class of an event, which the exporting host chooses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Class {
    /// An event that must not be lost. An archive stores it.
    Essential,
    /// An event that may be lost, because a later event replaces it.
    Delta,
}

impl Class {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Class::Essential => "essential",
            Class::Delta => "delta",
        }
    }

    fn parse(token: &str) -> Option<Class> {
        [Class::Essential, Class::Delta]
            .into_iter()
            .find(|class| class.as_str() == token)
    }
}

/// A subject, and the headers for the parts of the routing that the subject does not contain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Subject {
    pub(crate) text: String,
    /// The hashed ids and the connector's unique id, as legal header values.
    pub(crate) headers: Vec<(HeaderName, String)>,
}

/// Returns the subject on which an event with this routing is published.
pub(crate) fn subject(realm: &Realm, class: Class, routing: &EventRouting) -> Subject {
    let mut headers = Vec::new();
    if let Some(uid) = routing.connector_uid {
        headers.push((CONNECTOR_UID, uid.to_string()));
    }
    let mut name = |id, header: HeaderName| match id {
        None => Cow::Borrowed(UNBOUND),
        Some(id) => {
            let token = Token::of(id);
            headers.extend(token.encoded_id.map(|encoded_id| (header, encoded_id)));
            token.text
        }
    };
    let connector = name(routing.connector_id.as_deref(), CONNECTOR_ID);
    let session = name(routing.native_session_id.as_deref(), SESSION_ID);
    let mut buffer = Uuid::encode_buffer();
    let scroll = match routing.scroll_id {
        None => UNBOUND,
        Some(id) => id.hyphenated().encode_lower(&mut buffer),
    };
    let text = join(
        realm,
        class.as_str(),
        [&connector, &session, scroll, routing.kind.as_str()],
    );
    Subject { text, headers }
}

/// Joins the tokens of a subject. Tokens may be wildcards.
pub(crate) fn join(realm: &Realm, class: &str, [connector, session, scroll, kind]: [&str; 4]) -> String {
    [VERSION, realm.as_str(), class, connector, session, scroll, kind].join(".")
}

/// Converts a live subject or pattern to the archive's subject or pattern.
pub(crate) fn archived(live: &str) -> String {
    let rest = live.strip_prefix(VERSION).unwrap_or(live);
    format!("{ARCHIVE}{rest}")
}

/// Converts an archived subject to the live subject, as input for [`routing`].
pub(crate) fn live(archived: &str) -> Result<String, SubjectError> {
    let rest = archived.strip_prefix(ARCHIVE).ok_or(SubjectError::Shape)?;
    Ok(format!("{VERSION}{rest}"))
}

/// Returns the pattern of all subjects in a realm's archive.
pub(crate) fn whole_archive(realm: &Realm) -> String {
    format!("{ARCHIVE}.{}.>", realm.as_str())
}

/// Returns the default name of the stream in which a realm's archive is stored.
pub(crate) fn archive_stream(realm: &Realm) -> String {
    format!("{ARCHIVE}-{}", realm.as_str())
}

/// Reads the class and the routing from a subject and its headers. Does not check the realm, because the subscription
/// has selected it.
pub(crate) fn routing(
    subject: &str,
    headers: impl Fn(&str) -> Option<String>,
) -> Result<(Class, EventRouting), SubjectError> {
    let mut tokens = subject.split('.');
    let mut parts = [""; 7];
    for part in &mut parts {
        *part = tokens.next().ok_or(SubjectError::Shape)?;
    }
    let ([VERSION, _, class, connector, session, scroll, kind], None) = (parts, tokens.next()) else {
        return Err(SubjectError::Shape);
    };
    let name = |token: &str, header: HeaderName| match token {
        UNBOUND => Ok(None),
        _ => decode_token(token, || headers(header.as_ref())).map(|id| Some(id.into())),
    };
    let routing = EventRouting {
        scroll_id: match scroll {
            UNBOUND => None,
            _ => Some(canonical_uuid(scroll).ok_or(SubjectError::Scroll)?),
        },
        connector_uid: match headers(CONNECTOR_UID.as_ref()) {
            None => None,
            Some(uid) => Some(canonical_uuid(&uid).ok_or(SubjectError::ConnectorUid)?),
        },
        connector_id: name(connector, CONNECTOR_ID)?,
        native_session_id: name(session, SESSION_ID)?,
        kind: kind.parse().map_err(|_| SubjectError::Kind)?,
    };
    Ok((Class::parse(class).ok_or(SubjectError::Class)?, routing))
}

/// The error for a subject or id headers that this version does not write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SubjectError {
    Shape,
    Class,
    /// A token that no id maps to, or a hash without the header of its id.
    Id,
    Scroll,
    ConnectorUid,
    /// An unknown kind, possibly of a later version.
    Kind,
}

impl fmt::Display for SubjectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            SubjectError::Shape => "not the subject of an event",
            SubjectError::Class => "unknown class",
            SubjectError::Id => "not the canonical token of an id",
            SubjectError::Scroll => "not a canonical scroll id",
            SubjectError::ConnectorUid => "not a canonical connector unique id",
            SubjectError::Kind => "unknown event kind",
        })
    }
}

impl std::error::Error for SubjectError {}

/// The token of an id.
pub(crate) struct Token<'a> {
    pub(crate) text: Cow<'a, str>,
    /// The encoded id if the text is only its hash.
    encoded_id: Option<String>,
}

impl Token<'_> {
    pub(crate) fn of(id: &str) -> Token<'_> {
        let text = encode(id);
        if text.len() <= MAX_TOKEN_LEN {
            return Token { text, encoded_id: None };
        }
        let hash = Uuid::new_v5(&HASH_NAMESPACE, id.as_bytes());
        Token {
            text: format!("=={}", hash.simple()).into(),
            encoded_id: Some(text.into_owned()),
        }
    }
}

/// Returns the id that maps to this token.
fn decode_token<'a>(token: &'a str, header: impl Fn() -> Option<String>) -> Result<Cow<'a, str>, SubjectError> {
    if is_own_token(token) && token.len() <= MAX_TOKEN_LEN {
        return Ok(token.into());
    }
    let id = match token.strip_prefix("==") {
        Some(_) => decode(&header().ok_or(SubjectError::Id)?),
        None => decode(token),
    };
    // Only the canonical token of an id is accepted, so that each id has exactly one token.
    let id = id.filter(|id| Token::of(id).text == token).ok_or(SubjectError::Id)?;
    Ok(id.into())
}

/// Parses a UUID. Accepts only the canonical form that this crate writes, so that each UUID has exactly one token.
fn canonical_uuid(text: &str) -> Option<Uuid> {
    let as_written = |id: &Uuid| id.hyphenated().encode_lower(&mut Uuid::encode_buffer()) == text;
    Uuid::try_parse(text).ok().filter(as_written)
}

/// Returns whether a byte needs no encoding.
fn is_plain(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_'
}

/// Returns whether the id is its own token.
fn is_own_token(id: &str) -> bool {
    !id.is_empty() && id != UNBOUND && id.bytes().all(is_plain)
}

fn encode(id: &str) -> Cow<'_, str> {
    if id.is_empty() {
        return "=".into();
    }
    if is_own_token(id) {
        return id.into();
    }
    let mut token = String::with_capacity(id.len());
    for byte in id.bytes() {
        if is_plain(byte) && id != UNBOUND {
            token.push(byte.into());
        } else {
            write!(token, "={byte:02X}").expect("writing to a String does not fail");
        }
    }
    token.into()
}

/// Decodes a token. Accepts more than [`encode`] writes, so the caller must check that the token is canonical.
fn decode(token: &str) -> Option<String> {
    if token == "=" {
        return Some(String::new());
    }
    let mut bytes = Vec::with_capacity(token.len());
    let mut rest = token.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'=' => hex(rest.next()?)? << 4 | hex(rest.next()?)?,
            _ => byte,
        });
    }
    String::from_utf8(bytes).ok()
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit)
        .to_digit(16)
        .and_then(|value| u8::try_from(value).ok())
}

#[cfg(test)]
mod tests;
