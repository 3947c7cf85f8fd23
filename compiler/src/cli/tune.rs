//! `odc tune`: the cost model's rates for this machine, fitted to what `odc bench --profile` measured on it.

use super::{print, print_json};
use crate::output::write_file;
use crate::problem::Failure;
use crate::rates::{self, Measured};
use odc_passes::cost::{Count, Rates};
use serde_json::{Map, Value, json};
use std::path::PathBuf;

/// Fit the cost model to this machine
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  odc bench unet.onnx --data unet/test_data_set_0 --threads 1 --profile --json > unet.json
  odc tune --fit unet.json bert.json mobilenet.json -o this-machine.json
  odc compile unet.onnx --rates this-machine.json")]
pub struct Args {
    /// Profiles of models, written by `odc bench MODEL --profile --json`
    #[arg(long, required = true, num_args = 1.., value_name = "PROFILE")]
    fit: Vec<PathBuf>,
    /// Where the rates go
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// One JSON object
    #[arg(long)]
    pub json: bool,
}

pub fn run(args: &Args) -> Result<(), Failure> {
    let profiles = args.fit.iter().map(|path| rates::profile(path)).collect::<Result<Vec<Vec<Measured>>, _>>()?;
    let all: Vec<Measured> = profiles.iter().flatten().cloned().collect();
    let fitted = rates::fit(&all);
    let file = Value::Object(named(&fitted));
    if let Some(path) = &args.output {
        write_file(path, |w| writeln!(w, "{file:#}"))?;
    }
    let correlation = |rows: &[Measured]| (rates::rank_correlation(rows, &fitted) * 1e4).round() / 1e4;
    let error = |rows: &[Measured]| {
        let mut ratios: Vec<f64> = rows.iter().map(|m| (fitted.time(&m.counts) / m.ns).max(1e-9)).map(|r| r.max(1.0 / r)).collect();
        ratios.sort_by(f64::total_cmp);
        (ratios.get(ratios.len() / 2).copied().unwrap_or(1.0) * 1e3).round() / 1e3
    };
    let each: Vec<Value> = args
        .fit
        .iter()
        .zip(&profiles)
        .map(|(path, rows)| {
            let name = path.display().to_string();
            json!({ "profile": name, "dispatches": rows.len(), "rank_correlation": correlation(rows), "median_ratio": error(rows) })
        })
        .collect();
    if args.json {
        return print_json(&json!({ "rates": file, "profiles": each, "rank_correlation": correlation(&all), "median_ratio": error(&all) }));
    }
    for (name, ns) in named(&fitted) {
        print(format!("{name:<10} {ns:>12} ns"))?;
    }
    print(format!("\n{:>10} {:>16} {:>12}  profile", "dispatches", "rank correlation", "median off"))?;
    for (path, rows) in args.fit.iter().zip(&profiles) {
        print(format!("{:>10} {:>16.3} {:>11.2}x  {}", rows.len(), correlation(rows), error(rows), path.display()))?;
    }
    print(format!("{:>10} {:>16.3} {:>11.2}x  all", all.len(), correlation(&all), error(&all)))
}

fn named(rates: &Rates) -> Map<String, Value> {
    Count::ALL.iter().zip(rates.0).map(|(c, ns)| (c.name().to_string(), json!((ns * 1e5).round() / 1e5))).collect()
}
