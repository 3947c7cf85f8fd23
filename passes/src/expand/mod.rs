//! Transcendental functions and powers become polynomials in loop IR, so that every backend gives the same results from plain
//! arithmetic. No branches, but for the far arguments of `sin`, `cos` and `tan`; scalars and vectors alike.
//!
//! Largest error in units in the last place, with fused and with separate multiply-add (tests sweep f32):
//!
//! | function | f32 | f64 | remarks |
//! |---|---|---|---|
//! | exp | 2 | 2 | results below the least normal number are 0 |
//! | sigmoid | 3 | 3 | as exp, from some point below the least normal number |
//! | tanh, erf, sinh, cosh | 3 | 4 | |
//! | log | 2 | 2 | denormal arguments included |
//! | sin, cos | 2 | 2 | f64: for arguments up to 10^6, beyond with an absolute error of 2^-53 times the argument |
//! | tan | 4 | 4 | f64 as sin |
//! | asin, acos, atan | 3 | 3 | |
//! | asinh, acosh, atanh | 4 | 4 | |
//! | pow | 1 | 2 + 2 abs(y ln x) | specials as C's `pow`; f32 lane by lane through f64 |
//!
//! Without 64-bit types ([`expand_for`]): f32 pow 3, sin, cos and tan of far arguments 4.
//!
//! f16 and bf16 go through f32. Signed zeros, infinities and NaN are as in IEEE 754 and C.
//!
//! Element types that only exist to be stored become bytes here too ([`storage`]).

mod coefficients;
mod exp;
mod log;
mod math;
mod pow;
mod reduce;
mod storage;
mod trig;

use math::Math;
use odc_ir::core::{Binary, Builder, DType, Unary, Value};
use odc_ir::loops::{Block, Func, Loop, LoopType, Op, Operation};
use std::collections::BTreeMap;

/// Replaces every transcendental op of `func`.
pub fn expand(func: &mut Func) {
    expand_with(func, How { narrow: false, keep: &|_| false });
}

/// For machines without 64-bit arithmetic: replaces the transcendental ops of `func` but those of f32 that `keep` says the machine
/// has. f32 is expanded to 32-bit arithmetic alone.
pub fn expand_for(func: &mut Func, keep: &dyn Fn(Unary) -> bool) {
    expand_with(func, How { narrow: true, keep });
}

#[derive(Clone, Copy)]
struct How<'k> {
    /// f32 without 64-bit types.
    narrow: bool,
    keep: &'k dyn Fn(Unary) -> bool,
}

fn expand_with(func: &mut Func, how: How<'_>) {
    storage::lower(func);
    let mut needed = false;
    func.body.visit_ops(&mut |op| needed |= is_transcendental(func, op, how));
    if !needed {
        return;
    }
    let body = std::mem::take(&mut func.body);
    let mut b = Builder::<Loop>::new(func);
    let body = block(&mut b, body, &mut BTreeMap::new(), how);
    func.body = body;
    func.remove_dead();
    func.renumber();
}

fn dtype(func: &Func, v: Option<&Value>) -> Option<DType> {
    v.and_then(|v| func.types.get(v.index())).map(|t| t.dtype())
}

fn is_transcendental(func: &Func, op: &Operation, how: How<'_>) -> bool {
    match op.op {
        Op::Unary { f } => f.is_transcendental() && !(dtype(func, op.operands.first()) == Some(DType::F32) && (how.keep)(f)),
        Op::Binary { f: Binary::Pow } => dtype(func, op.operands.first()).is_some_and(DType::is_float),
        _ => false,
    }
}

/// Rebuilds a block; `new` maps results of replaced ops to what they became.
fn block(b: &mut Builder<'_, Loop>, old: Block, new: &mut BTreeMap<Value, Value>, how: How<'_>) -> Block {
    let outer = std::mem::replace(&mut b.block, Block { args: old.args, ops: vec![], yields: vec![] });
    let map = |new: &BTreeMap<Value, Value>, vs: &mut [Value]| vs.iter_mut().for_each(|v| *v = new.get(v).copied().unwrap_or(*v));
    for mut op in old.ops {
        map(new, &mut op.operands);
        if is_transcendental(b.func, &op, how)
            && let (Some(x), Some(r)) = (op.operands.first(), op.result())
        {
            b.loc = op.loc.clone();
            let y = function(b, &op.op, *x, op.operands.get(1).copied(), how);
            new.insert(r, y);
            continue;
        }
        op.regions = std::mem::take(&mut op.regions).into_iter().map(|r| block(b, r, new, how)).collect();
        b.block.ops.push(op);
    }
    let mut yields = old.yields;
    map(new, &mut yields);
    let mut done = std::mem::replace(&mut b.block, outer);
    done.yields = yields;
    done
}

fn function(b: &mut Builder<'_, Loop>, op: &Op, x: Value, y: Option<Value>, how: How<'_>) -> Value {
    let t = *b.ty(x);
    if matches!(t.dtype(), DType::F16 | DType::BF16) {
        let wide = t.with_dtype(DType::F32);
        let x = b.op1(Op::Cast {}, &[x], wide);
        let y = y.map(|y| b.op1(Op::Cast {}, &[y], wide));
        let r = function(b, op, x, y, how);
        return b.op1(Op::Cast {}, &[r], t);
    }
    let mut m = Math::new(b, t);
    m.narrow = how.narrow && t.dtype() == DType::F32;
    m.exp_kept = m.narrow && (how.keep)(Unary::Exp);
    match (op, y) {
        // A half's function that the machine has in f32.
        (Op::Unary { f }, _) if m.narrow && (how.keep)(*f) => m.un(*f, x),
        (Op::Unary { f }, _) => unary(&mut m, *f, x),
        (_, Some(y)) => m.pow(x, y),
        _ => x,
    }
}

fn unary(m: &mut Math<'_, '_>, f: Unary, x: Value) -> Value {
    match f {
        Unary::Exp => m.exp(x),
        Unary::Log => m.log(x),
        Unary::Sin => m.sin(x),
        Unary::Cos => m.cos(x),
        Unary::Tan => m.tan(x),
        Unary::Asin => m.asin(x),
        Unary::Acos => m.acos(x),
        Unary::Atan => m.atan(x),
        Unary::Sinh => m.sinh(x),
        Unary::Cosh => m.cosh(x),
        Unary::Tanh => m.tanh(x),
        Unary::Asinh => m.asinh(x),
        Unary::Acosh => m.acosh(x),
        Unary::Atanh => m.atanh(x),
        Unary::Erf => m.erf(x),
        Unary::Sigmoid => m.sigmoid(x),
        Unary::Neg
        | Unary::Abs
        | Unary::Sign
        | Unary::Sqrt
        | Unary::Floor
        | Unary::Ceil
        | Unary::Trunc
        | Unary::Round
        | Unary::IsNan
        | Unary::IsInf
        | Unary::Not => {
            let t: LoopType = *m.b.ty(x);
            m.b.op1(Op::Unary { f }, &[x], t)
        }
    }
}
