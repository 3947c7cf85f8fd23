//! A model fitted to a data set: inputs that must be known when compiling take their values from it. Another data set with other
//! values has the model compiled anew.

use super::device::{Device, DeviceArgs};
use super::model::{CompileArgs, is_artifact};
use crate::fix::FixArg;
use crate::host_tensor::HostTensor;
use crate::problem::{Exit, Failure, Problem};
use odc_ir::core::Scalar;
use odc_onnx::{Fixed, Model};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

pub struct Fitted<'a> {
    path: &'a Path,
    compile: &'a CompileArgs,
    run: &'a DeviceArgs,
    /// Values that the command line fixes.
    given: BTreeMap<String, Fixed>,
    names: Vec<String>,
    device: Option<Device>,
    /// Values that a data set fixed.
    fixed: BTreeMap<String, HostTensor>,
}

impl<'a> Fitted<'a> {
    pub fn new(path: &'a Path, compile: &'a CompileArgs, run: &'a DeviceArgs) -> Result<Fitted<'a>, Failure> {
        let given = compile.options()?.fix;
        let mut fitted = Fitted { path, compile, run, given, names: vec![], device: None, fixed: BTreeMap::new() };
        if is_artifact(path) {
            let device = Device::open(path, compile, run)?;
            fitted.names = device.manifest().inputs.iter().map(|t| t.name.clone()).collect();
            fitted.device = Some(device);
        } else {
            let model = Model::open(path).map_err(|e| crate::CompileError::Import(vec![e.into()]))?;
            fitted.names = model.input_names().map(String::from).collect();
        }
        Ok(fitted)
    }

    /// Names of all inputs, fixed or not, in the model's order.
    pub fn input_names(&self) -> &[String] {
        &self.names
    }

    pub fn device(&mut self) -> Result<&mut Device, Failure> {
        self.device.as_mut().ok_or_else(|| Failure::usage("there is no data set to run"))
    }

    /// What was taken from the data set, in words.
    pub fn fixed(&self) -> BTreeMap<&str, String> {
        self.fixed.iter().map(|(n, t)| (n.as_str(), shown(t))).collect()
    }

    /// Compiles the model for these inputs where needed, and leaves only those that are still inputs. Returns what to tell.
    pub fn fit(&mut self, files: &[PathBuf], inputs: &mut Vec<(String, HostTensor)>) -> Result<Option<String>, Failure> {
        for (name, t) in inputs.iter() {
            if self.given.get(name).is_some_and(|v| !agrees(v, t)) {
                let what = format!("--fix gives input \"{name}\" another value than the data set, which has {}", shown(t));
                return Err(Problem::usage(what).into());
            }
        }
        let before = self.fixed.clone();
        for (name, value) in &mut self.fixed {
            if let Some((_, t)) = inputs.iter().find(|(n, _)| n == name) {
                value.clone_from(t);
            }
        }
        if self.device.is_none() || self.fixed != before {
            self.device = Some(self.compile(files, inputs)?);
        }
        inputs.retain(|(n, _)| !self.fixed.contains_key(n) && !self.given.contains_key(n));
        let news: Vec<_> =
            self.fixed.iter().filter(|(n, t)| before.get(*n).is_none_or(|b| b != *t)).map(|(n, t)| format!("{n}={}", shown(t))).collect();
        Ok((!news.is_empty()).then(|| format!("fixed from the data set: {}", news.join(", "))))
    }

    /// As often as a compilation names further inputs that it must know.
    fn compile(&mut self, files: &[PathBuf], inputs: &[(String, HostTensor)]) -> Result<Device, Failure> {
        loop {
            let mut how = self.compile.clone();
            for ((name, _), file) in inputs.iter().zip(files).filter(|((n, _), _)| self.fixed.contains_key(n)) {
                how.fix.push(FixArg { name: name.clone(), text: format!("@{}", file.display()) });
            }
            let failure = match Device::open(self.path, &how, self.run) {
                Ok(device) => return Ok(device),
                Err(f) => f,
            };
            let wanted = failure.problems.iter().flat_map(|p| &p.inputs);
            let known = self.fixed.len();
            let found = wanted.filter_map(|w| inputs.iter().find(|(n, _)| n == w).cloned()).filter(|(n, _)| !self.given.contains_key(n));
            self.fixed.extend(found.collect::<Vec<_>>());
            if failure.exit != Exit::Import || self.fixed.len() == known {
                return Err(failure);
            }
        }
    }
}

/// Is the value on the command line that of the data set?
fn agrees(value: &Fixed, t: &HostTensor) -> bool {
    let (dims, numbers): (&[u64], Vec<f64>) = match value {
        Fixed::Numbers { dims, numbers } => (dims, numbers.iter().map(|x| Scalar::as_f64(*x)).collect()),
        Fixed::Tensor(x) => match crate::pb::host_tensor(x) {
            Ok(h) => return h == *t,
            Err(_) => return false,
        },
    };
    dims.iter().eq(t.shape.iter().map(|d| *d as u64).collect::<Vec<_>>().iter()) && t.elements().map(|x| x.as_f64()).eq(numbers)
}

/// The first elements of a value.
fn shown(t: &HostTensor) -> String {
    const MOST: usize = 16;
    let n = t.elements().count();
    let list: Vec<_> = t.elements().take(MOST).map(|x| x.to_string()).collect();
    let more = if n > MOST { format!(", … {n} in all") } else { String::new() };
    if t.shape.is_empty() { list.concat() } else { format!("[{}{more}]", list.join(", ")) }
}
