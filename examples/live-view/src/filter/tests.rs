use super::*;

fn read(text: &str) -> String {
    parse(text)
        .unwrap_or_else(|error| panic!("{text}: {error}"))
        .to_string()
}

fn refusal(text: &str) -> String {
    match parse(text) {
        Ok(filter) => panic!("{text} was read as {filter}"),
        Err(error) => error.to_string(),
    }
}

#[test]
fn blanks_and_bars_are_all_and_any() {
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
        ("not not kind=thinking", "not(not(kind=thinking))"),
        (
            "not (kind=tool | kind=progress) origin=replay",
            "all(not(any(kind=tool, kind=progress)), origin=replay)",
        ),
        ("session=git/stdout", "session=git/stdout"),
        ("session=a/b/c", "session=a/b/c"),
        ("connector=claude-code@dev-2", "connector=claude-code@dev-2"),
        ("connector=a=b", "connector=a=b"),
        (
            r#"connector="my \"own\" agent, (1)\\2""#,
            r#"connector=my "own" agent, (1)\2"#,
        ),
    ] {
        assert_eq!(read(text), expected, "{text}");
    }
}

#[test]
fn what_filters_print_reads_back() {
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
    ] {
        assert_eq!(read(&filter.to_string()), filter.to_string());
    }
}

#[test]
fn every_kind_and_origin_has_its_name() {
    for kind in EventKind::ALL {
        assert_eq!(read(&format!("kind={kind}")), format!("kind={kind}"));
    }
    for origin in EventOrigin::ALL {
        assert_eq!(read(&format!("origin={origin}")), format!("origin={origin}"));
    }
}

#[test]
fn a_refusal_says_what_is_wrong() {
    for (text, expected) in [
        ("error", "`error` is no condition"),
        ("any", "`any` is no condition"),
        ("colour=red", "`colour` is none of kind, connector,"),
        ("=red", "`` is none of kind"),
        ("kind=telepathy", "`telepathy` is no kind: it is one of system, "),
        ("origin=mars", "`mars` is no origin: it is one of runtime, "),
        ("kind=", "nothing behind `kind=`"),
        ("scroll=7", "`7` is no UUID"),
        ("session=git", "wants CONNECTOR/SESSION"),
        ("not", "`not` wants a condition"),
        ("not | kind=tool", "`not` wants a condition"),
        ("kind=tool |", "a condition is missing at the end"),
        ("| kind=tool", "a condition is missing before `|`"),
        ("any(kind=tool,)", "a condition is missing before `)`"),
        ("()", "a condition is missing before `)`"),
        ("(kind=tool", "a `)` is missing"),
        ("any(kind=tool", "a `)` is missing"),
        ("kind=tool)", "unexpected `)`"),
        ("kind=tool, kind=output", "unexpected `,`"),
        (r#"connector="a"#, "a closing `\"` is missing"),
        (r#"conn"a""#, "belongs right behind the `=`"),
        (r#"connector="a"b""#, "belongs right behind the `=`"),
        (&"(".repeat(33), "nested more than 32 deep"),
        (&"not ".repeat(33), "nested more than 32 deep"),
        (&"x".repeat(1001), "longer than 1000 bytes"),
    ] {
        let refusal = refusal(text);
        assert!(refusal.contains(expected), "{text}: {refusal}");
    }
}
