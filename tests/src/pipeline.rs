//! Graph modules through the whole compiler and the runtime, as `odc compile` and `odc run` take models: what random modules are
//! compared with.

use crate::choices::Choices;
use odc::{AnyTarget, OptLevel, Options};
use odc_format::DType as HostDType;
use odc_ir::core::{DType, TensorValue};
use odc_ir::graph;
use odc_passes::fuse::Arm;
use odc_runtime::{Session, TensorView};

fn text(what: &str) -> impl Fn(&dyn std::fmt::Display) -> String + '_ {
    move |e| format!("{what}: {e}")
}

/// Optimised as `-O2` does.
pub fn optimised() -> Options {
    Options { level: OptLevel::O2, threads: 1, ..Options::default() }
}

/// With some of the rules of fusion, under a memory budget that every program keeps, which makes the compiler weigh all its forms.
pub fn optimised_somehow(c: &mut Choices) -> Options {
    let mut options = optimised();
    options.fusion.groups.retain(|_| c.chance(50));
    options.fusion.arm = *c.pick(&[Arm::Choose, Arm::Choose, Arm::Greedy, Arm::Alone]);
    options.mem_budget = c.chance(30).then_some(u64::MAX);
    options
}

/// The artifact of a graph module for `targets` (names with commas between them).
pub fn compile(m: &graph::Module, targets: &str, options: &Options) -> Result<Vec<u8>, String> {
    let targets = targets.split(',').map(AnyTarget::parse).collect::<Result<_, _>>().map_err(|e| text(targets)(&e))?;
    let options = Options { targets, ..options.clone() };
    let compiled = odc::compile_graph(m.clone(), &options).map_err(|e| format!("compile: {e}\n{m}"))?;
    compiled.artifact_bytes().map_err(|e| text("write")(&e))
}

fn host(t: DType) -> HostDType {
    match t {
        DType::F32 => HostDType::F32,
        DType::F64 => HostDType::F64,
        DType::F16 => HostDType::F16,
        DType::BF16 => HostDType::BF16,
        DType::I8 => HostDType::I8,
        DType::I16 => HostDType::I16,
        DType::I32 => HostDType::I32,
        DType::I64 => HostDType::I64,
        DType::U8 => HostDType::U8,
        DType::U16 => HostDType::U16,
        DType::U32 => HostDType::U32,
        DType::U64 => HostDType::U64,
        DType::Bool => HostDType::Bool,
        DType::F8E4M3FN => HostDType::F8E4M3FN,
        DType::F8E4M3FNUZ => HostDType::F8E4M3FNUZ,
        DType::F8E5M2 => HostDType::F8E5M2,
        DType::F8E5M2FNUZ => HostDType::F8E5M2FNUZ,
        DType::F8E8M0 => HostDType::F8E8M0,
        DType::F6E2M3 => HostDType::F6E2M3,
        DType::F6E3M2 => HostDType::F6E3M2,
        DType::F4E2M1 => HostDType::F4E2M1,
        DType::I4 => HostDType::I4,
        DType::U4 => HostDType::U4,
        DType::I2 => HostDType::I2,
        DType::U2 => HostDType::U2,
        DType::Str => HostDType::Str,
    }
}

/// The results by name.
pub fn run(session: &mut Session, inputs: &[(String, TensorValue)], types: &[DType]) -> Result<Vec<(String, TensorValue)>, String> {
    with_views(inputs, |views| {
        let outputs = session.run(views).map_err(|e| text("run")(&e))?;
        values(outputs.iter(), types)
    })
}

/// The tensors as a session takes them: bytes with the alignment of the widest element.
pub fn with_views<T>(inputs: &[(String, TensorValue)], f: impl FnOnce(&[(&str, TensorView<'_>)]) -> T) -> T {
    let mut words: Vec<Vec<u64>> = vec![];
    let mut lengths = vec![];
    for (_, v) in inputs {
        let bytes = v.to_bytes();
        lengths.push(bytes.len());
        let word = |c: &[u8]| {
            let mut w = [0; 8];
            w[..c.len()].copy_from_slice(c);
            u64::from_ne_bytes(w)
        };
        words.push(bytes.chunks(8).map(word).collect());
    }
    let whole: Vec<&[u8]> = words.iter().zip(&lengths).map(|(w, n)| &TensorView::of(&[], w).data[..*n]).collect();
    let mut views = vec![];
    for ((name, v), data) in inputs.iter().zip(whole) {
        views.push((name.as_str(), TensorView::new(host(v.dtype), &v.shape, data)));
    }
    f(&views)
}

/// What a session gives, as values of the interpreters.
pub fn values<'a>(outputs: impl Iterator<Item = (&'a str, TensorView<'a>)>, types: &[DType]) -> Result<Vec<(String, TensorValue)>, String> {
    let mut out = vec![];
    for ((name, view), dtype) in outputs.zip(types) {
        if host(*dtype) != view.dtype {
            return Err(format!("`{name}` is {}, not {dtype}", view.dtype));
        }
        let value = TensorValue::from_bytes(*dtype, view.shape, view.data).map_err(|e| text(name)(&e))?;
        out.push((name.to_string(), value));
    }
    Ok(out)
}
