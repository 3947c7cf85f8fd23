//! The products of a `gemm` as matrices that subgroups hold together: a subgroup owns a tile of the block, several matrices of sums. At
//! the end these pass through shared memory, one a subgroup at a time, to invocations that know which elements they hold.

use super::super::emit::Emit;
use super::gemm::{Gemm, Tile};
use super::{local, name, shared};
use odc_ir::core::{DType, Dim, Range, Scalar, Sym, Value};
use odc_ir::loops::{Coop, LaneInfo, LoopKind, LoopType, Op, Role};

pub(super) struct Matrices {
    /// Rows, columns and depth of a product.
    shape: [i64; 3],
    /// Invocations of a subgroup.
    size: i64,
    /// A matrix of sums for each subgroup.
    sums: Value,
    types: [LoopType; 3],
    /// The type of a sum.
    sum: DType,
}

impl Matrices {
    pub fn new(e: &mut Emit, g: &Gemm<'_>, [rows, columns, depth, size]: [i64; 4]) -> Option<Matrices> {
        let factors = g.p.c.factors()?;
        let sum = if factors.is_float() { DType::F32 } else { DType::I32 };
        let [m, n, k] = [rows, columns, depth].map(|x| u32::try_from(x).unwrap_or(0));
        let matrix = |dtype, role, rows, columns| LoopType::Coop(Coop { dtype, role, rows, columns });
        let types = [matrix(factors, Role::A, m, k), matrix(factors, Role::B, k, n), matrix(sum, Role::Acc, m, n)];
        let even = g.tile[0] % rows == 0 && g.tile[1] % columns == 0 && g.block[2] % depth == 0 && (rows * columns) % size == 0;
        let sums = shared(e, sum, g.width / size * rows * columns)?;
        even.then_some(Matrices { shape: [rows, columns, depth], size, sums, types, sum })
    }

    /// What a workgroup does.
    pub fn block(&self, e: &mut Emit, g: &Gemm<'_>, lhs: &Tile<'_>, rhs: &Tile<'_>) {
        let ([m, n, k], [tm, tn], [_, bn, bk]) = (self.shape, g.tile, g.block);
        let [a, b, acc] = self.types;
        let (down, across, groups) = (tm / m, tn / n, g.width / self.size);
        let beside = Dim::from(bn / tn);
        let group = e.op(Op::Lane { info: LaneInfo::Subgroup }, &[], LoopType::Index);
        let subgroup = Sym::new("$subgroup");
        e.define(subgroup.clone(), group, Range { lo: Dim::ZERO, hi: Some(Dim::from(groups - 1)) });
        let subgroup = Dim::from(subgroup);
        let (row, column) = (subgroup.floordiv(&beside) * tm, subgroup.modulo(&beside) * tn);
        let zero = if self.sum.is_float() { Scalar::Float(0.0) } else { Scalar::Int(0) };
        let zero = e.constant(zero, LoopType::Scalar(self.sum));
        let zero = e.op(Op::Splat {}, &[zero], acc);
        let accs = g.depths(e, lhs, rhs, &vec![zero; (down * across) as usize], &mut |e, accs| {
            let (start, end) = (e.index(0), e.index(bk));
            let kk = Sym::new("$kk");
            let range = Range { lo: Dim::ZERO, hi: Some(Dim::from(bk - k)) };
            e.for_loop(LoopKind::Serial, &kk, (start, end, k), range, accs, &mut |e, accs| {
                let load = |e: &mut Emit, t: &Tile<'_>, line: Dim, ty: LoopType| {
                    let inner = Dim::from(&kk).floordiv(&Dim::from(t.layout.per));
                    let (at, stride) = (e.dim(&(line * t.layout.stride + inner)), e.index(t.layout.stride));
                    e.op(Op::CoopLoad {}, &[t.array, at, stride], ty)
                };
                let x: Vec<Value> = (0..down).map(|i| load(e, lhs, &row + i * m, a)).collect();
                let y: Vec<Value> = (0..across).map(|j| load(e, rhs, &column + j * n, b)).collect();
                let place = |p: usize| (p / across as usize, p % across as usize);
                accs.iter().enumerate().map(|(p, c)| e.op(Op::CoopMma {}, &[x[place(p).0], y[place(p).1], *c], acc)).collect()
            })
        });
        for (p, sums) in (0i64..).zip(&accs) {
            let (at, stride) = (e.dim(&(&subgroup * (m * n))), e.index(n));
            e.effect(Op::CoopStore {}, &[self.sums, at, stride, *sums]);
            self.finish(e, g, (&lhs.base + p / across * m, &rhs.base + p % across * n));
        }
    }

    /// The epilogue of one matrix a subgroup, whose first element lies at `corner` of the subgroup's tile.
    fn finish(&self, e: &mut Emit, g: &Gemm<'_>, corner: (Dim, Dim)) {
        let ([m, n, _], [tm, tn], [_, bn, _]) = (self.shape, g.tile, g.block);
        let beside = Dim::from(bn / tn);
        // Any invocation may finish any element: those of a workgroup in order, so that neighbours store neighbours.
        let steps = m * n / self.size;
        let (start, end) = (e.index(0), e.index(steps));
        let range = Range { lo: Dim::ZERO, hi: Some(Dim::from(steps - 1)) };
        e.for_loop(LoopKind::Serial, &Sym::new("$step"), (start, end, 1), range, &[], &mut |e, _| {
            let size = Dim::from(self.size);
            let tile = name(e, "$tile", &local().floordiv(&size), &Dim::from(g.width / self.size));
            let element = local().modulo(&size) + Dim::sym("$step") * self.size;
            let element = name(e, "$element", &element, &Dim::from(m * n));
            let row = &corner.0 + tile.floordiv(&beside) * tm + element.floordiv(&Dim::from(n));
            let column = &corner.1 + tile.modulo(&beside) * tn + element.modulo(&Dim::from(n));
            g.store(e, &row, &column, &mut |e| {
                let at = e.dim(&(&tile * (m * n) + &element));
                e.load(self.sums, at, LoopType::Scalar(self.sum))
            });
            vec![]
        });
    }
}
