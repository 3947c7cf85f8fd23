//! When must two sizes be equal? What it takes is one lesson: a symbol is an expression of others, is a multiple of some number,
//! or lies within bounds. A run whose inputs say otherwise is refused by the shape checks that the lesson turns into.

use super::dims::Dims;
use odc_ir::core::{Atom, Dim, Ranges, Sym, Symbol};

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Lesson {
    /// The symbol is this expression of other symbols.
    Replace(Sym, Dim),
    /// The symbol is a multiple of this number.
    Multiple(Sym, i64),
    /// The symbol lies in these bounds, both included.
    Bounds(Sym, i64, Option<i64>),
    /// The symbol, which data decides, is at most this.
    AtMost(Sym, Dim),
}

/// The weakest thing that makes `a` equal to `b`, as far as it is found.
pub fn lesson(a: &Dim, b: &Dim, dims: &Dims) -> Option<Lesson> {
    let d = without_common(&(a - b));
    if d.is_poison() {
        return None;
    }
    clamps(&d, dims).or_else(|| solve(&d, dims)).or_else(|| multiple(&d)).or_else(|| interval(&d, &dims.ranges))
}

/// The factor that all terms share, taken out: `n*h - n*48` is zero when `h - 48` is (or when there is nothing to compute).
fn without_common(d: &Dim) -> Dim {
    let Some(((first, _), rest)) = d.terms().split_first() else { return d.clone() };
    let mut common = Dim::ONE;
    for (atom, e) in first.factors() {
        let shared = rest.iter().map(|(m, _)| m.factors().iter().find(|(a, _)| a == atom).map_or(0, |(_, e)| *e));
        for _ in 0..shared.fold(*e, u32::min) {
            common = common * atom_dim(atom);
        }
    }
    if common.is(1) { d.clone() } else { d.floordiv(&common) }
}

/// `min(s, 512) - s`: zero when `s <= 512`.
fn clamps(d: &Dim, dims: &Dims) -> Option<Lesson> {
    for (m, _) in d.terms() {
        for (atom, _) in m.factors() {
            let (x, y, min) = match atom {
                Atom::Min(x, y) => (x, y, true),
                Atom::Max(x, y) => (x, y, false),
                Atom::Sym(_) | Atom::FloorDiv(..) => continue,
            };
            for (pick, other) in [(x, y), (y, x)] {
                if !replace_atom(d, atom, pick).is(0) {
                    continue;
                }
                let slack = if min { other - pick } else { pick - other };
                if let Some(l) = at_least_zero(&slack, &dims.ranges) {
                    return Some(l);
                }
                if let Some(s) = pick.as_sym().filter(|s| min && !other.uses(s) && dims.symbols.get(s).is_some_and(Symbol::is_count)) {
                    return Some(Lesson::AtMost(s.clone(), other.clone()));
                }
            }
        }
    }
    None
}

fn replace_atom(d: &Dim, atom: &Atom, by: &Dim) -> Dim {
    let mut sum = Dim::from(d.constant_part());
    for (m, c) in d.terms().iter().filter(|(m, _)| !m.is_one()) {
        let mut product = Dim::from(*c);
        for (a, e) in m.factors() {
            let x = if a == atom { by.clone() } else { atom_dim(a) };
            for _ in 0..*e {
                product = product * &x;
            }
        }
        sum = sum + product;
    }
    sum
}

fn atom_dim(a: &Atom) -> Dim {
    match a {
        Atom::Sym(s) => Dim::from(s),
        Atom::FloorDiv(x, y) => x.floordiv(y),
        Atom::Min(x, y) => x.min_with(y),
        Atom::Max(x, y) => x.max_with(y),
    }
}

/// Bounds of one symbol that make `p >= 0`.
fn at_least_zero(p: &Dim, ranges: &Ranges) -> Option<Lesson> {
    let s = only_symbol(p)?;
    let (a, b) = p.linear_in(&s)?;
    let (a, b) = (a.as_const()?, b.as_const()?);
    let (lo, hi) = ranges.interval(&Dim::from(&s));
    // a*s + b >= 0
    let (lo, hi) = if a > 0 {
        (lo.max(b.checked_neg()?.div_euclid(a) + i64::from(b.rem_euclid(a) != 0)), hi)
    } else {
        (lo, hi.min(b.div_euclid(a.checked_neg()?)))
    };
    (lo <= hi).then(|| Lesson::Bounds(s, lo, (hi < i64::MAX).then_some(hi)))
}

fn only_symbol(p: &Dim) -> Option<Sym> {
    let mut all = vec![];
    p.visit_syms(&mut |s| all.push(s.clone()));
    all.dedup();
    match all.split_first() {
        Some((s, rest)) if rest.iter().all(|r| r == s) => Some(s.clone()),
        _ => None,
    }
}

/// A symbol with a constant factor, alone: `total - past - seq` gives `total = past + seq`.
fn solve(d: &Dim, dims: &Dims) -> Option<Lesson> {
    let mut best: Option<(usize, Sym, Dim)> = None;
    let mut syms = vec![];
    d.visit_syms(&mut |s| syms.push(s.clone()));
    syms.sort();
    syms.dedup();
    for s in syms {
        let Some((k, rest)) = d.linear_in(&s) else { continue };
        let Some(k) = k.as_const().filter(|k| *k != 0) else { continue };
        // k*s + rest = 0
        let numerator = if k > 0 { -&rest } else { rest };
        let by = numerator.floordiv(&Dim::from(k.saturating_abs()));
        if by.is_poison() || &by * k.saturating_abs() != numerator || by.uses(&s) {
            continue;
        }
        let range = dims.ranges.get(&s);
        if let Some(c) = by.as_const() {
            let fits = dims.symbols.get(&s).is_none_or(|f| c >= f.lo.min(0) && f.hi.is_none_or(|h| c <= h));
            if fits && c >= 0 {
                return Some(Lesson::Replace(s, by));
            }
            continue;
        }
        // Sums read better than differences, and a symbol without stated bounds loses nothing.
        let negative = by.terms().iter().filter(|(_, c)| *c < 0).count();
        let stated = usize::from(range.is_some_and(|r| r.hi.is_some()));
        // What data decides goes first: inputs' sizes must stay.
        let kept = if dims.symbols.get(&s).is_some_and(Symbol::is_count) { 0 } else { 100 };
        let cost = kept + negative * 4 + stated * 2 + usize::from(by.terms().iter().any(|(m, _)| m.factors().len() > 1));
        // Of equals the later name goes: two inputs' batch sizes are the first one's.
        if best.as_ref().is_none_or(|(c, t, _)| (cost, rank(&s, dims)) < (*c, rank(t, dims))) {
            best = Some((cost, s, by));
        }
    }
    best.map(|(_, s, by)| Lesson::Replace(s, by))
}

/// Earlier symbols have a greater rank: they stay.
fn rank(s: &Sym, dims: &Dims) -> std::cmp::Reverse<usize> {
    std::cmp::Reverse(dims.order.iter().position(|x| x == s).unwrap_or(0))
}

/// Some symbol as a multiple of a small number makes the divisions exact: `2*((h + 1) floordiv 2) - h`.
fn multiple(d: &Dim) -> Option<Lesson> {
    let mut syms = vec![];
    d.visit_syms(&mut |s| syms.push(s.clone()));
    syms.sort();
    syms.dedup();
    for m in 2..=64i64 {
        for s in &syms {
            let scaled = d.subst(&|x| (x == s).then(|| Dim::from(s) * m));
            if scaled.is(0) {
                return Some(Lesson::Multiple(s.clone(), m));
            }
        }
    }
    None
}

/// `d` grows with its only symbol: the bounds between which it is zero.
fn interval(d: &Dim, ranges: &Ranges) -> Option<Lesson> {
    let d = if grows(d) { d.clone() } else { -d };
    let s = only_symbol(&d)?;
    if !grows(&d) {
        return None;
    }
    let (lo, hi) = ranges.interval(&Dim::from(&s));
    let hi = hi.min(1 << 31);
    let at = |v: i64| d.eval(&|_| Some(v)).ok();
    // The least value in lo..=hi + 1 at which `d >= bound`.
    let first = |bound: i64| {
        let (mut lo, mut hi) = (lo, hi + 1);
        while lo < hi {
            let mid = lo + (hi - lo) / 2;
            if at(mid)? >= bound { hi = mid } else { lo = mid + 1 }
        }
        Some(lo)
    };
    let (from, past) = (first(0)?, first(1)?);
    (from < past).then(|| Lesson::Bounds(s, from, Some(past - 1)))
}

/// Is `d` a sum of growing things by its structure?
fn grows(d: &Dim) -> bool {
    d.terms().iter().filter(|(m, _)| !m.is_one()).all(|(m, c)| {
        *c > 0
            && match m.factors() {
                [(Atom::Sym(_), 1)] => true,
                [(Atom::FloorDiv(x, y), 1)] => grows(x) && y.as_const().is_some_and(|c| c > 0),
                [(Atom::Min(x, y) | Atom::Max(x, y), 1)] => grows(x) && grows(y),
                _ => false,
            }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn learn(a: &str, b: &str) -> Option<Lesson> {
        let mut dims = Dims::default();
        for s in ["past", "seq", "total", "h"] {
            dims.order.push(Sym::new(s));
            dims.ranges.set(Sym::new(s), 1, None);
        }
        let p = |t| odc_ir::core::parse_dim(t).unwrap();
        lesson(&p(a), &p(b), &dims)
    }
    fn replace(s: &str, by: &str) -> Option<Lesson> {
        Some(Lesson::Replace(Sym::new(s), odc_ir::core::parse_dim(by).unwrap()))
    }

    #[test]
    fn lessons() {
        assert_eq!(learn("total", "past + seq"), replace("total", "past + seq"));
        assert_eq!(learn("past + seq", "total"), replace("total", "past + seq"));
        assert_eq!(learn("2*h", "96"), replace("h", "48"));
        assert_eq!(learn("h*seq", "total*seq"), replace("h", "total"));
        assert_eq!(learn("h*h", "seq"), replace("seq", "h*h"));
        assert_eq!(learn("h*h", "seq*seq"), None);
        assert_eq!(learn("2*floordiv(h + 1, 2)", "h"), Some(Lesson::Multiple(Sym::new("h"), 2)));
        assert_eq!(learn("min(seq, 512)", "seq"), Some(Lesson::Bounds(Sym::new("seq"), 1, Some(512))));
        assert_eq!(learn("floordiv(h - 1, 8) - 4", "1"), Some(Lesson::Bounds(Sym::new("h"), 41, Some(48))));
        assert_eq!(learn("2*h", "97"), None);
    }
}
