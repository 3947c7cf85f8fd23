//! Artifacts: whatever the bytes are, they are refused or open and tell their sizes.

use crate::pipeline;
use odc_format::ArtifactView;
use odc_ir::core::parse_module;
use odc_ir::graph;
use odc_runtime::{Artifact, SessionOptions};
use std::sync::OnceLock;
use xxhash_rust::xxh3::{Xxh3, xxh3_64};

/// A compiled model for damage: weights, a symbolic size, several commands.
fn small_artifact() -> &'static [u8] {
    static BYTES: OnceLock<Vec<u8>> = OnceLock::new();
    BYTES.get_or_init(|| pipeline::compile(&small_module(), "cpu", &pipeline::optimised()).expect("the model compiles"))
}

/// The model of `small_artifact`.
pub(crate) fn small_module() -> graph::Module {
    const MODEL: &str = r#"graph module "small" {
  dim n in 1..64 from "x" 0
  const #0 : f32[4, 3] = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11]
  func @main(%0 "x": f32[n, 4]) {
    %1 = constant {value = #0} : f32[4, 3]
    %2 = matmul %0, %1 : f32[n, 3]
    %3 = softmax {axis = 1, log = false} %2 : f32[n, 3]
    yield %2 "logits", %3 "scores"
  }
}"#;
    parse_module(MODEL, &odc_ir::core::no_blobs).expect("the model parses")
}

/// Damage under right checksums (three bytes a change: where, what): an error, or an artifact that opens and tells its sizes.
/// Its kernels are not called: an artifact is trusted as far as its code is.
pub fn artifact(bytes: &[u8]) {
    assert!(Artifact::from_bytes(bytes.to_vec()).is_err() || bytes.len() > 160, "too short to be an artifact");
    let mut damaged = small_artifact().to_vec();
    let number = |at: usize| u64::from_le_bytes(damaged[at..at + 8].try_into().expect("eight bytes")) as usize;
    let (manifest, manifest_len) = (number(72), number(80));
    for change in bytes.chunks_exact(3) {
        let at = usize::from(u16::from_le_bytes([change[0], change[1]])) % (manifest_len + 96);
        damaged[if at < 96 { 64 + at } else { manifest + at - 96 }] = change[2];
    }
    seal(&mut damaged);
    let Ok(view) = ArtifactView::parse(&damaged) else { return };
    let mut slots = vec![];
    let _ = view.manifest.shape_program.evaluate(|_, _| Some(i64::MAX), &mut slots);
    let _ = view.verify_weights();
    if let Ok(a) = Artifact::from_bytes(damaged) {
        let _ = a.arena_bytes_at(&[("n", i64::MAX)]);
        let _ = a.session(SessionOptions::default()).map(|s| s.memory().threads);
    }
}

/// Makes the checksums of an artifact with three sections right again, as an attacker would.
fn seal(bytes: &mut [u8]) {
    for entry in (64..160).step_by(32) {
        let at = |o: usize| u64::from_le_bytes(bytes[entry + o..entry + o + 8].try_into().expect("eight bytes")) as usize;
        let (offset, len) = (at(8), at(16));
        let sum = xxh3_64(bytes.get(offset..offset.saturating_add(len)).unwrap_or_default());
        bytes[entry + 24..entry + 32].copy_from_slice(&sum.to_le_bytes());
    }
    let mut hash = Xxh3::new();
    hash.update(&bytes[..24]);
    hash.update(&bytes[32..160]);
    bytes[24..32].copy_from_slice(&hash.digest().to_le_bytes());
}
