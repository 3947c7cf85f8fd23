//! A module of one level: the symbols its sizes speak of, constants by reference, functions; printed and parsed as text.

use super::dim::{Dim, Sym};
use super::dtype::{DType, Scalar};
use super::func::Func;
use super::in_range::InRange;
use super::ops::Level;
use super::ranges::Ranges;
use bytes::Bytes;
use std::collections::BTreeMap;

/// Where a symbol's value comes from at run time.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Origin {
    pub input: String,
    pub axis: usize,
}

/// Facts of a dim symbol.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Symbol {
    pub lo: i64,
    pub hi: Option<i64>,
    pub multiple_of: i64,
    pub origin: Option<Origin>,
    /// The bound of a size that data decides, which may speak of other symbols: see `counts`.
    pub most: Option<Dim>,
}

impl Default for Symbol {
    fn default() -> Self {
        Symbol { lo: 1, hi: None, multiple_of: 1, origin: None, most: None }
    }
}

/// Handle of a constant in its module.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct ConstId(pub u32);

/// A constant tensor: little-endian row-major bytes, usually a slice of the mapped model file.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Const {
    pub dtype: DType,
    pub shape: Vec<i64>,
    pub bytes: Bytes,
}

impl Const {
    /// `None` if the byte count does not fit the shape.
    pub fn new(dtype: DType, shape: Vec<i64>, bytes: Bytes) -> Option<Const> {
        let n = element_count(&shape)?;
        (n.checked_mul(dtype.size())? == bytes.len()).then_some(Const { dtype, shape, bytes })
    }
    pub fn from_scalars(dtype: DType, shape: &[i64], data: impl IntoIterator<Item = Scalar>) -> Const {
        let mut out = vec![];
        data.into_iter().for_each(|s| s.write(dtype, &mut out));
        Const { dtype, shape: shape.to_vec(), bytes: out.into() }
    }
    pub fn elements(&self) -> usize {
        self.bytes.len() / self.dtype.size()
    }
    pub fn get(&self, k: usize) -> Option<Scalar> {
        let size = self.dtype.size();
        Scalar::read(self.dtype, self.bytes.get(k.checked_mul(size)?..)?)
    }
    pub fn scalars(&self) -> impl Iterator<Item = Scalar> + '_ {
        self.bytes.chunks_exact(self.dtype.size()).filter_map(|b| Scalar::read(self.dtype, b))
    }
    /// The one value that every element has, if there is one and at least one element.
    pub fn splat(&self) -> Option<Scalar> {
        let first = self.get(0)?;
        let size = self.dtype.size();
        let head = self.bytes.get(..size)?;
        self.bytes.chunks_exact(size).all(|c| c == head).then_some(first)
    }
    pub fn hash(&self) -> [u8; 32] {
        *blake3::hash(&self.bytes).as_bytes()
    }
    pub fn tensor_type(&self) -> super::types::TensorType {
        super::types::TensorType::of(self.dtype, &self.shape)
    }
}

/// Elements of a static shape; `None` for negative sizes and overflow.
pub fn element_count(shape: &[i64]) -> Option<usize> {
    shape.iter().try_fold(1usize, |n, &d| n.checked_mul(usize::try_from(d).ok()?))
}

#[derive(Clone, PartialEq, Debug)]
pub struct Module<L: Level> {
    pub name: String,
    /// What elements of type `str` stand for, by number; the first one is empty. Empty in modules without strings and behind the graph level.
    pub strings: Vec<String>,
    pub symbols: BTreeMap<Sym, Symbol>,
    /// What the values of the first function's parameters must be.
    pub in_range: Vec<InRange>,
    pub consts: Vec<Const>,
    pub funcs: Vec<Func<L>>,
}

impl<L: Level> Module<L> {
    pub fn new(name: &str) -> Self {
        Module { name: name.into(), strings: vec![], symbols: BTreeMap::new(), in_range: vec![], consts: vec![], funcs: vec![] }
    }
    pub fn add_const(&mut self, c: Const) -> ConstId {
        self.consts.push(c);
        ConstId(u32::try_from(self.consts.len() - 1).unwrap_or(u32::MAX))
    }
    pub fn constant(&self, id: ConstId) -> Option<&Const> {
        self.consts.get(id.0 as usize)
    }
    /// The first function: what the model computes.
    pub fn main(&self) -> Option<&Func<L>> {
        self.funcs.first()
    }
    /// The same symbols, checks and constants, no functions and no strings: what lowering starts from.
    pub fn next_level<M: Level>(&self) -> Module<M> {
        Module {
            name: self.name.clone(),
            strings: vec![],
            symbols: self.symbols.clone(),
            in_range: self.in_range.clone(),
            consts: self.consts.clone(),
            funcs: vec![],
        }
    }
    pub fn ranges(&self) -> Ranges {
        symbol_ranges(&self.symbols)
    }
}

pub fn symbol_ranges(symbols: &BTreeMap<Sym, Symbol>) -> Ranges {
    let mut r = Ranges::new();
    for (s, f) in symbols {
        r.set(s.clone(), f.lo, f.most.clone().or_else(|| f.hi.map(Dim::from)));
    }
    r
}

impl super::attr::Attr for ConstId {
    fn print(&self, out: &mut String) {
        use std::fmt::Write;
        let _ = write!(out, "#{}", self.0);
    }
    fn parse(p: &mut super::text::Parser<'_>) -> Result<Self, super::text::ParseError> {
        p.expect("#")?;
        let v = p.int()?;
        u32::try_from(v).map(ConstId).map_err(|_| p.error("constant number out of range"))
    }
}
