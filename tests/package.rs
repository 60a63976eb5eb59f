//! The manifest's promises: what is published is described, and builds with the Rust version it declares.

use std::process::Command;

use serde_json::Value;

/// What cargo knows of this package and of everything in its lock file, for every platform.
fn packages() -> Vec<Value> {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version", "1", "--manifest-path"])
        .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml"))
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let mut metadata: Value = serde_json::from_slice(&output.stdout).unwrap();
    serde_json::from_value(metadata["packages"].take()).unwrap()
}

/// Major, minor, patch; a part that is left out is zero.
fn version(text: &str) -> [u64; 3] {
    let mut parts = text.split('.').map(|part| part.parse().unwrap());
    [(); 3].map(|()| parts.next().unwrap_or(0))
}

#[test]
fn no_dependency_asks_for_a_newer_compiler_than_the_package() {
    let declared = version(env!("CARGO_PKG_RUST_VERSION"));
    let newer: Vec<_> = packages()
        .into_iter()
        .filter(|package| {
            package["rust_version"]
                .as_str()
                .is_some_and(|text| version(text) > declared)
        })
        .map(|package| {
            format!(
                "{} {} asks for {}",
                package["name"], package["version"], package["rust_version"]
            )
        })
        .collect();
    assert_eq!(newer, Vec::<String>::new());
}

#[test]
fn the_package_is_described() {
    let packages = packages();
    let package = packages
        .iter()
        .find(|package| package["name"] == "sharing-bus")
        .unwrap();
    for field in [
        "description",
        "license",
        "repository",
        "documentation",
        "readme",
        "rust_version",
    ] {
        assert!(package[field].is_string(), "{field}");
    }
    for field in ["keywords", "categories"] {
        assert!(
            package[field].as_array().is_some_and(|list| !list.is_empty()),
            "{field}"
        );
    }
}
