//! Weight compression: large f32 constants are stored as f16 and widened where they are read; everything is still computed in f32. After
//! fusing, so that it changes no dispatch, and before scheduling, which lays out what is stored.
//!
//! A constant stays as it is where rounding could be more than noise: see [`refusal`] and [`tolerant`].

use odc_ir::core::{Binary, Const, ConstId, DType, Scalar, Value};
use odc_ir::tensor::{Expr, ExprId, Func, Module, Op, Operation, Program, operands};
use std::collections::{BTreeMap, BTreeSet};

/// Elements from which on a constant is worth it: what is smaller (biases, norms) is often what a model is most sensitive to.
pub const LEAST: usize = 1024;
/// The largest rounding error, relative to the constant's largest value.
const MOST: f64 = 1.0 / 1024.0;

/// What became of the f32 constants of at least [`LEAST`] elements.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Report {
    /// How many are stored as f16.
    pub halved: usize,
    /// Their bytes as f32 and as f16.
    pub from_bytes: u64,
    pub to_bytes: u64,
    /// The largest rounding error of any, relative to the largest value of its constant.
    pub largest_error: f64,
    /// How many stay f32, by reason.
    pub kept: BTreeMap<&'static str, usize>,
}

/// Stores large f32 constants as f16.
pub fn compress(module: &mut Module) -> Report {
    let mut report = Report::default();
    let large = |c: &Const| c.dtype == DType::F32 && c.elements() >= LEAST;
    let all: Vec<ConstId> = (0..module.consts.len() as u32).map(ConstId).collect();
    for id in all {
        let Some(c) = module.constant(id).filter(|c| large(c)) else { continue };
        let uses: Vec<Uses> = module.funcs.iter().map(|f| Uses::of(f, id)).collect();
        if uses.iter().all(|u| u.values.is_empty()) {
            continue;
        }
        let sound = module.funcs.iter().zip(&uses).all(|(f, u)| u.tolerant(f));
        let halved = if sound { halve(c) } else { Err("read in a way that could magnify the error") };
        match halved {
            Err(why) => *report.kept.entry(why).or_insert(0) += 1,
            Ok((half, error)) => {
                report.halved += 1;
                report.from_bytes += c.bytes.len() as u64;
                report.to_bytes += half.bytes.len() as u64;
                report.largest_error = report.largest_error.max(error);
                if let Some(slot) = module.consts.get_mut(id.0 as usize) {
                    *slot = half;
                }
                module.funcs.iter_mut().zip(&uses).for_each(|(f, u)| u.widen(f));
            }
        }
    }
    report
}

/// The constant in f16 and its largest error, or why it stays.
fn halve(c: &Const) -> Result<(Const, f64), &'static str> {
    let round = |x: Scalar| x.cast(DType::F32, DType::F16);
    let (mut largest, mut error, mut whole) = (0f64, 0f64, true);
    for x in c.scalars() {
        let (exact, rounded) = (x.as_f64(), round(x).as_f64());
        if exact.is_nan() || (exact.is_finite() && !rounded.is_finite()) {
            return Err("not a number, or too large for f16");
        }
        // Infinities are what they were.
        if exact.is_finite() {
            largest = largest.max(exact.abs());
            error = error.max((exact - rounded).abs());
            whole &= exact.fract() == 0.0;
        }
    }
    if whole && error > 0.0 {
        return Err("whole numbers, of which f16 has none so large");
    }
    if error > MOST * largest {
        return Err("too small for f16");
    }
    let relative = if largest > 0.0 { error / largest } else { 0.0 };
    Ok((Const::from_scalars(DType::F16, &c.shape, c.scalars().map(round)), relative))
}

/// Where a function reads one constant.
#[derive(Default)]
struct Uses {
    /// The constant's values in the function, those of its views among them.
    values: BTreeSet<Value>,
    /// Dispatches that read it, and the arguments by which their ops do.
    dispatches: Vec<(usize, BTreeSet<Value>)>,
    /// Is it read by anything else?
    escapes: bool,
}

impl Uses {
    fn of(f: &Func, id: ConstId) -> Uses {
        let mut uses = Uses::default();
        for (at, op) in f.body.ops.iter().enumerate() {
            let reads = op.operands.iter().any(|v| uses.values.contains(v));
            match &op.op {
                Op::Constant { value } if *value == id => uses.values.extend(&op.results),
                Op::View {} if reads && op.operands.len() == 1 => uses.values.extend(&op.results),
                Op::Dispatch { .. } if reads => {
                    let args = op.regions.iter().flat_map(|r| r.args.iter().zip(&op.operands));
                    let args = args.filter(|(_, v)| uses.values.contains(v)).map(|(a, _)| *a).collect();
                    uses.dispatches.push((at, args));
                }
                Op::Map { .. } | Op::Reduce { .. } | Op::Scatter { .. } | Op::View {} | Op::If { .. } | Op::Loop { .. } if reads => {
                    uses.escapes = true
                }
                _ => {}
            }
        }
        uses.escapes |= f.body.yields.iter().any(|v| uses.values.contains(v));
        uses
    }

    fn regions<'a>(&'a self, f: &'a Func) -> impl Iterator<Item = (&'a [Operation], &'a BTreeSet<Value>)> {
        self.dispatches.iter().filter_map(|(at, args)| Some((f.body.ops.get(*at)?.regions.first()?.ops.as_slice(), args)))
    }

    /// Is every use one where rounding stays as small as it is?
    fn tolerant(&self, f: &Func) -> bool {
        let passed_on = |(at, args): &(usize, BTreeSet<Value>)| {
            let region = f.body.ops.get(*at).and_then(|o| o.regions.first());
            region.is_none_or(|r| r.yields.iter().any(|v| args.contains(v)))
        };
        let op_is = |op: &Operation, args: &BTreeSet<Value>| {
            let read = |k: u32| op.operands.get(k as usize).is_some_and(|v| args.contains(v));
            match &op.op {
                Op::Map { body, .. } => tolerant(body, &read),
                Op::Reduce { body, epilogue, kind, .. } => !kind.is_arg() && tolerant(body, &read) && tolerant(epilogue, &read),
                Op::Constant { .. } | Op::View {} | Op::Scatter { .. } | Op::Dispatch { .. } | Op::If { .. } | Op::Loop { .. } => {
                    !op.operands.iter().any(|v| args.contains(v))
                }
            }
        };
        !self.escapes && !self.dispatches.iter().any(passed_on) && self.regions(f).all(|(ops, args)| ops.iter().all(|o| op_is(o, args)))
    }

    /// The constant's values are f16 from now on, and every load of one is widened.
    fn widen(&self, f: &mut Func) {
        let mut narrow = self.values.clone();
        for (at, args) in &self.dispatches {
            narrow.extend(args);
            let regions = f.body.ops.get_mut(*at).into_iter().flat_map(|o| &mut o.regions);
            for op in regions.flat_map(|r| &mut r.ops) {
                let read: Vec<bool> = op.operands.iter().map(|v| args.contains(v)).collect();
                match &mut op.op {
                    Op::Map { body, .. } => *body = widened(body, &read),
                    Op::Reduce { body, epilogue, .. } => (*body, *epilogue) = (widened(body, &read), widened(epilogue, &read)),
                    Op::Constant { .. } | Op::View {} | Op::Scatter { .. } | Op::Dispatch { .. } | Op::If { .. } | Op::Loop { .. } => {}
                }
            }
        }
        for v in narrow {
            if let Some(ty) = f.types.get_mut(v.index()) {
                ty.dtype = DType::F16;
            }
        }
    }
}

/// Do what `read` says are loads of the constant only become factors, terms, bounds, or the value itself? A divisor, an argument of a
/// function, an index or a side of a comparison may be no multiple of what it was.
fn tolerant(p: &Program, read: &dyn Fn(u32) -> bool) -> bool {
    let loaded = |e: ExprId| matches!(p.get(e), Expr::Load { operand, .. } if read(*operand));
    p.exprs.iter().all(|e| match e {
        Expr::Binary(Binary::Add | Binary::Sub | Binary::Mul | Binary::Min | Binary::Max, ..) => true,
        Expr::Binary(Binary::Div, _, b) => !loaded(*b),
        Expr::Select(c, _, _) => !loaded(*c),
        other => {
            let mut ok = true;
            operands(other, &mut |x| ok &= !loaded(x));
            ok
        }
    })
}

/// The program with `read` operands as f16 that are widened.
fn widened(p: &Program, read: &[bool]) -> Program {
    let Some(root) = p.root else { return p.clone() };
    let mut q = Program::new();
    let root = q.import(p, root, &|d| d.clone(), &mut |q, e| match e {
        Expr::Load { operand, index, .. } if read.get(*operand as usize) == Some(&true) => {
            let half = q.push(Expr::Load { operand: *operand, dtype: DType::F16, index: index.clone() });
            Some(q.cast(DType::F32, half))
        }
        _ => None,
    });
    q.returning(root)
}
