//! The command: one file a subcommand. Results go to stdout; progress, warnings and errors to stderr; the exit code says what
//! kind of failure it was.

mod bench;
mod blobs;
mod check;
mod compile;
mod control;
mod device;
mod explain;
mod fixed;
mod info;
mod model;
mod opt;
mod predict;
mod profile;
mod run;
mod targets;
mod tune;
mod verify;
mod viz;
mod watch;

use crate::problem::{Failure, Problem};
use clap::{Parser, Subcommand};
use std::io::Write;
use std::process::ExitCode;

const ABOUT: &str = "odc compiles ONNX models ahead of time: kernels, memory plan and packed weights in one file for a tiny runtime";
const EXAMPLES: &str = "\
Examples:
  odc compile model.onnx -t cpu -o model.odc      one artifact for every size that the model declares
  odc run     model.odc -i image=cat.npy --top 5 --labels classes.txt
  odc verify  model.odc --data model/ --tolerance model/golden.json
  odc bench   model.odc --data model/test_data_set_0 --threads 2 --seconds 5
  odc check   model.onnx                          what is in the model, and what odc cannot compile

Exit codes: 0 done, 1 usage, 2 the model cannot be imported, 3 it cannot be compiled, 4 results differ,
5 a budget or gate was missed, 6 device.";

#[derive(Parser)]
#[command(name = "odc", version, about = ABOUT, after_help = EXAMPLES, max_term_width = 120, disable_help_subcommand = false)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Compile(compile::Args),
    Run(run::Args),
    Verify(verify::Args),
    Bench(bench::Args),
    Info(info::Args),
    Viz(viz::Args),
    Check(check::Args),
    Opt(opt::Args),
    Targets(targets::Args),
    Tune(tune::Args),
}

/// Parses the process's arguments, does what they say and returns the exit code.
pub fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(e) => {
            // A closed pipe is no reason to fail.
            let _ = e.print();
            return ExitCode::from(u8::from(e.use_stderr()));
        }
    };
    let (result, json) = match &cli.command {
        Command::Compile(a) => (compile::run(a), a.json),
        Command::Run(a) => (run::run(a), a.json),
        Command::Verify(a) => (verify::run(a), a.json),
        Command::Bench(a) => (bench::run(a), a.json),
        Command::Info(a) => (info::run(a), a.json),
        Command::Viz(a) => (viz::run(a), false),
        Command::Check(a) => (check::run(a), a.json),
        Command::Opt(a) => (opt::run(a), false),
        Command::Targets(a) => (targets::run(a), a.json),
        Command::Tune(a) => (tune::run(a), a.json),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            report(&failure, json);
            ExitCode::from(failure.exit as u8)
        }
    }
}

/// All problems on stderr, as text or as one JSON object.
fn report(failure: &Failure, json: bool) {
    let text = if json {
        serde_json::json!({ "exit": failure.exit as u8, "errors": failure.problems }).to_string()
    } else {
        let mut text = failure.to_string();
        if failure.problems.len() > 1 {
            text.push_str(&format!("\n{} problems", failure.problems.len()));
        }
        text
    };
    if !failure.problems.is_empty() {
        let _ = writeln!(std::io::stderr(), "{text}");
    }
}

/// Prints a line of results. That nobody reads them any more is no failure (`odc info … | head`).
fn print(text: impl std::fmt::Display) -> Result<(), Failure> {
    match writeln!(std::io::stdout(), "{text}") {
        Err(e) if e.kind() != std::io::ErrorKind::BrokenPipe => Err(Problem::new("ODC0003", format!("cannot write to stdout: {e}")).into()),
        _ => Ok(()),
    }
}

fn print_json(value: &impl serde::Serialize) -> Result<(), Failure> {
    print(serde_json::to_string(value).map_err(Failure::usage)?)
}
