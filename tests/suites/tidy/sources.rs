//! Rules for Rust files: length, a comment at the top, no panics outside tests, no paths of somebody's machine.

use super::{files, report};
use std::path::{Path, PathBuf};

const MOST_LINES: usize = 600;

/// Files that a tool writes.
fn is_generated(path: &Path) -> bool {
    path.components().any(|c| c.as_os_str() == "generated") || path.ends_with("generated.rs")
}

fn is_test_file(path: &Path) -> bool {
    let part = |w: &str| path.components().any(|c| c.as_os_str() == w);
    path.starts_with("tests") || part("tests") || part("benches") || part("examples") || path.ends_with("tests.rs")
}

fn sources() -> Vec<(PathBuf, String)> {
    files(&["rs"]).into_iter().filter(|(p, _)| !is_generated(p)).collect()
}

#[test]
fn files_have_one_subject() {
    let long = |(p, t): &(PathBuf, String)| {
        let n = t.lines().count();
        (n > MOST_LINES).then(|| format!("{} has {n} lines, more than {MOST_LINES}: it has two subjects", p.display()))
    };
    report(&sources().iter().filter_map(long).collect::<Vec<_>>());
}

#[test]
fn modules_say_what_they_are_for() {
    let bare = |(p, t): &(PathBuf, String)| {
        let first = t.lines().find(|l| !l.starts_with("#!["));
        let fine = first.is_some_and(|l| l.strip_prefix("//!").is_some_and(|d| d.trim().len() > 7));
        (!fine).then(|| format!("{} does not start with a `//!` comment on what it is for", p.display()))
    };
    report(&sources().iter().filter_map(bare).collect::<Vec<_>>());
}

/// A call that may panic needs a line `// tidy: panics only if …` above it or at its end.
#[test]
fn nothing_panics_outside_tests() {
    let all = sources();
    let test_modules = test_modules(&all);
    let mut problems = vec![];
    for (path, text) in all.iter().filter(|(p, _)| !is_test_file(p) && !test_modules.iter().any(|t| p.starts_with(t))) {
        let lines: Vec<&str> = text.lines().collect();
        let tests_from = lines.windows(2).position(|w| w[0].trim() == "#[cfg(test)]" && w[1].contains("mod ") && w[1].ends_with('{'));
        for (k, line) in lines.iter().enumerate().take(tests_from.unwrap_or(lines.len())) {
            let code = line.split("//").next().unwrap_or("");
            let excused = |l: &str| l.split_once("// tidy: ").is_some_and(|(_, reason)| reason.len() > 10);
            if let Some(call) = panics(code)
                && !excused(line)
                && !(k > 0 && excused(lines[k - 1]))
            {
                problems.push(format!("{}:{}: `{call}`: give a typed error, or a reason in `// tidy: …`", path.display(), k + 1));
            }
        }
    }
    report(&problems);
}

/// Files and folders of modules that are compiled for tests only: `#[cfg(test)] mod name;`.
fn test_modules(all: &[(PathBuf, String)]) -> Vec<PathBuf> {
    let mut out = vec![];
    for (path, text) in all {
        let lines: Vec<&str> = text.lines().map(str::trim).collect();
        for w in lines.windows(2).filter(|w| w[0] == "#[cfg(test)]") {
            if let Some(name) = w[1].strip_prefix("mod ").and_then(|m| m.strip_suffix(';')) {
                let folder = if path.ends_with("mod.rs") || path.ends_with("lib.rs") || path.ends_with("main.rs") {
                    path.parent().map(Path::to_path_buf).unwrap_or_default()
                } else {
                    path.with_extension("")
                };
                out.push(folder.join(format!("{name}.rs")));
                out.push(folder.join(name));
            }
        }
    }
    out
}

fn panics(code: &str) -> Option<&'static str> {
    let macros = ["panic!(", "todo!(", "unimplemented!(", "unreachable!(", ".unwrap()", ".unwrap_err()"];
    if let Some(m) = macros.iter().find(|m| code.contains(**m)) {
        return Some(m);
    }
    // Parsers have an `expect` of their own, which returns an error.
    let of_a_parser = |before: &str| ["p", "self", "parser"].iter().any(|r| before.trim_end().ends_with(r));
    let mut rest = code;
    while let Some((before, after)) = rest.split_once(".expect(") {
        if !of_a_parser(before) {
            return Some(".expect(");
        }
        rest = after;
    }
    None
}

#[test]
fn panics_are_seen() {
    assert_eq!(panics("let x = y.unwrap();"), Some(".unwrap()"));
    assert_eq!(panics("    _ => unreachable!(),"), Some("unreachable!("));
    assert_eq!(panics("p.expect(\"{\")?; let n = text.parse().expect(\"number\");"), Some(".expect("));
    assert_eq!(panics("p.expect(\"{\")?; x.unwrap_or(0)"), None);
}

#[test]
fn no_paths_of_a_machine() {
    // Written in parts, or this file would name them.
    let private = ["/wo|rk/", "/ro|ot/", "/ho|me/", "C:\\Us|ers"].map(|p| p.replace('|', ""));
    let mut problems = vec![];
    for (path, text) in files(&["rs", "toml", "md", "sh", "py", "txt", "odc", "h", "c", "yml", "json", "snap"]) {
        for (k, line) in text.lines().enumerate() {
            if let Some(p) = private.iter().find(|p| line.contains(p.as_str())) {
                problems.push(format!("{}:{}: names {p}", path.display(), k + 1));
            }
        }
    }
    report(&problems);
}
