//! Attention of decoders as ONNX Runtime fuses it: rotary positions, and a cache where each sample of the batch has its own length.

use super::super::attention::{Attended, Attention, Mask, scale_or_default};
use super::super::rotary::{Turn, embed, look_up};
use crate::import::call::{Call, Got, Out, operand, unsupported_use};
use crate::import::value::Val;
use odc_ir::core::{DType, Dim};
use odc_ir::graph::{BinaryFn, Op};

/// Rotary embedding with a table of angles and positions: `[batch, length]`, or one that the first row has.
pub fn rotary_embedding(c: &mut Call) -> Out {
    c.attrs.ignore(&["is_packed_batching"]);
    let (x, mut positions, cos, sin) = (c.input(0)?, c.input(1)?, c.input(2)?, c.input(3)?);
    let t = Turn { interleaved: c.attrs.flag("interleaved", false)?, width: c.attrs.int_or("rotary_embedding_dim", 0)? };
    if !matches!(c.attrs.float_or("scale", 1.0)?, 0.0 | 1.0) {
        return Err(unsupported_use("`scale` is not supported"));
    }
    let (batch, length) = match x.shape() {
        [b, l, _] | [b, _, l, _] => (b.clone(), l.clone()),
        _ => return Err(operand(format!("the operand is {}, must have three or four axes", x.ty))),
    };
    if positions.rank() == 1 {
        let rows = c.positions(&length, DType::I64, 1, 2)?;
        positions = c.cast(&positions, DType::I64)?;
        positions = c.add(&rows, &positions)?;
        positions = c.expand(&positions, vec![batch, length])?;
    }
    let (cos, sin) = (look_up(c, &cos, &positions)?, look_up(c, &sin, &positions)?);
    let mut heads = c.attrs.int_or("num_heads", 0)?;
    if heads == 0 && x.rank() == 3 {
        // The table says how large a head is.
        let size = if t.width == 0 { c.fixed(&cos, 2, "the size of the angles")? * 2 } else { 0 };
        heads = if size > 0 { c.fixed(&x, 2, "the last axis")? / size } else { 1 };
    }
    embed(c, &x, heads, 1, [&cos, &sin], &t).map(|y| vec![y])
}

/// GroupQueryAttention.
pub fn attention(c: &mut Call) -> Out {
    let (heads, kv_heads) = (c.count("num_heads")?, c.count("kv_num_heads")?);
    c.attrs.ignore(&["qk_output", "kv_cache_bit_width", "k_quant_type", "v_quant_type"]);
    if (12..14).any(|k| c.opt(k).is_some()) {
        return Err(unsupported_use("quantised caches are not supported"));
    }
    c.only_outputs(3)?;
    let [mut q, mut k, v] = group_operands(c, heads, kv_heads)?;
    let length = q.shape().get(1).cloned().unwrap_or(Dim::ONE);
    let ends = c.input(5)?;
    let lengths = ends.clone();
    let batch = q.shape().first().cloned().unwrap_or(Dim::ONE);
    let ends = c.reshape_checked(&ends, vec![batch, Dim::ONE, Dim::ONE, Dim::ONE], "seqlens_k")?;
    let ends = c.cast(&ends, DType::I64)?;
    // How much of the cache each sample has filled before this step. `seqlens_k` counts one less than there is behind it.
    let filled = c.sub(&ends, &c.size_of(&(&length - 1)))?;
    let filled = c.with(BinaryFn::Max, &filled, 0.0)?;
    if c.attrs.flag("do_rotary", false)? {
        let t = Turn { interleaved: c.attrs.flag("rotary_interleaved", false)?, width: 0 };
        let (cos, sin) = (c.input(7)?, c.input(8)?);
        let t = Turn { width: 2 * c.fixed(&cos, 1, "the size of the angles")?, ..t };
        let positions = match c.opt(9) {
            Some(p) => p,
            None => {
                let rows = c.positions(&length, DType::I64, 1, 2)?;
                let from = c.reshape(&filled, vec![filled.ty.elements(), Dim::ONE])?;
                c.add(&rows, &from)?
            }
        };
        let (cos, sin) = (look_up(c, &cos, &positions)?, look_up(c, &sin, &positions)?);
        for x in [&mut q, &mut k] {
            *x = embed(c, x, 0, 2, [&cos, &sin], &t)?;
        }
    } else {
        c.attrs.ignore(&["rotary_interleaved"]);
    }
    let by_head = |c: &mut Call, x: &Val| c.transpose(x, vec![0, 2, 1, 3]);
    let (q, k, v) = (by_head(c, &q)?, by_head(c, &k)?, by_head(c, &v)?);
    let (k, v) = match (c.opt(3), c.opt(4)) {
        (Some(pk), Some(pv)) => (write(c, &pk, &k, &filled)?, write(c, &pv, &v, &filled)?),
        _ => (k, v),
    };
    let total = k.shape().get(2).cloned().unwrap_or(Dim::ONE);
    c.in_range(&lengths, &[(Dim::ZERO, &total - 1)], "`seqlens_k`")?;
    let mut mask = Mask { added: c.opt(10), ..Mask::default() };
    let window = c.attrs.int_or("local_window_size", -1)?;
    mask.places(c, &length, &total, &filled, [if window > 0 { window - 1 } else { -1 }, 0])?;
    let smooth = c.attrs.flag("smooth_softmax", false)?;
    let sink = c.opt(11).or_else(|| smooth.then(|| Val::scalar(q.dtype(), 0.0)));
    let scale = scale_or_default(c, &q)?;
    let softcap = f64::from(c.attrs.float_or("softcap", 0.0)?);
    let all = Attention { q, k, v, scale, softcap, mask, precision: DType::F32, sink };
    let Attended { y, .. } = all.build(c)?;
    Ok(vec![c.merge_heads(&y)?, all.k, all.v])
}

/// `[batch, length, heads, size]` each, from three operands or a packed one.
fn group_operands(c: &mut Call, heads: i64, kv_heads: i64) -> Got<[Val; 3]> {
    let x = c.input(0)?;
    let [batch, length, hidden] = x.shape() else { return Err(operand(format!("the query is {}, must have three axes", x.ty))) };
    let parts = match (c.opt(1), c.opt(2)) {
        (Some(k), Some(v)) => [x.clone(), k, v],
        (None, None) => {
            let hidden = hidden.as_const().filter(|h| *h <= 1 << 40).unwrap_or(0);
            let size = hidden / (heads + 2 * kv_heads);
            if size < 1 || size * (heads + 2 * kv_heads) != hidden {
                return Err(operand(format!("the packed operand {} does not split into {heads} and twice {kv_heads} heads", x.ty)));
            }
            let mut part = |from: i64, n: i64| c.part(&x, 2, Dim::from(from * size), Dim::from(n * size));
            [part(0, heads)?, part(heads, kv_heads)?, part(heads + kv_heads, kv_heads)?]
        }
        _ => return Err(operand("the key and the value must be given together")),
    };
    let mut out = vec![];
    for (p, n) in parts.iter().zip([heads, kv_heads, kv_heads]) {
        let size = c.fixed(p, 2, "the last axis")?;
        if size % n != 0 {
            return Err(operand(format!("{} does not split into {n} heads", p.ty)));
        }
        let len = p.shape().get(1).cloned().unwrap_or(length.clone());
        out.push(c.reshape(p, vec![batch.clone(), len, Dim::from(n), Dim::from(size / n)])?);
    }
    out.try_into().map_err(|_| operand("operands are missing"))
}

/// The cache with `new` from `filled` on, as long as the model says, or else with room for all of both.
fn write(c: &mut Call, past: &Val, new: &Val, filled: &Val) -> Got<Val> {
    let (had, more) = (past.shape().get(2).cloned().unwrap_or(Dim::ZERO), new.shape().get(2).cloned().unwrap_or(Dim::ONE));
    let told = c.opt(6).and_then(|v| v.known_ints()).and_then(|v| v.first().cloned());
    let total = match told {
        Some(t) => c.build.dims.simplify(&had.max_with(&t)),
        None => &had + &more,
    };
    c.same_dtype(past, new)?;
    if past.rank() != 4 {
        return Err(operand(format!("the cache is {}, must have four axes", past.ty)));
    }
    for k in [0, 1, 3] {
        let (a, b) = (past.shape().get(k).cloned().unwrap_or(Dim::ONE), new.shape().get(k).cloned().unwrap_or(Dim::ONE));
        c.equal(&a, &b, &format!("sizes of axis {k} of the cache"))?;
    }
    let mut shape = new.shape().to_vec();
    if let Some(d) = shape.get_mut(2) {
        *d = total.clone();
    }
    let keys = c.positions(&total, DType::I64, 2, 4)?;
    let place = c.sub(&keys, filled)?;
    let zero = Val::scalar(DType::I64, 0.0);
    let clamp = |c: &mut Call, at: &Val, size: &Dim, shape: &[Dim], from: &Val| {
        let at = c.apply(BinaryFn::Max, at, &zero)?;
        let at = c.apply(BinaryFn::Min, &at, &c.size_of(&(size - 1)))?;
        let at = c.expand(&at, shape.to_vec())?;
        c.emit(Op::GatherElements { axis: 2 }, &[from, &at], from.dtype(), shape.to_vec())
    };
    let fresh = clamp(c, &place, &more, &shape, new)?;
    if had.is(0) {
        return Ok(fresh);
    }
    let old = if c.build.dims.simplify(&had) == total {
        past.clone()
    } else {
        // Something to read even while the cache is empty.
        let padded = c.join(&[past, new], 2)?;
        let all = &had + &more;
        clamp(c, &keys, &all, &shape, &padded)?
    };
    // Kept, then written, then zero.
    let (kept, used) = (c.apply(BinaryFn::Lt, &place, &zero)?, c.apply(BinaryFn::Lt, &place, &c.size_of(&more))?);
    let rest = c.choose(&used, &fresh, &Val::scalar(new.dtype(), 0.0))?;
    c.choose(&kept, &old, &rest)
}
