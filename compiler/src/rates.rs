//! The rates of the cost model: read from a file, or fitted to profiles of `odc bench --profile --json` by least squares of relative
//! errors, no rate below zero.

use crate::problem::Problem;
use odc_passes::cost::{Count, Counts, Rates};
use serde_json::{Map, Value};
use std::path::Path;

/// Sweeps of coordinate descent: far more than nine coordinates need.
const SWEEPS: usize = 4000;
/// Reads of the clock are no finer.
const LEAST_US: f64 = 0.2;

/// A dispatch that was measured.
#[derive(Clone, Debug, PartialEq)]
pub struct Measured {
    pub counts: Counts,
    pub ns: f64,
}

/// Reads `{"launch": 400.0, …}`: nanoseconds of each count.
pub fn read(path: &Path) -> Result<Rates, Problem> {
    let all = object(path)?;
    let mut rates = Rates::CPU;
    for (name, v) in &all {
        let known = Count::ALL.iter().position(|c| c.name() == name);
        let value = v.as_f64().filter(|ns| ns.is_finite() && *ns >= 0.0);
        let (Some(k), Some(ns)) = (known, value) else {
            let names: Vec<_> = Count::ALL.iter().map(|c| c.name()).collect();
            let why = format!("`{name}` is {v}: it holds nanoseconds of {}", names.join(", "));
            return Err(Problem::bad_file(path, why).help("write it with `odc tune --fit … -o FILE`"));
        };
        rates.0[k] = ns;
    }
    Ok(rates)
}

/// What a profile measured.
pub fn profile(path: &Path) -> Result<Vec<Measured>, Problem> {
    let report = object(path)?;
    let wrong =
        || Problem::bad_file(path, "it is no profile of a compiled model").help("write it with `odc bench MODEL.onnx --profile --json`");
    let list = report.get("profile").and_then(Value::as_array).ok_or_else(wrong)?;
    let mut measured = vec![];
    for entry in list {
        let us = entry.get("us").and_then(Value::as_f64).ok_or_else(wrong)?;
        // Dispatches of loops and branches are not counted.
        let Some(counts) = entry.get("counts").and_then(Value::as_object) else { continue };
        let mut c = Counts::default();
        for (k, what) in Count::ALL.iter().enumerate() {
            c.0[k] = counts.get(what.name()).and_then(Value::as_f64).ok_or_else(wrong)?;
        }
        if us >= LEAST_US {
            measured.push(Measured { counts: c, ns: us * 1e3 });
        }
    }
    if measured.is_empty() {
        return Err(wrong());
    }
    Ok(measured)
}

fn object(path: &Path) -> Result<Map<String, Value>, Problem> {
    let text = std::fs::read_to_string(path).map_err(|e| Problem::unreadable(path, e))?;
    let wrong = |why: &dyn std::fmt::Display| Problem::bad_file(path, why);
    let value: Value = serde_json::from_str(&text).map_err(|e| wrong(&e))?;
    value.as_object().cloned().ok_or_else(|| wrong(&"it is no JSON object"))
}

/// The rates with the least sum of squared relative errors. A count that nothing has keeps its rate.
pub fn fit(measured: &[Measured]) -> Rates {
    let mut rates = Rates::CPU;
    // Each row relative to what was measured; the residual of each row under the present rates.
    let rows: Vec<Vec<f64>> = measured.iter().map(|m| m.counts.0.iter().map(|n| n / m.ns).collect()).collect();
    let mut rest: Vec<f64> = measured.iter().map(|m| 1.0 - rates.time(&m.counts) / m.ns).collect();
    for _ in 0..SWEEPS {
        for k in 0..rates.0.len() {
            let (dot, square) = rows.iter().zip(&rest).fold((0.0, 0.0), |(d, s), (row, r)| (d + row[k] * r, s + row[k] * row[k]));
            if square <= 0.0 {
                continue;
            }
            let new = (rates.0[k] + dot / square).max(0.0);
            let step = new - rates.0[k];
            rates.0[k] = new;
            rest.iter_mut().zip(&rows).for_each(|(r, row)| *r -= step * row[k]);
        }
    }
    rates
}

/// Spearman's rank correlation of predicted and measured times; 1 for a perfect order.
pub fn rank_correlation(measured: &[Measured], rates: &Rates) -> f64 {
    let a = ranks(measured.iter().map(|m| rates.time(&m.counts)).collect());
    let b = ranks(measured.iter().map(|m| m.ns).collect());
    let mean = (a.len() as f64 - 1.0) / 2.0;
    let of = |x: &[f64], y: &[f64]| x.iter().zip(y).map(|(x, y)| (x - mean) * (y - mean)).sum::<f64>();
    let scale = (of(&a, &a) * of(&b, &b)).sqrt();
    if scale > 0.0 { of(&a, &b) / scale } else { 1.0 }
}

/// Equal values share the mean of their ranks.
fn ranks(x: Vec<f64>) -> Vec<f64> {
    let mut order: Vec<usize> = (0..x.len()).collect();
    order.sort_by(|a, b| x[*a].total_cmp(&x[*b]));
    let mut out = vec![0.0; x.len()];
    let mut at = 0;
    for same in order.chunk_by(|a, b| x[*a] == x[*b]) {
        let rank = at as f64 + (same.len() as f64 - 1.0) / 2.0;
        same.iter().for_each(|k| out[*k] = rank);
        at += same.len();
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(pairs: &[(Count, f64)], ns: f64) -> Measured {
        let mut counts = Counts::default();
        pairs.iter().for_each(|(c, n)| counts.0[*c as usize] = *n);
        Measured { counts, ns }
    }

    #[test]
    fn rates_that_made_the_times_are_found() {
        let truth = [(Count::Launch, 250.0), (Count::Fma, 0.07), (Count::Bytes, 0.02)];
        let rows: Vec<Measured> = (1..40)
            .map(|k| {
                let counts = [(Count::Launch, 1.0), (Count::Fma, f64::from(k * k % 17) * 1e4), (Count::Bytes, f64::from(k % 7) * 1e4)];
                row(&counts, truth.iter().zip(&counts).map(|((_, ns), (_, n))| ns * n).sum())
            })
            .collect();
        let found = fit(&rows);
        for (c, ns) in truth {
            assert!((found.0[c as usize] / ns - 1.0).abs() < 1e-3, "{c:?}: {found:?}");
        }
        assert!(rank_correlation(&rows, &found) > 0.9999);
        // Of what never happened, nothing is learned.
        assert_eq!(found.0[Count::Heavy as usize], Rates::CPU.0[Count::Heavy as usize]);
    }

    #[test]
    fn correlation_of_ranks() {
        let rows =
            |ns: [f64; 4]| -> Vec<Measured> { ns.iter().zip(1..).map(|(ns, k)| row(&[(Count::Fma, f64::from(k) * 1e6)], *ns)).collect() };
        assert_eq!(rank_correlation(&rows([1.0, 2.0, 3.0, 9.0]), &Rates::CPU), 1.0);
        assert_eq!(rank_correlation(&rows([9.0, 3.0, 2.0, 1.0]), &Rates::CPU), -1.0);
        assert_eq!(ranks(vec![5.0, 1.0, 5.0]), [1.5, 0.0, 1.5]);
    }
}
