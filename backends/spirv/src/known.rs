//! What is known of values while they are written: literals are folded (unrolled loops are full of them), and indices that cannot be
//! negative need no corrections when they are divided.

use crate::Result;
use crate::module::Emit;
use crate::types::Ty;
use odc_ir::core::{Binary, DType, Scalar, Value};
use rspirv::spirv::Word;

/// A value that the kernel has at hand.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Known {
    /// A literal, in every lane; it is declared when it is used as it stands.
    Constant(Scalar),
    Id {
        id: Word,
        /// An integer that is never below zero.
        natural: bool,
    },
}

impl Known {
    pub fn id(id: Word) -> Known {
        Known::Id { id, natural: false }
    }
    pub fn constant(value: Scalar) -> Known {
        Known::Constant(value)
    }
    pub fn int(self) -> Option<i64> {
        match self {
            Known::Constant(Scalar::Int(x)) => Some(x),
            Known::Constant(Scalar::Float(_) | Scalar::Bool(_)) | Known::Id { .. } => None,
        }
    }
    pub fn natural(self) -> bool {
        match self {
            Known::Constant(_) => self.int().is_some_and(|x| x >= 0),
            Known::Id { natural, .. } => natural,
        }
    }
}

impl Emit<'_> {
    pub fn set(&mut self, v: Value, x: Known) {
        if let Some(place) = self.values.get_mut(v.index()) {
            *place = Some(x);
        }
    }
    pub fn get(&self, v: Value) -> Result<Known> {
        match self.values.get(v.index()).copied().flatten() {
            Some(x) => Ok(x),
            None => self.unsupported(format!("{v} as a value"), "pointers are operands of loads and stores only"),
        }
    }
    pub fn ty(&self, v: Value) -> Result<Ty> {
        match self.func.types.get(v.index()) {
            Some(t) => self.held(*t),
            None => self.malformed("a value without a type"),
        }
    }
    /// The id of a value of type `ty`.
    pub fn id(&mut self, x: Known, ty: Ty) -> Result<Word> {
        match x {
            Known::Constant(s) => self.constant(ty, s),
            Known::Id { id, .. } => Ok(id),
        }
    }
    pub fn value(&mut self, v: Value) -> Result<Word> {
        let (x, ty) = (self.get(v)?, self.ty(v)?);
        self.id(x, ty)
    }

    /// Index arithmetic.
    pub fn index(&mut self, f: Binary, a: Known, b: Known) -> Result<Known> {
        if let Some(x) = fold(f, DType::I64, a, b) {
            return self.checked(x);
        }
        if let Some(x) = identity(f, a, b) {
            return Ok(x);
        }
        let id = self.integer(f, Ty::INDEX, a, b)?;
        let block = self.b.selected_block();
        self.indices.made(id, f, [a, b], block);
        Ok(Known::Id { id, natural: natural(f, a, b) })
    }

    /// An index must fit 32 bits here.
    pub fn checked(&self, x: Scalar) -> Result<Known> {
        match x {
            Scalar::Int(k) if i32::try_from(k).is_err() => {
                self.unsupported(format!("the index {k}"), "indices have 32 bits on GPUs: split the tensor")
            }
            Scalar::Int(_) | Scalar::Float(_) | Scalar::Bool(_) => Ok(Known::Constant(x)),
        }
    }
}

/// The literal that two literals give.
pub(crate) fn fold(f: Binary, d: DType, a: Known, b: Known) -> Option<Scalar> {
    match (a, b) {
        (Known::Constant(a), Known::Constant(b)) if !d.is_float() => Some(f.eval(d, a, b)),
        _ => None,
    }
}

/// Operations on integers that change nothing or forget an operand.
fn identity(f: Binary, a: Known, b: Known) -> Option<Known> {
    match (f, a.int(), b.int()) {
        (Binary::Add, _, Some(0)) | (Binary::Sub, _, Some(0)) => Some(a),
        (Binary::Add, Some(0), _) => Some(b),
        (Binary::Mul, _, Some(1)) | (Binary::Div | Binary::FloorDiv, _, Some(1)) => Some(a),
        (Binary::Mul, Some(1), _) => Some(b),
        (Binary::Mul, Some(0), _) | (Binary::Mul, _, Some(0)) | (Binary::Mod | Binary::Rem, _, Some(1)) => {
            Some(Known::Constant(Scalar::Int(0)))
        }
        _ => None,
    }
}

/// Is the result of index arithmetic never negative? Index arithmetic does not overflow.
fn natural(f: Binary, a: Known, b: Known) -> bool {
    let (x, y) = (a.natural(), b.natural());
    match f {
        Binary::Add | Binary::Mul | Binary::Div | Binary::FloorDiv | Binary::Min | Binary::Or | Binary::Xor | Binary::Shl => x && y,
        Binary::Max | Binary::And => x || y,
        Binary::Rem | Binary::Shr => x,
        Binary::Mod => y,
        _ => false,
    }
}
