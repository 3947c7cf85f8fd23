//! The `loops` template: leading axes flattened into the grid's counter, and for each item of it the nests of all stages, with rows of
//! scratch between them.

use super::emit::Emit;
use super::flat;
use super::loops::Stage;
use super::{Region, define_axes, grid_sym};
use odc_ir::core::{Binary, Dim, Range, Sym, Value};
use odc_ir::loops::LoopKind;
use odc_ir::tensor::Axes;

/// Stages and how they are cut into items.
pub(super) struct Nest {
    pub stages: Vec<Stage>,
    depth: usize,
    /// Elements of the first inner axis that are an item's; 0: all.
    block: i64,
    grid_axes: Axes,
    blocks: Dim,
}

impl Nest {
    pub fn new(stages: Vec<Stage>, depth: usize, block: i64) -> Option<Nest> {
        let axes = &stages.first()?.op.axes;
        let grid_axes: Axes = axes.iter().take(depth).cloned().collect();
        let blocks = match axes.get(depth) {
            Some((_, n)) if block > 0 => n.ceildiv(&Dim::from(block)),
            _ => Dim::ONE,
        };
        Some(Nest { stages, depth, block, grid_axes, blocks })
    }

    /// How many items there are.
    pub fn items(&self) -> Dim {
        Dim::product(self.grid_axes.iter().map(|(_, n)| n)) * &self.blocks
    }

    /// The item at `at`.
    pub fn item(&self, e: &mut Emit, at: &Dim, vector: u32) {
        let mut axes = self.grid_axes.clone();
        let block_axis = (Sym::new("$block"), self.blocks.clone());
        if self.block > 0 {
            axes.push(block_axis.clone());
        }
        define_axes(e, &axes, at);
        let first = self.stages.first().and_then(|s| s.op.axes.get(self.depth)).filter(|_| self.block > 0);
        let bounds = first.map(|(_, n)| {
            let lo = e.dim(&(Dim::from(&block_axis.0) * self.block));
            let size = e.index(self.block);
            let hi = e.binary(Binary::Add, lo, size);
            let n = e.dim(n);
            (lo, e.binary(Binary::Min, hi, n))
        });
        for s in &self.stages {
            s.emit(e, self.depth, bounds, vector);
        }
    }
}

pub(super) fn lower(e: &mut Emit, region: &mut Region<'_>) -> Option<Dim> {
    let depth = region.schedule.grid;
    let rows: Vec<Value> = region.block.ops.iter().flat_map(|o| o.results.clone()).filter(|r| !region.block.yields.contains(r)).collect();
    let alone = region.block.ops.len() == 1;
    let mut ops = vec![];
    for op in &region.block.ops {
        let mut f = flat::flatten(op, &|v| region.types(v), &e.ranges.clone(), &rows, depth)?;
        f.collapse(if alone { 0 } else { depth });
        e.hide(|o| o.flat(&mut f));
        ops.push(f);
    }
    for v in rows {
        let t = region.types(v);
        let mut row = Dim::product(t.shape.get(depth..).unwrap_or(&[]));
        e.hide(|o| row = o.hide(&row));
        let p = e.scratch(t.dtype, &row);
        region.pointers.push((v, p));
    }
    let stages = ops.into_iter().map(|op| region.stage(op)).collect::<Option<Vec<_>>>()?;
    let nest = Nest::new(stages, depth, region.schedule.block.first().copied().unwrap_or(0))?;
    let grid = nest.items();
    let (zero, end) = (e.index(0), e.dim(&grid));
    let g = grid_sym();
    let range = Range { lo: Dim::ZERO, hi: Some(&grid - 1) };
    let vector = region.schedule.vector;
    e.for_loop(LoopKind::Grid, &g, (zero, end, 1), range, &[], &mut |e, _| {
        nest.item(e, &Dim::from(&g), vector);
        vec![]
    });
    Some(grid)
}
