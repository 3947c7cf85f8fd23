//! The meaning of tensor modules: every op evaluated element by element. The oracle for lowering, fusion and scheduling; a
//! schedule changes nothing here.

mod program;

use super::{Axes, Block, Func, Module, Op, Operation, Program, ReduceKind, Tensor};
use crate::core::control::{MAX_CALLS, run_loop, single};
use crate::core::{self, Binary, Binding, DType, Dim, InterpError, OpSet, Scalar, TensorType, TensorValue, bind_inputs, indices};
use program::{Places, Ready, Scope};
use std::rc::Rc;

/// Runs the module's first function.
pub fn run(m: &Module, inputs: &[(String, TensorValue)]) -> Result<Vec<TensorValue>, InterpError> {
    let f = m.main().ok_or(InterpError::NoFunction)?;
    let params: Vec<(&str, &TensorType)> = f.param_names.iter().zip(&f.body.args).map(|(n, v)| (n.as_str(), f.ty(*v))).collect();
    let (binding, args) = bind_inputs(&m.symbols, &params, inputs)?;
    core::check_inputs(&m.in_range, inputs, &binding)?;
    let out = call(m, f, &binding, args.into_iter().map(Rc::new).collect(), 0)?;
    let outputs = f.result_names.iter().zip(out).filter(|(name, _)| core::size_of_result(name).is_none());
    Ok(outputs.map(|(_, t)| (*t).clone()).collect())
}

/// Runs a function of the module on its arguments.
fn call(m: &Module, f: &Func, binding: &Binding, args: Vec<Rc<TensorValue>>, depth: usize) -> Result<Vec<Rc<TensorValue>>, InterpError> {
    if depth > MAX_CALLS || args.len() != f.body.args.len() {
        return Err(fail(&format!("@{} is called too deeply or with other arguments than it takes", f.name)));
    }
    let mut e = Eval { m, f, binding: binding.clone(), values: vec![None; f.types.len()], depth };
    for (v, x) in f.body.args.iter().zip(args) {
        e.set(*v, x);
    }
    e.block(&f.body)
}

fn fail(message: &str) -> InterpError {
    InterpError::Op { op: String::new(), loc: String::new(), message: message.into() }
}

struct Eval<'m> {
    m: &'m Module,
    f: &'m Func,
    binding: Binding,
    values: Vec<Option<Rc<TensorValue>>>,
    depth: usize,
}

impl<'m> Eval<'m> {
    fn get(&self, v: core::Value) -> Result<Rc<TensorValue>, InterpError> {
        self.values.get(v.index()).and_then(Clone::clone).ok_or_else(|| InterpError::Undefined { value: v.to_string() })
    }
    fn set(&mut self, v: core::Value, x: Rc<TensorValue>) {
        if let Some(slot) = self.values.get_mut(v.index()) {
            *slot = Some(x);
        }
    }
    fn block(&mut self, b: &'m Block) -> Result<Vec<Rc<TensorValue>>, InterpError> {
        for op in &b.ops {
            self.op(op).and_then(|()| self.learn(op)).map_err(|e| match e {
                InterpError::Op { op: name, message, .. } if name.is_empty() => {
                    InterpError::Op { op: op.op.info().mnemonic.into(), loc: op.loc.to_string(), message }
                }
                e => e,
            })?;
        }
        b.yields.iter().map(|v| self.get(*v)).collect()
    }
    /// Takes in the sizes that the op's results say.
    fn learn(&mut self, op: &Operation) -> Result<(), InterpError> {
        let f = self.f;
        for (v, size) in f.sizes().filter(|(v, _)| op.results.contains(v)) {
            let value = self.get(v)?.data.first().copied().map_or(-1, Scalar::as_i64);
            self.binding.learn(&self.m.symbols, &size, value)?;
        }
        Ok(())
    }
    fn op(&mut self, op: &'m core::Operation<Tensor>) -> Result<(), InterpError> {
        let held = op.operands.iter().map(|v| self.get(*v)).collect::<Result<Vec<_>, _>>()?;
        if let Op::Dispatch { .. } = &op.op {
            return self.dispatch(op, held);
        }
        if matches!(op.op, Op::If { .. } | Op::Loop { .. }) {
            for (v, x) in op.results.iter().zip(self.control(op, &held)?) {
                self.set(*v, x);
            }
            return Ok(());
        }
        let result = op.result().ok_or_else(|| fail("it must have one result"))?;
        let ty = self.f.types.get(result.index()).ok_or_else(|| fail("its result has no type"))?;
        let shape = self.binding.shape(&ty.shape)?;
        let xs: Vec<&TensorValue> = held.iter().map(|r| &**r).collect();
        let value = match &op.op {
            Op::Constant { value } => {
                let c = self.m.constant(*value).ok_or_else(|| fail("the constant is not in the module"))?;
                TensorValue::from_const(c)?
            }
            Op::Map { axes, store, body } => self.map(axes, store, body, &xs, ty.dtype, shape)?,
            Op::Reduce { axes, raxes, kind, store, body, epilogue } => {
                let outer = Ready::new(epilogue, Scope::new(&self.binding, &[axes]))?;
                let inner = Ready::new(body, Scope::new(&self.binding, &[axes, raxes]))?;
                self.reduce(axes, raxes, *kind, store, (inner, outer), &xs, ty.dtype, shape)?
            }
            Op::View {} => TensorValue::new(ty.dtype, shape, xs.iter().flat_map(|x| x.data.iter().copied()).collect())?,
            Op::Scatter { axes, index, update } => self.scatter(axes, index, update, &xs)?,
            Op::Dispatch { .. } | Op::If { .. } | Op::Loop { .. } => return Ok(()),
        };
        self.set(result, Rc::new(value));
        Ok(())
    }

    fn control(&self, op: &Operation, held: &[Rc<TensorValue>]) -> Result<Vec<Rc<TensorValue>>, InterpError> {
        let callee = |name: &core::Callee| self.m.func(name).ok_or_else(|| fail(&format!("there is no function @{}", name.0)));
        let run = |f: &Func, args| call(self.m, f, &self.binding, args, self.depth + 1);
        match (&op.op, held) {
            (Op::If { then, otherwise }, [condition, given @ ..]) => {
                run(callee(if single(condition)?.as_bool() { then } else { otherwise })?, given.to_vec())
            }
            (Op::Loop { body, trips, form }, _) => {
                let body = callee(body)?;
                let types = op.results.iter().map(|v| self.f.types.get(v.index()).cloned()).collect::<Option<Vec<_>>>();
                let types = types.ok_or_else(|| fail("a result has no type"))?;
                run_loop((trips, form), held, &types, &self.binding, &mut |args| run(body, args))
            }
            _ => Err(fail("it has no condition")),
        }
    }

    fn dispatch(&mut self, op: &'m Operation, held: Vec<Rc<TensorValue>>) -> Result<(), InterpError> {
        let region = op.regions.first().ok_or_else(|| fail("a dispatch without a region"))?;
        if region.args.len() != held.len() || region.yields.len() != op.results.len() {
            return Err(fail("its region's arguments and yields do not fit its operands and results"));
        }
        for (v, x) in region.args.iter().zip(held) {
            self.set(*v, x);
        }
        for (v, x) in op.results.iter().zip(self.block(region)?) {
            self.set(*v, x);
        }
        Ok(())
    }

    fn extents(&self, axes: &Axes) -> Result<Vec<usize>, InterpError> {
        axes.iter().map(|(_, d)| self.binding.size(d)).collect()
    }

    fn map(
        &self,
        axes: &Axes,
        store: &[Dim],
        body: &Program,
        xs: &[&TensorValue],
        dtype: DType,
        shape: Vec<usize>,
    ) -> Result<TensorValue, InterpError> {
        let mut body = Ready::new(body, Scope::new(&self.binding, &[axes]))?;
        let mut out = Stored::new(dtype, shape)?;
        let places = Places::new(Scope::new(&self.binding, &[axes]), store);
        for at in indices(&self.extents(axes)?) {
            let at = signed(&at);
            let v = body.eval(xs, &at, Scalar::Int(0))?;
            out.put(&places.at(&at)?, v)?;
        }
        out.finish()
    }

    #[allow(clippy::too_many_arguments)]
    fn reduce(
        &self,
        axes: &Axes,
        raxes: &Axes,
        kind: ReduceKind,
        store: &[Dim],
        (mut body, mut epilogue): (Ready, Ready),
        xs: &[&TensorValue],
        dtype: DType,
        shape: Vec<usize>,
    ) -> Result<TensorValue, InterpError> {
        let mut out = Stored::new(dtype, shape)?;
        let places = Places::new(Scope::new(&self.binding, &[axes]), store);
        let inner: Vec<Vec<i64>> = indices(&self.extents(raxes)?).map(|r| signed(&r)).collect();
        for at in indices(&self.extents(axes)?) {
            let mut at = signed(&at);
            let rank = at.len();
            let mut acc = Accumulator::new(kind, body.dtype);
            for (k, r) in inner.iter().enumerate() {
                at.truncate(rank);
                at.extend(r);
                let v = body.eval(xs, &at, Scalar::Int(0))?;
                acc.add(v, k as i64);
            }
            at.truncate(rank);
            let v = epilogue.eval(xs, &at, acc.value())?;
            out.put(&places.at(&at)?, v)?;
        }
        out.finish()
    }

    fn scatter(&self, axes: &Axes, index: &[Program], update: &Program, xs: &[&TensorValue]) -> Result<TensorValue, InterpError> {
        let data = xs.first().ok_or_else(|| fail("no data"))?;
        let mut out = (*data).clone();
        if index.len() != out.rank() {
            return Err(fail("one index program an axis of the data is needed"));
        }
        let mut index = index.iter().map(|p| Ready::new(p, Scope::new(&self.binding, &[axes]))).collect::<Result<Vec<_>, _>>()?;
        let mut update = Ready::new(update, Scope::new(&self.binding, &[axes]))?;
        for at in indices(&self.extents(axes)?) {
            let at = signed(&at);
            let mut place = vec![];
            for (p, d) in index.iter_mut().zip(&out.shape) {
                let k = p.eval(xs, &at, Scalar::Int(0))?.as_i64().max(0);
                place.push(usize::try_from(k).unwrap_or(usize::MAX).min(d.saturating_sub(1)));
            }
            let Some(offset) = out.offset(&place) else {
                return Err(fail("an update of an empty tensor"));
            };
            let mut now = xs.to_vec();
            if let Some(data) = now.first_mut() {
                *data = &out;
            }
            let v = update.eval(&now, &at, out.data[offset])?;
            out.data[offset] = v.wrap(out.dtype);
        }
        Ok(out)
    }
}

fn signed(at: &[usize]) -> Vec<i64> {
    at.iter().map(|&k| k as i64).collect()
}

/// A result being filled; every element must be stored exactly once.
struct Stored {
    out: TensorValue,
    filled: Vec<bool>,
}

impl Stored {
    fn new(dtype: DType, shape: Vec<usize>) -> Result<Self, InterpError> {
        let out = TensorValue::filled(dtype, &shape, Scalar::Int(0))?;
        let filled = vec![false; out.elements()];
        Ok(Stored { out, filled })
    }
    fn put(&mut self, at: &[i64], v: Scalar) -> Result<(), InterpError> {
        let place: Option<Vec<usize>> = at.iter().map(|&k| usize::try_from(k).ok()).collect();
        let Some(offset) = place.and_then(|p| self.out.offset(&p)) else {
            return Err(fail(&format!("stores at {at:?}, outside {}", self.out.type_text())));
        };
        if std::mem::replace(&mut self.filled[offset], true) {
            return Err(fail(&format!("stores twice at {at:?}")));
        }
        self.out.data[offset] = v.wrap(self.out.dtype);
        Ok(())
    }
    fn finish(self) -> Result<TensorValue, InterpError> {
        match self.filled.iter().position(|f| !f) {
            Some(k) => Err(fail(&format!("element {k} of {} is never stored", self.out.type_text()))),
            None => Ok(self.out),
        }
    }
}

/// What changes nothing when it is combined.
fn neutral(kind: ReduceKind, dt: DType) -> Scalar {
    // Integers as the extremes of their width: saturated from infinity.
    let extreme = |x: f64| if dt.is_int() { Scalar::Float(x).cast(DType::F64, dt) } else { Scalar::Float(x).wrap(dt) };
    match kind {
        ReduceKind::Sum => Scalar::Int(0).wrap(dt),
        ReduceKind::Prod => Scalar::Int(1).wrap(dt),
        ReduceKind::Max | ReduceKind::ArgMax | ReduceKind::ArgMaxLast => extreme(f64::NEG_INFINITY),
        ReduceKind::Min | ReduceKind::ArgMin | ReduceKind::ArgMinLast => extreme(f64::INFINITY),
    }
}

/// A reduction's running value.
struct Accumulator {
    kind: ReduceKind,
    dt: DType,
    best: Scalar,
    at: i64,
    empty: bool,
}

impl Accumulator {
    fn new(kind: ReduceKind, dt: DType) -> Self {
        Accumulator { kind, dt, best: neutral(kind, dt), at: 0, empty: true }
    }
    fn add(&mut self, v: Scalar, k: i64) {
        let replaces = |f: Binary, b: Scalar| f.eval(self.dt, v, b).as_bool();
        let better = match self.kind {
            ReduceKind::Sum => return self.best = Binary::Add.eval(self.dt, self.best, v),
            ReduceKind::Prod => return self.best = Binary::Mul.eval(self.dt, self.best, v),
            ReduceKind::Max => return self.best = Binary::Max.eval(self.dt, self.best, v),
            ReduceKind::Min => return self.best = Binary::Min.eval(self.dt, self.best, v),
            ReduceKind::ArgMax => replaces(Binary::Gt, self.best),
            ReduceKind::ArgMaxLast => replaces(Binary::Ge, self.best),
            ReduceKind::ArgMin => replaces(Binary::Lt, self.best),
            ReduceKind::ArgMinLast => replaces(Binary::Le, self.best),
        };
        if self.empty || better {
            (self.best, self.at, self.empty) = (v, k, false);
        }
    }
    fn value(&self) -> Scalar {
        if self.kind.is_arg() { Scalar::Int(self.at) } else { self.best }
    }
}

#[cfg(test)]
mod tests {
    use super::{InterpError, run};
    use crate::core::{TensorValue, no_blobs, parse_module};
    use crate::tensor::Tensor;

    /// Runs `ops`, which make `%1: ty` from `%0: f32[n, 3]`, for n = 2 and elements 1 to 6.
    fn eval(ops: &str, ty: &str) -> Result<Vec<f32>, InterpError> {
        let text = format!(
            "tensor module \"t\" {{\n  dim n in 1..8 from \"x\" 0\n  func @main(%0 \"x\": f32[n, 3]) {{\n    {ops} : {ty}\n    yield %1 \"y\"\n  }}\n}}\n"
        );
        let m = parse_module::<Tensor>(&text, &no_blobs).unwrap_or_else(|e| panic!("{e}\n{text}"));
        let x = TensorValue::from_f32(&[2, 3], &[1.0, 2.0, 3.0, 4.0, 5.0, 6.0])?;
        Ok(run(&m, &[("x".into(), x)])?.remove(0).to_f32())
    }
    fn map(axes: &str, store: &str, body: &str, ty: &str) -> Result<Vec<f32>, InterpError> {
        eval(&format!("%1 = map {{axes = {axes}, store = {store}, body = {{ {body} }}}} %0"), ty)
    }

    #[test]
    fn maps_store_where_they_say_and_loads_clamp() {
        let load = "e0 = load 0 f32 [i0, i1]; => e0";
        assert_eq!(map("[(i0, n), (i1, 3)]", "[i1, i0]", load, "f32[3, n]").unwrap(), [1.0, 4.0, 2.0, 5.0, 3.0, 6.0]);
        let padded = "e0 = load 0 f32 [0, i0 - 1]; e1 = inside [(i0 - 1, 3)]; e2 = const f32 f 9.0; e3 = select e1 e0 e2; => e3";
        assert_eq!(map("[(i0, 5)]", "[i0]", padded, "f32[5]").unwrap(), [9.0, 1.0, 2.0, 3.0, 9.0]);
        assert_eq!(map("[(i0, 5)]", "[i0]", "e0 = load 0 f32 [n, i0 - 1]; => e0", "f32[5]").unwrap(), [4.0, 4.0, 5.0, 6.0, 6.0]);
        let gather = "e0 = dim 2 - i0; e1 = load 0 f32 [1, @ e0]; => e1";
        assert_eq!(map("[(i0, 3)]", "[i0]", gather, "f32[3]").unwrap(), [6.0, 5.0, 4.0]);
    }

    #[test]
    fn stores_that_miss_or_collide_are_errors() {
        let load = "e0 = load 0 f32 [0, i0]; => e0";
        for (store, message) in [("[0]", "stores twice"), ("[i0 + 1]", "outside"), ("[2*i0]", "outside")] {
            let e = map("[(i0, 3)]", store, load, "f32[3]").unwrap_err().to_string();
            assert!(e.contains(message), "{store}: {e}");
        }
        assert!(map("[(i0, 2)]", "[i0]", load, "f32[3]").unwrap_err().to_string().contains("element 2 of f32[3] is never stored"));
    }

    #[test]
    fn reductions_have_epilogues_and_neutral_elements() {
        let reduce = |kind: &str, extent: &str, ty: &str, epilogue: &str| {
            let attrs = format!("axes = [(i0, n)], raxes = [(r0, {extent})], kind = {kind}, store = [i0]");
            eval(&format!("%1 = reduce {{{attrs}, body = {{ e0 = load 0 f32 [i0, r0]; => e0 }}, epilogue = {{ {epilogue} }}}} %0"), ty)
        };
        let id = "e0 = acc f32; => e0";
        assert_eq!(reduce("sum", "3", "f32[n]", id).unwrap(), [6.0, 15.0]);
        assert_eq!(reduce("prod", "3", "f32[n]", "e0 = acc f32; e1 = unary neg e0; => e1").unwrap(), [-6.0, -120.0]);
        assert_eq!(reduce("sum", "0", "f32[n]", id).unwrap(), [0.0, 0.0]);
        assert_eq!(reduce("min", "0", "f32[n]", id).unwrap(), [f32::INFINITY; 2]);
        assert_eq!(reduce("arg_max", "3", "i64[n]", "e0 = acc i64; => e0").unwrap(), [2.0, 2.0]);
    }

    #[test]
    fn scatters_run_in_order_and_clamp() {
        let op = "%1 = scatter {axes = [(i0, 4)], index = [{ e0 = dim 0; => e0 }, { e0 = dim i0; => e0 }], \
                  update = { e0 = acc f32; e1 = const f32 f 10.0; e2 = binary add e0 e1; => e2 }} %0";
        assert_eq!(eval(op, "f32[n, 3]").unwrap(), [11.0, 12.0, 23.0, 4.0, 5.0, 6.0]);
    }

    #[test]
    fn a_dispatch_is_its_region_whatever_its_schedule() {
        let op = "%1 = dispatch {schedule = {template loops, grid 1, vector 4, unroll 1, tile [], block [], access [], grain 1, local [], subgroup false}} %0";
        let region = "(%2: f32[n, 3]) {\n      %3 = map {axes = [(i0, n), (i1, 3)], store = [i0, i1], body = { e0 = load 0 f32 [i0, i1]; \
                      e1 = unary neg e0; => e1 }} %2 : f32[n, 3]\n      yield %3\n    }";
        assert_eq!(eval(&format!("{op} {region}"), "f32[n, 3]").unwrap(), [-1.0, -2.0, -3.0, -4.0, -5.0, -6.0]);
    }
}
