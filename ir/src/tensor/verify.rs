//! The tensor verifier: programs are well-typed and speak only of their axes and the module's symbols; stores, views and dispatch
//! regions fit the types around them.

use super::program::{Expr, ExprId, Index, Program};
use super::{Axes, Func, Module, Op, Operation, Tensor};
use crate::core::{self, Binary, DType, Dim, OpSet, Sym, TensorType, Unary, VerifyError};
use std::collections::BTreeSet;

/// All broken rules of a module; empty for a sound one.
pub fn verify(m: &Module) -> Vec<VerifyError> {
    core::verify::<Tensor>(m, check)
}

type Checked = Result<(), String>;

fn check(m: &Module, f: &Func, op: &Operation) -> Checked {
    let types = |vs: &[core::Value]| -> Result<Vec<TensorType>, String> {
        vs.iter().map(|v| f.types.get(v.index()).cloned().ok_or_else(|| format!("{v} has no type"))).collect()
    };
    let (operands, results) = (types(&op.operands)?, types(&op.results)?);
    let scope = Scope { m, operands: &operands, axes: BTreeSet::new() };
    for d in results.iter().flat_map(|t| &t.shape) {
        scope.dim(d)?;
    }
    let result = || results.first().ok_or_else(|| "it must have a result".to_owned());
    match &op.op {
        Op::Constant { value } => {
            let c = m.constant(*value).ok_or_else(|| format!("constant #{} is not in the module", value.0))?;
            same_type(&c.tensor_type(), result()?, "the constant", "the result")
        }
        Op::Map { axes, store, body } => {
            let scope = scope.with(axes)?;
            scope.store(store, axes, result()?)?;
            scope.program(body, None, "the body")?;
            value_is(body, result()?.dtype, "the body")
        }
        Op::Reduce { axes, raxes, kind, store, body, epilogue } => {
            let outer = scope.with(axes)?;
            outer.store(store, axes, result()?)?;
            outer.with(raxes)?.program(body, None, "the body")?;
            if kind.is_arg() && raxes.len() != 1 {
                return Err(format!("`{kind}` reduces one axis, not {}", raxes.len()));
            }
            let acc = if kind.is_arg() { DType::I64 } else { body.result_dtype() };
            outer.program(epilogue, Some(acc), "the epilogue")?;
            value_is(epilogue, result()?.dtype, "the epilogue")
        }
        Op::View {} => {
            let y = result()?;
            let all = || operands.iter().map(|x| x.to_string()).collect::<Vec<_>>().join(", ");
            if operands.iter().any(|x| x.dtype != y.dtype) {
                return Err(format!("a view of {} cannot be {y}: the element types differ", all()));
            }
            let elements = operands.iter().fold(Dim::ZERO, |sum, x| sum + x.elements());
            if m.ranges().differ(&elements, &y.elements()) {
                return Err(format!("a view of {} cannot be {y}: the numbers of elements differ", all()));
            }
            Ok(())
        }
        Op::Scatter { axes, index, update } => {
            let data = operands.first().ok_or("it must have data")?;
            same_type(data, result()?, "the data", "the result")?;
            let scope = scope.with(axes)?;
            if index.len() != data.rank() {
                return Err(format!("{} index programs for data of rank {}", index.len(), data.rank()));
            }
            for p in index {
                scope.program(p, None, "an index program")?;
                value_is(p, DType::I64, "an index program")?;
            }
            scope.program(update, Some(data.dtype), "the update")?;
            value_is(update, data.dtype, "the update")
        }
        Op::If { then, otherwise } => core::check_if(m, f, [then, otherwise], &operands, &results),
        Op::Loop { body, trips, form } => core::check_loop(m, f, (body, trips, form), &operands, &results),
        Op::Dispatch { .. } => dispatch(op, f, &operands, &results),
    }
}

fn dispatch(op: &Operation, f: &Func, operands: &[TensorType], results: &[TensorType]) -> Checked {
    let region = op.regions.first().ok_or("it must have a region")?;
    let fits = |what: &str, inner: &[core::Value], outer: &[TensorType]| -> Checked {
        if inner.len() != outer.len() {
            return Err(format!("the region has {} {what} for {}", inner.len(), outer.len()));
        }
        for (k, (v, t)) in inner.iter().zip(outer).enumerate() {
            let ty = f.types.get(v.index()).ok_or_else(|| format!("{v} has no type"))?;
            if ty != t {
                return Err(format!("{what} {k} of the region is {ty}, outside it is {t}"));
            }
        }
        Ok(())
    };
    fits("arguments", &region.args, operands)?;
    fits("yields", &region.yields, results)?;
    let mut own: BTreeSet<core::Value> = region.args.iter().copied().collect();
    for inner in &region.ops {
        if matches!(inner.op, Op::Dispatch { .. } | Op::If { .. } | Op::Loop { .. }) {
            return Err(format!("a `{}` inside a dispatch", inner.op.info().mnemonic));
        }
        if let Some(v) = inner.operands.iter().find(|v| !own.contains(v)) {
            return Err(format!("the region uses {v} from outside; pass it as an operand"));
        }
        own.extend(&inner.results);
    }
    match region.yields.iter().find(|v| !own.contains(v)) {
        Some(v) => Err(format!("the region yields {v} from outside")),
        None => Ok(()),
    }
}

fn same_type(a: &TensorType, b: &TensorType, what_a: &str, what_b: &str) -> Checked {
    if a == b { Ok(()) } else { Err(format!("{what_a} is {a}, {what_b} is {b}")) }
}

fn value_is(p: &Program, dt: DType, what: &str) -> Checked {
    let got = p.result_dtype();
    if got == dt { Ok(()) } else { Err(format!("{what} gives {got} where {dt} is needed")) }
}

/// What programs of one op may speak of.
struct Scope<'a> {
    m: &'a Module,
    operands: &'a [TensorType],
    axes: BTreeSet<Sym>,
}

impl Scope<'_> {
    fn with(&self, axes: &Axes) -> Result<Self, String> {
        let mut inner = Scope { m: self.m, operands: self.operands, axes: self.axes.clone() };
        for (s, extent) in axes {
            Scope { axes: BTreeSet::new(), ..*self }.dim(extent)?;
            if self.m.symbols.contains_key(s) {
                return Err(format!("axis `{s}` has the name of a size"));
            }
            if !inner.axes.insert(s.clone()) {
                return Err(format!("axis `{s}` is given twice"));
            }
        }
        Ok(inner)
    }
    fn dim(&self, d: &Dim) -> Checked {
        if d.is_poison() {
            return Err("an index overflows".into());
        }
        let mut unknown = None;
        d.visit_syms(&mut |s| {
            if !self.axes.contains(s) && !self.m.symbols.contains_key(s) {
                unknown = Some(s.clone());
            }
        });
        unknown.map_or(Ok(()), |s| Err(format!("`{s}` in `{d}` is neither an axis in scope nor a size of the module")))
    }
    fn store(&self, store: &[Dim], axes: &Axes, ty: &TensorType) -> Checked {
        if store.len() != ty.rank() {
            return Err(format!("{} store coordinates for {ty}", store.len()));
        }
        let visited = Dim::product(axes.iter().map(|(_, d)| d));
        if self.m.ranges().differ(&visited, &ty.elements()) {
            return Err(format!("the axes visit {visited} elements of {ty}"));
        }
        store.iter().try_for_each(|d| self.dim(d))
    }

    fn program(&self, p: &Program, acc: Option<DType>, what: &str) -> Checked {
        let fail = |message: String| Err(format!("{what}: {message}"));
        if p.dtypes.len() != p.exprs.len() {
            return fail("types and expressions do not match".into());
        }
        match p.root {
            Some(r) if (r.0 as usize) < p.exprs.len() => {}
            Some(_) | None => return fail("it has no value".into()),
        }
        for (k, e) in p.exprs.iter().enumerate() {
            let mut ordered = true;
            super::program::operands(e, &mut |o| ordered &= (o.0 as usize) < k);
            if !ordered {
                return fail(format!("e{k} uses a later expression"));
            }
            match self.expr(p, e, acc) {
                Ok(dt) if Some(&dt) == p.dtypes.get(k) => {}
                Ok(dt) => return fail(format!("e{k} is {dt}, recorded as another type")),
                Err(message) => return fail(format!("e{k}: {message}")),
            }
        }
        Ok(())
    }

    /// The expression's type, its operands being checked already.
    fn expr(&self, p: &Program, e: &Expr, acc: Option<DType>) -> Result<DType, String> {
        let dt = |e: &ExprId| p.dtype(*e);
        match e {
            Expr::Const(t, v) if v.wrap(*t) == *v => Ok(*t),
            Expr::Const(t, v) => Err(format!("{v:?} is no {t}")),
            Expr::Dim(d) => self.dim(d).map(|()| DType::I64),
            Expr::Acc(t) => match acc {
                Some(a) if a == *t => Ok(*t),
                Some(a) => Err(format!("the accumulated value is {a}, not {t}")),
                None => Err("there is no accumulated value here".into()),
            },
            Expr::Load { operand, dtype, index } => {
                let ty = self.operands.get(*operand as usize).ok_or_else(|| format!("there is no operand {operand}"))?;
                if ty.dtype != *dtype || ty.rank() != index.len() {
                    return Err(format!("loads {dtype} by {} coordinates from {ty}", index.len()));
                }
                for i in index {
                    match i {
                        Index::Dim(d) => self.dim(d)?,
                        Index::Value(v) if dt(v) == DType::I64 => {}
                        Index::Value(v) => return Err(format!("indexes by a value of type {}, i64 is needed", dt(v))),
                    }
                }
                Ok(*dtype)
            }
            Expr::Unary(f, a) if unary_takes(*f, dt(a)) => Ok(f.result_dtype(dt(a))),
            Expr::Unary(f, a) => Err(format!("`{f}` of {}", dt(a))),
            Expr::Binary(f, a, b) if dt(a) == dt(b) && binary_takes(*f, dt(a)) => Ok(f.result_dtype(dt(a))),
            Expr::Binary(f, a, b) => Err(format!("`{f}` of {} and {}", dt(a), dt(b))),
            Expr::Select(c, a, b) if dt(c) == DType::Bool && dt(a) == dt(b) => Ok(dt(a)),
            Expr::Select(c, a, b) => Err(format!("selects by {} between {} and {}", dt(c), dt(a), dt(b))),
            Expr::Cast(t, _) => Ok(*t),
            Expr::Bitcast(t, a) if t.bits() == dt(a).bits() && (*t != DType::Bool) => Ok(*t),
            Expr::Bitcast(t, a) => Err(format!("the bits of {} as {t}", dt(a))),
            Expr::Inside(pairs) => {
                pairs.iter().try_for_each(|(d, n)| self.dim(d).and_then(|()| self.dim(n)))?;
                Ok(DType::Bool)
            }
        }
    }
}

fn unary_takes(f: Unary, dt: DType) -> bool {
    match f {
        _ if dt.is_storage() => false,
        Unary::Not => !dt.is_float(),
        Unary::IsNan | Unary::IsInf => true,
        Unary::Neg | Unary::Abs | Unary::Sign | Unary::Floor | Unary::Ceil | Unary::Trunc | Unary::Round => dt != DType::Bool,
        Unary::Sqrt => dt.is_float(),
        Unary::Exp | Unary::Log | Unary::Sin | Unary::Cos | Unary::Tan | Unary::Asin | Unary::Acos | Unary::Atan => dt.is_float(),
        Unary::Sinh | Unary::Cosh | Unary::Tanh | Unary::Asinh | Unary::Acosh | Unary::Atanh | Unary::Erf | Unary::Sigmoid => dt.is_float(),
    }
}

fn binary_takes(f: Binary, dt: DType) -> bool {
    match f {
        _ if dt.is_storage() => false,
        Binary::Add | Binary::Sub | Binary::Mul | Binary::Div | Binary::Rem | Binary::FloorDiv | Binary::Mod => dt != DType::Bool,
        Binary::Pow | Binary::Min | Binary::Max => dt != DType::Bool,
        Binary::And | Binary::Or | Binary::Xor => !dt.is_float(),
        Binary::Shl | Binary::Shr => dt.is_int(),
        Binary::Eq | Binary::Ne | Binary::Lt | Binary::Le | Binary::Gt | Binary::Ge => true,
    }
}

#[cfg(test)]
mod tests {
    use crate::core::{no_blobs, parse_module};
    use crate::tensor::{Tensor, verify};

    /// Messages for `%1 = op` in a function of `%0: f32[n, 4]` that yields f32[n, 4].
    fn errors(op: &str) -> String {
        let text = format!(
            "tensor module \"t\" {{\n  dim n in 1..8 from \"x\" 0\n  func @main(%0 \"x\": f32[n, 4]) {{\n    %1 = {op} : f32[n, 4]\n    yield %1 \"y\"\n  }}\n}}\n"
        );
        match parse_module::<Tensor>(&text, &no_blobs) {
            Ok(m) => verify(&m).iter().map(|e| e.message.clone()).collect::<Vec<_>>().join("\n"),
            Err(e) => format!("does not parse: {e}\n{text}"),
        }
    }
    fn map(store: &str, body: &str) -> String {
        errors(&format!("map {{axes = [(i0, n), (i1, 4)], store = {store}, body = {{ {body} }}}} %0"))
    }

    #[test]
    fn a_sound_map_and_reduction_pass() {
        assert_eq!(map("[i0, i1]", "e0 = load 0 f32 [i0, i1]; e1 = unary exp e0; => e1"), "");
        let sum = "reduce {axes = [(i0, n), (i1, 4)], raxes = [(r0, 4)], kind = sum, store = [i0, i1], \
                   body = { e0 = load 0 f32 [i0, r0]; => e0 }, epilogue = { e0 = acc f32; => e0 }} %0";
        assert_eq!(errors(sum), "");
        let late = sum.replace("e0 = acc f32; => e0", "e0 = load 0 f32 [i0, r0]; => e0");
        assert!(errors(&late).contains("`r0` in `r0` is neither"), "{}", errors(&late));
    }

    #[test]
    fn broken_programs_are_told_apart() {
        for (body, message) in [
            ("e0 = load 1 f32 [i0, i1]; => e0", "no operand 1"),
            ("e0 = load 0 f16 [i0, i1]; e1 = cast f32 e0; => e1", "loads f16 by 2"),
            ("e0 = load 0 f32 [i0]; => e0", "by 1 coordinates"),
            ("e0 = load 0 f32 [i0, i2]; => e0", "neither an axis"),
            ("e0 = load 0 f32 [i0, m]; => e0", "neither an axis"),
            ("e0 = load 0 f32 [i0, i1]; e1 = unary not e0; => e1", "`not` of f32"),
            ("e0 = load 0 f32 [i0, i1]; e1 = dim i0; e2 = binary add e0 e1; => e2", "`add` of f32 and i64"),
            ("e0 = load 0 f32 [i0, i1]; e1 = select e0 e0 e0; => e1", "selects by f32"),
            ("e0 = load 0 f32 [i0, i1]; e1 = load 0 f32 [@ e0, i1]; => e1", "indexes by a value of type f32"),
            ("e0 = acc f32; => e0", "no accumulated value"),
            ("e0 = dim i0; => e0", "gives i64 where f32"),
            ("e0 = dim i0;", "it has no value"),
        ] {
            let e = map("[i0, i1]", body);
            assert!(e.contains(message), "{body}: {e}");
        }
    }

    #[test]
    fn stores_views_and_regions_must_fit() {
        let body = "e0 = load 0 f32 [i0, i1]; => e0";
        assert!(map("[i0]", body).contains("1 store coordinates"));
        assert!(map("[i0, j]", body).contains("neither an axis"));
        let few = "map {axes = [(i0, n), (i1, 3)], store = [i0, i1], body = { e0 = load 0 f32 [i0, i1]; => e0 }} %0";
        assert!(errors(few).contains("the axes visit 3*n"), "{}", errors(few));
        let twice = "map {axes = [(i0, n), (i0, 4)], store = [i0, i0], body = { e0 = load 0 f32 [i0, i0]; => e0 }} %0";
        assert!(errors(twice).contains("given twice"));
        let size = "map {axes = [(n, n), (i1, 4)], store = [n, i1], body = { e0 = load 0 f32 [n, i1]; => e0 }} %0";
        assert!(errors(size).contains("has the name of a size"));
        assert_eq!(errors("view %0"), "");
    }
}
