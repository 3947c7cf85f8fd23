//! Packing of buffers with known sizes: greedy into the best gap, in a few orders; then what reached highest goes first and is
//! tried again, as long as the arena is larger than what is alive.

use odc_ir::core::Dim;

/// A buffer to place: alive from command `start` to command `end`, inclusive.
#[derive(Clone, Debug)]
pub(super) struct Item {
    pub bytes: Dim,
    pub start: usize,
    pub end: usize,
}

impl Item {
    pub(super) fn meets(&self, other: &Item) -> bool {
        self.start <= other.end && other.start <= self.end
    }
}

pub(super) struct Packed {
    pub offsets: Vec<i64>,
    pub total: i64,
}

/// How often the order is mended.
const REPAIRS: usize = 32;

pub(super) fn padded(bytes: i64, align: i64) -> Option<i64> {
    Some(bytes.max(0).checked_add(align - 1)? / align * align)
}

/// The most bytes alive at once: no packing is smaller.
pub(super) fn lower_bound(items: &[Item], sizes: &[i64], align: i64) -> i64 {
    let mut events: Vec<(usize, i128)> = vec![];
    for (i, s) in items.iter().zip(sizes) {
        let s = i128::from(padded(*s, align).unwrap_or(i64::MAX));
        events.push((i.start, s));
        events.push((i.end.saturating_add(1), -s));
    }
    // What ends at a position goes before what starts there.
    events.sort_unstable();
    let (mut live, mut most) = (0i128, 0i128);
    for (_, s) in events {
        live += s;
        most = most.max(live);
    }
    i64::try_from(most).unwrap_or(i64::MAX)
}

/// Offsets without overlaps; `None` if they pass 64 bits.
pub(super) fn pack(items: &[Item], sizes: &[i64], align: i64) -> Option<Packed> {
    let sizes: Vec<i64> = sizes.iter().map(|s| padded(*s, align)).collect::<Option<_>>()?;
    let least = lower_bound(items, &sizes, align);
    let size = |k: usize| sizes.get(k).copied().unwrap_or(0);
    let life = |k: usize| items.get(k).map_or((0, 0), |i| (i.start, i.end - i.start + 1));
    let mut orders: Vec<Vec<usize>> = vec![(0..items.len()).collect(); 4];
    if let [by_size, by_area, by_length, by_start] = orders.as_mut_slice() {
        by_size.sort_by_key(|k| (-size(*k), life(*k).0, *k));
        by_area.sort_by_key(|k| (-i128::from(size(*k)) * life(*k).1 as i128, *k));
        by_length.sort_by_key(|k| (std::cmp::Reverse(life(*k).1), -size(*k), *k));
        by_start.sort_by_key(|k| (life(*k).0, -size(*k), *k));
    }
    let mut best: Option<Packed> = None;
    for mut order in orders {
        for _ in 0..=REPAIRS {
            let offsets = place(items, &sizes, &order)?;
            let top = (0..items.len()).max_by_key(|k| (offsets.get(*k).map_or(0, |o| o + size(*k)), *k));
            let total = top.and_then(|k| offsets.get(k)?.checked_add(size(k))).unwrap_or(0);
            if best.as_ref().is_none_or(|b| total < b.total) {
                best = Some(Packed { offsets, total });
            }
            if best.as_ref().is_some_and(|b| b.total <= least) {
                return best;
            }
            let Some(at) = top.and_then(|k| order.iter().position(|o| *o == k)).filter(|at| *at > 0) else { break };
            let first = order.remove(at);
            order.insert(0, first);
        }
    }
    best.or(Some(Packed { offsets: vec![], total: 0 }))
}

/// Puts each item, in `order`, into the smallest gap between those it meets, or above them.
fn place(items: &[Item], sizes: &[i64], order: &[usize]) -> Option<Vec<i64>> {
    let mut offsets: Vec<Option<i64>> = vec![None; items.len()];
    let mut around: Vec<(i64, i64)> = vec![];
    for k in order {
        let (item, size) = (items.get(*k)?, *sizes.get(*k)?);
        around.clear();
        for (j, other) in items.iter().enumerate() {
            if let Some(Some(at)) = offsets.get(j)
                && item.meets(other)
            {
                around.push((*at, at.checked_add(*sizes.get(j)?)?));
            }
        }
        around.sort_unstable();
        let (mut free, mut gap): (i64, Option<(i64, i64)>) = (0, None);
        for (from, to) in &around {
            let room = from - free;
            if room >= size && gap.is_none_or(|(least, _)| room < least) {
                gap = Some((room, free));
            }
            free = free.max(*to);
        }
        *offsets.get_mut(*k)? = Some(gap.map_or(free, |(_, at)| at));
    }
    offsets.into_iter().collect()
}
