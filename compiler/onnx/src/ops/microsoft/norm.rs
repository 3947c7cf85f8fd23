//! Normalisations with what stands around them in transformers: residuals, biases, embeddings, activations.

use super::super::norm::{inverse_deviation, moments, over, per_channel};
use crate::import::call::{Call, Got, Out, operand, unsupported_use};
use crate::import::value::Val;
use odc_ir::core::{DType, Dim};
use odc_ir::graph::{Op, ReduceFn, UnaryFn};

/// The sum of an input, its residual and perhaps a bias in input `bias`.
fn residual(c: &mut Call, bias: usize) -> Got<Val> {
    let (x, skip) = (c.input(0)?, c.input(1)?);
    let mut sum = c.add(&x, &skip)?;
    if let Some(b) = c.opt(bias) {
        sum = c.add(&sum, &b)?;
    }
    Ok(sum)
}

fn last_axis(x: &Val) -> Got<usize> {
    x.rank().checked_sub(1).ok_or_else(|| operand("does not take a scalar"))
}

fn layer(c: &mut Call, x: &Val, gamma: &Val, beta: Option<Val>, epsilon: f64) -> Got<Val> {
    let axis = last_axis(x)?;
    let gamma = over(c, x, gamma, axis)?;
    let beta = beta.map(|b| over(c, x, &b, axis)).transpose()?;
    let operands: Vec<&Val> = [x, &gamma].into_iter().chain(&beta).collect();
    c.emit(Op::LayerNorm { axis, epsilon }, &operands, x.dtype(), x.shape().to_vec())
}

/// Mean (of a plain norm) and inverse deviation, if somebody wants them.
fn statistics(c: &mut Call, x: &Val, epsilon: f64, centred: bool) -> Got<[Val; 2]> {
    let wide = c.cast(x, DType::F32)?;
    let axis = last_axis(x)?;
    let [mean, mut spread] = moments(c, &wide, &[axis])?;
    if !centred {
        let square = c.mul(&wide, &wide)?;
        spread = c.reduce(ReduceFn::Mean, &square, &[axis], true)?;
    }
    Ok([mean, inverse_deviation(c, &spread, epsilon)?])
}

pub fn skip_layer(c: &mut Call) -> Out {
    let epsilon = f64::from(c.attrs.float_or("epsilon", 1e-12)?);
    let sum = residual(c, 4)?;
    let (gamma, beta) = (c.input(2)?, c.opt(3));
    let y = layer(c, &sum, &gamma, beta, epsilon)?;
    let [mean, inverse] = statistics(c, &sum, epsilon, true)?;
    Ok(vec![y, mean, inverse, sum])
}

fn rms(c: &mut Call, x: &Val, gamma: &Val, axis: usize, epsilon: f64) -> Got<Val> {
    let gamma = over(c, x, gamma, axis)?;
    c.emit(Op::RmsNorm { axis, epsilon }, &[x, &gamma], x.dtype(), x.shape().to_vec())
}

/// The root mean square norm that ONNX Runtime keeps in the default domain.
pub fn simplified(c: &mut Call) -> Out {
    c.attrs.ignore(&["stash_type"]);
    let (x, gamma) = (c.input(0)?, c.input(1)?);
    let axis = c.axis(c.attrs.int_or("axis", -1)?, x.rank())?;
    let epsilon = f64::from(c.attrs.float_or("epsilon", 1e-5)?);
    let y = rms(c, &x, &gamma, axis, epsilon)?;
    if !c.has_output(1) {
        return Ok(vec![y]);
    }
    if axis != last_axis(&x)? {
        return Err(unsupported_use("the inverse deviation over several axes is not supported"));
    }
    let [_, inverse] = statistics(c, &x, epsilon, false)?;
    Ok(vec![y, inverse])
}

pub fn skip_simplified(c: &mut Call) -> Out {
    let epsilon = f64::from(c.attrs.float_or("epsilon", 1e-12)?);
    let sum = residual(c, 3)?;
    let gamma = c.input(2)?;
    let axis = last_axis(&sum)?;
    let y = rms(c, &sum, &gamma, axis, epsilon)?;
    let [mean, inverse] = statistics(c, &sum, epsilon, false)?;
    Ok(vec![y, mean, inverse, sum])
}

/// Sum of word, position and segment embeddings, normalised; beside it the lengths that the mask says.
pub fn embed_layer(c: &mut Call) -> Out {
    let epsilon = f64::from(c.attrs.float_or("epsilon", 1e-12)?);
    c.attrs.ignore(&["mask_index_type"]);
    let ids = c.input(0)?;
    let (words, places) = (c.input(2)?, c.input(3)?);
    let [batch, length] = ids.shape() else { return Err(operand(format!("the ids are {}, must have two axes", ids.ty))) };
    let mut sum = rows(c, &words, &ids)?;
    let place = match c.opt(8) {
        Some(p) => rows(c, &places, &p)?,
        None => {
            let all = c.iota(length, DType::I64)?;
            rows(c, &places, &all)?
        }
    };
    sum = c.add(&sum, &place)?;
    if let (Some(segment), Some(table)) = (c.opt(1), c.opt(4)) {
        let s = rows(c, &table, &segment)?;
        sum = c.add(&sum, &s)?;
    }
    let (gamma, beta) = (c.input(5)?, c.opt(6));
    let y = layer(c, &sum, &gamma, beta, epsilon)?;
    let lengths = match c.opt(7) {
        Some(mask) => {
            c.want_rank(&mask, 2, "the mask")?;
            let n = c.reduce(ReduceFn::Sum, &mask, &[1], true)?;
            c.reshape_checked(&n, vec![batch.clone()], "the mask's lengths")?
        }
        None => c.expand(&Val::scalar(DType::I32, 0.0), vec![batch.clone()])?,
    };
    Ok(vec![y, lengths, sum])
}

fn rows(c: &mut Call, table: &Val, ids: &Val) -> Got<Val> {
    c.want_indices(ids, "ids")?;
    c.want_rank(table, 1, "the table")?;
    c.indices_in(ids, table.shape().get(..1).unwrap_or(&[]))?;
    let mut shape = ids.shape().to_vec();
    shape.extend(table.shape().iter().skip(1).cloned());
    c.emit(Op::Gather { axis: 0 }, &[table, ids], table.dtype(), shape)
}

/// GroupNorm of channels that stand last, with an activation behind it.
pub fn group(c: &mut Call) -> Out {
    let x = c.input(0)?;
    grouped(c, &x).map(|y| vec![y])
}

pub fn skip_group(c: &mut Call) -> Out {
    let (x, mut skip) = (c.input(0)?, c.input(3)?);
    // A residual without places is the same at all of them.
    if skip.rank() == 2 {
        let mut shape = skip.shape().to_vec();
        let places = x.rank().saturating_sub(2);
        (0..places).for_each(|_| shape.insert(1, Dim::ONE));
        skip = c.reshape(&skip, shape)?;
    }
    let mut sum = c.add(&x, &skip)?;
    if let Some(b) = c.opt(4) {
        sum = c.add(&sum, &b)?;
    }
    Ok(vec![grouped(c, &sum)?, sum])
}

fn grouped(c: &mut Call, x: &Val) -> Got<Val> {
    let groups = c.count("groups")?;
    let epsilon = f64::from(c.attrs.float_or("epsilon", 1e-5)?);
    let activate = c.attrs.flag("activation", false)?;
    let channels_last = c.attrs.flag("channels_last", true)?;
    let (gamma, beta) = (c.input(1)?, c.input(2)?);
    c.want_rank(x, 3, "the operand")?;
    let (there, back) = to_front(x.rank());
    let own = if channels_last { c.transpose(x, there)? } else { x.clone() };
    let channels = c.fixed(&own, 1, "the number of channels")?;
    if channels % groups != 0 {
        return Err(crate::attrs::bad("groups", format!("is {groups}, which does not divide {channels} channels")));
    }
    let (gamma, beta) = (c.cast(&gamma, x.dtype())?, c.cast(&beta, x.dtype())?);
    per_channel(c, &own, &gamma, "scale")?;
    per_channel(c, &own, &beta, "bias")?;
    let mut y = c.emit(Op::GroupNorm { groups, epsilon }, &[&own, &gamma, &beta], x.dtype(), own.shape().to_vec())?;
    if activate {
        y = c.unary(UnaryFn::Silu, &y)?;
    }
    if channels_last { c.transpose(&y, back) } else { Ok(y) }
}

/// Permutations from channels last to channels second, and back.
pub fn to_front(rank: usize) -> (Vec<usize>, Vec<usize>) {
    let there = [0, rank - 1].into_iter().chain(1..rank - 1).collect();
    let back = std::iter::once(0).chain(2..rank).chain([1]).collect();
    (there, back)
}
