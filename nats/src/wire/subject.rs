//! From an event's routing to the subject it is published on, and back.
//!
//! Pure functions. A subject is `sb1.<realm>.<class>.<connector>.<session>.<scroll>.<kind>`: each id is one token, so that
//! a server can pick events by any of them. Every id has exactly one token, and no two ids share one, long ids apart
//! (below); what is not the token of any id is refused, so that a subscriber who asks for an id misses none of its events.
//!
//! Tokens keep ASCII letters, digits, `-` and `_` as they are and write every other byte of UTF-8 as `=` with two
//! upper-case hex digits, as percent-encoding does: `=` is legal in subjects and in keys of JetStream buckets, `%` is not
//! in the latter. `_` alone says that nothing is bound, so an id `_` is written `=5F`; the empty id is `=`.
//!
//! A token of more than [`MAX_TOKEN_LEN`] bytes is replaced by `==` and a hash of the id, and the id travels in a header. The hash
//! is a UUID of version 5 (RFC 9562): SHA-1 in a name space of ours, so it is the same in every release, on every machine
//! and in every language. Whoever finds two ids of one hash makes them share a subject and no more: ids are read from the
//! header, and filters are evaluated again over those.

use std::borrow::Cow;
use std::fmt::{self, Write};

use async_nats::HeaderName;
use sharing_bus::EventRouting;
use uuid::Uuid;

/// The first token: whose subjects these are, and in which version.
const VERSION: &str = "sb1";

/// The first token of archived events. Another than that of live ones, so that whoever listens is not sent both.
const ARCHIVE: &str = "sb1-archive";

/// What stands where an id is not bound.
const UNBOUND: &str = "_";

/// The most bytes of a token or of a realm. With it a subject has fewer than 300 bytes.
const MAX_TOKEN_LEN: usize = 64;

/// The name space of hashed ids. Random, and never to be changed.
const HASH_NAMESPACE: Uuid = Uuid::from_u128(0x5d9c_6f0e_3b1a_4c57_9a42_e86d_70f1_2bc3);

/// The connector's name where its token is a hash; encoded as a token of any length.
pub(crate) const CONNECTOR_ID: HeaderName = HeaderName::from_static("Sb-Connector-Id");
/// The session's id, likewise.
pub(crate) const SESSION_ID: HeaderName = HeaderName::from_static("Sb-Session-Id");
/// The connector's unique id, which has no token.
pub(crate) const CONNECTOR_UID: HeaderName = HeaderName::from_static("Sb-Connector-Uid");

/// Who talks to whom: the bridges of one realm on one NATS account hear each other and nobody else.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Realm(String);

impl Realm {
    /// A realm is one token and is written as it is, so that operators can name it in permissions.
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

/// A realm that is no plain token: 1 to 64 ASCII letters, digits, `-` and `_`.
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

/// Whether an event must not be lost, as the exporting host sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Class {
    /// Its loss would be felt: what an archive keeps.
    Essential,
    /// The next one makes up for it.
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

/// A subject, and the headers for what it cannot say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Subject {
    pub(crate) text: String,
    /// Ids that were hashed, and the connector's unique id; legal header values all.
    pub(crate) headers: Vec<(HeaderName, String)>,
}

/// The subject on which an event of this routing is published.
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

/// Puts a subject together; tokens may be wildcards.
pub(crate) fn join(realm: &Realm, class: &str, [connector, session, scroll, kind]: [&str; 4]) -> String {
    [VERSION, realm.as_str(), class, connector, session, scroll, kind].join(".")
}

/// The subject, or pattern of subjects, in the archive of a live one.
pub(crate) fn archived(live: &str) -> String {
    let rest = live.strip_prefix(VERSION).unwrap_or(live);
    format!("{ARCHIVE}{rest}")
}

/// The live subject of an archived one, for [`routing`] to read.
pub(crate) fn live(archived: &str) -> Result<String, SubjectError> {
    let rest = archived.strip_prefix(ARCHIVE).ok_or(SubjectError::Shape)?;
    Ok(format!("{VERSION}{rest}"))
}

/// All subjects of a realm's archive.
pub(crate) fn whole_archive(realm: &Realm) -> String {
    format!("{ARCHIVE}.{}.>", realm.as_str())
}

/// Returns the default name of the stream in which a realm's archive is stored.
pub(crate) fn archive_stream(realm: &Realm) -> String {
    format!("{ARCHIVE}-{}", realm.as_str())
}

/// What a subject and the headers beside it say. The realm is whatever was subscribed to and is not looked at.
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

/// A message whose subject or id headers this version did not write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SubjectError {
    Shape,
    Class,
    /// A token of no id, or a hash without the id that it is of.
    Id,
    Scroll,
    ConnectorUid,
    /// Perhaps one of a later version.
    Kind,
}

impl fmt::Display for SubjectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            SubjectError::Shape => "not a subject of an event",
            SubjectError::Class => "unknown class",
            SubjectError::Id => "not the token of an id",
            SubjectError::Scroll => "not a scroll id",
            SubjectError::ConnectorUid => "not a connector's unique id",
            SubjectError::Kind => "unknown event kind",
        })
    }
}

impl std::error::Error for SubjectError {}

/// The token of a bound id.
pub(crate) struct Token<'a> {
    pub(crate) text: Cow<'a, str>,
    /// The encoded id, if the text is its hash only.
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

/// The id that has this token, if there is one.
fn decode_token<'a>(token: &'a str, header: impl Fn() -> Option<String>) -> Result<Cow<'a, str>, SubjectError> {
    if is_own_token(token) && token.len() <= MAX_TOKEN_LEN {
        return Ok(token.into());
    }
    let id = match token.strip_prefix("==") {
        Some(_) => decode(&header().ok_or(SubjectError::Id)?),
        None => decode(token),
    };
    // Whatever could be read in two ways is refused here: one id, one token.
    let id = id.filter(|id| Token::of(id).text == token).ok_or(SubjectError::Id)?;
    Ok(id.into())
}

/// Written the one way in which it is written here, so that a subscriber who asks for it finds it.
fn canonical_uuid(text: &str) -> Option<Uuid> {
    let as_written = |id: &Uuid| id.hyphenated().encode_lower(&mut Uuid::encode_buffer()) == text;
    Uuid::try_parse(text).ok().filter(as_written)
}

fn is_plain(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_'
}

/// Whether this is both an id and its token.
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
            write!(token, "={byte:02X}").expect("a String takes all");
        }
    }
    token.into()
}

/// Reads more than [`encode`] writes; the caller compares.
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
