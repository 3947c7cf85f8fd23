//! Functions of any level: an arena of values, and a tree of blocks that hold operations in order. A block ends by yielding
//! values; control flow is regions. Passes rebuild functions forward rather than patch use lists.

use super::counts::size_of_result;
use super::dim::Dim;
use super::ops::{Effect, Level, OpSet};
use std::fmt;
use std::sync::Arc;

/// Handle of an SSA value in its function.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Value(pub u32);

impl Value {
    pub fn index(self) -> usize {
        self.0 as usize
    }
}
impl fmt::Debug for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "%{}", self.0)
    }
}
impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "%{}", self.0)
    }
}

/// Where an op comes from: names of ONNX nodes, first to last, without repeats.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Loc(pub Vec<Arc<str>>);

impl Loc {
    pub fn none() -> Self {
        Loc(vec![])
    }
    pub fn new(name: &str) -> Self {
        Loc(vec![name.into()])
    }
    /// All names of both, in order: the location of a fused op.
    pub fn fuse(&self, other: &Loc) -> Loc {
        let mut names = self.0.clone();
        for n in &other.0 {
            if !names.contains(n) {
                names.push(n.clone());
            }
        }
        Loc(names)
    }
}
impl fmt::Display for Loc {
    /// The names as a person reads them: `/encoder/q/MatMul + /encoder/q/Add`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return f.write_str("(unnamed)");
        }
        for (k, n) in self.0.iter().enumerate() {
            write!(f, "{}{n}", if k > 0 { " + " } else { "" })?;
        }
        Ok(())
    }
}

#[derive(Clone, PartialEq, Debug)]
pub struct Operation<L: Level> {
    pub op: L::Op,
    pub operands: Vec<Value>,
    pub results: Vec<Value>,
    pub regions: Vec<Block<L>>,
    pub loc: Loc,
}

impl<L: Level> Operation<L> {
    /// The single result of an op that has one.
    pub fn result(&self) -> Option<Value> {
        match self.results.as_slice() {
            [v] => Some(*v),
            _ => None,
        }
    }
    /// Pure, with every op in its regions pure.
    pub fn is_pure(&self) -> bool {
        match self.op.info().effect {
            Effect::Pure | Effect::Read => true,
            Effect::Write => false,
            Effect::Control => self.regions.iter().all(|r| r.ops.iter().all(Operation::is_pure)),
        }
    }
}

/// Arguments, operations in order, and the values it yields (a function's results).
#[derive(Clone, PartialEq, Debug)]
pub struct Block<L: Level> {
    pub args: Vec<Value>,
    pub ops: Vec<Operation<L>>,
    pub yields: Vec<Value>,
}

impl<L: Level> Default for Block<L> {
    fn default() -> Self {
        Block { args: vec![], ops: vec![], yields: vec![] }
    }
}

impl<L: Level> Block<L> {
    /// Calls `f` for every value used in here, nested blocks included.
    pub fn visit_uses(&self, f: &mut dyn FnMut(Value)) {
        for op in &self.ops {
            op.operands.iter().for_each(|v| f(*v));
            op.regions.iter().for_each(|r| r.visit_uses(f));
        }
        self.yields.iter().for_each(|v| f(*v));
    }
    /// Calls `f` for every operation in here, outer before inner.
    pub fn visit_ops<'a>(&'a self, f: &mut dyn FnMut(&'a Operation<L>)) {
        for op in &self.ops {
            f(op);
            op.regions.iter().for_each(|r| r.visit_ops(f));
        }
    }
    fn for_each_value(&mut self, f: &mut dyn FnMut(&mut Value)) {
        self.args.iter_mut().for_each(&mut *f);
        for op in &mut self.ops {
            op.operands.iter_mut().for_each(&mut *f);
            op.results.iter_mut().for_each(&mut *f);
            op.regions.iter_mut().for_each(|r| r.for_each_value(f));
        }
        self.yields.iter_mut().for_each(&mut *f);
    }
}

/// A function: named parameters (the body's arguments), named results (the body's yields).
#[derive(Clone, PartialEq, Debug)]
pub struct Func<L: Level> {
    pub name: String,
    pub param_names: Vec<String>,
    pub result_names: Vec<String>,
    pub types: Vec<L::Type>,
    pub body: Block<L>,
}

impl<L: Level> Func<L> {
    pub fn new(name: &str) -> Self {
        Func { name: name.into(), param_names: vec![], result_names: vec![], types: vec![], body: Block::default() }
    }
    /// A fresh value of type `ty`.
    pub fn value(&mut self, ty: L::Type) -> Value {
        self.types.push(ty);
        Value(u32::try_from(self.types.len() - 1).unwrap_or(u32::MAX))
    }
    pub fn param(&mut self, name: &str, ty: L::Type) -> Value {
        let v = self.value(ty);
        self.body.args.push(v);
        self.param_names.push(name.into());
        v
    }
    pub fn ty(&self, v: Value) -> &L::Type {
        &self.types[v.index()]
    }
    /// The results that are outputs of the model.
    pub fn outputs(&self) -> impl Iterator<Item = (&String, Value)> {
        self.result_names.iter().zip(self.body.yields.iter().copied()).filter(|(name, _)| size_of_result(name).is_none())
    }
    /// The results that are values of sizes, with these.
    pub fn sizes(&self) -> impl Iterator<Item = (Value, Dim)> {
        self.result_names.iter().zip(&self.body.yields).filter_map(|(name, v)| Some((*v, size_of_result(name)?)))
    }
    /// How often each value is used, by value index.
    pub fn use_counts(&self) -> Vec<u32> {
        let mut n = vec![0u32; self.types.len()];
        self.body.visit_uses(&mut |v| n[v.index()] += 1);
        n
    }

    /// Removes pure operations whose results nobody uses, nested blocks included.
    pub fn remove_dead(&mut self) {
        let mut uses = self.use_counts();
        sweep(&mut self.body, &mut uses);
    }

    /// Numbers values in order of appearance and drops the types of those that are gone.
    pub fn renumber(&mut self) {
        let mut new = vec![None; self.types.len()];
        let mut types = vec![];
        let old = std::mem::take(&mut self.types);
        self.body.for_each_value(&mut |v| {
            let k = *new[v.index()].get_or_insert_with(|| {
                types.push(old[v.index()].clone());
                Value(types.len() as u32 - 1)
            });
            *v = k;
        });
        self.types = types;
    }
}

fn sweep<L: Level>(block: &mut Block<L>, uses: &mut [u32]) {
    for k in (0..block.ops.len()).rev() {
        let op = &mut block.ops[k];
        if op.is_pure() && op.results.iter().all(|r| uses[r.index()] == 0) {
            op.operands.iter().for_each(|v| uses[v.index()] -= 1);
            op.regions.iter().for_each(|r| r.visit_uses(&mut |v| uses[v.index()] -= 1));
            block.ops.remove(k);
        } else {
            op.regions.iter_mut().for_each(|r| sweep(r, uses));
        }
    }
}

/// Appends operations to a block of a function under construction.
pub struct Builder<'f, L: Level> {
    pub func: &'f mut Func<L>,
    pub block: Block<L>,
    pub loc: Loc,
}

impl<'f, L: Level> Builder<'f, L> {
    pub fn new(func: &'f mut Func<L>) -> Self {
        let block = std::mem::take(&mut func.body);
        Builder { func, block, loc: Loc::none() }
    }
    pub fn op(&mut self, op: L::Op, operands: &[Value], types: &[L::Type]) -> Vec<Value> {
        self.region_op(op, operands, types, vec![])
    }
    /// An op with one result.
    pub fn op1(&mut self, op: L::Op, operands: &[Value], ty: L::Type) -> Value {
        let v = self.func.value(ty);
        self.push(op, operands.to_vec(), vec![v], vec![]);
        v
    }
    pub fn region_op(&mut self, op: L::Op, operands: &[Value], types: &[L::Type], regions: Vec<Block<L>>) -> Vec<Value> {
        let results: Vec<_> = types.iter().map(|t| self.func.value(t.clone())).collect();
        self.push(op, operands.to_vec(), results.clone(), regions);
        results
    }
    fn push(&mut self, op: L::Op, operands: Vec<Value>, results: Vec<Value>, regions: Vec<Block<L>>) {
        self.block.ops.push(Operation { op, operands, results, regions, loc: self.loc.clone() });
    }
    pub fn ty(&self, v: Value) -> &L::Type {
        self.func.ty(v)
    }
    /// Builds a nested block: its arguments get `types`, `f` fills it and returns what it yields.
    pub fn block(&mut self, types: &[L::Type], f: impl FnOnce(&mut Self, &[Value]) -> Vec<Value>) -> Block<L> {
        let args: Vec<_> = types.iter().map(|t| self.func.value(t.clone())).collect();
        let outer = std::mem::take(&mut self.block);
        self.block.args = args.clone();
        let yields = f(self, &args);
        let mut inner = std::mem::replace(&mut self.block, outer);
        inner.yields = yields;
        inner
    }
    /// Ends the function: its results and their names.
    pub fn finish(self, results: &[(String, Value)]) {
        let mut block = self.block;
        block.yields = results.iter().map(|(_, v)| *v).collect();
        self.func.result_names = results.iter().map(|(n, _)| n.clone()).collect();
        self.func.body = block;
    }
}
