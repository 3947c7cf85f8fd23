//! Pooling.

use super::conv::Window;
use crate::attrs::bad;
use crate::import::call::{Call, Out, unsupported_use};
use odc_ir::core::Dim;
use odc_ir::graph::{Op, PoolKind, ReduceFn};

pub fn max_pool(c: &mut Call) -> Out {
    c.only_outputs(1)?;
    // The order of the indices, an output that is not supported.
    c.attrs.ignore(&["storage_order"]);
    pool(c, PoolKind::Max, false)
}

pub fn average_pool(c: &mut Call) -> Out {
    let count_include_pad = c.attrs.flag("count_include_pad", false)?;
    pool(c, PoolKind::Average, count_include_pad)
}

fn pool(c: &mut Call, kind: PoolKind, count_include_pad: bool) -> Out {
    let x = c.input(0)?;
    c.want_rank(&x, 3, "the operand")?;
    let rank = x.rank() - 2;
    if !c.attrs.has("kernel_shape") {
        return Err(bad("kernel_shape", "is required"));
    }
    let kernel = c.attrs.positive_ints("kernel_shape", rank, 1)?;
    let ceil = c.attrs.flag("ceil_mode", false)?;
    let mut window = Window::of(c, kernel)?;
    let mut shape: Vec<Dim> = x.shape().iter().take(2).cloned().collect();
    for (k, d) in x.shape().iter().skip(2).enumerate() {
        shape.push(window.output(c, k, d, ceil)?);
    }
    let x = window.settle(c, &x, true)?;
    for k in 0..rank {
        if window.begin(k) >= window.extent(k) || window.end(k) >= window.extent(k) {
            return Err(unsupported_use("padding as large as the kernel is not supported"));
        }
    }
    let Window { kernel, strides, dilations, pads, .. } = window;
    if pads.iter().any(|p| *p < 0) {
        return Err(bad("pads", "must not be negative"));
    }
    let op = Op::Pool { kind, kernel, strides, pads, dilations, count_include_pad };
    Ok(vec![c.emit(op, &[&x], x.dtype(), shape)?])
}

fn global(c: &mut Call, f: ReduceFn) -> Out {
    let x = c.input(0)?;
    c.want_rank(&x, 2, "the operand")?;
    let axes: Vec<usize> = (2..x.rank()).collect();
    let shape = x.shape().iter().enumerate().map(|(k, d)| if k < 2 { d.clone() } else { Dim::ONE }).collect();
    Ok(vec![c.emit(Op::Reduce { f, axes, keep: true }, &[&x], x.dtype(), shape)?])
}
pub fn global_average_pool(c: &mut Call) -> Out {
    global(c, ReduceFn::Mean)
}
pub fn global_max_pool(c: &mut Call) -> Out {
    global(c, ReduceFn::Max)
}
