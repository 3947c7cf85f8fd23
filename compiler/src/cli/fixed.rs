//! A model fitted to a data set: inputs and dims that must be known when compiling take their values from it. Another data set with
//! other values has the model compiled anew.

use super::device::{Device, DeviceArgs};
use super::model::{CompileArgs, is_artifact};
use crate::dims::DimArg;
use crate::fix::FixArg;
use crate::host_tensor::HostTensor;
use crate::lists::{self, FileKind, ListArg, Value, kind_of};
use crate::problem::{Failure, Problem};
use odc_ir::core::Scalar;
use odc_onnx::{Fixed, Items, Model, OpenDim};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// A tensor with the name of its input or output.
type Named = (String, HostTensor);

pub struct Fitted<'a> {
    path: &'a Path,
    compile: &'a CompileArgs,
    run: &'a DeviceArgs,
    /// Values that the command line fixes.
    given: BTreeMap<String, Fixed>,
    names: Vec<String>,
    /// What files of data sets hold, for inputs and for outputs.
    kinds: [Vec<FileKind>; 2],
    output_names: Vec<String>,
    /// How long lists were when the model was compiled.
    lists: BTreeMap<String, Items>,
    device: Option<Device>,
    /// Values that a data set fixed.
    fixed: BTreeMap<String, HostTensor>,
    /// Dims that a data set fixed, each with its value.
    sizes: BTreeMap<String, (OpenDim, usize)>,
}

impl<'a> Fitted<'a> {
    pub fn new(path: &'a Path, compile: &'a CompileArgs, run: &'a DeviceArgs) -> Result<Fitted<'a>, Failure> {
        let given = compile.options()?.fix;
        let mut fitted = Fitted {
            path,
            compile,
            run,
            given,
            names: vec![],
            kinds: [vec![], vec![]],
            output_names: vec![],
            lists: BTreeMap::new(),
            device: None,
            fixed: BTreeMap::new(),
            sizes: BTreeMap::new(),
        };
        if is_artifact(path) {
            let device = Device::open(path, compile, run)?;
            fitted.names = device.manifest().inputs.iter().map(|t| t.name.clone()).collect();
            fitted.output_names = device.manifest().outputs.iter().map(|t| t.name.clone()).collect();
            fitted.device = Some(device);
        } else {
            let model = Model::open(path).map_err(|e| crate::CompileError::Import(vec![e.into()]))?;
            fitted.names = model.input_names().map(String::from).collect();
            if let Some(g) = &model.proto.graph {
                let inputs = fitted.names.iter().filter_map(|n| g.input.iter().find(|i| i.name() == n));
                fitted.kinds = [inputs.map(kind_of).collect(), g.output.iter().map(kind_of).collect()];
                fitted.output_names = g.output.iter().map(|o| o.name().to_owned()).collect();
            }
        }
        Ok(fitted)
    }

    /// The tensors in files for inputs, each with its file.
    pub fn read_inputs(&mut self, files: &[PathBuf]) -> Result<(Vec<Named>, Vec<PathBuf>), Problem> {
        let (mut tensors, mut paths) = (vec![], vec![]);
        let values = named(files, &self.names, &self.kinds[0])?;
        let mut lists = BTreeMap::new();
        for ((name, value), path) in values.into_iter().zip(files) {
            if let Value::List(items) = &value {
                let shape = |t: &HostTensor| t.shape.iter().map(|d| *d as u64).collect();
                lists.insert(name.clone(), Items::Shapes(items.iter().map(shape).collect()));
            }
            let flat = lists::flat(name, value);
            paths.extend(flat.iter().map(|_| path.clone()));
            tensors.extend(flat);
        }
        if lists != self.lists {
            self.lists = lists;
            self.device = None;
        }
        Ok((tensors, paths))
    }
    /// The tensors in files for outputs.
    pub fn read_outputs(&self, files: &[PathBuf]) -> Result<Vec<Named>, Problem> {
        let values = named(files, &self.output_names, &self.kinds[1])?;
        Ok(values.into_iter().flat_map(|(name, value)| lists::flat(name, value)).collect())
    }

    pub fn device(&mut self) -> Result<&mut Device, Failure> {
        self.device.as_mut().ok_or_else(|| Failure::usage("there is no data set to run"))
    }

    /// What was taken from the data set, in words.
    pub fn fixed(&self) -> BTreeMap<&str, String> {
        let sizes = self.sizes.iter().map(|(n, s)| (n.as_str(), s.1.to_string()));
        self.fixed.iter().map(|(n, t)| (n.as_str(), shown(t))).chain(sizes).collect()
    }

    /// Compiles the model for these inputs where needed, and leaves only those that are still inputs. Returns what to tell.
    pub fn fit(&mut self, files: &[PathBuf], inputs: &mut Vec<Named>) -> Result<Option<String>, Failure> {
        for (name, t) in inputs.iter() {
            if self.given.get(name).is_some_and(|v| !agrees(v, t)) {
                let what = format!("--fix gives input \"{name}\" another value than the data set, which has {}", shown(t));
                return Err(Problem::usage(what).into());
            }
        }
        let (before, sizes) = (self.fixed.clone(), self.sizes.clone());
        for (dim, size) in self.sizes.values_mut() {
            *size = size_of(dim, inputs).unwrap_or(*size);
        }
        for (name, value) in &mut self.fixed {
            if let Some((_, t)) = inputs.iter().find(|(n, _)| n == name) {
                value.clone_from(t);
            }
        }
        if self.device.is_none() || self.fixed != before || self.sizes != sizes {
            self.device = Some(self.compile(files, inputs)?);
        }
        inputs.retain(|(n, _)| !self.fixed.contains_key(n) && !self.given.contains_key(n));
        let mut news: Vec<_> =
            self.fixed.iter().filter(|(n, t)| before.get(*n).is_none_or(|b| b != *t)).map(|(n, t)| format!("{n}={}", shown(t))).collect();
        news.extend(self.sizes.iter().filter(|(n, s)| sizes.get(*n) != Some(*s)).map(|(n, s)| format!("{n}={}", s.1)));
        Ok((!news.is_empty()).then(|| format!("fixed from the data set: {}", news.join(", "))))
    }

    /// As often as a compilation names further inputs or dims that it must know.
    fn compile(&mut self, files: &[PathBuf], inputs: &[(String, HostTensor)]) -> Result<Device, Failure> {
        loop {
            let mut how = self.compile.clone();
            how.list.extend(self.lists.iter().map(|(name, items)| ListArg { name: name.clone(), items: items.clone() }));
            for ((name, _), file) in inputs.iter().zip(files).filter(|((n, _), _)| self.fixed.contains_key(n)) {
                how.fix.push(FixArg { name: name.clone(), text: format!("@{}", file.display()) });
            }
            how.dim.extend(self.sizes.iter().map(|(name, (_, size))| DimArg { name: name.clone(), text: size.to_string() }));
            let failure = match Device::open(self.path, &how, self.run) {
                Ok(device) => return Ok(device),
                Err(f) => f,
            };
            let wanted = failure.problems.iter().flat_map(|p| &p.inputs);
            let known = self.fixed.len() + self.sizes.len();
            let dims = failure.problems.iter().flat_map(|p| &p.dims);
            let sizes = dims.filter_map(|d| Some((d.name.clone(), (d.clone(), size_of(d, inputs)?))));
            let sizes: Vec<_> = sizes.filter(|(name, _)| !self.compile.dim.iter().any(|given| given.name == *name)).collect();
            let found = wanted.filter_map(|w| inputs.iter().find(|(n, _)| n == w).cloned()).filter(|(n, _)| !self.given.contains_key(n));
            self.fixed.extend(found.collect::<Vec<_>>());
            self.sizes.extend(sizes);
            if self.fixed.len() + self.sizes.len() == known {
                return Err(failure);
            }
        }
    }
}

/// What a dim is in these inputs.
fn size_of(dim: &OpenDim, inputs: &[Named]) -> Option<usize> {
    inputs.iter().find(|(n, _)| *n == dim.input)?.1.shape.get(dim.axis).copied()
}

/// Values by name: those whose files have no name take the model's names in order.
fn named(files: &[PathBuf], names: &[String], kinds: &[FileKind]) -> Result<Vec<(String, Value)>, Problem> {
    let one = |(k, path): (usize, &PathBuf)| {
        let (name, value) = lists::read(path, kinds.get(k).copied().unwrap_or(FileKind::Tensor))?;
        let name = name.filter(|n| names.contains(n) || names.get(k).is_none()).or_else(|| names.get(k).cloned());
        let name = name.ok_or_else(|| Problem::bad_file(path, format!("the model has no input or output number {k}")))?;
        Ok((name, value))
    };
    files.iter().enumerate().map(one).collect()
}

/// Is the value on the command line that of the data set?
fn agrees(value: &Fixed, t: &HostTensor) -> bool {
    if let Fixed::Strings { dims, strings } = value {
        return dims.iter().eq(t.shape.iter().map(|d| *d as u64).collect::<Vec<_>>().iter()) && t.strings == *strings;
    }
    let (dims, numbers): (&[u64], Vec<f64>) = match value {
        Fixed::Numbers { dims, numbers } => (dims, numbers.iter().map(|x| Scalar::as_f64(*x)).collect()),
        Fixed::Strings { .. } => return false,
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
    let numbers = t.elements().map(|x| x.to_string());
    let list: Vec<_> =
        if t.strings.is_empty() { numbers.take(MOST).collect() } else { t.strings.iter().take(MOST).map(|s| format!("{s:?}")).collect() };
    let more = if n > MOST { format!(", … {n} in all") } else { String::new() };
    if t.shape.is_empty() { list.concat() } else { format!("[{}{more}]", list.join(", ")) }
}
