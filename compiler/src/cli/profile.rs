//! `odc bench --profile`: where the time of a run goes, dispatch by dispatch.

use super::device::Device;
use super::print;
use crate::problem::Failure;
use odc_format::Command;
use odc_runtime::TensorView;
use serde_json::{Value, json};
use std::time::{Duration, Instant};

/// The dispatches in order of execution with their median times, as `[{"command", "kernel", "us", "nodes"}, …]`.
pub fn profile(device: &mut Device, inputs: &[(&str, TensorView<'_>)], seconds: f64) -> Result<Value, Failure> {
    let commands = device.target().commands.len();
    let mut times: Vec<Vec<f64>> = vec![vec![]; commands];
    let (begin, limit) = (Instant::now(), Duration::from_secs_f64(seconds));
    let mut runs = 0;
    while begin.elapsed() < limit || runs < 5 {
        let mut last = Instant::now();
        device.run_watched(inputs, &mut |at| {
            let now = Instant::now();
            // A dispatch in a loop runs more than once.
            if let Some(list) = times.get_mut(at) {
                list.push((now - last).as_secs_f64() * 1e6);
            }
            last = Instant::now();
        })?;
        runs += 1;
    }
    let target = device.target();
    let mut list = vec![];
    for (at, (command, mut us)) in target.commands.iter().zip(times).enumerate() {
        let Command::Dispatch(d) = command else { continue };
        let Some(kernel) = target.kernels.get(d.kernel as usize) else { continue };
        us.sort_by(f64::total_cmp);
        let median = us.get(us.len() / 2).copied().unwrap_or(0.0);
        let each = us.len() as f64 / f64::from(runs);
        list.push(json!({ "command": at, "kernel": kernel.name, "us": (median * each * 1e3).round() / 1e3, "nodes": kernel.source }));
    }
    Ok(Value::Array(list))
}

/// The slowest first.
pub fn table(profile: &Value) -> Result<(), Failure> {
    let list = profile.as_array().map(Vec::as_slice).unwrap_or_default();
    let us = |v: &Value| v.get("us").and_then(Value::as_f64).unwrap_or(0.0);
    let sum: f64 = list.iter().map(us).sum();
    let mut order: Vec<&Value> = list.iter().collect();
    order.sort_by(|a, b| us(b).total_cmp(&us(a)));
    print(format!("{:>10} {:>6} {:>10}  kernel", "us", "share", "predicted"))?;
    for v in order {
        let text = |key: &str| v.get(key).and_then(Value::as_str).unwrap_or_default();
        let nodes: Vec<&str> = v.get("nodes").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str).collect();
        let predicted = v.get("predicted_us").and_then(Value::as_f64).map_or_else(String::new, |us| format!("{us:.1}"));
        let share = 100.0 * us(v) / sum.max(1e-9);
        print(format!("{:>10.1} {share:>5.1}% {predicted:>10}  {}  {}", us(v), text("kernel"), nodes.join(" ")))?;
    }
    Ok(())
}
