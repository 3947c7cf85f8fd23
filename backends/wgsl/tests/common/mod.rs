//! Loop IR text to WGSL text.

#![allow(dead_code)] // each test program uses its part

use odc_backend::{BackendError, GpuBackend, GpuCode, GpuKernel, GpuTarget};
use odc_ir::core::{no_blobs, parse_module};
use odc_ir::loops::{Func, Loop};
use odc_wgsl::Wgsl;
use std::collections::{BTreeMap, BTreeSet};

/// A function whose value numbers may have gaps.
pub fn parse(text: &str) -> Func {
    let number = |t: &str| t.chars().take_while(char::is_ascii_digit).collect::<String>();
    let used: BTreeSet<u32> = text.split('%').skip(1).map(|t| number(t).parse().unwrap()).collect();
    let new: BTreeMap<u32, usize> = used.into_iter().enumerate().map(|(k, n)| (n, k)).collect();
    let dense = text.split('%').skip(1).fold(text.split('%').next().unwrap().to_owned(), |out, t| {
        let n = number(t);
        format!("{out}%{}{}", new[&n.parse().unwrap()], &t[n.len()..])
    });
    let text = dense.as_str();
    let m = parse_module::<Loop>(&format!("loop module \"t\" {{ {text} }}"), &no_blobs).unwrap_or_else(|e| panic!("{e}\n{text}"));
    m.funcs.into_iter().next().unwrap()
}

pub fn target(name: &str) -> GpuTarget {
    GpuTarget::parse(name).unwrap().unwrap()
}

pub fn compile(target: &GpuTarget, func: &Func) -> Result<GpuCode, BackendError> {
    let about = vec!["nodes: /block.1/MatMul + /block.1/Add".into(), "flops: 4096".into()];
    let code = Wgsl.compile(&GpuKernel { func, writable: vec![], about }, target)?;
    if let Some(dir) = std::env::var_os("ODC_WGSL_DUMP") {
        std::fs::write(std::path::Path::new(&dir).join(format!("{}.wgsl", code.name)), &code.bytes).unwrap();
    }
    Ok(code)
}

/// Compares with the snapshot named like the kernel.
pub fn snapshot(on: &str, text: &str) {
    let (name, got) = (parse(text).name, wgsl(on, text));
    let mut settings = insta::Settings::clone_current();
    settings.set_omit_expression(true);
    settings.set_prepend_module_to_snapshot(false);
    settings.set_snapshot_path("../snapshots");
    settings.bind(|| insta::assert_snapshot!(name, got));
}

/// The module's text under what the caller learns beside it.
pub fn wgsl(on: &str, text: &str) -> String {
    let (func, target) = (parse(text), target(on));
    let code = compile(&target, &func).unwrap_or_else(|e| panic!("{e}"));
    assert_eq!(code, compile(&target, &func).unwrap(), "the same kernel gives the same bytes");
    let GpuCode { bytes, workgroup, workgroup_bytes, features, name } = code;
    format!(
        "{name}: workgroup {workgroup:?}, {workgroup_bytes} bytes shared, features {features:?}\n\n{}",
        String::from_utf8(bytes).unwrap()
    )
}
