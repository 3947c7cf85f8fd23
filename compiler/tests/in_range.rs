//! Indices that come with the inputs, from the graph to a run of the artifact.

use odc::{Options, compile_graph};
use odc_ir::core::{no_blobs, parse_module};
use odc_runtime::{Artifact, Session, SessionOptions, TensorView};

const ROWS: &str = r#"graph module "rows" {
  dim n in 1.. from "x" 0
  dim k in 0.. from "i" 0
  in_range "i" from [-n] to [n - 1] by "Gather /rows"
  func @main(%0 "x": f32[n, 2], %1 "i": i64[k]) {
    %2 = gather {axis = 0} %0, %1 : f32[k, 2] loc("/rows")
    yield %2 "y"
  }
}"#;

fn run(session: &mut Session, rows: usize, at: &[i64]) -> Result<Vec<f32>, odc_runtime::RunError> {
    let x: Vec<f32> = (0..rows * 2).map(|k| k as f32).collect();
    let (shape, count) = ([rows, 2], [at.len()]);
    let inputs = [("x", TensorView::of(&shape, &x)), ("i", TensorView::of(&count, at))];
    session.run(&inputs).map(|o| o.get("y").and_then(|y| y.as_slice::<f32>()).expect("floats").to_vec())
}

#[test]
fn indices_of_inputs_are_checked_before_a_run() {
    let graph = parse_module(ROWS, &no_blobs).unwrap();
    let compiled = compile_graph(graph, &Options::default()).unwrap();
    let bytes = compiled.artifact_bytes().unwrap();
    let mut session = Artifact::from_bytes(bytes).unwrap().session(SessionOptions::default()).unwrap();
    assert_eq!(run(&mut session, 3, &[2, -3]).unwrap(), [4.0, 5.0, 0.0, 1.0]);
    for (rows, bad) in [(3, 3), (3, -4), (3, 1 << 32), (3, i64::MIN), (2, 2)] {
        let e = run(&mut session, rows, &[0, 1, bad]).unwrap_err();
        let says = format!("element 2 of input \"i\" is {bad}, which Gather /rows cannot use; possible are -{rows} to {}", rows - 1);
        assert_eq!((e.code(), e.to_string()), ("ODC0614", says));
    }
    // It goes on as if nothing had happened, also with more rows.
    assert_eq!(run(&mut session, 4, &[3]).unwrap(), [6.0, 7.0]);
    assert_eq!(run(&mut session, 3, &[]).unwrap(), [0.0f32; 0]);
}
