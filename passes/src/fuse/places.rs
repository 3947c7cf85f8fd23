//! Which axis of a map stands where in its result, so that a reader's index says which element of the map it reads; and axes of the
//! reader cut in pieces, where the map counts several axes in one coordinate.

use super::inline::index_dims;
use odc_ir::core::{Dim, Ranges, Sym, Value};
use odc_ir::tensor::{Axes, Op, Operation, Program};
use std::collections::BTreeMap;

/// Where an axis of a map stands in its result: `coordinate at / step`, below `below` unless it is the outermost there.
pub(super) struct Place {
    pub at: usize,
    pub step: Dim,
    pub below: Option<Dim>,
}

/// Every axis and its place.
pub(super) type Places = Vec<(Sym, Option<Place>)>;

impl Place {
    pub fn divides(&self) -> bool {
        !self.step.is(1) || self.below.is_some()
    }
    pub fn of(&self, index: &[Dim], ranges: &Ranges) -> Option<Dim> {
        let c = ranges.floordiv(index.get(self.at)?, &self.step);
        Some(self.below.as_ref().map_or_else(|| c.clone(), |n| &c - &(n * &ranges.floordiv(&c, n))))
    }
}

/// Where each axis stands (`None` for axes of extent 1), if every element is stored once: `store` is a permutation, or counts several
/// axes in one coordinate (`4*i + j`).
pub(super) fn inverse(axes: &Axes, store: &[Dim]) -> Option<Places> {
    let mut places: BTreeMap<&Sym, Place> = BTreeMap::new();
    for (at, d) in store.iter().enumerate() {
        // From the innermost on, each axis steps over all that stand behind it.
        let (mut rest, mut step) = (d.clone(), Dim::ONE);
        while !rest.is(0) {
            let mut next = axes.iter().filter_map(|(s, n)| rest.linear_in(s).filter(|(c, _)| *c == step).map(|(_, r)| (s, n, r)));
            let (s, n, left) = next.next_back()?;
            let outermost = left.is(0);
            if places.insert(s, Place { at, step: step.clone(), below: (!outermost).then(|| n.clone()) }).is_some() {
                return None;
            }
            (rest, step) = (left, &step * n);
        }
    }
    axes.iter().map(|(s, e)| if e.is(1) { Some((s.clone(), None)) } else { places.remove(s).map(|p| (s.clone(), Some(p))) }).collect()
}

/// `reader`, a map, with axes cut so that what stands at `from` is read without a division: a map of axes `(i, 2), (j, 32)` stored at
/// `32*i + j` is read by one over `(k, 64)` as by one over `(a, 2), (b, 32)` at `32*a + b`. `None` where no axis need be cut.
pub(super) fn cut(reader: &Operation, value: Value, from: &Places) -> Option<Operation> {
    let Op::Map { axes, store, body } = &reader.op else { return None };
    let slot = reader.operands.iter().position(|v| *v == value)? as u32;
    let mut pieces: BTreeMap<&Sym, Vec<Dim>> = BTreeMap::new();
    for (_, index) in body.loads().filter(|(o, _)| *o == slot) {
        for (at, d) in index_dims(index)?.iter().enumerate() {
            let Some((s, extent)) = axes.iter().find(|(s, _)| d.as_sym() == Some(s)) else { continue };
            // From the outermost on, which is as long as the rest leaves it.
            let mut here: Vec<&Place> = from.iter().filter_map(|(_, p)| p.as_ref()).filter(|p| p.at == at).collect();
            here.sort_by_key(|p| (p.below.is_some(), std::cmp::Reverse(p.step.as_const())));
            let [outermost, inner @ ..] = here.as_slice() else { continue };
            let (Some(n), Some(step)) = (extent.as_const(), outermost.step.as_const()) else { continue };
            if inner.is_empty() || step <= 0 || n % step != 0 {
                continue;
            }
            let extents: Option<Vec<Dim>> = [Some(Dim::from(n / step))].into_iter().chain(inner.iter().map(|p| p.below.clone())).collect();
            let extents = extents?;
            if pieces.get(s).is_some_and(|other| *other != extents) || Dim::product(&extents) != *extent {
                return None;
            }
            pieces.insert(s, extents);
        }
    }
    if pieces.is_empty() {
        return None;
    }
    // Axes are named by their positions, which move.
    let (mut new, mut old): (Axes, BTreeMap<&Sym, Dim>) = (vec![], BTreeMap::new());
    for (s, extent) in axes {
        let mut at = Dim::ZERO;
        for n in pieces.get(s).unwrap_or(&vec![extent.clone()]) {
            let name = Sym::new(&format!("i{}", new.len()));
            at = &(&at * n) + &Dim::from(&name);
            new.push((name, n.clone()));
        }
        old.insert(s, at);
    }
    let dims = |d: &Dim| d.subst(&|s| old.get(s).cloned());
    let op = Op::Map { store: store.iter().map(&dims).collect(), body: Program::map_dims(body, &dims), axes: new };
    Some(Operation { op, ..reader.clone() })
}
