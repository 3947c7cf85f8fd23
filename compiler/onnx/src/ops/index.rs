//! Gather, scatter and their kin: operators that address by the values of another tensor.

use crate::attrs::bad;
use crate::import::call::{Call, Got, Out, operand, unsupported_use};
use crate::import::known;
use crate::import::value::Val;
use odc_ir::core::{DType, Dim};
use odc_ir::graph::{Op, ScatterFn};

fn indices(c: &Call, k: usize) -> Got<Val> {
    let v = c.input(k)?;
    match v.dtype() {
        DType::I32 | DType::I64 => Ok(v),
        _ => Err(operand(format!("indices are {}, must be i32 or i64", v.ty))),
    }
}

pub fn gather(c: &mut Call) -> Out {
    let (x, ind) = (c.input(0)?, indices(c, 1)?);
    c.want_rank(&x, 1, "the data")?;
    let axis = c.axis(c.attrs.int_or("axis", 0)?, x.rank())?;
    let (head, tail) = x.shape().split_at_checked(axis).unwrap_or((&[], &[]));
    let size = tail.first().cloned().unwrap_or(Dim::ONE);
    let shape: Vec<Dim> = head.iter().chain(ind.shape()).chain(tail.iter().skip(1)).cloned().collect();
    c.indices_in(&ind, std::slice::from_ref(&size))?;
    if let Some(list) = ind.const_ints() {
        if let Some(v) = known_gather(&x, &list, axis, &shape) {
            return Ok(vec![v]);
        }
        // One place: a view instead of a lookup.
        if let (0, [i]) = (ind.rank(), list.as_slice()) {
            let start = if *i < 0 { &size + *i } else { Dim::from(*i) };
            let part = c.part(&x, axis, start, Dim::ONE)?;
            return Ok(vec![c.reshape(&part, shape)?]);
        }
    }
    Ok(vec![c.emit(Op::Gather { axis }, &[&x, &ind], x.dtype(), shape)?])
}

fn known_gather(x: &Val, list: &[i64], axis: usize, shape: &[Dim]) -> Option<Val> {
    x.known.as_ref()?;
    let own = x.ty.static_shape()?;
    let shape = shape.iter().map(Dim::as_const).collect::<Option<Vec<_>>>()?;
    let size = *own.get(axis)?;
    // As if the indices were flat: the middle axis is the list.
    let mut flat = own.clone();
    *flat.get_mut(axis)? = list.len() as i64;
    known::rearrange(x, &shape, |k| {
        let (before, at, after) = known::split_index(k, &flat, axis)?;
        let i = *list.get(at)?;
        known::join_index(before, usize::try_from(if i < 0 { i + size } else { i }).ok()?, after, &own, axis)
    })
}

pub fn gather_elements(c: &mut Call) -> Out {
    let (x, ind) = (c.input(0)?, indices(c, 1)?);
    let axis = c.axis(c.attrs.int_or("axis", 0)?, x.rank())?;
    if ind.rank() != x.rank() {
        return Err(operand(format!("indices {} and data {} must have the same rank", ind.ty, x.ty)));
    }
    c.indices_in(&ind, x.shape().get(axis..=axis).unwrap_or(&[]))?;
    Ok(vec![c.emit(Op::GatherElements { axis }, &[&x, &ind], x.dtype(), ind.shape().to_vec())?])
}

pub fn gather_nd(c: &mut Call) -> Out {
    let (x, ind) = (c.input(0)?, indices(c, 1)?);
    c.want_rank(&ind, 1, "indices")?;
    let batch = c.attrs.int_or("batch_dims", 0)?;
    let batch_dims = usize::try_from(batch).map_err(|_| bad("batch_dims", format!("is {batch}")))?;
    let (tuple, lead) = ind.shape().split_last().ok_or_else(|| operand("indices are a scalar"))?;
    let depth = tuple
        .as_const()
        .and_then(|k| usize::try_from(k).ok())
        .ok_or_else(|| unsupported_use("the length of an index tuple must be constant"))?;
    if batch_dims >= ind.rank() || batch_dims.saturating_add(depth) > x.rank() {
        return Err(operand(format!("index tuples of {} do not fit data {}", ind.ty, x.ty)));
    }
    for (a, b) in x.shape().iter().zip(ind.shape()).take(batch_dims) {
        c.equal(a, b, "batch axes")?;
    }
    c.indices_in(&ind, x.shape().get(batch_dims..batch_dims + depth).unwrap_or(&[]))?;
    let shape = lead.iter().chain(x.shape().iter().skip(batch_dims + depth)).cloned().collect();
    Ok(vec![c.emit(Op::GatherNd { batch_dims }, &[&x, &ind], x.dtype(), shape)?])
}

fn scatter_fn(c: &Call) -> Got<ScatterFn> {
    let all =
        [("none", ScatterFn::Replace), ("add", ScatterFn::Add), ("mul", ScatterFn::Mul), ("max", ScatterFn::Max), ("min", ScatterFn::Min)];
    c.attrs.choice("reduction", "none", &all)
}

pub fn scatter_nd(c: &mut Call) -> Out {
    let (x, ind, updates) = (c.input(0)?, indices(c, 1)?, c.input(2)?);
    c.same_dtype(&x, &updates)?;
    c.want_rank(&ind, 1, "indices")?;
    let (tuple, lead) = ind.shape().split_last().ok_or_else(|| operand("indices are a scalar"))?;
    let depth = tuple
        .as_const()
        .and_then(|k| usize::try_from(k).ok())
        .ok_or_else(|| unsupported_use("the length of an index tuple must be constant"))?;
    let want: Vec<Dim> = lead.iter().chain(x.shape().iter().skip(depth)).cloned().collect();
    if depth > x.rank() || updates.rank() != want.len() {
        return Err(operand(format!("updates {} and indices {} do not fit data {}", updates.ty, ind.ty, x.ty)));
    }
    for (a, b) in updates.shape().iter().zip(&want) {
        c.equal(a, b, "updates and indices")?;
    }
    c.indices_in(&ind, x.shape().get(..depth).unwrap_or(&[]))?;
    let f = scatter_fn(c)?;
    Ok(vec![c.emit(Op::ScatterNd { f }, &[&x, &ind, &updates], x.dtype(), x.shape().to_vec())?])
}

pub fn scatter_elements(c: &mut Call) -> Out {
    let (x, ind, updates) = (c.input(0)?, indices(c, 1)?, c.input(2)?);
    c.same_dtype(&x, &updates)?;
    let axis = c.axis(c.attrs.int_or("axis", 0)?, x.rank())?;
    if ind.rank() != x.rank() || updates.rank() != x.rank() {
        return Err(operand(format!("indices {} and updates {} must have the rank of data {}", ind.ty, updates.ty, x.ty)));
    }
    for (a, b) in updates.shape().iter().zip(ind.shape()) {
        c.equal(a, b, "updates and indices")?;
    }
    c.indices_in(&ind, x.shape().get(axis..=axis).unwrap_or(&[]))?;
    let f = scatter_fn(c)?;
    Ok(vec![c.emit(Op::ScatterElements { axis, f }, &[&x, &ind, &updates], x.dtype(), x.shape().to_vec())?])
}

pub fn one_hot(c: &mut Call) -> Out {
    let (ind, depth, values) = (c.input(0)?, c.input(1)?, c.input(2)?);
    let depth = c.cast_known(depth, DType::I64);
    let depth = match c.sizes(&depth, "the depth")?.as_slice() {
        [d] => d.clone(),
        _ => return Err(operand("the depth must be one number")),
    };
    let axis = c.axis(c.attrs.int_or("axis", -1)?, ind.rank() + 1)?;
    let ind = c.cast(&ind, DType::I64)?;
    // The op itself counts negative indices from the end, once; whatever is still outside is off everywhere.
    let mut shape = ind.shape().to_vec();
    shape.insert(axis, depth);
    Ok(vec![c.emit(Op::OneHot { axis }, &[&ind, &values], values.dtype(), shape)?])
}

pub fn trilu(c: &mut Call) -> Out {
    let x = c.input(0)?;
    c.want_rank(&x, 2, "the operand")?;
    let upper = c.attrs.flag("upper", true)?;
    let k = match c.opt(1) {
        None => 0,
        Some(v) => *c.const_ints(&v, "k")?.first().ok_or_else(|| operand("k must be one number"))?,
    };
    Ok(vec![c.emit(Op::Trilu { upper, k }, &[&x], x.dtype(), x.shape().to_vec())?])
}
