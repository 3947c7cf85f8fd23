//! MatMul and Gemm.

use crate::attrs::bad;
use crate::import::call::{Call, Got, Out, operand};
use crate::import::value::Val;
use odc_ir::graph::BinaryFn;

pub fn mat_mul(c: &mut Call) -> Out {
    let (a, b) = (c.input(0)?, c.input(1)?);
    Ok(vec![c.product(&a, &b)?])
}

/// `alpha * A' * B' + beta * C`.
pub fn gemm(c: &mut Call) -> Out {
    let (mut a, mut b) = (c.input(0)?, c.input(1)?);
    c.attrs.ignore(&["broadcast"]);
    for (name, v) in [("transA", &mut a), ("transB", &mut b)] {
        if v.rank() != 2 {
            return Err(operand(format!("needs matrices, is {}", v.ty)));
        }
        // Some exporters write any non-zero number.
        if c.attrs.int_or(name, 0)? != 0 {
            *v = c.transpose(v, vec![1, 0])?;
        }
    }
    let (alpha, beta) = (c.attrs.float_or("alpha", 1.0)?, c.attrs.float_or("beta", 1.0)?);
    let mut y = c.product(&a, &b)?;
    let scale = |c: &mut Call, v: Val, by: f32| -> Got<Val> {
        if by == 1.0 {
            return Ok(v);
        }
        if v.dtype().is_int() && by.fract() != 0.0 {
            return Err(bad("alpha", "must be whole for integers"));
        }
        let s = Val::scalar(v.dtype(), f64::from(by));
        c.binary(BinaryFn::Mul, &v, &s)
    };
    y = scale(c, y, alpha)?;
    if let Some(bias) = c.opt(2).filter(|_| beta != 0.0) {
        c.same_dtype(&y, &bias)?;
        let bias = scale(c, bias, beta)?;
        if bias.rank() > 2 {
            return Err(operand(format!("C is {}, must broadcast to {}", bias.ty, y.ty)));
        }
        y = c.binary(BinaryFn::Add, &y, &bias)?;
    }
    Ok(vec![y])
}
