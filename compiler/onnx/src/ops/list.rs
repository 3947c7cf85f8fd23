//! Sequences and optionals. They exist only while importing: which tensors they hold, and where, is known then.

use super::rows;
use crate::import::call::{Call, Got, Out, operand, unsupported_use};
use crate::import::value::{Elem, List, Val};
use odc_ir::core::{DType, Dim, TensorType};
use odc_ir::graph::Op;

fn sequence(c: &Call, k: usize) -> Got<Vec<Val>> {
    match c.input(k)?.list() {
        Some(List::Sequence(items)) => Ok(items.clone()),
        Some(List::Rows(_)) => Err(unsupported_use("only data says how long the sequence is: it can be read, joined and appended to")),
        Some(List::Growing(_)) => Err(unsupported_use("a loop of unknown length may only append to the sequences that it carries")),
        _ => Err(operand(format!("input {k} must be a sequence"))),
    }
}

fn tensor(c: &Call, k: usize) -> Got<Val> {
    let v = c.input(k)?;
    if v.list().is_some() { Err(operand(format!("input {k} must be a tensor"))) } else { Ok(v) }
}

/// A known position: of an item, or (`end`) behind the last one.
fn position(c: &Call, k: usize, len: usize, end: bool) -> Got<usize> {
    let at = match c.const_ints(&tensor(c, k)?, "a position in a sequence")?.as_slice() {
        [at] => *at,
        _ => return Err(operand("a position must be one number")),
    };
    let from_front = if at < 0 { at.saturating_add(len as i64) } else { at };
    let found = usize::try_from(from_front).ok().filter(|p| *p < len + usize::from(end));
    found.ok_or_else(|| operand(format!("the position {at} is outside of a sequence of {len}")))
}

pub fn construct(c: &mut Call) -> Out {
    let items = (0..c.inputs.len()).map(|k| tensor(c, k)).collect::<Got<Vec<_>>>()?;
    Ok(vec![Val::of_list(List::Sequence(items))])
}

pub fn empty(c: &mut Call) -> Out {
    c.attrs.ignore(&["dtype"]);
    Ok(vec![Val::of_list(List::Sequence(vec![]))])
}

pub fn insert(c: &mut Call) -> Out {
    if let (Some(grown), None) = (rows::appended(c)?, c.opt(2)) {
        return Ok(vec![grown]);
    }
    let (mut items, x) = (sequence(c, 0)?, tensor(c, 1)?);
    let at = if c.opt(2).is_some() { position(c, 2, items.len(), true)? } else { items.len() };
    items.insert(at, x);
    Ok(vec![Val::of_list(List::Sequence(items))])
}

pub fn erase(c: &mut Call) -> Out {
    let mut items = sequence(c, 0)?;
    let last = items.len().checked_sub(1).ok_or_else(|| operand("the sequence is empty"))?;
    let at = if c.opt(1).is_some() { position(c, 1, items.len(), false)? } else { last };
    items.remove(at);
    Ok(vec![Val::of_list(List::Sequence(items))])
}

pub fn at(c: &mut Call) -> Out {
    if let Some(row) = rows::at(c)? {
        return Ok(vec![row]);
    }
    let items = sequence(c, 0)?;
    let at = position(c, 1, items.len(), false)?;
    Ok(items.get(at).cloned().into_iter().collect())
}

pub fn length(c: &mut Call) -> Out {
    if let Some(List::Rows(v)) = c.input(0)?.list() {
        let n = v.shape().first().cloned().unwrap_or(Dim::ZERO);
        return Ok(vec![Val::known(TensorType::scalar(DType::I64), vec![Elem::Int(n)])]);
    }
    let n = sequence(c, 0)?.len();
    Ok(vec![Val::known(TensorType::scalar(DType::I64), vec![Elem::int(n as i64)])])
}

pub fn concat(c: &mut Call) -> Out {
    if let Some(List::Rows(v)) = c.input(0)?.list() {
        return rows::concat(c, v);
    }
    let mut items = sequence(c, 0)?;
    let new = c.attrs.flag("new_axis", false)?;
    let first = items.first().cloned().ok_or_else(|| operand("the sequence is empty"))?;
    let axis = c.axis(c.attrs.required_int("axis")?, first.rank() + usize::from(new))?;
    if new {
        for item in &mut items {
            let mut shape = item.shape().to_vec();
            shape.insert(axis.min(shape.len()), Dim::ONE);
            *item = c.reshape(item, shape)?;
        }
    }
    let mut shape = items.first().map(|v| v.shape().to_vec()).unwrap_or_default();
    let mut total = Dim::ZERO;
    for v in &items {
        c.same_dtype(&first, v)?;
        if v.rank() != shape.len() {
            return Err(operand(format!("the sequence holds {} and {}", first.ty, v.ty)));
        }
        for (k, (a, b)) in shape.iter_mut().zip(v.shape()).enumerate() {
            if k == axis {
                total = total + b;
            } else {
                *a = c.equal(a, b, "sizes of the elements")?;
            }
        }
    }
    if let Some(d) = shape.get_mut(axis) {
        *d = total;
    }
    if let Some(v) = crate::import::known::concat(&items, axis) {
        return Ok(vec![v]);
    }
    let refs: Vec<&Val> = items.iter().collect();
    Ok(vec![c.emit(Op::Concat { axis }, &refs, first.dtype(), shape)?])
}

/// The most parts of a split.
const MAX_PARTS: i64 = 4096;

pub fn split(c: &mut Call) -> Out {
    let x = tensor(c, 0)?;
    let axis = c.axis(c.attrs.int_or("axis", 0)?, x.rank())?;
    let keep = c.attrs.flag("keepdims", true)?;
    let size = x.shape().get(axis).cloned().unwrap_or(Dim::ONE);
    let whole = |size: &Dim| {
        let n = size.as_const().filter(|n| (0..=MAX_PARTS).contains(n));
        n.ok_or_else(|| {
            let f = unsupported_use(format!("the axis has the size {size}; how many parts there are must be known"));
            f.needs_dims(c.build.dims.open(size))
        })
    };
    let sizes: Vec<i64> = match c.opt(1) {
        None if size.as_const().is_none() => return rows::of(c, &x, axis, keep),
        None => vec![1; whole(&size)? as usize],
        Some(split) => {
            let list = c.const_ints(&split, "the sizes of the parts")?;
            match (split.rank(), list.as_slice()) {
                (0, [n]) if *n > 0 => {
                    let total = whole(&size)?;
                    (0..total).step_by(usize::try_from(*n).unwrap_or(usize::MAX)).map(|at| (total - at).min(*n)).collect()
                }
                (1, _) if list.iter().all(|n| *n >= 0) => {
                    let sum = list.iter().fold(0i64, |a, b| a.saturating_add(*b));
                    c.equal(&size, &Dim::from(sum), "the sum of the parts")?;
                    list
                }
                _ => return Err(operand(format!("the sizes of the parts are {list:?}"))),
            }
        }
    };
    let squeeze = !keep && c.opt(1).is_none();
    let (mut items, mut start) = (vec![], 0);
    for n in sizes {
        let mut part = c.part(&x, axis, Dim::from(start), Dim::from(n))?;
        if squeeze {
            let mut shape = part.shape().to_vec();
            shape.remove(axis);
            part = c.reshape(&part, shape)?;
        }
        items.push(part);
        start += n;
    }
    Ok(vec![Val::of_list(List::Sequence(items))])
}

pub fn optional(c: &mut Call) -> Out {
    c.attrs.ignore(&["type"]);
    Ok(vec![Val::of_list(List::Optional(c.opt(0).map(Box::new)))])
}

pub fn has_element(c: &mut Call) -> Out {
    let has = c.opt(0).is_some_and(|v| !matches!(v.list(), Some(List::Optional(None))));
    Ok(vec![Val::known(TensorType::scalar(DType::Bool), vec![Elem::bool(has)])])
}

pub fn get_element(c: &mut Call) -> Out {
    let v = c.input(0)?;
    match v.list() {
        Some(List::Optional(Some(inner))) => Ok(vec![(**inner).clone()]),
        Some(List::Optional(None)) => Err(operand("the optional is empty")),
        Some(List::Sequence(_) | List::Rows(_) | List::Growing(_)) | None => Ok(vec![v]),
    }
}
