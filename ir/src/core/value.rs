//! Tensor values of the reference interpreters: element by element, slow and plain. Every level binds its symbols, checks its
//! inputs and compares results with what is here, so that the oracles agree on everything but the ops.

use super::dim::{Dim, DimError, Sym};
use super::dtype::{DType, Scalar};
use super::module::{Const, Symbol};
use super::types::TensorType;
use std::collections::BTreeMap;
use std::fmt;

/// The most elements an interpreter holds in one tensor (1 GiB of scalars): a hostile size is an error, not an exhausted machine.
pub const MAX_ELEMENTS: usize = 1 << 26;

/// Why an interpreter gives no result.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum InterpError {
    #[error("a tensor of shape {0:?} has more than the {MAX_ELEMENTS} elements that the interpreter holds")]
    TooLarge(Vec<usize>),
    #[error("{len} elements do not fill shape {shape:?}")]
    Length { shape: Vec<usize>, len: usize },
    #[error("input `{name}` is missing; it takes {ty}")]
    MissingInput { name: String, ty: String },
    #[error("there is no input `{name}`; the inputs are {known}")]
    UnknownInput { name: String, known: String },
    #[error("input `{name}` takes {expected}, got {got}")]
    InputType { name: String, expected: String, got: String },
    #[error("size {size} of axis {axis} of input `{name}` must be {expected}")]
    Axis { name: String, axis: usize, size: i64, expected: String },
    #[error("size `{symbol}` = {value} is out of bounds: it must be {bounds}")]
    Bounds { symbol: String, value: i64, bounds: String },
    #[error("element {at} of input `{input}` is {value}: {what} wants {lo} to {hi}")]
    OutOfRange { input: String, at: usize, value: i64, lo: i64, hi: i64, what: String },
    #[error(transparent)]
    Dim(#[from] DimError),
    #[error("size `{dim}` = {value} is negative")]
    NegativeSize { dim: String, value: i64 },
    #[error("the module has no function to run")]
    NoFunction,
    #[error("{value} has no value yet: the module is not verified")]
    Undefined { value: String },
    #[error("{op} ({loc}): {message}")]
    Op { op: String, loc: String, message: String },
}

/// A tensor's value: row-major elements, each already rounded or wrapped to `dtype`.
#[derive(Clone, PartialEq, Debug)]
pub struct TensorValue {
    pub dtype: DType,
    pub shape: Vec<usize>,
    pub data: Vec<Scalar>,
}

/// Elements of `shape`, if the interpreter holds that many.
pub fn checked_elements(shape: &[usize]) -> Result<usize, InterpError> {
    // A size of 0 empties the tensor whatever the others multiply to.
    if shape.contains(&0) {
        return Ok(0);
    }
    shape
        .iter()
        .try_fold(1usize, |n, &d| n.checked_mul(d))
        .filter(|&n| n <= MAX_ELEMENTS)
        .ok_or_else(|| InterpError::TooLarge(shape.into()))
}

/// Row-major distances between neighbours along each axis.
pub fn row_major_strides(shape: &[usize]) -> Vec<usize> {
    let mut s = vec![1usize; shape.len()];
    for k in (1..shape.len()).rev() {
        s[k - 1] = s[k].saturating_mul(shape[k]);
    }
    s
}

/// All indices of `shape` in row-major order.
pub fn indices(shape: &[usize]) -> Indices {
    Indices { shape: shape.into(), next: (!shape.contains(&0)).then(|| vec![0; shape.len()]) }
}

#[derive(Clone, Debug)]
pub struct Indices {
    shape: Vec<usize>,
    next: Option<Vec<usize>>,
}

impl Iterator for Indices {
    type Item = Vec<usize>;
    fn next(&mut self) -> Option<Vec<usize>> {
        let now = self.next.clone()?;
        let mut k = self.shape.len();
        loop {
            let Some(prev) = k.checked_sub(1) else {
                self.next = None;
                break;
            };
            k = prev;
            let Some(i) = self.next.as_mut().and_then(|n| n.get_mut(k)) else { break };
            *i += 1;
            if *i < self.shape[k] {
                break;
            }
            *i = 0;
        }
        Some(now)
    }
}

impl TensorValue {
    pub fn new(dtype: DType, shape: Vec<usize>, data: Vec<Scalar>) -> Result<Self, InterpError> {
        if checked_elements(&shape)? != data.len() {
            return Err(InterpError::Length { shape, len: data.len() });
        }
        Ok(TensorValue { dtype, shape, data })
    }
    /// Each element from its index, wrapped to `dtype`.
    pub fn from_fn(dtype: DType, shape: &[usize], mut f: impl FnMut(&[usize]) -> Scalar) -> Result<Self, InterpError> {
        let mut data = Vec::with_capacity(checked_elements(shape)?);
        data.extend(indices(shape).map(|i| f(&i).wrap(dtype)));
        Ok(TensorValue { dtype, shape: shape.into(), data })
    }
    /// As [`TensorValue::from_fn`], where an element may have no value.
    pub fn try_from_fn<E: From<InterpError>>(
        dtype: DType,
        shape: &[usize],
        mut f: impl FnMut(&[usize]) -> Result<Scalar, E>,
    ) -> Result<Self, E> {
        let mut data = Vec::with_capacity(checked_elements(shape)?);
        for i in indices(shape) {
            data.push(f(&i)?.wrap(dtype));
        }
        Ok(TensorValue { dtype, shape: shape.into(), data })
    }
    pub fn filled(dtype: DType, shape: &[usize], x: Scalar) -> Result<Self, InterpError> {
        let data = vec![x.wrap(dtype); checked_elements(shape)?];
        Ok(TensorValue { dtype, shape: shape.into(), data })
    }
    pub fn scalar(dtype: DType, x: Scalar) -> Self {
        TensorValue { dtype, shape: vec![], data: vec![x.wrap(dtype)] }
    }
    pub fn from_f32(shape: &[usize], data: &[f32]) -> Result<Self, InterpError> {
        Self::new(DType::F32, shape.into(), data.iter().map(|x| Scalar::Float(f64::from(*x))).collect())
    }
    pub fn from_f64(dtype: DType, shape: &[usize], data: &[f64]) -> Result<Self, InterpError> {
        Self::new(dtype, shape.into(), data.iter().map(|x| Scalar::Float(*x).wrap(dtype)).collect())
    }
    pub fn from_i64(shape: &[usize], data: &[i64]) -> Result<Self, InterpError> {
        Self::from_ints(DType::I64, shape, data)
    }
    pub fn from_ints(dtype: DType, shape: &[usize], data: &[i64]) -> Result<Self, InterpError> {
        Self::new(dtype, shape.into(), data.iter().map(|x| Scalar::Int(*x).wrap(dtype)).collect())
    }
    pub fn from_bool(shape: &[usize], data: &[bool]) -> Result<Self, InterpError> {
        Self::new(DType::Bool, shape.into(), data.iter().map(|x| Scalar::Bool(*x)).collect())
    }
    pub fn from_const(c: &Const) -> Result<Self, InterpError> {
        let shape: Vec<usize> = c.shape.iter().map(|&d| usize::try_from(d).unwrap_or(usize::MAX)).collect();
        checked_elements(&shape)?;
        Self::new(c.dtype, shape, c.scalars().collect())
    }
    pub fn to_const(&self) -> Const {
        let shape: Vec<i64> = self.shape.iter().map(|&d| d as i64).collect();
        Const::from_scalars(self.dtype, &shape, self.data.iter().copied())
    }
    /// Little-endian row-major bytes of a tensor, as files and artifacts hold them.
    pub fn from_bytes(dtype: DType, shape: &[usize], bytes: &[u8]) -> Result<Self, InterpError> {
        checked_elements(shape)?;
        Self::new(dtype, shape.into(), bytes.chunks(dtype.size()).filter_map(|b| Scalar::read(dtype, b)).collect())
    }
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.data.len() * self.dtype.size());
        self.data.iter().for_each(|x| x.write(self.dtype, &mut out));
        out
    }
    pub fn to_f32(&self) -> Vec<f32> {
        self.data.iter().map(|x| x.as_f64() as f32).collect()
    }
    pub fn to_f64(&self) -> Vec<f64> {
        self.data.iter().map(|x| x.as_f64()).collect()
    }
    pub fn to_i64(&self) -> Vec<i64> {
        self.data.iter().map(|x| x.as_i64()).collect()
    }
    pub fn rank(&self) -> usize {
        self.shape.len()
    }
    pub fn elements(&self) -> usize {
        self.data.len()
    }
    pub fn strides(&self) -> Vec<usize> {
        row_major_strides(&self.shape)
    }
    /// Position of an index in `data`; `None` outside the tensor.
    pub fn offset(&self, index: &[usize]) -> Option<usize> {
        if index.len() != self.shape.len() {
            return None;
        }
        let mut at = 0usize;
        for (&i, &d) in index.iter().zip(&self.shape) {
            if i >= d {
                return None;
            }
            at = at * d + i;
        }
        Some(at)
    }
    /// The element at `index`; `None` outside the tensor.
    pub fn get(&self, index: &[usize]) -> Option<Scalar> {
        self.data.get(self.offset(index)?).copied()
    }
    /// The element nearest to `index`, each coordinate clamped: what a load reads. `None` only if the tensor is empty or of another rank.
    pub fn nearest(&self, index: &[i64]) -> Option<Scalar> {
        if index.len() != self.shape.len() {
            return None;
        }
        let mut at = 0usize;
        for (&i, &d) in index.iter().zip(&self.shape) {
            let i = usize::try_from(i.max(0)).unwrap_or(usize::MAX).min(d.checked_sub(1)?);
            at = at * d + i;
        }
        self.data.get(at).copied()
    }
    /// The element that `index` of a larger shape reads when this tensor broadcasts to it: trailing axes align, size 1 repeats.
    pub fn broadcast(&self, index: &[usize]) -> Option<Scalar> {
        let skip = index.len().checked_sub(self.rank())?;
        let at = index.get(skip..)?.iter().zip(&self.shape).try_fold(0usize, |at, (&i, &d)| {
            let i = if d == 1 { 0 } else { i };
            (i < d).then(|| at * d + i)
        })?;
        self.data.get(at).copied()
    }
    /// `f32[2, 3]`, as error texts show it.
    pub fn type_text(&self) -> String {
        let dims: Vec<_> = self.shape.iter().map(usize::to_string).collect();
        format!("{}[{}]", self.dtype, dims.join(", "))
    }
}

/// Values of a module's symbols in one run.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Binding(pub BTreeMap<Sym, i64>);

impl Binding {
    pub fn get(&self, sym: &Sym) -> Option<i64> {
        self.0.get(sym).copied()
    }
    pub fn eval(&self, d: &Dim) -> Result<i64, InterpError> {
        Ok(d.eval(&|s| self.get(s))?)
    }
    /// A size: never negative.
    pub fn size(&self, d: &Dim) -> Result<usize, InterpError> {
        let value = self.eval(d)?;
        usize::try_from(value).map_err(|_| InterpError::NegativeSize { dim: d.to_string(), value })
    }
    pub fn shape(&self, dims: &[Dim]) -> Result<Vec<usize>, InterpError> {
        dims.iter().map(|d| self.size(d)).collect()
    }
}

/// The symbols' values, read off the inputs' shapes through their origins, with their declared bounds and multiples checked.
/// The origin's axis may be declared as `a*s + b`: a size that this does not reach is refused.
pub fn bind_symbols(
    symbols: &BTreeMap<Sym, Symbol>,
    params: &[(&str, &TensorType)],
    inputs: &[(String, TensorValue)],
) -> Result<Binding, InterpError> {
    let mut b = Binding::default();
    for (sym, facts) in symbols {
        let Some(origin) = &facts.origin else { continue };
        // An input that is not there is reported by `bind_inputs`, which knows its type.
        let Some((_, input)) = inputs.iter().find(|(n, _)| *n == origin.input) else { continue };
        let Some(&size) = input.shape.get(origin.axis) else { continue };
        let size = i64::try_from(size).unwrap_or(i64::MAX);
        let declared = params.iter().find(|(n, _)| *n == origin.input).and_then(|(_, ty)| ty.shape.get(origin.axis));
        let value = match declared {
            Some(d) => solve(d, sym, size).ok_or_else(|| InterpError::Axis {
                name: origin.input.clone(),
                axis: origin.axis,
                size,
                expected: d.to_string(),
            })?,
            None => size,
        };
        let fits = value >= facts.lo && facts.hi.is_none_or(|hi| value <= hi) && (facts.multiple_of <= 1 || value % facts.multiple_of == 0);
        if !fits {
            return Err(InterpError::Bounds { symbol: sym.to_string(), value, bounds: bounds_text(facts) });
        }
        b.0.insert(sym.clone(), value);
    }
    Ok(b)
}

/// The `sym` for which `declared = a*sym + b` is `size`.
fn solve(declared: &Dim, sym: &Sym, size: i64) -> Option<i64> {
    let (a, b) = declared.linear_in(sym)?;
    let (a, rest) = (a.as_const()?, size.checked_sub(b.as_const()?)?);
    (rest.checked_rem(a)? == 0).then_some(rest / a)
}

/// Binds the symbols and puts the inputs into the order of `params`, each checked against its declared type.
pub fn bind_inputs(
    symbols: &BTreeMap<Sym, Symbol>,
    params: &[(&str, &TensorType)],
    inputs: &[(String, TensorValue)],
) -> Result<(Binding, Vec<TensorValue>), InterpError> {
    if let Some((name, _)) = inputs.iter().find(|(n, _)| params.iter().all(|(p, _)| p != n)) {
        let known: Vec<_> = params.iter().map(|(p, ty)| format!("`{p}`: {ty}")).collect();
        return Err(InterpError::UnknownInput { name: name.clone(), known: known.join(", ") });
    }
    let mut values = vec![];
    for (name, ty) in params {
        let Some((_, v)) = inputs.iter().find(|(n, _)| n == name) else {
            return Err(InterpError::MissingInput { name: (*name).into(), ty: ty.to_string() });
        };
        if v.dtype != ty.dtype || v.rank() != ty.rank() {
            return Err(InterpError::InputType { name: (*name).into(), expected: ty.to_string(), got: v.type_text() });
        }
        values.push(v.clone());
    }
    let binding = bind_symbols(symbols, params, inputs)?;
    for ((name, ty), v) in params.iter().zip(&values) {
        for (axis, (d, &size)) in ty.shape.iter().zip(&v.shape).enumerate() {
            let expected = binding.size(d)?;
            if expected != size {
                let expected = if d.as_const().is_some() { d.to_string() } else { format!("{d} = {expected}") };
                return Err(InterpError::Axis { name: (*name).into(), axis, size: i64::try_from(size).unwrap_or(i64::MAX), expected });
            }
        }
    }
    Ok((binding, values))
}

fn bounds_text(f: &Symbol) -> String {
    let mut t = match f.hi {
        Some(hi) => format!("{} to {hi}", f.lo),
        None => format!("at least {}", f.lo),
    };
    if f.multiple_of > 1 {
        t += &format!(" and a multiple of {}", f.multiple_of);
    }
    t
}

/// How far two tensors are apart; NaN equals NaN, an infinity equals itself.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
pub struct Difference {
    pub max_abs: f64,
    /// Relative to the expected value; infinite where a zero was expected.
    pub max_rel: f64,
    /// Row-major position of the largest absolute difference.
    pub at: usize,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "largest difference {:e} (relative {:e}) at element {}", self.max_abs, self.max_rel, self.at)
    }
}

/// Compares element by element; a different type or shape is an error text.
pub fn difference(got: &TensorValue, expected: &TensorValue) -> Result<Difference, String> {
    if got.dtype != expected.dtype || got.shape != expected.shape {
        return Err(format!("got {}, expected {}", got.type_text(), expected.type_text()));
    }
    let mut d = Difference::default();
    for (k, (a, b)) in got.data.iter().zip(&expected.data).enumerate() {
        let abs = distance(*a, *b);
        if abs > d.max_abs {
            d.max_abs = abs;
            d.at = k;
        }
        if abs > 0.0 {
            d.max_rel = d.max_rel.max(abs / b.as_f64().abs());
        }
    }
    Ok(d)
}

/// `|got - expected| <= atol + rtol * |expected|` everywhere; integers and bools must be equal if both tolerances are 0.
pub fn assert_close(got: &TensorValue, expected: &TensorValue, rtol: f64, atol: f64) -> Result<(), String> {
    let d = difference(got, expected)?;
    for (k, (a, b)) in got.data.iter().zip(&expected.data).enumerate() {
        // Written so that a NaN limit (infinity expected, tolerance 0) fails.
        let (abs, limit) = (distance(*a, *b), atol + rtol * b.as_f64().abs());
        if abs != 0.0 && (abs.is_infinite() || abs.partial_cmp(&limit).is_none_or(|o| o.is_gt())) {
            return Err(format!("element {k} is {}, expected {}; {d}", show(*a), show(*b)));
        }
    }
    Ok(())
}

fn distance(a: Scalar, b: Scalar) -> f64 {
    match (a, b) {
        (Scalar::Int(x), Scalar::Int(y)) => (i128::from(x) - i128::from(y)).unsigned_abs() as f64,
        _ => {
            let (x, y) = (a.as_f64(), b.as_f64());
            if x == y || (x.is_nan() && y.is_nan()) {
                0.0
            } else if x.is_nan() || y.is_nan() {
                f64::INFINITY
            } else {
                (x - y).abs()
            }
        }
    }
}

fn show(x: Scalar) -> String {
    match x {
        Scalar::Float(v) => format!("{v:?}"),
        Scalar::Int(v) => v.to_string(),
        Scalar::Bool(v) => v.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::module::Origin;
    use super::*;

    #[test]
    fn bytes_go_both_ways_and_a_huge_shape_is_refused() {
        let t = TensorValue::from_f32(&[2, 2], &[1.0, -2.5, f32::NAN, 0.0]).unwrap();
        assert_eq!(TensorValue::from_const(&t.to_const()).unwrap(), t);
        assert_eq!(TensorValue::from_bytes(DType::F32, &[2, 2], &t.to_bytes()).unwrap(), t);
        assert!(matches!(TensorValue::from_bytes(DType::F32, &[2], &t.to_bytes()), Err(InterpError::Length { .. })));
        assert!(matches!(TensorValue::filled(DType::F32, &[1 << 20, 1 << 20], Scalar::Int(0)), Err(InterpError::TooLarge(_))));
        assert_eq!(TensorValue::filled(DType::F32, &[0, usize::MAX, 4], Scalar::Int(0)).unwrap().elements(), 0);
    }

    #[test]
    fn indexing_is_row_major_clamps_and_broadcasts() {
        let t = TensorValue::from_i64(&[2, 3], &[0, 1, 2, 3, 4, 5]).unwrap();
        assert_eq!(indices(&[2, 3]).map(|i| t.get(&i).unwrap().as_i64()).collect::<Vec<_>>(), [0, 1, 2, 3, 4, 5]);
        assert_eq!(indices(&[]).count(), 1);
        assert_eq!(indices(&[3, 0]).count(), 0);
        assert_eq!(t.nearest(&[-4, 9]), Some(Scalar::Int(2)));
        assert_eq!(t.get(&[0, 3]), None);
        let row = TensorValue::from_i64(&[1, 3], &[7, 8, 9]).unwrap();
        assert_eq!(row.broadcast(&[5, 1, 2]), Some(Scalar::Int(9)));
    }

    #[test]
    fn symbols_are_bound_and_their_facts_checked() {
        let n = Sym::new("n");
        let origin = Some(Origin { input: "x".into(), axis: 0 });
        let symbols = BTreeMap::from([(n.clone(), Symbol { lo: 2, hi: Some(8), multiple_of: 2, origin, most: None })]);
        let (tx, ty) = (TensorType::new(DType::I64, vec![Dim::from(&n)]), TensorType::new(DType::I64, vec![Dim::from(&n) * 2]));
        let params = [("x", &tx), ("y", &ty)];
        let input = |k: usize| TensorValue::from_i64(&[k], &vec![0; k]).unwrap();
        let run = |a: usize, b: usize| bind_inputs(&symbols, &params, &[("y".into(), input(b)), ("x".into(), input(a))]);
        let (binding, values) = run(4, 8).unwrap();
        assert_eq!((binding.get(&n), values[0].shape[0], values[1].shape[0]), (Some(4), 4, 8));
        assert!(matches!(run(3, 6), Err(InterpError::Bounds { .. })));
        assert!(matches!(run(10, 20), Err(InterpError::Bounds { .. })));
        assert_eq!(run(4, 6).unwrap_err().to_string(), "size 6 of axis 0 of input `y` must be 2*n = 8");
        assert!(matches!(bind_inputs(&symbols, &params, &[("x".into(), input(4))]), Err(InterpError::MissingInput { .. })));
        assert!(matches!(bind_inputs(&symbols, &params, &[("z".into(), input(4))]), Err(InterpError::UnknownInput { .. })));
    }

    #[test]
    fn an_origin_may_be_declared_as_a_multiple() {
        let n = Sym::new("n");
        let origin = Some(Origin { input: "x".into(), axis: 0 });
        let symbols = BTreeMap::from([(n.clone(), Symbol { origin, ..Symbol::default() })]);
        let tx = TensorType::new(DType::I64, vec![Dim::from(&n) * 8 + 1]);
        let run = |k: usize| bind_inputs(&symbols, &[("x", &tx)], &[("x".into(), TensorValue::from_i64(&[k], &vec![0; k]).unwrap())]);
        assert_eq!(run(25).unwrap().0.get(&n), Some(3));
        assert_eq!(run(24).unwrap_err().to_string(), "size 24 of axis 0 of input `x` must be 8*n + 1");
    }

    #[test]
    fn comparing_knows_nan_and_infinity() {
        let t = |d: &[f32]| TensorValue::from_f32(&[d.len()], d).unwrap();
        assert!(assert_close(&t(&[f32::NAN, f32::INFINITY]), &t(&[f32::NAN, f32::INFINITY]), 0.0, 0.0).is_ok());
        assert!(assert_close(&t(&[f32::NAN]), &t(&[1.0]), 1.0, 1.0).is_err());
        assert!(assert_close(&t(&[1.0]), &t(&[f32::INFINITY]), 1.0, 1.0).is_err());
        assert!(assert_close(&t(&[1.01]), &t(&[1.0]), 0.02, 0.0).is_ok());
        assert!(assert_close(&t(&[1.01]), &t(&[1.0]), 0.001, 0.0).is_err());
        assert_eq!(difference(&t(&[1.0, 2.5]), &t(&[1.0, 2.0])).unwrap(), Difference { max_abs: 0.5, max_rel: 0.25, at: 1 });
    }
}
