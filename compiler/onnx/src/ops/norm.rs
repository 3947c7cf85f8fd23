//! Normalisations and softmax, and Dropout, which does nothing when nobody trains.

use crate::import::call::{Call, Got, Out, operand, unsupported_use};
use crate::import::compose::wide;
use crate::import::value::Val;
use odc_ir::core::Dim;
use odc_ir::graph::{Op, ReduceFn, UnaryFn};

/// A vector with one element a channel of `x`.
fn per_channel(c: &mut Call, x: &Val, v: &Val, what: &str) -> Got<()> {
    c.want_rank(x, 2, "the operand")?;
    let (channels, size) = match (x.shape(), v.shape()) {
        ([_, ch, ..], [d]) => (ch.clone(), d.clone()),
        _ => return Err(operand(format!("{what} is {}, must have one element a channel of {}", v.ty, x.ty))),
    };
    c.equal(&channels, &size, &format!("channels and the elements of {what}"))?;
    Ok(())
}

pub fn batch_norm(c: &mut Call) -> Out {
    c.attrs.ignore(&["momentum", "consumed_inputs", "is_test"]);
    if c.attrs.flag("training_mode", false)? {
        return Err(unsupported_use("training mode is not supported").help("export the model for inference (model.eval())"));
    }
    if !c.attrs.flag("spatial", true)? {
        return Err(unsupported_use("`spatial` = 0 is not supported"));
    }
    c.only_outputs(1)?;
    let x = c.input(0)?;
    let rest = (1..5).map(|k| c.input(k)).collect::<Got<Vec<_>>>()?;
    for (v, what) in rest.iter().zip(["scale", "bias", "mean", "variance"]) {
        per_channel(c, &x, v, what)?;
    }
    let rest = rest.iter().map(|v| c.cast(v, x.dtype())).collect::<Got<Vec<_>>>()?;
    let epsilon = f64::from(c.attrs.float_or("epsilon", 1e-5)?);
    let operands: Vec<&Val> = std::iter::once(&x).chain(&rest).collect();
    Ok(vec![c.emit(Op::BatchNorm { epsilon }, &operands, x.dtype(), x.shape().to_vec())?])
}

pub fn instance_norm(c: &mut Call) -> Out {
    c.attrs.ignore(&["consumed_inputs"]);
    let epsilon = f64::from(c.attrs.float_or("epsilon", 1e-5)?);
    group(c, 0, epsilon)
}

fn group(c: &mut Call, groups: i64, epsilon: f64) -> Out {
    let (x, scale, bias) = (c.input(0)?, c.input(1)?, c.input(2)?);
    c.same_dtype(&x, &scale)?;
    c.same_dtype(&x, &bias)?;
    per_channel(c, &x, &scale, "scale")?;
    per_channel(c, &x, &bias, "bias")?;
    Ok(vec![c.emit(Op::GroupNorm { groups, epsilon }, &[&x, &scale, &bias], x.dtype(), x.shape().to_vec())?])
}

/// Before opset 21 scale and bias are one a group, from then on one a channel.
pub fn group_norm(c: &mut Call) -> Out {
    c.attrs.ignore(&["stash_type"]);
    let groups = c.attrs.required_int("num_groups")?;
    let epsilon = f64::from(c.attrs.float_or("epsilon", 1e-5)?);
    let x = c.input(0)?;
    c.want_rank(&x, 2, "the operand")?;
    let channels = x.shape().get(1).and_then(Dim::as_const).ok_or_else(|| unsupported_use("the number of channels must be constant"))?;
    if groups < 1 || channels % groups != 0 {
        return Err(crate::attrs::bad("num_groups", format!("is {groups}, which does not divide {channels} channels")));
    }
    if c.opset < 21 {
        for k in [1, 2] {
            let v = c.input(k)?;
            let column = c.reshape(&v, vec![Dim::from(groups), Dim::ONE])?;
            let wide = c.expand(&column, vec![Dim::from(groups), Dim::from(channels / groups)])?;
            let flat = c.reshape(&wide, vec![Dim::from(channels)])?;
            if let Some(slot) = c.inputs.get_mut(k) {
                *slot = Some(flat);
            }
        }
    }
    group(c, groups, epsilon)
}

/// Scale or bias brought to the shape of the normalised axes.
fn over(c: &mut Call, x: &Val, v: &Val, axis: usize) -> Got<Val> {
    c.same_dtype(x, v)?;
    let tail = x.shape().get(axis..).unwrap_or(&[]).to_vec();
    if v.rank() > tail.len() {
        return Err(operand(format!("{} does not broadcast to the normalised axes of {}", v.ty, x.ty)));
    }
    let shape = c.broadcast(&[&tail, v.shape()])?;
    c.expand(v, shape)
}

pub fn layer_norm(c: &mut Call) -> Out {
    c.attrs.ignore(&["stash_type"]);
    c.only_outputs(1)?;
    let (x, scale) = (c.input(0)?, c.input(1)?);
    let axis = c.axis(c.attrs.int_or("axis", -1)?, x.rank())?;
    let epsilon = f64::from(c.attrs.float_or("epsilon", 1e-5)?);
    let scale = over(c, &x, &scale, axis)?;
    let bias = c.opt(2).map(|b| over(c, &x, &b, axis)).transpose()?;
    let operands: Vec<&Val> = [&x, &scale].into_iter().chain(&bias).collect();
    Ok(vec![c.emit(Op::LayerNorm { axis, epsilon }, &operands, x.dtype(), x.shape().to_vec())?])
}

pub fn rms_norm(c: &mut Call) -> Out {
    c.attrs.ignore(&["stash_type"]);
    let (x, scale) = (c.input(0)?, c.input(1)?);
    let axis = c.axis(c.attrs.int_or("axis", -1)?, x.rank())?;
    let epsilon = f64::from(c.attrs.float_or("epsilon", 1e-5)?);
    let scale = over(c, &x, &scale, axis)?;
    Ok(vec![c.emit(Op::RmsNorm { axis, epsilon }, &[&x, &scale], x.dtype(), x.shape().to_vec())?])
}

pub fn softmax(c: &mut Call) -> Out {
    soft(c, false)
}
pub fn log_softmax(c: &mut Call) -> Out {
    soft(c, true)
}

/// Before opset 13 it runs over all axes from `axis` on, as if they were one.
fn soft(c: &mut Call, log: bool) -> Out {
    let x = c.input(0)?;
    c.want_rank(&x, 1, "the operand")?;
    let axis = c.axis(c.attrs.int_or("axis", if c.opset < 13 { 1 } else { -1 })?, x.rank())?;
    let tail = x.shape().get(axis + 1..).unwrap_or(&[]);
    if c.opset >= 13 || tail.iter().all(|d| d.is(1)) {
        return Ok(vec![c.emit(Op::Softmax { axis, log }, &[&x], x.dtype(), x.shape().to_vec())?]);
    }
    let (head, tail) = x.shape().split_at_checked(axis).unwrap_or((&[], &[]));
    let flat = c.reshape(&x, vec![Dim::product(head), Dim::product(tail)])?;
    let y = c.emit(Op::Softmax { axis: 1, log }, &[&flat], x.dtype(), flat.shape().to_vec())?;
    Ok(vec![c.reshape(&y, x.shape().to_vec())?])
}

pub fn dropout(c: &mut Call) -> Out {
    c.attrs.ignore(&["ratio", "seed", "is_test"]);
    c.only_outputs(1)?;
    if let Some(training) = c.opt(2)
        && training.const_ints().as_deref() != Some(&[0])
    {
        return Err(unsupported_use("training mode is not supported").help("export the model for inference (model.eval())"));
    }
    Ok(vec![c.input(0)?])
}

/// `(x - mean) / (deviation + 1e-9)` over `axes`.
pub fn mean_variance_norm(c: &mut Call) -> Out {
    let x = c.input(0)?;
    let axes = c.attrs.ints("axes")?.unwrap_or(&[0, 2, 3]).to_vec();
    let mut axes = c.axes(&axes, x.rank())?;
    axes.sort_unstable();
    let v = c.convert(&x, wide(x.dtype()))?;
    let mean = c.reduce(ReduceFn::Mean, &v, &axes, true)?;
    let d = c.sub(&v, &mean)?;
    let square = c.mul(&d, &d)?;
    let variance = c.reduce(ReduceFn::Mean, &square, &axes, true)?;
    let deviation = c.function(UnaryFn::Sqrt, &variance)?;
    let deviation = c.plus(&deviation, 1e-9)?;
    let y = c.div(&d, &deviation)?;
    Ok(vec![c.convert(&y, x.dtype())?])
}
