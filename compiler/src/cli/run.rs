//! `odc run`: named inputs from files, outputs as a summary, as the best classes, or as files.

use super::device::{Device, DeviceArgs};
use super::model::CompileArgs;
use super::{print, print_json};
use crate::host_tensor::{HostTensor, elements};
use crate::output::{file_name, make_folder, write_bytes};
use crate::problem::{Failure, Problem};
use crate::{npy, pb, show};
use odc_format::DType;
use odc_runtime::{RunError, Strings};
use serde_json::json;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// Run a model once on inputs from files
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  odc run model.odc -i image=cat.npy
  odc run model.onnx -i input_ids=ids.npy -i mask=mask.pb -o results/
  odc run classifier.odc -i image=cat.npy --top 5 --labels classes.txt")]
pub struct Args {
    /// A model or an artifact
    model: PathBuf,
    /// An input from a .npy or .pb file
    #[arg(short, long = "input", value_name = "NAME=FILE", value_parser = input_arg)]
    input: Vec<(String, PathBuf)>,
    /// Write each output as NAME.npy into a folder
    #[arg(short, long, value_name = "DIR")]
    output: Option<PathBuf>,
    /// Show the K highest values of each row of the last axis
    #[arg(long, value_name = "K")]
    top: Option<usize>,
    /// Names of the columns for --top, one a line
    #[arg(long, value_name = "FILE")]
    labels: Option<PathBuf>,
    #[command(flatten)]
    device: DeviceArgs,
    #[command(flatten)]
    compile: CompileArgs,
    /// Print the outputs in JSON, with all values
    #[arg(long)]
    pub json: bool,
}

fn input_arg(s: &str) -> Result<(String, PathBuf), String> {
    match s.split_once('=') {
        Some((name, file)) if !name.is_empty() && !file.is_empty() => Ok((name.into(), file.into())),
        _ => Err("an input looks like `name=file.npy`".into()),
    }
}

pub fn run(args: &Args) -> Result<(), Failure> {
    let labels = args.labels.as_deref().map(read_labels).transpose()?.unwrap_or_default();
    let mut inputs: Vec<(&str, HostTensor)> = vec![];
    for (name, path) in &args.input {
        inputs.push((name, pb::read_tensor(path)?.1));
    }
    let mut device = Device::open(&args.model, &args.compile, &args.device)?;
    let mut strings = Strings::new(device.manifest());
    let numbered = inputs.into_iter().map(|(name, t)| Ok((name, t.numbered(&mut strings)?)));
    let inputs = numbered.collect::<Result<Vec<_>, RunError>>()?;
    let views: Vec<_> = inputs.iter().map(|(name, t)| (*name, t.view())).collect();
    let outputs = device.run(&views)?;
    if let Some(folder) = &args.output {
        make_folder(folder)?;
        let mut taken = BTreeSet::new();
        for (name, t) in outputs.iter() {
            let mut file = file_name(name);
            while !taken.insert(file.clone()) {
                file.push('_');
            }
            write_bytes(
                &folder.join(format!("{file}.npy")),
                &match strings.texts(&t) {
                    Some(texts) => npy::write_strings(t.shape, &texts),
                    None => npy::write(t.dtype, t.shape, t.data),
                },
            )?;
        }
    }
    if args.json {
        let value = |t: &odc_runtime::TensorView<'_>| match strings.texts(t) {
            Some(texts) => json!(texts),
            None => json!(elements(t.dtype, t.data).map(|x| x.as_f64()).collect::<Vec<_>>()),
        };
        let list: Vec<_> =
            outputs.iter().map(|(name, t)| json!({ "name": name, "dtype": t.dtype.name(), "shape": t.shape, "data": value(&t) })).collect();
        return print_json(&json!({ "outputs": list }));
    }
    let top = args.top.or(args.labels.as_ref().map(|_| 5));
    for (name, t) in outputs.iter() {
        print(match top {
            Some(k) if t.dtype != DType::Str => show::top(name, &t, k, &labels),
            _ => show::summary(name, &t, &strings),
        })?;
    }
    Ok(())
}

fn read_labels(path: &Path) -> Result<Vec<String>, Problem> {
    let text = std::fs::read_to_string(path).map_err(|e| Problem::unreadable(path, e))?;
    Ok(text.lines().map(|l| l.trim().to_string()).collect())
}
