//! Small matrix operators and those with one element a line: EyeLike, Det, Hardmax.

use crate::import::call::{Call, Got, Out, dtype_number, operand, unsupported_use};
use crate::import::value::Val;
use odc_ir::core::{DType, Dim};
use odc_ir::graph::{ArgFn, BinaryFn, Op};
use std::collections::BTreeMap;

pub fn eye_like(c: &mut Call) -> Out {
    let x = c.input(0)?;
    let dtype = c.attrs.int("dtype")?.map(|n| dtype_number(i32::try_from(n).unwrap_or(0))).transpose()?.unwrap_or(x.dtype());
    let k = c.attrs.int_or("k", 0)?;
    let [rows, columns] = x.shape() else { return Err(operand(format!("needs two axes, is {}", x.ty))) };
    let (row, column) = (c.positions(rows, DType::I64, 0, 2)?, c.positions(columns, DType::I64, 1, 2)?);
    let k = Val::known(odc_ir::core::TensorType::scalar(DType::I64), vec![crate::import::value::Elem::int(k)]);
    let diagonal = c.add(&row, &k)?;
    let hit = c.apply(BinaryFn::Eq, &diagonal, &column)?;
    Ok(vec![c.convert(&hit, dtype)?])
}

/// By minors: those of the last rows are shared, so `n` rows take `n * 2^n` products.
pub fn det(c: &mut Call) -> Out {
    let x = c.input(0)?;
    let [lead @ .., rows, columns] = x.shape() else { return Err(operand(format!("needs two axes, is {}", x.ty))) };
    let n = rows.as_const().filter(|n| columns.is(*n));
    let n = n.ok_or_else(|| operand(format!("needs square matrices of a constant size, is {}", x.ty)))?;
    if !(1..=7).contains(&n) {
        return Err(unsupported_use(format!("the determinant of {n} rows; at most 7 are supported")));
    }
    let lead = lead.to_vec();
    let element = |c: &mut Call, row: i64, column: i64| -> Got<Val> {
        let axis = x.rank() - 2;
        let v = c.part(&x, axis, Dim::from(row), Dim::ONE)?;
        let v = c.part(&v, axis + 1, Dim::from(column), Dim::ONE)?;
        c.reshape(&v, lead.clone())
    };
    // From the last row up: the minor of every set of as many columns.
    let mut minors: BTreeMap<u32, Option<Val>> = BTreeMap::from([(0, None)]);
    for row in (0..n).rev() {
        let mut next = BTreeMap::new();
        for set in 0u32..1 << n {
            if i64::from(set.count_ones()) != n - row {
                continue;
            }
            let mut sum: Option<Val> = None;
            for (k, column) in (0..n).filter(|column| set >> column & 1 == 1).enumerate() {
                let e = element(c, row, column)?;
                let term = match minors.get(&(set & !(1 << column))) {
                    Some(Some(m)) => c.mul(&e, m)?,
                    _ => e,
                };
                sum = Some(match sum {
                    None => term,
                    Some(s) if k % 2 == 1 => c.sub(&s, &term)?,
                    Some(s) => c.add(&s, &term)?,
                });
            }
            next.insert(set, sum);
        }
        minors = next;
    }
    let whole = minors.into_values().next().flatten();
    Ok(vec![whole.ok_or_else(|| operand("the matrix is empty"))?])
}

/// One where the first greatest element of a line is. Before opset 13 a line runs over all axes from `axis` on.
pub fn hardmax(c: &mut Call) -> Out {
    let x = c.input(0)?;
    c.want_rank(&x, 1, "the operand")?;
    let axis = c.axis(c.attrs.int_or("axis", if c.opset < 13 { 1 } else { -1 })?, x.rank())?;
    let (head, tail) = x.shape().split_at_checked(axis).unwrap_or((&[], &[]));
    let (v, axis) = if c.opset < 13 { (c.reshape(&x, vec![Dim::product(head), Dim::product(tail)])?, 1) } else { (x.clone(), axis) };
    let mut shape = v.shape().to_vec();
    let n = shape.get(axis).cloned().unwrap_or(Dim::ONE);
    if let Some(slot) = shape.get_mut(axis) {
        *slot = Dim::ONE;
    }
    let at = c.emit(Op::ArgReduce { f: ArgFn::Max, axis, keep: true, last: false }, &[&v], DType::I64, shape)?;
    let here = c.positions(&n, DType::I64, axis, v.rank())?;
    let hit = c.apply(BinaryFn::Eq, &at, &here)?;
    let y = c.convert(&hit, x.dtype())?;
    Ok(vec![c.reshape(&y, x.shape().to_vec())?])
}
