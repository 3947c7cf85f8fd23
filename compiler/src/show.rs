//! Results for people: the best classes of each row, or a type and the first values.

use crate::host_tensor::{elements, is_float, type_text};
use odc_runtime::{Strings, TensorView};
use std::fmt::Write;

/// Values that a summary shows.
const FIRST: usize = 8;

/// `name: f32[1, 3] = [0.1, 0.2, 0.7]`, `label: str[2] = ["cat", "dog"]`
pub fn summary(name: &str, t: &TensorView<'_>, strings: &Strings) -> String {
    let mut out = format!("{name}: {} = [", type_text(t.dtype, t.shape));
    let numbers = elements(t.dtype, t.data).take(FIRST).map(|x| x.to_string());
    let shown = strings.texts(t).map(|list| list.into_iter().take(FIRST).map(|s| format!("{s:?}")).collect());
    for (k, x) in shown.unwrap_or_else(|| numbers.collect::<Vec<_>>()).into_iter().enumerate() {
        let _ = write!(out, "{}{x}", if k > 0 { ", " } else { "" });
    }
    let more = t.data.len() / t.dtype.size() > FIRST;
    out.push_str(if more { ", …]" } else { "]" });
    out
}

/// The `k` highest of each row of the last axis, with the names of the columns.
pub fn top(name: &str, t: &TensorView<'_>, k: usize, labels: &[String]) -> String {
    let columns = t.shape.last().copied().unwrap_or(1).max(1);
    let values: Vec<f64> = elements(t.dtype, t.data).map(|x| x.as_f64()).collect();
    let rows = values.len() / columns;
    let mut out = String::new();
    for (r, row) in values.chunks_exact(columns).enumerate() {
        if rows > 1 {
            let _ = writeln!(out, "{name} [{r}]");
        } else {
            let _ = writeln!(out, "{name}");
        }
        let mut order: Vec<usize> = (0..columns).collect();
        // Stable: of equal values the first column comes first.
        order.sort_by(|&a, &b| value(row, b).total_cmp(&value(row, a)));
        for &c in order.iter().take(k) {
            let class = labels.get(c).cloned().unwrap_or_else(|| format!("class {c}"));
            let _ = match is_float(t.dtype) {
                true => writeln!(out, "  {:.4}  {class}", value(row, c)),
                false => writeln!(out, "  {}  {class}", value(row, c)),
            };
        }
    }
    out.truncate(out.trim_end().len());
    out
}

/// NaN counts as the lowest.
fn value(row: &[f64], c: usize) -> f64 {
    row.get(c).copied().filter(|x| !x.is_nan()).unwrap_or(f64::NEG_INFINITY)
}

/// `1.5 MB` as people say it.
pub fn bytes(n: u64) -> String {
    match n {
        0..=9_999 => format!("{n} bytes"),
        10_000..=9_999_999 => format!("{:.1} kB", n as f64 / 1e3),
        _ => format!("{:.1} MB", n as f64 / 1e6),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn top_of_each_row() {
        let x = [0.1f32, 0.7, 0.2, 0.5, f32::NAN, 0.5];
        let labels = ["a".to_string(), "b".to_string()];
        let text = top("y", &TensorView::of(&[2, 3], &x), 2, &labels);
        assert_eq!(text, "y [0]\n  0.7000  b\n  0.2000  class 2\ny [1]\n  0.5000  a\n  0.5000  class 2");
        assert_eq!(top("y", &TensorView::of(&[1, 2], &[3i64, 4]), 1, &labels), "y\n  4  b");
    }

    #[test]
    fn summaries_are_short() {
        let x: Vec<i32> = (0..20).collect();
        let mut strings = Strings::default();
        assert_eq!(summary("y", &TensorView::of(&[20], &x), &strings), "y: i32[20] = [0, 1, 2, 3, 4, 5, 6, 7, …]");
        assert_eq!(summary("y", &TensorView::of(&[0], &[0.0f32; 0]), &strings), "y: f32[0] = []");
        let numbers = strings.numbers(&["a", "b", "a"]).unwrap();
        assert_eq!(summary("y", &TensorView::of_strings(&[3], &numbers), &strings), r#"y: str[3] = ["a", "b", "a"]"#);
    }
}
