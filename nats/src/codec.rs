//! How payloads become bytes and come back: [`Codec`], and [`Json`] for those who have serde.
//!
//! Values without state of their own; a codec is shared by the tasks of a bridge.

use std::error::Error;
use std::fmt;

use serde::Serialize;
use serde::de::DeserializeOwned;

/// Writes and reads payloads; what all bridges of a realm must agree on.
///
/// It runs on the thread of the bridge, of the archive, or of who calls a reader, and must not wait. A panic in it is contained
/// and counts as an error.
///
/// ```
/// use sharing_bus_nats::{Codec, CodecError};
///
/// struct Text;
///
/// impl Codec<String> for Text {
///     fn encode(&self, payload: &String) -> Result<Vec<u8>, CodecError> {
///         Ok(payload.clone().into_bytes())
///     }
///
///     fn decode(&self, bytes: &[u8]) -> Result<String, CodecError> {
///         String::from_utf8(bytes.to_vec()).map_err(CodecError::new)
///     }
/// }
/// # let bytes = Text.encode(&"hello".to_owned()).unwrap();
/// # assert_eq!(Text.decode(&bytes).unwrap(), "hello");
/// ```
pub trait Codec<E>: Send + Sync + 'static {
    /// The bytes of a payload.
    ///
    /// # Errors
    ///
    /// What cannot be written is counted and not exported.
    fn encode(&self, payload: &E) -> Result<Vec<u8>, CodecError>;

    /// The payload of such bytes. They come from outside and may be anything.
    ///
    /// # Errors
    ///
    /// What cannot be read is counted and dropped.
    fn decode(&self, bytes: &[u8]) -> Result<E, CodecError>;
}

/// Payloads as JSON, by serde; the default.
///
/// ```
/// use sharing_bus::Event;
/// use sharing_bus_nats::{Codec, Json};
///
/// let bytes = Json.encode(&Event::Text { text: "hello".into() }).unwrap();
/// assert_eq!(bytes, br#"{"text":{"text":"hello"}}"#);
/// let event: Event = Json.decode(&bytes).unwrap();
/// assert_eq!(event, Event::Text { text: "hello".into() });
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct Json;

impl<E: Serialize + DeserializeOwned> Codec<E> for Json {
    fn encode(&self, payload: &E) -> Result<Vec<u8>, CodecError> {
        serde_json::to_vec(payload).map_err(CodecError::new)
    }

    fn decode(&self, bytes: &[u8]) -> Result<E, CodecError> {
        serde_json::from_slice(bytes).map_err(CodecError::new)
    }
}

/// Why a payload could not be written or read; the [source](Error::source) is the codec's own error.
#[derive(Debug)]
pub struct CodecError(Box<dyn Error + Send + Sync>);

impl CodecError {
    /// Wraps an error, or a text.
    pub fn new(cause: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        CodecError(cause.into())
    }
}

impl fmt::Display for CodecError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the codec failed")
    }
}

impl Error for CodecError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&*self.0)
    }
}
