//! Functions of single elements, with broadcasting. What is undefined or steep somewhere is kept away from there.

use super::{Gen, Item};
use odc_ir::core::{DType, Dim, Scalar, TensorType};
use odc_ir::graph::{BinaryFn, Op, UnaryFn};

impl Gen<'_, '_> {
    fn apply(&mut self, f: UnaryFn, x: &Item, limit: f64) -> Option<Item> {
        self.emit(Op::Unary { f }, &[x], x.ty.clone(), false, limit)
    }
    /// `|x| + shift`
    pub(super) fn above(&mut self, x: &Item, shift: f64) -> Option<Item> {
        let abs = self.emit(Op::Unary { f: UnaryFn::Abs }, &[x], x.ty.clone(), x.exact, x.limit)?;
        let k = self.splat(shift);
        self.emit(Op::Binary { f: BinaryFn::Add }, &[&abs, &k], x.ty.clone(), x.exact, x.limit + shift)
    }
    /// `x` scaled into -0.8 to 0.8.
    fn inside_one(&mut self, x: &Item) -> Option<Item> {
        let k = self.splat(0.8 / x.limit.max(1.0));
        self.emit(Op::Binary { f: BinaryFn::Mul }, &[x, &k], x.ty.clone(), false, 0.8)
    }
    /// Something that broadcasts against `x`: a value of the same shape, of a shape with ones, or a constant.
    fn partner(&mut self, x: &Item) -> Item {
        let (dtype, shape) = (x.ty.dtype, x.ty.shape.clone());
        let fits = |i: &Item| {
            let off = shape.len() as isize - i.rank() as isize;
            i.ty.dtype == dtype && off >= 0 && i.ty.shape.iter().zip(&shape[off.max(0) as usize..]).all(|(a, b)| a == b || a.is(1))
        };
        if !self.c.chance(30)
            && let Some(y) = self.item(fits)
        {
            return y;
        }
        let known: Vec<i64> = shape.iter().rev().map_while(Dim::as_const).collect();
        let rank = self.c.below(known.len() + 1);
        let mut dims: Vec<i64> = known.into_iter().take(rank).collect();
        dims.reverse();
        if dims.iter().product::<i64>() > 64 || self.c.chance(20) {
            dims.iter_mut().for_each(|d| *d = 1);
        }
        if dtype == DType::F32 {
            return self.weight(&dims);
        }
        let n = dims.iter().product::<i64>();
        let data = (0..n).map(|_| Scalar::Int(self.c.between(0, 3)).wrap(dtype)).collect();
        self.constant(dtype, &dims, data)
    }
}

pub(super) fn unary(g: &mut Gen<'_, '_>) -> Option<()> {
    use UnaryFn::{
        Abs, Acos, Acosh, Asin, Asinh, Atan, Atanh, Ceil, Cos, Cosh, Erf, Exp, Floor, Gelu, GeluTanh, HardSwish, IsInf, IsNan, Log, Mish,
        Neg, Reciprocal, Relu, Round, Sigmoid, Sign, Silu, Sin, Sinh, Softplus, Softsign, Sqrt, Tan, Tanh,
    };
    let x = g.float(0)?;
    match g.c.below(6) {
        0 => {
            let f = *g.c.pick(&[Relu, Neg, Abs]);
            g.emit(Op::Unary { f }, &[&x], x.ty.clone(), x.exact, x.limit)
        }
        1 => {
            let f = *g.c.pick(&[Sigmoid, Tanh, Erf, Gelu, GeluTanh, Silu, HardSwish, Softplus, Softsign, Mish, Sin, Cos, Atan, Asinh]);
            g.apply(f, &x, x.limit.max(2.0))
        }
        2 => {
            let x = g.item(|i| i.is_float() && i.limit <= 4.0)?;
            let f = *g.c.pick(&[Exp, Sinh, Cosh]);
            g.apply(f, &x, x.limit.exp())
        }
        3 => {
            let y = g.above(&x, 1.5)?;
            let f = *g.c.pick(&[Sqrt, Reciprocal, Log, Acosh]);
            g.apply(f, &y, y.limit)
        }
        4 => {
            let y = g.inside_one(&x)?;
            let f = *g.c.pick(&[Asin, Acos, Tan, Atanh]);
            g.apply(f, &y, 3.0)
        }
        _ => {
            let x = g.item(|i| i.is_float() && i.exact)?;
            let f = *g.c.pick(&[Floor, Ceil, Round, Sign, IsNan, IsInf]);
            let dtype = if matches!(f, IsNan | IsInf) { DType::Bool } else { DType::F32 };
            g.emit(Op::Unary { f }, &[&x], TensorType::new(dtype, x.ty.shape.clone()), true, x.limit + 1.0)
        }
    }
    .map(drop)
}

pub(super) fn binary(g: &mut Gen<'_, '_>) -> Option<()> {
    use BinaryFn::{Add, Div, Max, Min, Mod, Mul, Pow, Prelu, Rem, Sub};
    let x = g.float(0)?;
    let mut y = g.partner(&x);
    let f = *g.c.pick(&[Add, Mul, Sub, Div, Max, Min, Pow, Prelu, Mod]);
    let (mut x, mut exact, mut limit) = (x.clone(), x.exact && y.exact, x.limit.max(y.limit));
    let f = match f {
        Add | Sub => {
            limit = x.limit + y.limit;
            f
        }
        Mul | Prelu => {
            (exact, limit) = (false, x.limit * y.limit.max(1.0));
            f
        }
        Div => {
            y = g.above(&y, 0.5)?;
            (exact, limit) = (false, x.limit * 2.0);
            f
        }
        Pow => {
            if x.limit > 8.0 || y.limit > 2.0 {
                return None;
            }
            x = g.above(&x, 0.5)?;
            (exact, limit) = (false, (x.limit + 1.0).powi(2));
            f
        }
        Mod if x.exact => {
            // 0 is no divisor; its quarter steps keep the quotient's floor exact.
            let k = *g.c.pick(&[2.0, 1.0, 0.5, -2.0]);
            y = g.splat(k);
            limit = 2.0;
            *g.c.pick(&[Mod, Rem])
        }
        Mod => return None,
        _ => f,
    };
    g.emit(Op::Binary { f }, &[&x, &y], x.ty.clone(), exact, limit).map(drop)
}

pub(super) fn integer(g: &mut Gen<'_, '_>) -> Option<()> {
    use BinaryFn::{Add, BitAnd, BitOr, BitXor, Div, Max, Min, Mod, Mul, Rem, Shl, Shr, Sub};
    let x = g.item(|i| i.ty.dtype.is_int())?;
    let f = *g.c.pick(&[Add, Sub, Mul, Min, Max, BitAnd, BitOr, BitXor, Div, Mod, Rem, Shl, Shr]);
    if g.c.chance(10) {
        let f = *g.c.pick(&[UnaryFn::BitNot, UnaryFn::Neg, UnaryFn::Abs, UnaryFn::Sign]);
        return g.emit(Op::Unary { f }, &[&x], x.ty.clone(), true, x.limit + 1.0).map(drop);
    }
    let y = if matches!(f, Div | Mod | Rem | Shl | Shr) {
        let k = *g.c.pick(&[1, 2, 3]);
        g.constant(x.ty.dtype, &[], vec![Scalar::Int(k)])
    } else {
        g.partner(&x)
    };
    let limit = (x.limit + 4.0) * (y.limit + 4.0);
    g.emit(Op::Binary { f }, &[&x, &y], x.ty.clone(), true, limit).map(drop)
}

pub(super) fn logic(g: &mut Gen<'_, '_>) -> Option<()> {
    use BinaryFn::{And, Eq, Ge, Gt, Le, Lt, Ne, Or, Xor};
    if g.c.chance(40)
        && let Some(x) = g.item(|i| i.ty.dtype == DType::Bool)
    {
        if g.c.chance(30) {
            return g.emit(Op::Unary { f: UnaryFn::Not }, &[&x], x.ty.clone(), true, 1.0).map(drop);
        }
        let y = g.partner(&x);
        let f = *g.c.pick(&[And, Or, Xor]);
        return g.emit(Op::Binary { f }, &[&x, &y], x.ty.clone(), true, 1.0).map(drop);
    }
    // What only stores numbers does not compare them.
    let x = g.item(|i| i.exact && i.ty.dtype != DType::Bool && !i.ty.dtype.is_storage())?;
    let y = g.partner(&x);
    if !y.exact {
        return None;
    }
    let f = *g.c.pick(&[Lt, Le, Gt, Ge, Eq, Ne]);
    g.emit(Op::Binary { f }, &[&x, &y], TensorType::new(DType::Bool, x.ty.shape.clone()), true, 1.0).map(drop)
}

pub(super) fn select(g: &mut Gen<'_, '_>) -> Option<()> {
    let cond = g.item(|i| i.ty.dtype == DType::Bool)?;
    let a = g.item(|i| i.is_float() && i.ty.shape == cond.ty.shape)?;
    let b = g.partner(&a);
    g.emit(Op::Select {}, &[&cond, &a, &b], a.ty.clone(), a.exact && b.exact, a.limit.max(b.limit)).map(drop)
}

pub(super) fn cast(g: &mut Gen<'_, '_>) -> Option<()> {
    let x = g.item(|i| i.exact)?;
    let to = [DType::F32, DType::I64, DType::Bool, DType::I32, DType::F64, DType::F16, DType::F8E4M3FN, DType::F4E2M1];
    let to = *g.c.pick(&to);
    if to == x.ty.dtype {
        return None;
    }
    let y = g.emit(Op::Cast {}, &[&x], TensorType::new(to, x.ty.shape.clone()), true, x.limit)?;
    if matches!(to, DType::F64 | DType::F16) || to.is_storage() {
        g.emit(Op::Cast {}, &[&y], TensorType::new(DType::F32, x.ty.shape.clone()), true, x.limit)?;
    }
    Some(())
}

/// Bytes with a sign and without: what a cast would wrap, a bitcast leaves.
pub(super) fn bitcast(g: &mut Gen<'_, '_>) -> Option<()> {
    let (from, to) = *g.c.pick(&[(DType::U8, DType::I8), (DType::I8, DType::U8)]);
    let x = match g.item(|i| i.ty.dtype == from) {
        Some(i) => i,
        None => {
            let x = g.item(|i| i.is_float() && i.exact && i.limit <= 100.0)?;
            let x = if from == DType::U8 { g.above(&x, 0.0)? } else { x };
            g.emit(Op::Cast {}, &[&x], TensorType::new(from, x.ty.shape.clone()), true, x.limit)?
        }
    };
    g.emit(Op::Bitcast {}, &[&x], TensorType::new(to, x.ty.shape.clone()), true, 255.0).map(drop)
}

pub(super) fn activation(g: &mut Gen<'_, '_>) -> Option<()> {
    let x = g.float(0)?;
    let op = match g.c.below(3) {
        0 => Op::LeakyRelu { alpha: 0.125 },
        1 => Op::Elu { alpha: 0.75 },
        _ => Op::HardSigmoid { alpha: 0.25, beta: 0.5 },
    };
    g.emit(op, &[&x], x.ty.clone(), false, x.limit.max(1.0)).map(drop)
}
