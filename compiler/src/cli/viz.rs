//! `odc viz`: a compiled model as a page to look at.

use super::model::CompileArgs;
use crate::dims::DimArg;
use crate::output::{writable, write_bytes};
use crate::problem::{Failure, Problem};
use crate::report::{Memory, page};
use std::path::PathBuf;

/// Draw what a model becomes: dispatches, their cost, and the arena over time
#[derive(clap::Args)]
#[command(after_help = "\
The page needs no network and no server: open it in any browser.

Examples:
  odc viz model.onnx -o report.html
  odc viz model.onnx --at batch=1 --at seq=128 -o report.html      any size, shown at these
  odc viz model.onnx -t wgsl --dim N=1 -o report.html              compiled for one size")]
pub struct Args {
    /// An ONNX model
    model: PathBuf,
    #[command(flatten)]
    compile: CompileArgs,
    /// The size of a dim, to show it at
    #[arg(long, value_name = "N=4")]
    at: Vec<DimArg>,
    /// The page
    #[arg(short, long, value_name = "FILE.html")]
    output: PathBuf,
}

pub fn run(args: &Args) -> Result<(), Failure> {
    writable(&args.output)?;
    let compiled = super::model::compile(&args.model, &args.compile)?;
    let m = compiled.manifest();
    let given = super::info::sizes(m, &args.at)?;
    let memory = m.targets.first().and_then(|t| Memory::new(m, t, &given));
    let html = memory.and_then(|memory| page(&compiled, &memory));
    let html = html.ok_or_else(|| Problem::usage("the sizes overflow 64 bits").help("give smaller ones with --at"))?;
    Ok(write_bytes(&args.output, html.as_bytes())?)
}
