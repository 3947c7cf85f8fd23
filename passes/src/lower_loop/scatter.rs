//! Scatter: the data is copied, then updates are applied one after the other in their order, on one thread: indices may repeat.

use super::Region;
use super::emit::Emit;
use super::expr::{ExprEmit, Val, scalar_type};
use super::flat::Source;
use super::grid_sym;
use odc_ir::core::{Binary, Dim, Range, Value};
use odc_ir::loops::LoopKind;
use odc_ir::tensor::{Axes, Op, Program};

pub(super) fn lower(e: &mut Emit, region: &Region<'_>) -> Option<Dim> {
    let [op] = region.block.ops.as_slice() else { return None };
    let Op::Scatter { axes, index, update } = &op.op else { return None };
    let result = op.result()?;
    let ty = region.types(result);
    let to = region.pointer(result)?;
    let sources: Vec<Source> = op
        .operands
        .iter()
        .map(|v| {
            let t = region.types(*v);
            Source { value: *v, dtype: t.dtype, shape: t.shape, flat: false }
        })
        .collect();
    let pointers: Vec<Value> = op.operands.iter().map(|v| region.pointer(*v)).collect::<Option<_>>()?;
    let data = *pointers.first()?;
    // An update sees the data as the updates before it have left it.
    let mut present = pointers.clone();
    if let Some(data) = present.first_mut() {
        *data = to;
    }
    let (zero, one) = (e.index(0), e.index(1));
    e.for_loop(LoopKind::Grid, &grid_sym(), (zero, one, 1), Range { lo: Dim::ZERO, hi: Some(Dim::ZERO) }, &[], &mut |e, _| {
        let total = ty.elements();
        let (zero, end) = (e.index(0), e.dim(&total));
        let k = odc_ir::core::Sym::new("$copy");
        e.for_loop(LoopKind::Serial, &k, (zero, end, 1), Range { lo: Dim::ZERO, hi: Some(&total - 1) }, &[], &mut |e, _| {
            let at = e.dim(&Dim::from(&k));
            let v = e.load(data, at, scalar_type(ty.dtype));
            e.store(to, at, v);
            vec![]
        });
        nest(e, axes, &mut |e| {
            let value = |e: &mut Emit, p: &Program, acc: Option<Val>| {
                let pointers = if acc.is_some() { &present } else { &pointers };
                let mut x = ExprEmit::new(p, &sources, pointers, None, acc);
                x.root(e).map(|v| x.scalars(e, &v)[0])
            };
            let mut at: Option<Value> = None;
            for (p, n) in index.iter().zip(&ty.shape) {
                let Some(i) = value(e, p, None) else { return };
                let last = e.dim(&(n - 1));
                let zero = e.index(0);
                let i = e.binary(Binary::Min, i, last);
                let i = e.binary(Binary::Max, i, zero);
                at = Some(match at {
                    None => i,
                    Some(a) => {
                        let n = e.dim(n);
                        let a = e.binary(Binary::Mul, a, n);
                        e.binary(Binary::Add, a, i)
                    }
                });
            }
            let at = at.unwrap_or_else(|| e.index(0));
            let present = e.load(to, at, scalar_type(ty.dtype));
            if let Some(v) = value(e, update, Some(Val::Uniform(present))) {
                e.store(to, at, v);
            }
        });
        vec![]
    });
    Some(Dim::ONE)
}

fn nest(e: &mut Emit, axes: &Axes, f: &mut dyn FnMut(&mut Emit)) {
    let Some(((s, n), rest)) = axes.split_first() else { return f(e) };
    let rest = rest.to_vec();
    let (lo, hi) = (e.index(0), e.dim(n));
    e.for_loop(LoopKind::Serial, s, (lo, hi, 1), Range { lo: Dim::ZERO, hi: Some(n - 1) }, &[], &mut |e, _| {
        nest(e, &rest, f);
        vec![]
    });
}
