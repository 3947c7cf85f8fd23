//! Stages by rows: ops that share their leading axes and talk to each other only within a row (softmax, norms) become one
//! dispatch; the values between them live in a row of scratch.

use super::inline::is_contraction;
use super::why::Why;
use super::{OUTPUT, Work};
use odc_ir::core::{Dim, Sym, Value};
use odc_ir::tensor::{Axes, Index, Op, Operation};

/// The most ops of one dispatch.
const MAX_STAGES: usize = 12;

/// Is it an op that needs a kernel?
fn is_structured(op: &Op) -> bool {
    matches!(op, Op::Map { .. } | Op::Reduce { .. } | Op::Scatter { .. })
}

/// A group for every structured op.
pub(super) fn alone(w: &Work) -> Vec<Vec<usize>> {
    let structured = |k: &usize| w.ops[*k].as_ref().is_some_and(|o| is_structured(&o.op));
    (0..w.ops.len()).filter(structured).map(|k| vec![k]).collect()
}

/// Groups of positions, each in order of execution; every structured op is in exactly one.
pub(super) fn group(w: &Work) -> Vec<Vec<usize>> {
    let def = w.definitions();
    let mut groups: Vec<(Vec<usize>, Axes)> = vec![];
    let mut group_of: Vec<Option<usize>> = vec![None; w.ops.len()];
    for k in 0..w.ops.len() {
        let Some(op) = w.ops[k].as_ref().filter(|o| is_structured(&o.op)) else { continue };
        let mut joined = None;
        for v in &op.operands {
            let Some(g) = def[v.index()].and_then(|d| group_of[d]) else { continue };
            if joined.is_none() && may_join(w, &def, &groups[g], k, op).is_ok() {
                joined = Some(g);
            }
        }
        let g = joined.unwrap_or_else(|| {
            groups.push((vec![], rows(&op.op)));
            groups.len() - 1
        });
        if let Some(r) = joined {
            let depth = groups[r].1.len().min(common(&groups[r].1, leading(&op.op)));
            groups[r].1.truncate(depth);
        }
        groups[g].0.push(k);
        group_of[k] = Some(g);
    }
    groups.into_iter().map(|(members, _)| members).collect()
}

fn leading(op: &Op) -> &[(Sym, Dim)] {
    match op {
        Op::Map { axes, .. } | Op::Reduce { axes, .. } => axes,
        Op::Constant { .. } | Op::View {} | Op::Scatter { .. } | Op::Dispatch { .. } | Op::If { .. } | Op::Loop { .. } => &[],
    }
}

/// The axes a group of this op alone could share: all of a reduction's, all but the last of a map's.
fn rows(op: &Op) -> Axes {
    match op {
        Op::Reduce { axes, .. } => axes.iter().take(trailing_ones(axes)).cloned().collect(),
        Op::Map { axes, .. } => axes.iter().take(axes.len().saturating_sub(1)).cloned().collect(),
        Op::Constant { .. } | Op::View {} | Op::Scatter { .. } | Op::Dispatch { .. } | Op::If { .. } | Op::Loop { .. } => vec![],
    }
}

/// How many axes are left without trailing ones (kept reduced axes).
fn trailing_ones(axes: &Axes) -> usize {
    axes.iter().rposition(|(_, e)| !e.is(1)).map_or(0, |k| k + 1)
}

/// How many leading axes have equal names and extents.
pub(super) fn common(a: &[(Sym, Dim)], b: &[(Sym, Dim)]) -> usize {
    a.iter().zip(b).take_while(|(x, y)| x == y).count()
}

/// Why op `k` is not in the group of `members`, of which those that stand before it are asked.
pub(super) fn refusal(w: &Work, members: &[usize], k: usize) -> Option<Why> {
    let members: Vec<usize> = members.iter().copied().filter(|m| *m < k).collect();
    let op_of = |m: &usize| w.ops[*m].as_ref().map(|o| &o.op);
    let mut shared = members.first().and_then(op_of).map_or(vec![], rows);
    for op in members.iter().skip(1).filter_map(op_of) {
        shared.truncate(common(&shared, leading(op)));
    }
    may_join(w, &w.definitions(), &(members, shared), k, w.ops[k].as_ref()?).err()
}

fn may_join(w: &Work, def: &[Option<usize>], group: &(Vec<usize>, Axes), k: usize, op: &Operation) -> Result<(), Why> {
    let refuse_if = |refused: bool, why: Why| if refused { Err(why) } else { Ok(()) };
    let (members, shared) = group;
    let (starts, ends) = (w.starts_rows(def, members, k), w.ends_rows(def, members, k));
    refuse_if(members.len() >= MAX_STAGES, Why::ManyStages)?;
    refuse_if(is_contraction(&op.op) && !starts && !ends, Why::Contraction)?;
    refuse_if(!matches!(op.op, Op::Map { .. } | Op::Reduce { .. }), Why::NotStructured)?;
    let ops = || members.iter().filter_map(|m| w.ops[*m].as_ref()).chain([op]);
    // On a GPU a product may begin the rows: what follows it was let in above.
    let begun = starts || w.gpu.is_some() && members.len() > 1;
    refuse_if(!begun && ops().any(|o| is_contraction(&o.op)), Why::Contraction)?;
    refuse_if(!ops().any(|o| matches!(o.op, Op::Reduce { .. })), Why::NoReduction)?;
    let depth = common(shared, leading(&op.op));
    // Fewer shared rows would take parallelism away from what is already there.
    refuse_if(depth == 0 || depth + usize::from(starts) < shared.len(), Why::FewRows)?;
    refuse_if(w.starves(&shared.iter().take(depth).cloned().collect(), k), Why::FewRows)?;
    // Every value that travels inside must stay within its row.
    for v in &op.operands {
        let Some(d) = def[v.index()].filter(|d| members.contains(d)) else { continue };
        let p = w.ops[d].as_ref().ok_or(Why::NotStructured)?;
        refuse_if(!by_row(p, op, *v, depth), Why::AcrossRows)?;
    }
    // Nothing outside may stand between: an operand from elsewhere must not depend on the group.
    let free = op.operands.iter().all(|v| match def[v.index()] {
        Some(d) if !members.contains(&d) => !depends_on(w, def, d, members),
        _ => true,
    });
    refuse_if(!free || w.users_between(members, k) || w.sized_by(members, k), Why::Between)?;
    refuse_if(!w.fits_with(members, k), Why::Bindings)
}

/// Does `v` travel from its producer to `user` within the rows of the first `depth` axes?
pub(crate) fn by_row(producer: &Operation, user: &Operation, v: Value, depth: usize) -> bool {
    stored_by_row(&producer.op, depth) && read_by_row(user, v, depth)
}

fn stored_by_row(op: &Op, depth: usize) -> bool {
    let (Op::Map { axes, store, .. } | Op::Reduce { axes, store, .. }) = op else { return false };
    store.len() >= depth && axes.iter().zip(store).take(depth).all(|((s, e), d)| d.as_sym() == Some(s) || (e.is(1) && d.is(0)))
}

fn read_by_row(op: &Operation, v: Value, depth: usize) -> bool {
    let axes = leading(&op.op);
    let programs = match &op.op {
        Op::Map { body, .. } => vec![body],
        Op::Reduce { body, epilogue, .. } => vec![body, epilogue],
        Op::Constant { .. } | Op::View {} | Op::Scatter { .. } | Op::Dispatch { .. } | Op::If { .. } | Op::Loop { .. } => vec![],
    };
    programs.iter().flat_map(|p| p.loads()).filter(|(o, _)| op.operands.get(*o as usize) == Some(&v)).all(|(_, index)| {
        index.len() >= depth
            && index.iter().zip(axes).take(depth).all(|(i, (s, e))| match i {
                Index::Dim(d) => d.as_sym() == Some(s) || (e.is(1) && d.is(0)),
                Index::Value(_) => false,
            })
    })
}

/// Does the op at `from` need, directly or not, something that `members` compute?
fn depends_on(w: &Work, def: &[Option<usize>], from: usize, members: &[usize]) -> bool {
    let first = members.first().copied().unwrap_or(0);
    let mut open = vec![from];
    let mut seen = std::collections::BTreeSet::new();
    while let Some(k) = open.pop() {
        if members.contains(&k) {
            return true;
        }
        // What stands before the group cannot depend on it.
        if k < first || !seen.insert(k) {
            continue;
        }
        if let Some(op) = &w.ops[k] {
            open.extend(op.operands.iter().filter_map(|v| def[v.index()]));
        }
    }
    false
}

impl Work {
    /// Would moving the group to position `k` pass an op that reads its results?
    fn users_between(&self, members: &[usize], k: usize) -> bool {
        members
            .iter()
            .filter_map(|m| self.ops[*m].as_ref())
            .flat_map(|o| &o.results)
            .any(|r| self.users[r.index()].iter().any(|u| *u != OUTPUT && *u < k && !members.contains(u)))
    }
}
