//! Documented subjects, and round trips of random ids.

use proptest::prelude::*;
use sharing_bus::EventKind;

use super::*;

fn realm() -> Realm {
    Realm::new("test").unwrap()
}

fn round_trip(class: Class, sent: &EventRouting) -> Result<(Class, EventRouting), SubjectError> {
    let subject = subject(&realm(), class, sent);
    routing(&subject.text, |name| find(&subject.headers, name))
}

fn find(headers: &[(HeaderName, String)], name: &str) -> Option<String> {
    let found = headers.iter().find(|(header, _)| header.as_ref() as &str == name);
    found.map(|(_, value)| value.clone())
}

#[test]
fn subjects_match_the_documented_format() {
    let bound = EventRouting {
        scroll_id: Some(Uuid::from_u128(7)),
        ..EventRouting::session("my.shell", "42", EventKind::SessionLifecycle)
    };
    let text = |routing| subject(&realm(), Class::Essential, &routing).text;
    let scroll = "00000000-0000-0000-0000-000000000007";
    assert_eq!(
        text(bound),
        format!("sb1.test.essential.my=2Eshell.42.{scroll}.session_lifecycle")
    );
    assert_eq!(text(EventRouting::default()), "sb1.test.essential._._._.system");
    assert_eq!(
        text(EventRouting::session("_", "", EventKind::Tool)),
        "sb1.test.essential.=5F.=._.tool"
    );
}

#[test]
fn hash_of_a_long_id_is_stable() {
    let long = "a".repeat(65);
    let hashed = subject(
        &realm(),
        Class::Delta,
        &EventRouting::session("c", long.clone(), EventKind::Output),
    );
    assert_eq!(
        hashed.text,
        "sb1.test.delta.c.==84c57594049d53afa2031e8333791638._.output"
    );
    assert_eq!(hashed.headers, [(SESSION_ID, long)]);
    let longest = "a".repeat(64);
    assert_eq!(Token::of(&longest).text, longest);
}

#[test]
fn noncanonical_subjects_are_refused() {
    let read = |text: &str| routing(text, |_| None).map(|_| ()).unwrap_err();
    let long = "x".repeat(99);
    let hash = Token::of(&long).text;
    for (text, error) in [
        ("", SubjectError::Shape),
        ("sb1.r.delta.a.b._", SubjectError::Shape),
        ("sb1.r.delta.a.b._.tool.more", SubjectError::Shape),
        ("sb2.r.delta.a.b._.tool", SubjectError::Shape),
        ("sb1.r.delights.a.b._.tool", SubjectError::Class),
        ("sb1.r.delta.a.b._.telepathy", SubjectError::Kind),
        ("sb1.r.delta.a.b.7.tool", SubjectError::Scroll),
        (
            "sb1.r.delta.a.b.00000000-0000-0000-0000-00000000000A.tool",
            SubjectError::Scroll,
        ),
        ("sb1.r.delta.a.._.tool", SubjectError::Id),
        ("sb1.r.delta.=2.b._.tool", SubjectError::Id),
        ("sb1.r.delta.=2e.b._.tool", SubjectError::Id),
        ("sb1.r.delta.=61.b._.tool", SubjectError::Id),
        ("sb1.r.delta.=+1.b._.tool", SubjectError::Id),
        ("sb1.r.delta.=FF.b._.tool", SubjectError::Id),
        ("sb1.r.delta.a/b.b._.tool", SubjectError::Id),
        (&format!("sb1.r.delta.{hash}.b._.tool"), SubjectError::Id),
    ] {
        assert_eq!(read(text), error, "{text}");
    }
    let lie = |name: &str| (name == "Sb-Connector-Id").then(|| "another".to_owned());
    let hashed = format!("sb1.r.delta.{hash}.b._.tool");
    assert_eq!(routing(&hashed, lie).unwrap_err(), SubjectError::Id);
    let uid = |_: &str| Some("7".to_owned());
    assert_eq!(
        routing("sb1.r.delta.a.b._.tool", uid).unwrap_err(),
        SubjectError::ConnectorUid
    );
}

#[test]
fn realm_is_a_plain_token() {
    for good in ["a", "Prod-1_b", &"r".repeat(64)] {
        assert_eq!(Realm::new(good).unwrap().as_str(), good);
    }
    for bad in ["", "a.b", "*", ">", "a b", "=", "\u{e9}", &"r".repeat(65)] {
        assert_eq!(Realm::new(bad).unwrap_err(), InvalidRealm(bad.to_owned()));
    }
}

/// Random ids: plain, with characters that need encoding, with any Unicode, and long.
fn id() -> impl Strategy<Value = String> {
    prop_oneof!["[a-z_=]{0,4}", "[ -~]{0,80}", any::<String>(), "\\PC{40,120}"]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn routing_survives_a_round_trip(
        scroll in prop::option::of(any::<u128>()),
        uid in prop::option::of(any::<u128>()),
        connector in prop::option::of(id()),
        session in prop::option::of(id()),
        kind in prop::sample::select(EventKind::ALL),
        essential in any::<bool>(),
    ) {
        let sent = EventRouting {
            scroll_id: scroll.map(Uuid::from_u128),
            connector_uid: uid.map(Uuid::from_u128),
            connector_id: connector.map(Into::into),
            native_session_id: session.map(Into::into),
            kind,
        };
        let class = if essential { Class::Essential } else { Class::Delta };
        prop_assert_eq!(round_trip(class, &sent), Ok((class, sent.clone())));
        let subject = subject(&realm(), class, &sent);
        prop_assert!(subject.text.len() < 300);
        let tokens = subject.text.split('.');
        prop_assert_eq!(tokens.clone().count(), 7);
        for token in tokens {
            prop_assert!(!token.is_empty() && token.bytes().all(|byte| is_plain(byte) || byte == b'='));
        }
        for (_, value) in &subject.headers {
            prop_assert!(value.parse::<async_nats::HeaderValue>().is_ok() && !value.contains(char::is_whitespace));
        }
    }

    #[test]
    fn different_ids_have_different_tokens(one in id(), other in id()) {
        prop_assert_eq!(one == other, Token::of(&one).text == Token::of(&other).text);
    }

    #[test]
    fn decoded_token_encodes_to_itself(token in "[a-c_=0-9A-F]{1,12}") {
        if let Ok(id) = decode_token(&token, || None) {
            prop_assert_eq!(&*Token::of(&id).text, &token);
        }
    }
}
