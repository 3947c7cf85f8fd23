//! What is known of symbols, and what follows for expressions: proofs of `p >= 0`, intervals, and the simplification of floor
//! divisions whose remainder is provably small. Everything is three-valued in the safe direction: "not proved" is `false`.
//!
//! An axis's upper end may itself be a dim (`i in 0..n`), so `(i*n + j) floordiv n` is `i` for symbolic `n` too.

use super::dim::{Atom, Dim, Sym, gcd};
use std::collections::BTreeMap;

/// Inclusive ends of a symbol's values; `None` is unbounded above.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Range {
    pub lo: Dim,
    pub hi: Option<Dim>,
}

/// The ranges in scope. Symbols that are not listed are taken to be at least 0 (they are sizes).
#[derive(Clone, Debug, Default)]
pub struct Ranges {
    map: BTreeMap<Sym, Range>,
}

const LIMIT: i128 = i64::MAX as i128;

impl Ranges {
    pub fn new() -> Self {
        Self::default()
    }
    pub fn set(&mut self, sym: Sym, lo: impl Into<Dim>, hi: Option<Dim>) {
        self.map.insert(sym, Range { lo: lo.into(), hi });
    }
    /// An axis of a structured op: `0..extent`.
    pub fn set_axis(&mut self, sym: Sym, extent: &Dim) {
        self.set(sym, 0, Some(extent - 1));
    }
    pub fn with_axes<'a>(&self, axes: impl IntoIterator<Item = (&'a Sym, &'a Dim)>) -> Ranges {
        let mut r = self.clone();
        for (s, e) in axes {
            r.set_axis(s.clone(), e);
        }
        r
    }
    pub fn get(&self, sym: &Sym) -> Option<&Range> {
        self.map.get(sym)
    }

    /// Is `p >= 0` for all values in range?
    pub fn nonneg(&self, p: &Dim) -> bool {
        self.prove(p, 8)
    }
    /// Is `a <= b` for all values in range?
    pub fn le(&self, a: &Dim, b: &Dim) -> bool {
        self.nonneg(&(b - a))
    }
    /// Is `a < b` for all values in range?
    pub fn lt(&self, a: &Dim, b: &Dim) -> bool {
        self.nonneg(&(b - a - 1))
    }
    /// Are `a` and `b` different for all values in range?
    pub fn differ(&self, a: &Dim, b: &Dim) -> bool {
        self.lt(a, b) || self.lt(b, a)
    }
    /// Does `0 <= p < extent` hold for all values in range?
    pub fn within(&self, p: &Dim, extent: &Dim) -> bool {
        self.nonneg(p) && self.lt(p, extent)
    }

    fn prove(&self, p: &Dim, fuel: u32) -> bool {
        if let Some(c) = p.as_const() {
            return c >= 0;
        }
        if p.is_poison() || fuel == 0 {
            return false;
        }
        if self.interval(p).0 >= 0 {
            return true;
        }
        // `k*num - k*den*(num floordiv den)` is `k` times a remainder: bound it by 0 or by den-1.
        if let Some(less) = self.drop_remainder(p)
            && self.prove(&less, fuel - 1)
        {
            return true;
        }
        // A symbol whose end is symbolic, or any symbol with a slope of known sign, is worst at one of its ends.
        // Those first: their ends speak of the others.
        let mut syms = symbols(p);
        let depends = |s: &Sym| self.map.get(s).and_then(|r| r.hi.as_ref()).is_some_and(|h| h.as_const().is_none());
        syms.sort_by_key(|s| !depends(s));
        for s in syms {
            let Some((a, b)) = p.linear_in(&s) else {
                continue;
            };
            let range = self.map.get(&s);
            let lo = range.map_or(Dim::ZERO, |r| r.lo.clone());
            let hi = range.and_then(|r| r.hi.clone());
            let at_end = if self.prove(&a, fuel - 1) {
                Some(&a * &lo + &b)
            } else {
                hi.filter(|_| self.prove(&-&a, fuel - 1)).map(|hi| &a * &hi + &b)
            };
            if let Some(worst) = at_end {
                return self.prove(&worst, fuel - 1);
            }
        }
        self.shifted_nonneg(p)
    }

    /// With every symbol replaced by `lo + s`, are all coefficients non-negative?
    fn shifted_nonneg(&self, p: &Dim) -> bool {
        let shifted = p.subst(&|s| {
            let lo = self.map.get(s).and_then(|r| r.lo.as_const()).unwrap_or(0);
            Some(Dim::from(s) + lo)
        });
        if shifted.is_poison() {
            return false;
        }
        let opaque_ok = |a: &Atom| match a {
            Atom::Sym(_) => true,
            Atom::FloorDiv(..) | Atom::Min(..) | Atom::Max(..) => false,
        };
        shifted.constant_part() >= 0 && shifted.terms().iter().all(|(m, c)| *c >= 0 && m.factors().iter().all(|(a, _)| opaque_ok(a)))
    }

    /// A lower bound of `p` in which one remainder `x - d*(x floordiv d)` is replaced by its least or greatest value.
    fn drop_remainder(&self, p: &Dim) -> Option<Dim> {
        for (m, c) in p.terms() {
            for (atom, e) in m.factors() {
                let Atom::FloorDiv(num, den) = atom else {
                    continue;
                };
                if *e != 1 || !self.nonneg_const_or_sym(den) {
                    continue;
                }
                let whole = m.to_dim() * *c;
                let q = Dim::from_terms([(one(atom), 1)]);
                // The cofactor of the division is -k*den for some k: then the remainder appears k times.
                for k in [c.checked_neg()?, 1, -1] {
                    let Some(k) = den.as_const().map_or(Some(k), |d| (c % d == 0).then(|| -(c / d))) else {
                        continue;
                    };
                    if k != 0 && whole == -(den * &q * k) {
                        let rest = p - &((num - &(den * &q)) * k);
                        return Some(if k > 0 { rest } else { rest + (den - 1) * k });
                    }
                }
            }
        }
        None
    }
    fn nonneg_const_or_sym(&self, d: &Dim) -> bool {
        d.as_const().map_or_else(|| self.interval(d).0 >= 1, |c| c > 0)
    }

    /// Inclusive bounds by interval arithmetic; unbounded ends saturate at `i64::MIN`/`i64::MAX`.
    pub fn interval(&self, p: &Dim) -> (i64, i64) {
        let (lo, hi) = self.interval_at(p, 6);
        (lo.clamp(-LIMIT - 1, LIMIT) as i64, hi.clamp(-LIMIT - 1, LIMIT) as i64)
    }

    fn interval_at(&self, p: &Dim, fuel: u32) -> (i128, i128) {
        if let Some(c) = p.as_const() {
            return (c.into(), c.into());
        }
        if p.is_poison() || fuel == 0 {
            return (-LIMIT, LIMIT);
        }
        let (mut lo, mut hi) = (0i128, 0i128);
        for (m, c) in p.terms() {
            let mut t = (i128::from(*c), i128::from(*c));
            for (a, e) in m.factors() {
                let x = self.atom_interval(a, fuel - 1);
                for _ in 0..*e {
                    t = mul_interval(t, x);
                }
            }
            lo = sat(lo + t.0);
            hi = sat(hi + t.1);
        }
        (lo, hi)
    }

    fn atom_interval(&self, a: &Atom, fuel: u32) -> (i128, i128) {
        match a {
            Atom::Sym(s) => match self.map.get(s) {
                None => (0, LIMIT),
                Some(r) => {
                    let lo = self.interval_at(&r.lo, fuel).0;
                    let hi = r.hi.as_ref().map_or(LIMIT, |h| self.interval_at(h, fuel).1);
                    (lo, hi.max(lo))
                }
            },
            Atom::FloorDiv(x, y) => {
                let (xl, xh) = self.interval_at(x, fuel);
                let (yl, yh) = self.interval_at(y, fuel);
                if yl < 1 {
                    return (-LIMIT, LIMIT);
                }
                let unbounded = |v: i128| v.abs() >= LIMIT;
                let low = if unbounded(xl) { xl } else { xl.div_euclid(if xl < 0 { yl } else { yh }) };
                let high = if unbounded(xh) { xh } else { xh.div_euclid(if xh < 0 { yh } else { yl }) };
                (low, high)
            }
            Atom::Min(x, y) => {
                let (a, b) = (self.interval_at(x, fuel), self.interval_at(y, fuel));
                (a.0.min(b.0), a.1.min(b.1))
            }
            Atom::Max(x, y) => {
                let (a, b) = (self.interval_at(x, fuel), self.interval_at(y, fuel));
                (a.0.max(b.0), a.1.max(b.1))
            }
        }
    }

    /// An equal, simpler expression: divisions lose provably small remainders, decided `min`/`max` vanish.
    pub fn simplify(&self, p: &Dim) -> Dim {
        if p.terms().is_empty() {
            return p.clone();
        }
        let mut sum = Dim::ZERO;
        for (m, c) in p.terms() {
            let mut t = Dim::from(*c);
            for (a, e) in m.factors() {
                let x = match a {
                    Atom::Sym(s) => Dim::from(s),
                    Atom::FloorDiv(x, y) => self.floordiv(&self.simplify(x), &self.simplify(y)),
                    Atom::Min(x, y) | Atom::Max(x, y) => {
                        let (x, y) = (self.simplify(x), self.simplify(y));
                        let min = matches!(a, Atom::Min(..));
                        if self.le(&x, &y) {
                            if min { x } else { y }
                        } else if self.le(&y, &x) {
                            if min { y } else { x }
                        } else if min {
                            x.min_with(&y)
                        } else {
                            x.max_with(&y)
                        }
                    }
                };
                // Between bounds that agree there is one value: `(h + 1) floordiv 64` with `h in 63..100` is 1.
                let x = match self.interval(&x) {
                    (lo, hi) if lo == hi => Dim::from(lo),
                    _ => x,
                };
                for _ in 0..*e {
                    t = &t * &x;
                }
            }
            sum = &sum + &t;
        }
        sum
    }

    /// `floor(p / d)`, using the ranges: `(64*i + j) floordiv 128` with `j in 0..64` is `i floordiv 2`.
    pub fn floordiv(&self, p: &Dim, d: &Dim) -> Dim {
        let plain = p.floordiv(d);
        if plain.terms().is_empty() {
            return plain;
        }
        // What canonical division left over, per division atom of this divisor.
        let mut out = Dim::ZERO;
        for (m, c) in plain.terms() {
            let t = match m.factors() {
                [(Atom::FloorDiv(num, den), 1)] => self.small_remainder(num, den) * *c,
                _ => m.to_dim() * *c,
            };
            out = out + t;
        }
        out
    }

    fn small_remainder(&self, num: &Dim, den: &Dim) -> Dim {
        if self.within(num, den) {
            return Dim::ZERO;
        }
        if let Some(c) = den.as_const() {
            // Split off the part below some common factor g of the divisor and the large terms.
            let mut factors: Vec<i64> = num.terms().iter().map(|(_, k)| gcd(*k, c)).filter(|g| *g > 1).collect();
            factors.sort_unstable();
            factors.dedup();
            for g in factors.into_iter().rev() {
                let (big, small) = partition(num, |k| k % g == 0);
                if self.within(&small, &Dim::from(g)) {
                    return self.floordiv(&big.floordiv(&Dim::from(g)), &Dim::from(c / g));
                }
            }
        } else if let [(dm, dc)] = den.terms() {
            // A divisor `c*s`: multiples of c are large, the rest must stay below c.
            let (big, small) = partition(num, |k| k % dc == 0);
            if *dc > 1 && !big.is(0) && self.within(&small, &Dim::from(*dc)) {
                return self.floordiv(&big.floordiv(&Dim::from(*dc)), &dm.to_dim());
            }
            // A symbolic divisor `s*t`: terms that hold `s` are large, the rest must stay below `s`.
            for (a, _) in dm.factors() {
                let g = Dim::from_terms([(one(a), 1)]);
                let big: Vec<_> = num.terms().iter().filter(|(m, _)| m.factors().iter().any(|(b, _)| b == a)).cloned().collect();
                let big = Dim::from_terms(big);
                let small = num - &big;
                if !big.is(0) && (dm.factors().len() > 1 || *dc != 1) && self.within(&small, &g) {
                    return self.floordiv(&big.floordiv(&g), &den.floordiv(&g));
                }
            }
        }
        num.floordiv(den)
    }
}

fn one(a: &Atom) -> super::dim::Monomial {
    super::dim::Monomial::single(a.clone())
}

fn partition(p: &Dim, large: impl Fn(i64) -> bool) -> (Dim, Dim) {
    let big: Vec<_> = p.terms().iter().filter(|(m, c)| !m.is_one() && large(*c)).cloned().collect();
    let big = Dim::from_terms(big);
    let small = p - &big;
    (big, small)
}

fn symbols(p: &Dim) -> Vec<Sym> {
    let mut v = vec![];
    p.visit_syms(&mut |s| v.push(s.clone()));
    v.sort();
    v.dedup();
    v
}

fn sat(x: i128) -> i128 {
    x.clamp(-LIMIT, LIMIT)
}

fn mul_interval(a: (i128, i128), b: (i128, i128)) -> (i128, i128) {
    let p = [a.0 * b.0, a.0 * b.1, a.1 * b.0, a.1 * b.1].map(sat);
    (p.iter().copied().min().unwrap_or(0), p.iter().copied().max().unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn s(n: &str) -> Dim {
        Dim::sym(n)
    }

    #[test]
    fn flattened_indices_split_back() {
        let mut r = Ranges::new();
        r.set(Sym::new("n"), 1, Some(4096.into()));
        r.set_axis(Sym::new("i"), &s("n"));
        r.set_axis(Sym::new("j"), &64.into());
        let flat = s("i") * 64 + s("j");
        assert_eq!(r.floordiv(&flat, &64.into()), s("i"));
        assert_eq!(r.floordiv(&flat, &128.into()), s("i").floordiv(&2.into()));
        assert_eq!(r.simplify(&flat.modulo(&64.into())), s("j"));
    }

    #[test]
    fn symbolic_extents_too() {
        let mut r = Ranges::new();
        for d in ["h", "w"] {
            r.set(Sym::new(d), 1, None);
        }
        r.set_axis(Sym::new("i"), &s("h"));
        r.set_axis(Sym::new("j"), &s("w"));
        r.set_axis(Sym::new("c"), &8.into());
        let flat = s("c") * s("h") * s("w") + s("i") * s("w") + s("j");
        assert_eq!(r.floordiv(&flat, &(s("h") * s("w"))), s("c"));
        assert_eq!(r.floordiv(&flat, &s("w")), s("c") * s("h") + s("i"));
        assert_eq!(r.floordiv(&(s("i") * 8 + s("c")), &(s("h") * 8)), Dim::ZERO);
        assert_eq!(r.floordiv(&(s("j") * 8 + s("c")), &(s("h") * 8)), s("j").floordiv(&s("h")));
        assert!(r.lt(&flat, &(s("h") * s("w") * 8)));
        assert!(!r.lt(&flat, &(s("h") * s("w") * 7)));
    }

    #[test]
    fn remainders_are_bounded() {
        let mut r = Ranges::new();
        r.set(Sym::new("n"), 1, None);
        let m = s("n").modulo(&8.into());
        assert!(r.nonneg(&m));
        assert!(r.lt(&m, &8.into()));
        assert!(!r.lt(&m, &7.into()));
    }

    #[test]
    fn one_possible_value_is_a_number() {
        let mut r = Ranges::new();
        r.set(Sym::new("h"), 63, Some(100.into()));
        assert_eq!(r.simplify(&((s("h") + 1).floordiv(&64.into()) * s("n"))), s("n"));
    }

    #[test]
    fn unprovable_is_false() {
        let r = Ranges::new();
        assert!(!r.nonneg(&(s("n") - 1)));
        assert!(r.nonneg(&s("n")));
        assert!(!r.nonneg(&-s("n")));
    }
}
