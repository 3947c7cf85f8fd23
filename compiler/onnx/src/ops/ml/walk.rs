//! An ensemble of trees as tensor operations: every row walks down every tree at once, one step a level, by looking up tables of
//! nodes. Leaves lead to themselves, so that short branches wait for the deepest one.

use super::post::{int_row, reduce, row, table};
use crate::diag::{Code, Fault};
use crate::import::call::{Call, Got, operand};
use crate::import::value::Val;
use odc_ir::core::{DType, Dim};
use odc_ir::graph::{BinaryFn, Op, ReduceFn, UnaryFn};
use std::collections::BTreeSet;

/// Deeper trees would make too long a program.
const MAX_DEPTH: usize = 512;

/// Of a row's value with the node's: the comparison that leads to `yes`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Test {
    Le,
    Lt,
    Ge,
    Gt,
    Eq,
    Ne,
}

impl Test {
    fn function(self) -> BinaryFn {
        match self {
            Test::Le => BinaryFn::Le,
            Test::Lt => BinaryFn::Lt,
            Test::Ge => BinaryFn::Ge,
            Test::Gt => BinaryFn::Gt,
            Test::Eq => BinaryFn::Eq,
            Test::Ne => BinaryFn::Ne,
        }
    }
}

#[derive(Clone, Debug)]
pub struct Node {
    /// `None` for a leaf.
    pub test: Option<Test>,
    pub feature: i64,
    pub value: f64,
    /// Where a missing value leads: to `yes`?
    pub missing: bool,
    pub yes: usize,
    pub no: usize,
}

impl Node {
    pub fn leaf(at: usize) -> Node {
        Node { test: None, feature: 0, value: 0.0, missing: false, yes: at, no: at }
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Aggregate {
    Sum,
    Average,
    Min,
    Max,
}

impl Aggregate {
    pub const ALL: [(&'static str, Aggregate); 4] =
        [("AVERAGE", Aggregate::Average), ("SUM", Aggregate::Sum), ("MIN", Aggregate::Min), ("MAX", Aggregate::Max)];
}

pub struct Ensemble {
    pub nodes: Vec<Node>,
    pub roots: Vec<usize>,
    /// (node, target, weight)
    pub weights: Vec<(usize, usize, f64)>,
    pub targets: usize,
    pub aggregate: Aggregate,
}

impl Ensemble {
    /// Steps from the roots to the deepest leaf.
    fn depth(&self) -> Got<usize> {
        let mut level: BTreeSet<usize> = self.roots.iter().copied().collect();
        for depth in 0..=MAX_DEPTH {
            let inner: Vec<&Node> = level.iter().filter_map(|k| self.nodes.get(*k)).filter(|n| n.test.is_some()).collect();
            if inner.is_empty() {
                return Ok(depth);
            }
            level = inner.into_iter().flat_map(|n| [n.yes, n.no]).collect();
        }
        Err(Fault::new(Code::Limit, format!("the trees are deeper than {MAX_DEPTH} levels, or their nodes lead in a circle")))
    }

    /// The scores `[rows, targets]` of the rows `x`, computed in the type of `x`.
    pub fn scores(&self, c: &mut Call, x: &Val) -> Got<Val> {
        let count = self.nodes.len();
        if self.roots.is_empty() || self.nodes.iter().any(|n| n.yes >= count || n.no >= count) {
            return Err(operand("the trees have no root, or their nodes lead to nodes that are not there"));
        }
        let width = x.shape().last().and_then(Dim::as_const);
        if let Some(n) = self.nodes.iter().find(|n| n.feature < 0 || width.is_some_and(|w| n.test.is_some() && n.feature >= w)) {
            return Err(operand(format!("a node looks at column {}, but the rows are {}", n.feature, x.ty)));
        }
        let at = self.walk(c, x)?;
        self.gather_weights(c, x.dtype(), &at)
    }

    /// The leaf of each row in each tree.
    fn walk(&self, c: &mut Call, x: &Val) -> Got<Val> {
        let dt = x.dtype();
        let rows = x.shape().first().cloned().unwrap_or(Dim::ONE);
        let shape = vec![rows, Dim::from(self.roots.len() as i64)];
        let features = int_row(self.nodes.iter().map(|n| n.feature));
        let values = row(dt, self.nodes.iter().map(|n| n.value));
        let children = int_row(self.nodes.iter().flat_map(|n| [n.no as i64, n.yes as i64]));
        let tests: BTreeSet<Test> = self.nodes.iter().filter_map(|n| n.test).collect();
        let kinds = int_row(self.nodes.iter().map(|n| n.test.map_or(0, |t| tests.iter().take_while(|u| **u != t).count() as i64)));
        let missing = self.nodes.iter().any(|n| n.missing).then(|| int_row(self.nodes.iter().map(|n| i64::from(n.missing))));
        let look = |c: &mut Call, table: &Val, at: &Val| c.emit(Op::Gather { axis: 0 }, &[table, at], table.dtype(), shape.clone());

        let mut at = c.expand(&int_row(self.roots.iter().map(|r| *r as i64)), shape.clone())?;
        for _ in 0..self.depth()? {
            let feature = look(c, &features, &at)?;
            let v = c.emit(Op::GatherElements { axis: 1 }, &[x, &feature], dt, shape.clone())?;
            let limit = look(c, &values, &at)?;
            let mut yes: Option<Val> = None;
            let kind = if tests.len() > 1 { Some(look(c, &kinds, &at)?) } else { None };
            for (k, t) in tests.iter().enumerate() {
                let this = c.binary(t.function(), &v, &limit)?;
                yes = Some(match (yes, &kind) {
                    (Some(others), Some(kind)) => {
                        let is = c.binary(BinaryFn::Eq, kind, &Val::scalar(DType::I64, k as f64))?;
                        c.emit(Op::Select {}, &[&is, &this, &others], DType::Bool, shape.clone())?
                    }
                    _ => this,
                });
            }
            let Some(mut yes) = yes else { break };
            if let Some(missing) = &missing {
                let nan = c.unary(UnaryFn::IsNan, &v)?;
                let tracks = look(c, missing, &at)?;
                let tracks = c.cast(&tracks, DType::Bool)?;
                let both = c.binary(BinaryFn::And, &nan, &tracks)?;
                yes = c.binary(BinaryFn::Or, &yes, &both)?;
            }
            let twice = c.binary(BinaryFn::Mul, &at, &Val::scalar(DType::I64, 2.0))?;
            let yes = c.cast(&yes, DType::I64)?;
            let next = c.binary(BinaryFn::Add, &twice, &yes)?;
            at = look(c, &children, &next)?;
        }
        Ok(at)
    }

    fn gather_weights(&self, c: &mut Call, dt: DType, at: &Val) -> Got<Val> {
        let fill = match self.aggregate {
            Aggregate::Sum | Aggregate::Average => 0.0,
            Aggregate::Min => f64::INFINITY,
            Aggregate::Max => f64::NEG_INFINITY,
        };
        let size = self.nodes.len().checked_mul(self.targets).filter(|n| *n <= 1 << 28);
        let size = size.ok_or_else(|| Fault::new(Code::Limit, "the table of leaves and targets is too large"))?;
        let mut dense: Vec<Option<f64>> = vec![None; size];
        for (node, target, weight) in &self.weights {
            let slot = Some(node * self.targets + target).filter(|_| *target < self.targets).and_then(|k| dense.get_mut(k));
            let slot = slot.ok_or_else(|| operand(format!("a leaf names target {target} of {}", self.targets)))?;
            *slot = Some(slot.unwrap_or(0.0) + weight);
        }
        let weights = table(dt, &[self.nodes.len(), self.targets], dense.into_iter().map(|w| w.unwrap_or(fill)));
        let mut shape = at.shape().to_vec();
        shape.push(Dim::from(self.targets as i64));
        let w = c.emit(Op::Gather { axis: 0 }, &[&weights, at], dt, shape)?;
        let f = match self.aggregate {
            Aggregate::Sum | Aggregate::Average => ReduceFn::Sum,
            Aggregate::Min => ReduceFn::Min,
            Aggregate::Max => ReduceFn::Max,
        };
        let s = reduce(c, f, &w, 1, false)?;
        match self.aggregate {
            Aggregate::Sum => Ok(s),
            Aggregate::Average => c.binary(BinaryFn::Div, &s, &Val::scalar(dt, self.roots.len() as f64)),
            Aggregate::Min | Aggregate::Max => {
                // A target that no leaf speaks of.
                let none = c.binary(BinaryFn::Eq, &s, &Val::scalar(dt, fill))?;
                c.emit(Op::Select {}, &[&none, &Val::scalar(dt, 0.0), &s], dt, s.shape().to_vec())
            }
        }
    }
}
