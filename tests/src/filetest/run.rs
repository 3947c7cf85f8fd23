//! `run:` in file tests: inputs from a seed or written out, results compared through every stage that the module can reach, or
//! with what the file says.
//!
//! ```text
//! // run: seed=1
//! // run: rtol=1e-6
//! // in: x: f32[2] = [f 1.0, f -1.0]
//! // out: y: f32[2] = [f 1.0, f 0.0]
//! ```

use crate::choices::Choices;
use crate::generate::inputs;
use crate::level::AnyModule;
use odc::passes::{GPU_PASSES, PASSES};
use odc_ir::core::{DType, TensorValue, assert_close, no_blobs, parse_module};
use odc_ir::graph::Graph;

/// Named results, the module's own first, then what each further stage gives.
#[derive(Debug)]
pub struct Results {
    stages: Vec<(String, Vec<(String, TensorValue)>)>,
}

#[derive(Clone, Debug)]
pub struct Run {
    seed: Option<u64>,
    rtol: f64,
    inputs: Vec<(String, TensorValue)>,
    /// Line, name, value.
    outputs: Vec<(usize, String, TensorValue)>,
}

impl Run {
    pub(super) fn start(text: &str) -> Result<Run, String> {
        let mut r = Run { seed: None, rtol: 1e-6, inputs: vec![], outputs: vec![] };
        for word in text.split_whitespace() {
            match word.split_once('=') {
                Some(("seed", n)) => r.seed = Some(n.parse().map_err(|_| format!("`{n}` is no seed"))?),
                Some(("rtol", x)) => r.rtol = x.parse().map_err(|_| format!("`{x}` is no tolerance"))?,
                _ => return Err(format!("`{word}`: a run takes seed=N and rtol=X")),
            }
        }
        Ok(r)
    }

    pub(super) fn add(&mut self, word: &str, text: &str, line: usize) -> Result<(), String> {
        let (name, value) = text.split_once(": ").ok_or("expected `name: type = [values]`")?;
        let value = constant(value)?;
        if word == "in" {
            self.inputs.push((name.into(), value));
        } else {
            self.outputs.push((line, name.into(), value));
        }
        Ok(())
    }

    pub(super) fn execute(&self, m: &AnyModule) -> Result<Results, String> {
        let mut given = self.inputs.clone();
        if let Some(seed) = self.seed {
            let mut c = Choices::from_seed(seed, 4096);
            let binding = inputs::binding(&mut c, m.symbols());
            let missing: Vec<_> = m.inputs().into_iter().filter(|(n, _)| given.iter().all(|(g, _)| g != n)).collect();
            given.extend(inputs::inputs(&mut c, &missing, &binding).map_err(|e| e.to_string())?);
        }
        let mut stages = vec![(m.level().to_string(), m.run(&given).map_err(|e| e.to_string())?)];
        for (machine, passes) in [("", PASSES), (" for GPUs", GPU_PASSES)] {
            let mut at = m.clone();
            for pass in passes.iter() {
                if pass.levels().0 != at.level() {
                    continue;
                }
                let next = match pass.apply(at.clone()) {
                    Ok(next) => next,
                    // What GPUs do not have is refused.
                    Err(e) if ["ODC0310", "ODC0311", "ODC0313"].iter().any(|code| e.contains(code)) => break,
                    Err(e) => return Err(format!("{}: {e}", pass.name)),
                };
                if next.can_run() {
                    at = next;
                    let name = format!("after {}{machine}", pass.name);
                    let values = at.run(&given).map_err(|e| format!("{name}: {e}\n{at}"))?;
                    stages.push((name, values));
                }
            }
        }
        Ok(Results { stages })
    }

    pub(super) fn compare(&self, results: &Results) -> Vec<String> {
        let mut wrong = vec![];
        let Some((_, first)) = results.stages.first() else { return wrong };
        for (line, name, expected) in &self.outputs {
            match first.iter().find(|(n, _)| n == name) {
                None => wrong.push(format!("line {}: the module has no result `{name}`", line + 1)),
                Some((_, got)) => {
                    if let Err(e) = assert_close(got, expected, self.rtol, self.rtol) {
                        wrong.push(format!("line {}: `{name}`: {e} (ODC_BLESS=1 rewrites it)", line + 1));
                    }
                }
            }
        }
        for (stage, values) in results.stages.iter().skip(1) {
            for ((name, got), (_, expected)) in values.iter().zip(first) {
                if let Err(e) = close(got, expected) {
                    wrong.push(format!("{stage}: `{name}`: {e}"));
                }
            }
        }
        wrong
    }

    pub(super) fn rewrite(&self, results: &Results, lines: &mut [String]) -> Result<(), String> {
        let Some((_, first)) = results.stages.first() else { return Ok(()) };
        for (line, name, expected) in &self.outputs {
            let got = first.iter().find(|(n, _)| n == name).ok_or_else(|| format!("the module has no result `{name}`"))?;
            if assert_close(&got.1, expected, self.rtol, self.rtol).is_err() {
                lines[*line] = format!("// out: {name}: {}", constant_text(&got.1)?);
            }
        }
        Ok(())
    }
}

/// Equal but for the rounding that another order of operations may bring: relative to the largest element, and to 1.
pub fn close(got: &TensorValue, expected: &TensorValue) -> Result<(), String> {
    if !expected.dtype.is_float() {
        return assert_close(got, expected, 0.0, 0.0);
    }
    let largest = expected.data.iter().map(|x| x.as_f64().abs()).filter(|x| x.is_finite()).fold(1.0, f64::max);
    let tolerance = if matches!(expected.dtype, DType::F16 | DType::BF16) { 1e-2 } else { 1e-4 };
    assert_close(got, expected, tolerance, tolerance * largest)
}

/// A tensor in the text form of constants.
fn constant(text: &str) -> Result<TensorValue, String> {
    let m = parse_module::<Graph>(&format!("graph module \"\" {{ const #0 : {text} }}"), &no_blobs).map_err(|e| e.message)?;
    let c = m.consts.first().ok_or("no value")?;
    TensorValue::from_const(c).map_err(|e| e.to_string())
}

fn constant_text(v: &TensorValue) -> Result<String, String> {
    let mut m = odc_ir::graph::Module::new("");
    m.add_const(v.to_const());
    let text = m.to_string();
    let line = text.lines().find_map(|l| l.trim().strip_prefix("const #0 : "));
    line.filter(|l| !l.contains("blob")).map(str::to_string).ok_or_else(|| "too large to write out; use a seed".into())
}
