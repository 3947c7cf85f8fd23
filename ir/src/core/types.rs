//! The types of values: tensors above, scalars, vectors and memory below. Each level names its own through [`Type`].

use super::dim::Dim;
use super::dtype::DType;
use super::text::{ParseError, Parser};
use std::fmt::{self, Debug, Display};

/// What a level's values can be.
pub trait Type: Clone + PartialEq + Eq + Debug + Display {
    fn parse(p: &mut Parser<'_>) -> Result<Self, ParseError>;
    /// Is there a poisoned (overflowed) size in it?
    fn is_poison(&self) -> bool;
}

/// Dense row-major tensor: element type and one dim an axis.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct TensorType {
    pub dtype: DType,
    pub shape: Vec<Dim>,
}

impl TensorType {
    pub fn new(dtype: DType, shape: impl Into<Vec<Dim>>) -> Self {
        TensorType { dtype, shape: shape.into() }
    }
    pub fn of(dtype: DType, shape: &[i64]) -> Self {
        TensorType { dtype, shape: shape.iter().map(|&d| Dim::from(d)).collect() }
    }
    pub fn scalar(dtype: DType) -> Self {
        TensorType { dtype, shape: vec![] }
    }
    pub fn rank(&self) -> usize {
        self.shape.len()
    }
    pub fn elements(&self) -> Dim {
        Dim::product(&self.shape)
    }
    pub fn bytes(&self) -> Dim {
        self.elements() * self.dtype.size() as i64
    }
    /// All sizes as numbers, if they are.
    pub fn static_shape(&self) -> Option<Vec<i64>> {
        self.shape.iter().map(Dim::as_const).collect()
    }
    /// Elements between neighbours along each axis, row-major.
    pub fn strides(&self) -> Vec<Dim> {
        let mut s = vec![Dim::ONE; self.rank()];
        for k in (0..self.rank().saturating_sub(1)).rev() {
            s[k] = &s[k + 1] * &self.shape[k + 1];
        }
        s
    }
}

impl Display for TensorType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}[", self.dtype)?;
        for (k, d) in self.shape.iter().enumerate() {
            write!(f, "{}{d}", if k > 0 { ", " } else { "" })?;
        }
        f.write_str("]")
    }
}

impl Type for TensorType {
    fn parse(p: &mut Parser<'_>) -> Result<Self, ParseError> {
        let dtype = p.dtype()?;
        let shape = p.list('[', ']', Parser::dim)?;
        Ok(TensorType { dtype, shape })
    }
    fn is_poison(&self) -> bool {
        self.bytes().is_poison() || self.shape.iter().any(Dim::is_poison)
    }
}
