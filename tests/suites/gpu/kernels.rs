//! The WGSL of one model after the other, whole, to read in a diff; one of them as SPIR-V and Metal too. To take over a change:
//! `INSTA_UPDATE=always cargo test -p odc-tests gpu::kernels`.

use super::models::{MODELS, model};
use super::{compiled, texts};

fn text(name: &str, target: &str) -> String {
    let c = compiled(&model(name), &[target]);
    texts(&c).into_iter().map(|k| k.text).collect::<Vec<_>>().join("\n")
}

#[test]
fn wgsl() {
    for (name, _) in MODELS {
        insta::assert_snapshot!(format!("wgsl_{name}"), text(name, "wgsl"));
    }
}

#[test]
fn with_subgroups() {
    insta::assert_snapshot!("wgsl_subgroups_softmax", text("softmax", "wgsl:subgroups"));
}

#[test]
fn spirv() {
    insta::assert_snapshot!("spirv_gather", text("gather", "spirv"));
}

#[test]
fn metal() {
    insta::assert_snapshot!("metal_layer_norm", text("layer_norm", "metal"));
}
