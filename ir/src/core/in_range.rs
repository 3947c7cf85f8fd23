//! What the values of an input must be: indices and lengths that come with it. Kernels clamp them, so nothing outside of a tensor is read or
//! written whatever they are; these checks, which a runtime makes before a run, say that the caller's data is wrong.

use super::attr::Attr;
use super::dim::Dim;
use super::module::Symbol;
use super::text::{ParseError, Parser};
use super::value::{Binding, InterpError, TensorValue};
use std::collections::BTreeMap;
use std::fmt::Write;

/// Element `k` of `input` lies in the range `k % ranges.len()`, both ends included: the parts of an index tuple count along different axes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct InRange {
    pub input: String,
    pub ranges: Vec<(Dim, Dim)>,
    /// The operator and its node, for people.
    pub what: String,
}

impl InRange {
    /// The first element that lies outside: its place, its value, and the range that it should be in.
    pub fn outside(&self, values: impl Iterator<Item = i64>, binding: &Binding) -> Result<Option<(usize, i64, [i64; 2])>, InterpError> {
        let ends = |(lo, hi): &(Dim, Dim)| Ok([binding.eval(lo)?, binding.eval(hi)?]);
        let ranges = self.ranges.iter().map(ends).collect::<Result<Vec<_>, InterpError>>()?;
        let mut all = values.zip(ranges.iter().cycle()).enumerate();
        Ok(all.find(|(_, (v, [lo, hi]))| v < lo || v > hi).map(|(k, (v, r))| (k, v, *r)))
    }

    pub(crate) fn print(&self) -> String {
        let mut out = format!("in_range \"{}\" from ", self.input.escape_debug());
        let (lo, hi): (Vec<Dim>, Vec<Dim>) = self.ranges.iter().cloned().unzip();
        lo.print(&mut out);
        out.push_str(" to ");
        hi.print(&mut out);
        let _ = write!(out, " by \"{}\"", self.what.escape_debug());
        out
    }

    /// What follows the word `in_range`.
    pub(crate) fn parse(p: &mut Parser<'_>) -> Result<InRange, ParseError> {
        let input = p.string()?;
        p.expect("from")?;
        let lo = Vec::<Dim>::parse(p)?;
        p.expect("to")?;
        let hi = Vec::<Dim>::parse(p)?;
        if lo.len() != hi.len() || lo.is_empty() {
            return Err(p.error("as many lower as upper ends, and at least one"));
        }
        p.expect("by")?;
        Ok(InRange { input, ranges: lo.into_iter().zip(hi).collect(), what: p.string()? })
    }
}

/// What is wrong with the checks of a module whose first function has these parameters, integers or not.
pub fn broken_checks(checks: &[InRange], symbols: &BTreeMap<super::dim::Sym, Symbol>, params: &[(&str, bool)]) -> Vec<String> {
    let mut broken = vec![];
    for c in checks {
        if !params.contains(&(c.input.as_str(), true)) {
            broken.push(format!("in_range \"{}\": there is no such input of integers", c.input.escape_debug()));
        }
        let known = |d: &Dim| {
            let mut known = !d.is_poison();
            d.visit_syms(&mut |s| known &= symbols.get(s).is_some_and(|f| f.origin.is_some()));
            known
        };
        if c.ranges.is_empty() || !c.ranges.iter().all(|(lo, hi)| known(lo) && known(hi)) {
            broken.push(format!("in_range \"{}\": its ends are not sizes that the inputs' shapes give", c.input.escape_debug()));
        }
    }
    broken
}

/// Are the inputs' values what the checks say?
pub fn check_inputs(checks: &[InRange], inputs: &[(String, TensorValue)], binding: &Binding) -> Result<(), InterpError> {
    for c in checks {
        let Some((_, t)) = inputs.iter().find(|(name, _)| *name == c.input) else { continue };
        if let Some((at, value, [lo, hi])) = c.outside(t.data.iter().map(|s| s.as_i64()), binding)? {
            return Err(InterpError::OutOfRange { input: c.input.clone(), at, value, lo, hi, what: c.what.clone() });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::Sym;

    #[test]
    fn parts_of_tuples_have_ranges_of_their_own() {
        let n = Dim::sym("n");
        let c = InRange { input: "i".into(), ranges: vec![(-&n, &n - 1), (Dim::ZERO, Dim::from(9))], what: "GatherND".into() };
        let binding = Binding([(Sym::new("n"), 3)].into());
        assert_eq!(c.outside([-3, 9, 2, 0].into_iter(), &binding).unwrap(), None);
        assert_eq!(c.outside([0, 0, 3, 10].into_iter(), &binding).unwrap(), Some((2, 3, [-3, 2])));
        assert_eq!(c.outside([0, -1].into_iter(), &binding).unwrap(), Some((1, -1, [0, 9])));
    }

    #[test]
    fn text_goes_both_ways() {
        let n = Dim::sym("n");
        let c = InRange { input: "a \"b\"".into(), ranges: vec![(-&n, &n - 1), (Dim::ZERO, Dim::from(9))], what: "GatherND /x".into() };
        let text = c.print();
        let mut p = Parser::new(&text);
        p.expect("in_range").unwrap();
        assert_eq!(InRange::parse(&mut p).unwrap(), c);
        assert!(InRange::parse(&mut Parser::new("\"i\" from [0] to [1, 2] by \"\"")).is_err());
    }

    #[test]
    fn checks_that_mean_nothing_are_broken() {
        let c = InRange { input: "i".into(), ranges: vec![(Dim::ZERO, Dim::sym("n"))], what: String::new() };
        let broken = |params: &[(&str, bool)]| broken_checks(std::slice::from_ref(&c), &BTreeMap::new(), params).len();
        assert_eq!((broken(&[("i", true)]), broken(&[("i", false)]), broken(&[])), (1, 2, 2));
    }
}
