//! The dispatches of a program at given sizes: nodes, kind, bytes, arithmetic and what the target's costs say of the time.

use crate::flops;
use crate::target::AnyTarget;
use crate::{Build, show};
use odc_ir::core::{Binding, DType, Dim, symbol_ranges};
use odc_ir::program::{BufferRef, Command};
use odc_ir::tensor::{Axes, Expr, Index, Op, Operation, Program, ReduceKind, Template};
use odc_passes::Cpu;
use odc_passes::cost::{self, Place, Rates};
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// One dispatch of the program.
pub struct Row {
    /// Its position among the commands.
    pub command: usize,
    pub kernel: String,
    /// How the kernel works, in a line; may be empty.
    pub note: String,
    /// ONNX nodes, first to last.
    pub nodes: Vec<String>,
    pub kind: &'static str,
    pub read: i64,
    pub written: i64,
    pub flops: i64,
    /// Predicted: on CPUs by the cost model, elsewhere from the target's peak and bandwidth alone.
    pub us: f64,
    /// The rows whose results it reads.
    pub after: Vec<usize>,
}

/// Of all dispatches of `build`, in order of execution.
pub fn rows(build: &Build, target: &AnyTarget, at: &Binding) -> Vec<Row> {
    // Equal places in the model have equal locs; the plan keeps their order.
    let mut ops: BTreeMap<String, Vec<&Operation>> = BTreeMap::new();
    let mut types = BTreeMap::new();
    let mut times = BTreeMap::new();
    let mut symbols = build.dispatches.symbols.clone();
    for (s, known) in &mut symbols {
        if let Ok(n) = at.eval(&Dim::from(s)) {
            (known.lo, known.hi) = (n, Some(n));
        }
    }
    let ranges = symbol_ranges(&symbols);
    let cpu = build.machine.cpu().unwrap_or(Cpu::BASELINE);
    let place = Place { ranges: &ranges, symbols: &symbols, cpu };
    for f in &build.dispatches.funcs {
        let weights = cost::constants(f);
        for op in f.body.ops.iter().filter(|o| matches!(o.op, Op::Dispatch { .. })) {
            ops.entry(op.loc.to_string()).or_default().push(op);
            let ty = |v: &odc_ir::core::Value| f.types.get(v.index()).cloned();
            if build.machine.cpu().is_some() {
                times.insert(std::ptr::from_ref(op), Rates::CPU.time(&cost::dispatch(f, op, &weights, &place)) / 1e3);
            }
            types.insert(
                std::ptr::from_ref(op),
                (op.operands.iter().map(ty).collect::<Vec<_>>(), op.results.iter().map(ty).collect::<Vec<_>>()),
            );
        }
    }
    let mut seen: BTreeMap<String, usize> = BTreeMap::new();
    let mut writer: BTreeMap<BufferRef, usize> = BTreeMap::new();
    let mut out: Vec<Row> = vec![];
    for (command, c) in build.program.commands.iter().enumerate() {
        let (reads, writes) = c.accesses();
        let mut after: Vec<usize> = reads.iter().filter_map(|b| writer.get(b).copied()).collect();
        after.sort_unstable();
        after.dedup();
        let Command::Dispatch { kernel, loc, .. } = c else {
            // What is copied, or carried by a loop, is made by who made it last.
            if let Some(last) = after.last() {
                writer.extend(writes.into_iter().map(|b| (b, *last)));
            }
            continue;
        };
        writer.extend(writes.into_iter().map(|b| (b, out.len())));
        let nth = seen.entry(loc.to_string()).or_default();
        let list = ops.get(&loc.to_string());
        let op = list.and_then(|l| l.get(*nth).or(l.last()).copied());
        *nth += 1;
        let size = |d: &Dim| at.eval(d).unwrap_or(0);
        let (mut read, mut written, mut flops) = (0i64, 0i64, 0);
        if let Some((op, (operands, results))) = op.and_then(|o| Some((o, types.get(&std::ptr::from_ref(o))?))) {
            for (k, ty) in operands.iter().enumerate() {
                let bytes = ty.as_ref().map_or(0, |t| size(&t.bytes()));
                read = read.saturating_add(touched(op, k, at).map_or(bytes, |t| t.min(bytes)));
            }
            written = results.iter().flatten().fold(0i64, |sum, t| sum.saturating_add(size(&t.bytes())));
            flops = size(&flops::of(op));
        }
        out.push(Row {
            command,
            kernel: build.program.kernels.get(*kernel as usize).map_or(String::new(), |f| f.name.clone()),
            note: build.program.note(*kernel).lines().next().unwrap_or_default().into(),
            nodes: loc.0.iter().map(|n| n.to_string()).collect(),
            kind: op.map_or("other", kind),
            read,
            written,
            flops,
            us: op
                .and_then(|o| times.get(&std::ptr::from_ref(o)).copied())
                .unwrap_or_else(|| predicted_us(target, read.saturating_add(written), flops)),
            after,
        });
    }
    out
}

/// The most bytes of operand `k` that the loads of a dispatch can touch: a row of a table is not the table.
fn touched(dispatch: &Operation, k: usize, at: &Binding) -> Option<i64> {
    let region = dispatch.regions.first()?;
    let arg = region.args.get(k)?;
    let mut sum = 0i64;
    for op in region.ops.iter().filter(|o| o.operands.contains(arg)) {
        let (points, programs): (Dim, Vec<&Program>) = match &op.op {
            Op::Map { axes, body, .. } => (Dim::product(axes.iter().map(|(_, n)| n)), vec![body]),
            Op::Reduce { axes, raxes, body, epilogue, .. } => {
                (Dim::product(axes.iter().chain(raxes).map(|(_, n)| n)), vec![body, epilogue])
            }
            _ => return None,
        };
        let size = |d: DType| d.size() as i64;
        let loads = |p: &&Program| {
            let of = |e: &Expr| matches!(e, Expr::Load { operand, .. } if op.operands.get(*operand as usize) == Some(arg));
            p.exprs.iter().zip(&p.dtypes).filter(|(e, _)| of(e)).map(|(_, d)| size(*d)).sum::<i64>()
        };
        let points = at.eval(&points).ok()?;
        sum = sum.saturating_add(points.saturating_mul(programs.iter().map(loads).sum()));
    }
    Some(sum)
}

/// A word for what it does.
fn kind(dispatch: &Operation) -> &'static str {
    let Op::Dispatch { schedule } = &dispatch.op else { return "other" };
    let ops: Vec<&Op> = dispatch.regions.iter().flat_map(|r| &r.ops).map(|o| &o.op).collect();
    // A window: one coordinate of both a result's axis and a sum's.
    let windows = |axes: &Axes, raxes: &Axes, p: &Program| {
        let of = |d: &Dim, among: &Axes| among.iter().any(|(s, _)| d.uses(s));
        let moved = |i: &Index| matches!(i, Index::Dim(d) if of(d, axes) && of(d, raxes));
        p.loads().any(|(_, index)| index.iter().any(moved))
    };
    let product = |op: &&&Op| {
        let Op::Reduce { kind: ReduceKind::Sum, body, .. } = op else { return false };
        body.root.is_some_and(|r| matches!(body.get(r), Expr::Binary(odc_ir::core::Binary::Mul, a, b) if a != b))
    };
    match (ops.as_slice(), ops.iter().find(product)) {
        (ops, Some(_)) if ops.len() > 2 && matches!(schedule.template, Template::Rows | Template::Attention) => "attention",
        (_, Some(Op::Reduce { axes, raxes, body, .. })) if windows(axes, raxes, body) => "convolution",
        (_, Some(_)) => "product",
        ([Op::Scatter { .. }, ..], _) => "scatter",
        ([Op::Map { body, .. }], _) if body.root.is_some_and(|r| matches!(body.get(r), Expr::Load { .. } | Expr::Const(..))) => "movement",
        (ops, _) if ops.iter().all(|o| matches!(o, Op::Map { .. })) => "elementwise",
        ([_], _) => "reduction",
        _ => "rows",
    }
}

/// Bytes or arithmetic, whichever takes longer, and the launch; on one core of a CPU.
fn predicted_us(target: &AnyTarget, bytes: i64, flops: i64) -> f64 {
    let (gflops, gbs, launch) = match target {
        AnyTarget::Cpu(t) => (t.costs.peak_gflops, t.costs.bandwidth_gbs, t.costs.dispatch_us),
        AnyTarget::Gpu(t) => (t.costs.peak_gflops, t.costs.bandwidth_gbs, t.costs.dispatch_us),
    };
    launch + (flops as f64 / (gflops * 1e3)).max(bytes as f64 / (gbs * 1e3))
}

impl Row {
    pub fn json(&self) -> Value {
        json!({
            "command": self.command, "kernel": self.kernel, "note": self.note, "nodes": self.nodes, "kind": self.kind, "read": self.read,
            "written": self.written, "flops": self.flops, "us": (self.us * 1e3).round() / 1e3, "after": self.after,
        })
    }

    pub fn text(&self, number: usize) -> String {
        let flops = flops::text(&Dim::from(self.flops));
        let (read, written) = (show::bytes(self.read.max(0) as u64), show::bytes(self.written.max(0) as u64));
        format!("{number:4}  {:11} {flops:>11}  reads {read:>10}  writes {written:>10}  {}", self.kind, self.nodes.join(" + "))
    }
}
