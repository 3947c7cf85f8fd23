//! `odc verify`: whole outputs against expected ones, one line an output.

use super::device::{Device, DeviceArgs};
use super::fixed::Fitted;
use super::model::CompileArgs;
use super::{print, print_json};
use crate::compare::{Difference, Golden, Tolerance, Tolerances, compare};
use crate::host_tensor::HostTensor;
use crate::pb::{self, DataSet};
use crate::problem::{Exit, Failure, Problem};
use odc_runtime::{RunError, Strings, TensorView};
use serde_json::{Value, json};
use std::path::PathBuf;

/// Compare a model's outputs with expected ones
#[derive(clap::Args)]
#[command(after_help = "\
What must be known when compiling, such as axes, or how long a sequence of tensors is, is taken from the data set. DIR is a folder test_data_set_K with input_I.pb and output_I.pb, or holds several of them.
An element is right when |got - want| <= A + R * |want|. Without a tolerance, floats get R = 1e-3 and A = 1e-5, and
integers must be equal.

Examples:
  odc verify model.odc --data model/test_data_set_0
  odc verify model.onnx --data model/ --tolerance model/golden.json --threads 2")]
pub struct Args {
    /// A model or an artifact
    model: PathBuf,
    /// Data sets
    #[arg(long, value_name = "DIR", required = true, num_args = 1..)]
    data: Vec<PathBuf>,
    /// Relative tolerance
    #[arg(long, value_name = "R", conflicts_with = "tolerance", value_parser = tolerance)]
    rtol: Option<f64>,
    /// Absolute tolerance
    #[arg(long, value_name = "A", conflicts_with = "tolerance", value_parser = tolerance)]
    atol: Option<f64>,
    /// Tolerances by data set and output
    #[arg(long, value_name = "golden.json")]
    tolerance: Option<PathBuf>,
    #[command(flatten)]
    device: DeviceArgs,
    #[command(flatten)]
    compile: CompileArgs,
    /// One JSON object with all comparisons
    #[arg(long)]
    pub json: bool,
}

fn tolerance(s: &str) -> Result<f64, String> {
    s.parse().ok().filter(|v: &f64| *v >= 0.0).ok_or_else(|| "a tolerance is a number from 0 on".into())
}

struct Row {
    set: String,
    output: String,
    tolerance: Tolerance,
    result: Result<Difference, String>,
}

impl Row {
    fn passes(&self) -> bool {
        self.result.as_ref().is_ok_and(Difference::passes)
    }
    fn json(&self) -> Value {
        let mut v = json!({ "data": self.set, "output": self.output, "ok": self.passes(), "rtol": self.tolerance.rtol, "atol": self.tolerance.atol });
        if let Some(o) = v.as_object_mut() {
            match &self.result {
                Ok(d) => o.extend(serde_json::to_value(d).ok().and_then(|d| d.as_object().cloned()).unwrap_or_default()),
                Err(e) => {
                    o.insert("error".into(), json!(e));
                }
            }
        }
        v
    }
}

impl std::fmt::Display for Row {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mark = if self.passes() { "ok    " } else { "DIFFER" };
        write!(f, "{mark} {}: {}: ", self.set, self.output)?;
        match &self.result {
            Err(e) => write!(f, "{e}"),
            Ok(d) => {
                write!(f, "largest error {:.3e} ({:.1e} of the largest value)", d.max_abs_err, d.rel_err)?;
                if d.wrong > 0 {
                    write!(
                        f,
                        ", {} of {} elements beyond rtol {:.1e} atol {:.1e}",
                        d.wrong, d.elements, self.tolerance.rtol, self.tolerance.atol
                    )?;
                    if let Some(w) = &d.worst {
                        write!(f, ", at {:?}: {} instead of {}", w.index, w.got, w.want)?;
                    }
                }
                Ok(())
            }
        }
    }
}

pub fn run(args: &Args) -> Result<(), Failure> {
    let tolerances = match (&args.tolerance, args.rtol, args.atol) {
        (Some(path), _, _) => Tolerances::Golden(Golden::read(path)?),
        (None, None, None) => Tolerances::Floats(Tolerance::DEFAULT),
        (None, rtol, atol) => Tolerances::All(Tolerance { rtol: rtol.unwrap_or(0.0), atol: atol.unwrap_or(0.0) }),
    };
    let mut sets = vec![];
    for folder in &args.data {
        sets.extend(pb::data_sets(folder)?);
    }
    let mut model = Fitted::new(&args.model, &args.compile, &args.device)?;
    let mut rows = vec![];
    for (k, set) in sets.iter().enumerate() {
        let from = rows.len();
        let (mut inputs, files) = model.read_inputs(&set.inputs)?;
        let news = model.fit(&files, &mut inputs)?;
        if let (Some(news), false) = (news, args.json) {
            print(news)?;
        }
        let wanted = model.read_outputs(&set.outputs)?;
        let device = model.device()?;
        rows.extend(verify(device, set, (&inputs, &wanted), set.number.unwrap_or(k), &tolerances)?);
        if !args.json {
            rows.iter().skip(from).try_for_each(print)?;
        }
    }
    let wrong = rows.iter().filter(|r| !r.passes()).count();
    if args.json {
        let worst = rows.iter().filter_map(|r| r.result.as_ref().ok()).map(|d| d.rel_err).fold(0.0, f64::max);
        print_json(
            &json!({ "ok": wrong == 0, "rel_err": worst, "fixed": model.fixed(), "outputs": rows.iter().map(Row::json).collect::<Vec<_>>() }),
        )?;
    }
    if wrong == 0 {
        return Ok(());
    }
    let what = format!("{wrong} of {} outputs differ from what is expected", rows.len());
    Err(Failure::new(Exit::Differ, Problem::new("ODC0701", what)))
}

type Named = (String, HostTensor);

fn verify(
    device: &mut Device,
    set: &DataSet,
    (inputs, wanted): (&[Named], &[Named]),
    case: usize,
    tol: &Tolerances,
) -> Result<Vec<Row>, Failure> {
    let manifest = device.manifest();
    let out_names: Vec<_> = manifest.outputs.iter().map(|t| t.name.clone()).collect();
    // Some tools write a scalar as a tensor of one element.
    let is_scalar = |name: &str| manifest.inputs.iter().any(|i| i.name == name && i.shape.is_empty());
    let mut strings = Strings::new(manifest);
    let inputs = numbered(inputs, &mut strings)?;
    let wanted = numbered(wanted, &mut strings)?;
    let mut views: Vec<_> = inputs.iter().map(|(n, t)| (n.as_str(), t.view())).collect();
    for (name, v) in &mut views {
        if v.shape == [1] && is_scalar(name) {
            v.shape = &[];
        }
    }
    let outputs = device.run(&views).map_err(|e| in_set(e, set))?;
    if set.outputs.is_empty() {
        return Err(Problem::bad_file(&set.folder, "it holds no output_0.pb to compare with").into());
    }
    let mut rows = vec![];
    for (name, want) in &wanted {
        let got = outputs.get(name).ok_or_else(|| {
            let help = format!("its outputs are {}", out_names.join(", "));
            Problem::bad_file(&set.folder, format!("the model has no output \"{name}\"")).help(help)
        })?;
        let (tolerance, result) = match tol.of(case, name, want.dtype) {
            Ok(t) => (t, compare(&got, &want.view(), t).and_then(|d| strings_differ(d, &got, &want.view(), &strings))),
            Err(why) => (Tolerance::EXACT, Err(why)),
        };
        rows.push(Row { set: set.folder.display().to_string(), output: name.clone(), tolerance, result });
    }
    Ok(rows)
}

/// Strings as the numbers that they have for the device.
fn numbered(tensors: &[Named], strings: &mut Strings) -> Result<Vec<Named>, RunError> {
    tensors.iter().map(|(name, t)| Ok((name.clone(), t.clone().numbered(strings)?))).collect()
}

/// The first difference of strings in words, since their numbers say nothing.
fn strings_differ(d: Difference, got: &TensorView<'_>, want: &TensorView<'_>, strings: &Strings) -> Result<Difference, String> {
    let (Some(want), Some(worst)) = (strings.texts(want), d.worst.as_ref().filter(|_| !d.passes())) else { return Ok(d) };
    let got = strings.texts(got).ok_or("it holds numbers that stand for no string")?;
    match got.iter().zip(&want).find(|(g, w)| g != w) {
        Some((g, w)) => Err(format!("{} of {} strings differ, as at {:?}: {g:?} instead of {w:?}", d.wrong, d.elements, worst.index)),
        None => Ok(d),
    }
}

fn in_set(mut failure: Failure, set: &DataSet) -> Failure {
    for p in &mut failure.problems {
        p.message = format!("{}: {}", set.folder.display(), p.message);
    }
    failure
}
