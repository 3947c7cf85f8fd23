//! Operators about shapes, which vanish where sizes are known, and those that only rename axes.

use crate::attrs::bad;
use crate::diag::{Code, Fault};
use crate::import::call::{Call, Got, Out, constant as constant_value, operand, unsupported_use};
use crate::import::known;
use crate::import::value::{Elem, MAX_KNOWN, Val};
use odc_ir::core::{DType, Dim, TensorType};
use odc_ir::graph::Op;

pub fn identity(c: &mut Call) -> Out {
    Ok(vec![c.input(0)?])
}

pub fn constant(c: &mut Call) -> Out {
    let a = c.attrs;
    if let Some(t) = a.tensor("value")? {
        return Ok(vec![constant_value(c.build, t, c.external)?]);
    }
    let list = |elems: Vec<Elem>, dtype| Val::known(TensorType::of(dtype, &[elems.len() as i64]), elems);
    let float = |v: &f32| Elem::Float(f64::from(*v));
    let v = if let Some(v) = a.float("value_float")? {
        Val::known(TensorType::scalar(DType::F32), vec![float(&v)])
    } else if let Some(v) = a.int("value_int")? {
        Val::known(TensorType::scalar(DType::I64), vec![Elem::int(v)])
    } else if let Some(v) = a.floats("value_floats")? {
        list(v.iter().map(float).collect(), DType::F32)
    } else if let Some(v) = a.ints("value_ints")? {
        list(v.iter().map(|v| Elem::int(*v)).collect(), DType::I64)
    } else if let Some(v) = a.str("value_string")? {
        c.build.strings(&[], &[v])
    } else if let Some(v) = a.strs("value_strings")? {
        c.build.strings(&[v.len() as i64], &v)
    } else {
        return Err(Fault::new(Code::BadAttribute, "has no value of a supported kind (tensor, floats, ints or strings)"));
    };
    Ok(vec![v])
}

pub fn shape(c: &mut Call) -> Out {
    let x = c.input(0)?;
    let rank = x.rank() as i64;
    let bound = |v: i64| (if v < 0 { v.saturating_add(rank) } else { v }).clamp(0, rank) as usize;
    let start = bound(c.attrs.int_or("start", 0)?);
    let end = bound(c.attrs.int_or("end", i64::MAX)?);
    Ok(vec![Val::ints(x.shape().get(start..end).unwrap_or(&[]).iter().cloned())])
}

pub fn size(c: &mut Call) -> Out {
    let x = c.input(0)?;
    Ok(vec![Val::known(TensorType::scalar(DType::I64), vec![Elem::Int(x.ty.elements())])])
}

pub fn reshape(c: &mut Call) -> Out {
    let x = c.input(0)?;
    let keep_zero = c.attrs.flag("allowzero", false)?;
    let target = if c.opset < 5 {
        c.attrs.ignore(&["consumed_inputs"]);
        let list = c.attrs.ints("shape")?.ok_or_else(|| bad("shape", "is required"))?;
        list.iter().map(|v| Dim::from(*v)).collect()
    } else {
        let target = c.input(1)?;
        c.shape_operand(&target, "the new shape")?
    };
    let mut shape = vec![];
    let mut open = None;
    for (k, d) in target.into_iter().enumerate() {
        shape.push(match d.as_const() {
            Some(0) if !keep_zero => {
                x.shape().get(k).cloned().ok_or_else(|| operand(format!("the new shape copies axis {k}, which {} does not have", x.ty)))?
            }
            Some(-1) if open.is_some() => return Err(operand("the new shape has two sizes of -1")),
            Some(-1) => {
                open = Some(k);
                Dim::ONE
            }
            Some(v) if v < 0 => return Err(operand(format!("the new shape has the size {v}"))),
            _ => d,
        });
    }
    let total = x.ty.elements();
    let others = Dim::product(&shape);
    if let Some(slot) = open.and_then(|k| shape.get_mut(k)) {
        if others.is(0) {
            return Err(operand("the size of -1 cannot be told, because another one is 0"));
        }
        *slot = c.build.dims.ranges.floordiv(&total, &others);
    }
    c.equal(&total, &Dim::product(&shape), "elements before and after")?;
    Ok(vec![c.reshape(&x, shape)?])
}

pub fn flatten(c: &mut Call) -> Out {
    let x = c.input(0)?;
    let axis = c.attrs.int_or("axis", 1)?;
    let rank = x.rank() as i64;
    let at = if axis < 0 { axis.saturating_add(rank) } else { axis };
    if !(0..=rank).contains(&at) {
        return Err(bad("axis", format!("is {axis}, but there are {rank} axes")));
    }
    let (head, tail) = x.shape().split_at_checked(at as usize).unwrap_or((&[], &[]));
    let shape = vec![Dim::product(head), Dim::product(tail)];
    Ok(vec![c.reshape(&x, shape)?])
}

pub fn squeeze(c: &mut Call) -> Out {
    let x = c.input(0)?;
    let axes = match c.axes_input(13, 1)? {
        Some(list) => c.axes(&list, x.rank())?,
        None => {
            // Without axes, those that are certain to be 1.
            x.shape().iter().enumerate().filter(|(_, d)| d.is(1)).map(|(k, _)| k).collect()
        }
    };
    let mut shape = vec![];
    for (k, d) in x.shape().iter().enumerate() {
        if axes.contains(&k) {
            c.equal(d, &Dim::ONE, &format!("axis {k}, which is removed"))?;
        } else {
            shape.push(d.clone());
        }
    }
    Ok(vec![c.reshape(&x, shape)?])
}

pub fn unsqueeze(c: &mut Call) -> Out {
    let x = c.input(0)?;
    let list = c.axes_input(13, 1)?.ok_or_else(|| Fault::new(Code::Arity, "axes are missing"))?;
    let rank = x.rank() + list.len();
    let axes = c.axes(&list, rank)?;
    let mut old = x.shape().iter().cloned();
    let shape = (0..rank).map(|k| if axes.contains(&k) { Dim::ONE } else { old.next().unwrap_or(Dim::ONE) }).collect();
    Ok(vec![c.reshape(&x, shape)?])
}

pub fn transpose(c: &mut Call) -> Out {
    let x = c.input(0)?;
    let perm = match c.attrs.ints("perm")? {
        None => (0..x.rank()).rev().collect(),
        Some(list) => {
            if list.len() != x.rank() {
                return Err(bad("perm", format!("is {list:?}, but there are {} axes", x.rank())));
            }
            let negative = list.iter().any(|p| *p < 0);
            let perm = if negative { Err(operand("an axis is negative")) } else { c.axes(list, x.rank()) };
            perm.map_err(|_| bad("perm", format!("is {list:?}, which is no permutation")))?
        }
    };
    let known = x.ty.static_shape().filter(|_| x.known.is_some()).and_then(|own| {
        let shape: Vec<i64> = perm.iter().filter_map(|p| own.get(*p).copied()).collect();
        known::rearrange(&x, &shape, |k| transposed_index(k, &shape, &own, &perm))
    });
    match known {
        Some(v) => Ok(vec![v]),
        None => Ok(vec![c.transpose(&x, perm)?]),
    }
}

fn transposed_index(k: usize, shape: &[i64], own: &[i64], perm: &[usize]) -> Option<usize> {
    let mut stride = vec![1usize; own.len()];
    for a in (0..own.len().saturating_sub(1)).rev() {
        *stride.get_mut(a)? = stride.get(a + 1)?.checked_mul(usize::try_from(*own.get(a + 1)?).ok()?)?;
    }
    let (mut rest, mut at) = (k, 0);
    for (d, p) in shape.iter().zip(perm).rev() {
        let d = usize::try_from(*d).ok()?.max(1);
        at += rest % d * stride.get(*p)?;
        rest /= d;
    }
    Some(at)
}

pub fn expand(c: &mut Call) -> Out {
    let (x, target) = (c.input(0)?, c.input(1)?);
    let target = c.shape_operand(&target, "the new shape")?;
    let shape = c.broadcast(&[x.shape(), &target])?;
    let fixed = shape.iter().map(Dim::as_const).collect::<Option<Vec<_>>>();
    if let Some(v) = fixed.and_then(|s| known::expand(&x, &s)) {
        return Ok(vec![v]);
    }
    Ok(vec![c.expand(&x, shape)?])
}

pub fn constant_of_shape(c: &mut Call) -> Out {
    let target = c.input(0)?;
    let shape = c.shape_operand(&target, "the shape")?;
    let fill = match c.attrs.tensor("value")? {
        None => Val::scalar(DType::F32, 0.0),
        Some(t) => {
            let v = constant_value(c.build, t, c.external)?;
            if v.known.as_ref().is_none_or(|k| k.len() != 1) {
                return Err(bad("value", format!("must have one element, is {}", v.ty)));
            }
            c.reshape(&v, vec![])?
        }
    };
    if shape.iter().any(|d| d.as_const().is_some_and(|c| c < 0)) {
        return Err(operand("the shape has a negative size"));
    }
    let fixed = shape.iter().map(Dim::as_const).collect::<Option<Vec<_>>>();
    if let Some(v) = fixed.and_then(|s| known::expand(&fill, &s)) {
        return Ok(vec![v]);
    }
    Ok(vec![c.expand(&fill, shape)?])
}

pub fn range(c: &mut Call) -> Out {
    let (start, limit, step) = (c.input(0)?, c.input(1)?, c.input(2)?);
    let dtype = c.same_dtype(&start, &limit)?;
    c.same_dtype(&start, &step)?;
    let scalar = |v: &Val| v.rank() == 0 || v.shape().iter().all(|d| d.is(1));
    if ![&start, &limit, &step].iter().all(|v| scalar(v)) {
        return Err(operand("start, limit and delta must be scalars"));
    }
    let count = count(c, &start, &limit, &step)?;
    let one = |v: &Val| v.known.as_ref().and_then(|k| k.first().cloned());
    if let (Some(n), Some(Elem::Int(s)), Some(Elem::Int(d))) = (count.as_const(), one(&start), one(&step))
        && n <= MAX_KNOWN as i64
    {
        let elems = (0..n).map(|k| Elem::Int(&s + &d * k)).collect();
        return Ok(vec![Val::known(TensorType::of(dtype, &[n]), elems)]);
    }
    let (start, step) = (c.reshape(&start, vec![])?, c.reshape(&step, vec![])?);
    Ok(vec![c.emit(Op::Range {}, &[&start, &step], dtype, vec![count])?])
}

/// `max(ceil((limit - start) / step), 0)`.
fn count(c: &Call, start: &Val, limit: &Val, step: &Val) -> Got<Dim> {
    let one = |v: &Val| v.known.as_ref().and_then(|k| k.first().cloned());
    let unknown = || {
        let f = Fault::new(Code::DataDependentShape, "start, limit and delta must be known when compiling, but depend on data");
        let behind = [start, limit, step].into_iter().filter(|v| v.known.is_none()).flat_map(|v| c.build.inputs_behind(v));
        f.help("only sizes computed from shapes and constants are supported").fixable(behind.collect())
    };
    let (Some(a), Some(b), Some(s)) = (one(start), one(limit), one(step)) else { return Err(unknown()) };
    if let (Some(a), Some(b), Some(s)) = (a.as_float(), b.as_float(), s.as_float())
        && start.dtype().is_float()
    {
        let n = ((b - a) / s).ceil();
        if s == 0.0 || !n.is_finite() || n > 9e15 {
            return Err(operand("delta is 0 or the result too long"));
        }
        return Ok(Dim::from(n.max(0.0) as i64));
    }
    // Sizes as floats are whole here, or the division would have to be exact.
    let whole = |e: Elem| match e {
        Elem::Int(d) | Elem::Ratio(d, 1) => Some(d),
        Elem::Float(x) if x.fract() == 0.0 && x.abs() < 9e15 => Some(Dim::from(x as i64)),
        Elem::Float(_) | Elem::Ratio(..) => None,
    };
    let (Some(a), Some(b), Some(s)) = (whole(a), whole(b), whole(s)) else { return Err(unknown()) };
    match s.as_const() {
        Some(0) => Err(operand("delta is 0")),
        Some(_) => Ok(c.build.dims.simplify(&(b - a).ceildiv(&s).max_with(&Dim::ZERO))),
        None => Err(unsupported_use("delta must be constant")),
    }
}
