//! Conversion of event kinds and origins to names and back.

use sharing_bus::{EventKind, EventOrigin};

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
