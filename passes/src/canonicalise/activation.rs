//! Activations that exporters spell out, matched as products: factors in any order and nesting, constants multiplied together.

use super::rewriter::{Cx, close, pair};
use odc_ir::core::Value;
use odc_ir::graph::{BinaryFn, Op, Operation, UnaryFn};

/// `scale * factors[0] * factors[1] * …`.
#[derive(Default)]
struct Product {
    scale: f64,
    factors: Vec<Value>,
}

/// More factors than any pattern has.
const MAX_FACTORS: usize = 6;

impl Product {
    /// The operation as a product; inner products are opened where nothing else uses them.
    fn of(cx: &mut Cx, op: &Operation) -> Option<Product> {
        let mut p = Product { scale: 1.0, factors: vec![] };
        p.open(cx, op).then_some(p)
    }
    fn of_value(cx: &mut Cx, v: Value) -> Product {
        let mut p = Product { scale: 1.0, factors: vec![] };
        p.multiply(cx, v);
        p
    }
    fn multiply(&mut self, cx: &mut Cx, v: Value) {
        if let Some(c) = cx.scalar(v) {
            self.scale *= c;
            return;
        }
        let opened = self.factors.len() < MAX_FACTORS && cx.attempt(|cx| cx.only(v).filter(|op| self.open(cx, op))).is_some();
        if !opened {
            self.factors.push(v);
        }
    }
    fn open(&mut self, cx: &mut Cx, op: &Operation) -> bool {
        match (&op.op, op.operands.as_slice()) {
            (Op::Binary { f: BinaryFn::Mul }, [a, b]) => {
                self.multiply(cx, *a);
                self.multiply(cx, *b);
                true
            }
            (Op::Binary { f: BinaryFn::Div }, [a, b]) => match cx.scalar(*b) {
                Some(c) => {
                    self.scale /= c;
                    self.multiply(cx, *a);
                    true
                }
                None => false,
            },
            (Op::Unary { f: UnaryFn::Neg }, [x]) => {
                self.scale = -self.scale;
                self.multiply(cx, *x);
                true
            }
            _ => false,
        }
    }
    /// Is it `scale * x^n`?
    fn is_power(&self, scale: f64, x: Value, n: usize) -> bool {
        close(self.scale, scale) && self.factors.len() == n && self.factors.iter().all(|f| *f == x)
    }
}

/// Tries `f(x, other)` with both orders of a product's two factors.
fn either<T>(cx: &mut Cx, p: &Product, f: impl Fn(&mut Cx, Value, Value) -> Option<T>) -> Option<T> {
    let [a, b] = p.factors.as_slice() else { return None };
    cx.attempt(|cx| f(cx, *a, *b)).or_else(|| cx.attempt(|cx| f(cx, *b, *a)))
}

/// `1 / (1 + exp(-x))`.
pub fn sigmoid(cx: &mut Cx, op: &Operation) -> Option<Value> {
    let below = match (&op.op, op.operands.as_slice()) {
        (Op::Unary { f: UnaryFn::Reciprocal }, [v]) => *v,
        (Op::Binary { f: BinaryFn::Div }, [one, v]) if cx.scalar(*one) == Some(1.0) => *v,
        _ => return None,
    };
    let (e, one) = cx.with_scalar(below, BinaryFn::Add)?;
    let minus = cx.unary(e, UnaryFn::Exp)?;
    let x = cx.unary(minus, UnaryFn::Neg)?;
    if one == 1.0 { cx.emit_unary(UnaryFn::Sigmoid, x) } else { None }
}

/// `x * sigmoid(x)`.
pub fn silu(cx: &mut Cx, op: &Operation) -> Option<Value> {
    let (a, b) = pair(op, BinaryFn::Mul)?;
    let x = if cx.unary(a, UnaryFn::Sigmoid) == Some(b) {
        b
    } else if cx.unary(b, UnaryFn::Sigmoid) == Some(a) {
        a
    } else {
        return None;
    };
    cx.emit_unary(UnaryFn::Silu, x)
}

/// `x * tanh(softplus(x))`.
pub fn mish(cx: &mut Cx, op: &Operation) -> Option<Value> {
    pair(op, BinaryFn::Mul)?;
    let p = Product::of(cx, op).filter(|p| p.scale == 1.0)?;
    let x = either(cx, &p, |cx, x, g| {
        let inner = cx.unary(g, UnaryFn::Tanh)?;
        (cx.unary(inner, UnaryFn::Softplus)? == x).then_some(x)
    })?;
    cx.emit_unary(UnaryFn::Mish, x)
}

/// `x * clamp(x + 3, 0, 6) / 6`, or `x * hard_sigmoid(x)` with slope 1/6.
pub fn hard_swish(cx: &mut Cx, op: &Operation) -> Option<Value> {
    let p = Product::of(cx, op)?;
    let x = either(cx, &p, |cx, x, g| {
        if close(p.scale, 1.0) {
            let inner = cx.def(g)?;
            let Op::HardSigmoid { alpha, beta } = inner.op else { return None };
            let fits = close(alpha, 1.0 / 6.0) && close(beta, 0.5) && inner.operands.first() == Some(&x);
            return fits.then_some(x);
        }
        let (moved, lo, hi) = clamp(cx, g)?;
        let (y, three) = cx.with_scalar(moved, BinaryFn::Add)?;
        (close(p.scale, 1.0 / 6.0) && y == x && three == 3.0 && lo == 0.0 && hi == 6.0).then_some(x)
    })?;
    cx.emit_unary(UnaryFn::HardSwish, x)
}

/// The operand and the ends of `min(max(x, lo), hi)`, in either order.
fn clamp(cx: &mut Cx, v: Value) -> Option<(Value, f64, f64)> {
    if let Some((inner, hi)) = cx.with_scalar(v, BinaryFn::Min) {
        if let Some((x, lo)) = cx.with_scalar(inner, BinaryFn::Max) {
            return Some((x, lo, hi));
        }
        return cx.unary(inner, UnaryFn::Relu).map(|x| (x, 0.0, hi));
    }
    let (inner, lo) = cx.with_scalar(v, BinaryFn::Max)?;
    let (x, hi) = cx.with_scalar(inner, BinaryFn::Min)?;
    Some((x, lo, hi))
}

/// `1 + f(inner)`.
fn one_plus(cx: &mut Cx, v: Value, f: UnaryFn) -> Option<Value> {
    let (g, one) = cx.with_scalar(v, BinaryFn::Add)?;
    let inner = cx.unary(g, f)?;
    (one == 1.0).then_some(inner)
}

/// `0.5 * x * (1 + erf(x / sqrt 2))`.
pub fn gelu(cx: &mut Cx, op: &Operation) -> Option<Value> {
    let p = Product::of(cx, op).filter(|p| close(p.scale, 0.5))?;
    let x = either(cx, &p, |cx, x, g| {
        let inner = one_plus(cx, g, UnaryFn::Erf)?;
        Product::of_value(cx, inner).is_power(std::f64::consts::FRAC_1_SQRT_2, x, 1).then_some(x)
    })?;
    cx.emit_unary(UnaryFn::Gelu, x)
}

/// `0.5 * x * (1 + tanh(sqrt(2 / pi) * (x + 0.044715 * x^3)))`, also with `x` taken out of the bracket.
pub fn gelu_tanh(cx: &mut Cx, op: &Operation) -> Option<Value> {
    const CUBIC: f64 = 0.044715;
    let p = Product::of(cx, op).filter(|p| close(p.scale, 0.5))?;
    let x = either(cx, &p, |cx, x, g| {
        let inner = one_plus(cx, g, UnaryFn::Tanh)?;
        let inner = Product::of_value(cx, inner);
        if !close(inner.scale, (2.0 / std::f64::consts::PI).sqrt()) {
            return None;
        }
        match inner.factors.as_slice() {
            [sum] => {
                let (a, b) = cx.binary(*sum, BinaryFn::Add)?;
                let cube = if a == x {
                    b
                } else if b == x {
                    a
                } else {
                    return None;
                };
                Product::of_value(cx, cube).is_power(CUBIC, x, 3).then_some(x)
            }
            _ => either(cx, &inner, |cx, y, sum| {
                let (square, one) = cx.with_scalar(sum, BinaryFn::Add)?;
                (y == x && one == 1.0 && Product::of_value(cx, square).is_power(CUBIC, x, 2)).then_some(x)
            }),
        }
    })?;
    cx.emit_unary(UnaryFn::GeluTanh, x)
}
