//! Imports a model and prints its graph IR: `cargo run -p odc-onnx --example import -- MODEL.onnx [N=4 …]`.

use odc_onnx::{ImportOptions, Model, import};
use std::process::ExitCode;

fn main() -> ExitCode {
    let mut args = std::env::args().skip(1);
    let Some(path) = args.next() else {
        eprintln!("usage: import MODEL.onnx [DIM=VALUE …]");
        return ExitCode::from(1);
    };
    let dims = args.filter_map(|a| a.split_once('=').map(|(k, v)| (k.to_owned(), v.to_owned()))).collect();
    let model = match Model::open(path) {
        Ok(m) => m,
        Err(e) => {
            eprintln!("{}", e.diagnostic());
            return ExitCode::from(2);
        }
    };
    match import(&model, &ImportOptions { dims, ..ImportOptions::default() }) {
        Ok(module) => {
            print!("{module}");
            ExitCode::SUCCESS
        }
        Err(all) => {
            all.iter().for_each(|d| eprintln!("{d}"));
            eprintln!("{} problems", all.len());
            ExitCode::from(2)
        }
    }
}
