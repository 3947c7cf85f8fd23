//! Products of one tensor with several weights become one product with the weights side by side, and slices of it: the query, key and
//! value of attention in one kernel. For GPUs, where a kernel more costs more than a slice, which is only an index map.
//!
//! Only where each product (with its bias) goes into a movement and nowhere else: an activation is better off as its own
//! product's epilogue.

use odc_ir::core::{Const, ConstId, Dim, Loc, TensorType, Value};
use odc_ir::graph::{BinaryFn, Func, Module, Op, Operation};
use std::collections::BTreeMap;

/// One product that may join others.
struct Branch {
    /// Position of the product.
    at: usize,
    weight: ConstId,
    bias: Option<ConstId>,
    /// What the others read: the sum with the bias, or the product.
    result: Value,
    columns: i64,
    loc: Loc,
}

/// Merges products in all functions; gives how many were merged away.
pub fn merge(m: &mut Module) -> usize {
    let mut merged = 0;
    for f in 0..m.funcs.len() {
        merged += merge_func(&mut m.consts, &mut m.funcs[f]);
    }
    merged
}

fn merge_func(consts: &mut Vec<Const>, func: &mut Func) -> usize {
    let mut groups: BTreeMap<(Value, usize, bool), Vec<Branch>> = BTreeMap::new();
    let uses = Uses::new(func);
    for at in 0..func.body.ops.len() {
        if let Some((x, rows, b)) = branch(consts, func, &uses, at) {
            groups.entry((x, rows, b.bias.is_some())).or_default().push(b);
        }
    }
    let mut forward: BTreeMap<Value, Value> = BTreeMap::new();
    let mut new_ops: BTreeMap<usize, Vec<Operation>> = BTreeMap::new();
    let mut merged = 0;
    for ((x, _, _), branches) in groups {
        if branches.len() < 2 {
            continue;
        }
        if let Some((ops, slices)) = join(consts, func, x, &branches) {
            merged += branches.len() - 1;
            forward.extend(branches.iter().map(|b| b.result).zip(slices));
            // All that the new product reads is there where the first product stood.
            let first = branches.iter().map(|b| b.at).min().unwrap_or(0);
            new_ops.entry(first).or_default().extend(ops);
        }
    }
    if merged == 0 {
        return 0;
    }
    let old = std::mem::take(&mut func.body.ops);
    for (at, mut op) in old.into_iter().enumerate() {
        func.body.ops.extend(new_ops.remove(&at).into_iter().flatten());
        op.operands.iter_mut().for_each(|v| *v = *forward.get(v).unwrap_or(v));
        func.body.ops.push(op);
    }
    func.body.yields.iter_mut().for_each(|v| *v = *forward.get(v).unwrap_or(v));
    func.remove_dead();
    merged
}

/// Who defines and who reads each value: positions of ops.
struct Uses {
    def: Vec<Option<usize>>,
    users: Vec<Vec<usize>>,
}

impl Uses {
    fn new(func: &Func) -> Uses {
        let mut u = Uses { def: vec![None; func.types.len()], users: vec![vec![]; func.types.len()] };
        for (k, op) in func.body.ops.iter().enumerate() {
            op.results.iter().for_each(|v| u.def[v.index()] = Some(k));
            op.operands.iter().for_each(|v| u.users[v.index()].push(k));
        }
        // An output has a reader that is no op.
        func.body.yields.iter().for_each(|v| u.users[v.index()].push(usize::MAX));
        u
    }
    fn constant(&self, func: &Func, v: Value) -> Option<ConstId> {
        let Op::Constant { value } = &func.body.ops.get((*self.def.get(v.index())?)?)?.op else { return None };
        Some(*value)
    }
    /// The one op that reads `v`, which is no output.
    fn only<'f>(&self, func: &'f Func, v: Value) -> Option<&'f Operation> {
        let [user] = self.users.get(v.index())?.as_slice() else { return None };
        func.body.ops.get(*user)
    }
}

/// The product at `at`, its left side and the rows of its weight, if it may be merged.
fn branch(consts: &[Const], func: &Func, uses: &Uses, at: usize) -> Option<(Value, usize, Branch)> {
    let op = func.body.ops.get(at)?;
    let (Op::MatMul {}, [x, w]) = (&op.op, op.operands.as_slice()) else { return None };
    let weight = uses.constant(func, *w)?;
    let c = consts.get(weight.0 as usize)?;
    let [rows, columns] = <[i64; 2]>::try_from(c.shape.clone()).ok()?;
    let product = op.result()?;
    if func.ty(*x).rank() < 2 || func.ty(product).dtype != c.dtype {
        return None;
    }
    let mut found = Branch { at, weight, bias: None, result: product, columns, loc: op.loc.clone() };
    let mut user = uses.only(func, product)?;
    if let (Op::Binary { f: BinaryFn::Add }, [a, b]) = (&user.op, user.operands.as_slice()) {
        let bias = uses.constant(func, if *a == product { *b } else { *a })?;
        let shape = &consts.get(bias.0 as usize)?.shape;
        if *shape != [columns] {
            return None;
        }
        found.bias = Some(bias);
        found.result = user.result()?;
        found.loc = found.loc.fuse(&user.loc);
        user = uses.only(func, found.result)?;
    }
    matches!(user.op, Op::Reshape {} | Op::Transpose { .. }).then_some((*x, usize::try_from(rows).ok()?, found))
}

/// The merged product and its slices, one a branch.
fn join(consts: &mut Vec<Const>, func: &mut Func, x: Value, branches: &[Branch]) -> Option<(Vec<Operation>, Vec<Value>)> {
    let beside = |consts: &[Const], ids: &[ConstId]| -> Option<Const> {
        let parts: Vec<&Const> = ids.iter().map(|id| consts.get(id.0 as usize)).collect::<Option<_>>()?;
        let first = parts.first()?;
        let size = first.dtype.size();
        let rows = if first.shape.len() == 2 { usize::try_from(first.shape[0]).ok()? } else { 1 };
        let widths: Vec<usize> = parts.iter().map(|p| p.shape.last().and_then(|n| usize::try_from(*n).ok())).collect::<Option<_>>()?;
        let mut bytes = Vec::with_capacity(parts.iter().map(|p| p.bytes.len()).sum());
        for row in 0..rows {
            for (p, n) in parts.iter().zip(&widths) {
                bytes.extend_from_slice(p.bytes.get(row * n * size..(row + 1) * n * size)?);
            }
        }
        let total = i64::try_from(widths.iter().sum::<usize>()).ok()?;
        let shape = if first.shape.len() == 2 { vec![first.shape[0], total] } else { vec![total] };
        Const::new(first.dtype, shape, bytes.into())
    };
    let weights: Vec<ConstId> = branches.iter().map(|b| b.weight).collect();
    let dtype = consts.get(weights.first()?.0 as usize)?.dtype;
    if !weights.iter().all(|w| consts.get(w.0 as usize).is_some_and(|c| c.dtype == dtype)) {
        return None;
    }
    let weight = beside(consts, &weights)?;
    let bias = match branches.iter().map(|b| b.bias).collect::<Option<Vec<ConstId>>>() {
        Some(ids) => Some(beside(consts, &ids)?),
        None => None,
    };
    let loc = branches.iter().fold(Loc::none(), |l, b| l.fuse(&b.loc));
    let mut shape = func.ty(x).shape.clone();
    let mut ops = vec![];
    let mut emit = |op: Op, operands: Vec<Value>, ty: TensorType| {
        let v = func.value(ty);
        ops.push(Operation { op, operands, results: vec![v], regions: vec![], loc: loc.clone() });
        v
    };
    let mut add = |c: Const| {
        let ty = c.tensor_type();
        consts.push(c);
        (Op::Constant { value: ConstId(u32::try_from(consts.len() - 1).unwrap_or(u32::MAX)) }, ty)
    };
    let total: i64 = branches.iter().map(|b| b.columns).sum();
    *shape.last_mut()? = Dim::from(total);
    let ty = TensorType { dtype, shape };
    let (op, weight_type) = add(weight);
    let w = emit(op, vec![], weight_type);
    let mut y = emit(Op::MatMul {}, vec![x, w], ty.clone());
    if let Some(b) = bias {
        let (op, bias_type) = add(b);
        let b = emit(op, vec![], bias_type);
        y = emit(Op::Binary { f: BinaryFn::Add }, vec![y, b], ty.clone());
    }
    let mut slices = vec![];
    let mut start = 0;
    for b in branches {
        let mut part = ty.clone();
        *part.shape.last_mut()? = Dim::from(b.columns);
        let rank = part.rank();
        let mut starts = vec![Dim::ZERO; rank];
        *starts.last_mut()? = Dim::from(start);
        slices.push(emit(Op::Slice { starts, steps: vec![1; rank] }, vec![y], part));
        start += b.columns;
    }
    Some((ops, slices))
}

#[cfg(test)]
mod tests {
    use super::*;
    use odc_ir::core::{DType, Scalar, TensorValue, no_blobs, parse_module};
    use odc_ir::graph::interp;

    #[test]
    fn query_and_key_become_one_product() {
        let text = r#"graph module "m" {
  const #0 : f32[2, 2] = [f 1.0, f 2.0, f 3.0, f 4.0]
  const #1 : f32[2, 4] = [f 1.0, f 0.5, f 0.25, f 2.0, f 3.0, f -1.0, f 0.0, f 7.0]
  func @main(%0 "x": f32[3, 2]) {
    %1 = constant {value = #0} : f32[2, 2]
    %2 = matmul %0, %1 : f32[3, 2] loc("q")
    %3 = transpose {perm = [1, 0]} %2 : f32[2, 3]
    %4 = constant {value = #1} : f32[2, 4]
    %5 = matmul %0, %4 : f32[3, 4] loc("k")
    %6 = reshape %5 : f32[12]
    yield %3 "q", %6 "k"
  }
}
"#;
        let before: Module = parse_module(text, &no_blobs).unwrap();
        let mut after = before.clone();
        assert_eq!(merge(&mut after), 1);
        let products = after.funcs[0].body.ops.iter().filter(|o| matches!(o.op, Op::MatMul {})).count();
        assert_eq!(products, 1, "{after}");
        let x = TensorValue::new(DType::F32, vec![3, 2], (0..6).map(|k| Scalar::Float(f64::from(k) - 2.0)).collect()).unwrap();
        let run = |m: &Module| interp::run(m, &[("x".into(), x.clone())]).unwrap();
        assert_eq!(run(&before), run(&after));
    }
}
