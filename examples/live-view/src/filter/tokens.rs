//! The tokens of a filter: words and punctuation.

use std::fmt;
use std::iter::Peekable;
use std::str::Chars;

use super::{FilterError, error};

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Token {
    Open,
    Close,
    Pipe,
    Comma,
    /// `text`, or `text=value`.
    Text {
        text: String,
        value: Option<Value>,
    },
}

/// The text after `=`, without quotes and escapes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Value {
    pub(super) text: String,
    /// The first name, if quotes separate it from the second, as in `"a"/b`.
    pub(super) first: Option<String>,
    pub(super) is_quoted: bool,
}

impl fmt::Display for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Token::Open => f.write_str("`(`"),
            Token::Close => f.write_str("`)`"),
            Token::Pipe => f.write_str("`|`"),
            Token::Comma => f.write_str("`,`"),
            Token::Text { text, value: None } => write!(f, "`{text}`"),
            Token::Text {
                text,
                value: Some(value),
            } => write!(f, "`{text}={}`", value.text),
        }
    }
}

/// An iterator over the tokens of a text, with one token of lookahead.
pub(super) struct Tokens<'a> {
    rest: Peekable<Chars<'a>>,
    peeked: Option<Token>,
}

impl<'a> Tokens<'a> {
    pub(super) fn new(text: &'a str) -> Self {
        Tokens {
            rest: text.chars().peekable(),
            peeked: None,
        }
    }

    pub(super) fn next(&mut self) -> Result<Option<Token>, FilterError> {
        match self.peeked.take() {
            Some(token) => Ok(Some(token)),
            None => self.read(),
        }
    }

    pub(super) fn peek(&mut self) -> Result<Option<&Token>, FilterError> {
        if self.peeked.is_none() {
            self.peeked = self.read()?;
        }
        Ok(self.peeked.as_ref())
    }

    /// Consumes the next token if it equals `token`. Returns whether it did.
    pub(super) fn take_if(&mut self, token: &Token) -> Result<bool, FilterError> {
        let found = self.peek()? == Some(token);
        if found {
            self.peeked = None;
        }
        Ok(found)
    }

    fn read(&mut self) -> Result<Option<Token>, FilterError> {
        while self.rest.next_if(|c| c.is_whitespace()).is_some() {}
        let Some(&first) = self.rest.peek() else {
            return Ok(None);
        };
        let punctuation = match first {
            '(' => Token::Open,
            ')' => Token::Close,
            '|' => Token::Pipe,
            ',' => Token::Comma,
            _ => return self.text().map(Some),
        };
        self.rest.next();
        Ok(Some(punctuation))
    }

    fn text(&mut self) -> Result<Token, FilterError> {
        let text = self.take_while(|c| c != '=');
        let value = match self.rest.next_if_eq(&'=') {
            Some(_) => Some(self.value()?),
            None => None,
        };
        match self.rest.peek() {
            Some('"') => error("a `\"` must directly follow the `=`, as in connector=\"my agent\""),
            _ => Ok(Token::Text { text, value }),
        }
    }

    /// Reads the text after `=`. Each of two names, separated by a slash, may have its own quotes.
    fn value(&mut self) -> Result<Value, FilterError> {
        let is_quoted = self.rest.next_if_eq(&'"').is_some();
        let mut text = if is_quoted {
            self.quoted()?
        } else {
            self.take_while(|_| true)
        };
        let mut first = None;
        if is_quoted && self.rest.next_if_eq(&'/').is_some() {
            first = Some(text.clone());
            text.push('/');
            text += &self.take_while(|_| true);
        }
        if text.ends_with('/') && self.rest.next_if_eq(&'"').is_some() {
            text += &self.quoted()?;
        }
        Ok(Value { text, first, is_quoted })
    }

    /// Consumes characters up to a space, a punctuation character, or a character that `accepts` rejects.
    fn take_while(&mut self, accepts: impl Fn(char) -> bool) -> String {
        let mut text = String::new();
        while let Some(c) = self
            .rest
            .next_if(|&c| !c.is_whitespace() && !"()|,\"".contains(c) && accepts(c))
        {
            text.push(c);
        }
        text
    }

    fn quoted(&mut self) -> Result<String, FilterError> {
        let mut text = String::new();
        loop {
            match self.rest.next() {
                Some('"') => return Ok(text),
                Some('\\') => text.push(self.escaped()?),
                Some(c) => text.push(c),
                None => return error("a closing `\"` is missing"),
            }
        }
    }

    /// Reads the rest of an escape. A backslash before any other character stands for that character.
    fn escaped(&mut self) -> Result<char, FilterError> {
        Ok(match self.rest.next() {
            Some('n') => '\n',
            Some('r') => '\r',
            Some('t') => '\t',
            Some('0') => '\0',
            Some('u') => return self.code(),
            Some(c) => c,
            None => return error("a closing `\"` is missing"),
        })
    }

    /// Reads the code of a character, as in `{1f600}`.
    fn code(&mut self) -> Result<char, FilterError> {
        let opened = self.rest.next_if_eq(&'{').is_some();
        let mut digits = String::new();
        while let Some(digit) = self.rest.next_if(char::is_ascii_hexdigit) {
            digits.push(digit);
        }
        let closed = self.rest.next_if_eq(&'}').is_some();
        let code = u32::from_str_radix(&digits, 16).ok().filter(|_| opened && closed);
        match code.and_then(char::from_u32) {
            Some(c) => Ok(c),
            None => error("a `\\u` must be followed by the code of a character, as in \\u{7f}"),
        }
    }
}
