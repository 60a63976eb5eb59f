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
        value: Option<String>,
    },
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
            } => write!(f, "`{text}={value}`"),
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
        let value = if self.rest.next_if_eq(&'=').is_some() {
            Some(if self.rest.next_if_eq(&'"').is_some() {
                self.quoted()?
            } else {
                self.take_while(|_| true)
            })
        } else {
            None
        };
        match self.rest.peek() {
            Some('"') => error("a `\"` must directly follow the `=`, as in connector=\"my agent\""),
            _ => Ok(Token::Text { text, value }),
        }
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
                Some('\\') => text.extend(self.rest.next()),
                Some(c) => text.push(c),
                None => return error("a closing `\"` is missing"),
            }
        }
    }
}
