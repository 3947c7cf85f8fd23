//! Random numbers by a hash of a counter: they depend on the seed (or, without one, on the node's name) and the element's number only, so
//! every run of an artifact gives the same ones, on every machine. The numbers are not those of another runtime.

use super::cumulative::sums;
use crate::attrs::bad;
use crate::import::call::{Call, Got, Out, dtype_number, operand};
use crate::import::value::Val;
use odc_ir::core::{DType, Dim};
use odc_ir::graph::{BinaryFn, Op, ReduceFn, UnaryFn};
use std::f64::consts::TAU;

/// The generator's key: of the seed, or of the name of what is made.
fn key(c: &Call, stream: u32) -> Got<u32> {
    let bytes = match c.attrs.float("seed")? {
        Some(s) => s.to_bits().to_le_bytes().to_vec(),
        None => c.node.output.first().map(|n| n.as_bytes().to_vec()).unwrap_or_default(),
    };
    // FNV-1a: any hash will do, as long as it never changes.
    let hash = bytes.iter().fold(0x811c_9dc5u32, |h, b| (h ^ u32::from(*b)).wrapping_mul(0x0100_0193));
    Ok(hash.wrapping_add(stream.wrapping_mul(0x9e37_79b9)))
}

/// Evenly in `[0, 1)`, 24 bits each.
pub fn uniform(c: &mut Call, shape: &[Dim], stream: u32) -> Got<Val> {
    let key = key(c, stream)?;
    let n = c.iota(&Dim::product(shape), DType::I64)?;
    let mut x = c.convert(&n, DType::U32)?;
    x = c.with(BinaryFn::Add, &x, f64::from(key))?;
    for (shift, factor) in [(16.0, Some(0x7feb_352du32)), (15.0, Some(0x846c_a68b)), (16.0, None)] {
        let high = c.with(BinaryFn::Shr, &x, shift)?;
        x = c.apply(BinaryFn::BitXor, &x, &high)?;
        if let Some(f) = factor {
            x = c.with(BinaryFn::Mul, &x, f64::from(f))?;
        }
    }
    x = c.with(BinaryFn::Shr, &x, 8.0)?;
    let v = c.convert(&x, DType::F32)?;
    let v = c.times(&v, 1.0 / f64::from(1 << 24))?;
    c.reshape(&v, shape.to_vec())
}

/// Normal, mean 0 and deviation 1 (Box and Muller).
fn normal(c: &mut Call, shape: &[Dim]) -> Got<Val> {
    let (a, b) = (uniform(c, shape, 0)?, uniform(c, shape, 1)?);
    // Never the logarithm of 0.
    let a = c.times(&a, -1.0)?;
    let a = c.plus(&a, 1.0)?;
    let a = c.function(UnaryFn::Log, &a)?;
    let a = c.times(&a, -2.0)?;
    let radius = c.function(UnaryFn::Sqrt, &a)?;
    let turn = c.times(&b, TAU)?;
    let turn = c.function(UnaryFn::Cos, &turn)?;
    c.mul(&radius, &turn)
}

/// Shape and type: of an operand, or of attributes.
fn wanted(c: &Call, like: bool) -> Got<(Vec<Dim>, DType)> {
    let named = c.attrs.int("dtype")?.map(|n| dtype_number(i32::try_from(n).unwrap_or(0))).transpose()?;
    if like {
        let x = c.input(0)?;
        return Ok((x.shape().to_vec(), named.unwrap_or(x.dtype())));
    }
    let shape = c.attrs.ints("shape")?.ok_or_else(|| bad("shape", "is required"))?;
    if shape.iter().any(|d| *d < 0) {
        return Err(bad("shape", format!("is {shape:?}")));
    }
    Ok((shape.iter().map(|d| Dim::from(*d)).collect(), named.unwrap_or(DType::F32)))
}

fn normals(c: &mut Call, like: bool) -> Out {
    let (shape, dtype) = wanted(c, like)?;
    let (mean, scale) = (f64::from(c.attrs.float_or("mean", 0.0)?), f64::from(c.attrs.float_or("scale", 1.0)?));
    let v = normal(c, &shape)?;
    let v = c.times(&v, scale)?;
    let v = c.plus(&v, mean)?;
    Ok(vec![c.convert(&v, dtype)?])
}
fn uniforms(c: &mut Call, like: bool) -> Out {
    let (shape, dtype) = wanted(c, like)?;
    let (low, high) = (f64::from(c.attrs.float_or("low", 0.0)?), f64::from(c.attrs.float_or("high", 1.0)?));
    let v = uniform(c, &shape, 0)?;
    let v = c.times(&v, high - low)?;
    let v = c.plus(&v, low)?;
    Ok(vec![c.convert(&v, dtype)?])
}
pub fn random_normal(c: &mut Call) -> Out {
    normals(c, false)
}
pub fn random_normal_like(c: &mut Call) -> Out {
    normals(c, true)
}
pub fn random_uniform(c: &mut Call) -> Out {
    uniforms(c, false)
}
pub fn random_uniform_like(c: &mut Call) -> Out {
    uniforms(c, true)
}

/// 1 with the probability that the operand names.
pub fn bernoulli(c: &mut Call) -> Out {
    let (shape, dtype) = wanted(c, true)?;
    let p = c.input(0)?;
    let p = c.convert(&p, DType::F32)?;
    let u = uniform(c, &shape, 0)?;
    let hit = c.apply(BinaryFn::Lt, &u, &p)?;
    Ok(vec![c.convert(&hit, dtype)?])
}

/// Draws of a class, by logarithms of probabilities that need not sum to 1: how many cumulative probabilities a number exceeds.
pub fn multinomial(c: &mut Call) -> Out {
    let x = c.input(0)?;
    let samples = c.attrs.positive_or("sample_size", 1)?;
    let dtype = dtype_number(i32::try_from(c.attrs.int_or("dtype", 6)?).unwrap_or(0))?;
    let [batch, classes] = x.shape() else { return Err(operand(format!("needs [batch, classes], is {}", x.ty))) };
    let shape = vec![batch.clone(), Dim::from(samples)];
    let v = c.convert(&x, DType::F32)?;
    let p = c.emit(Op::Softmax { axis: 1, log: false }, &[&v], DType::F32, x.shape().to_vec())?;
    let sums = sums(c, &p, 1)?;
    let sums = c.unsqueeze(&sums, 1)?;
    let u = uniform(c, &shape, 0)?;
    let u = c.unsqueeze(&u, 2)?;
    let above = c.apply(BinaryFn::Ge, &u, &sums)?;
    let above = c.convert(&above, DType::I64)?;
    let count = c.reduce(ReduceFn::Sum, &above, &[2], false)?;
    let last = c.size(&(classes - 1), DType::I64)?;
    let count = c.apply(BinaryFn::Min, &count, &last)?;
    Ok(vec![c.convert(&count, dtype)?])
}
