//! Whole tensors against expected ones: `|got - want| <= atol + rtol * |want|` for every element, NaN equal to NaN, infinities
//! equal to themselves, integers exactly unless a tolerance was asked for.

use crate::host_tensor::{elements, is_float, type_text};
use odc_runtime::TensorView;
use serde::{Deserialize, Serialize};
use std::path::Path;

use crate::problem::Problem;

#[derive(Clone, Copy, PartialEq, Debug, Serialize)]
pub struct Tolerance {
    pub rtol: f64,
    pub atol: f64,
}

impl Tolerance {
    pub const EXACT: Tolerance = Tolerance { rtol: 0.0, atol: 0.0 };
    /// For float32 results of another library, when nobody says otherwise.
    pub const DEFAULT: Tolerance = Tolerance { rtol: 1e-3, atol: 1e-5 };
}

/// How a tensor differs from the expected one.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Difference {
    pub elements: usize,
    /// Elements outside the tolerance.
    pub wrong: usize,
    /// Over elements where both are finite.
    pub max_abs_err: f64,
    /// `max_abs_err` over the largest expected magnitude.
    pub rel_err: f64,
    /// The element that passes its tolerance by most (or comes closest to it), and both values there.
    pub worst: Option<Worst>,
}

#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Worst {
    pub index: Vec<usize>,
    pub got: f64,
    pub want: f64,
}

impl Difference {
    pub fn passes(&self) -> bool {
        self.wrong == 0
    }
}

/// `Err` says why they cannot be compared: another type or shape.
pub fn compare(got: &TensorView<'_>, want: &TensorView<'_>, tol: Tolerance) -> Result<Difference, String> {
    let (g, w) = (type_text(got.dtype, got.shape), type_text(want.dtype, want.shape));
    if got.dtype != want.dtype || got.shape != want.shape {
        return Err(format!("it is {g}, {w} is expected"));
    }
    let mut d = Difference { elements: 0, wrong: 0, max_abs_err: 0.0, rel_err: 0.0, worst: None };
    let (mut largest, mut worst) = (0.0f64, (f64::NEG_INFINITY, 0, 0.0, 0.0));
    for (k, (a, b)) in elements(got.dtype, got.data).zip(elements(want.dtype, want.data)).enumerate() {
        d.elements += 1;
        let (x, y) = (a.as_f64(), b.as_f64());
        let same = a == b || (x.is_nan() && y.is_nan());
        let finite = x.is_finite() && y.is_finite();
        // 64-bit integers may differ and yet be equal as f64
        let err = if same {
            0.0
        } else if finite {
            (x - y).abs().max(f64::from(u8::from(x == y)))
        } else {
            f64::INFINITY
        };
        let excess = err - (tol.atol + tol.rtol * y.abs());
        let wrong = !same && (!finite || excess.is_nan() || excess > 0.0);
        d.wrong += usize::from(wrong);
        if finite {
            d.max_abs_err = d.max_abs_err.max(err);
            largest = largest.max(y.abs());
        }
        let rank = if wrong && !finite { f64::INFINITY } else { excess };
        if rank > worst.0 {
            worst = (rank, k, x, y);
        }
    }
    d.rel_err = d.max_abs_err / (largest + 1e-30);
    if d.elements > 0 && worst.0 > f64::NEG_INFINITY {
        d.worst = Some(Worst { index: unravel(worst.1, got.shape), got: worst.2, want: worst.3 });
    }
    Ok(d)
}

fn unravel(mut k: usize, shape: &[usize]) -> Vec<usize> {
    let mut index = vec![0; shape.len()];
    for (i, &n) in index.iter_mut().zip(shape).rev() {
        *i = k % n.max(1);
        k /= n.max(1);
    }
    index
}

/// `golden.json`: tolerances by case and output.
#[derive(Debug, Clone, Deserialize)]
pub struct Golden {
    cases: Vec<Vec<GoldenOutput>>,
}

#[derive(Debug, Clone, Deserialize)]
struct GoldenOutput {
    name: String,
    rtol: Option<f64>,
    atol: Option<f64>,
}

impl Golden {
    pub fn read(path: &Path) -> Result<Golden, Problem> {
        let text = std::fs::read_to_string(path).map_err(|e| Problem::unreadable(path, e))?;
        serde_json::from_str(&text).map_err(|e| Problem::bad_file(path, format!("it holds no tolerances: {e}")))
    }
    /// `None` if the file does not speak of that case and output; exact if it gives no tolerance (integers).
    fn tolerance(&self, case: usize, output: &str) -> Option<Tolerance> {
        let o = self.cases.get(case)?.iter().find(|o| o.name == output)?;
        Some(Tolerance { rtol: o.rtol.unwrap_or(0.0), atol: o.atol.unwrap_or(0.0) })
    }
}

/// Which tolerance an output gets.
#[derive(Debug, Clone)]
pub enum Tolerances {
    /// For floats; integers exactly.
    Floats(Tolerance),
    /// For everything, as asked for.
    All(Tolerance),
    Golden(Golden),
}

impl Tolerances {
    pub fn of(&self, case: usize, output: &str, dtype: odc_format::DType) -> Result<Tolerance, String> {
        match self {
            _ if dtype == odc_format::DType::Str => Ok(Tolerance::EXACT),
            Tolerances::All(t) => Ok(*t),
            Tolerances::Floats(t) if is_float(dtype) => Ok(*t),
            Tolerances::Floats(_) => Ok(Tolerance::EXACT),
            Tolerances::Golden(g) => {
                let t = g.tolerance(case, output);
                t.ok_or_else(|| format!("the tolerance file says nothing of case {case}, output \"{output}\""))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn diff(got: &[f32], want: &[f32], rtol: f64, atol: f64) -> Difference {
        let shape = [got.len()];
        compare(&TensorView::of(&shape, got), &TensorView::of(&shape, want), Tolerance { rtol, atol }).unwrap()
    }

    #[test]
    fn the_rule_is_elementwise() {
        let d = diff(&[1.0, 100.5], &[1.0, 100.0], 0.01, 0.0);
        assert!(d.passes() && (d.max_abs_err - 0.5).abs() < 1e-12 && (d.rel_err - 0.005).abs() < 1e-9);
        let d = diff(&[1.2, 100.5], &[1.0, 100.0], 0.01, 0.1);
        assert_eq!((d.wrong, d.worst.unwrap().index), (1, vec![0]));
    }

    #[test]
    fn what_is_not_finite() {
        let (nan, inf) = (f32::NAN, f32::INFINITY);
        assert!(diff(&[nan, inf, -inf], &[nan, inf, -inf], 0.0, 0.0).passes());
        for (a, b) in [(nan, 1.0), (1.0, nan), (inf, -inf), (inf, 1.0), (1.0, inf), (nan, inf)] {
            assert_eq!(diff(&[a], &[b], 1e9, 1e9).wrong, 1, "{a} {b}");
        }
    }

    #[test]
    fn integers_are_exact_beyond_f64() {
        let (a, b) = ([i64::MAX], [i64::MAX - 1]);
        let d = compare(&TensorView::of(&[1], &a), &TensorView::of(&[1], &b), Tolerance::EXACT).unwrap();
        assert_eq!(d.wrong, 1);
    }

    #[test]
    fn types_and_shapes_must_agree() {
        let (a, b) = ([1.0f32, 2.0], [1.0f64, 2.0]);
        assert!(compare(&TensorView::of(&[2], &a), &TensorView::of(&[2], &b), Tolerance::EXACT).is_err());
        assert!(compare(&TensorView::of(&[2], &a), &TensorView::of(&[1, 2], &a), Tolerance::EXACT).is_err());
        assert!(diff(&[], &[], 0.0, 0.0).passes());
    }

    #[test]
    fn golden_files() {
        let models = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/models");
        let golden = Golden::read(&models.join("magika_v3_3/golden.json")).unwrap();
        assert!(golden.tolerance(1, "target_label").is_some_and(|t| t.rtol == 1e-3));
        assert!(golden.tolerance(2, "target_label").is_none() && golden.tolerance(0, "x").is_none());
        assert!(Golden::read(&models.join("README.md")).is_err());
    }
}
