//! Activations with their bias.

use crate::import::call::{Call, Out};
use crate::import::value::Val;
use odc_ir::graph::{BinaryFn, UnaryFn};

pub fn gelu(c: &mut Call) -> Out {
    let x = c.input(0)?;
    Ok(vec![c.unary(UnaryFn::Gelu, &x)?])
}

pub fn bias_gelu(c: &mut Call) -> Out {
    biased(c, UnaryFn::Gelu)
}

pub fn fast_gelu(c: &mut Call) -> Out {
    biased(c, UnaryFn::GeluTanh)
}

fn biased(c: &mut Call, f: UnaryFn) -> Out {
    let mut x = c.input(0)?;
    if let Some(bias) = c.opt(1) {
        x = c.binary(BinaryFn::Add, &x, &bias)?;
    }
    Ok(vec![c.unary(f, &x)?])
}

/// `x * sigmoid(alpha * x)`.
pub fn quick_gelu(c: &mut Call) -> Out {
    let x = c.input(0)?;
    let alpha = Val::scalar(x.dtype(), f64::from(c.attrs.float_or("alpha", 1.702)?));
    let scaled = c.binary(BinaryFn::Mul, &x, &alpha)?;
    let gate = c.unary(UnaryFn::Sigmoid, &scaled)?;
    Ok(vec![c.binary(BinaryFn::Mul, &x, &gate)?])
}
