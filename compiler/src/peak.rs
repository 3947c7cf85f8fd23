//! The machine's peak of 128-bit fused multiply-adds on one core, measured by a kernel made for it: the yardstick that the
//! figures of real kernels are held against.

use crate::artifact::{self, TargetCode};
use crate::problem::{Failure, Problem};
use crate::progress::silent;
use crate::{AnyTarget, Exit, kernels};
use odc_backend::Target;
use odc_ir::core::no_blobs;
use odc_ir::program::parse_program;
use odc_runtime::{Artifact, SessionOptions};
use std::fmt::Write;
use std::time::Instant;

/// Independent chains: as many as latency times throughput of common cores asks for, and registers hold.
const CHAINS: u64 = 12;
const ROUNDS: u64 = 400_000;
const LANES: u64 = 4;

/// `x = x * a + b` on every chain, a round at a time, as program text.
fn program() -> String {
    let (mut init, mut args, mut body, mut next, mut types, mut stores) = Default::default();
    let add = |s: &mut String, sep: &str, text: std::fmt::Arguments<'_>| {
        let _ = write!(s, "{}{text}", if s.is_empty() { "" } else { sep });
    };
    for k in 0..CHAINS {
        add(&mut init, ", ", format_args!("%6"));
        add(&mut args, ", ", format_args!("%{}: vec<f32, 4>", 20 + k));
        add(&mut body, "\n", format_args!("%{} = fma %{}, %5, %6 : vec<f32, 4>", 40 + k, 20 + k));
        add(&mut next, ", ", format_args!("%{}", 40 + k));
        add(&mut types, ", ", format_args!("vec<f32, 4>"));
        add(&mut stores, "\n", format_args!("%{} = const {{value = {}}} : index\nstore %0, %{}, %{}", 80 + k, k * LANES, 80 + k, 60 + k));
    }
    let results: Vec<String> = (0..CHAINS).map(|k| format!("%{}", 60 + k)).collect();
    let text = format!(
        "program \"peak\" {{
  output \"y\" : f32[48] = slot 0
  arena 192
  slot 0 at 0 size 192 \"y\"
  dispatch 0 () -> (slot 0) dims [] grid 1 grain 1 scratch 0
  func @peak(%0 \"y\": ptr<f32, global>) {{
    %1 = const {{value = 0}} : index
    %2 = const {{value = 1}} : index
    %3 = const {{value = {ROUNDS}}} : index
    for {{kind = grid}} %1, %2, %2 (%4: index) {{
      %5 = const {{value = f 0.5}} : vec<f32, 4>
      %6 = const {{value = f 0.25}} : vec<f32, 4>
      {} = for {{kind = serial}} %1, %3, %2, {init} (%7: index, {args}) {{
        {body}
        yield {next}
      }} : {types}
      {stores}
      yield
    }}
    yield
  }}
}}",
        results.join(", ")
    );
    renumber(&text)
}

/// Value numbers without gaps, in order of appearance.
fn renumber(text: &str) -> String {
    let mut seen: Vec<&str> = vec![];
    let mut out = String::new();
    for (k, part) in text.split('%').enumerate() {
        if k == 0 {
            out.push_str(part);
            continue;
        }
        let end = part.find(|c: char| !c.is_ascii_digit()).unwrap_or(part.len());
        let (name, rest) = part.split_at(end);
        let at = seen.iter().position(|s| *s == name).unwrap_or_else(|| {
            seen.push(name);
            seen.len() - 1
        });
        let _ = write!(out, "%{at}{rest}");
    }
    out
}

/// 10^9 operations a second on one core, a multiply-add counting two.
pub fn fma128_gflops() -> Result<f64, Failure> {
    let bug = |e: &dyn std::fmt::Display| Failure::new(Exit::Device, Problem::new("ODC0702", format!("the peak cannot be measured: {e}")));
    let target = Target::host().map_err(|e| bug(&e))?;
    let program = parse_program(&program(), &no_blobs).map_err(|e| bug(&e))?;
    let target = AnyTarget::Cpu(target);
    let code = kernels::compile(&program, &target, 1, &silent).map_err(|problems| Failure { exit: Exit::Device, problems })?;
    let parts = artifact::assemble(&[TargetCode { target: &target, program: &program, code }])?;
    let code: Vec<&[u8]> = parts.code.iter().map(Vec::as_slice).collect();
    let artifact = Artifact::from_bytes(odc_format::to_vec(&parts.manifest, &code, &[])?)?;
    let mut session = artifact.session(SessionOptions::threads(1))?;
    let mut best = f64::INFINITY;
    for _ in 0..9 {
        let start = Instant::now();
        session.run(&[])?;
        best = best.min(start.elapsed().as_secs_f64());
    }
    Ok((ROUNDS * CHAINS * LANES * 2) as f64 / best / 1e9)
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_peak_is_that_of_a_cpu() {
        let gflops = super::fma128_gflops().unwrap();
        assert!((0.5..1000.0).contains(&gflops), "{gflops}");
    }
}
