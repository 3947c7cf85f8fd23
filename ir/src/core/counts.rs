//! Sizes that data decides, as how many elements are not zero. Such a size is a symbol without an origin, with a bound (`most`) for
//! which memory is planned. The first function says its value in a result of its own: the one named `= u0` holds the number
//! (`i64`, one element) that is the size `u0` once that result is computed; what stands behind it may have the size. A result
//! named `= 2*n`, of a size that is known by then, is a check. These results are no outputs of the model.

use super::dim::{Dim, Sym};
use super::module::Symbol;
use super::text::parse_dim;
use super::value::{Binding, InterpError};
use std::collections::BTreeMap;

const PREFIX: &str = "= ";

/// The name of the result that holds the value of a size.
pub fn size_result_name(d: &Dim) -> String {
    format!("{PREFIX}{d}")
}

/// The size whose value the result of this name holds.
pub fn size_of_result(name: &str) -> Option<Dim> {
    name.strip_prefix(PREFIX).and_then(|text| parse_dim(text).ok())
}

impl Symbol {
    /// Does data decide it?
    pub fn is_count(&self) -> bool {
        self.origin.is_none() && self.most.is_some()
    }
}

/// The symbol that a size result gives its value to; `None` if it only checks.
pub fn counted<'d>(symbols: &BTreeMap<Sym, Symbol>, size: &'d Dim) -> Option<&'d Sym> {
    size.as_sym().filter(|s| symbols.get(s).is_some_and(Symbol::is_count))
}

/// The symbols of `d` that data decides.
pub fn counts_of(symbols: &BTreeMap<Sym, Symbol>, d: &Dim) -> Vec<Sym> {
    let mut out = vec![];
    d.visit_syms(&mut |s| {
        if symbols.get(s).is_some_and(Symbol::is_count) && !out.contains(s) {
            out.push(s.clone());
        }
    });
    out
}

/// `d` at the greatest (or the least) values of the sizes that data decides: an expression of the others.
pub fn at_ends(symbols: &BTreeMap<Sym, Symbol>, d: &Dim, greatest: bool) -> Dim {
    let mut d = d.clone();
    // A bound may speak of other counts, but never in a circle.
    for _ in 0..symbols.len() {
        if counts_of(symbols, &d).is_empty() {
            break;
        }
        d = d.subst(&|s| {
            let facts = symbols.get(s).filter(|f| f.is_count())?;
            Some(if greatest { facts.most.clone()? } else { Dim::from(facts.lo) })
        });
    }
    d
}

impl Binding {
    /// Takes in what a size result says: the value of a symbol, or what a size must be.
    pub fn learn(&mut self, symbols: &BTreeMap<Sym, Symbol>, size: &Dim, value: i64) -> Result<(), InterpError> {
        let refused = |bounds: String| InterpError::Bounds { symbol: size.to_string(), value, bounds };
        let Some(s) = counted(symbols, size) else {
            let want = self.eval(size)?;
            return if want == value { Ok(()) } else { Err(refused(want.to_string())) };
        };
        let most = symbols.get(s).and_then(|f| f.most.as_ref()).map(|m| self.eval(m)).transpose()?.unwrap_or(i64::MAX);
        let lo = symbols.get(s).map_or(0, |f| f.lo);
        if value < lo || value > most {
            return Err(refused(format!("{lo}..{most}")));
        }
        self.0.insert(s.clone(), value);
        Ok(())
    }
}
