//! Checks of the manifest: required metadata, documented features, and no dependency that needs a newer Rust version.

use std::process::Command;

use serde_json::Value;

/// Returns the metadata of this package and of all packages in the lock file. All platforms are included.
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

/// Parses a version into major, minor and patch. Omitted parts are zero.
fn version(text: &str) -> [u64; 3] {
    let mut parts = text.split('.').map(|part| part.parse().unwrap());
    [(); 3].map(|()| parts.next().unwrap_or(0))
}

#[test]
fn no_dependency_requires_a_newer_rust_version() {
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
                "{} {} requires Rust {}",
                package["name"], package["version"], package["rust_version"]
            )
        })
        .collect();
    assert_eq!(newer, Vec::<String>::new());
}

fn this_package() -> Value {
    let mut packages = packages().into_iter();
    packages.find(|package| package["name"] == "sharing-bus").unwrap()
}

#[test]
fn package_has_the_required_metadata() {
    let package = this_package();
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
    // crates.io accepts at most five keywords and five categories. A keyword has at most 20 letters, digits and dashes.
    for field in ["keywords", "categories"] {
        let list = package[field].as_array().unwrap();
        assert!((1..=5).contains(&list.len()), "{field}");
        for word in list.iter().map(|word| word.as_str().unwrap()) {
            let is_allowed = |letter: char| letter.is_ascii_lowercase() || letter.is_ascii_digit() || letter == '-';
            assert!(word.len() <= 20 && word.chars().all(is_allowed), "{field}: {word}");
        }
    }
}

#[test]
fn docs_rs_builds_with_all_features() {
    let docs_rs = &this_package()["metadata"]["docs"]["rs"];
    assert_eq!(docs_rs["all-features"], true);
    assert_eq!(docs_rs["rustdoc-args"], serde_json::json!(["--cfg", "docsrs"]));
}

#[test]
fn readme_documents_every_feature() {
    let readme = include_str!("../README.md");
    let package = this_package();
    for feature in package["features"].as_object().unwrap().keys() {
        let row = format!("| `{feature}` |");
        assert!(
            feature == "default" || readme.contains(&row),
            "the README has no row for `{feature}`"
        );
    }
}

/// Each section heading contains a version, followed by its date or by a note that it was not published.
#[test]
fn changelog_has_a_section_for_this_version() {
    let changelog = include_str!("../CHANGELOG.md");
    let sections: Vec<_> = changelog.lines().filter_map(|line| line.strip_prefix("## ")).collect();
    let this = format!("{} ", env!("CARGO_PKG_VERSION"));
    assert!(
        sections.iter().any(|section| section.starts_with(&this)),
        "{sections:?}"
    );
    for section in sections {
        let (_, state) = section.split_once(' ').expect(section);
        let date = state
            .strip_prefix("- ")
            .and_then(|date| date.parse::<jiff::civil::Date>().ok());
        assert!(
            date.is_some() || ["(unreleased)", "(not published)"].contains(&state),
            "{section}"
        );
    }
}
