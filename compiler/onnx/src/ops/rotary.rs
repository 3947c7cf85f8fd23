//! Rotary position embeddings: pairs of features turned by an angle that depends on the position.

use crate::attrs::bad;
use crate::diag::{Code, Fault};
use crate::import::call::{Call, Got, Out, operand};
use crate::import::value::Val;
use odc_ir::core::Dim;
use odc_ir::graph::Op;

/// How features pair up and how many of a head turn.
pub struct Turn {
    /// Neighbours instead of one from each half.
    pub interleaved: bool,
    /// 0 for all.
    pub width: i64,
}

/// `cos` and `sin`, whose last axis is half of the turning features, brought to broadcast against `x[…, size]`.
pub fn turn(c: &mut Call, x: &Val, cos: &Val, sin: &Val, t: &Turn) -> Got<Val> {
    let last = x.rank().checked_sub(1).ok_or_else(|| operand("does not take a scalar"))?;
    let size = c.fixed(x, last, "the size of a head")?;
    let width = if t.width == 0 { size } else { t.width };
    if width < 1 || width > size || width % 2 != 0 {
        return Err(bad("rotary_embedding_dim", format!("is {width}, must be even and at most {size}")));
    }
    let half = Dim::from(width / 2);
    for v in [cos, sin] {
        let own = c.last_size(v);
        c.equal(&own, &half, "half of the turning features and the angles")?;
    }
    let turning = c.part(x, last, Dim::ZERO, Dim::from(width))?;
    let (a, b) = if t.interleaved {
        (every_second(c, &turning, 0)?, every_second(c, &turning, 1)?)
    } else {
        (c.part(&turning, last, Dim::ZERO, half.clone())?, c.part(&turning, last, half.clone(), half)?)
    };
    let [ac, bs, as_, bc] = [c.mul(&a, cos)?, c.mul(&b, sin)?, c.mul(&a, sin)?, c.mul(&b, cos)?];
    let (real, imaginary) = (c.sub(&ac, &bs)?, c.add(&as_, &bc)?);
    let turned = if t.interleaved {
        let mut column = real.shape().to_vec();
        column.push(Dim::ONE);
        let (real, imaginary) = (c.reshape(&real, column.clone())?, c.reshape(&imaginary, column)?);
        let pairs = c.join(&[&real, &imaginary], last + 1)?;
        c.reshape(&pairs, turning.shape().to_vec())?
    } else {
        c.join(&[&real, &imaginary], last)?
    };
    if width == size {
        return Ok(turned);
    }
    let rest = c.part(x, last, Dim::from(width), Dim::from(size - width))?;
    c.join(&[&turned, &rest], last)
}

fn every_second(c: &mut Call, x: &Val, from: i64) -> Got<Val> {
    let last = x.rank().saturating_sub(1);
    let (mut starts, mut steps, mut shape) = (vec![Dim::ZERO; x.rank()], vec![1; x.rank()], x.shape().to_vec());
    if let (Some(s), Some(t), Some(d)) = (starts.get_mut(last), steps.get_mut(last), shape.get_mut(last)) {
        *s = Dim::from(from);
        *t = 2;
        *d = d.floordiv(&Dim::from(2));
    }
    c.emit(Op::Slice { starts, steps }, &[x], x.dtype(), shape)
}

/// Rows of a table of angles, one a position.
pub fn look_up(c: &mut Call, table: &Val, positions: &Val) -> Got<Val> {
    if table.rank() != 2 {
        return Err(operand(format!("the angles are {}, must have two axes", table.ty)));
    }
    c.want_indices(positions, "positions")?;
    c.indices_in(positions, table.shape().get(..1).unwrap_or(&[]))?;
    let mut shape = positions.shape().to_vec();
    shape.push(c.last_size(table));
    c.emit(Op::Gather { axis: 0 }, &[table, positions], table.dtype(), shape)
}

/// ONNX RotaryEmbedding: angles `[batch, length, half]`, or a table of them with positions.
pub fn rotary_embedding(c: &mut Call) -> Out {
    let x = c.input(0)?;
    let heads = c.attrs.int_or("num_heads", 0)?;
    let t = Turn { interleaved: c.attrs.flag("interleaved", false)?, width: c.attrs.int_or("rotary_embedding_dim", 0)? };
    let (mut cos, mut sin) = (c.input(1)?, c.input(2)?);
    if let Some(positions) = c.opt(3) {
        cos = look_up(c, &cos, &positions)?;
        sin = look_up(c, &sin, &positions)?;
    }
    embed(c, &x, heads, 1, [&cos, &sin], &t).map(|y| vec![y])
}

/// With angles `[batch, length, half]`, which all heads share. `x` is `[batch, length, heads * size]`, or of four axes with heads
/// at `head_axis`.
pub fn embed(c: &mut Call, x: &Val, heads: i64, head_axis: usize, [cos, sin]: [&Val; 2], t: &Turn) -> Got<Val> {
    let (heads_at, x4) = match x.shape() {
        [batch, length, _] => {
            let hidden = c.fixed(x, 2, "the last axis")?;
            if heads < 1 || hidden % heads != 0 {
                return Err(bad("num_heads", format!("is {heads}, which does not split {}", x.ty)));
            }
            let shape = vec![batch.clone(), length.clone(), Dim::from(heads), Dim::from(hidden / heads)];
            (2, c.reshape(x, shape)?)
        }
        [_, _, _, _] => (head_axis, x.clone()),
        _ => return Err(Fault::new(Code::BadOperand, format!("the operand is {}, must have three or four axes", x.ty))),
    };
    let spread = |c: &mut Call, v: &Val| {
        let mut shape = v.shape().to_vec();
        if shape.len() != 3 {
            return Err(operand(format!("the angles are {}, must have three axes", v.ty)));
        }
        shape.insert(heads_at, Dim::ONE);
        c.reshape(v, shape)
    };
    let (cos, sin) = (spread(c, cos)?, spread(c, sin)?);
    let y = turn(c, &x4, &cos, &sin, t)?;
    c.reshape(&y, x.shape().to_vec())
}
