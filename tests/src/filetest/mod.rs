//! File tests: a module as text, what to do with it, and what must come out, all in one file under `tests/filetests`.
//!
//! ```text
//! // test: pass=canonicalise        parse, print, verify, pass=NAME,NAME or run
//! graph module "m" {
//!   …                               // error: part of a message, on the line at fault or the one above
//! }
//! // check: a part of the output    in this order
//! // check-not: what must not occur anywhere
//! // output:                        or the whole output, rewritten when ODC_BLESS=1
//! // graph module "m" {
//! ```
//!
//! Every comment of the form `// word:` must be a directive that is known and used; other comments are free.

mod expect;
mod run;

pub use run::close;

use crate::level::AnyModule;
use odc_ir::core::no_blobs;
use std::path::{Path, PathBuf};

/// What a file says, apart from the module.
#[derive(Clone, Debug, Default)]
struct FileTest {
    command: String,
    /// Line numbers (from 1) and texts.
    errors: Vec<(usize, String)>,
    checks: Vec<String>,
    check_nots: Vec<String>,
    /// Where `// output:` stands, and what follows it.
    output: Option<(usize, String)>,
    runs: Vec<run::Run>,
}

/// Runs one file; with `bless`, rewrites what it expects instead of failing.
pub fn run_file(path: &Path, bless: bool) -> Result<(), String> {
    let text = std::fs::read_to_string(path).map_err(|e| e.to_string())?;
    let test = FileTest::parse(&text)?;
    let outcome = test.execute(&text)?;
    if bless {
        if let Some(new) = test.blessed(&text, &outcome)? {
            std::fs::write(path, new).map_err(|e| e.to_string())?;
        }
        return Ok(());
    }
    test.judge(&text, &outcome)
}

/// All `.odc` files below a folder, in order.
pub fn files(folder: &Path) -> Result<Vec<PathBuf>, String> {
    let mut out = vec![];
    for entry in std::fs::read_dir(folder).map_err(|e| format!("{}: {e}", folder.display()))? {
        let path = entry.map_err(|e| e.to_string())?.path();
        if path.is_dir() {
            out.extend(files(&path)?);
        } else if path.extension().is_some_and(|e| e == "odc") {
            out.push(path);
        }
    }
    out.sort();
    Ok(out)
}

/// What the command gave: a text, or problems with the line or op they are about.
#[derive(Debug, Default)]
struct Outcome {
    text: String,
    problems: Vec<Problem>,
    results: Vec<run::Results>,
}

/// An error and where it is: a line, or an op of that name and location.
#[derive(Debug)]
struct Problem {
    line: Option<usize>,
    op: String,
    loc: String,
    message: String,
}

impl FileTest {
    fn parse(text: &str) -> Result<FileTest, String> {
        let mut t = FileTest::default();
        for (k, line) in text.lines().enumerate() {
            let Some((before, comment)) = line.split_once("//") else { continue };
            let Some((word, rest)) = directive(comment) else { continue };
            let alone = before.trim().is_empty();
            match word {
                "test" if t.command.is_empty() => t.command = rest.into(),
                "test" => return Err(format!("{}: a second `test:`", k + 1)),
                // Above the line at fault, or on it.
                "error" => t.errors.push((if alone { k + 2 } else { k + 1 }, rest.into())),
                "check" => t.checks.push(rest.into()),
                "check-not" => t.check_nots.push(rest.into()),
                "run" => t.runs.push(run::Run::start(rest).map_err(|e| format!("{}: {e}", k + 1))?),
                "in" | "out" => match t.runs.last_mut() {
                    Some(r) => r.add(word, rest, k).map_err(|e| format!("{}: {e}", k + 1))?,
                    None => return Err(format!("{}: `{word}:` without a `run:` before it", k + 1)),
                },
                "output" => {
                    let body = text.lines().skip(k + 1).map(|l| format!("{}\n", uncomment(l))).collect();
                    t.output = Some((k, body));
                    break;
                }
                _ => return Err(format!("{}: unknown directive `{word}:`", k + 1)),
            }
        }
        if t.command.is_empty() { Err("no `// test: …` line".into()) } else { t.consistent() }
    }

    fn consistent(self) -> Result<Self, String> {
        let makes_text = !self.checks.is_empty() || !self.check_nots.is_empty() || self.output.is_some();
        let fails = !self.errors.is_empty();
        let runs = !self.runs.is_empty();
        match self.command.as_str() {
            "parse" if makes_text || runs => Err("`test: parse` uses no check, output or run".into()),
            "parse" | "verify" if makes_text => Err("`test: verify` uses no check or output".into()),
            "verify" if runs => Err("`test: verify` uses no run".into()),
            "run" if makes_text => Err("`test: run` uses no check or output".into()),
            "run" if !runs && !fails => Err("`test: run` needs a `run:`".into()),
            "print" if fails || !makes_text => Err("`test: print` needs checks or an output, and no error".into()),
            c if c.starts_with("pass=") && !makes_text && !fails => Err("`test: pass=…` needs checks, an output or an error".into()),
            "parse" | "verify" | "print" | "run" => Ok(self),
            c if c.starts_with("pass=") => Ok(self),
            c => Err(format!("unknown test `{c}`")),
        }
    }

    fn execute(&self, text: &str) -> Result<Outcome, String> {
        let mut out = Outcome::default();
        let mut m = match AnyModule::parse(text, &no_blobs) {
            Ok(m) => m,
            Err(e) => {
                out.problems.push(Problem { line: Some(e.line), op: String::new(), loc: String::new(), message: e.to_string() });
                return Ok(out);
            }
        };
        if self.command == "parse" {
            return Ok(out);
        }
        if self.command == "print" {
            out.text = m.to_string();
            return Ok(out);
        }
        let errors = m.verify();
        if !errors.is_empty() {
            let problem = |e: odc_ir::core::VerifyError| Problem { line: None, op: e.op, loc: e.loc, message: e.message };
            out.problems = errors.into_iter().map(problem).collect();
            return Ok(out);
        }
        if let Some(names) = self.command.strip_prefix("pass=") {
            for name in names.split(',') {
                m = odc::passes::apply(name.trim(), m)?;
                let errors = m.verify();
                if let Some(e) = errors.first() {
                    return Err(format!("after {name}: {e}\n{m}"));
                }
            }
            m.renumber();
            out.text = m.to_string();
        }
        for r in &self.runs {
            out.results.push(r.execute(&m)?);
        }
        Ok(out)
    }
}

/// `word: rest` of a comment, if it looks like a directive.
fn directive(comment: &str) -> Option<(&str, &str)> {
    let (word, rest) = comment.trim_start().split_once(':')?;
    let plain = !word.is_empty() && word.chars().all(|c| c.is_ascii_lowercase() || c == '-');
    (plain && (rest.is_empty() || rest.starts_with(' '))).then(|| (word, rest.trim()))
}

fn uncomment(line: &str) -> &str {
    let l = line.strip_prefix("//").unwrap_or(line);
    l.strip_prefix(' ').unwrap_or(l)
}
