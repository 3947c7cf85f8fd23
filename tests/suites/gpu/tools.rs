//! Every kernel of the carried models and of the small graphs through Tint and spirv-val, the programs that browsers and drivers judge
//! by. They are installed by `tests/gpu/install.sh`; without them this is skipped, unless `ODC_REQUIRE_GPU` is set.

use super::models::{MODELS, model};
use super::{compiled, intrinsics};
use crate::{carried_models, tidy};
use odc::{AnyTarget, Compiled, Options};
use odc_format::{Code, Language};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The folder of tools, if all that is needed is in it.
fn installed(what: &str) -> Option<PathBuf> {
    let tools = std::env::var_os("ODC_GPU_TOOLS").map_or_else(|| tidy::root().join("target/gpu-tools"), PathBuf::from);
    if tools.join(what).exists() {
        return Some(tools);
    }
    let required = std::env::var_os("ODC_REQUIRE_GPU").is_some();
    let text = format!("{} is missing: run tests/gpu/install.sh, or set ODC_GPU_TOOLS", tools.join(what).display());
    assert!(!required, "ODC_REQUIRE_GPU is set, but {text}");
    // Past the test harness, which shows nothing of what passes.
    let _ = writeln!(std::io::stderr(), "SKIPPED: {text}");
    None
}

/// One file a kernel; returns how many.
fn write(folder: &Path, prefix: &str, c: &Compiled) -> usize {
    let mut n = 0;
    for target in &c.manifest().targets {
        let odc_format::Device::Gpu { language, .. } = &target.device else { continue };
        let extension = match language {
            Language::Wgsl => "wgsl",
            Language::Spirv => "spv",
            Language::Msl => continue,
        };
        let Code::Section(k) = target.code else { panic!("GPU code lies in a section") };
        let code = &c.code()[k as usize];
        for kernel in &target.kernels {
            let bytes = &code[kernel.offset as usize..(kernel.offset + kernel.len) as usize];
            std::fs::write(folder.join(format!("{prefix}_{n}_{}.{extension}", kernel.name)), bytes).expect("writes");
            n += 1;
        }
    }
    n
}

/// All kernels for these targets.
fn all(folder: &Path, targets: &[&str]) -> usize {
    let mut n = 0;
    let parsed: Vec<_> = targets.iter().map(|t| AnyTarget::parse(t).expect(t)).collect();
    for name in carried_models::names() {
        let options = Options { targets: parsed.clone(), ..Options::default() };
        let c = odc::compile(carried_models::model(&name).join("model.onnx"), &options).unwrap_or_else(|e| panic!("{name}: {e}"));
        n += write(folder, &name, &c);
    }
    n + MODELS.iter().map(|(name, _)| write(folder, name, &compiled(&model(name), targets))).sum::<usize>()
}

/// Products for what the targets have beyond a multiply-add.
fn products(folder: &Path, targets: &[&str]) -> usize {
    let products = intrinsics::products();
    (0..).zip(&products).map(|(k, m)| write(folder, &format!("product{k}"), &compiled(m, targets))).sum()
}

/// Runs a checker whose last line counts what passed.
fn judge(mut command: Command, n: usize) {
    let out = command.current_dir(tidy::root()).output().unwrap_or_else(|e| panic!("{command:?}: {e}"));
    let text = format!("{}{}", String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr));
    assert!(out.status.success() && text.contains(&format!("{n} passed, 0 failed")), "{n} kernels: {text}");
}

#[test]
fn tint_takes_every_kernel() {
    let Some(tools) = installed("node_modules/webgpu") else { return };
    let folder = tempfile::tempdir().expect("a folder");
    let n = all(folder.path(), &["wgsl"]);
    assert!(n > 40, "only {n} kernels");
    let mut node = Command::new("node");
    node.arg("tests/gpu/check_wgsl.mjs").arg(folder.path()).env("ODC_GPU_TOOLS", &tools);
    judge(node, n);
    // Those of better devices, whose limits are not the default ones.
    let folder = tempfile::tempdir().expect("a folder");
    let n = all(folder.path(), &["wgsl:f16+subgroups"]) + products(folder.path(), &["wgsl:dot"]);
    let mut node = Command::new("node");
    node.arg("tests/gpu/check_wgsl.mjs").arg("--no-limits").arg(folder.path()).env("ODC_GPU_TOOLS", &tools);
    judge(node, n);
}

#[test]
fn spirv_val_takes_every_kernel() {
    let Some(tools) = installed("python/spirv/spirv-val") else { return };
    let folder = tempfile::tempdir().expect("a folder");
    let n = all(folder.path(), &["spirv", "spirv:f16+subgroups"]) + products(folder.path(), &["spirv:dot", "spirv:coop"]);
    assert!(n > 80, "only {n} kernels");
    let mut check = Command::new("tests/gpu/spirv_val.sh");
    check.arg(folder.path()).env("ODC_GPU_TOOLS", &tools);
    judge(check, n);
}
