//! What lies at the repository's top: a file that a test or a tool drops there is noticed before it is committed.

use super::{report, root};

const TOP: [&str; 14] = [
    "Cargo.lock",
    "Cargo.toml",
    "LICENSE-APACHE",
    "LICENSE-MIT",
    "README.md",
    "backends",
    "compiler",
    "docs",
    "fuzz",
    "ir",
    "passes",
    "runtime",
    "rustfmt.toml",
    "tests",
];

#[test]
fn nothing_else_lies_at_the_top() {
    let entries = std::fs::read_dir(root()).into_iter().flatten().flatten();
    let mut names: Vec<String> = entries.map(|e| e.file_name().to_string_lossy().to_string()).collect();
    names.sort();
    assert!(names.iter().any(|n| n == "Cargo.toml"), "{} is not the repository's root", root().display());
    // Hidden files are tools'; what is built, and what a checkout is lent, is not tracked.
    let known = |n: &String| n.starts_with('.') || TOP.contains(&n.as_str()) || ["target", "shared"].contains(&n.as_str());
    let strange: Vec<_> = names.iter().filter(|n| !known(n)).map(|n| format!("`{n}` does not belong at the repository's top")).collect();
    report(&strange);
}
