//! What a name of the model stands for during import: a type, perhaps known elements, and a place to get the graph value from.
//!
//! Small tensors of sizes and constants carry their elements as dims. They become graph ops only when a real op needs them.

use crate::tensor::Tensor;
use odc_ir::core::{DType, Dim, Scalar, TensorType, Value};
use std::cell::Cell;
use std::rc::Rc;

/// Longer tensors are data, not sizes.
pub const MAX_KNOWN: usize = 64;

/// One element known at compile time.
#[derive(Clone, Debug, PartialEq)]
pub enum Elem {
    /// Integers; bools as 0 and 1.
    Int(Dim),
    Float(f64),
    /// A float that is exactly a size divided by a positive number.
    Ratio(Dim, i64),
}

impl Elem {
    pub fn scalar(&self) -> Option<Scalar> {
        match self {
            Elem::Int(d) => d.as_const().map(Scalar::Int),
            Elem::Float(x) => Some(Scalar::Float(*x)),
            Elem::Ratio(d, by) => d.as_const().map(|c| Scalar::Float(c as f64 / *by as f64)),
        }
    }
    pub fn int(v: i64) -> Elem {
        Elem::Int(Dim::from(v))
    }
    pub fn bool(v: bool) -> Elem {
        Elem::int(i64::from(v))
    }
    pub fn as_bool(&self) -> Option<bool> {
        match self {
            Elem::Int(d) => d.as_const().map(|c| c != 0),
            Elem::Float(_) | Elem::Ratio(..) => None,
        }
    }
    pub fn as_float(&self) -> Option<f64> {
        self.scalar().map(Scalar::as_f64)
    }
}

/// Values under one name; they exist only while importing.
#[derive(Clone, Debug)]
pub enum List {
    Sequence(Vec<Val>),
    Optional(Option<Box<Val>>),
    /// As many as the first axis of a tensor is long: its slices.
    Rows(Box<Val>),
    /// In the body of a loop: what it appends to a sequence that it carries.
    Growing(Vec<Val>),
}

#[derive(Clone, Debug)]
enum Source {
    /// A constant of the model; its bytes are still the file's.
    Const(Rc<Tensor>),
    /// Only its elements are known.
    Known,
    /// A graph value: see `cell`.
    Graph,
    /// What a failed node was declared to give: has a type, never a value.
    Broken,
    /// A sequence or an optional: its type says nothing.
    List(Rc<List>),
}

/// A value of the model.
#[derive(Clone, Debug)]
pub struct Val {
    pub ty: TensorType,
    pub known: Option<Rc<Vec<Elem>>>,
    source: Source,
    /// The graph value, once there is one, and the function it belongs to; shared by all copies.
    cell: Rc<Cell<Option<(u32, Value)>>>,
}

/// What has to be built for a value that is none yet.
pub enum Missing<'a> {
    Const(&'a Tensor),
    Known(&'a [Elem]),
    Broken,
    List,
}

impl Val {
    /// A value of function `frame`.
    pub fn graph(ty: TensorType, frame: u32, v: Value) -> Val {
        Val { ty, known: None, source: Source::Graph, cell: Rc::new(Cell::new(Some((frame, v)))) }
    }
    pub fn constant(ty: TensorType, t: Tensor) -> Val {
        let shape = ty.static_shape().unwrap_or_default();
        let small = ty.dtype != DType::U64 && odc_ir::core::element_count(&shape).is_some_and(|n| n <= MAX_KNOWN);
        let elements = if small { t.elements() } else { Default::default() };
        let elems = || elements.chunks_exact(ty.dtype.size()).filter_map(|b| Scalar::read(ty.dtype, b));
        let known = small.then(|| {
            Rc::new(elems().map(|s| if ty.dtype.is_float() { Elem::Float(s.as_f64()) } else { Elem::int(s.as_i64()) }).collect::<Vec<_>>())
        });
        Val { ty, known, source: Source::Const(Rc::new(t)), cell: Rc::default() }
    }
    /// `elems` must be as many as the shape has.
    pub fn known(ty: TensorType, elems: Vec<Elem>) -> Val {
        Val { ty, known: Some(Rc::new(elems)), source: Source::Known, cell: Rc::default() }
    }
    pub fn ints(values: impl IntoIterator<Item = Dim>) -> Val {
        let elems: Vec<_> = values.into_iter().map(Elem::Int).collect();
        Val::known(TensorType::of(DType::I64, &[elems.len() as i64]), elems)
    }
    /// A scalar of a number type.
    pub fn scalar(dtype: DType, value: f64) -> Val {
        let elem = if dtype.is_float() { Elem::Float(Scalar::Float(value).wrap(dtype).as_f64()) } else { Elem::int(value as i64) };
        Val::known(TensorType::scalar(dtype), vec![elem])
    }
    pub fn broken(ty: TensorType) -> Val {
        Val { ty, known: None, source: Source::Broken, cell: Rc::default() }
    }

    pub fn of_list(list: List) -> Val {
        Val { ty: TensorType::scalar(DType::Bool), known: None, source: Source::List(Rc::new(list)), cell: Rc::default() }
    }

    /// The values of a sequence or an optional; `None` for a tensor.
    pub fn list(&self) -> Option<&List> {
        match &self.source {
            Source::List(l) => Some(l),
            Source::Const(_) | Source::Known | Source::Graph | Source::Broken => None,
        }
    }
    pub fn is_broken(&self) -> bool {
        matches!(self.source, Source::Broken)
    }
    pub fn rank(&self) -> usize {
        self.ty.rank()
    }
    pub fn shape(&self) -> &[Dim] {
        &self.ty.shape
    }
    pub fn dtype(&self) -> DType {
        self.ty.dtype
    }
    /// The elements as sizes. The numbers of strings are none.
    pub fn known_ints(&self) -> Option<Vec<Dim>> {
        if self.dtype() == DType::Str {
            return None;
        }
        let elem = |e: &Elem| match e {
            Elem::Int(d) => Some(d.clone()),
            Elem::Float(_) | Elem::Ratio(..) => None,
        };
        self.known.as_ref()?.iter().map(elem).collect()
    }
    pub fn const_ints(&self) -> Option<Vec<i64>> {
        self.known_ints()?.iter().map(Dim::as_const).collect()
    }
    /// All elements of an integer constant of any size.
    pub fn const_elements(&self) -> Option<Vec<i64>> {
        match &self.source {
            Source::Const(t) if self.dtype().is_int() => {
                t.data.chunks_exact(self.dtype().size()).map(|b| Scalar::read(self.dtype(), b).map(Scalar::as_i64)).collect()
            }
            Source::Const(_) | Source::Known | Source::Graph | Source::Broken | Source::List(_) => self.const_ints(),
        }
    }
    pub fn const_floats(&self) -> Option<Vec<f64>> {
        self.known.as_ref()?.iter().map(Elem::as_float).collect()
    }

    /// The graph value and its function.
    pub fn value(&self) -> Option<(u32, Value)> {
        self.cell.get()
    }
    pub fn set_value(&self, frame: u32, v: Value) {
        self.cell.set(Some((frame, v)));
    }
    /// Can any function build it anew?
    pub fn is_literal(&self) -> bool {
        matches!(self.source, Source::Const(_) | Source::Known)
    }
    /// The same for all copies.
    pub fn identity(&self) -> *const () {
        Rc::as_ptr(&self.cell).cast()
    }
    pub fn missing(&self) -> Missing<'_> {
        match (&self.source, &self.known) {
            (Source::Const(t), _) => Missing::Const(t),
            (Source::Known, Some(e)) => Missing::Known(e),
            (Source::List(_), _) => Missing::List,
            (Source::Known | Source::Graph | Source::Broken, _) => Missing::Broken,
        }
    }
}
