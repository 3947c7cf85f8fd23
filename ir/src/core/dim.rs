//! Sizes and indices as algebra: a [`Dim`] is a canonical integer polynomial over symbols, with floor division, `min` and
//! `max` as atoms. Equal means equal: `(n*64) floordiv 64` *is* `n`, so shape chains cancel without a solver.
//!
//! `n mod c` is stored as `n - c*(n floordiv c)`, so that splitting an index and joining it again gives the index back.
//! An overflow (or an expression past [`MAX_TERMS`]) turns into a poison that spreads like NaN; verifiers report it.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

/// The most terms and the deepest nesting of one expression; more is poison, so that hostile models stay cheap.
pub const MAX_TERMS: usize = 512;
const MAX_DEPTH: u32 = 24;

/// A named integer unknown: a model's dimension (`batch`) or an axis of a structured op (`i0`).
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Sym(Arc<str>);

impl Sym {
    pub fn new(name: &str) -> Self {
        Sym(name.into())
    }
    pub fn name(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Sym {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
impl fmt::Display for Sym {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What a polynomial multiplies: a symbol or an opaque function of other dims.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Atom {
    Sym(Sym),
    FloorDiv(Dim, Dim),
    Min(Dim, Dim),
    Max(Dim, Dim),
}

/// A product of atoms with exponents, sorted; empty is the constant term.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Monomial(Vec<(Atom, u32)>);

impl Monomial {
    pub fn factors(&self) -> &[(Atom, u32)] {
        &self.0
    }
    pub fn is_one(&self) -> bool {
        self.0.is_empty()
    }
    pub(super) fn single(atom: Atom) -> Self {
        Monomial(vec![(atom, 1)])
    }
    fn mul(&self, other: &Monomial) -> Monomial {
        let mut m: BTreeMap<Atom, u32> = self.0.iter().cloned().collect();
        for (a, e) in &other.0 {
            *m.entry(a.clone()).or_insert(0) += e;
        }
        Monomial(m.into_iter().collect())
    }
    /// `self / other` when every factor of `other` is in `self`.
    fn div(&self, other: &Monomial) -> Option<Monomial> {
        let mut m: BTreeMap<Atom, u32> = self.0.iter().cloned().collect();
        for (a, e) in &other.0 {
            let have = m.get_mut(a)?;
            *have = have.checked_sub(*e)?;
            if *have == 0 {
                m.remove(a);
            }
        }
        Some(Monomial(m.into_iter().collect()))
    }
    /// The power of `sym` in this product.
    pub fn degree(&self, sym: &Sym) -> u32 {
        self.0.iter().find_map(|(a, e)| matches!(a, Atom::Sym(s) if s == sym).then_some(*e)).unwrap_or(0)
    }
    /// This product as a dim of its own.
    pub fn to_dim(&self) -> Dim {
        Dim::from_terms([(self.clone(), 1)])
    }
}

#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Repr {
    Const(i64),
    Poly(Arc<Vec<(Monomial, i64)>>),
    Poison,
}

/// A size or an index: see the module's comment.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Dim(Repr);

/// Why a dim has no value.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DimError {
    #[error("size `{0}` overflows 64 bits")]
    Overflow(String),
    #[error("division by zero in size `{0}`")]
    DivByZero(String),
    #[error("unknown symbol `{0}`")]
    UnknownSymbol(String),
}

impl Dim {
    pub const ZERO: Dim = Dim(Repr::Const(0));
    pub const ONE: Dim = Dim(Repr::Const(1));

    pub fn sym(name: &str) -> Dim {
        Dim::from(Sym::new(name))
    }
    pub fn poison() -> Dim {
        Dim(Repr::Poison)
    }
    pub fn is_poison(&self) -> bool {
        matches!(self.0, Repr::Poison)
    }
    pub fn as_const(&self) -> Option<i64> {
        match self.0 {
            Repr::Const(c) => Some(c),
            Repr::Poly(_) | Repr::Poison => None,
        }
    }
    /// The symbol, if the dim is nothing but one.
    pub fn as_sym(&self) -> Option<&Sym> {
        match self.terms() {
            [(m, 1)] => match m.factors() {
                [(Atom::Sym(s), 1)] => Some(s),
                _ => None,
            },
            _ => None,
        }
    }
    pub fn is(&self, c: i64) -> bool {
        self.as_const() == Some(c)
    }

    /// Non-constant dims as `(product, coefficient)` terms in canonical order; empty for constants and poison.
    pub fn terms(&self) -> &[(Monomial, i64)] {
        match &self.0 {
            Repr::Poly(t) => t,
            Repr::Const(_) | Repr::Poison => &[],
        }
    }
    fn all_terms(&self) -> Vec<(Monomial, i64)> {
        match &self.0 {
            Repr::Poly(t) => t.to_vec(),
            Repr::Const(0) | Repr::Poison => vec![],
            Repr::Const(c) => vec![(Monomial::default(), *c)],
        }
    }
    /// The constant term.
    pub fn constant_part(&self) -> i64 {
        match &self.0 {
            Repr::Const(c) => *c,
            Repr::Poly(t) => t.first().filter(|(m, _)| m.is_one()).map_or(0, |(_, c)| *c),
            Repr::Poison => 0,
        }
    }

    pub(super) fn from_terms(terms: impl IntoIterator<Item = (Monomial, i64)>) -> Dim {
        let mut map: BTreeMap<Monomial, i64> = BTreeMap::new();
        for (m, c) in terms {
            let e = map.entry(m).or_insert(0);
            match e.checked_add(c) {
                Some(s) => *e = s,
                None => return Dim::poison(),
            }
        }
        map.retain(|_, c| *c != 0);
        if map.len() > MAX_TERMS {
            return Dim::poison();
        }
        if map.is_empty() {
            return Dim::ZERO;
        }
        if map.len() == 1
            && let Some((m, c)) = map.first_key_value()
            && m.is_one()
        {
            return Dim(Repr::Const(*c));
        }
        Dim(Repr::Poly(Arc::new(map.into_iter().collect())))
    }

    fn from_atom(atom: Atom) -> Dim {
        let depth = match &atom {
            Atom::Sym(_) => 0,
            Atom::FloorDiv(a, b) | Atom::Min(a, b) | Atom::Max(a, b) => 1 + a.depth().max(b.depth()),
        };
        if depth > MAX_DEPTH { Dim::poison() } else { Dim::from_terms([(Monomial::single(atom), 1)]) }
    }

    fn depth(&self) -> u32 {
        let mut d = 0;
        for (m, _) in self.terms() {
            for (a, _) in m.factors() {
                d = d.max(match a {
                    Atom::Sym(_) => 0,
                    Atom::FloorDiv(x, y) | Atom::Min(x, y) | Atom::Max(x, y) => 1 + x.depth().max(y.depth()),
                });
            }
        }
        d
    }

    fn plus(&self, o: &Dim) -> Dim {
        if self.is_poison() || o.is_poison() {
            return Dim::poison();
        }
        if let (Some(a), Some(b)) = (self.as_const(), o.as_const()) {
            return a.checked_add(b).map_or(Dim::poison(), Dim::from);
        }
        Dim::from_terms(self.all_terms().into_iter().chain(o.all_terms()))
    }

    fn times(&self, o: &Dim) -> Dim {
        if self.is_poison() || o.is_poison() {
            return Dim::poison();
        }
        if let (Some(a), Some(b)) = (self.as_const(), o.as_const()) {
            return a.checked_mul(b).map_or(Dim::poison(), Dim::from);
        }
        let (a, b) = (self.all_terms(), o.all_terms());
        if a.len() * b.len() > MAX_TERMS * 4 {
            return Dim::poison();
        }
        let mut out = Vec::with_capacity(a.len() * b.len());
        for (m, c) in &a {
            for (n, d) in &b {
                match c.checked_mul(*d) {
                    Some(e) => out.push((m.mul(n), e)),
                    None => return Dim::poison(),
                }
            }
        }
        Dim::from_terms(out)
    }

    /// `floor(self / d)`. Dividing by a constant zero is poison; symbolic divisors are taken to be non-zero.
    pub fn floordiv(&self, d: &Dim) -> Dim {
        if self.is_poison() || d.is_poison() || d.is(0) {
            return Dim::poison();
        }
        if let (Some(a), Some(b)) = (self.as_const(), d.as_const()) {
            return checked_floordiv(a, b).map_or(Dim::poison(), Dim::from);
        }
        if d.as_const().is_some_and(|c| c < 0) {
            return (-self).floordiv(&-d);
        }
        if d.is(1) {
            return self.clone();
        }
        let (q, r) = self.split_by(d);
        if r.is(0) {
            return q;
        }
        if let Some(c) = d.as_const() {
            return q + Dim::floordiv_rest(&r, c);
        }
        q + Dim::from_atom(Atom::FloorDiv(r, d.clone()))
    }

    /// `floor(r / c)` for a constant `c > 1`, after multiples of `c` were taken out: cancels the common factor and merges
    /// nested divisions.
    fn floordiv_rest(r: &Dim, c: i64) -> Dim {
        let g = r.terms().iter().filter(|(m, _)| !m.is_one()).fold(c, |g, (_, k)| gcd(g, *k));
        if g > 1 {
            let reduced = Dim::from_terms(r.all_terms().into_iter().map(|(m, k)| (m, k.div_euclid(g))));
            return reduced.floordiv(&Dim::from(c / g));
        }
        if let [(m, 1)] = r.terms()
            && let [(Atom::FloorDiv(x, y), 1)] = m.factors()
            && let Some(cc) = y.as_const().and_then(|k| k.checked_mul(c))
        {
            return x.floordiv(&Dim::from(cc));
        }
        Dim::from_atom(Atom::FloorDiv(r.clone(), Dim::from(c)))
    }

    /// `self = d*q + r` where `q` takes every term that `d` (one product) divides exactly.
    fn split_by(&self, d: &Dim) -> (Dim, Dim) {
        if self == d {
            return (Dim::ONE, Dim::ZERO);
        }
        let d_terms = d.all_terms();
        let [(dm, dc)] = d_terms.as_slice() else {
            // A divisor of several terms: only an exact constant multiple is recognised.
            let (Some((m, c)), Some((dm, dc))) = (self.terms().last(), d_terms.last()) else {
                return (Dim::ZERO, self.clone());
            };
            if m == dm && c % dc == 0 && *self == d * &Dim::from(c / dc) {
                return (Dim::from(c / dc), Dim::ZERO);
            }
            return (Dim::ZERO, self.clone());
        };
        let (mut q, mut r) = (vec![], vec![]);
        for (m, c) in self.all_terms() {
            match m.div(dm) {
                Some(rest) if c % dc == 0 => q.push((rest, c / dc)),
                Some(rest) if rest.is_one() && dm.is_one() => {
                    q.push((rest.clone(), c.div_euclid(*dc)));
                    r.push((rest, c.rem_euclid(*dc)));
                }
                _ => r.push((m, c)),
            }
        }
        (Dim::from_terms(q), Dim::from_terms(r))
    }

    /// `self - d * floor(self / d)`: in `0..d` for positive `d`.
    pub fn modulo(&self, d: &Dim) -> Dim {
        self - &(d * &self.floordiv(d))
    }
    /// `ceil(self / d)`, for constants in the form that convolutions have: `(h + 1) floordiv 2`.
    pub fn ceildiv(&self, d: &Dim) -> Dim {
        match d.as_const() {
            Some(c) if c > 0 => (self + (c - 1)).floordiv(d),
            _ => -(-self).floordiv(d),
        }
    }
    /// The least multiple of `d` that is not below `self`.
    pub fn align_up(&self, d: i64) -> Dim {
        &self.ceildiv(&Dim::from(d)) * &Dim::from(d)
    }

    pub fn min_with(&self, o: &Dim) -> Dim {
        Dim::extremum(self, o, true)
    }
    pub fn max_with(&self, o: &Dim) -> Dim {
        Dim::extremum(self, o, false)
    }
    fn extremum(a: &Dim, b: &Dim, min: bool) -> Dim {
        if a.is_poison() || b.is_poison() {
            return Dim::poison();
        }
        let diff = a - b;
        if let Some(c) = diff.as_const() {
            return if (c <= 0) == min { a.clone() } else { b.clone() };
        }
        let (x, y) = if a <= b { (a, b) } else { (b, a) };
        Dim::from_atom(if min { Atom::Min(x.clone(), y.clone()) } else { Atom::Max(x.clone(), y.clone()) })
    }

    pub fn product<'a>(dims: impl IntoIterator<Item = &'a Dim>) -> Dim {
        dims.into_iter().fold(Dim::ONE, |a, b| &a * b)
    }

    /// Replaces symbols; what `f` leaves as `None` stays.
    pub fn subst(&self, f: &dyn Fn(&Sym) -> Option<Dim>) -> Dim {
        if self.terms().is_empty() {
            return self.clone();
        }
        let mut sum = Dim::ZERO;
        for (m, c) in self.terms() {
            let mut p = Dim::from(*c);
            for (a, e) in m.factors() {
                let x = match a {
                    Atom::Sym(s) => f(s).unwrap_or_else(|| Dim::from(s.clone())),
                    Atom::FloorDiv(x, y) => x.subst(f).floordiv(&y.subst(f)),
                    Atom::Min(x, y) => x.subst(f).min_with(&y.subst(f)),
                    Atom::Max(x, y) => x.subst(f).max_with(&y.subst(f)),
                };
                for _ in 0..*e {
                    p = &p * &x;
                }
            }
            sum = &sum + &p;
        }
        sum
    }

    /// The value under a binding of the symbols.
    pub fn eval(&self, f: &dyn Fn(&Sym) -> Option<i64>) -> Result<i64, DimError> {
        match &self.0 {
            Repr::Const(c) => return Ok(*c),
            Repr::Poison => return Err(DimError::Overflow(self.to_string())),
            Repr::Poly(_) => {}
        }
        let over = || DimError::Overflow(self.to_string());
        let mut sum = 0i64;
        for (m, c) in self.terms() {
            let mut p = *c;
            for (a, e) in m.factors() {
                let x = match a {
                    Atom::Sym(s) => f(s).ok_or_else(|| DimError::UnknownSymbol(s.to_string()))?,
                    Atom::FloorDiv(x, y) => {
                        let (x, y) = (x.eval(f)?, y.eval(f)?);
                        if y == 0 {
                            return Err(DimError::DivByZero(self.to_string()));
                        }
                        checked_floordiv(x, y).ok_or_else(over)?
                    }
                    Atom::Min(x, y) => x.eval(f)?.min(y.eval(f)?),
                    Atom::Max(x, y) => x.eval(f)?.max(y.eval(f)?),
                };
                for _ in 0..*e {
                    p = p.checked_mul(x).ok_or_else(over)?;
                }
            }
            sum = sum.checked_add(p).ok_or_else(over)?;
        }
        Ok(sum)
    }

    /// Calls `f` for every symbol, atoms' insides included.
    pub fn visit_syms(&self, f: &mut dyn FnMut(&Sym)) {
        for (m, _) in self.terms() {
            for (a, _) in m.factors() {
                match a {
                    Atom::Sym(s) => f(s),
                    Atom::FloorDiv(x, y) | Atom::Min(x, y) | Atom::Max(x, y) => {
                        x.visit_syms(f);
                        y.visit_syms(f);
                    }
                }
            }
        }
    }
    pub fn uses(&self, sym: &Sym) -> bool {
        let mut found = false;
        self.visit_syms(&mut |s| found |= s == sym);
        found
    }

    /// `(a, b)` with `self = a*sym + b` and neither using `sym`; `None` if it is not linear in `sym`.
    pub fn linear_in(&self, sym: &Sym) -> Option<(Dim, Dim)> {
        let (mut a, mut b) = (vec![], vec![]);
        for (m, c) in self.all_terms() {
            match m.degree(sym) {
                0 => b.push((m, c)),
                1 => a.push((m.div(&Monomial::single(Atom::Sym(sym.clone())))?, c)),
                _ => return None,
            }
        }
        let (a, b) = (Dim::from_terms(a), Dim::from_terms(b));
        (!a.uses(sym) && !b.uses(sym)).then_some((a, b))
    }
}

/// Floor division that refuses zero and overflow.
pub fn checked_floordiv(a: i64, b: i64) -> Option<i64> {
    let q = a.checked_div(b)?;
    if a % b != 0 && ((a < 0) != (b < 0)) { q.checked_sub(1) } else { Some(q) }
}

pub(super) fn gcd(a: i64, b: i64) -> i64 {
    let (mut a, mut b) = (a.unsigned_abs(), b.unsigned_abs());
    while b != 0 {
        (a, b) = (b, a % b);
    }
    i64::try_from(a).unwrap_or(1).max(1)
}

impl From<i64> for Dim {
    fn from(c: i64) -> Dim {
        Dim(Repr::Const(c))
    }
}
impl From<Sym> for Dim {
    fn from(s: Sym) -> Dim {
        Dim::from_atom(Atom::Sym(s))
    }
}
impl From<&Sym> for Dim {
    fn from(s: &Sym) -> Dim {
        Dim::from(s.clone())
    }
}

macro_rules! operators {
    ($($tr:ident $f:ident |$a:ident, $b:ident| $e:expr;)*) => {$(
        impl std::ops::$tr<&Dim> for &Dim { type Output = Dim; fn $f(self, o: &Dim) -> Dim { let ($a, $b) = (self, o); $e } }
        impl std::ops::$tr<Dim> for &Dim { type Output = Dim; fn $f(self, o: Dim) -> Dim { std::ops::$tr::$f(self, &o) } }
        impl std::ops::$tr<&Dim> for Dim { type Output = Dim; fn $f(self, o: &Dim) -> Dim { std::ops::$tr::$f(&self, o) } }
        impl std::ops::$tr<Dim> for Dim { type Output = Dim; fn $f(self, o: Dim) -> Dim { std::ops::$tr::$f(&self, &o) } }
        impl std::ops::$tr<i64> for &Dim { type Output = Dim; fn $f(self, o: i64) -> Dim { std::ops::$tr::$f(self, &Dim::from(o)) } }
        impl std::ops::$tr<i64> for Dim { type Output = Dim; fn $f(self, o: i64) -> Dim { std::ops::$tr::$f(&self, &Dim::from(o)) } }
    )*};
}
operators! {
    Add add |a, b| a.plus(b);
    Sub sub |a, b| a.plus(&b.times(&Dim::from(-1)));
    Mul mul |a, b| a.times(b);
}
impl std::ops::Neg for &Dim {
    type Output = Dim;
    fn neg(self) -> Dim {
        self.times(&Dim::from(-1))
    }
}
impl std::ops::Neg for Dim {
    type Output = Dim;
    fn neg(self) -> Dim {
        -&self
    }
}

impl fmt::Display for Dim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Repr::Poison => return f.write_str("poison"),
            Repr::Const(c) => return write!(f, "{c}"),
            Repr::Poly(_) => {}
        }
        // Products first, the constant last: `2*n + 1` reads better than `1 + 2*n`.
        let terms = self.terms();
        let (consts, rest): (Vec<_>, Vec<_>) = terms.iter().partition(|(m, _)| m.is_one());
        for (k, (m, c)) in rest.into_iter().chain(consts).enumerate() {
            let mag = c.unsigned_abs();
            match (k, *c < 0) {
                (0, true) => f.write_str("-")?,
                (0, false) => {}
                (_, true) => f.write_str(" - ")?,
                (_, false) => f.write_str(" + ")?,
            }
            if m.is_one() {
                write!(f, "{mag}")?;
                continue;
            }
            if mag != 1 {
                write!(f, "{mag}*")?;
            }
            let mut first = true;
            for (a, e) in m.factors() {
                for _ in 0..*e {
                    if !first {
                        f.write_str("*")?;
                    }
                    first = false;
                    match a {
                        Atom::Sym(s) => write!(f, "{s}")?,
                        Atom::FloorDiv(x, y) => write!(f, "floordiv({x}, {y})")?,
                        Atom::Min(x, y) => write!(f, "min({x}, {y})")?,
                        Atom::Max(x, y) => write!(f, "max({x}, {y})")?,
                    }
                }
            }
        }
        Ok(())
    }
}
impl fmt::Debug for Dim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn s(n: &str) -> Dim {
        Dim::sym(n)
    }

    #[test]
    fn splitting_and_joining_an_index_gives_it_back() {
        let i = s("i");
        let back = i.floordiv(&64.into()) * 64 + i.modulo(&64.into());
        assert_eq!(back, i);
    }

    #[test]
    fn canonical_forms_meet() {
        let (n, h) = (s("n"), s("h"));
        assert_eq!((&n * 64).floordiv(&64.into()), n);
        assert_eq!((&n * &h * 2).floordiv(&(&h * 2)), n);
        assert_eq!((&n * 4 + 2).floordiv(&2.into()), &n * 2 + 1);
        assert_eq!(n.floordiv(&2.into()).floordiv(&3.into()), n.floordiv(&6.into()));
        assert_eq!((&n + 1) * (&n - 1), &n * &n - 1);
        assert_eq!((&n + 3).floordiv(&(&n + 3)), Dim::ONE);
        assert_eq!((&n + 1).min_with(&n), n);
        assert_eq!((&n * 2 + 1).to_string(), "2*n + 1");
    }

    #[test]
    fn overflow_is_poison_and_says_so() {
        let big = Dim::from(i64::MAX);
        assert!((&big + 1).is_poison());
        assert!((s("n") * &big * 2).is_poison());
        assert!((&big + 1).eval(&|_| None).is_err());
        assert!((s("n") * &big).eval(&|_| Some(3)).is_err());
    }
}
