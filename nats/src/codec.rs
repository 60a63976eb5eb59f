//! Encoding of payloads: [`Codec`], and [`Json`] for payloads that implement serde's traits.
//!
//! Codecs are values without mutable state. The tasks of a bridge share one codec.

use std::error::Error;
use std::fmt;

use serde::Serialize;
use serde::de::DeserializeOwned;

/// Encodes and decodes payloads. All bridges of a realm must use the same format.
///
/// A codec runs on the thread of the bridge or of the archive, or on the thread that calls an archive reader. It must
/// not block. A panic in a codec is contained and counts as an error.
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
    /// Encodes a payload.
    ///
    /// # Errors
    ///
    /// If encoding fails, the event is counted and not exported.
    fn encode(&self, payload: &E) -> Result<Vec<u8>, CodecError>;

    /// Decodes a payload. The bytes come from the network and may be arbitrary.
    ///
    /// # Errors
    ///
    /// If decoding fails, the message is counted and dropped.
    fn decode(&self, bytes: &[u8]) -> Result<E, CodecError>;
}

/// The default codec, which encodes payloads as JSON through serde.
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

/// The error of a codec. Its [source](Error::source) is the codec's own error.
#[derive(Debug)]
pub struct CodecError(Box<dyn Error + Send + Sync>);

impl CodecError {
    /// Wraps an error or a message.
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
