//! `odc targets`: what odc compiles for.

use super::{print, print_json};
use crate::problem::Failure;
use odc_backend::Target;

/// List the targets
#[derive(clap::Args)]
#[command(after_help = "Example:\n  odc targets --json")]
pub struct Args {
    /// Descriptions in JSON: features, limits, the costs that schedules are chosen by
    #[arg(long)]
    pub json: bool,
}

pub fn run(args: &Args) -> Result<(), Failure> {
    let targets: Vec<(&str, Target)> = Target::NAMES.iter().filter_map(|n| Some((*n, Target::parse(n).ok()?))).collect();
    if args.json {
        let entry = |(name, t): &(&str, Target)| serde_json::json!({ "target": name, "runs_here": t.runs_here(), "description": t });
        return print_json(&targets.iter().map(entry).collect::<Vec<_>>());
    }
    for (name, t) in &targets {
        let features = t.features.iter().map(|f| f.name()).collect::<Vec<_>>().join(" ");
        let same = if *name == t.name { String::new() } else { format!("= {}: ", t.name) };
        let here = if t.runs_here() { "runs here" } else { "not here" };
        print(format!(
            "{name:<16} {here:<10} {same}{} {}-bit vectors, {}",
            t.arch.name(),
            t.vector_bits,
            if features.is_empty() { "baseline" } else { &features }
        ))?;
    }
    Ok(())
}
