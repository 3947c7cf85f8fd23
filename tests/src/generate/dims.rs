//! Random sizes, and random expressions over them in two forms: as a [`Dim`], and as plain integers worked out beside it.

use crate::choices::Choices;
use odc_ir::core::{Dim, Origin, Sym, Symbol, checked_floordiv};
use std::collections::BTreeMap;

/// The symbols that generated modules speak of, with inclusive bounds.
pub const SYMBOLS: [(&str, i64, i64); 3] = [("n", 1, 4), ("s", 1, 7), ("h", 3, 6)];

/// Values for some of [`SYMBOLS`].
pub type Binding = BTreeMap<Sym, i64>;

/// Values within bounds; the least ones are the simplest.
pub fn binding(c: &mut Choices) -> Binding {
    SYMBOLS.iter().map(|&(name, lo, hi)| (Sym::new(name), c.between(lo, hi))).collect()
}

/// The facts of one of [`SYMBOLS`].
pub fn symbol(name: &str, origin: Option<Origin>) -> Symbol {
    let (lo, hi) = SYMBOLS.iter().find(|(n, ..)| *n == name).map_or((1, 8), |&(_, lo, hi)| (lo, hi));
    Symbol { lo, hi: Some(hi), multiple_of: 1, origin, most: None }
}

/// The greatest value within the symbols' bounds, for sums of products with non-negative coefficients.
pub fn greatest(d: &Dim) -> i64 {
    d.eval(&|s| Some(SYMBOLS.iter().find(|(n, ..)| *n == s.name()).map_or(8, |&(_, _, hi)| hi))).unwrap_or(i64::MAX)
}

/// A size of an axis: a small number (1, odd, prime, even) or a symbol.
pub fn size(c: &mut Choices) -> Dim {
    match c.below(10) {
        0..=2 => Dim::from(*c.pick(&[2, 3, 4, 8])),
        3 | 4 => Dim::from(*c.pick(&[5, 7, 6])),
        5 => Dim::ONE,
        _ => Dim::sym(c.pick(&SYMBOLS).0),
    }
}

/// An expression whose value is known beside its canonical form: the oracle of dims algebra.
#[derive(Clone, Debug)]
pub enum Tree {
    Const(i64),
    Sym(&'static str),
    Op(&'static str, Box<Tree>, Box<Tree>),
}

impl Tree {
    pub fn random(c: &mut Choices, depth: usize) -> Tree {
        if depth == 0 || c.chance(25) {
            return if c.chance(50) { Tree::Sym(c.pick(&SYMBOLS).0) } else { Tree::Const(c.between(-3, 9)) };
        }
        let op = *c.pick(&["+", "-", "*", "floordiv", "mod", "ceildiv", "min", "max"]);
        let right = if matches!(op, "floordiv" | "mod" | "ceildiv") {
            // Divisors are sizes: positive.
            if c.chance(30) { Tree::Sym(c.pick(&SYMBOLS).0) } else { Tree::Const(c.between(1, 12)) }
        } else {
            Tree::random(c, depth - 1)
        };
        Tree::Op(op, Box::new(Tree::random(c, depth - 1)), Box::new(right))
    }

    pub fn dim(&self) -> Dim {
        match self {
            Tree::Const(k) => Dim::from(*k),
            Tree::Sym(s) => Dim::sym(s),
            Tree::Op(op, a, b) => {
                let (a, b) = (a.dim(), b.dim());
                match *op {
                    "+" => a + b,
                    "-" => a - b,
                    "*" => a * b,
                    "floordiv" => a.floordiv(&b),
                    "mod" => a.modulo(&b),
                    "ceildiv" => a.ceildiv(&b),
                    "min" => a.min_with(&b),
                    _ => a.max_with(&b),
                }
            }
        }
    }

    /// The value in plain integers; `None` on overflow.
    pub fn value(&self, binding: &Binding) -> Option<i64> {
        Some(match self {
            Tree::Const(k) => *k,
            Tree::Sym(s) => *binding.get(&Sym::new(s))?,
            Tree::Op(op, a, b) => {
                let (a, b) = (a.value(binding)?, b.value(binding)?);
                match *op {
                    "+" => a.checked_add(b)?,
                    "-" => a.checked_sub(b)?,
                    "*" => a.checked_mul(b)?,
                    "floordiv" => checked_floordiv(a, b)?,
                    "mod" => a.checked_rem_euclid(b)?,
                    "ceildiv" => a.div_euclid(b) + i64::from(a.rem_euclid(b) != 0),
                    "min" => a.min(b),
                    _ => a.max(b),
                }
            }
        })
    }
}
