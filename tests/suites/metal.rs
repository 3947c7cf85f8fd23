//! The carried models for Metal: whole command lists on the host shim, against the outputs that ONNX Runtime gave.

use crate::carried_models::model;
use odc::compare::{Golden, Tolerances};
use odc::{AnyTarget, Options};
use odc_metal_shim::verify::verify;

fn on_the_shim(name: &str) {
    let folder = model(name);
    let metal = AnyTarget::parse("metal").expect("a target");
    let compiled = odc::compile(folder.join("model.onnx"), &Options { targets: vec![metal], ..Options::default() });
    let compiled = compiled.unwrap_or_else(|e| panic!("{name}: {e}"));
    let exploded = tempfile::tempdir().expect("a folder");
    odc::explode(&compiled, exploded.path()).unwrap_or_else(|e| panic!("{name}: {e:?}"));
    let tolerances = Tolerances::Golden(Golden::read(&folder.join("golden.json")).expect("golden.json"));
    let artifact = compiled.artifact_bytes().expect("the artifact is valid");
    let verified = verify(&artifact, exploded.path(), &folder, &tolerances).unwrap_or_else(|e| panic!("{name}: {e}"));
    assert!(verified.len() >= 2, "{name}: too few outputs");
    for v in verified {
        assert!(v.difference.passes() && v.difference.elements > 0, "{name}: {v:?}");
    }
}

#[test]
fn magika() {
    on_the_shim("magika_v3_3");
}

#[test]
fn ppocrv2_cls() {
    on_the_shim("ppocrv2_cls");
}
