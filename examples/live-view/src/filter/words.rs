//! A filter's text, cut into words and marks.

use std::fmt;
use std::iter::Peekable;
use std::str::Chars;

use super::{FilterError, error};

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Word {
    Open,
    Close,
    Bar,
    Comma,
    /// `text`, or `text=value`.
    Text {
        text: String,
        value: Option<String>,
    },
}

impl fmt::Display for Word {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Word::Open => f.write_str("`(`"),
            Word::Close => f.write_str("`)`"),
            Word::Bar => f.write_str("`|`"),
            Word::Comma => f.write_str("`,`"),
            Word::Text { text, value: None } => write!(f, "`{text}`"),
            Word::Text {
                text,
                value: Some(value),
            } => write!(f, "`{text}={value}`"),
        }
    }
}

/// The words, with one of them in view.
pub(super) struct Words<'a> {
    rest: Peekable<Chars<'a>>,
    peeked: Option<Word>,
}

impl<'a> Words<'a> {
    pub(super) fn new(text: &'a str) -> Self {
        Words {
            rest: text.chars().peekable(),
            peeked: None,
        }
    }

    pub(super) fn next(&mut self) -> Result<Option<Word>, FilterError> {
        match self.peeked.take() {
            Some(word) => Ok(Some(word)),
            None => self.read(),
        }
    }

    pub(super) fn peek(&mut self) -> Result<Option<&Word>, FilterError> {
        if self.peeked.is_none() {
            self.peeked = self.read()?;
        }
        Ok(self.peeked.as_ref())
    }

    /// Takes the next word if it is this one.
    pub(super) fn take(&mut self, word: &Word) -> Result<bool, FilterError> {
        let found = self.peek()? == Some(word);
        if found {
            self.peeked = None;
        }
        Ok(found)
    }

    fn read(&mut self) -> Result<Option<Word>, FilterError> {
        while self.rest.next_if(|c| c.is_whitespace()).is_some() {}
        let Some(&first) = self.rest.peek() else {
            return Ok(None);
        };
        let mark = match first {
            '(' => Word::Open,
            ')' => Word::Close,
            '|' => Word::Bar,
            ',' => Word::Comma,
            _ => return self.text().map(Some),
        };
        self.rest.next();
        Ok(Some(mark))
    }

    fn text(&mut self) -> Result<Word, FilterError> {
        let text = self.run(|c| c != '=');
        let value = if self.rest.next_if_eq(&'=').is_some() {
            Some(if self.rest.next_if_eq(&'"').is_some() {
                self.quoted()?
            } else {
                self.run(|_| true)
            })
        } else {
            None
        };
        match self.rest.peek() {
            Some('"') => error("a `\"` belongs right behind the `=`, as in connector=\"my agent\""),
            _ => Ok(Word::Text { text, value }),
        }
    }

    /// What comes before a blank, a mark, or what `goes_on` refuses.
    fn run(&mut self, goes_on: impl Fn(char) -> bool) -> String {
        let mut text = String::new();
        while let Some(c) = self
            .rest
            .next_if(|&c| !c.is_whitespace() && !"()|,\"".contains(c) && goes_on(c))
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
