//! What `run`, `verify` and `bench` take: an artifact, or a model that is compiled on the spot, and how to compile it.

use crate::dims::DimArg;
use crate::fix::{self, FixArg};
use crate::lists::ListArg;
use crate::problem::{Failure, Problem};
use crate::progress::Progress;
use crate::rates;
use crate::size;
use crate::target::CODEGEN;
use crate::{AnyTarget, Compiled, GpuLimits, OptLevel, Options, Weights};
use odc_backend::{Codegen, TargetError};
use odc_onnx::Limits;
use odc_passes::{egraph, fuse};
use odc_runtime::ArtifactBytes;
use std::path::{Path, PathBuf};

/// How to compile.
#[derive(clap::Args, Clone, Debug)]
pub struct CompileArgs {
    /// What to compile for, the best first [default: cpu]; `odc targets` lists them
    #[arg(short, long, value_name = "TARGET", value_delimiter = ',')]
    pub target: Vec<String>,
    /// What makes code for CPUs [default: llvm where odc was built with it]
    #[arg(long, value_name = "WHO", hide_short_help = true, value_parser = ["cranelift", "llvm"])]
    pub codegen: Option<String>,
    /// Limits of GPU targets in JSON, where devices have more than the least that WebGPU promises
    #[arg(long, value_name = "FILE", hide_short_help = true)]
    pub limits: Option<PathBuf>,
    /// How hard to optimise, 0 to 3
    #[arg(short = 'O', value_name = "LEVEL", default_value_t = 2, value_parser = clap::value_parser!(u8).range(0..=3))]
    pub level: u8,
    /// Who decides what becomes one kernel on a CPU: costs over all that could be, what is always better, or nobody
    #[arg(long, value_name = "WHO", default_value = "choose", value_parser = ["choose", "greedy", "alone"], hide_short_help = true)]
    pub fusion: String,
    /// Rules that choosing must do without: views, epilogue, prologue, recompute or merge
    #[arg(long, value_name = "RULES", value_delimiter = ',', hide_short_help = true, value_parser = rules())]
    pub no_pass: Vec<String>,
    /// Rates of the cost model for the user's device, written by `odc tune`
    #[arg(long, value_name = "FILE", hide_short_help = true)]
    pub rates: Option<PathBuf>,
    /// Bytes that the arena may take, such as 300MB: of several forms of the program the fastest that keeps it, or an error. For open
    /// dims at 64; fix them with --dim
    #[arg(long, value_name = "SIZE", value_parser = size::parse)]
    pub mem_budget: Option<u64>,
    /// What large f32 weights are stored as; f16 halves the file and the memory, and is widened where it is read
    #[arg(long, value_name = "TYPE", default_value = "model", value_parser = ["model", "f16"])]
    pub weights: String,
    /// Fix a dim of the model (N=4), bound it ("N in 1..128") or tie it to others (W=2*H)
    #[arg(long, value_name = "DIM")]
    pub dim: Vec<DimArg>,
    /// Give an input its value: axes=[0,2], scale=0.5 or pads=@pads.npy. It becomes a constant and is no input any more
    #[arg(long, value_name = "NAME=VALUE")]
    pub fix: Vec<FixArg>,
    /// Say how many elements an input has that is a sequence or an optional (x=3), or their shapes (x=2x3,4x3)
    #[arg(long, value_name = "NAME=N", hide_short_help = true)]
    pub list: Vec<ListArg>,
    /// Raise or lower what a model may ask for: nodes, call_depth, trips, rank or tensor_bytes
    #[arg(long, value_name = "NAME=N", hide_short_help = true)]
    pub limit: Vec<DimArg>,
    /// Threads that compile kernels; the result does not depend on it
    #[arg(long, value_name = "N", hide_short_help = true, value_parser = clap::value_parser!(u16).range(1..=256))]
    pub compile_threads: Option<u16>,
}

impl CompileArgs {
    pub fn options(&self) -> Result<Options, Failure> {
        let weights = if self.weights == "f16" { Weights::F16 } else { Weights::Model };
        let mut options = Options { level: OptLevel::new(self.level), weights, ..Options::default() };
        options.fusion.arm = match self.fusion.as_str() {
            "alone" => fuse::Arm::Alone,
            "greedy" => fuse::Arm::Greedy,
            _ => fuse::Arm::Choose,
        };
        options.fusion.groups.retain(|g| !self.no_pass.iter().any(|name| name == g.name()));
        if let Some(path) = &self.rates {
            options.fusion.rates = rates::read(path)?;
        }
        options.mem_budget = self.mem_budget;
        let limits = self.limits.as_deref().map(read_limits).transpose()?;
        let codegen = Codegen::ALL.into_iter().find(|c| Some(c.name()) == self.codegen.as_deref()).unwrap_or(CODEGEN);
        let names = if self.target.is_empty() { &["cpu".to_string()][..] } else { &self.target };
        options.targets = names.iter().map(|t| target(t, codegen, limits)).collect::<Result<_, _>>()?;
        for d in &self.dim {
            if options.dims.insert(d.name.clone(), d.text.clone()).is_some() {
                return Err(Failure::usage(format!("--dim {} is given twice", d.name)));
            }
        }
        options.fix = fix::values(&self.fix)?;
        options.lists = self.list.iter().map(|l| (l.name.clone(), l.items.clone())).collect();
        for l in &self.limit {
            set_limit(&mut options.limits, l)?;
        }
        if let Some(n) = self.compile_threads {
            options.threads = usize::from(n);
        }
        Ok(options)
    }
}

fn rules() -> clap::builder::PossibleValuesParser {
    egraph::Group::ALL.iter().map(|g| g.name()).collect::<Vec<_>>().into()
}

pub fn set_limit(limits: &mut Limits, arg: &DimArg) -> Result<(), Problem> {
    let value = arg.text.parse().map_err(|_| Problem::usage(format!("--limit {}: `{}` is no number", arg.name, arg.text)))?;
    if limits.set(&arg.name, value) {
        return Ok(());
    }
    Err(Problem::usage(format!("there is no limit `{}`", arg.name)).help(format!("the limits are {}", Limits::NAMES.join(", "))))
}

fn target(name: &str, codegen: Codegen, limits: Option<GpuLimits>) -> Result<AnyTarget, Problem> {
    let unknown = |e: TargetError| match e {
        TargetError::NeedsLlvm { .. } => Problem::usage(e.to_string()).help("`odc targets` lists what this odc compiles for"),
        TargetError::Unknown { .. } | TargetError::HostUnsupported => Problem::usage(format!("unknown target `{name}`"))
            .help(format!("known are {}; `odc targets` describes them", AnyTarget::names().join(", "))),
    };
    let mut target = AnyTarget::parse_for(name, codegen).map_err(unknown)?;
    if let (AnyTarget::Gpu(t), Some(limits)) = (&mut target, limits) {
        t.limits = limits;
    }
    Ok(target)
}

/// A limits file: what it leaves out is as on every WebGPU device.
fn read_limits(path: &Path) -> Result<GpuLimits, Problem> {
    let text = std::fs::read_to_string(path).map_err(|e| Problem::unreadable(path, e))?;
    let fields = r#"its fields are {"storage_buffers": 8, "binding_bytes": 134217728, "invocations": 256, "workgroup_bytes": 16384}"#;
    let limits: GpuLimits = serde_json::from_str(&text).map_err(|e| Problem::bad_file(path, e).help(fields))?;
    let (least, default) = ("less than every WebGPU device has", GpuLimits::default());
    for (name, has, least_is) in [
        ("storage_buffers", u64::from(limits.storage_buffers), 3),
        ("binding_bytes", limits.binding_bytes, 1 << 10),
        ("invocations", u64::from(limits.invocations), 64),
        ("workgroup_bytes", u64::from(limits.workgroup_bytes), 1 << 10),
    ] {
        if has < least_is {
            return Err(Problem::bad_file(path, format!("{name} is {has}, {least}"))
                .help(format!("at least {least_is}; the default is {default:?}")));
        }
    }
    Ok(limits)
}

/// Whether the file is (or claims to be) an artifact rather than a model.
pub fn is_artifact(path: &Path) -> bool {
    let mut head = [0; 4];
    let read = std::fs::File::open(path).and_then(|mut f| std::io::Read::read_exact(&mut f, &mut head));
    (read.is_ok() && odc_format::is_artifact(&head)) || path.extension().is_some_and(|e| e == "odc")
}

/// Compiles a model, with a progress line.
pub fn compile(path: &Path, args: &CompileArgs) -> Result<Compiled, Failure> {
    compile_for(path, &args.options()?)
}

fn compile_for(path: &Path, options: &Options) -> Result<Compiled, Failure> {
    let progress = Progress::new(true);
    let show = |what: &str, done, total| progress.show(what, done, total);
    Ok(crate::compile_with(path, options, &show)?)
}

/// Compiles a model with nothing said but what for.
pub fn compile_plainly(path: &Path, for_target: Option<&str>) -> Result<Compiled, Failure> {
    let mut options = Options::default();
    if let Some(name) = for_target {
        options.targets = vec![target(name, CODEGEN, None)?];
    }
    compile_for(path, &options)
}

/// The bytes of an artifact; a model is compiled to them in memory.
pub fn artifact_bytes(path: &Path, args: &CompileArgs) -> Result<ArtifactBytes, Failure> {
    if !is_artifact(path) {
        return Ok(compile(path, args)?.artifact_bytes()?.into());
    }
    if let Some(d) = args.dim.first() {
        let help = "give --dim to `odc compile`";
        return Err(Problem::usage(format!("--dim {}: an artifact's dims are those of its inputs", d.name)).help(help).into());
    }
    if let Some(f) = args.fix.first() {
        let help = "give --fix to `odc compile`";
        return Err(Problem::usage(format!("--fix {}: an artifact is compiled already", f.name)).help(help).into());
    }
    Ok(ArtifactBytes::open(path)?)
}
