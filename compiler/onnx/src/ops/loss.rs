//! Losses over classes.

use crate::import::call::{Call, Got, Out, operand};
use crate::import::value::Val;
use odc_ir::core::{DType, Dim};
use odc_ir::graph::{BinaryFn, Op, ReduceFn, UnaryFn};

#[derive(Clone, Copy, PartialEq)]
enum Reduction {
    None,
    Sum,
    Mean,
}

pub fn negative_log_likelihood(c: &mut Call) -> Out {
    let x = c.input(0)?;
    loss(c, &x).map(|v| vec![v])
}

/// The loss of the logarithm of softmax, which is the second output.
pub fn softmax_cross_entropy(c: &mut Call) -> Out {
    let x = c.input(0)?;
    c.want_rank(&x, 2, "the scores")?;
    let log = c.soft_max(&x, 1, true)?;
    Ok(vec![loss(c, &log)?, log])
}

/// The negative element of the target's class times its weight, for each place; ignored places count nothing.
fn loss(c: &mut Call, x: &Val) -> Got<Val> {
    let words = [("none", Reduction::None), ("sum", Reduction::Sum), ("mean", Reduction::Mean)];
    let reduction = c.attrs.choice("reduction", "mean", &words)?;
    let target = c.input(1)?;
    if !matches!(target.dtype(), DType::I32 | DType::I64) || x.rank() != target.rank() + 1 {
        return Err(operand(format!("the target {} does not fit the scores {}", target.ty, x.ty)));
    }
    for (a, b) in x.shape().iter().enumerate().filter(|(k, _)| *k != 1).map(|(_, d)| d.clone()).zip(target.shape()).collect::<Vec<_>>() {
        c.equal(&a, b, "sizes of scores and target")?;
    }
    let ignore = c.attrs.int("ignore_index")?;
    // What is ignored may be no class: then nothing can be said.
    if ignore.is_none_or(|i| i >= -1) {
        let last = x.shape().get(1).cloned().unwrap_or(Dim::ONE) - 1;
        let (first, last) = match ignore {
            Some(-1) => (Dim::from(-1), last),
            Some(i) => (Dim::ZERO, last.max_with(&Dim::from(i))),
            None => (Dim::ZERO, last),
        };
        c.in_range(&target, &[(first, last)], "a class")?;
    }
    let ignored = match ignore {
        Some(i) => Some(c.with(BinaryFn::Eq, &target, i as f64)?),
        None => None,
    };
    // What is ignored need not be a class: any will do.
    let class = match &ignored {
        Some(i) => c.choose(i, &Val::scalar(target.dtype(), 0.0), &target)?,
        None => target.clone(),
    };
    let mut column = class.shape().to_vec();
    column.insert(1, Dim::ONE);
    let index = c.reshape(&class, column.clone())?;
    let own = c.emit(Op::GatherElements { axis: 1 }, &[x, &index], x.dtype(), column)?;
    let own = c.reshape(&own, target.shape().to_vec())?;
    let mut each = c.unary(UnaryFn::Neg, &own)?;
    let mut weight = match c.opt(2) {
        Some(w) => {
            c.same_dtype(x, &w)?;
            if w.rank() != 1 {
                return Err(operand(format!("the weights are {}, must have one axis", w.ty)));
            }
            let classes = x.shape().get(1).cloned().unwrap_or(Dim::ONE);
            c.equal(&w.ty.elements(), &classes, "weights and classes")?;
            Some(c.emit(Op::Gather { axis: 0 }, &[&w, &class], w.dtype(), class.shape().to_vec())?)
        }
        None => None,
    };
    let zero = Val::scalar(x.dtype(), 0.0);
    if let Some(i) = &ignored {
        let w = weight.unwrap_or_else(|| Val::scalar(x.dtype(), 1.0));
        weight = Some(c.choose(i, &zero, &w)?);
    }
    if let Some(w) = &weight {
        each = c.mul(&each, w)?;
        if let Some(i) = &ignored {
            each = c.choose(i, &zero, &each)?;
        }
    }
    match (reduction, &weight) {
        (Reduction::None, _) => Ok(each),
        (Reduction::Sum, _) => c.total(ReduceFn::Sum, &each),
        (Reduction::Mean, None) => c.total(ReduceFn::Mean, &each),
        (Reduction::Mean, Some(w)) => {
            let (sum, by) = (c.total(ReduceFn::Sum, &each)?, c.total(ReduceFn::Sum, w)?);
            c.div(&sum, &by)
        }
    }
}
