//! The module around a kernel: the comment at its head, bindings, workgroup memory, helpers, and the entry point with its counters.

use crate::emit::{Builtin, Emitter, Held, Result};
use crate::expr::Expr;
use crate::facts::Facts;
use crate::helpers::Helper;
use crate::kernel::{Context, Kernel};
use crate::literal::Special;
use crate::memory::{Arrays, Place, orders_storage};
use crate::names::{Names, comment};
use odc_backend::{GpuCode, GpuFeature, GpuKernel};
use odc_ir::core::{Scalar, Value};
use odc_ir::loops::LoopType;
use std::fmt::Write;

/// Workgroups along one axis of a dispatch.
const AXIS: i64 = 65535;

/// Prints a kernel whose offsets already count the elements of its arrays.
pub fn print(cx: Context<'_>, kernel: &GpuKernel<'_>, k: &Kernel<'_>, arrays: &Arrays) -> Result<GpuCode> {
    let facts = Facts::new(k.func);
    if let Some(v) = facts.defined_twice() {
        return Err(cx.malformed(format!("{v} is defined twice")));
    }
    let mut names = Names::new();
    let entry = names.fresh(&k.func.name, "kernel");
    let mut e = Emitter::new(cx, k.func, facts, arrays, names);
    e.storage_barrier = orders_storage(arrays);
    e.width = k.width;
    let declarations = declare(&mut e, kernel)?;
    sizes(&mut e)?;
    let guard = counters(&mut e, k)?;
    e.ops(&k.invocation.ops)?;

    let mut text = String::new();
    kernel.about.iter().flat_map(|a| a.lines()).for_each(|l| text += &format!("// {}\n", comment(l)));
    if e.f16 || arrays.values().any(|a| a.dtype == odc_ir::core::DType::F16) {
        e.f16 = true;
        text += "enable f16;\n";
    }
    if !text.is_empty() {
        text.push('\n');
    }
    text += &declarations;
    e.specials.iter().for_each(|s: &Special| {
        let _ = writeln!(text, "var<private> {}: u32 = {};", s.variable(), s.bits());
    });
    e.helpers.iter().for_each(|h: &Helper| {
        let _ = write!(text, "\n{}", h.text());
    });
    let mut parameters = vec![];
    if e.facts.used(k.group) && k.group_count() != Some(1) || guard {
        parameters.push("@builtin(workgroup_id) workgroup: vec3<u32>");
    }
    if guard {
        parameters.push("@builtin(num_workgroups) workgroups: vec3<u32>");
    }
    if k.width > 1 && k.lane.is_some_and(|v| e.facts.used(v)) || e.lines.iter().any(|l| l.contains("local_index")) {
        parameters.push("@builtin(local_invocation_index) local_index: u32");
    }
    e.builtins.iter().for_each(|b| {
        parameters.push(match b {
            Builtin::SubgroupLane => "@builtin(subgroup_invocation_id) subgroup_lane: u32",
            Builtin::SubgroupSize => "@builtin(subgroup_size) subgroup_size: u32",
        });
    });
    let _ = writeln!(text, "\n@compute @workgroup_size({})", k.width);
    let _ = match parameters.as_slice() {
        [] => writeln!(text, "fn {entry}() {{"),
        [one] => writeln!(text, "fn {entry}({one}) {{"),
        list => writeln!(text, "fn {entry}(\n  {},\n) {{", list.join(",\n  ")),
    };
    e.lines.iter().for_each(|l| text += &format!("{l}\n"));
    text += "}\n";

    let workgroup_bytes: u64 = arrays.values().map(|a| a.shared_bytes()).sum();
    let mut features = vec![];
    if e.f16 {
        features.push(GpuFeature::F16.webgpu().into());
    }
    if e.subgroups {
        features.push(GpuFeature::Subgroups.webgpu().into());
    }
    if e.dot {
        features.push(GpuFeature::Dot.webgpu().into());
    }
    Ok(GpuCode {
        name: entry,
        bytes: text.into_bytes(),
        workgroup: [k.width, 1, 1],
        workgroup_bytes: u32::try_from(workgroup_bytes).unwrap_or(u32::MAX),
        features,
    })
}

/// The kernel's parameters and what they are called.
fn params<'f>(e: &Emitter<'f>) -> impl Iterator<Item = (Value, &'f str, LoopType)> + use<'f> {
    let func = e.func;
    func.body.args.iter().zip(&func.param_names).map(|(v, n)| (*v, n.as_str(), *func.ty(*v)))
}

/// Buffers, sizes and workgroup memory.
fn declare(e: &mut Emitter<'_>, kernel: &GpuKernel<'_>) -> Result<String> {
    let mut text = String::new();
    let arrays = e.arrays;
    let mut bindings = 0u32;
    for (v, wanted, _) in params(e).filter(|(.., t)| matches!(t, LoopType::Ptr(..))) {
        let name = e.names.fresh(wanted, "buffer");
        let Some(a) = arrays.get(&v) else { continue };
        let writable = a.stored || kernel.writable.get(bindings as usize).copied().unwrap_or(false);
        let access = if writable { "read_write" } else { "read" };
        let exact = if name == wanted { String::new() } else { format!(" // {}", comment(wanted)) };
        let _ = writeln!(text, "@group(0) @binding({bindings}) var<storage, {access}> {name}: array<{}>;{exact}", a.element());
        e.array_names.insert(v, name);
        bindings += 1;
    }
    e.cx.limit("storage buffers a stage", bindings.into(), e.cx.target.limits.storage_buffers.into())?;
    let sizes = params(e).filter(|(.., t)| *t == LoopType::Index).count();
    if sizes > 0 {
        let _ = writeln!(text, "@group(0) @binding({bindings}) var<uniform> sizes: array<vec4<i32>, {}>;", sizes.div_ceil(4));
    }
    let mut bytes = 0;
    for (v, a) in arrays {
        let Place::Shared(len) = a.place else { continue };
        bytes += a.shared_bytes();
        let name = e.names.fresh("tile", "tile");
        let _ = writeln!(text, "var<workgroup> {name}: array<{}, {}>;", a.element(), len / a.lanes);
        e.array_names.insert(*v, name);
    }
    e.cx.limit("bytes of workgroup memory", bytes, e.cx.target.limits.workgroup_bytes.into())?;
    Ok(text)
}

/// The sizes that are used, under names like their formulas.
fn sizes(e: &mut Emitter<'_>) -> Result<()> {
    let dims: Vec<_> = params(e).filter(|(.., t)| *t == LoopType::Index).collect();
    for (k, (v, wanted, _)) in dims.into_iter().enumerate() {
        if !e.facts.used(v) {
            continue;
        }
        let name = e.names.fresh(wanted, "size");
        let exact = if name == wanted { String::new() } else { format!(" // {}", comment(wanted)) };
        let component = ["x", "y", "z", "w"].get(k % 4).copied().unwrap_or("x");
        e.line(&format!("let {name} = sizes[{}].{component};{exact}", k / 4));
        e.set(v, Held::Expr(Expr::name(&name)));
    }
    Ok(())
}

/// What stands before the block loop's body: uniform ops, the workgroup's number, and the invocation's. Is there a test against
/// workgroups in excess, which a dispatch along two axes has?
fn counters(e: &mut Emitter<'_>, k: &Kernel<'_>) -> Result<bool> {
    e.ops(k.outer)?;
    let count = k.group_count();
    let guard = count.is_none_or(|n| n > AXIS);
    if count == Some(1) {
        e.set(k.group, Held::Const(Scalar::Int(0)));
    } else if guard {
        let groups = e.take(k.groups)?;
        e.line("let g = i32(workgroup.x + workgroup.y * workgroups.x);");
        e.line(&format!("if (g >= {}) {{", groups.inside(&[crate::expr::Level::Atom, crate::expr::Level::Add, crate::expr::Level::Mul])));
        e.line("  return;");
        e.line("}");
        e.set(k.group, Held::Expr(Expr::name("g")));
    } else {
        if e.facts.used(k.group) {
            e.line("let g = i32(workgroup.x);");
        }
        e.set(k.group, Held::Expr(Expr::name("g")));
    }
    e.ops(k.uniform)?;
    if k.width > 1 {
        e.lane = match k.lane {
            Some(v) if e.facts.used(v) => {
                e.line("let lane = i32(local_index);");
                Held::Expr(Expr::name("lane"))
            }
            _ => Held::Expr(Expr::call("i32", &[&Expr::name("local_index")])),
        };
    }
    if let Some(v) = k.lane {
        let held = e.lane.clone();
        e.set(v, held);
    }
    Ok(guard)
}
