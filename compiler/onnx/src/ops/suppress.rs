//! NonMaxSuppression: boxes as corners, the op that suppresses, then what is left of each class up to its limit.

use super::choose::{coordinates, positions};
use crate::import::call::{Call, Got, Out, operand};
use crate::import::value::Val;
use odc_ir::core::{DType, Dim};
use odc_ir::graph::{BinaryFn, Op};

/// `[batch, n, (y1, x1, y2, x2)]` with the lesser corner first, from two opposite corners or from a centre and sizes.
fn corners(c: &mut Call, boxes: &Val) -> Got<Val> {
    let centre = c.attrs.flag("center_point_box", false)?;
    let part = |c: &mut Call, k: i64| c.part(boxes, 2, Dim::from(k), Dim::ONE);
    let (p, q, r, s) = (part(c, 0)?, part(c, 1)?, part(c, 2)?, part(c, 3)?);
    let ends = |c: &mut Call, a: &Val, b: &Val| -> Got<(Val, Val)> {
        if !centre {
            return Ok((c.apply(BinaryFn::Min, a, b)?, c.apply(BinaryFn::Max, a, b)?));
        }
        let half = c.times(b, 0.5)?;
        Ok((c.sub(a, &half)?, c.add(a, &half)?))
    };
    let ((y1, y2), (x1, x2)) = if centre { (ends(c, &q, &s)?, ends(c, &p, &r)?) } else { (ends(c, &p, &r)?, ends(c, &q, &s)?) };
    c.concat(&[&y1, &x1, &y2, &x2], 2)
}

/// One number: an operand or a default.
fn number(c: &mut Call, k: usize, default: f64, dtype: DType) -> Got<Val> {
    match c.opt(k) {
        None => Ok(Val::scalar(dtype, default)),
        Some(v) => {
            let v = c.convert(&v, dtype)?;
            c.reshape(&v, vec![])
        }
    }
}

pub fn non_max_suppression(c: &mut Call) -> Out {
    let (boxes, scores) = (c.input(0)?, c.input(1)?);
    let ([b, n, four], [b2, classes, n2]) = (boxes.shape(), scores.shape()) else {
        return Err(operand(format!("boxes {} and scores {} must have three axes", boxes.ty, scores.ty)));
    };
    if !four.is(4) {
        return Err(operand(format!("the boxes {} do not have four numbers each", boxes.ty)));
    }
    let (b, n, four, b2, classes, n2) = (b.clone(), n.clone(), four.clone(), b2.clone(), classes.clone(), n2.clone());
    let b = c.equal(&b, &b2, "batches of boxes and scores")?;
    let n = c.equal(&n, &n2, "numbers of boxes and scores")?;
    let (boxes, scores) = (c.convert(&boxes, DType::F32)?, c.convert(&scores, DType::F32)?);
    let boxes = corners(c, &boxes)?;
    let boxes = c.reshape(&boxes, vec![b.clone(), n.clone(), four])?;
    let overlap = number(c, 3, 0.0, DType::F32)?;
    let least = number(c, 4, f64::NEG_INFINITY, DType::F32)?;
    let limit = number(c, 2, 0.0, DType::I64)?;
    let shape = vec![b, classes, n.clone()];
    let left = c.emit(Op::Suppress {}, &[&boxes, &scores, &overlap, &least], DType::I64, shape.clone())?;

    // The first ones of each class, as many as it may have.
    let is_left = c.with(BinaryFn::Ge, &left, 0.0)?;
    let ones = c.convert(&is_left, DType::I64)?;
    let sum = Op::CumSum { axis: 2, exclusive: true, reverse: false };
    let before = c.emit(sum, &[&ones], DType::I64, shape.clone())?;
    let within = c.apply(BinaryFn::Lt, &before, &limit)?;
    let chosen = c.all(&is_left, &within)?;
    let total = Dim::product(&shape);
    let chosen = c.reshape(&chosen, vec![total.clone()])?;
    let most = match limit.const_ints().as_deref() {
        Some([k]) if *k >= 0 => Dim::product(shape.get(..2).unwrap_or(&[])) * n.min_with(&Dim::from(*k)),
        _ => total.clone(),
    };
    let at = positions(c, &chosen, &most)?;
    let count = at.ty.elements();
    let rows = coordinates(c, &at, &shape)?;
    let left = c.reshape(&left, vec![total])?;
    let which = c.emit(Op::Gather { axis: 0 }, &[&left, &at], DType::I64, vec![count])?;
    let [batch, class, _] = rows.as_slice() else { return Err(operand("the scores must have three axes")) };
    Ok(vec![c.stack_last(&[batch, class, &which])?])
}
