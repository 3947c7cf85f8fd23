//! Sizes that are divisions of other sizes (`(h + 1) floordiv 2`, nested five deep in a convolutional net) as plain symbols while a
//! kernel is written: proofs that need to look inside were made before, and algebra on symbols is cheap.

use super::flat::FlatOp;
use crate::schedule::contraction::{Contraction, Side};
use odc_ir::core::{Atom, Dim, Ranges, Sym};
use odc_ir::tensor::Axes;

pub(super) struct Opaque {
    /// The model's symbols; everything else is an axis.
    model: Ranges,
    hidden: Vec<(Dim, Sym)>,
}

impl Opaque {
    pub fn new(model: Ranges) -> Self {
        Opaque { model, hidden: vec![] }
    }

    fn uniform(&self, d: &Dim) -> bool {
        let mut all = true;
        d.visit_syms(&mut |s| all &= self.model.get(s).is_some());
        all
    }

    /// `d` with every division, minimum and maximum of sizes as a symbol.
    pub fn hide(&mut self, d: &Dim) -> Dim {
        let mut sum = Dim::from(d.constant_part());
        for (m, c) in d.terms().iter().filter(|(m, _)| !m.is_one()) {
            let mut t = Dim::from(*c);
            for (a, e) in m.factors() {
                let x = match a {
                    Atom::Sym(s) => Dim::from(s),
                    Atom::FloorDiv(x, y) => self.atom(x, y, Dim::floordiv),
                    Atom::Min(x, y) => self.atom(x, y, Dim::min_with),
                    Atom::Max(x, y) => self.atom(x, y, Dim::max_with),
                };
                for _ in 0..*e {
                    t = &t * &x;
                }
            }
            sum = &sum + &t;
        }
        sum
    }

    fn atom(&mut self, x: &Dim, y: &Dim, f: fn(&Dim, &Dim) -> Dim) -> Dim {
        let whole = f(x, y);
        if !self.uniform(&whole) {
            return f(&self.hide(x), &self.hide(y));
        }
        let sym = match self.hidden.iter().find(|(d, _)| *d == whole) {
            Some((_, s)) => s.clone(),
            None => {
                let s = Sym::new(&format!("$s{}", self.hidden.len()));
                self.hidden.push((whole, s.clone()));
                s
            }
        };
        Dim::from(sym)
    }

    /// What the symbols stand for.
    pub fn reveal(&self, d: &Dim) -> Dim {
        d.subst(&|s| self.hidden.iter().find(|(_, x)| x == s).map(|(d, _)| d.clone()))
    }

    /// Tells `ranges` the bounds of all symbols so far.
    pub fn bound(&self, ranges: &mut Ranges) {
        for (d, s) in &self.hidden {
            let (lo, hi) = self.model.interval(d);
            ranges.set(s.clone(), lo, (hi < i64::MAX).then(|| Dim::from(hi)));
        }
    }

    fn axes(&mut self, axes: &mut Axes) {
        for (_, n) in axes {
            *n = self.hide(n);
        }
    }

    fn program(&mut self, p: &odc_ir::tensor::Program) -> odc_ir::tensor::Program {
        let this = std::cell::RefCell::new(self);
        p.map_dims(&|d| this.borrow_mut().hide(d))
    }

    pub fn flat(&mut self, op: &mut FlatOp) {
        self.axes(&mut op.axes);
        self.axes(&mut op.raxes);
        op.store = self.hide(&op.store);
        op.body = self.program(&op.body);
        op.epilogue = self.program(&op.epilogue);
        for s in &mut op.sources {
            s.shape = s.shape.iter().map(|d| self.hide(d)).collect();
        }
    }

    fn side(&mut self, s: &mut Side) {
        s.offset = self.hide(&s.offset);
        s.inside = s.inside.iter().map(|(d, n)| (self.hide(d), self.hide(n))).collect();
    }

    pub fn contraction(&mut self, c: &mut Contraction) {
        self.side(&mut c.lhs);
        self.side(&mut c.rhs);
        c.store = self.hide(&c.store);
        for axes in [&mut c.batch, &mut c.m, &mut c.n, &mut c.k] {
            self.axes(axes);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hidden_sizes_come_back() {
        let mut model = Ranges::new();
        model.set(Sym::new("h"), 1, None);
        let mut o = Opaque::new(model);
        let h = Dim::sym("h");
        let half = (&h + 1).floordiv(&2.into());
        let at = &half * &Dim::sym("i0") + h.modulo(&4.into()) + Dim::sym("i0").floordiv(&half);
        let hidden = o.hide(&at);
        assert!(hidden.to_string().contains("$s0"), "{hidden}");
        assert_eq!(o.reveal(&hidden), at);
        assert_eq!(o.hide(&Dim::sym("i0").floordiv(&2.into())), Dim::sym("i0").floordiv(&2.into()));
    }
}
