//! Conversion of event kinds and origins to names and back, and the text of filters.

use std::collections::HashMap;
use std::str::Chars;

use proptest::prelude::*;
use sharing_bus::{EventFilter, EventKind, EventOrigin};
use uuid::Uuid;

#[test]
fn names_parse_to_their_values() {
    for kind in EventKind::ALL {
        assert_eq!(kind.to_string().parse(), Ok(*kind));
    }
    for origin in EventOrigin::ALL {
        assert_eq!(origin.to_string().parse(), Ok(*origin));
    }
}

#[test]
fn an_unknown_name_is_a_parse_error() {
    let error = "nonsense".parse::<EventKind>().unwrap_err();
    assert_eq!(error.to_string(), "not the name of an event kind");
    let error = "nonsense".parse::<EventOrigin>().unwrap_err();
    assert_eq!(error.to_string(), "not the name of an event origin");
}

/// A filter as a value that can be compared.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Spec {
    All,
    Scroll(u128),
    Uid(u128),
    Connector(String),
    Session(String, String),
    Kind(EventKind),
    Origin(EventOrigin),
    Any(Vec<Spec>),
    Every(Vec<Spec>),
    Not(Box<Spec>),
}

impl Spec {
    /// Builds the filter from the variants, so that the constructors do not flatten it.
    fn build(&self) -> EventFilter {
        let each = |specs: &[Spec]| specs.iter().map(Spec::build).collect();
        match self {
            Spec::All => EventFilter::All,
            Spec::Scroll(id) => EventFilter::ScrollId(Uuid::from_u128(*id)),
            Spec::Uid(uid) => EventFilter::ConnectorUid(Uuid::from_u128(*uid)),
            Spec::Connector(name) => EventFilter::ConnectorId(name.as_str().into()),
            Spec::Session(connector, session) => EventFilter::Session {
                connector_id: connector.as_str().into(),
                native_session_id: session.as_str().into(),
            },
            Spec::Kind(kind) => EventFilter::Kind(*kind),
            Spec::Origin(origin) => EventFilter::Origin(*origin),
            Spec::Any(specs) => EventFilter::Any(each(specs)),
            Spec::Every(specs) => EventFilter::Every(each(specs)),
            Spec::Not(spec) => EventFilter::Not(spec.build().into()),
        }
    }
}

/// A strict parser of printed filters, written from their documentation. Two filters that print alike parse alike.
struct Parser<'a>(Chars<'a>);

impl Parser<'_> {
    fn parse(text: &str) -> Spec {
        let mut parser = Parser(text.chars());
        let spec = parser.filter();
        assert_eq!(parser.0.as_str(), "");
        spec
    }

    fn take(&mut self, text: &str) -> bool {
        let rest = self.0.as_str().strip_prefix(text).map(str::chars);
        rest.map(|rest| self.0 = rest).is_some()
    }

    fn filter(&mut self) -> Spec {
        if self.take("*") {
            Spec::All
        } else if self.take("any(") {
            Spec::Any(self.list())
        } else if self.take("all(") {
            Spec::Every(self.list())
        } else if self.take("not(") {
            let spec = self.filter();
            assert!(self.take(")"));
            Spec::Not(spec.into())
        } else if self.take("scroll=") {
            Spec::Scroll(self.name().parse::<Uuid>().unwrap().as_u128())
        } else if self.take("connector_uid=") {
            Spec::Uid(self.name().parse::<Uuid>().unwrap().as_u128())
        } else if self.take("connector=") {
            Spec::Connector(self.name())
        } else if self.take("session=") {
            let connector = self.name();
            assert!(self.take("/"));
            Spec::Session(connector, self.name())
        } else if self.take("kind=") {
            Spec::Kind(self.name().parse().unwrap())
        } else if self.take("origin=") {
            Spec::Origin(self.name().parse().unwrap())
        } else {
            panic!("`{}` is not a filter", self.0.as_str())
        }
    }

    fn list(&mut self) -> Vec<Spec> {
        let mut specs = Vec::new();
        while !self.take(")") {
            assert!(specs.is_empty() || self.take(", "));
            specs.push(self.filter());
        }
        specs
    }

    fn name(&mut self) -> String {
        if self.take("\"") {
            return self.quoted();
        }
        let rest = self.0.as_str();
        let end = rest.find(|c: char| !c.is_alphanumeric() && !"-_.:@+".contains(c));
        let (name, rest) = rest.split_at(end.unwrap_or(rest.len()));
        assert_ne!(name, "");
        self.0 = rest.chars();
        name.to_owned()
    }

    fn quoted(&mut self) -> String {
        let mut name = String::new();
        loop {
            name.push(match self.0.next().unwrap() {
                '"' => return name,
                '\\' => self.escaped(),
                c => c,
            });
        }
    }

    fn escaped(&mut self) -> char {
        match self.0.next().unwrap() {
            'n' => '\n',
            'r' => '\r',
            't' => '\t',
            '0' => '\0',
            'u' => {
                let (code, rest) = self.0.as_str()[1..].split_once('}').unwrap();
                self.0 = rest.chars();
                char::from_u32(u32::from_str_radix(code, 16).unwrap()).unwrap()
            }
            c => c,
        }
    }
}

/// Names in which the characters of the syntax are frequent.
fn name() -> impl Strategy<Value = String> {
    let syntax = prop::sample::select(&[" ", "\"", "\\", "/", "(", ")", ",", "=", "\n", "\0", "*", "kind=tool"][..]);
    let part = prop_oneof![2 => syntax.prop_map(str::to_owned), 1 => "[a-z0-9_.-]", 1 => "\\PC", 1 => any::<String>()];
    prop::collection::vec(part, 0..4).prop_map(|parts| parts.concat())
}

fn spec() -> impl Strategy<Value = Spec> {
    let leaf = prop_oneof![
        Just(Spec::All),
        any::<u128>().prop_map(Spec::Scroll),
        any::<u128>().prop_map(Spec::Uid),
        name().prop_map(Spec::Connector),
        (name(), name()).prop_map(|(connector, session)| Spec::Session(connector, session)),
        prop::sample::select(EventKind::ALL).prop_map(Spec::Kind),
        prop::sample::select(EventOrigin::ALL).prop_map(Spec::Origin),
    ];
    leaf.prop_recursive(4, 16, 4, |inner| {
        let list = prop::collection::vec(inner.clone(), 0..4);
        // A list in a list with the same operator prints flat.
        let flat = |specs: Vec<Spec>, same: fn(&Spec) -> bool| specs.into_iter().filter(|spec| !same(spec)).collect();
        prop_oneof![
            list.clone()
                .prop_map(move |specs| Spec::Any(flat(specs, |spec| matches!(spec, Spec::Any(_))))),
            list.prop_map(move |specs| Spec::Every(flat(specs, |spec| matches!(spec, Spec::Every(_))))),
            inner.prop_map(|spec| Spec::Not(spec.into())),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn distinct_filters_print_distinctly_in_one_line(spec in spec()) {
        let text = spec.build().to_string();
        prop_assert!(!text.contains(char::is_control), "{text}");
        prop_assert_eq!(Parser::parse(&text), spec);
    }
}

#[test]
fn names_are_distinct_within_all_short_filters() {
    let characters = ["a", "/", "\"", "\\", ",", ")", " ", "\n", "="];
    let mut names = vec![String::new()];
    names.extend(characters.map(str::to_owned));
    names.extend(
        characters
            .iter()
            .flat_map(|first| characters.map(|second| format!("{first}{second}"))),
    );
    let mut specs: Vec<_> = names.iter().cloned().map(Spec::Connector).collect();
    for first in &names {
        for second in &names {
            specs.push(Spec::Session(first.clone(), second.clone()));
            specs.push(Spec::Any(
                [first, second].map(|name| Spec::Connector(name.clone())).into(),
            ));
        }
    }
    let mut printed = HashMap::new();
    for spec in specs {
        if let Some(other) = printed.insert(spec.build().to_string(), spec.clone()) {
            panic!("{spec:?} prints like {other:?}");
        }
    }
}

#[test]
fn unusual_names_are_quoted_and_escaped() {
    for (name, expected) in [
        ("claude-code@dev_2.1:a+b", "claude-code@dev_2.1:a+b"),
        ("größe", "größe"),
        ("", "\"\""),
        ("my agent", "\"my agent\""),
        ("a\"b\\", r#""a\"b\\""#),
        ("line\nbreak\u{7}", r#""line\nbreak\u{7}""#),
        // These characters reverse the direction of the text, or separate lines.
        ("\u{202e}\u{2028}", r#""\u{202e}\u{2028}""#),
    ] {
        let filter: EventFilter = EventFilter::ConnectorId(name.into());
        assert_eq!(filter.to_string(), format!("connector={expected}"));
    }
}
