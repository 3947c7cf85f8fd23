//! A model's data sets through its Metal kernels, outputs compared as `odc verify` does, in both orders of threads.

use crate::{Order, ShimModel, ShimTensor, threadgroup_memory};
use odc::compare::{Difference, Tolerances, compare};
use odc::host_tensor::HostTensor;
use odc::pb::{self, DataSet};
use odc_format::{ArtifactView, TensorInfo};
use serde_json::Value;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

pub type Failure = Box<dyn std::error::Error>;

/// One output of one data set.
#[derive(Debug)]
pub struct Verified {
    pub set: PathBuf,
    pub output: String,
    pub difference: Difference,
}

/// `artifact` is a model with a program for Metal, `folder` the same model exploded, `data` holds data sets.
pub fn verify(artifact: &[u8], folder: &Path, data: &Path, tolerances: &Tolerances) -> Result<Vec<Verified>, Failure> {
    let view = ArtifactView::parse(artifact)?;
    // With several targets each has a folder of its own.
    let paths = [folder.join("metal/manifest.json"), folder.join("manifest.json")];
    let path = paths.iter().find(|p| p.is_file()).ok_or_else(|| format!("{} is no exploded artifact", folder.display()))?;
    let manifest: Value = serde_json::from_slice(&std::fs::read(path)?)?;
    let sizes = threadgroup_memory(&manifest).ok_or("the manifest lists no threadgroup_memory of its kernels")?;
    own_files(&manifest, path.parent().unwrap_or(folder))?;
    let model = ShimModel::new(&view, sizes)?;
    let mut verified = vec![];
    for (k, set) in pb::data_sets(data).map_err(|p| p.to_string())?.iter().enumerate() {
        verified.extend(verify_set(&model, &view, set, k, tolerances).map_err(|e| format!("{}: {e}", set.folder.display()))?);
    }
    Ok(verified)
}

/// An app compiles the manifest's files: one a kernel, in it the function that the manifest names.
fn own_files(manifest: &Value, folder: &Path) -> Result<(), Failure> {
    let mut seen = BTreeSet::new();
    for kernel in manifest.get("kernels").and_then(Value::as_array).into_iter().flatten() {
        let text = |key: &str| kernel.get(key).and_then(Value::as_str).ok_or_else(|| format!("a kernel without {key}"));
        let (name, file) = (text("name")?, text("file")?);
        if !seen.insert(file.to_string()) {
            return Err(format!("two kernels have one file, {file}").into());
        }
        if !std::fs::read_to_string(folder.join(file))?.contains(&format!("kernel void {name}(")) {
            return Err(format!("{file} has no kernel {name}").into());
        }
    }
    Ok(())
}

fn verify_set(model: &ShimModel, view: &ArtifactView, set: &DataSet, k: usize, tolerances: &Tolerances) -> Result<Vec<Verified>, Failure> {
    let names = |list: &[TensorInfo]| list.iter().map(|t| t.name.clone()).collect::<Vec<_>>();
    let named = |paths: &[PathBuf], list: &[TensorInfo]| pb::named(paths, &names(list)).map_err(|p| p.to_string());
    let given = named(&set.inputs, &view.manifest.inputs)?;
    let input = |t: &TensorInfo| {
        let (_, tensor) = given.iter().find(|(name, _)| *name == t.name).ok_or_else(|| format!("there is no input \"{}\"", t.name))?;
        Ok(ShimTensor { shape: tensor.shape.clone(), bytes: tensor.bytes().to_vec() })
    };
    let inputs = view.manifest.inputs.iter().map(input).collect::<Result<Vec<_>, String>>()?;
    let outputs = model.run(&inputs, Order::Ascending)?;
    if model.run(&inputs, Order::Descending)? != outputs {
        return Err("the order of threads changes the result: a barrier is missing".into());
    }
    let mut verified = vec![];
    for (output, want) in named(&set.outputs, &view.manifest.outputs)? {
        let at = view.manifest.outputs.iter().position(|t| t.name == output);
        let got = at.and_then(|at| view.manifest.outputs.get(at).zip(outputs.get(at)));
        let (info, got) = got.ok_or_else(|| format!("the model has no output \"{output}\""))?;
        let got = HostTensor::new(info.dtype, got.shape.clone(), &got.bytes).ok_or("an output of the wrong size")?;
        let tolerance = tolerances.of(set.number.unwrap_or(k), &output, want.dtype)?;
        let difference = compare(&got.view(), &want.view(), tolerance)?;
        verified.push(Verified { set: set.folder.clone(), output, difference });
    }
    Ok(verified)
}
