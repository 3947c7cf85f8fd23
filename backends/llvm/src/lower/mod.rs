//! One kernel from loop IR to LLVM IR: values, constants and the frame; the ops by family are in the other files here.
//!
//! How values are held: integers and floats as themselves, `bool` as an i1, f16 and bf16 as their bits in an i16, `index` as an i64;
//! vectors as vectors of these.

mod control;
mod convert;
mod float;
mod helpers;
mod int;
mod memory;

use crate::writer::Writer;
use helpers::Helper;
use odc_backend::{Arch, BackendError, Feature, Target};
use odc_ir::core::{Binary, DType, OpSet, Scalar, Value};
use odc_ir::loops::{Func, LoopType, Op, Operation};
use std::collections::BTreeSet;
use std::fmt::Write;

pub type Result<T> = std::result::Result<T, BackendError>;

pub fn module(kernel: &Func, target: &Target) -> Result<String> {
    let n = kernel.types.len();
    let mut l = Lower { kernel, target, w: Writer::default(), values: vec![None; n], known: vec![None; n], helpers: BTreeSet::new() };
    l.w.block = "entry".into();
    l.params()?;
    l.ops(&kernel.body)?;
    l.w.line("ret void");
    let mut out = String::new();
    let triple = match target.arch {
        Arch::X86_64 => "x86_64-unknown-linux-gnu",
        Arch::Aarch64 => "aarch64-unknown-linux-gnu",
    };
    let _ = writeln!(out, "target triple = \"{triple}\"\n");
    let _ = writeln!(out, "define void @kernel(ptr %buffers, ptr %dims, ptr %scratch, i64 %begin, i64 %end) #0 {{");
    out.push_str("entry:\n");
    out.push_str(&l.w.text);
    out.push_str("}\n");
    for h in &l.helpers {
        out.push('\n');
        out.push_str(h.text());
    }
    let features: Vec<String> = target.features.iter().map(|f| format!("+{}", feature(*f))).collect();
    // Loops stay loops: a library's memset would need a linker.
    let _ = writeln!(
        out,
        "\nattributes #0 = {{ nounwind \"no-builtins\" \"target-features\"=\"{}\" \"prefer-vector-width\"=\"{}\" }}",
        features.join(","),
        target.vector_bits
    );
    Ok(out)
}

const fn feature(f: Feature) -> &'static str {
    match f {
        Feature::Sse3 => "sse3",
        Feature::Ssse3 => "ssse3",
        Feature::Sse41 => "sse4.1",
        Feature::Sse42 => "sse4.2",
        Feature::Popcnt => "popcnt",
        Feature::Avx => "avx",
        Feature::Avx2 => "avx2",
        Feature::Bmi1 => "bmi",
        Feature::Bmi2 => "bmi2",
        Feature::Fma => "fma",
        Feature::Lzcnt => "lzcnt",
        Feature::Avx512f => "avx512f",
        Feature::Avx512dq => "avx512dq",
        Feature::Avx512cd => "avx512cd",
        Feature::Avx512bw => "avx512bw",
        Feature::Avx512vl => "avx512vl",
    }
}

pub(super) struct Lower<'a> {
    kernel: &'a Func,
    target: &'a Target,
    w: Writer,
    /// What stands for each value in the text.
    values: Vec<Option<String>>,
    /// Values known while compiling (of vectors: what all lanes are).
    known: Vec<Option<Scalar>>,
    helpers: BTreeSet<Helper>,
}

impl<'a> Lower<'a> {
    fn malformed<T>(&self, what: impl Into<String>) -> Result<T> {
        Err(BackendError::Malformed { kernel: self.kernel.name.clone(), what: what.into() })
    }
    fn unsupported<T>(&self, what: impl Into<String>, hint: &str) -> Result<T> {
        let (kernel, target) = (self.kernel.name.clone(), self.target.name.clone());
        Err(BackendError::Unsupported { kernel, what: what.into(), target, hint: hint.into() })
    }
    fn ty(&self, v: Value) -> Result<LoopType> {
        self.kernel.types.get(v.index()).copied().map_or_else(|| self.malformed(format!("{v} has no type")), Ok)
    }
    fn get(&self, v: Value) -> Result<String> {
        self.values.get(v.index()).cloned().flatten().map_or_else(|| self.malformed(format!("{v} is not defined here")), Ok)
    }
    fn set(&mut self, v: Value, x: String) {
        if let (Some(slot), Some(known)) = (self.values.get_mut(v.index()), self.known.get_mut(v.index())) {
            *slot = Some(x);
            *known = None;
        }
    }
    fn learn(&mut self, v: Value, x: Scalar) {
        if let Some(k) = self.known.get_mut(v.index()) {
            *k = Some(x);
        }
    }
    fn known(&self, v: Value) -> Option<Scalar> {
        self.known.get(v.index()).copied().flatten()
    }
    fn known_int(&self, v: Value) -> Option<i64> {
        match self.known(v) {
            Some(Scalar::Int(x)) => Some(x),
            _ => None,
        }
    }

    fn params(&mut self) -> Result<()> {
        let (mut pointers, mut sizes) = (0, 0);
        for v in &self.kernel.body.args {
            let (base, t, k) = match self.ty(*v)? {
                LoopType::Ptr(..) => ("%buffers", "ptr", &mut pointers),
                LoopType::Index => ("%dims", "i64", &mut sizes),
                t => return self.malformed(format!("parameter {v} is {t}")),
            };
            let place = *k;
            *k += 1;
            let at = self.w.value(format_args!("getelementptr {t}, ptr {base}, i64 {place}"));
            let x = self.w.value(format_args!("load {t}, ptr {at}, align 8"));
            self.set(*v, x);
        }
        Ok(())
    }

    /// The LLVM type that holds `t`.
    fn held(&self, t: LoopType) -> Result<String> {
        match t {
            LoopType::Ptr(..) => Ok("ptr".into()),
            LoopType::Coop(_) => self.unsupported(format!("the type {t}"), "only GPU kernels have it"),
            LoopType::Index | LoopType::Scalar(_) | LoopType::Vector(..) => Ok(shaped(element(t.dtype()), t.lanes())),
        }
    }

    fn ops(&mut self, block: &'a odc_ir::loops::Block) -> Result<()> {
        block.ops.iter().try_for_each(|op| self.op(op))
    }

    fn op(&mut self, op: &'a Operation) -> Result<()> {
        let y = match (&op.op, op.operands.as_slice(), op.results.as_slice()) {
            (Op::For { kind }, _, _) => return self.for_loop(op, *kind),
            (Op::If {}, &[c], _) => return self.if_op(op, c),
            (Op::Store {}, &[p, at, v], _) => return self.store(p, at, v),
            (Op::Const { value }, _, &[r]) => {
                self.set(r, constant(self.ty(r)?, *value));
                self.learn(r, *value);
                return Ok(());
            }
            (Op::Binary { f }, &[a, b], &[r]) => return self.binary_op(*f, a, b, r),
            (Op::Unary { f }, &[x], _) => self.unary(*f, self.ty(x)?, &self.get(x)?)?,
            (Op::Fma {}, &[a, b, c], &[r]) => self.fma(self.ty(r)?, [&self.get(a)?, &self.get(b)?, &self.get(c)?])?,
            (Op::Select {}, &[c, a, b], &[r]) => {
                let (ct, t) = (self.held(self.ty(c)?)?, self.held(self.ty(r)?)?);
                self.w.value(format_args!(
                    "select {ct} {}, {t} {}, {t} {}",
                    self.values_text(c)?,
                    self.values_text(a)?,
                    self.values_text(b)?
                ))
            }
            (Op::Cast {}, &[x], &[r]) => {
                let (from, to) = (self.ty(x)?, self.ty(r)?);
                let y = self.cast(from, to, &self.get(x)?)?;
                let known = self.known_int(x).filter(|_| from.dtype().is_int() && to.dtype().is_int());
                self.set(r, y);
                if let Some(k) = known {
                    self.learn(r, Scalar::Int(k).wrap(to.dtype()));
                }
                return Ok(());
            }
            (Op::Bitcast {}, &[x], &[r]) => {
                let (from, to) = (self.held(self.ty(x)?)?, self.held(self.ty(r)?)?);
                self.w.value(format_args!("bitcast {from} {} to {to}", self.values_text(x)?))
            }
            (Op::Splat {}, &[x], &[r]) => {
                let (t, v, known) = (self.ty(r)?, self.get(x)?, self.known(x));
                let y = self.splat(t, &v)?;
                self.set(r, y);
                if let Some(k) = known {
                    self.learn(r, k);
                }
                return Ok(());
            }
            (Op::Extract { lane }, &[x], _) => self.extract(self.ty(x)?, &self.get(x)?, *lane)?,
            (Op::Insert { lane }, &[x, s], _) => self.insert(self.ty(x)?, &self.get(x)?, &self.get(s)?, *lane)?,
            (Op::Scratch {}, &[x], _) => self.w.value(format_args!("getelementptr i8, ptr %scratch, i64 {}", self.values_text(x)?)),
            (Op::Load {}, &[p, at], &[r]) => self.load(p, at, self.ty(r)?)?,
            (
                Op::Shared { .. }
                | Op::Barrier {}
                | Op::Atomic { .. }
                | Op::Subgroup { .. }
                | Op::Lane { .. }
                | Op::HalfBits {}
                | Op::FromHalfBits {}
                | Op::Dot4 { .. }
                | Op::CoopLoad {}
                | Op::CoopMma {}
                | Op::CoopStore {},
                ..,
            ) => return self.unsupported(op.op.info().mnemonic, "only GPU kernels have it"),
            (
                Op::Const { .. }
                | Op::Unary { .. }
                | Op::Binary { .. }
                | Op::Fma {}
                | Op::Select {}
                | Op::Cast {}
                | Op::Bitcast {}
                | Op::Splat {}
                | Op::Extract { .. }
                | Op::Insert { .. }
                | Op::Scratch {}
                | Op::Load {}
                | Op::Store {}
                | Op::If {},
                ..,
            ) => return self.malformed(format!("{} has the wrong number of operands or results", op.op.info().mnemonic)),
        };
        match op.results.first() {
            Some(r) => self.set(*r, y),
            None => return self.malformed("an op without a result"),
        }
        Ok(())
    }

    fn binary_op(&mut self, f: Binary, a: Value, b: Value, r: Value) -> Result<()> {
        let (t, rt) = (self.ty(a)?, self.ty(r)?);
        let folded = match (self.known(a), self.known(b)) {
            (Some(x), Some(y)) if t.dtype().is_int() => Some(f.eval(t.dtype(), x, y)),
            _ => None,
        };
        let y = match folded {
            Some(k) => constant(rt, k),
            None => self.binary(f, t, &self.get(a)?, &self.get(b)?)?,
        };
        self.set(r, y);
        if let Some(k) = folded {
            self.learn(r, k);
        }
        Ok(())
    }

    fn values_text(&self, v: Value) -> Result<String> {
        self.get(v)
    }
}

/// `float`, or `<4 x float>`.
pub(super) fn shaped(element: &str, lanes: u32) -> String {
    if lanes == 1 { element.into() } else { format!("<{lanes} x {element}>") }
}

/// The LLVM type of an element.
pub(super) const fn element(d: DType) -> &'static str {
    match d {
        DType::F32 => "float",
        DType::F64 => "double",
        DType::F16 | DType::BF16 | DType::I16 | DType::U16 => "i16",
        DType::Bool => "i1",
        DType::I8 | DType::U8 => "i8",
        // Bytes before kernels come here.
        DType::F8E4M3FN
        | DType::F8E4M3FNUZ
        | DType::F8E5M2
        | DType::F8E5M2FNUZ
        | DType::F8E8M0
        | DType::F6E2M3
        | DType::F6E3M2
        | DType::F4E2M1
        | DType::I4
        | DType::U4
        | DType::I2
        | DType::U2 => "i8",
        DType::I32 | DType::U32 | DType::Str => "i32",
        DType::I64 | DType::U64 => "i64",
    }
}

/// A literal, in every lane of a vector.
pub(super) fn constant(t: LoopType, value: Scalar) -> String {
    let d = t.dtype();
    let one = match d {
        DType::F32 | DType::F64 => float_literal(d, value.as_f64()),
        DType::Bool => value.as_bool().to_string(),
        _ if d.is_int() => value.wrap(d).as_i64().to_string(),
        _ => {
            let mut bytes = vec![];
            value.write(d, &mut bytes);
            bytes.iter().rev().fold(0u64, |n, b| (n << 8) | u64::from(*b)).to_string()
        }
    };
    everywhere(element(d), t.lanes(), &one)
}

/// LLVM writes floats as the bits of a double.
pub(super) fn float_literal(d: DType, x: f64) -> String {
    let x = if d == DType::F32 { f64::from(x as f32) } else { x };
    format!("0x{:016X}", x.to_bits())
}

/// The same literal in every lane.
pub(super) fn everywhere(element: &str, lanes: u32, literal: &str) -> String {
    if lanes == 1 { literal.into() } else { format!("splat ({element} {literal})") }
}
