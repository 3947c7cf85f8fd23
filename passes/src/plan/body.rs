//! Bodies of branches and loops: planned by themselves, then put into the list of whoever calls them. Their memory is one item of
//! the caller's arena, their inputs and outputs are the caller's buffers, or what the loop moves from iteration to iteration.

use super::values::{Call, Graph};
use super::{FuncPlan, PlanError, Planner};
use odc_ir::core::{Callee, Dim, LoopForm, OpSet, Ranges, TensorType};
use odc_ir::program::{BufferRef, Carried, Command, Condition, Loop, Moving, Slot, larger};
use odc_ir::tensor::Op;

/// Deeper calls are refused.
const MAX_DEPTH: usize = 32;
/// Bytes of an iteration's number, and of a bool.
const NUMBER: i64 = 8;
const BOOL: i64 = 1;

/// What a call runs.
pub(super) enum Bodies {
    /// What runs where the condition holds, and where not.
    If(Box<[FuncPlan; 2]>),
    Loop(Box<LoopBody>),
}

pub(super) struct LoopBody {
    body: FuncPlan,
    trips: Dim,
    form: LoopForm,
    /// Does the body ask for the iteration's number?
    numbered: bool,
    carried_bytes: Vec<Dim>,
}

impl<'m> Planner<'m> {
    pub(super) fn bodies(&mut self, call: &Call, depth: usize) -> Result<Bodies, PlanError> {
        let (op, loc) = (call.op.op.info().mnemonic.to_string(), call.op.loc.to_string());
        if self.options.split_access {
            return Err(PlanError::Control { op, loc });
        }
        let refused = || PlanError::Callee { op: op.clone(), loc: loc.clone() };
        let module = self.module;
        let mut plan = |name: &Callee| {
            let func = module.func(name).filter(|_| depth < MAX_DEPTH).ok_or_else(refused)?;
            self.func(func, true, depth + 1)
        };
        match &call.op.op {
            Op::If { then, otherwise } => Ok(Bodies::If(Box::new([plan(then)?, plan(otherwise)?]))),
            Op::Loop { body, trips, form } => {
                let func = module.func(body).ok_or_else(refused)?;
                let number = func.body.args.first().ok_or_else(refused)?;
                let numbered = func.use_counts().get(number.index()).is_some_and(|n| *n > 0);
                let body = plan(body)?;
                let carried = body.inputs.get(1..=form.carried).ok_or_else(refused)?;
                let carried_bytes = carried.iter().map(|p| p.ty.bytes()).collect();
                Ok(Bodies::Loop(Box::new(LoopBody { body, trips: trips.clone(), form: *form, numbered, carried_bytes })))
            }
            _ => Err(refused()),
        }
    }
}

impl Bodies {
    /// Every size that it speaks of.
    pub(super) fn sizes(&self) -> Vec<&Dim> {
        let (bodies, trips) = match self {
            Bodies::If(both) => (both.iter().collect(), None),
            Bodies::Loop(l) => (vec![&l.body], Some(&l.trips)),
        };
        trips.into_iter().chain(bodies.into_iter().flat_map(|b| b.commands.iter().flat_map(Command::sizes))).collect()
    }

    /// Memory while it runs: the arena of the bodies, then a spare place for each carried value, the number, the condition.
    pub(super) fn wants(&self, ranges: &Ranges) -> Vec<Dim> {
        match self {
            Bodies::If(both) => vec![larger(ranges, &both[0].arena_bytes, &both[1].arena_bytes)],
            Bodies::Loop(l) => {
                let mut out = vec![l.body.arena_bytes.clone()];
                out.extend(l.carried_bytes.iter().cloned());
                out.extend(l.numbered.then(|| Dim::from(NUMBER)));
                out.extend(l.form.condition.then(|| Dim::from(BOOL)));
                out
            }
        }
    }

    /// Adds the commands to `f`, whose slots from `first` on are those that it wants. `buffers` are the call's operands, then its
    /// results.
    pub(super) fn embed(self, f: &mut FuncPlan, graph: &Graph, call: &Call, buffers: &[BufferRef], first: usize) -> Option<()> {
        let (reads, results) = buffers.split_at_checked(call.reads.len())?;
        let loc = call.op.loc.clone();
        let arena = f.slots.get(first)?.offset.clone();
        match self {
            Bodies::If(both) => {
                let [then, otherwise] = *both;
                let (condition, given) = reads.split_first()?;
                f.commands.push(Command::If { condition: *condition, loc });
                insert(f, then, &arena, given, results)?;
                f.commands.push(Command::Else);
                insert(f, otherwise, &arena, given, results)?;
                f.commands.push(Command::End);
            }
            Bodies::Loop(l) => {
                let LoopBody { body, trips, form, numbered, carried_bytes } = *l;
                let of = form.operands(reads)?;
                let mut slots = (first + 1..).map(|k| BufferRef::Arena(k as u32));
                let spares: Vec<BufferRef> = slots.by_ref().take(form.carried).collect();
                let iteration = if numbered { slots.next() } else { None };
                let place = if form.condition { slots.next() } else { None };
                let (results, stacked) = results.split_at_checked(form.carried)?;
                // What the body sees as its inputs and outputs.
                let mut inputs = vec![iteration.unwrap_or(BufferRef::Local(0))];
                let mut outputs: Vec<BufferRef> = place.into_iter().collect();
                let mut locals = f.locals..;
                let mut local = || locals.next().unwrap_or(u32::MAX);
                let mut carried = vec![];
                for (((initial, result), spare), bytes) in of.carried.iter().zip(results).zip(spares).zip(carried_bytes) {
                    let (current, next) = (local(), local());
                    inputs.push(BufferRef::Local(current));
                    outputs.push(BufferRef::Local(next));
                    carried.push(Carried { initial: *initial, result: *result, spare, bytes, current, next });
                }
                let types = |vs: &[odc_ir::core::Value]| -> Option<Vec<TensorType>> {
                    vs.iter().map(|v| graph.func.types.get(v.index()).cloned()).collect()
                };
                let scanned = types(form.operands(&call.op.operands)?.scanned)?;
                let stacked_types = types(call.op.results.get(form.carried..)?)?;
                let mut moving = vec![];
                for (base, ty) in of.scanned.iter().zip(&scanned) {
                    let m = Moving { base: *base, step: step(ty), local: local(), written: false };
                    inputs.push(BufferRef::Local(m.local));
                    moving.push(m);
                }
                for (base, ty) in stacked.iter().zip(&stacked_types) {
                    let m = Moving { base: *base, step: step(ty), local: local(), written: true };
                    outputs.push(BufferRef::Local(m.local));
                    moving.push(m);
                }
                inputs.extend_from_slice(of.captured);
                f.locals = local();
                let condition = of.condition.zip(place).map(|(initial, place)| Condition { initial: *initial, place });
                f.commands.push(Command::Loop(Loop { trips, limit: of.limit.copied(), condition, iteration, carried, moving, loc }));
                insert(f, body, &arena, &inputs, &outputs)?;
                f.commands.push(Command::End);
            }
        }
        Some(())
    }
}

/// Bytes from one element of the first axis to the next.
fn step(ty: &TensorType) -> Dim {
    TensorType::new(ty.dtype, ty.shape.get(1..).unwrap_or_default()).bytes()
}

/// Appends a body's commands with the caller's numbers.
fn insert(f: &mut FuncPlan, body: FuncPlan, arena: &Dim, inputs: &[BufferRef], outputs: &[BufferRef]) -> Option<()> {
    let (slots, locals) = (f.slots.len() as u32, f.locals);
    f.slots.extend(body.slots.into_iter().map(|s| Slot {
        offset: arena + &s.offset,
        within: s.within.map(|w| slots.saturating_add(w)),
        ..s
    }));
    f.locals = locals.checked_add(body.locals)?;
    let place = |b: BufferRef| match b {
        BufferRef::Input(k) => inputs.get(k as usize).copied(),
        BufferRef::Output(k) => outputs.get(k as usize).copied(),
        BufferRef::Const { .. } => Some(b),
        BufferRef::Arena(k) => Some(BufferRef::Arena(slots.checked_add(k)?)),
        BufferRef::Local(k) => Some(BufferRef::Local(locals.checked_add(k)?)),
    };
    for mut c in body.commands {
        match &mut c {
            Command::Dispatch { buffers, .. } => {
                for b in buffers {
                    *b = place(*b)?;
                }
            }
            Command::Copy { src, dst, .. } => (*src, *dst) = (place(*src)?, place(*dst)?),
            Command::If { condition, .. } => *condition = place(*condition)?,
            Command::Loop(l) => {
                for b in l.limit.iter_mut().chain(&mut l.iteration) {
                    *b = place(*b)?;
                }
                if let Some(c) = &mut l.condition {
                    *c = Condition { initial: place(c.initial)?, place: place(c.place)? };
                }
                for c in &mut l.carried {
                    (c.initial, c.result, c.spare) = (place(c.initial)?, place(c.result)?, place(c.spare)?);
                    (c.current, c.next) = (c.current.checked_add(locals)?, c.next.checked_add(locals)?);
                }
                for m in &mut l.moving {
                    m.base = place(m.base)?;
                    m.local = m.local.checked_add(locals)?;
                }
            }
            Command::Size { from, .. } => *from = place(*from)?,
            Command::Else | Command::End => {}
        }
        f.commands.push(c);
    }
    Some(())
}
