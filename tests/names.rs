//! Names of kinds and origins, to text and back.

use sharing_bus::{EventKind, EventOrigin};

#[test]
fn names_are_read_back() {
    for kind in EventKind::ALL {
        assert_eq!(kind.to_string().parse(), Ok(*kind));
    }
    for origin in EventOrigin::ALL {
        assert_eq!(origin.to_string().parse(), Ok(*origin));
    }
}

#[test]
fn what_is_no_name_is_told() {
    let error = "nonsense".parse::<EventKind>().unwrap_err();
    assert_eq!(error.to_string(), "not the name of an event kind");
    let error = "nonsense".parse::<EventOrigin>().unwrap_err();
    assert_eq!(error.to_string(), "not the name of an event origin");
}
