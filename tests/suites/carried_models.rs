//! The models in `tests/models` through compiler and runtime, against the outputs that ONNX Runtime gave: every data set of a
//! model from one artifact, optimised and not, with one thread and two.

use odc::compare::{Golden, Tolerances, compare};
use odc::{OptLevel, Options, pb};
use odc_runtime::{Artifact, SessionOptions};
use std::path::PathBuf;

pub fn model(name: &str) -> PathBuf {
    crate::tidy::root().join("tests/models").join(name)
}

/// The folders of all carried models.
pub fn names() -> Vec<String> {
    let entries = std::fs::read_dir(model("")).expect("tests/models").flatten();
    let mut names: Vec<_> =
        entries.filter(|e| e.path().join("model.onnx").is_file()).map(|e| e.file_name().into_string().expect("a name")).collect();
    names.sort();
    names
}

/// All data sets; returns how many outputs were compared.
fn verify(name: &str, level: OptLevel) -> usize {
    let folder = model(name);
    let compiled =
        odc::compile(folder.join("model.onnx"), &Options { level, ..Options::default() }).unwrap_or_else(|e| panic!("{name}: {e}"));
    let artifact = Artifact::from_bytes(compiled.artifact_bytes().expect("the artifact is valid")).expect("the artifact opens");
    artifact.verify_weights().expect("the weights are whole");
    let list = |infos: &[odc_format::TensorInfo]| infos.iter().map(|t| t.name.clone()).collect::<Vec<_>>();
    let (in_names, out_names) = (list(&artifact.manifest().inputs), list(&artifact.manifest().outputs));
    let tolerances = Tolerances::Golden(Golden::read(&folder.join("golden.json")).expect("golden.json"));
    let sets = pb::data_sets(&folder).expect("data sets");
    let mut compared = 0;
    for threads in [1, 2] {
        let mut session = artifact.session(SessionOptions::threads(threads)).expect("a session");
        // Forward and back: a shape that the session knows already runs again.
        for set in sets.iter().chain(sets.iter().rev()) {
            let at = format!("{name} at {level:?}, {threads} threads, {}", set.folder.display());
            let inputs = pb::named(&set.inputs, &in_names).expect("inputs");
            let views: Vec<_> = inputs.iter().map(|(n, t)| (n.as_str(), t.view())).collect();
            let outputs = session.run(&views).unwrap_or_else(|e| panic!("{at}: {e}"));
            for (output, want) in pb::named(&set.outputs, &out_names).expect("outputs") {
                let got = outputs.get(&output).unwrap_or_else(|| panic!("{at}: no output {output}"));
                let tolerance = tolerances.of(set.number.expect("a number"), &output, want.dtype).expect("a tolerance");
                let d = compare(&got, &want.view(), tolerance).unwrap_or_else(|e| panic!("{at}, {output}: {e}"));
                assert!(d.passes() && d.elements > 0, "{at}, {output}: {d:?}");
                compared += 1;
            }
        }
    }
    compared
}

#[test]
fn optimised() {
    let names = names();
    assert!(names.len() >= 2, "{names:?}");
    for name in names {
        assert!(verify(&name, OptLevel::O2) >= 8, "{name}: too few outputs");
    }
}

#[test]
fn not_optimised() {
    for name in names() {
        assert!(verify(&name, OptLevel::O0) >= 8, "{name}: too few outputs");
    }
}
