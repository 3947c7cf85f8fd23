//! Rules: an op and one that makes an operand of it become one op, in four ways. Each gives a node that computes the same value, so
//! nothing is lost by applying one: what is best is decided afterwards, over all of them.

use super::lang::{Classes, Node, Tables, What};
use crate::fuse::{Types, evaluated_at, is_contraction, is_view, read_once, scaled, stored_as, substitutable, through_view, with_epilogue};
use egg::{EGraph, Id};
use odc_ir::core::{Loc, Ranges, TensorType, Value};
use odc_ir::tensor::{Expr, Index, Op, Operation, Program};
use std::collections::BTreeMap;

macro_rules! groups {
    ($($(#[doc = $doc:literal])* $v:ident $name:literal,)*) => {
        /// Rules that are switched on and off together.
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
        pub enum Group { $($(#[doc = $doc])* $v),* }
        impl Group {
            pub const ALL: &'static [Group] = &[$(Group::$v),*];
            pub const fn name(self) -> &'static str { match self { $(Group::$v => $name),* } }
        }
    };
}
groups! {
    /// A view of what an op makes becomes its store, and what reads a view reads what that is a view of.
    Views "views",
    /// A map of each element of a result is done before that is stored.
    Epilogue "epilogue",
    /// A map that only moves elements, or computes little, is evaluated where it is read.
    Prologue "prologue",
    /// The same for maps that several ops read: each evaluates it again.
    Recompute "recompute",
    /// Products of one tensor with several weights are one product, as in [`merge`](crate::merge): before lowering, over the whole graph.
    Merge "merge",
    /// Products of a block of rows, the stages over each and the products of what they give are one kernel, as in
    /// [`fuse`](crate::fuse): a choice over whole dispatches, made after extraction.
    Attention "attention",
    /// A product and the product that reads it in its epilogue are one kernel, as in [`fuse`](crate::fuse), likewise.
    Gate "gate",
    /// Maps that do not depend on each other are one dispatch, as in [`beside`](crate::beside): when all dispatches are formed.
    Beside "beside",
}

/// No program grows past these: compile time is near linear in nodes.
const MOST_OPERANDS: usize = 16;
const MOST_EXPRESSIONS: usize = 96;
/// Exponentials and their like that may be evaluated again for another reader.
const MOST_HEAVY: usize = 2;

/// E-classes as values, so that the functions of `fuse` serve.
pub(super) fn value(id: Id) -> Value {
    Value(u32::try_from(usize::from(id)).unwrap_or(u32::MAX))
}

pub(super) fn class(v: Value) -> Id {
    Id::from(v.index())
}

/// A user and what makes one of its operands, with classes numbered as they appear, the operand between them first: layers of a model
/// look alike so.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Pair {
    user: (What, u32),
    maker: What,
    user_reads: Vec<u32>,
    maker_reads: Vec<u32>,
    /// Of the numbered classes.
    types: Vec<u32>,
    /// Do several ops read what the maker makes?
    shared: bool,
}

/// An op over numbered classes.
type Made = (Group, What, Vec<u32>);

pub(super) struct Rules<'a> {
    pub ranges: &'a Ranges,
    pub groups: &'a [Group],
    /// How often each group made a node.
    pub fired: BTreeMap<Group, usize>,
    known: BTreeMap<Pair, Vec<Made>>,
}

impl<'a> Rules<'a> {
    pub(super) fn new(ranges: &'a Ranges, groups: &'a [Group]) -> Self {
        Rules { ranges, groups, fired: BTreeMap::new(), known: BTreeMap::new() }
    }

    fn on(&self, g: Group) -> bool {
        self.groups.contains(&g)
    }

    /// Nodes that compute what `user` does, with `maker`, a node of its operand's class `of`, in it.
    pub(super) fn apply(&mut self, g: &EGraph<Node, Classes>, t: &mut Tables, user: &Node, of: Id, maker: &Node) -> Vec<Node> {
        if !t.fuses(user.what) || !t.fuses(maker.what) {
            return vec![];
        }
        let mut classes = vec![of];
        let mut numbers = |ids: &[Id]| -> Vec<u32> {
            let mut number = |id: &Id| match classes.iter().position(|c| c == id) {
                Some(k) => k as u32,
                None => {
                    classes.push(*id);
                    classes.len() as u32 - 1
                }
            };
            ids.iter().map(&mut number).collect()
        };
        let (user_reads, maker_reads) = (numbers(&user.children), numbers(&maker.children));
        let types = classes.iter().map(|c| g[*c].data.ty).collect();
        let shared = g[of].data.users > 1;
        let pair = Pair { user: (user.what, user.ty), maker: maker.what, user_reads, maker_reads, types, shared };
        let made = match self.known.get(&pair) {
            Some(made) => made.clone(),
            None => {
                let made = self.derive(t, &pair);
                self.known.insert(pair, made.clone());
                made
            }
        };
        let loc = |n: &Node| t.locs.get(n.loc as usize).cloned().unwrap_or_else(Loc::none);
        let loc = if made.is_empty() { 0 } else { t.loc(loc(maker).fuse(&loc(user))) };
        let mut nodes = vec![];
        for (group, what, reads) in made {
            *self.fired.entry(group).or_default() += 1;
            let children = reads.iter().filter_map(|k| classes.get(*k as usize).copied()).collect();
            nodes.push(Node { what, ty: user.ty, children, loc });
        }
        nodes
    }

    fn derive(&self, t: &mut Tables, pair: &Pair) -> Vec<Made> {
        let op = |what: What, reads: &[u32], results: Vec<Value>| {
            let operands = reads.iter().map(|k| Value(*k)).collect();
            Some(Operation { op: t.op_of(what)?.clone(), operands, results, regions: vec![], loc: Loc::none() })
        };
        let v = Value(0);
        let Some((u, m)) = op(pair.user.0, &pair.user_reads, vec![]).zip(op(pair.maker, &pair.maker_reads, vec![v])) else {
            return vec![];
        };
        let ty = |k: u32| pair.types.get(k as usize).and_then(|ty| t.types.list.get(*ty as usize));
        let types = |v: Value| ty(v.0).cloned();
        let (Some(inner), Some(outer)) = (ty(0), t.types.list.get(pair.user.1 as usize)) else { return vec![] };
        let repeat = may_repeat(&m, pair.shared, self.on(Group::Recompute));
        let mut made: Vec<(Group, Operation)> = vec![];
        match (is_view(&u), is_view(&m)) {
            (true, true) => {}
            (true, false) => {
                let new = (self.on(Group::Views) && repeat).then(|| stored_as(&m.op, &inner.shape, &outer.shape, self.ranges)).flatten();
                made.extend(new.map(|op| (Group::Views, Operation { op, ..m.clone() })));
            }
            (false, true) => {
                let below = m.operands.first().copied().zip(pair.maker_reads.first().and_then(|k| ty(*k)));
                let shapes = below.map(|(_, from)| [from.shape.clone(), inner.shape.clone()]);
                if let Some(((below, _), shapes)) = below.zip(shapes)
                    && self.on(Group::Views)
                    && substitutable(self.ranges, &u, v, &shapes, &types)
                {
                    made.extend(through_view(&u, v, below, &shapes, self.ranges).map(|op| (Group::Views, op)));
                }
            }
            (false, false) => {
                if self.on(Group::Epilogue) && repeat {
                    made.extend(with_epilogue(&m, &u, &inner.shape, self.ranges).ok().map(|op| (Group::Epilogue, op)));
                }
                made.extend(self.evaluate((&u, &m), v, inner, pair.shared, &types));
            }
        }
        let fits = |op: &Operation| op.operands.len() <= MOST_OPERANDS && expressions(&op.op) <= MOST_EXPRESSIONS;
        let numbered = |op: &Operation| op.operands.iter().map(|v| v.0).collect();
        made.into_iter().filter(|(_, op)| fits(op)).map(|(g, op)| (g, t.op(op.op.clone()), numbered(&op))).collect()
    }

    fn evaluate(
        &self,
        (u, m): (&Operation, &Operation),
        v: Value,
        inner: &TensorType,
        shared: bool,
        types: Types<'_>,
    ) -> Option<(Group, Operation)> {
        let Op::Map { body, .. } = &m.op else { return None };
        let moves = is_movement(body);
        let group = if shared && !moves { Group::Recompute } else { Group::Prologue };
        // The factors of a sum of products must stay loads for the register tiles to see them.
        let bare = moves || !is_contraction(&u.op) || (scaled(body) && read_once(u, v));
        let shapes = [inner.shape.clone()];
        let may = self.on(group) && bare && may_repeat(m, shared, true) && substitutable(self.ranges, u, v, &shapes, types);
        Some((group, may.then(|| evaluated_at(m, u, v, &shapes, self.ranges)).flatten()?))
    }
}

/// May the op be computed once more for another reader? Never a sum, and no more than a few exponentials.
fn may_repeat(m: &Operation, shared: bool, allowed: bool) -> bool {
    !shared || (allowed && matches!(&m.op, Op::Map { body, .. } if heavy(body) <= MOST_HEAVY))
}

/// A node as an op over classes; none for leaves.
pub(super) fn operation(t: &Tables, n: &Node) -> Option<Operation> {
    let operands = n.children.iter().map(|c| value(*c)).collect();
    let loc = t.locs.get(n.loc as usize).cloned().unwrap_or_else(Loc::none);
    Some(Operation { op: t.op_of(n.what)?.clone(), operands, results: vec![], regions: vec![], loc })
}

fn is_movement(p: &Program) -> bool {
    p.root.is_some_and(|r| match p.get(r) {
        Expr::Load { index, .. } => index.iter().all(|i| matches!(i, Index::Dim(_))),
        Expr::Const(..) => true,
        _ => false,
    })
}

fn heavy(p: &Program) -> usize {
    p.exprs.iter().filter(|e| matches!(e, Expr::Unary(f, _) if f.is_transcendental())).count()
}

fn expressions(op: &Op) -> usize {
    match op {
        Op::Map { body, .. } => body.exprs.len(),
        Op::Reduce { body, epilogue, .. } => body.exprs.len() + epilogue.exprs.len(),
        Op::Constant { .. } | Op::View {} | Op::Scatter { .. } | Op::Dispatch { .. } | Op::If { .. } | Op::Loop { .. } => 0,
    }
}
