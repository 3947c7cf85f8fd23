//! Bodies of the fuzz targets: a fuzzer's bytes in, a panic if odc panics or contradicts itself. The targets in `fuzz/` call them
//! without end, the suite calls them for a few seconds with fixed seeds. Only those of compiled code need the compiler.

#[cfg(feature = "compile")]
mod artifact;
#[cfg(feature = "compile")]
mod differential;
mod sizes;
mod text;

#[cfg(feature = "compile")]
pub use artifact::artifact;
#[cfg(feature = "gpu")]
pub(crate) use artifact::small_module;
#[cfg(feature = "compile")]
pub use differential::{compare, compare_module, compare_sample, differential};
pub use sizes::shape_program;
pub use text::{damaged_text, parse_graph, parse_loop, parse_tensor};

use odc_ir::graph;

/// An ONNX file: diagnostics, or a module that verifies.
pub fn onnx_import(bytes: &[u8]) {
    let Ok(model) = odc_onnx::Model::from_bytes(bytes.to_vec()) else { return };
    match odc_onnx::import(&model, &odc_onnx::ImportOptions::default()) {
        Ok(m) => assert_eq!(graph::verify(&m).first(), None, "{m}"),
        Err(diagnostics) => assert!(!diagnostics.is_empty(), "refused without a reason"),
    }
}
