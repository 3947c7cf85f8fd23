//! `odc opt`: passes by name over a module's text, of any level.

use super::{blobs, print};
use crate::AnyModule;
use crate::output::{folder_of, write_bytes};
use crate::passes::{all, apply};
use crate::pipeline::{Options, import};
use crate::problem::{Exit, Failure, Problem};
use std::path::{Path, PathBuf};

/// Apply passes to a module's text
#[derive(clap::Args)]
#[command(after_help = after_help())]
pub struct Args {
    /// A module of any level (as --dump and --emit write them), or an ONNX model
    file: PathBuf,
    /// Names of passes, in order
    #[arg(long, value_name = "A,B", value_delimiter = ',')]
    passes: Vec<String>,
    /// Where the result goes; stdout otherwise
    #[arg(short, long, value_name = "OUT")]
    output: Option<PathBuf>,
}

fn after_help() -> String {
    let mut text = String::from("Passes:\n");
    for p in all() {
        let (from, to) = p.levels();
        text.push_str(&format!("  {:<14} {:<17} {}\n", p.name, format!("{from} -> {to}"), p.about));
    }
    text + "\nThe module is verified before and after each pass.\n\nExamples:\n  odc opt stages/01-tensor.odc-ir --passes=fuse,schedule\n  odc opt model.onnx --passes=lower_tensor -o model.odc-ir"
}

pub fn run(args: &Args) -> Result<(), Failure> {
    let mut module = read(&args.file)?;
    sound(&module, "as read")?;
    for name in &args.passes {
        module = apply(name.trim(), module).map_err(|e| Failure::new(Exit::Compile, Problem::new("ODC0301", e)))?;
        sound(&module, &format!("after {name}"))?;
    }
    let text = module.to_string();
    let Some(path) = &args.output else {
        return print(text.trim_end());
    };
    write_bytes(path, text.as_bytes())?;
    Ok(blobs::write(folder_of(path), module.consts().iter())?)
}

fn read(path: &Path) -> Result<AnyModule, Failure> {
    if path.extension().is_some_and(|e| e == "onnx") {
        let model = odc_onnx::Model::open(path).map_err(|e| crate::CompileError::Import(vec![e.into()]))?;
        return Ok(AnyModule::Graph(import(&model, &Options::default())?));
    }
    let text = std::fs::read_to_string(path).map_err(|e| Problem::unreadable(path, e))?;
    AnyModule::parse(&text, &|hash| blobs::find(path, hash)).map_err(|e| Problem::bad_file(path, e).into())
}

fn sound(module: &AnyModule, when: &str) -> Result<(), Failure> {
    let problems: Vec<_> = module.verify().iter().map(|e| Problem::new("ODC0390", format!("{when}: {e}"))).collect();
    if problems.is_empty() { Ok(()) } else { Err(Failure { exit: Exit::Compile, problems }) }
}
