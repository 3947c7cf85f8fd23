//! The rules of loop IR: the type of every operand, and the shape of a kernel (buffers, then sizes, then one grid loop at its end).

use super::{Coop, Func, Loop, LoopKind, LoopType, Module, Op, Operation, Role, Space};
use crate::core::{self, Binary, DType, Scalar, Unary, Value, VerifyError};

/// All broken rules of a module.
pub fn verify(m: &Module) -> Vec<VerifyError> {
    let mut errors = core::verify::<Loop>(m, check);
    if errors.is_empty() {
        for f in &m.funcs {
            kernel(f, &mut errors);
        }
    }
    errors
}

/// All broken rules of one kernel.
pub fn verify_func(f: &Func) -> Vec<VerifyError> {
    let mut m = Module::new("");
    m.funcs.push(f.clone());
    verify(&m)
}

/// The rules that concern a kernel as a whole.
fn kernel(f: &Func, errors: &mut Vec<VerifyError>) {
    let mut fail = |op: &Operation, message: &str| {
        let (func, op, loc) = (f.name.clone(), core::OpSet::info(&op.op).mnemonic.into(), op.loc.to_string());
        errors.push(VerifyError { func, op, loc, message: message.into() });
    };
    let constant = constants(f);
    f.body.visit_ops(&mut |op| {
        if let (Op::For { .. }, [_, _, step, ..]) = (&op.op, op.operands.as_slice())
            && constant(*step).is_none_or(|s| s < 1)
        {
            fail(op, "the step must be a positive constant");
        }
    });
    let mut grids = 0;
    f.body.visit_ops(&mut |op| grids += usize::from(matches!(op.op, Op::For { kind: LoopKind::Grid })));
    match f.body.ops.last() {
        Some(op) if matches!(op.op, Op::For { kind: LoopKind::Grid }) => {
            if grids != 1 {
                fail(op, "a kernel has one grid loop");
            }
            let (lo, step) = (op.operands.first().and_then(|v| constant(*v)), op.operands.get(2).and_then(|v| constant(*v)));
            if (lo, step) != (Some(0), Some(1)) {
                fail(op, "a grid loop counts from 0 in steps of 1, both constants");
            }
            if !op.results.is_empty() {
                fail(op, "a grid loop carries nothing from one iteration to the next");
            }
        }
        _ => {
            let message = "the last op of a kernel must be its `for {kind = grid}`".into();
            errors.push(VerifyError { func: f.name.clone(), op: "func".into(), loc: String::new(), message });
            return;
        }
    }
    block(f, &constant, &mut |op, message| {
        let (func, op, loc) = (f.name.clone(), core::OpSet::info(&op.op).mnemonic.into(), op.loc.to_string());
        errors.push(VerifyError { func, op, loc, message: message.into() });
    });
    let mut fail = |message: String| errors.push(VerifyError { func: f.name.clone(), op: "func".into(), loc: String::new(), message });
    if !f.body.yields.is_empty() {
        fail("a kernel returns nothing; it stores".into());
    }
    let mut dims = false;
    for v in &f.body.args {
        match f.ty(*v) {
            LoopType::Ptr(_, Space::Global) if !dims => {}
            LoopType::Index => dims = true,
            t => fail(format!("parameter {v} is {t}: parameters are ptr<…, global> first, then index")),
        }
    }
}

/// The rules of a GPU kernel's block loop, and of what only it may hold.
fn block(f: &Func, constant: &dyn Fn(Value) -> Option<i64>, fail: &mut dyn FnMut(&Operation, &str)) {
    let is_block = |op: &Operation| matches!(op.op, Op::For { kind: LoopKind::Block });
    let grid = f.body.ops.last().and_then(|op| op.regions.first());
    let inner = grid.and_then(|g| g.ops.last()).filter(|op| is_block(op));
    f.body.visit_ops(&mut |op| match op.op {
        Op::For { kind: LoopKind::Block } if inner.is_none_or(|b| !std::ptr::eq(b, op)) => {
            fail(op, "a block loop is the last op of the grid loop")
        }
        Op::Shared { .. } if !f.body.ops.iter().any(|o| std::ptr::eq(o, op)) => fail(op, "stands in the kernel's outermost block only"),
        Op::Barrier {} | Op::Subgroup { .. } | Op::Lane { .. } | Op::CoopLoad {} | Op::CoopMma {} | Op::CoopStore {} if inner.is_none() => {
            fail(op, "stands in a block loop only")
        }
        _ => {}
    });
    let Some(op) = inner else { return };
    let bounds: Vec<_> = op.operands.iter().take(3).map(|v| constant(*v)).collect();
    if !matches!(bounds.as_slice(), [Some(0), Some(1..), Some(1)]) || !op.results.is_empty() {
        fail(op, "a block loop counts from 0 to a constant in steps of 1 and carries nothing");
    }
}

/// Looks up integer values defined by `const`.
fn constants(f: &Func) -> impl Fn(Value) -> Option<i64> {
    let mut known = vec![None; f.types.len()];
    f.body.visit_ops(&mut |op| {
        if let (Op::Const { value: Scalar::Int(x) }, Some(r)) = (&op.op, op.result())
            && let Some(k) = known.get_mut(r.index())
        {
            *k = Some(*x);
        }
    });
    move |v| known.get(v.index()).copied().flatten()
}

fn ty(f: &Func, v: &Value) -> Result<LoopType, String> {
    f.types.get(v.index()).copied().ok_or_else(|| format!("{v} has no type"))
}

fn expect(what: &str, found: LoopType, wanted: LoopType) -> Result<(), String> {
    if found == wanted { Ok(()) } else { Err(format!("{what} is {found}, must be {wanted}")) }
}

fn data(what: &str, t: LoopType) -> Result<DType, String> {
    match t {
        LoopType::Scalar(d) | LoopType::Vector(d, _) => Ok(d),
        LoopType::Index => Ok(DType::I64),
        LoopType::Ptr(..) => Err(format!("{what} is a pointer")),
        LoopType::Coop(_) => Err(format!("{what} is a matrix")),
    }
}

/// As [`data`], of a type that has arithmetic.
fn computed(what: &str, t: LoopType) -> Result<DType, String> {
    let d = data(what, t)?;
    if d.is_storage() { Err(format!("{what} is of {d}, which only moves: cast it first")) } else { Ok(d) }
}

/// One element of a vector: `index` and i64 are alike.
fn is_element(scalar: LoopType, d: DType) -> bool {
    scalar == LoopType::Scalar(d) || (scalar == LoopType::Index && d == DType::I64)
}

fn check(_: &Module, f: &Func, op: &Operation) -> Result<(), String> {
    let x = op.operands.iter().map(|v| ty(f, v)).collect::<Result<Vec<_>, _>>()?;
    let r = op.results.iter().map(|v| ty(f, v)).collect::<Result<Vec<_>, _>>()?;
    match (&op.op, x.as_slice(), r.as_slice()) {
        (Op::Const { value }, _, &[r]) => {
            let d = data("the result", r)?;
            let fits = match value {
                Scalar::Float(_) => d.is_float(),
                Scalar::Int(_) => d.is_int(),
                Scalar::Bool(_) => d == DType::Bool,
            };
            if fits { Ok(()) } else { Err(format!("{value:?} is no value of {r}")) }
        }
        (Op::Unary { f }, &[x], &[r]) => {
            let d = computed("the operand", x)?;
            if !d.is_float() && (f.is_transcendental() || *f == Unary::Sqrt) || d.is_float() && *f == Unary::Not {
                return Err(format!("{f} is not defined on {d}"));
            }
            expect("the result", r, x.with_dtype(f.result_dtype(d)))
        }
        (Op::Binary { f }, &[a, b], &[r]) => {
            let d = computed("the operand", a)?;
            let bits = matches!(f, Binary::And | Binary::Or | Binary::Xor | Binary::Shl | Binary::Shr);
            if bits && d.is_float() {
                return Err(format!("{f} is not defined on {d}"));
            }
            expect("the second operand", b, a)?;
            expect("the result", r, if f.is_compare() { a.with_dtype(DType::Bool) } else { a })
        }
        (Op::Fma {}, &[a, b, c], &[r]) => {
            computed("the operand", a)?;
            [b, c, r].into_iter().try_for_each(|t| expect("an operand or the result", t, a))
        }
        (Op::Select {}, &[c, a, b], &[r]) => {
            let lanes = matches!(c, LoopType::Vector(DType::Bool, n) if a.lanes() == n && matches!(a, LoopType::Vector(..)));
            if c != LoopType::Scalar(DType::Bool) && !lanes {
                return Err(format!("the condition is {c}, must be bool or a vector of bool as long as {a}"));
            }
            expect("the second value", b, a)?;
            expect("the result", r, a)
        }
        (Op::Cast {}, &[x], &[r]) => {
            data("the operand", x)?;
            data("the result", r)?;
            same_lanes(x, r)
        }
        (Op::Bitcast {}, &[x], &[r]) => {
            if let (LoopType::Ptr(_, a), LoopType::Ptr(_, b)) = (x, r) {
                return if a == b { Ok(()) } else { Err("the memory space changes".into()) };
            }
            let (a, b) = (data("the operand", x)?, data("the result", r)?);
            if a.bits() != b.bits() || (b == DType::Bool && a != b) {
                return Err(format!("{x} and {r} do not have the same bits"));
            }
            same_lanes(x, r)
        }
        (Op::Splat {}, &[x], &[r]) => match r {
            LoopType::Vector(d, _) if is_element(x, d) => Ok(()),
            LoopType::Coop(c @ Coop { role: Role::Acc, dtype, .. }) if x == LoopType::Scalar(dtype) => matrix(c),
            _ => Err(format!("cannot spread {x} over {r}")),
        },
        (Op::Extract { lane }, &[x], &[r]) => element(x, *lane, r),
        (Op::Insert { lane }, &[x, s], &[r]) => {
            element(x, *lane, s)?;
            expect("the result", r, x)
        }
        (Op::Scratch {}, &[x], &[r]) => {
            expect("the byte offset", x, LoopType::Index)?;
            match r {
                LoopType::Ptr(_, Space::Scratch) => Ok(()),
                _ => Err(format!("the result is {r}, must be a pointer to scratch")),
            }
        }
        (Op::Shared { dtype, len }, &[], &[r]) => {
            if *len == 0 {
                return Err("an array of no elements".into());
            }
            expect("the result", r, LoopType::Ptr(*dtype, Space::Workgroup))
        }
        (Op::Barrier {}, &[], &[]) => Ok(()),
        (Op::Atomic { f }, &[p, at, v], &[]) => {
            access(p, at, v)?;
            let ok = matches!(f, Binary::Add | Binary::And | Binary::Or | Binary::Xor | Binary::Min | Binary::Max);
            let word = matches!(v, LoopType::Scalar(DType::U32 | DType::I32));
            if ok && word { Ok(()) } else { Err(format!("no atomic {f} on {v}")) }
        }
        (Op::Subgroup { f }, &[x], &[r]) => {
            if !matches!(f, Binary::Add | Binary::Mul | Binary::Min | Binary::Max) {
                return Err(format!("no {f} over a subgroup"));
            }
            match x {
                LoopType::Scalar(d) if d != DType::Bool => expect("the result", r, x),
                _ => Err(format!("no subgroup op on {x}")),
            }
        }
        (Op::Lane { .. }, &[], &[r]) => expect("the result", r, LoopType::Index),
        (Op::HalfBits {}, &[x], &[r]) => {
            expect("the operand", x, LoopType::Scalar(DType::F32))?;
            expect("the result", r, LoopType::Scalar(DType::U32))
        }
        (Op::FromHalfBits {}, &[x], &[r]) => {
            expect("the operand", x, LoopType::Scalar(DType::U32))?;
            expect("the result", r, LoopType::Scalar(DType::F32))
        }
        (Op::Dot4 { .. }, &[a, b, acc], &[r]) => {
            expect("the first factor", a, LoopType::Scalar(DType::U32))?;
            expect("the second factor", b, LoopType::Scalar(DType::U32))?;
            expect("the third operand", acc, LoopType::Scalar(DType::I32))?;
            expect("the result", r, acc)
        }
        (Op::CoopLoad {}, &[p, at, stride], &[r]) => coop_access(p, at, stride, r).map(|_| ()),
        (Op::CoopStore {}, &[p, at, stride, v], &[]) => match coop_access(p, at, stride, v)?.role {
            Role::Acc => Ok(()),
            Role::A | Role::B => Err(format!("{v} is a factor, and only acc is stored")),
        },
        (Op::CoopMma {}, &[a, b, c], &[r]) => {
            let (LoopType::Coop(x), LoopType::Coop(y), LoopType::Coop(z)) = (a, b, c) else { return Err("operands are matrices".into()) };
            [x, y, z].into_iter().try_for_each(matrix)?;
            let wide = matches!((x.dtype, y.dtype, z.dtype), (DType::F16, DType::F16, DType::F32) | (DType::I8, DType::I8, DType::I32));
            let fits = (x.rows, x.columns, y.columns) == (z.rows, y.rows, z.columns);
            if (x.role, y.role, z.role) != (Role::A, Role::B, Role::Acc) || !wide || !fits {
                return Err(format!("no product of {a} and {b} in {c}"));
            }
            expect("the result", r, c)
        }
        (Op::Load {}, &[p, at], &[r]) => access(p, at, r),
        (Op::Store {}, &[p, at, v], &[]) => access(p, at, v),
        (Op::For { .. }, [lo, hi, step, init @ ..], results) => {
            [lo, hi, step].into_iter().try_for_each(|t| expect("a bound or the step", *t, LoopType::Index))?;
            let [body] = op.regions.as_slice() else { return Err("needs one region".into()) };
            let args = body.args.iter().map(|v| ty(f, v)).collect::<Result<Vec<_>, _>>()?;
            match args.split_first() {
                Some((LoopType::Index, carried)) if carried == init => {}
                _ => return Err("the region takes the counter (index) and one value for each initial value, of its type".into()),
            }
            yields(f, &body.yields, init)?;
            if results == init { Ok(()) } else { Err("the results have the types of the initial values".into()) }
        }
        (Op::If {}, &[c], results) => {
            expect("the condition", c, LoopType::Scalar(DType::Bool))?;
            for b in &op.regions {
                if !b.args.is_empty() {
                    return Err("the regions take no arguments".into());
                }
                yields(f, &b.yields, results)?;
            }
            Ok(())
        }
        (
            Op::Const { .. }
            | Op::Unary { .. }
            | Op::Binary { .. }
            | Op::Fma {}
            | Op::Select {}
            | Op::Cast {}
            | Op::Bitcast {}
            | Op::Splat {}
            | Op::Extract { .. }
            | Op::Insert { .. }
            | Op::Scratch {}
            | Op::Shared { .. }
            | Op::Barrier {}
            | Op::Atomic { .. }
            | Op::Subgroup { .. }
            | Op::Lane { .. }
            | Op::HalfBits {}
            | Op::FromHalfBits {}
            | Op::Dot4 { .. }
            | Op::CoopLoad {}
            | Op::CoopMma {}
            | Op::CoopStore {}
            | Op::Load {}
            | Op::Store {}
            | Op::For { .. }
            | Op::If {},
            ..,
        ) => Err("wrong number of operands or results".into()),
    }
}

fn same_lanes(a: LoopType, b: LoopType) -> Result<(), String> {
    let vector = |t| matches!(t, LoopType::Vector(..));
    if a.lanes() == b.lanes() && vector(a) == vector(b) { Ok(()) } else { Err(format!("{a} and {b} differ in lanes")) }
}

fn element(vector: LoopType, lane: u32, scalar: LoopType) -> Result<(), String> {
    match vector {
        LoopType::Vector(_, n) if lane >= n => Err(format!("lane {lane} of {vector}")),
        LoopType::Vector(d, _) if is_element(scalar, d) => Ok(()),
        _ => Err(format!("{scalar} is no lane of {vector}")),
    }
}

fn access(ptr: LoopType, at: LoopType, value: LoopType) -> Result<(), String> {
    expect("the offset", at, LoopType::Index)?;
    let d = data("the value", value)?;
    match ptr {
        LoopType::Ptr(p, _) if p == d => Ok(()),
        _ => Err(format!("{value} does not lie behind {ptr}")),
    }
}

/// Shapes that some machine has: f16 or 8-bit factors and 32-bit sums, whose lines fill whole words.
fn matrix(c: Coop) -> Result<(), String> {
    let dtype = if c.role == Role::Acc { matches!(c.dtype, DType::F32 | DType::I32) } else { matches!(c.dtype, DType::F16 | DType::I8) };
    let extent = |n: u32| (1..=64).contains(&n) && n.is_multiple_of(4);
    if dtype && extent(c.rows) && extent(c.columns) { Ok(()) } else { Err(format!("no machine has {}", LoopType::Coop(c))) }
}

fn coop_access(ptr: LoopType, at: LoopType, stride: LoopType, value: LoopType) -> Result<Coop, String> {
    expect("the offset", at, LoopType::Index)?;
    expect("the stride", stride, LoopType::Index)?;
    let LoopType::Coop(c) = value else { return Err(format!("{value} is no matrix")) };
    matrix(c)?;
    match ptr {
        LoopType::Ptr(d, Space::Global | Space::Workgroup) if d == c.memory().0 => Ok(c),
        _ => Err(format!("{value} does not lie behind {ptr}")),
    }
}

fn yields(f: &Func, vs: &[Value], wanted: &[LoopType]) -> Result<(), String> {
    let found = vs.iter().map(|v| ty(f, v)).collect::<Result<Vec<_>, _>>()?;
    if found == wanted { Ok(()) } else { Err("a region yields values of the results' types, in order".into()) }
}
