//! Attention as ONNX Runtime fuses it: projections, biases and caches of several layouts around the one attention.

use super::super::attention::{Attended, Attention, Mask, scale_or_default};
use crate::attrs::bad;
use crate::import::call::{Call, Got, Out, operand, unsupported_use};
use crate::import::value::Val;
use odc_ir::core::{DType, Dim};
use odc_ir::graph::BinaryFn;

/// MultiHeadAttention: separate or packed operands, masks of several forms, a cache that grows.
pub fn multi_head(c: &mut Call) -> Out {
    let heads = c.count("num_heads")?;
    let [q, k, v] = operands(c, heads)?;
    let (past_k, past_v) = (c.opt(6), c.opt(7));
    if c.opt(8).is_some() || c.opt(9).is_some() {
        return Err(unsupported_use("caches shared between beams (past_sequence_length, cache_indirection) are not supported"));
    }
    let offset = past_length(c, past_k.as_ref());
    let (k, v) = (append(c, past_k, k)?, append(c, past_v, v)?);
    let mask = mask(c, 4, 5, &q, &k, &offset)?;
    let scale = scale_or_default(c, &q)?;
    let precision = q.dtype();
    let all = Attention { q, k, v, scale, softcap: 0.0, mask, precision, sink: None };
    let Attended { y, steps: [raw, ..] } = all.build(c)?;
    Ok(vec![c.merge_heads(&y)?, all.k, all.v, raw])
}

/// Queries, keys and values by head, with their biases.
fn operands(c: &mut Call, heads: i64) -> Got<[Val; 3]> {
    let x = c.input(0)?;
    let (k, v) = (c.opt(1), c.opt(2));
    if v.is_none() && c.opt(3).is_some() {
        return Err(unsupported_use("a bias of packed operands is not supported"));
    }
    let flat = match (k, v) {
        // Five axes: q, k and v beside each other in each head.
        (None, None) if x.rank() == 5 => return apart(c, &x, 3).map(|p| [p.0, p.1, p.2]),
        (Some(kv), None) if kv.rank() == 5 => {
            let (_, k, v) = apart(c, &kv, 2)?;
            return Ok([c.split_heads(&x, heads, "the query")?, k, v]);
        }
        (Some(k), Some(v)) => [x, k, v],
        _ => return Err(operand("the query alone or with the key must be packed, with five axes")),
    };
    if let Some(bias) = c.opt(3) {
        let total = flat.iter().filter(|x| x.rank() == 3).fold(Dim::ZERO, |n, x| n + c.last_size(x));
        c.equal(&bias.ty.elements(), &total, "biases and features")?;
    }
    let (mut at, mut out) = (Dim::ZERO, vec![]);
    for (x, what) in flat.iter().zip(["the query", "the key", "the value"]) {
        // Keys and values of cross attention may come by head already; they have no bias then.
        if x.rank() == 4 {
            out.push(x.clone());
            continue;
        }
        let y = biased(c, x, at.clone())?;
        at = at + c.last_size(x);
        out.push(c.split_heads(&y, heads, what)?);
    }
    out.try_into().map_err(|_| operand("operands are missing"))
}

/// With its part of the bias, which starts at `at`.
fn biased(c: &mut Call, x: &Val, at: Dim) -> Got<Val> {
    match c.opt(3) {
        None => Ok(x.clone()),
        Some(all) => {
            let part = c.part(&all, 0, at, c.last_size(x))?;
            c.add(x, &part)
        }
    }
}

/// `[batch, length, heads, n, size]` as n values by head; the first is doubled where there are two.
fn apart(c: &mut Call, x: &Val, n: i64) -> Got<(Val, Val, Val)> {
    let [batch, length, heads, count, size] = x.shape() else { return Err(operand(format!("{} must have five axes", x.ty))) };
    c.equal(count, &Dim::from(n), "packed operands")?;
    let shape = vec![batch.clone(), length.clone(), heads.clone(), size.clone()];
    let one = |c: &mut Call, k: i64| {
        let p = c.part(x, 3, Dim::from(k), Dim::ONE)?;
        let p = c.reshape(&p, shape.clone())?;
        c.transpose(&p, vec![0, 2, 1, 3])
    };
    Ok((one(c, 0)?, one(c, n - 2)?, one(c, n - 1)?))
}

fn past_length(c: &Call, past: Option<&Val>) -> Val {
    c.size_of(&past.and_then(|p| p.shape().get(2)).cloned().unwrap_or(Dim::ZERO))
}

fn append(c: &mut Call, past: Option<Val>, new: Val) -> Got<Val> {
    match past {
        Some(p) => c.join(&[&p, &new], 2),
        None => Ok(new),
    }
}

/// The padding mask in input `padding`, the bias in input `added`, and causality, if the node asks for it.
fn mask(c: &mut Call, padding: usize, added: usize, q: &Val, k: &Val, offset: &Val) -> Got<Mask> {
    let dtype = q.dtype();
    let mut mask = Mask { added: c.opt(added), ..Mask::default() };
    let (rows, total) = (q.shape().get(2).cloned().unwrap_or(Dim::ONE), k.shape().get(2).cloned().unwrap_or(Dim::ONE));
    let filter = f64::from(c.attrs.float_or("mask_filter_value", -10000.0)?);
    let mut hidden = match c.opt(padding) {
        Some(p) => Some(real(c, &p, q, &total)?),
        None => None,
    };
    if c.attrs.flag("unidirectional", false)? {
        let mut causal = Mask::default();
        causal.places(c, &rows, &total, offset, [-1, 0])?;
        hidden = c.both(hidden, causal.allowed)?;
    }
    // What is masked gets a large negative addend, not minus infinity: rows without any key are plain averages.
    if let Some(seen) = hidden {
        let bias = c.choose(&seen, &Val::scalar(dtype, 0.0), &Val::scalar(dtype, filter))?;
        mask.added = Some(match mask.added.take() {
            Some(a) => c.add(&a, &bias)?,
            None => bias,
        });
    }
    Ok(mask)
}

/// True at keys that are no padding, from lengths `[batch]`, marks `[batch, keys]` or `[batch, queries, keys]`.
fn real(c: &mut Call, mask: &Val, q: &Val, total: &Dim) -> Got<Val> {
    let batch = q.shape().first().cloned().unwrap_or(Dim::ONE);
    let shape = match mask.shape() {
        [n] if c.build.dims.simplify(n) == c.build.dims.simplify(&batch) => {
            let ends = c.reshape(mask, vec![n.clone(), Dim::ONE, Dim::ONE, Dim::ONE])?;
            let (ends, keys) = (c.cast(&ends, DType::I64)?, c.positions(total, DType::I64, 3, 4)?);
            return c.apply(BinaryFn::Lt, &keys, &ends);
        }
        [a, b] => vec![a.clone(), Dim::ONE, Dim::ONE, b.clone()],
        [a, b, d] => vec![a.clone(), Dim::ONE, b.clone(), d.clone()],
        _ => return Err(unsupported_use(format!("a mask {} is not supported", mask.ty))),
    };
    let mask = c.reshape(mask, shape)?;
    c.with(BinaryFn::Ne, &mask, 0.0)
}

/// Attention with its own projection: one weight for queries, keys and values.
pub fn projected(c: &mut Call) -> Out {
    let heads = c.count("num_heads")?;
    c.attrs.ignore(&["past_present_share_buffer"]);
    if c.attrs.flag("do_rotary", false)? || c.opt(6).is_some() {
        return Err(unsupported_use("`do_rotary` and shared caches are not supported"));
    }
    let (x, w) = (c.input(0)?, c.input(1)?);
    let mut all = c.product(&x, &w)?;
    if let Some(b) = c.opt(2) {
        all = c.add(&all, &b)?;
    }
    let width = c.fixed(&all, 2, "the projected size")?;
    let sizes = match c.attrs.ints("qkv_hidden_sizes")? {
        Some(s) if s.len() == 3 && s.iter().all(|v| (1..=width).contains(v)) && s.iter().sum::<i64>() == width => s.to_vec(),
        Some(s) => return Err(bad("qkv_hidden_sizes", format!("is {s:?}, but the projection gives {width}"))),
        None => vec![width / 3; 3],
    };
    let (mut at, mut parts) = (0, vec![]);
    for size in sizes {
        let part = c.part(&all, 2, Dim::from(at), Dim::from(size))?;
        parts.push(c.split_heads(&part, heads, "the projection")?);
        at += size;
    }
    let [q, k, v] = <[Val; 3]>::try_from(parts).map_err(|_| operand("operands are missing"))?;
    let (past_k, past_v) = match c.opt(4) {
        Some(p) => (Some(half(c, &p, 0)?), Some(half(c, &p, 1)?)),
        None => (None, None),
    };
    let offset = past_length(c, past_k.as_ref());
    let (k, v) = (append(c, past_k, k)?, append(c, past_v, v)?);
    let mask = mask(c, 3, 5, &q, &k, &offset)?;
    let scale = scale_or_default(c, &q)?;
    let precision = q.dtype();
    let all = Attention { q, k, v, scale, softcap: 0.0, mask, precision, sink: None };
    let Attended { y, .. } = all.build(c)?;
    let mut out = vec![c.merge_heads(&y)?];
    if c.has_output(1) {
        let front = |v: &Val| std::iter::once(Dim::ONE).chain(v.shape().iter().cloned()).collect::<Vec<_>>();
        let (ks, vs) = (front(&all.k), front(&all.v));
        let (k, v) = (c.reshape(&all.k, ks)?, c.reshape(&all.v, vs)?);
        out.push(c.join(&[&k, &v], 0)?);
    }
    Ok(out)
}

/// Keys or values of a cache that holds both.
fn half(c: &mut Call, past: &Val, k: i64) -> Got<Val> {
    if past.rank() != 5 || !past.shape().first().is_some_and(|d| d.is(2)) {
        return Err(operand(format!("the cache is {}, must be [2, batch, heads, length, size]", past.ty)));
    }
    let part = c.part(past, 0, Dim::from(k), Dim::ONE)?;
    c.reshape(&part, past.shape().iter().skip(1).cloned().collect())
}
