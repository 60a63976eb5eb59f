use super::*;

fn parsed(text: &str) -> String {
    parse(text)
        .unwrap_or_else(|error| panic!("{text}: {error}"))
        .to_string()
}

fn parse_error(text: &str) -> String {
    match parse(text) {
        Ok(filter) => panic!("{text} was parsed as {filter}"),
        Err(error) => error.to_string(),
    }
}

#[test]
fn spaces_mean_all_and_bars_mean_any() {
    for (text, expected) in [
        ("", "*"),
        (" \t ", "*"),
        ("*", "*"),
        ("kind=output", "kind=output"),
        ("kind=output connector=claude", "all(kind=output, connector=claude)"),
        ("kind=output | kind=error", "any(kind=output, kind=error)"),
        ("kind=output|kind=error", "any(kind=output, kind=error)"),
        (
            "connector=a kind=output | kind=error",
            "any(all(connector=a, kind=output), kind=error)",
        ),
        (
            "connector=a (kind=output | kind=error)",
            "all(connector=a, any(kind=output, kind=error))",
        ),
        ("not kind=thinking", "not(kind=thinking)"),
        ("not not kind=thinking", "kind=thinking"),
        (
            "not (kind=tool | kind=progress) origin=replay",
            "all(not(any(kind=tool, kind=progress)), origin=replay)",
        ),
        ("session=git/stdout", "session=git/stdout"),
        ("session=a/b/c", r#"session=a/"b/c""#),
        (r#"session="a/b/c""#, r#"session=a/"b/c""#),
        (r#"session="a/b"/c"#, r#"session="a/b"/c"#),
        (r#"session="a b"/"c d""#, r#"session="a b"/"c d""#),
        (r#"session=a/"c d""#, r#"session=a/"c d""#),
        (r#"session=""/"""#, r#"session=""/"""#),
        (r#"connector="""#, r#"connector="""#),
        (r#"connector="\n\u{7f}\'""#, r#"connector="\n\u{7f}'""#),
        ("connector=claude-code@dev-2", "connector=claude-code@dev-2"),
        ("connector=a=b", r#"connector="a=b""#),
        (
            r#"connector="my \"own\" agent, (1)\\2""#,
            r#"connector="my \"own\" agent, (1)\\2""#,
        ),
    ] {
        assert_eq!(parsed(text), expected, "{text}");
    }
}

#[test]
fn printed_filters_parse_to_themselves() {
    let id = Uuid::from_u128(7);
    for filter in [
        Filter::All,
        Filter::ScrollId(id),
        Filter::ConnectorUid(id),
        Filter::any([]),
        Filter::all([]),
        Filter::any([Filter::All, Filter::Kind(EventKind::Tool)]),
        Filter::all([
            Filter::ConnectorId("c".into()),
            Filter::not(Filter::any([Filter::Origin(EventOrigin::User)])),
        ]),
        Filter::not(Filter::Session {
            connector_id: "c".into(),
            native_session_id: "s".into(),
        }),
        Filter::Session {
            connector_id: "a/b \"c\"".into(),
            native_session_id: "\u{7}\n/\\".into(),
        },
        Filter::Session {
            connector_id: "a".into(),
            native_session_id: "".into(),
        },
    ] {
        assert_eq!(parsed(&filter.to_string()), filter.to_string());
    }
}

#[test]
fn every_kind_and_origin_can_be_named() {
    for kind in EventKind::ALL {
        assert_eq!(parsed(&format!("kind={kind}")), format!("kind={kind}"));
    }
    for origin in EventOrigin::ALL {
        assert_eq!(parsed(&format!("origin={origin}")), format!("origin={origin}"));
    }
}

#[test]
fn error_message_describes_the_problem() {
    for (text, expected) in [
        ("error", "`error` is not a condition"),
        ("any", "`any` is not a condition"),
        ("color=red", "unknown name `color`; expected kind, connector,"),
        ("=red", "unknown name ``; expected kind"),
        ("kind=telepathy", "unknown kind `telepathy`; expected one of system, "),
        ("origin=mars", "unknown origin `mars`; expected one of runtime, "),
        ("kind=", "the value of `kind=` is empty"),
        ("scroll=7", "`7` is not a UUID"),
        ("session=git", "is not of the form session=CONNECTOR/SESSION"),
        // Missing operands.
        ("not", "`not` must be followed by a condition"),
        ("not | kind=tool", "`not` must be followed by a condition"),
        // Missing conditions.
        ("kind=tool |", "a condition is missing at the end"),
        ("| kind=tool", "a condition is missing before `|`"),
        // Missing conditions in parentheses.
        ("any(kind=tool,)", "a condition is missing before `)`"),
        ("()", "a condition is missing before `)`"),
        // Punctuation.
        ("(kind=tool", "a `)` is missing"),
        ("any(kind=tool", "a `)` is missing"),
        ("kind=tool)", "unexpected `)`"),
        ("kind=tool, kind=output", "unexpected `,`"),
        (r#"connector="a"#, "a closing `\"` is missing"),
        (r#"conn"a""#, "must directly follow the `=`"),
        (r#"connector="a"b""#, "must directly follow the `=`"),
        // Quotes and escapes.
        (r#"connector="a"/b"#, "`connector=` takes one name, not two"),
        // Codes of no character.
        (r#"connector="\u{d800}""#, "must be followed by the code of a character"),
        // An escape that is not complete.
        (r#"connector="\u7""#, "must be followed by the code of a character"),
        (r#"connector="\"#, "a closing `\"` is missing"),
        // Limits.
        (&"(".repeat(33), "nested more than 32 deep"),
        (&"not ".repeat(33), "nested more than 32 deep"),
        (&"x".repeat(1001), "longer than 1000 bytes"),
    ] {
        let message = parse_error(text);
        assert!(message.contains(expected), "{text}: {message}");
    }
}
