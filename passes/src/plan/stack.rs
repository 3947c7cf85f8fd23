//! Packing of buffers whose sizes are expressions, two ways, both right at all sizes.
//!
//! *Stack*: a packing of the sizes at one binding says which of two buffers that meet lies lower; each then begins at the
//! greatest end of those below it, as an expression. *Slots*: buffers that never meet share a slot as large as its largest.

use super::most::{Most, Prover};
use super::pack::{self, Item};
use odc_ir::core::{Atom, Dim};

type Offsets = (Vec<Dim>, Dim);

/// Larger expressions than this cost the user's device more than they save.
const MAX_NODES: usize = 600;

fn nodes(d: &Dim) -> usize {
    let atom = |a: &Atom| match a {
        Atom::Sym(_) => 1,
        Atom::FloorDiv(x, y) | Atom::Min(x, y) | Atom::Max(x, y) => 1 + nodes(x) + nodes(y),
    };
    1 + d.terms().iter().flat_map(|(m, _)| m.factors()).map(|(a, _)| atom(a)).sum::<usize>()
}

fn usable(d: &Dim) -> bool {
    !d.is_poison() && nodes(d) <= MAX_NODES
}

/// `bytes` rounded up to the alignment.
fn padded(bytes: &Dim, prover: &Prover, align: i64) -> Dim {
    prover.simplify(&bytes.align_up(align))
}

/// Offsets as the greatest end of what lies below, after the packing `at`; `None` if the expressions grow too large.
pub(super) fn stack(items: &[Item], at: &[i64], prover: &Prover, align: i64) -> Option<Offsets> {
    let mut order: Vec<usize> = (0..items.len()).collect();
    order.sort_by_key(|k| (at.get(*k).copied(), *k));
    let mut ends: Vec<Option<Most>> = vec![None; items.len()];
    let mut offsets = vec![Dim::ZERO; items.len()];
    let mut total = Most::of(Dim::ZERO);
    for (n, k) in order.iter().enumerate() {
        let item = items.get(*k)?;
        let below: Vec<usize> = order.iter().take(n).copied().filter(|j| items.get(*j).is_some_and(|o| o.meets(item))).collect();
        let mut offset = Most::of(Dim::ZERO);
        for (m, j) in below.iter().enumerate() {
            // What lies below something that is below adds nothing.
            let lower = items.get(*j)?;
            if !below.iter().skip(m + 1).any(|c| items.get(*c).is_some_and(|c| c.meets(lower))) {
                offset.join(ends.get(*j)?.as_ref()?, prover);
            }
        }
        let end = offset.plus(&padded(&item.bytes, prover, align));
        // Only what nothing lies on can be the top.
        if !order.iter().skip(n + 1).any(|j| items.get(*j).is_some_and(|o| o.meets(item))) {
            total.join(&end, prover);
        }
        let offset = offset.to_dim();
        if !usable(&offset) {
            return None;
        }
        *offsets.get_mut(*k)? = offset;
        *ends.get_mut(*k)? = Some(end);
    }
    let total = total.to_dim();
    usable(&total).then_some((offsets, total))
}

struct Shared {
    bytes: Most,
    /// At the first sampled sizes.
    about: i64,
    members: Vec<usize>,
}

/// Slots shared by maximum, largest first; numbers are packed by themselves below them.
pub(super) fn slots(items: &[Item], about: &[i64], prover: &Prover, align: i64) -> Option<Offsets> {
    let mut offsets = vec![Dim::ZERO; items.len()];
    let (fixed, mut open): (Vec<usize>, Vec<usize>) =
        (0..items.len()).partition(|k| items.get(*k).is_some_and(|i| i.bytes.as_const().is_some()));
    let fixed_items: Vec<Item> = fixed.iter().filter_map(|k| items.get(*k).cloned()).collect();
    let fixed_sizes: Vec<i64> = fixed_items.iter().filter_map(|i| i.bytes.as_const()).collect();
    let packed = pack::pack(&fixed_items, &fixed_sizes, align)?;
    for (k, at) in fixed.iter().zip(packed.offsets) {
        *offsets.get_mut(*k)? = Dim::from(at);
    }
    let hint = |k: usize| about.get(k).copied().unwrap_or(0);
    open.sort_by_key(|k| (-hint(*k), *k));
    let mut shared: Vec<Shared> = vec![];
    for k in open {
        let item = items.get(k)?;
        let mut best: Option<(bool, i64, usize)> = None;
        for (n, s) in shared.iter().enumerate() {
            if s.members.iter().any(|m| items.get(*m).is_some_and(|o| o.meets(item))) {
                continue;
            }
            let fits = s.bytes.covers(&item.bytes, prover);
            // Sharing needs a proof, or sizes alike.
            let rank = (!fits, s.about - hint(k), n);
            if (fits || s.about <= hint(k).saturating_mul(2)) && best.is_none_or(|b| rank < b) {
                best = Some(rank);
            }
        }
        match best.and_then(|(.., n)| shared.get_mut(n)) {
            Some(s) => {
                s.bytes.join(&Most::of(item.bytes.clone()), prover);
                s.members.push(k);
            }
            None => shared.push(Shared { bytes: Most::of(item.bytes.clone()), about: hint(k), members: vec![k] }),
        }
    }
    let mut next = Dim::from(packed.total);
    for s in shared {
        for m in s.members {
            *offsets.get_mut(m)? = next.clone();
        }
        next = next + s.bytes.map(|b| padded(b, prover, align)).to_dim();
    }
    (!next.is_poison()).then_some((offsets, next))
}
