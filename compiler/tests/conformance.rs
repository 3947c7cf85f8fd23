//! ONNX's conformance cases through `odc verify`, each in a process of its own, so that a crash or a hang is one failure. A list of
//! expected failures stands beside the cases' script; a failure that it does not have and a pass that it has both fail the suite.
//!
//!     cargo test -p odc --test conformance -- [--on lavapipe] [--bless] [PART OF A NAME]
//!
//! `tests/conformance/make.sh` writes the cases to `$ODC_CONFORMANCE` (`target/conformance`). `--bless` writes the list.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// For one case, compilation included.
const BUDGET: Duration = Duration::from_secs(60);

struct Case {
    name: String,
    domain: String,
    rtol: String,
    atol: String,
}

#[derive(Clone)]
enum Outcome {
    Pass,
    Fail(String),
    /// A crash or a hang, which no list excuses.
    Broken(String),
}

fn main() -> ExitCode {
    let mut on = "cpu".to_owned();
    let (mut bless, mut part) = (false, String::new());
    let mut args = std::env::args().skip(1);
    while let Some(a) = args.next() {
        match a.as_str() {
            "--on" => on = args.next().unwrap_or_default(),
            "--bless" => bless = true,
            "--list" => return ExitCode::SUCCESS,
            // Options of the standard harness, meant for other test programs.
            "--test-threads" | "--skip" | "--format" | "--color" => drop(args.next()),
            a if a.starts_with('-') => {}
            a => part = a.into(),
        }
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let folder = std::env::var_os("ODC_CONFORMANCE").map_or(root.join("target/conformance"), PathBuf::from);
    let Ok(text) = std::fs::read_to_string(folder.join("cases.txt")) else {
        println!("{} is not there: tests/conformance/make.sh writes the cases", folder.join("cases.txt").display());
        return if std::env::var_os("ODC_REQUIRE_CONFORMANCE").is_some() { ExitCode::FAILURE } else { ExitCode::SUCCESS };
    };
    let target: &[&str] = match on.as_str() {
        "cpu" => &["-t", "cpu"],
        "lavapipe" => &["-t", "wgsl", "--adapter", "llvmpipe"],
        _ => panic!("--on takes cpu or lavapipe, not {on}"),
    };
    let cases: Vec<Case> = text.lines().filter_map(case).filter(|c| c.name.contains(&part)).collect();
    let start = Instant::now();
    let outcomes = run_all(&cases, &folder, target);
    let list = root.join(format!("tests/conformance/{on}.txt"));
    let old = std::fs::read_to_string(&list).unwrap_or_default();
    if bless {
        assert!(part.is_empty(), "--bless takes all cases");
        std::fs::write(&list, blessed(&old, &cases, &outcomes)).unwrap();
    }
    let now = if bless { std::fs::read_to_string(&list).unwrap() } else { old };
    report(&cases, &outcomes, &read(&now), part.is_empty(), start.elapsed())
}

fn case(line: &str) -> Option<Case> {
    let mut f = line.split('\t').map(String::from);
    Some(Case { name: f.next()?, domain: f.next()?, rtol: f.next()?, atol: f.next()? })
}

fn run_all(cases: &[Case], folder: &Path, target: &[&str]) -> Vec<Outcome> {
    let next = AtomicUsize::new(0);
    let outcomes = Mutex::new(vec![Outcome::Pass; cases.len()]);
    let scratch = tempfile::tempdir().unwrap();
    let worker = |k: usize| {
        let (out, err) = (scratch.path().join(format!("{k}.out")), scratch.path().join(format!("{k}.err")));
        loop {
            let k = next.fetch_add(1, Ordering::Relaxed);
            let Some(c) = cases.get(k) else { return };
            let outcome = run(c, folder, target, [&out, &err]);
            outcomes.lock().unwrap()[k] = outcome;
        }
    };
    std::thread::scope(|s| {
        for k in 0..std::thread::available_parallelism().map_or(2, usize::from) {
            s.spawn(move || worker(k));
        }
    });
    outcomes.into_inner().unwrap()
}

fn run(case: &Case, folder: &Path, target: &[&str], logs: [&PathBuf; 2]) -> Outcome {
    let folder = folder.join(&case.name);
    let [out, err] = logs.map(|p| std::fs::File::create(p).unwrap());
    // Where ONNX asks for 1e-7 of values near zero, one rounding of a float is as large.
    let atol = case.atol.parse::<f64>().unwrap().max(1e-6).to_string();
    let mut child = Command::new(env!("CARGO_BIN_EXE_odc"))
        .arg("verify")
        .arg(folder.join("model.onnx"))
        .arg("--data")
        .arg(&folder)
        .args(["--rtol", &case.rtol, "--atol", &atol, "--threads", "1", "--compile-threads", "1"])
        .args(target)
        .stdin(Stdio::null())
        .stdout(out)
        .stderr(err)
        .spawn()
        .unwrap();
    let start = Instant::now();
    let status = loop {
        match child.try_wait().unwrap() {
            Some(status) => break status,
            None if start.elapsed() > BUDGET => {
                child.kill().unwrap();
                child.wait().unwrap();
                return Outcome::Broken(format!("not done after {} s", BUDGET.as_secs()));
            }
            None => std::thread::sleep(Duration::from_millis(3)),
        }
    };
    let said = logs.map(|p| String::from_utf8_lossy(&std::fs::read(p).unwrap()).into_owned()).concat();
    match status.code() {
        Some(0) => Outcome::Pass,
        Some(1..=6) if !said.contains("panicked") => Outcome::Fail(reason(&said)),
        _ => Outcome::Broken(format!("{status}: {}", said.lines().last().unwrap_or_default())),
    }
}

/// The first problem in one line, without the names of files and nodes.
fn reason(said: &str) -> String {
    let line = said.lines().find(|l| l.starts_with("DIFFER") || l.starts_with("error")).unwrap_or("no reason given");
    if line.starts_with("DIFFER") {
        let tail = line.split(": ").skip(2).collect::<Vec<_>>().join(": ");
        return format!("differs: {}", tail.split(", at [").next().unwrap_or_default());
    }
    let code = line.get(6..13).unwrap_or_default();
    let op = line.split_once("` (").and_then(|(_, t)| t.split_once("): ")).map(|(op, _)| format!(" {op}")).unwrap_or_default();
    let what = line.rsplit_once(".pb: ").or_else(|| line.split_once("): ")).or_else(|| line.split_once("]: ")).map_or(line, |(_, t)| t);
    format!("{code}{op}: {what}").chars().take(160).collect()
}

/// `KIND/CASE reason`, one a line; `#` starts a comment.
fn read(text: &str) -> BTreeMap<&str, &str> {
    let lines = text.lines().filter(|l| !l.starts_with('#') && !l.trim().is_empty());
    lines.map(|l| l.split_once(' ').unwrap_or((l, ""))).map(|(n, r)| (n, r.trim())).collect()
}

/// The comments as they were, reasons written by hand kept.
fn blessed(old: &str, cases: &[Case], outcomes: &[Outcome]) -> String {
    let known = read(old);
    let mut text: String = old.lines().take_while(|l| l.starts_with('#')).map(|l| format!("{l}\n")).collect();
    for (c, o) in cases.iter().zip(outcomes) {
        if let Outcome::Fail(why) | Outcome::Broken(why) = o {
            // What an older run said may have changed; what a person wrote has no code in front.
            let by_hand = known.get(c.name.as_str()).filter(|r| !r.starts_with("ODC0") && !r.starts_with("differs: "));
            text.push_str(&format!("{} {}\n", c.name, by_hand.map_or(why.as_str(), |r| r)));
        }
    }
    text
}

fn report(cases: &[Case], outcomes: &[Outcome], expected: &BTreeMap<&str, &str>, all: bool, time: Duration) -> ExitCode {
    let mut domains: BTreeMap<&str, (usize, usize)> = BTreeMap::new();
    let mut wrong = vec![];
    for (c, o) in cases.iter().zip(outcomes) {
        let count = domains.entry(&c.domain).or_default();
        count.1 += 1;
        match (o, expected.get(c.name.as_str())) {
            (Outcome::Pass, None) => count.0 += 1,
            (Outcome::Pass, Some(_)) => {
                count.0 += 1;
                wrong.push(format!("{} passes: take it off the list", c.name));
            }
            (Outcome::Fail(_), Some(_)) => {}
            (Outcome::Fail(why), None) => wrong.push(format!("{} fails: {why}", c.name)),
            (Outcome::Broken(why), _) => wrong.push(format!("{} breaks: {why}", c.name)),
        }
    }
    if all {
        let gone = expected.keys().filter(|n| !cases.iter().any(|c| c.name == **n));
        wrong.extend(gone.map(|n| format!("{n} is listed, but there is no such case")));
    }
    wrong.iter().for_each(|w| println!("{w}"));
    for (domain, (passed, all)) in domains {
        println!("{domain}: {passed} of {all}");
    }
    let ok = cases.len().saturating_sub(wrong.len());
    let word = if wrong.is_empty() { "ok" } else { "FAILED" };
    println!("test result: {word}. {ok} passed; {} failed; 0 ignored; as listed; finished in {:.1} s", wrong.len(), time.as_secs_f64());
    // The form that `tests/run` adds up where this program runs by itself.
    if std::env::args().any(|a| a == "--on") {
        println!("{ok} passed, {} failed", wrong.len());
    }
    ExitCode::from(u8::from(!wrong.is_empty()))
}
