//! What the tests share: kernels from text or from a body, and spirv-val.
#![allow(dead_code)]

use odc_backend::{BackendError, GpuBackend, GpuCode, GpuKernel, GpuTarget};
use odc_ir::core::{no_blobs, parse_module};
use odc_ir::loops::{Func, Loop, LoopType};
use odc_spirv::Spirv;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::Command;
use std::sync::Once;

/// Values may have any numbers here.
pub fn parse(text: &str) -> Func {
    let text = &dense(text);
    let m = parse_module::<Loop>(&format!("loop module \"t\" {{ {text} }}"), &no_blobs).unwrap_or_else(|e| panic!("{e}\n{text}"));
    m.funcs.into_iter().next().unwrap()
}

/// The text with its values numbered by their first appearance, as the parser wants them.
fn dense(text: &str) -> String {
    let mut numbers = BTreeMap::new();
    let mut parts = text.split('%');
    let mut out = parts.next().unwrap_or_default().to_string();
    for part in parts {
        let end = part.find(|c: char| !c.is_ascii_digit()).unwrap_or(part.len());
        let next = numbers.len();
        let k = *numbers.entry(&part[..end]).or_insert(next);
        out += &format!("%{k}{}", &part[end..]);
    }
    out
}

pub fn target(name: &str) -> GpuTarget {
    GpuTarget::parse(name).expect("a GPU's name").expect("known features")
}

pub fn kernel(f: &Func) -> GpuKernel<'_> {
    let buffers = f.types.iter().zip(&f.param_names).filter(|(t, _)| matches!(t, LoopType::Ptr(..))).count();
    GpuKernel { func: f, writable: vec![true; buffers], about: vec![] }
}

pub fn compile(text: &str, on: &str) -> Result<GpuCode, BackendError> {
    Spirv.compile(&kernel(&parse(text)), &target(on))
}

/// A kernel of 8 invocations a workgroup with `body` inside. In scope: %0 zero, %1 one, %2 the global index, %3 the lane, %4 the workgroup,
/// the parameters %10 x: f32, %11 y: f32, %12 i: i32, %13 u: u32 (and %14 h: f16 where `on` has it), %20 n, %21 m: index.
pub fn around(outer: &str, body: &str, half: bool) -> String {
    let h = if half { ", %14 \"h\": ptr<f16, global>" } else { "" };
    format!(
        r#"func @k(%10 "x": ptr<f32, global>, %11 "y": ptr<f32, global>, %12 "i": ptr<i32, global>, %13 "u": ptr<u32, global>{h}, %20 "n": index, %21 "m": index) {{
  %0 = const {{value = 0}} : index
  %1 = const {{value = 1}} : index
  %8 = const {{value = 8}} : index
  {outer}
  for {{kind = grid}} %0, %20, %1 (%4: index) {{
    %9 = binary {{f = mul}} %4, %8 : index
    for {{kind = block}} %0, %8, %1 (%3: index) {{
      %2 = binary {{f = add}} %9, %3 : index
      {body}
      yield
    }}
    yield
  }}
  yield
}}"#
    )
}

fn validator() -> Option<PathBuf> {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../..");
    let tools = std::env::var_os("ODC_GPU_TOOLS").map_or(root.join("target/gpu-tools"), PathBuf::from);
    let path = std::env::var_os("ODC_SPIRV_VAL").map_or(tools.join("python/spirv/spirv-val"), PathBuf::from);
    path.is_file().then_some(path)
}

/// Panics with what spirv-val says against the module, and the module.
pub fn validate(code: &GpuCode, what: &str) {
    let Some(tool) = validator() else {
        static ONCE: Once = Once::new();
        ONCE.call_once(|| {
            eprintln!("SKIPPED: NO module is validated: there is no spirv-val; run tests/gpu/install.sh or set ODC_SPIRV_VAL")
        });
        return;
    };
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("k.spv");
    std::fs::write(&path, &code.bytes).expect("the module is written");
    let out = Command::new(tool).args(["--target-env", "vulkan1.1"]).arg(&path).output().expect("spirv-val runs");
    assert!(out.status.success(), "{what}: {}{}", String::from_utf8_lossy(&out.stderr), String::from_utf8_lossy(&out.stdout));
}

/// Compiles the body in the frame of [`around`] and validates it; the module as text.
pub fn valid(outer: &str, body: &str, on: &str) -> String {
    let f = parse(&around(outer, body, on.contains("f16")));
    let code = Spirv.compile(&kernel(&f), &target(on)).unwrap_or_else(|e| panic!("{e}\n{body}"));
    validate(&code, body);
    assert_eq!(code.workgroup, [8, 1, 1]);
    Spirv.text(&kernel(&f), &target(on)).expect("what compiles has a text")
}
