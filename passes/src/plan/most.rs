//! The greatest of several sizes, as a set in which none is provably at most another: what offsets and shared slots are made of.
//! Nested `max` atoms would hide from the prover what the set shows it.

use odc_ir::core::{Binding, Dim, Monomial, Ranges};
use std::cell::RefCell;
use std::collections::BTreeMap;

/// More alternatives than this are widened into fewer.
const MAX_ALTERNATIVES: usize = 12;

/// `a <= b`, remembered: the layers of a model ask the same again and again.
pub(super) struct Prover<'a> {
    ranges: &'a Ranges,
    /// Sizes at which widening is judged.
    samples: &'a [Binding],
    known: RefCell<BTreeMap<Dim, bool>>,
}

impl<'a> Prover<'a> {
    pub(super) fn new(ranges: &'a Ranges, samples: &'a [Binding]) -> Self {
        Prover { ranges, samples, known: RefCell::default() }
    }
    pub(super) fn le(&self, a: &Dim, b: &Dim) -> bool {
        let diff = b - a;
        if let Some(known) = self.known.borrow().get(&diff) {
            return *known;
        }
        let holds = self.ranges.nonneg(&diff);
        self.known.borrow_mut().insert(diff, holds);
        holds
    }
    pub(super) fn simplify(&self, d: &Dim) -> Dim {
        self.ranges.simplify(d)
    }
}

/// The set; sorted, never empty.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Most(Vec<Dim>);

impl Most {
    pub(super) fn of(d: Dim) -> Self {
        Most(vec![d])
    }
    pub(super) fn plus(&self, d: &Dim) -> Self {
        Most(self.0.iter().map(|a| a + d).collect())
    }
    pub(super) fn map(&self, f: impl Fn(&Dim) -> Dim) -> Self {
        Most(self.0.iter().map(f).collect())
    }
    /// Is `d` provably at most this?
    pub(super) fn covers(&self, d: &Dim, prover: &Prover) -> bool {
        self.0.iter().any(|a| prover.le(d, a))
    }
    pub(super) fn join(&mut self, other: &Most, prover: &Prover) {
        for d in &other.0 {
            if self.covers(d, prover) {
                continue;
            }
            self.0.retain(|a| !prover.le(a, d));
            self.0.push(d.clone());
        }
        while self.0.len() > MAX_ALTERNATIVES {
            let Some((a, b, w)) = self.cheapest(prover) else { break };
            self.0.remove(b);
            self.0.remove(a);
            self.join(&Most::of(w), prover);
        }
        self.0.sort();
    }
    /// The two alternatives that are replaced by one at the least cost, and that.
    fn cheapest(&self, prover: &Prover) -> Option<(usize, usize, Dim)> {
        let most: Vec<i64> = prover.samples.iter().map(|b| self.0.iter().filter_map(|d| b.eval(d).ok()).max().unwrap_or(0)).collect();
        // Per mille of what is the most now, summed over the samples.
        let cost = |w: &Dim| {
            prover.samples.iter().zip(&most).fold(0i128, |sum, (b, most)| {
                let more = i128::from(b.eval(w).unwrap_or(i64::MAX)) - i128::from(*most);
                sum + more.max(0) * 1000 / i128::from((*most).max(1))
            })
        };
        let pairs = (0..self.0.len()).flat_map(|a| (a + 1..self.0.len()).map(move |b| (a, b)));
        let widened = pairs.filter_map(|(a, b)| Some((a, b, widen(self.0.get(a)?, self.0.get(b)?, prover)?)));
        widened.min_by_key(|(a, b, w)| (cost(w), *a, *b))
    }
    pub(super) fn to_dim(&self) -> Dim {
        self.0.iter().skip(1).fold(self.0.first().cloned().unwrap_or(Dim::ZERO), |m, d| m.max_with(d))
    }
}

/// A size that is at least both: the greater coefficient of each product that cannot be negative.
fn widen(a: &Dim, b: &Dim, prover: &Prover) -> Option<Dim> {
    let mut coefficients: BTreeMap<Monomial, (i64, i64)> = BTreeMap::new();
    for (m, c) in a.terms() {
        coefficients.entry(m.clone()).or_default().0 = *c;
    }
    for (m, c) in b.terms() {
        coefficients.entry(m.clone()).or_default().1 = *c;
    }
    let constant = a.constant_part().max(b.constant_part());
    let rest = coefficients.into_iter().filter(|(m, _)| !m.is_one());
    rest.into_iter().try_fold(Dim::from(constant), |sum, (m, (x, y))| {
        let product = m.to_dim();
        (x == y || prover.le(&Dim::ZERO, &product)).then(|| sum + product * x.max(y))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use odc_ir::core::{Sym, parse_dim};

    fn dim(t: &str) -> Dim {
        parse_dim(t).unwrap()
    }

    #[test]
    fn only_what_may_be_greatest_stays() {
        let mut r = Ranges::new();
        for s in ["n", "s"] {
            r.set(Sym::new(s), 1, None);
        }
        let p = Prover::new(&r, &[]);
        let mut m = Most::of(Dim::ZERO);
        for t in ["64*n", "128*n", "n*s", "n*s + 64*n", "64"] {
            m.join(&Most::of(dim(t)), &p);
        }
        assert_eq!(m.to_dim(), dim("max(128*n, n*s + 64*n)"));
        assert!(m.covers(&dim("n*s"), &p) && !m.covers(&dim("2*n*s"), &p));
    }

    #[test]
    fn widening_covers_all() {
        let r = Ranges::new();
        let p = Prover::new(&r, &[]);
        let all: Vec<Dim> = (1..20).map(|k| dim(&format!("{k}*n + {}*s", 20 - k))).collect();
        let mut m = Most::of(Dim::ZERO);
        all.iter().for_each(|d| m.join(&Most::of(d.clone()), &p));
        assert!(m.0.len() <= MAX_ALTERNATIVES);
        for (n, s) in [(0, 0), (1, 100), (100, 1), (7, 7)] {
            let at = |d: &Dim| d.eval(&|x| Some(if x.name() == "n" { n } else { s })).unwrap();
            assert!(all.iter().all(|d| at(d) <= at(&m.to_dim())));
        }
    }
}
