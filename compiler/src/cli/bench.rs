//! `odc bench`: times, memory and errors of a model on one input. The artifact runs in a process of its own, so that its peak
//! memory is not that of the compiler.

use super::device::{Device, DeviceArgs, Results};
use super::model::{CompileArgs, compile, is_artifact};
use super::{predict, print, print_json, profile};
use crate::compare::{Tolerance, compare};
use crate::host_tensor::{HostTensor, byte_count};
use crate::output::write_file;
use crate::problem::{Exit, Failure, Problem};
use crate::{macs, pb, peak};
use odc_format::{DType, Manifest};
use serde_json::{Map, Value, json};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Measure a model
#[derive(clap::Args)]
#[command(after_help = "\
Without --data, inputs are made up; --dim gives the sizes that the model leaves open.

Examples:
  odc bench model.odc --data model/test_data_set_0 --threads 2 --seconds 5
  odc bench matmul.onnx --threads 1 --json
  odc bench --peak                                the machine's peak of 128-bit multiply-adds on one core")]
pub struct Args {
    /// A model or an artifact
    #[arg(required_unless_present = "peak")]
    model: Option<PathBuf>,
    /// A data set: inputs, and outputs for the errors
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// How long to measure
    #[arg(long, value_name = "S", default_value_t = 1.0, value_parser = seconds)]
    seconds: f64,
    /// Also the median time of every dispatch, on a CPU
    #[arg(long)]
    profile: bool,
    /// Only measure the machine's peak
    #[arg(long)]
    peak: bool,
    /// Fail with exit code 5 if the median takes longer
    #[arg(long, value_name = "MS")]
    budget_ms: Option<f64>,
    #[command(flatten)]
    device: DeviceArgs,
    #[command(flatten)]
    compile: CompileArgs,
    /// One JSON object
    #[arg(long)]
    pub json: bool,
}

fn seconds(s: &str) -> Result<f64, String> {
    s.parse().ok().filter(|v| (0.0..=3600.0).contains(v)).ok_or_else(|| "a number of seconds from 0 to 3600".into())
}

pub fn run(args: &Args) -> Result<(), Failure> {
    let mut report = Map::new();
    if let Some(model) = args.model.as_deref() {
        report = if is_artifact(model) { bench_artifact(args, model)? } else { bench_model(args, model)? };
    }
    // The child of `bench_model` leaves this to its parent.
    if std::env::var_os(CHILD).is_none() {
        report.insert("fma128_peak_gflops".into(), json!(round(peak::fma128_gflops()?)));
    }
    if args.json {
        print_json(&Value::Object(report.clone()))?
    } else {
        table(&report)?
    }
    let median = report.get("median_ms").and_then(Value::as_f64);
    match (args.budget_ms, median) {
        (Some(budget), Some(ms)) if ms > budget => {
            Err(Failure::new(Exit::Budget, Problem::new("ODC0703", format!("the median is {ms:.3} ms, the budget {budget} ms"))))
        }
        _ => Ok(()),
    }
}

const CHILD: &str = "ODC_BENCH_CHILD";

/// Compiles here, measures in a fresh process.
fn bench_model(args: &Args, model: &Path) -> Result<Map<String, Value>, Failure> {
    let start = Instant::now();
    let compiled = compile(model, &args.compile)?;
    let compile_ms = start.elapsed().as_secs_f64() * 1e3;
    let folder = tempfile::tempdir().map_err(|e| Problem::unwritable(&std::env::temp_dir(), e))?;
    let path = folder.path().join("model.odc");
    let bytes = compiled.artifact_bytes()?;
    write_file(&path, |w| w.write_all(&bytes))?;
    drop(bytes);
    let failed = |why: String| Failure::new(Exit::Device, Problem::new("ODC0704", format!("the measuring process failed: {why}")));
    let mut command = std::process::Command::new(std::env::current_exe().map_err(|e| failed(e.to_string()))?);
    command.arg("bench").arg(&path).arg("--json").env(CHILD, "1");
    command.args(["--threads", &args.device.threads.to_string(), "--seconds", &args.seconds.to_string()]);
    if !args.compile.target.is_empty() {
        command.args(["--target", &args.compile.target.join(",")]);
    }
    if args.profile {
        command.arg("--profile");
    }
    if let Some(adapter) = &args.device.adapter {
        command.args(["--adapter", adapter]);
    }
    if let Some(data) = &args.data {
        command.arg("--data").arg(data);
    }
    for d in &args.compile.dim {
        command.arg("--dim").arg(format!("{}={}", d.name, d.text));
    }
    let out = command.output().map_err(|e| failed(e.to_string()))?;
    let text = String::from_utf8_lossy(&out.stdout);
    let Some(mut report) = serde_json::from_str::<Value>(text.trim()).ok().and_then(|v| v.as_object().cloned()) else {
        return Err(child_failure(&out).unwrap_or_else(|| failed(String::from_utf8_lossy(&out.stderr).trim().into())));
    };
    report.insert("compile_ms".into(), json!(round(compile_ms)));
    if let Some(mb) = peak_rss_mb() {
        report.insert("compile_peak_rss_mb".into(), json!(round(mb)));
    }
    let shapes = report.get("inputs").and_then(|v| serde_json::from_value::<Vec<(String, Vec<usize>)>>(v.clone()).ok());
    if let Some(shapes) = &shapes {
        predict::add(&mut report, &compiled, &args.compile.options()?.fusion.rates, shapes);
    }
    if let Some(n) = shapes.and_then(|s| macs::count(&compiled.graph, &s)) {
        report.insert("macs".into(), json!(n));
        if let Some(ms) = report.get("median_ms").and_then(Value::as_f64).filter(|ms| *ms > 0.0) {
            report.insert("gflops".into(), json!(round(2.0 * n as f64 / ms / 1e6)));
        }
    }
    Ok(report)
}

/// What the child said in JSON on stderr.
fn child_failure(out: &std::process::Output) -> Option<Failure> {
    let v: Value = serde_json::from_slice(&out.stderr).ok()?;
    let exit = match v.get("exit")?.as_u64()? {
        1 => Exit::Usage,
        4 => Exit::Differ,
        _ => Exit::Device,
    };
    let problem = |p: &Value| {
        let text = |key: &str| p.get(key).and_then(Value::as_str).map(String::from);
        Some(Problem {
            code: text("code")?.into(),
            node: text("node").map(Into::into),
            op: text("op").map(Into::into),
            message: text("message")?,
            help: text("help").map(Into::into),
            inputs: Box::default(),
            dims: Box::default(),
        })
    };
    let problems: Vec<_> = v.get("errors")?.as_array()?.iter().filter_map(problem).collect();
    (!problems.is_empty()).then_some(Failure { exit, problems })
}

fn bench_artifact(args: &Args, path: &Path) -> Result<Map<String, Value>, Failure> {
    let start = Instant::now();
    let how = CompileArgs { dim: vec![], fix: vec![], ..args.compile.clone() };
    let mut device = Device::open(path, &how, &args.device)?;
    let load = start.elapsed();

    let manifest = device.manifest();
    let names = |list: &[odc_format::TensorInfo]| list.iter().map(|t| t.name.clone()).collect::<Vec<_>>();
    let (inputs, wanted) = match &args.data {
        Some(folder) => {
            let sets = pb::data_sets(folder)?;
            let set = sets.first().ok_or_else(|| Problem::bad_file(folder, "it holds no data set"))?;
            (pb::named(&set.inputs, &names(&manifest.inputs))?, pb::named(&set.outputs, &names(&manifest.outputs))?)
        }
        None => (made_up(manifest, args)?, vec![]),
    };
    let views: Vec<_> = inputs.iter().map(|(n, t)| (n.as_str(), t.view())).collect();
    let start = Instant::now();
    let outputs = device.run(&views)?;
    let first = start.elapsed();
    let (rel_err, max_abs_err) = errors(&outputs, &wanted)?;
    for _ in 0..2 {
        device.run(&views)?;
    }
    let (mut times, begin, limit) = (vec![], Instant::now(), Duration::from_secs_f64(args.seconds));
    let cpu = cpu_time();
    while begin.elapsed() < limit || times.len() < 5 {
        let start = Instant::now();
        device.run(&views)?;
        times.push(start.elapsed().as_secs_f64() * 1e3);
    }
    let cpu = cpu_time().zip(cpu).map(|(after, before)| after.saturating_sub(before).as_secs_f64() * 1e3 / times.len() as f64);
    times.sort_by(f64::total_cmp);
    let at = |share: f64| times.get(((times.len() as f64 * share) as usize).min(times.len().saturating_sub(1))).copied().unwrap_or(0.0);
    let dispatches = device.target().commands.iter().filter(|c| matches!(c, odc_format::Command::Dispatch(_))).count();
    let report = json!({
        "load_ms": round(load.as_secs_f64() * 1e3), "first_ms": round(first.as_secs_f64() * 1e3), "median_ms": round(at(0.5)),
        "p90_ms": round(at(0.9)), "min_ms": round(at(0.0)), "cpu_ms": cpu.map(round), "runs": times.len(), "target": device.target().target,
        "rel_err": rel_err, "max_abs_err": max_abs_err,
        "peak_rss_mb": peak_rss_mb().map(round), "dispatches": dispatches, "kernels": device.target().kernels.len(),
        "inputs": inputs.iter().map(|(n, t)| (n, &t.shape)).collect::<Vec<_>>(),
    });
    let mut report = report.as_object().cloned().unwrap_or_default();
    report.extend(device.report());
    if args.profile {
        report.insert("profile".into(), profile::profile(&mut device, &views, args.seconds)?);
    }
    Ok(report)
}

/// The largest errors over all outputs, relative to each output's largest value and absolute; `None` without expected outputs.
fn errors(outputs: &Results<'_>, wanted: &[(String, HostTensor)]) -> Result<(Option<f64>, Option<f64>), Failure> {
    let mut worst: (Option<f64>, Option<f64>) = (None, None);
    for (name, want) in wanted {
        let differs = |why: String| Failure::new(Exit::Differ, Problem::new("ODC0701", format!("output \"{name}\": {why}")));
        let got = outputs.get(name).ok_or_else(|| differs("the model has no such output".into()))?;
        let d = compare(&got, &want.view(), Tolerance::EXACT).map_err(differs)?;
        worst.0 = Some(worst.0.unwrap_or(0.0).max(d.rel_err));
        worst.1 = Some(worst.1.unwrap_or(0.0).max(d.max_abs_err));
    }
    Ok(worst)
}

/// Inputs of the right shapes: small random floats, zero integers. The same every time.
fn made_up(m: &Manifest, args: &Args) -> Result<Vec<(String, HostTensor)>, Failure> {
    let mut known = vec![];
    for s in &m.symbols {
        let given = args.compile.dim.iter().find(|d| d.name == s.name).map(|d| d.size().map_err(Failure::usage)).transpose()?;
        let need =
            || Problem::usage(format!("the size of dim `{}` is open", s.name)).help(format!("add --dim {}=…, or --data DIR", s.name));
        known.push((s.slot, given.ok_or_else(need)?));
    }
    let slots = m.shape_program.evaluate_at(&known);
    let mut state = 1u64;
    let mut list = vec![];
    for t in &m.inputs {
        let dim = |s: &odc_format::Slot| usize::try_from(slots.get(s.index()).copied().flatten()?).ok();
        let bad = || Failure::usage(format!("input \"{}\" has no size at these dims", t.name));
        let shape = t.shape.iter().map(dim).collect::<Option<Vec<_>>>().ok_or_else(bad)?;
        let mut data = vec![0u8; byte_count(t.dtype, &shape).ok_or_else(bad)?];
        if t.dtype == DType::F32 {
            for x in data.chunks_exact_mut(4) {
                state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
                let unit = (state >> 40) as f32 / (1u64 << 24) as f32;
                x.copy_from_slice(&(unit - 0.5).to_le_bytes());
            }
        }
        list.push((t.name.clone(), HostTensor::new(t.dtype, shape, &data).ok_or_else(bad)?));
    }
    Ok(list)
}

/// What all threads of this process have computed so far; known on Unix.
fn cpu_time() -> Option<Duration> {
    #[cfg(unix)]
    {
        let t = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
        Some(Duration::new(t.tv_sec.try_into().ok()?, t.tv_nsec.try_into().ok()?))
    }
    #[cfg(not(unix))]
    None
}

/// The most memory that this process ever had, in MiB; known on Linux.
fn peak_rss_mb() -> Option<f64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|l| l.strip_prefix("VmHWM:"))?;
    let kib: f64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib / 1024.0)
}

fn round(x: f64) -> f64 {
    (x * 1e4).round() / 1e4
}

fn table(report: &Map<String, Value>) -> Result<(), Failure> {
    for (key, value) in report.iter().filter(|(k, v)| !v.is_null() && *k != "inputs" && *k != "profile") {
        print(format!("{key:<26} {value}"))?;
    }
    report.get("profile").map_or(Ok(()), profile::table)
}
