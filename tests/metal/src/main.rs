//! `odc verify` for Metal: runs an artifact's Metal kernels on the host shim and compares whole outputs.

use clap::Parser;
use odc::compare::{Golden, Tolerance, Tolerances};
use odc_metal_shim::verify::{Failure, verify};
use std::path::PathBuf;
use std::process::ExitCode;

/// Compares what an artifact's Metal kernels compute on the host shim with expected outputs
#[derive(Parser)]
#[command(after_help = "\
Both MODEL and FOLDER come from one model:
  odc compile model.onnx -t metal -o model.odc
  odc compile model.onnx -t metal -o model/")]
struct Args {
    /// The artifact
    model: PathBuf,
    /// The same as a folder: an app takes the sizes of threadgroup memory from its manifest.json
    folder: PathBuf,
    /// Data sets
    #[arg(long, value_name = "DIR")]
    data: PathBuf,
    /// Tolerances by data set and output
    #[arg(long, value_name = "golden.json")]
    tolerance: Option<PathBuf>,
}

fn main() -> ExitCode {
    match run(&Args::parse()) {
        Ok(0) => ExitCode::SUCCESS,
        Ok(wrong) => {
            eprintln!("error: {wrong} outputs differ from what is expected");
            ExitCode::from(4)
        }
        Err(e) => {
            eprintln!("error: {e}");
            ExitCode::from(1)
        }
    }
}

/// How many outputs are wrong.
fn run(args: &Args) -> Result<usize, Failure> {
    let bytes = std::fs::read(&args.model).map_err(|e| format!("{}: {e}", args.model.display()))?;
    let tolerances = match &args.tolerance {
        Some(path) => Tolerances::Golden(Golden::read(path).map_err(|p| p.to_string())?),
        None => Tolerances::Floats(Tolerance::DEFAULT),
    };
    let verified = verify(&bytes, &args.folder, &args.data, &tolerances)?;
    for v in &verified {
        let d = &v.difference;
        let mark = if d.passes() { "ok    " } else { "DIFFER" };
        println!(
            "{mark} {}: {}: largest error {:.3e}, {} of {} elements wrong",
            v.set.display(),
            v.output,
            d.max_abs_err,
            d.wrong,
            d.elements
        );
    }
    if verified.is_empty() {
        return Err("the data sets have no outputs to compare with".into());
    }
    Ok(verified.iter().filter(|v| !v.difference.passes()).count())
}
