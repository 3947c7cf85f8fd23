//! Products and convolutions with what ONNX Runtime's optimiser fused into them, taken apart again.

use super::super::{conv, linear};
use super::norm::to_front;
use crate::attrs::bad;
use crate::import::call::{Call, Got, Out, operand, unsupported_use};
use crate::import::value::Val;
use odc_ir::graph::{BinaryFn, Op, UnaryFn};

/// `alpha * A' * B'`; `transBatchA` moves the axis before the last to the front instead.
pub fn mat_mul(c: &mut Call) -> Out {
    let mut sides = vec![];
    for (k, name, batch) in [(0, "transA", "transBatchA"), (1, "transB", "transBatchB")] {
        let mut x = c.input(k)?;
        if c.attrs.flag(batch, false)? {
            let rank = x.rank();
            c.want_rank(&x, 3, "the operand")?;
            // The first axis goes before the last: [b, m, k] is stored as [m, b, k].
            let perm = (1..rank - 1).chain([0, rank - 1]).collect();
            x = c.transpose(&x, perm)?;
        }
        if c.attrs.flag(name, false)? && x.rank() > 1 {
            let mut perm: Vec<usize> = (0..x.rank()).collect();
            perm.swap(x.rank() - 1, x.rank() - 2);
            x = c.transpose(&x, perm)?;
        }
        sides.push(x);
    }
    let [a, b] = sides.as_slice() else { return Err(operand("operands are missing")) };
    let y = c.product(a, b)?;
    let alpha = f64::from(c.attrs.float_or("alpha", 1.0)?);
    Ok(vec![c.scaled(&y, alpha)?])
}

pub fn gemm(c: &mut Call) -> Out {
    let y = linear::gemm(c)?;
    let own = |name: &str, default: f32| c.attrs.float_or(name, default);
    let params = match c.attrs.str("activation")?.unwrap_or("") {
        "LeakyRelu" => vec![own("activation_alpha", 0.01)?],
        "Elu" => vec![own("activation_alpha", 1.0)?],
        "HardSigmoid" => vec![own("activation_alpha", 0.2)?, own("activation_beta", 0.5)?],
        _ => vec![],
    };
    c.attrs.ignore(&["activation_alpha", "activation_beta", "activation_gamma"]);
    y.iter().map(|y| activate(c, y, &params)).collect()
}

/// A convolution, a residual, an activation.
pub fn conv(c: &mut Call) -> Out {
    let residual = c.inputs.get_mut(3).and_then(Option::take);
    let params = c.attrs.floats("activation_params")?.unwrap_or(&[]).to_vec();
    let mut y = conv::conv(c)?.into_iter().next().ok_or_else(|| operand("gives nothing"))?;
    if let Some(r) = residual {
        y = c.add(&y, &r)?;
    }
    Ok(vec![activate(c, &y, &params)?])
}

fn activate(c: &mut Call, x: &Val, params: &[f32]) -> Got<Val> {
    let p = |k: usize, default: f64| params.get(k).map_or(default, |v| f64::from(*v));
    let shape = x.shape().to_vec();
    match c.attrs.str("activation")?.unwrap_or("") {
        "" => Ok(x.clone()),
        "Relu" => c.unary(UnaryFn::Relu, x),
        "Tanh" => c.unary(UnaryFn::Tanh, x),
        "Sigmoid" => c.unary(UnaryFn::Sigmoid, x),
        "Softplus" => c.unary(UnaryFn::Softplus, x),
        "Gelu" => c.unary(UnaryFn::Gelu, x),
        "LeakyRelu" => c.emit(Op::LeakyRelu { alpha: p(0, 0.01) }, &[x], x.dtype(), shape),
        "Elu" => c.emit(Op::Elu { alpha: p(0, 1.0) }, &[x], x.dtype(), shape),
        "HardSigmoid" => c.emit(Op::HardSigmoid { alpha: p(0, 0.2), beta: p(1, 0.5) }, &[x], x.dtype(), shape),
        "Clip" => {
            let low = c.with(BinaryFn::Max, x, p(0, f64::from(f32::MIN)))?;
            c.with(BinaryFn::Min, &low, p(1, f64::from(f32::MAX)))
        }
        other => Err(bad("activation", format!("is `{}`, which is not supported", other.escape_debug()))),
    }
}

/// A convolution of channels that stand last, in the operand and in the weight.
pub fn nhwc_conv(c: &mut Call) -> Out {
    for k in [0, 1] {
        let x = c.input(k)?;
        c.want_rank(&x, 3, "the operand")?;
        let there = c.transpose(&x, to_front(x.rank()).0)?;
        if let Some(slot) = c.inputs.get_mut(k) {
            *slot = Some(there);
        }
    }
    let y = conv(c)?.into_iter().next().ok_or_else(|| operand("gives nothing"))?;
    Ok(vec![c.transpose(&y, to_front(y.rank()).1)?])
}

/// One half of `x + bias` times Gelu of the other.
pub fn bias_split_gelu(c: &mut Call) -> Out {
    let (x, bias) = (c.input(0)?, c.input(1)?);
    let x = c.add(&x, &bias)?;
    let axis = x.rank().checked_sub(1).ok_or_else(|| operand("does not take a scalar"))?;
    let width = c.fixed(&x, axis, "the last axis")?;
    if width % 2 != 0 {
        return Err(unsupported_use(format!("{width} features do not split into halves")));
    }
    let (a, b) = (c.part(&x, axis, 0.into(), (width / 2).into())?, c.part(&x, axis, (width / 2).into(), (width / 2).into())?);
    let gate = c.unary(UnaryFn::Gelu, &b)?;
    Ok(vec![c.mul(&a, &gate)?])
}
