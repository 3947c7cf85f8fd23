//! Arrays of vectors are indexed by vectors, loop IR counts scalars: rewrites the offsets of such accesses, dividing where the offset is
//! defined, so that `4 * j` becomes `j` and a row's offset is divided once, outside the loop over the row.

use odc_ir::core::{Binary, Scalar, Value};
use odc_ir::loops::{Block, Func, LoopType, Op, Operation};
use std::collections::{BTreeMap, BTreeSet};

/// How far a chain of sums is followed.
const DEPTH: u32 = 16;

/// The kernel with the offsets into the arrays of `lanes` divided by their number of lanes. Every such offset is a multiple of it.
pub fn divide_offsets(f: &Func, lanes: &BTreeMap<Value, u32>) -> Func {
    let mut out = f.clone();
    let mut defs = vec![None; f.types.len()];
    f.body.visit_ops(&mut |op| {
        if let (Op::Const { .. } | Op::Binary { .. }, Some(slot)) = (&op.op, op.result().and_then(|r| defs.get_mut(r.index()))) {
            *slot = Some((op.op.clone(), op.operands.clone()));
        }
    });
    let mut d = Divide { lanes, defs, wanted: BTreeSet::new(), done: BTreeMap::new(), types: std::mem::take(&mut out.types) };
    f.body.visit_ops(&mut |op| {
        if let Some((at, n)) = d.access(op) {
            d.want(at, n, DEPTH);
        }
    });
    out.body = d.block(&f.body);
    out.types = d.types;
    out.remove_dead();
    out
}

/// How the quotient of a value is computed.
enum Plan {
    Const(i64),
    Same(Value),
    /// The quotient of the first times the second.
    Product(Value, Value),
    /// The value times a number.
    Times(Value, i64),
    Sum(Binary, Value, Value),
    Shift,
}

struct Divide<'a> {
    lanes: &'a BTreeMap<Value, u32>,
    defs: Vec<Option<(Op, Vec<Value>)>>,
    wanted: BTreeSet<(Value, u32)>,
    done: BTreeMap<(Value, u32), Value>,
    types: Vec<LoopType>,
}

impl Divide<'_> {
    /// The offset of an access to an array of vectors.
    fn access(&self, op: &Operation) -> Option<(Value, u32)> {
        match (&op.op, op.operands.as_slice()) {
            (Op::Load {} | Op::Store {}, [p, at, ..]) => Some((*at, *self.lanes.get(p)?)),
            _ => None,
        }
    }

    fn constant(&self, v: Value) -> Option<i64> {
        match self.defs.get(v.index())? {
            Some((Op::Const { value: Scalar::Int(x) }, _)) => Some(*x),
            _ => None,
        }
    }

    fn binary(&self, v: Value) -> Option<(Binary, Value, Value)> {
        match self.defs.get(v.index())? {
            Some((Op::Binary { f }, x)) => Some((*f, *x.first()?, *x.get(1)?)),
            _ => None,
        }
    }

    /// Is `v` a multiple of `n`, plainly?
    fn divisible(&self, v: Value, n: u32, depth: u32) -> bool {
        if let Some(c) = self.constant(v) {
            return c % i64::from(n) == 0;
        }
        let Some(depth) = depth.checked_sub(1) else { return false };
        match self.binary(v) {
            Some((Binary::Mul, a, b)) => self.divisible(a, n, depth) || self.divisible(b, n, depth),
            Some((Binary::Add | Binary::Sub, a, b)) => self.divisible(a, n, depth) && self.divisible(b, n, depth),
            _ => false,
        }
    }

    /// `v` is a multiple of `n`, so of two terms either both are or none.
    fn plan(&self, v: Value, n: u32, depth: u32) -> Plan {
        if let Some(c) = self.constant(v) {
            return Plan::Const(c / i64::from(n));
        }
        let Some((f, a, b)) = self.binary(v).filter(|_| depth > 0) else { return Plan::Shift };
        let plain = |x| self.divisible(x, n, depth);
        match f {
            Binary::Mul => match (self.constant(a), self.constant(b)) {
                (_, Some(c)) if plain(b) && c == i64::from(n) => Plan::Same(a),
                (Some(c), _) if plain(a) && c == i64::from(n) => Plan::Same(b),
                (_, Some(c)) if plain(b) => Plan::Times(a, c / i64::from(n)),
                (Some(c), _) if plain(a) => Plan::Times(b, c / i64::from(n)),
                _ if plain(a) => Plan::Product(a, b),
                _ if plain(b) => Plan::Product(b, a),
                _ => Plan::Shift,
            },
            Binary::Add | Binary::Sub if plain(a) || plain(b) => Plan::Sum(f, a, b),
            _ => Plan::Shift,
        }
    }

    fn want(&mut self, v: Value, n: u32, depth: u32) {
        // What lies too deep is not wanted, and the sum above it is shifted as a whole.
        let Some(depth) = depth.checked_sub(1) else { return };
        if !self.wanted.insert((v, n)) {
            return;
        }
        match self.plan(v, n, DEPTH) {
            Plan::Product(a, _) => self.want(a, n, depth),
            Plan::Sum(_, a, b) => {
                self.want(a, n, depth);
                self.want(b, n, depth);
            }
            Plan::Const(_) | Plan::Same(_) | Plan::Times(..) | Plan::Shift => {}
        }
    }

    fn op(&mut self, ops: &mut Vec<Operation>, op: Op, operands: Vec<Value>) -> Value {
        let v = Value(u32::try_from(self.types.len()).unwrap_or(u32::MAX));
        self.types.push(LoopType::Index);
        ops.push(Operation { op, operands, results: vec![v], regions: vec![], loc: Default::default() });
        v
    }

    fn int(&mut self, ops: &mut Vec<Operation>, x: i64) -> Value {
        self.op(ops, Op::Const { value: Scalar::Int(x) }, vec![])
    }

    /// Computes the wanted quotients of a value that has just been defined.
    fn divide(&mut self, v: Value, ops: &mut Vec<Operation>) {
        for n in [2, 4] {
            if !self.wanted.contains(&(v, n)) {
                continue;
            }
            let quotient = |d: &Self, x: Value| d.done.get(&(x, n)).copied();
            let shift = |d: &mut Self, ops: &mut Vec<Operation>| {
                let by = d.int(ops, i64::from(n.trailing_zeros()));
                d.op(ops, Op::Binary { f: Binary::Shr }, vec![v, by])
            };
            let q = match self.plan(v, n, DEPTH) {
                Plan::Const(c) => self.int(ops, c),
                Plan::Same(a) => a,
                Plan::Times(a, c) => {
                    let c = self.int(ops, c);
                    self.op(ops, Op::Binary { f: Binary::Mul }, vec![a, c])
                }
                Plan::Product(a, b) => match quotient(self, a) {
                    Some(a) => self.op(ops, Op::Binary { f: Binary::Mul }, vec![a, b]),
                    None => shift(self, ops),
                },
                Plan::Sum(f, a, b) => match (quotient(self, a), quotient(self, b)) {
                    (Some(a), Some(b)) => self.op(ops, Op::Binary { f }, vec![a, b]),
                    _ => shift(self, ops),
                },
                Plan::Shift => shift(self, ops),
            };
            self.done.insert((v, n), q);
        }
    }

    fn block(&mut self, b: &Block) -> Block {
        let mut ops = vec![];
        b.args.iter().for_each(|v| self.divide(*v, &mut ops));
        for op in &b.ops {
            let mut new = op.clone();
            if let Some(key) = self.access(op)
                && let (Some(q), Some(at)) = (self.done.get(&key), new.operands.get_mut(1))
            {
                *at = *q;
            }
            new.regions = op.regions.iter().map(|r| self.block(r)).collect();
            ops.push(new);
            op.results.iter().for_each(|v| self.divide(*v, &mut ops));
        }
        Block { args: b.args.clone(), ops, yields: b.yields.clone() }
    }
}
