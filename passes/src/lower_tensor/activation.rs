//! Functions of one element. What machines (or the expansion into polynomials) know stays one `unary`; composite functions are
//! spelled out in the scalar program.

use super::LowerError;
use super::cx::{Args, Cx, is};
use odc_ir::core::{Binary, DType, Unary, Value};
use odc_ir::graph::UnaryFn;
use odc_ir::tensor::{ExprId, Program};

type Result = std::result::Result<Value, LowerError>;

/// One map that applies `f` to the widened element.
fn each(cx: &mut Cx, a: &Args, f: impl FnOnce(&mut Program, ExprId) -> ExprId) -> Result {
    let x = a.x(0)?;
    let mut p = Program::new();
    let v = x.wide(&mut p, is(a.rank()));
    let y = f(&mut p, v);
    Ok(cx.map(&a.operands, a.out.clone(), p, y))
}

/// Arithmetic on expressions of one type.
struct Math<'p> {
    p: &'p mut Program,
    dt: DType,
}

impl Math<'_> {
    fn k(&mut self, v: f64) -> ExprId {
        self.p.constant(self.dt, v)
    }
    fn add(&mut self, a: ExprId, b: ExprId) -> ExprId {
        self.p.binary(Binary::Add, a, b)
    }
    fn sub(&mut self, a: ExprId, b: ExprId) -> ExprId {
        self.p.binary(Binary::Sub, a, b)
    }
    fn mul(&mut self, a: ExprId, b: ExprId) -> ExprId {
        self.p.binary(Binary::Mul, a, b)
    }
    fn div(&mut self, a: ExprId, b: ExprId) -> ExprId {
        self.p.binary(Binary::Div, a, b)
    }
    fn f(&mut self, f: Unary, a: ExprId) -> ExprId {
        self.p.unary(f, a)
    }
    /// `x < 0 ? a : b`.
    fn if_negative(&mut self, x: ExprId, a: ExprId, b: ExprId) -> ExprId {
        let zero = self.k(0.0);
        let c = self.p.binary(Binary::Lt, x, zero);
        self.p.select(c, a, b)
    }
    /// `clamp(alpha * x + beta, 0, 1)`.
    fn hard_sigmoid(&mut self, x: ExprId, alpha: f64, beta: f64) -> ExprId {
        let (alpha, beta, zero, one) = (self.k(alpha), self.k(beta), self.k(0.0), self.k(1.0));
        let y = self.mul(x, alpha);
        let y = self.add(y, beta);
        let y = self.p.binary(Binary::Min, y, one);
        self.p.binary(Binary::Max, y, zero)
    }
    /// `log(1 + exp(x))` without overflow: `max(x, 0) + log(1 + exp(-|x|))`.
    fn softplus(&mut self, x: ExprId) -> ExprId {
        let (zero, one) = (self.k(0.0), self.k(1.0));
        let m = self.p.binary(Binary::Max, x, zero);
        let t = self.f(Unary::Abs, x);
        let t = self.f(Unary::Neg, t);
        let t = self.f(Unary::Exp, t);
        let t = self.add(one, t);
        let t = self.f(Unary::Log, t);
        self.add(m, t)
    }
    /// `x/2 * (1 + t)`.
    fn gelu_of(&mut self, x: ExprId, t: ExprId) -> ExprId {
        let (half, one) = (self.k(0.5), self.k(1.0));
        let h = self.mul(x, half);
        let t = self.add(one, t);
        self.mul(h, t)
    }
}

pub(super) fn unary(cx: &mut Cx, a: &Args, f: UnaryFn) -> Result {
    each(cx, a, |p, x| {
        let dt = p.dtype(x);
        let mut m = Math { p, dt };
        match f {
            UnaryFn::Abs => m.f(Unary::Abs, x),
            UnaryFn::Neg => m.f(Unary::Neg, x),
            UnaryFn::Sign => m.f(Unary::Sign, x),
            UnaryFn::Sqrt => m.f(Unary::Sqrt, x),
            UnaryFn::Floor => m.f(Unary::Floor, x),
            UnaryFn::Ceil => m.f(Unary::Ceil, x),
            UnaryFn::Round => m.f(Unary::Round, x),
            UnaryFn::IsNan => m.f(Unary::IsNan, x),
            UnaryFn::IsInf => m.f(Unary::IsInf, x),
            UnaryFn::Not | UnaryFn::BitNot => m.f(Unary::Not, x),
            UnaryFn::Exp => m.f(Unary::Exp, x),
            UnaryFn::Log => m.f(Unary::Log, x),
            UnaryFn::Sin => m.f(Unary::Sin, x),
            UnaryFn::Cos => m.f(Unary::Cos, x),
            UnaryFn::Tan => m.f(Unary::Tan, x),
            UnaryFn::Asin => m.f(Unary::Asin, x),
            UnaryFn::Acos => m.f(Unary::Acos, x),
            UnaryFn::Atan => m.f(Unary::Atan, x),
            UnaryFn::Sinh => m.f(Unary::Sinh, x),
            UnaryFn::Cosh => m.f(Unary::Cosh, x),
            UnaryFn::Tanh => m.f(Unary::Tanh, x),
            UnaryFn::Asinh => m.f(Unary::Asinh, x),
            UnaryFn::Acosh => m.f(Unary::Acosh, x),
            UnaryFn::Atanh => m.f(Unary::Atanh, x),
            UnaryFn::Erf => m.f(Unary::Erf, x),
            UnaryFn::Sigmoid => m.f(Unary::Sigmoid, x),
            UnaryFn::Reciprocal => {
                let one = m.k(1.0);
                m.div(one, x)
            }
            UnaryFn::Relu => {
                let zero = m.k(0.0);
                m.p.binary(Binary::Max, x, zero)
            }
            UnaryFn::Silu => {
                let s = m.f(Unary::Sigmoid, x);
                m.mul(x, s)
            }
            UnaryFn::HardSwish => {
                let s = m.hard_sigmoid(x, 1.0 / 6.0, 0.5);
                m.mul(x, s)
            }
            UnaryFn::Softplus => m.softplus(x),
            UnaryFn::Softsign => {
                let one = m.k(1.0);
                let d = m.f(Unary::Abs, x);
                let d = m.add(one, d);
                m.div(x, d)
            }
            UnaryFn::Mish => {
                let s = m.softplus(x);
                let t = m.f(Unary::Tanh, s);
                m.mul(x, t)
            }
            UnaryFn::Gelu => {
                let c = m.k(std::f64::consts::FRAC_1_SQRT_2);
                let t = m.mul(x, c);
                let t = m.f(Unary::Erf, t);
                m.gelu_of(x, t)
            }
            UnaryFn::GeluTanh => {
                let (c, k) = (m.k((2.0 / std::f64::consts::PI).sqrt()), m.k(0.044715));
                let t = m.mul(x, x);
                let t = m.mul(t, x);
                let t = m.mul(t, k);
                let t = m.add(x, t);
                let t = m.mul(t, c);
                let t = m.f(Unary::Tanh, t);
                m.gelu_of(x, t)
            }
        }
    })
}

pub(super) fn leaky_relu(cx: &mut Cx, a: &Args, alpha: f64) -> Result {
    each(cx, a, |p, x| {
        let dt = p.dtype(x);
        let mut m = Math { p, dt };
        let k = m.k(alpha);
        let n = m.mul(x, k);
        m.if_negative(x, n, x)
    })
}

pub(super) fn elu(cx: &mut Cx, a: &Args, alpha: f64) -> Result {
    each(cx, a, |p, x| {
        let dt = p.dtype(x);
        let mut m = Math { p, dt };
        let (k, one) = (m.k(alpha), m.k(1.0));
        let n = m.f(Unary::Exp, x);
        let n = m.sub(n, one);
        let n = m.mul(k, n);
        m.if_negative(x, n, x)
    })
}

pub(super) fn hard_sigmoid(cx: &mut Cx, a: &Args, alpha: f64, beta: f64) -> Result {
    each(cx, a, |p, x| {
        let dt = p.dtype(x);
        Math { p, dt }.hard_sigmoid(x, alpha, beta)
    })
}
