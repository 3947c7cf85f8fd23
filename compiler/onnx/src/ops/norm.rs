//! Normalisations and softmax, and Dropout, which does nothing when nobody trains.

use crate::import::call::{Call, Got, Out, dtype_number, operand, unsupported_use};
use crate::import::compose::wide;
use crate::import::value::{Elem, Val};
use odc_ir::core::{DType, Dim, TensorType};
use odc_ir::graph::{BinaryFn, Op, ReduceFn, UnaryFn};

/// A vector with one element a channel of `x`.
pub fn per_channel(c: &mut Call, x: &Val, v: &Val, what: &str) -> Got<()> {
    c.want_rank(x, 2, "the operand")?;
    let (channels, size) = match (x.shape(), v.shape()) {
        ([_, ch, ..], [d]) => (ch.clone(), d.clone()),
        _ => return Err(operand(format!("{what} is {}, must have one element a channel of {}", v.ty, x.ty))),
    };
    c.equal(&channels, &size, &format!("channels and the elements of {what}"))?;
    Ok(())
}

/// Does this node ask for statistics of its own batch? By attribute before opset 7 and from 14 on, by its outputs in between.
fn trains(c: &Call) -> Got<bool> {
    c.attrs.ignore(&["consumed_inputs"]);
    let used = (1..5).any(|k| c.has_output(k));
    match c.opset {
        ..7 => Ok(!c.attrs.flag("is_test", false)? && used),
        7..14 => Ok(used),
        _ => c.attrs.flag("training_mode", false),
    }
}

pub fn batch_norm(c: &mut Call) -> Out {
    let training = trains(c)?;
    let momentum = f64::from(c.attrs.float_or("momentum", 0.9)?);
    let x = c.input(0)?;
    let mut rest = (1..5).map(|k| c.input(k)).collect::<Got<Vec<_>>>()?;
    let epsilon = f64::from(c.attrs.float_or("epsilon", 1e-5)?);
    if !c.attrs.flag("spatial", true)? {
        return each_place(c, &x, &rest, epsilon);
    }
    for (v, what) in rest.iter().zip(["scale", "bias", "mean", "variance"]) {
        per_channel(c, &x, v, what)?;
    }
    let mut updated = vec![];
    if training {
        let axes: Vec<usize> = (0..x.rank()).filter(|k| *k != 1).collect();
        let [mean, var] = moments(c, &x, &axes)?;
        for (slot, own) in rest.iter_mut().skip(2).zip([mean, var]) {
            let own = c.reshape(&own, slot.shape().to_vec())?;
            let (old, new) = (c.scaled(slot, momentum)?, c.cast(&own, slot.dtype())?);
            let new = c.scaled(&new, 1.0 - momentum)?;
            updated.push(c.add(&old, &new)?);
            *slot = own;
        }
    } else {
        c.only_outputs(1)?;
    }
    let rest = rest.iter().map(|v| c.cast(v, x.dtype())).collect::<Got<Vec<_>>>()?;
    let operands: Vec<&Val> = std::iter::once(&x).chain(&rest).collect();
    let mut out = vec![c.emit(Op::BatchNorm { epsilon }, &operands, x.dtype(), x.shape().to_vec())?];
    out.extend(updated);
    // The old forms also name the batch's own statistics.
    if training && c.opset < 14 {
        out.extend(rest.into_iter().skip(2));
    }
    Ok(out)
}

/// The oldest form: scale, bias and statistics for each place of a sample.
fn each_place(c: &mut Call, x: &Val, rest: &[Val], epsilon: f64) -> Out {
    c.only_outputs(1)?;
    let [scale, bias, mean, var] = rest else { return Err(operand("scale, bias, mean or variance is missing")) };
    let var = c.with(BinaryFn::Add, var, epsilon)?;
    let deviation = c.unary(UnaryFn::Sqrt, &var)?;
    let centred = c.sub(x, mean)?;
    let unit = c.div(&centred, &deviation)?;
    let y = c.mul(&unit, scale)?;
    Ok(vec![c.add(&y, bias)?])
}

/// Mean and variance over `axes`, which stay with size 1.
pub fn moments(c: &mut Call, x: &Val, axes: &[usize]) -> Got<[Val; 2]> {
    let mean = c.reduce(ReduceFn::Mean, x, axes, true)?;
    let centred = c.sub(x, &mean)?;
    let square = c.mul(&centred, &centred)?;
    Ok([mean, c.reduce(ReduceFn::Mean, &square, axes, true)?])
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
pub fn over(c: &mut Call, x: &Val, v: &Val, axis: usize) -> Got<Val> {
    c.same_dtype(x, v)?;
    let tail = x.shape().get(axis..).unwrap_or(&[]).to_vec();
    if v.rank() > tail.len() {
        return Err(operand(format!("{} does not broadcast to the normalised axes of {}", v.ty, x.ty)));
    }
    let shape = c.broadcast(&[&tail, v.shape()])?;
    c.expand(v, shape)
}

pub fn layer_norm(c: &mut Call) -> Out {
    let (x, scale) = (c.input(0)?, c.input(1)?);
    let stash = stash(c)?;
    let axis = c.axis(c.attrs.int_or("axis", -1)?, x.rank())?;
    let epsilon = f64::from(c.attrs.float_or("epsilon", 1e-5)?);
    let scale = over(c, &x, &scale, axis)?;
    let bias = c.opt(2).map(|b| over(c, &x, &b, axis)).transpose()?;
    let operands: Vec<&Val> = [&x, &scale].into_iter().chain(&bias).collect();
    let y = c.emit(Op::LayerNorm { axis, epsilon }, &operands, x.dtype(), x.shape().to_vec())?;
    if !c.has_output(1) && !c.has_output(2) {
        return Ok(vec![y]);
    }
    let wide = c.cast(&x, stash)?;
    let axes: Vec<usize> = (axis..x.rank()).collect();
    let [mean, var] = moments(c, &wide, &axes)?;
    Ok(vec![y, mean, inverse_deviation(c, &var, epsilon)?])
}

/// `1 / sqrt(variance + epsilon)`.
pub fn inverse_deviation(c: &mut Call, var: &Val, epsilon: f64) -> Got<Val> {
    let var = c.with(BinaryFn::Add, var, epsilon)?;
    let deviation = c.unary(UnaryFn::Sqrt, &var)?;
    c.unary(UnaryFn::Reciprocal, &deviation)
}

/// The type of the statistics.
fn stash(c: &Call) -> Got<DType> {
    dtype_number(i32::try_from(c.attrs.int_or("stash_type", 1)?).unwrap_or(0))
}

pub fn rms_norm(c: &mut Call) -> Out {
    c.attrs.ignore(&["stash_type"]);
    let (x, scale) = (c.input(0)?, c.input(1)?);
    let axis = c.axis(c.attrs.int_or("axis", -1)?, x.rank())?;
    let epsilon = f64::from(c.attrs.float_or("epsilon", 1e-5)?);
    let scale = over(c, &x, &scale, axis)?;
    Ok(vec![c.emit(Op::RmsNorm { axis, epsilon }, &[&x, &scale], x.dtype(), x.shape().to_vec())?])
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

/// Divided by the sum of magnitudes or the root of the sum of squares; what is all zero stays so.
pub fn lp_norm(c: &mut Call) -> Out {
    let x = c.input(0)?;
    let axis = c.axis(c.attrs.int_or("axis", -1)?, x.rank())?;
    let f = match c.attrs.int_or("p", 2)? {
        1 => ReduceFn::L1,
        2 => ReduceFn::L2,
        p => return Err(crate::attrs::bad("p", format!("must be 1 or 2, is {p}"))),
    };
    let norm = c.reduce(f, &x, &[axis], true)?;
    let none = c.with(BinaryFn::Eq, &norm, 0.0)?;
    let y = c.div(&x, &norm)?;
    Ok(vec![c.choose(&none, &Val::scalar(x.dtype(), 0.0), &y)?])
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

/// Nothing is dropped, unless the model trains: then it is drawn by chance, which no compiled model does.
pub fn dropout(c: &mut Call) -> Out {
    c.attrs.ignore(&["seed", "is_test"]);
    let x = c.input(0)?;
    let ratio = f64::from(c.attrs.float_or("ratio", 0.5)?);
    let training = match c.opt(2) {
        None => false,
        Some(t) => c.sizes(&t, "whether it trains")?.iter().any(|v| !v.is(0)),
    };
    if training {
        let ratio = match c.opt(1) {
            Some(r) => c.const_float(&r, "the ratio")?,
            None => ratio,
        };
        if ratio != 0.0 {
            return Err(unsupported_use("training mode is not supported").help("export the model for inference (model.eval())"));
        }
    }
    if !c.has_output(1) {
        return Ok(vec![x]);
    }
    let dtype = if c.opset < 10 { x.dtype() } else { DType::Bool };
    let kept = Val::known(TensorType::scalar(DType::Bool), vec![Elem::bool(true)]);
    let one = if dtype == DType::Bool { kept } else { Val::scalar(dtype, 1.0) };
    let mask = c.expand(&one, x.shape().to_vec())?;
    Ok(vec![x, mask])
}
