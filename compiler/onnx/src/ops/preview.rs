//! Operators of ai.onnx.preview: the parts into which FlexAttention is taken before import.

use super::attention::{grouped, scale_or_default};
use super::row::*;
use crate::attrs::bad;
use crate::import::call::{Call, Out, dtype_number, operand};
use odc_ir::core::DType;

rows! {
    "FlexAttention.probs" ANY..NOW (1, 1) probs;
    "FlexAttention.scores" ANY..NOW (2, 2) scores;
    "FlexAttention.values" ANY..NOW (2, 2) values;
}

/// `Q * K' * scale`, in the type that softmax runs in.
fn scores(c: &mut Call) -> Out {
    let (q, k) = (c.input(0)?, c.input(1)?);
    if q.rank() != 4 || k.rank() != 4 {
        return Err(operand(format!("Q and K are {} and {}, must have four axes", q.ty, k.ty)));
    }
    let precision = match c.attrs.int("softmax_precision")? {
        Some(n) => dtype_number(i32::try_from(n).unwrap_or(0))?,
        None if q.dtype() == DType::F64 => DType::F64,
        None => DType::F32,
    };
    if !precision.is_float() {
        return Err(bad("softmax_precision", "must be a type of floats"));
    }
    let scale = scale_or_default(c, &q)?;
    let q = c.scaled(&q, scale)?;
    let kt = c.transpose(&k, vec![0, 1, 3, 2])?;
    let s = grouped(c, &q, &kt)?;
    Ok(vec![c.cast(&s, precision)?])
}

fn probs(c: &mut Call) -> Out {
    let s = c.input(0)?;
    c.want_rank(&s, 4, "the scores")?;
    Ok(vec![c.soft_max(&s, 3, false)?])
}

fn values(c: &mut Call) -> Out {
    let (p, v) = (c.input(0)?, c.input(1)?);
    let wide = c.cast(&v, p.dtype())?;
    let y = grouped(c, &p, &wide)?;
    Ok(vec![c.cast(&y, v.dtype())?])
}
