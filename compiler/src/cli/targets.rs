//! `odc targets`: what odc compiles for.

use super::{print, print_json};
use crate::AnyTarget;
use crate::problem::Failure;

/// List the targets
#[derive(clap::Args)]
#[command(after_help = "Example:\n  odc targets --json")]
pub struct Args {
    /// Descriptions in JSON: features, limits, the costs that schedules are chosen by
    #[arg(long)]
    pub json: bool,
}

pub fn run(args: &Args) -> Result<(), Failure> {
    let targets: Vec<(String, AnyTarget)> =
        AnyTarget::names().into_iter().filter_map(|n| Some((n.clone(), AnyTarget::parse(&n).ok()?))).collect();
    if args.json {
        let entry = |(name, t): &(String, AnyTarget)| serde_json::json!({ "target": name, "runs_here": here(t), "description": t });
        return print_json(&targets.iter().map(entry).collect::<Vec<_>>());
    }
    for (name, t) in &targets {
        let same = if name == t.name() { String::new() } else { format!("= {}: ", t.name()) };
        let here = match here(t) {
            Some(true) => "runs here",
            Some(false) => "not here",
            None => "gpu",
        };
        print(format!("{name:<16} {here:<10} {same}{}", t.about()))?;
    }
    Ok(())
}

/// Not known of GPUs without asking for one.
fn here(t: &AnyTarget) -> Option<bool> {
    match t {
        AnyTarget::Cpu(t) => Some(t.runs_here()),
        AnyTarget::Gpu(_) => None,
    }
}
