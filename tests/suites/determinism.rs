//! The same model gives the same bytes: again, with any number of compiling threads, and in another process.

use crate::carried_models::model;
use odc::{Options, compile};
use std::process::Command;

/// In the environment of the other process: the model to compile.
const CHILD: &str = "ODC_DETERMINISM_CHILD";

fn bytes(name: &str, threads: usize) -> Vec<u8> {
    let options = Options { threads, ..Options::default() };
    compile(model(name).join("model.onnx"), &options).unwrap_or_else(|e| panic!("{name}: {e}")).artifact_bytes().expect("an artifact")
}

#[test]
fn two_compilations_give_identical_bytes() {
    let folder = tempfile::tempdir().expect("a folder");
    for name in ["ppocrv2_cls", "magika_v3_3"] {
        let one = bytes(name, 1);
        for threads in [1, 3] {
            assert!(bytes(name, threads) == one, "{name}: other bytes with {threads} threads");
        }
        // This program again, told to run only the test below.
        let out = folder.path().join(name);
        let me = std::env::current_exe().expect("a path");
        let run =
            Command::new(me).args(["--exact", "determinism::in_another_process"]).env(CHILD, format!("{name} {}", out.display())).output();
        let run = run.expect("the test program runs");
        assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stdout));
        assert!(std::fs::read(&out).expect("the other process wrote it") == one, "{name}: other bytes in another process");
    }
}

/// Nothing but what the test above makes it do.
#[test]
fn in_another_process() {
    if let Ok(task) = std::env::var(CHILD) {
        let (name, out) = task.split_once(' ').expect("a model and a path");
        std::fs::write(out, bytes(name, 2)).expect("writes");
    }
}
