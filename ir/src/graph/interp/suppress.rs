//! Non-maximum suppression from its definition: the best box that is left is taken, and what it covers too much of goes.

use super::{Cx, fail, found};
use crate::core::{InterpError, Scalar, TensorValue};

pub fn suppress(cx: &Cx) -> Result<TensorValue, InterpError> {
    let (boxes, scores) = (cx.operand(0)?, cx.operand(1)?);
    let limit = |k: usize| cx.operand(k)?.data.first().copied().map(Scalar::as_f64).ok_or_else(|| fail("a limit is missing"));
    let (overlap, least) = (limit(2)?, limit(3)?);
    let [batches, classes, n] = *cx.shape else { return Err(fail("the scores must have three axes")) };
    let mut out = TensorValue::filled(cx.dtype, cx.shape, Scalar::Int(-1))?;
    for b in 0..batches {
        let corner = |k: usize, c: usize| found(boxes.get(&[b, k, c])).map(Scalar::as_f64);
        let all =
            (0..n).map(|k| Ok([corner(k, 0)?, corner(k, 1)?, corner(k, 2)?, corner(k, 3)?])).collect::<Result<Vec<_>, InterpError>>()?;
        for c in 0..classes {
            let score = (0..n).map(|k| found(scores.get(&[b, c, k])).map(Scalar::as_f64)).collect::<Result<Vec<_>, _>>()?;
            let mut order: Vec<usize> = (0..n).collect();
            // Stable: of equal scores the first box comes first.
            order.sort_by(|x, y| f64::total_cmp(score.get(*y).unwrap_or(&0.0), score.get(*x).unwrap_or(&0.0)));
            let mut kept: Vec<[f64; 4]> = vec![];
            for (place, k) in order.into_iter().enumerate() {
                let (Some(s), Some(this)) = (score.get(k), all.get(k)) else { continue };
                if *s > least && !kept.iter().any(|other| covers(other, this, overlap)) {
                    kept.push(*this);
                    let at = out.offset(&[b, c, place]).ok_or_else(|| fail("the result is too small"))?;
                    if let Some(slot) = out.data.get_mut(at) {
                        *slot = Scalar::Int(k as i64);
                    }
                }
            }
        }
    }
    Ok(out)
}

/// Is the intersection more than `limit` of the union? As `f32`, in which the boxes are.
fn covers(a: &[f64; 4], b: &[f64; 4], limit: f64) -> bool {
    let ([ay, ax, ay2, ax2], [by, bx, by2, bx2]) = (a.map(|v| v as f32), b.map(|v| v as f32));
    let inter = (ay2.min(by2) - ay.max(by)).max(0.0) * (ax2.min(bx2) - ax.max(bx)).max(0.0);
    let union = (ay2 - ay) * (ax2 - ax) + (by2 - by) * (bx2 - bx) - inter;
    inter > 0.0 && inter / union > limit as f32
}
