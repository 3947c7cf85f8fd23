//! What the caller may say about an import: sizes to fix, rename or bound, and limits.

use super::fix::Fixed;
use super::limits::Limits;
use super::lists::Items;
use crate::diag::{Code, Fault};
use std::collections::BTreeMap;

#[derive(Clone, Debug, Default)]
pub struct ImportOptions {
    /// By a dim's name (as in the model, or as odc shows it; `<input>_d<axis>` for dims without a name): a size (`4`), bounds
    /// (`1..128`, both included, or `1..`), another name, or an expression over the model's names (`2*h`).
    pub dims: BTreeMap<String, String>,
    /// By an input's name: its value, which makes it a constant of the model.
    pub fix: BTreeMap<String, Fixed>,
    /// By the name of an input that is a sequence or an optional: its elements.
    pub lists: BTreeMap<String, Items>,
    pub limits: Limits,
}

/// What one entry of [`ImportOptions::dims`] asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DimOption {
    Bounds(i64, Option<i64>),
    /// A size, a name or an expression.
    Is(String),
}

impl DimOption {
    pub fn parse(name: &str, text: &str) -> Result<DimOption, Fault> {
        let text = text.trim();
        let bad = |why: &str| {
            let f = Fault::new(Code::BadDim, format!("dim `{}`: `{}` {why}", name.escape_debug(), text.escape_debug()));
            f.help("give a size (4), bounds (1..128), a name, or an expression over the model's dims (2*h)")
        };
        let Some((lo, hi)) = text.split_once("..") else {
            return if text.is_empty() { Err(bad("is empty")) } else { Ok(DimOption::Is(text.to_owned())) };
        };
        let number = |t: &str| t.trim().parse::<i64>().ok().filter(|v| *v >= 0).ok_or_else(|| bad("has a bound that is no size"));
        let lo = number(lo)?;
        let hi = if hi.trim().is_empty() { None } else { Some(number(hi)?) };
        if hi.is_some_and(|hi| hi < lo) {
            return Err(bad("is an empty range"));
        }
        Ok(DimOption::Bounds(lo, hi))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options() {
        let p = |t| DimOption::parse("n", t);
        assert_eq!(p("4"), Ok(DimOption::Is("4".into())));
        assert_eq!(p(" 1..128 "), Ok(DimOption::Bounds(1, Some(128))));
        assert_eq!(p("0.."), Ok(DimOption::Bounds(0, None)));
        for bad in ["", "5..1", "-1..4", "a..b", "..4"] {
            assert_eq!(p(bad).unwrap_err().code, Code::BadDim, "{bad}");
        }
    }
}
