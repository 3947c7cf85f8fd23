//! Tensor ops as e-nodes: an interned op over e-classes of its operands. Equal ops over equal operands are one node, so that a
//! program is composed once however many ways lead to it.

use egg::{Analysis, DidMerge, EGraph, Id, Language};
use odc_ir::core::{Loc, TensorType, Value};
use odc_ir::tensor::Op;
use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};

/// Number of an op, or of a value that nothing here defines, in [`Ops`].
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(super) enum What {
    Leaf(Value),
    Op(u32),
}

/// `what` of `children`. Where it comes from is not part of what it is.
#[derive(Clone, Debug)]
pub(super) struct Node {
    pub what: What,
    pub ty: u32,
    pub children: Vec<Id>,
    pub loc: u32,
}

impl Node {
    fn key(&self) -> (What, u32, &[Id]) {
        (self.what, self.ty, &self.children)
    }
}
impl PartialEq for Node {
    fn eq(&self, other: &Node) -> bool {
        self.key() == other.key()
    }
}
impl Eq for Node {}
impl PartialOrd for Node {
    fn partial_cmp(&self, other: &Node) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Node {
    fn cmp(&self, other: &Node) -> std::cmp::Ordering {
        self.key().cmp(&other.key())
    }
}
impl Hash for Node {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.key().hash(state);
    }
}

impl Language for Node {
    type Discriminant = (What, u32);
    fn discriminant(&self) -> Self::Discriminant {
        (self.what, self.ty)
    }
    fn matches(&self, other: &Self) -> bool {
        self.discriminant() == other.discriminant() && self.children.len() == other.children.len()
    }
    fn children(&self) -> &[Id] {
        &self.children
    }
    fn children_mut(&mut self) -> &mut [Id] {
        &mut self.children
    }
}

/// What all nodes of a class share.
#[derive(Clone, Copy, Debug)]
pub(super) struct Class {
    pub ty: u32,
    /// Position of the first op that defines the value; operands stand before users. `usize::MAX` before it is known.
    pub at: usize,
    /// Ops of the function, as it was given, that read the value.
    pub users: usize,
}

pub(super) struct Classes;

impl Analysis<Node> for Classes {
    type Data = Class;
    fn make(_: &mut EGraph<Node, Self>, node: &Node, _: Id) -> Class {
        Class { ty: node.ty, at: usize::MAX, users: 0 }
    }
    fn merge(&mut self, a: &mut Class, b: Class) -> DidMerge {
        let merged = Class { ty: a.ty, at: a.at.min(b.at), users: a.users.max(b.users) };
        let did = DidMerge(merged.at != a.at || merged.users != a.users, merged.at != b.at || merged.users != b.users);
        *a = merged;
        did
    }
}

/// A list in which equal things have one number.
pub(super) struct Interner<T> {
    pub list: Vec<T>,
    of: BTreeMap<u64, Vec<u32>>,
}

impl<T: PartialEq> Interner<T> {
    pub(super) fn new() -> Self {
        Interner { list: vec![], of: BTreeMap::new() }
    }
    pub(super) fn number(&mut self, item: T, hash: u64) -> u32 {
        let same = self.of.entry(hash).or_default();
        if let Some(k) = same.iter().find(|k| self.list.get(**k as usize) == Some(&item)) {
            return *k;
        }
        let k = self.list.len() as u32;
        same.push(k);
        self.list.push(item);
        k
    }
}

/// Everything that nodes name by number.
pub(super) struct Tables {
    pub ops: Interner<Op>,
    pub types: Interner<TensorType>,
    pub locs: Vec<Loc>,
}

impl Tables {
    pub(super) fn new() -> Self {
        Tables { ops: Interner::new(), types: Interner::new(), locs: vec![] }
    }
    pub(super) fn op_of(&self, what: What) -> Option<&Op> {
        match what {
            What::Op(k) => self.ops.list.get(k as usize),
            What::Leaf(_) => None,
        }
    }
    /// May it become part of another op, or another of it?
    pub(super) fn fuses(&self, what: What) -> bool {
        matches!(self.op_of(what), Some(Op::Map { .. } | Op::Reduce { .. } | Op::View {}))
    }
    pub(super) fn op(&mut self, op: Op) -> What {
        let mut h = DefaultHasher::new();
        match &op {
            Op::Map { axes, store, body } => (0, axes, store, body).hash(&mut h),
            Op::Reduce { axes, raxes, store, body, epilogue, .. } => (1, axes, raxes, store, body, epilogue).hash(&mut h),
            Op::Scatter { axes, index, update } => (2, axes, index, update).hash(&mut h),
            Op::Constant { value } => (3, value.0).hash(&mut h),
            Op::View {} => 4.hash(&mut h),
            Op::Dispatch { .. } | Op::If { .. } | Op::Loop { .. } => 5.hash(&mut h),
        }
        What::Op(self.ops.number(op, h.finish()))
    }
    pub(super) fn ty(&mut self, ty: TensorType) -> u32 {
        let mut h = DefaultHasher::new();
        ty.hash(&mut h);
        self.types.number(ty, h.finish())
    }
    pub(super) fn loc(&mut self, loc: Loc) -> u32 {
        self.locs.push(loc);
        self.locs.len() as u32 - 1
    }
}
