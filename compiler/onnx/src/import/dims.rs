//! The sizes a model speaks of: symbols from its inputs, their bounds, and what an import learns about them on the way.
//!
//! A model often needs more than it declares: `total` must be `past + seq`, a height must be a multiple of 32, a sequence has at
//! most 512 positions. Such a need turns into a [`Facts`] entry, and the import starts over with simpler sizes.

use super::equal::{self, Lesson};
use super::expr;
use super::options::{DimOption, ImportOptions};
use crate::diag::{Code, Diagnostic, Fault, OpenDim};
use crate::proto::{DimValue, Dimension};
use odc_ir::core::{Dim, Origin, Ranges, Sym, Symbol};
use std::collections::{BTreeMap, BTreeSet};

/// What was learnt in earlier rounds.
#[derive(Clone, Debug, Default)]
pub struct Facts {
    /// In the order learnt; later ones speak of the symbols that earlier ones left.
    pub replace: Vec<(Sym, Dim)>,
    pub bounds: BTreeMap<Sym, (i64, Option<i64>)>,
    /// Tighter bounds of sizes that data decides.
    pub most: BTreeMap<Sym, Dim>,
    /// A symbol that stands for `base / factor`, by its name.
    scaled: BTreeMap<Sym, (Sym, i64)>,
}

/// The symbols of one round.
#[derive(Debug, Default)]
pub struct Dims {
    pub symbols: BTreeMap<Sym, Symbol>,
    pub ranges: Ranges,
    pub facts: Facts,
    /// Symbols in order of first appearance in the inputs.
    pub order: Vec<Sym>,
    /// Set when a fact was learnt: what was built so far is stale.
    pub learnt: bool,
    /// Problems that a later lesson may solve; the walk goes on as if they were.
    pub doubts: Vec<Fault>,
    /// How many sizes data decides so far.
    counts: usize,
    /// By the model's own spelling.
    names: BTreeMap<String, Sym>,
    options: BTreeMap<String, DimOption>,
    used_options: BTreeSet<String>,
}

/// A graph input, as far as sizes go. `grows` lists the axes along which something is appended to it: those may start empty.
pub struct Input<'m> {
    pub name: &'m str,
    pub dims: &'m [Dimension],
    pub grows: Vec<usize>,
}

/// Letters, digits and `_` only: what every text form and target language takes as a name.
pub fn sanitise(raw: &str) -> String {
    let mut s: String = raw.chars().take(64).map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect();
    let word = matches!(s.as_str(), "poison" | "floordiv" | "ceildiv" | "mod" | "min" | "max" | "in" | "dim" | "from" | "multiple" | "");
    // `i0` and `r0` are the axes of structured ops.
    let axis = s.strip_prefix(['i', 'r']).is_some_and(|n| n.chars().all(|c| c.is_ascii_digit()));
    let reserved = word || axis;
    if reserved || s.starts_with(|c: char| c.is_ascii_digit()) {
        s.insert(0, 'd');
    }
    s
}

impl Dims {
    /// Declares the dims of all inputs; the result holds the shape of each.
    pub fn declare(inputs: &[Input], options: &ImportOptions, facts: Facts, out: &mut Vec<Diagnostic>) -> (Dims, Vec<Vec<Dim>>) {
        let mut d = Dims { facts, ..Dims::default() };
        for (name, text) in &options.dims {
            match DimOption::parse(name, text) {
                Ok(o) => drop(d.options.insert(name.clone(), o)),
                Err(f) => out.push(f.of_model()),
            }
        }
        // Names first, so that expressions may speak of names that come later.
        for i in inputs {
            for (axis, dim) in i.dims.iter().enumerate() {
                if let Some(raw) = raw_name(i.name, axis, dim).filter(|r| expr::is_name(r) || !expressible(r, inputs)) {
                    d.symbol(&raw);
                }
            }
        }
        let mut shapes = vec![];
        for i in inputs {
            let dim = |(axis, dim)| d.input_dim(i.name, axis, dim, out);
            shapes.push(i.dims.iter().enumerate().map(dim).collect::<Vec<_>>());
        }
        d.check_options(out);
        for (s, by) in &d.facts.replace {
            for dim in shapes.iter_mut().flatten() {
                *dim = dim.subst(&|x| (x == s).then(|| by.clone()));
            }
        }
        d.find_symbols(inputs, &shapes, out);
        (d, shapes)
    }

    fn symbol(&mut self, raw: &str) -> Sym {
        if let Some(s) = self.names.get(raw) {
            return s.clone();
        }
        let mut name = sanitise(raw);
        while self.names.values().any(|s| s.name() == name) {
            name.push('_');
        }
        let s = Sym::new(&name);
        self.names.insert(raw.to_owned(), s.clone());
        s
    }

    fn input_dim(&mut self, input: &str, axis: usize, dim: &Dimension, out: &mut Vec<Diagnostic>) -> Dim {
        if let Some(DimValue::DimValue(v)) = dim.value
            && v >= 0
        {
            return Dim::from(v);
        }
        let Some(raw) = raw_name(input, axis, dim) else { return Dim::ZERO };
        if !self.names.contains_key(&raw) {
            let names = &self.names;
            // A name of digits only is a name all the same.
            let parsed = expr::parse(&raw, &mut |n| names.get(n).map(Dim::from)).filter(|d| d.as_const().is_none());
            if let Some(d) = parsed {
                return self.with_options(&d, out);
            }
        }
        let s = self.symbol(&raw);
        self.with_options(&Dim::from(s), out)
    }

    /// Replaces the symbols that options fix or rename.
    fn with_options(&mut self, d: &Dim, out: &mut Vec<Diagnostic>) -> Dim {
        let mut by = BTreeMap::new();
        let mut syms = vec![];
        d.visit_syms(&mut |s| syms.push(s.clone()));
        for s in syms {
            let raw = self.names.iter().find(|(_, n)| **n == s).map(|(r, _)| r.clone()).unwrap_or_default();
            let key = [raw.as_str(), s.name()].into_iter().find(|k| self.options.contains_key(*k)).map(str::to_owned);
            let Some((key, option)) = key.and_then(|k| self.options.get(&k).cloned().map(|o| (k, o))) else { continue };
            self.used_options.insert(key.clone());
            let DimOption::Is(text) = option else { continue };
            let known = &self.names;
            let new_name = expr::is_name(&text);
            let dim = expr::parse(&text, &mut |n| {
                let found = known.get(n).cloned().or_else(|| known.values().find(|s| s.name() == n).cloned());
                found.or_else(|| new_name.then(|| Sym::new(&sanitise(n)))).map(Dim::from)
            });
            match dim {
                Some(dim) if dim.as_const().is_none_or(|c| c >= 0) => drop(by.insert(s, dim)),
                _ => {
                    let f = Fault::new(Code::BadDim, format!("dim `{key}`: `{}` is no size", text.escape_debug()));
                    out.push(f.help("give a size (4), bounds (1..128), a name, or an expression over the model's dims (2*h)").of_model());
                    self.options.remove(&key);
                }
            }
        }
        d.subst(&|s| by.get(s).cloned())
    }

    fn check_options(&mut self, out: &mut Vec<Diagnostic>) {
        for key in self.options.keys().filter(|k| !self.used_options.contains(*k)) {
            // Bounds may be given for a name that another option introduced.
            let all: Vec<_> = self.names.values().map(Sym::name).collect();
            let renamed = self.options.values().any(|o| *o == DimOption::Is(key.clone()));
            if !renamed {
                let have = if all.is_empty() {
                    "the model has fixed sizes only".into()
                } else {
                    format!("the model's dims are: {}", all.join(", "))
                };
                out.push(Fault::new(Code::BadDim, format!("the model has no dim `{}`", key.escape_debug())).help(have).of_model());
            }
        }
    }

    /// Lists the symbols that the shapes still speak of, with bounds and the input axis that each is read from.
    fn find_symbols(&mut self, inputs: &[Input], shapes: &[Vec<Dim>], out: &mut Vec<Diagnostic>) {
        let mut all: Vec<Sym> = vec![];
        for d in shapes.iter().flatten() {
            d.visit_syms(&mut |s| {
                if !all.contains(s) {
                    all.push(s.clone())
                }
            });
        }
        self.order = all.clone();
        for s in all {
            let axes = || inputs.iter().zip(shapes).flat_map(|(i, dims)| dims.iter().enumerate().map(move |(axis, d)| (i, axis, d)));
            let plain = axes().find(|(_, _, d)| d.as_sym() == Some(&s));
            // `8*s`, `s + 1`: still readable from one axis.
            let linear = || {
                axes().find(|(_, _, d)| d.linear_in(&s).is_some_and(|(a, b)| a.as_const().is_some_and(|a| a > 0) && b.as_const().is_some()))
            };
            let Some((input, axis, _)) = plain.or_else(linear) else {
                let f =
                    Fault::new(Code::BadSignature, format!("no input has the size `{s}` by itself, so it cannot be read from the inputs"));
                out.push(f.help("fix it with --dim").of_model());
                continue;
            };
            let (base, factor) = self.facts.scaled.get(&s).cloned().unwrap_or((s.clone(), 1));
            let raw = self.names.iter().find(|(_, n)| **n == base).map_or("", |(r, _)| r.as_str());
            let option = [raw, base.name()].iter().find_map(|k| self.options.get(*k));
            let may_be_empty = axes().any(|(i, axis, d)| i.grows.contains(&axis) && d.uses(&s));
            let mut bounds = match option {
                Some(DimOption::Bounds(lo, hi)) => (*lo, *hi),
                Some(DimOption::Is(_)) | None => (i64::from(!may_be_empty), None),
            };
            bounds = (ceil_div(bounds.0, factor), bounds.1.map(|h| h.div_euclid(factor)));
            if let Some((lo, hi)) = self.facts.bounds.get(&s) {
                bounds = (bounds.0.max(*lo), least(bounds.1, *hi));
            }
            if bounds.1.is_some_and(|hi| hi < bounds.0) {
                let f = Fault::new(
                    Code::BadDim,
                    format!("no value of `{s}` suits the model: it must be at least {} and at most {}", bounds.0, bounds.1.unwrap_or(0)),
                );
                out.push(f.of_model());
            }
            let origin = Some(Origin { input: input.name.to_owned(), axis });
            self.symbols.insert(s, Symbol { lo: bounds.0, hi: bounds.1, origin, ..Symbol::default() });
        }
        self.ranges = odc_ir::core::symbol_ranges(&self.symbols);
    }

    /// A size that data decides, at most `most`: a symbol of its own, or what an earlier round learnt that it must be.
    pub fn count(&mut self, most: &Dim) -> Dim {
        let mut name = format!("u{}", self.counts);
        self.counts += 1;
        while self.names.values().any(|s| s.name() == name) {
            name.push('_');
        }
        let s = Sym::new(&name);
        let (lo, hi) = self.facts.bounds.get(&s).copied().unwrap_or((0, None));
        let mut d = Dim::from(&s);
        for (from, by) in &self.facts.replace {
            d = d.subst(&|x| (x == from).then(|| by.clone()));
        }
        if d.as_sym() == Some(&s) {
            let mut most = self.facts.most.get(&s).unwrap_or(most).clone();
            for (from, by) in &self.facts.replace {
                most = most.subst(&|x| (x == from).then(|| by.clone()));
            }
            let most = hi.map_or_else(|| most.clone(), |hi| most.min_with(&Dim::from(hi)));
            let most = self.simplify(&most);
            self.ranges.set(s.clone(), lo, Some(most.clone()));
            self.order.push(s.clone());
            self.symbols.insert(s, Symbol { lo, most: Some(most), ..Symbol::default() });
        }
        d
    }

    /// The dims of the model in a size, if it has no others.
    pub fn open(&self, d: &Dim) -> Vec<OpenDim> {
        let mut syms = vec![];
        d.visit_syms(&mut |s| syms.push(s.clone()));
        syms.dedup();
        let one = |s: &Sym| {
            let at = self.symbols.get(s)?.origin.as_ref()?;
            Some(OpenDim { name: s.name().to_owned(), input: at.input.clone(), axis: at.axis })
        };
        syms.iter().map(one).collect::<Option<Vec<_>>>().unwrap_or_default()
    }

    pub fn simplify(&self, d: &Dim) -> Dim {
        self.ranges.simplify(d)
    }

    /// Are they one size already?
    pub fn same(&self, a: &Dim, b: &Dim) -> bool {
        self.simplify(a) == self.simplify(b)
    }

    /// Makes `a` and `b` one size, learning what that takes; the result is to be used for both.
    pub fn unify(&mut self, a: &Dim, b: &Dim, what: &str) -> Result<Dim, Fault> {
        let (a, b) = (self.simplify(a), self.simplify(b));
        if a == b {
            return Ok(a);
        }
        let mismatch = |code, why: &str| Fault::new(code, format!("{what}: {a} and {b} {why}"));
        if self.ranges.differ(&a, &b) {
            return Err(mismatch(Code::BadOperand, "never agree"));
        }
        match equal::lesson(&a, &b, self) {
            Some(lesson) if self.may_learn(&lesson) => self.learn(lesson),
            _ => {
                let f = mismatch(Code::Undecided, "must be equal, which cannot be decided");
                self.doubts.push(f.help("fix or bound the dims with --dim"));
            }
        }
        Ok(a)
    }

    /// A size that data decides is no multiple of anything, and no size of an input follows from it.
    fn may_learn(&self, lesson: &Lesson) -> bool {
        let is_count = |s: &Sym| self.symbols.get(s).is_some_and(Symbol::is_count);
        match lesson {
            Lesson::Multiple(s, _) => !is_count(s),
            Lesson::Bounds(..) | Lesson::AtMost(..) => true,
            Lesson::Replace(s, by) => {
                let mut counted = false;
                by.visit_syms(&mut |t| counted |= is_count(t));
                is_count(s) || !counted
            }
        }
    }

    fn learn(&mut self, lesson: Lesson) {
        self.learnt = true;
        match lesson {
            Lesson::Replace(s, by) => {
                if let (Some(t), Some(old)) = (by.as_sym(), self.symbols.get(&s)) {
                    self.narrow(t.clone(), old.lo, old.hi);
                }
                self.facts.replace.push((s, by));
            }
            Lesson::Multiple(s, m) => {
                let (base, factor) = self.facts.scaled.get(&s).cloned().unwrap_or((s.clone(), 1));
                let factor = factor.saturating_mul(m);
                let mut name = format!("{base}_div{factor}");
                while self.symbols.keys().chain(self.names.values()).any(|s| s.name() == name) {
                    name.push('_');
                }
                let part = Sym::new(&name);
                if let Some((lo, hi)) = self.facts.bounds.get(&s).copied() {
                    self.narrow(part.clone(), ceil_div(lo, m), hi.map(|h| h.div_euclid(m)));
                }
                self.facts.scaled.insert(part.clone(), (base, factor));
                self.facts.replace.push((s, Dim::from(part) * m));
            }
            Lesson::Bounds(s, lo, hi) => self.narrow(s, lo, hi),
            Lesson::AtMost(s, most) => {
                self.facts.most.insert(s, most);
            }
        }
    }

    fn narrow(&mut self, s: Sym, lo: i64, hi: Option<i64>) {
        let old = self.facts.bounds.get(&s).copied().unwrap_or((0, None));
        let now = (old.0.max(lo), least(old.1, hi));
        self.facts.bounds.insert(s.clone(), now);
        if now.1 == Some(now.0) {
            self.facts.replace.push((s, Dim::from(now.0)));
        }
    }
}

fn least(a: Option<i64>, b: Option<i64>) -> Option<i64> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (a, b) => a.or(b),
    }
}

fn ceil_div(a: i64, b: i64) -> i64 {
    a.div_euclid(b) + i64::from(a.rem_euclid(b) != 0)
}

/// How the model spells an unknown size; `None` for known ones.
fn raw_name(input: &str, axis: usize, dim: &Dimension) -> Option<String> {
    match &dim.value {
        Some(DimValue::DimValue(v)) if *v >= 0 => None,
        Some(DimValue::DimParam(p)) if !p.trim().is_empty() && p != "?" => Some(p.trim().to_owned()),
        _ => Some(format!("{}_d{axis}", sanitise(input))),
    }
}

/// Is `raw` an expression over names that inputs have as whole dims?
fn expressible(raw: &str, inputs: &[Input]) -> bool {
    let whole = |n: &str| inputs.iter().any(|i| i.dims.iter().any(|d| matches!(&d.value, Some(DimValue::DimParam(p)) if p.trim() == n)));
    expr::parse(raw, &mut |n| whole(n).then(|| Dim::sym(n))).is_some_and(|d| d.as_const().is_none())
}
