//! Graph modules through the whole compiler and the runtime, as `odc compile` and `odc run` take models: what random modules are
//! compared with.

use crate::artifact::assemble;
use odc_backend::{Backend, Target};
use odc_cranelift::Cranelift;
use odc_format::DType as HostDType;
use odc_ir::core::{DType, TensorValue};
use odc_ir::{graph, program, tensor};
use odc_passes::{canonicalise, expand, fuse, lower_loop, lower_tensor, plan, schedule};
use odc_runtime::{Session, TensorView};

fn text(what: &str) -> impl Fn(&dyn std::fmt::Display) -> String + '_ {
    move |e| format!("{what}: {e}")
}

fn sound<E: std::fmt::Display>(after: &str, errors: Vec<E>, module: &dyn std::fmt::Display) -> Result<(), String> {
    errors.first().map_or(Ok(()), |e| Err(format!("not sound after {after}: {e}\n{module}")))
}

/// The artifact of a graph module, optimised as `-O2` does, or as `-O0`.
pub fn compile(m: &graph::Module, optimise: bool) -> Result<Vec<u8>, String> {
    let mut m = m.clone();
    if optimise {
        canonicalise::canonicalise(&mut m);
        m.funcs.iter_mut().for_each(|f| f.renumber());
        sound("canonicalise", graph::verify(&m), &m)?;
    }
    let mut t = lower_tensor::lower(&m).map_err(|e| text("lower_tensor")(&e))?;
    sound("lower_tensor", tensor::verify(&t), &t)?;
    fuse::fuse(&mut t);
    if optimise {
        schedule::schedule(&mut t);
    }
    t.funcs.iter_mut().for_each(|f| f.renumber());
    sound("fuse and schedule", tensor::verify(&t), &t)?;
    let mut kernels = lower_loop::lower(&t).map_err(|e| format!("lower_loop: {e}\n{t}"))?;
    kernels.iter_mut().for_each(|k| expand::expand(&mut k.func));
    let p = plan::plan(&t, kernels).map_err(|e| format!("plan: {e}\n{t}"))?;
    sound("plan", program::verify_program(&p), &p)?;
    let target = Target::parse("cpu").map_err(|e| text("target")(&e))?;
    let code = p
        .kernels
        .iter()
        .map(|k| Cranelift.compile(k, &target).map_err(|e| format!("kernel @{}: {e}\n{p}", k.name)))
        .collect::<Result<Vec<_>, _>>()?;
    let parts = assemble(&p, &[target], &[code]).map_err(|e| text("assemble")(&e.message))?;
    let code: Vec<&[u8]> = parts.code.iter().map(Vec::as_slice).collect();
    let weights: Vec<&[u8]> = parts.weights.iter().map(|w| &w[..]).collect();
    odc_format::to_vec(&parts.manifest, &code, &weights).map_err(|e| text("write")(&e))
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
    }
}

/// The results by name.
pub fn run(session: &mut Session, inputs: &[(String, TensorValue)], types: &[DType]) -> Result<Vec<(String, TensorValue)>, String> {
    // Bytes with the alignment of the widest element.
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
    for ((name, v), data) in inputs.iter().zip(&whole) {
        views.push((name.as_str(), TensorView::new(host(v.dtype), &v.shape, data)));
    }
    let outputs = session.run(&views).map_err(|e| text("run")(&e))?;
    let mut out = vec![];
    for ((name, view), dtype) in outputs.iter().zip(types) {
        if host(*dtype) != view.dtype {
            return Err(format!("`{name}` is {}, not {dtype}", view.dtype));
        }
        let value = TensorValue::from_bytes(*dtype, view.shape, view.data).map_err(|e| text(name)(&e))?;
        out.push((name.to_string(), value));
    }
    Ok(out)
}
