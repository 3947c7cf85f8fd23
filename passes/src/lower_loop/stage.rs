//! Staging: the right-hand columns of a gemm block copied into panels `[tile][k][column]`, through the operand's index map. This is
//! where a convolution's im2col happens, padding included, a block at a time and never in memory as a whole.

mod runs;

use super::emit::Emit;
use super::gemm::{Gemm, load_f32};
use crate::schedule::contraction::flat_groups;
use odc_ir::core::{Binary, DType, Dim, Range, Scalar, Sym, Value};
use odc_ir::loops::{LoopKind, LoopType, Op};
use odc_ir::tensor::Axes;

const LANES: i64 = 4;
const F32: LoopType = LoopType::Scalar(DType::F32);
const F32X4: LoopType = LoopType::Vector(DType::F32, LANES as u32);

/// One vector's worth of columns: what each lane reads.
struct Group {
    /// First column in the tile.
    first: i64,
    offsets: Vec<Dim>,
    inside: Vec<Vec<(Dim, Dim)>>,
    /// Do the lanes read neighbours, in one row of the source?
    together: Value,
}

/// Fills `panel` with tiles `[tiles.0, tiles.1)`; tile `base` is its first.
pub(super) fn fill(e: &mut Emit, g: &Gemm, panel: Value, tiles: (Value, Value), base: &Dim, source: Value) {
    let (tile, runs) = (Sym::new("$st"), runs::Runs::new(g));
    let all = g.columns.ceildiv(&Dim::from(g.nr));
    e.for_loop(LoopKind::Serial, &tile, (tiles.0, tiles.1, 1), Range { lo: Dim::ZERO, hi: Some(all - 1) }, &[], &mut |e, _| {
        let to = (Dim::from(&tile) - base) * (&g.depth * g.nr);
        if let Some(runs) = &runs {
            runs.fill(e, g, &tile, &to, panel, source);
            return vec![];
        }
        let groups: Vec<Group> = (0..g.nr / LANES).map(|q| group(e, g, &tile, q * LANES)).collect();
        let to = to + super::flat::flat_index(&g.c.k) * g.nr;
        depth_loops(e, &g.c.k, &mut |e| {
            for gr in &groups {
                copy(e, gr, panel, source, &(&to + gr.first));
            }
        });
        vec![]
    });
}

fn depth_loops(e: &mut Emit, k: &[(Sym, Dim)], f: &mut dyn FnMut(&mut Emit)) {
    let Some(((s, n), rest)) = k.split_first() else { return f(e) };
    let (lo, hi) = (e.index(0), e.dim(n));
    e.for_loop(LoopKind::Serial, s, (lo, hi, 1), Range { lo: Dim::ZERO, hi: Some(n - 1) }, &[], &mut |e, _| {
        depth_loops(e, rest, f);
        vec![]
    });
}

fn group(e: &mut Emit, g: &Gemm, tile: &Sym, first: i64) -> Group {
    let k: &Axes = &g.c.k;
    let last = &g.columns - 1;
    let exact = g.columns.as_const().is_some_and(|n| n % g.nr == 0);
    let (mut offsets, mut inside) = (vec![], vec![]);
    for l in 0..LANES {
        // A symbol a lane: its column, clamped to the last one; what lies past it is never stored.
        let column = Dim::from(tile) * g.nr + (first + l);
        let column = if exact { column } else { column.min_with(&last) };
        let v = e.dim(&column);
        let s = Sym::new(&format!("$c{first}_{l}"));
        e.define(s.clone(), v, Range { lo: Dim::ZERO, hi: Some(last.clone()) });
        let ranges = e.ranges.with_axes(k.iter().map(|(s, n)| (s, n)));
        let at = |d: &Dim| flat_groups(d, &[(&g.c.n, Dim::from(&s))], &ranges);
        offsets.push(at(&g.c.rhs.offset));
        inside.push(g.c.rhs.inside.iter().map(|(d, n)| (at(d), n.clone())).collect::<Vec<_>>());
    }
    let start = |d: &Dim| d.subst(&|s| k.iter().any(|(x, _)| x == s).then_some(Dim::ZERO));
    let mut together: Option<Value> = None;
    let mut require = |e: &mut Emit, t: Value| {
        together = Some(match together {
            None => t,
            Some(a) => e.binary(Binary::And, a, t),
        });
    };
    for l in 1..LANES {
        let step = e.dim(&(start(&offsets[l as usize]) - start(&offsets[0])));
        let one = e.index(l);
        let t = e.binary(Binary::Eq, step, one);
        require(e, t);
    }
    // Each guarded coordinate stands still or moves by one a lane: then the first and the last lane speak for all. A coordinate of
    // extent 3 comes back to where it was, so the second lane is asked too.
    for ((from, second), to) in inside[0].iter().zip(&inside[1]).zip(&inside[LANES as usize - 1]) {
        let (next, step) = (e.dim(&(start(&second.0) - start(&from.0))), e.dim(&(start(&to.0) - start(&from.0))));
        let (zero, all) = (e.index(0), e.index(LANES - 1));
        let (near, far) = (e.binary(Binary::Eq, next, zero), e.binary(Binary::Eq, step, zero));
        let (still, moving) = (e.binary(Binary::And, near, far), e.binary(Binary::Eq, step, all));
        let t = e.binary(Binary::Or, still, moving);
        require(e, t);
    }
    let together = together.unwrap_or_else(|| e.constant(Scalar::Bool(true), LoopType::Scalar(DType::Bool)));
    Group { first, offsets, inside, together }
}

fn condition(e: &mut Emit, pairs: &[(Dim, Dim)]) -> Option<Value> {
    let mut all: Option<Value> = None;
    for (d, n) in pairs {
        let (v, zero, n) = (e.dim(d), e.index(0), e.dim(n));
        let (a, b) = (e.binary(Binary::Ge, v, zero), e.binary(Binary::Lt, v, n));
        let t = e.binary(Binary::And, a, b);
        all = Some(match all {
            None => t,
            Some(x) => e.binary(Binary::And, x, t),
        });
    }
    all
}

/// Four columns at one depth: one vector where the lanes are together and inside, else one by one.
fn copy(e: &mut Emit, gr: &Group, panel: Value, source: Value, to: &Dim) {
    let mut fast = gr.together;
    for lane in [0, LANES as usize - 1] {
        if let Some(t) = condition(e, &gr.inside[lane]) {
            fast = e.binary(Binary::And, fast, t);
        }
    }
    e.if_else(
        fast,
        &[],
        &mut |e| {
            let (from, at) = (e.dim(&gr.offsets[0]), e.dim(to));
            let v = load_f32(e, source, from, F32X4);
            e.store(panel, at, v);
            vec![]
        },
        &mut |e| {
            for l in 0..LANES as usize {
                let from = e.dim(&gr.offsets[l]);
                let v = match condition(e, &gr.inside[l]) {
                    None => load_f32(e, source, from, F32),
                    Some(inside) => {
                        let zero = e.index(0);
                        let from = e.op(Op::Select {}, &[inside, from, zero], LoopType::Index);
                        let v = load_f32(e, source, from, F32);
                        let none = e.constant(Scalar::Float(0.0), F32);
                        e.op(Op::Select {}, &[inside, v, none], F32)
                    }
                };
                let at = e.dim(&(to + l as i64));
                e.store(panel, at, v);
            }
            vec![]
        },
    );
}
