//! What runs a model for `run`, `verify` and `bench`: the CPU, or a GPU through the runtime's `gpu` module. Commands see named
//! tensors either way.

use super::model::{CompileArgs, artifact_bytes};
use super::watch::Watch;
use crate::problem::{Exit, Failure, Problem};
use odc_backend::GpuTarget;
use odc_format::{ArtifactView, Manifest, TargetProgram};
use odc_runtime::{Artifact, ArtifactBytes, Outputs, Session, SessionOptions, TensorView};
use serde_json::{Map, Value, json};
use std::path::Path;

#[derive(clap::Args, Clone, Debug)]
pub struct DeviceArgs {
    /// Threads that compute; 0 takes one for each core
    #[arg(long, value_name = "N", default_value_t = 0, value_parser = clap::value_parser!(u16).range(0..=1024))]
    pub threads: u16,
    /// Stop a run on the CPU after this time
    #[arg(long, value_name = "SECONDS")]
    pub timeout: Option<f64>,
    /// Iterations that the loops of a run may come to together
    #[arg(long, value_name = "N", default_value_t = SessionOptions::default().iterations)]
    pub iterations: u64,
    /// Part of the name of the GPU to run on
    #[arg(long, value_name = "NAME")]
    pub adapter: Option<String>,
}

pub enum Device {
    /// With the time that a run may take.
    Cpu(Artifact, Box<Session>, Option<f64>),
    #[cfg(feature = "gpu")]
    Gpu(Box<gpu::Gpu>),
}

/// The outputs of a run, in the model's order.
pub enum Results<'s> {
    Cpu(Outputs<'s>),
    #[cfg(feature = "gpu")]
    Gpu(Vec<odc_runtime::gpu::HostTensor>),
}

impl Results<'_> {
    pub fn iter(&self) -> Box<dyn Iterator<Item = (&str, TensorView<'_>)> + '_> {
        match self {
            Results::Cpu(o) => Box::new(o.iter()),
            #[cfg(feature = "gpu")]
            Results::Gpu(list) => Box::new(list.iter().map(|t| (t.name.as_str(), t.view()))),
        }
    }
    pub fn get(&self, name: &str) -> Option<TensorView<'_>> {
        self.iter().find_map(|(n, t)| (n == name).then_some(t))
    }
}

impl Device {
    /// Loads an artifact, or a model that is compiled first. What `-t` names first runs; without it what the artifact holds first.
    pub fn open(path: &Path, compile: &CompileArgs, args: &DeviceArgs) -> Result<Device, Failure> {
        let target = compile.options()?.targets.into_iter().next();
        let wanted = target.as_ref().filter(|_| !compile.target.is_empty());
        let bytes = artifact_bytes(path, compile)?;
        match wanted.map(|t| t.gpu()) {
            Some(Some(gpu)) => Self::gpu(bytes, Some(gpu), args),
            Some(None) => Self::cpu(bytes, args),
            None => match Self::cpu(bytes.clone(), args) {
                // Nothing for this machine's CPU: perhaps something for its GPU.
                Err(e) if e.problems.iter().any(|p| *p.code == *NO_TARGET) && is_for_gpus(path) => Self::gpu(bytes, None, args),
                other => other,
            },
        }
    }

    fn cpu(bytes: ArtifactBytes, args: &DeviceArgs) -> Result<Device, Failure> {
        let artifact = Artifact::from_bytes(bytes)?;
        let options = SessionOptions::threads(usize::from(args.threads)).iterations(args.iterations);
        let session = artifact.session(options)?;
        Ok(Device::Cpu(artifact, Box::new(session), args.timeout))
    }

    #[cfg(not(feature = "gpu"))]
    fn gpu(_: ArtifactBytes, target: Option<&GpuTarget>, _: &DeviceArgs) -> Result<Device, Failure> {
        let what = target.map_or("the artifact's GPU program".into(), |t| t.name.clone());
        let problem = Problem::new("ODC0732", format!("{what} cannot run: this odc was built without GPU support"));
        Err(Failure::new(Exit::Device, problem.help("build it with `cargo build --release --features gpu`")))
    }

    #[cfg(feature = "gpu")]
    fn gpu(bytes: ArtifactBytes, target: Option<&GpuTarget>, args: &DeviceArgs) -> Result<Device, Failure> {
        Ok(Device::Gpu(Box::new(gpu::Gpu::new(bytes, target, args)?)))
    }

    pub fn manifest(&self) -> &Manifest {
        match self {
            Device::Cpu(artifact, ..) => artifact.manifest(),
            #[cfg(feature = "gpu")]
            Device::Gpu(g) => g.model.manifest(),
        }
    }

    pub fn target(&self) -> &TargetProgram {
        match self {
            Device::Cpu(artifact, ..) => artifact.target(),
            #[cfg(feature = "gpu")]
            Device::Gpu(g) => g.model.target(),
        }
    }

    pub fn run<'s>(&'s mut self, inputs: &[(&str, TensorView<'s>)]) -> Result<Results<'s>, Failure> {
        match self {
            Device::Cpu(_, session, timeout) => {
                let _watch = timeout.map(|seconds| Watch::start(session.canceller(), seconds));
                Ok(Results::Cpu(session.run(inputs)?))
            }
            #[cfg(feature = "gpu")]
            Device::Gpu(g) => Ok(Results::Gpu(g.session.run(inputs)?.read_all()?)),
        }
    }

    /// [`run`](Self::run) that calls `watch` after every dispatch with the number of its command; a GPU's cannot be watched.
    pub fn run_watched(&mut self, inputs: &[(&str, TensorView<'_>)], watch: &mut dyn FnMut(usize)) -> Result<(), Failure> {
        match self {
            Device::Cpu(_, session, _) => session.run_watched(inputs, watch).map(drop).map_err(Failure::from),
            #[cfg(feature = "gpu")]
            Device::Gpu(_) => Err(Problem::usage("--profile times the dispatches of a CPU only").into()),
        }
    }

    /// What it holds and did, for `odc bench`.
    pub fn report(&self) -> Map<String, Value> {
        let v = match self {
            Device::Cpu(artifact, session, _) => {
                let m = session.memory();
                json!({ "threads": m.threads, "arena_bytes": m.arena, "scratch_bytes_per_thread": m.scratch_per_thread,
                    "weight_bytes": artifact.weight_bytes() })
            }
            #[cfg(feature = "gpu")]
            Device::Gpu(g) => g.report(),
        };
        v.as_object().cloned().unwrap_or_default()
    }
}

/// The runtime's code for an artifact without a program for this CPU.
const NO_TARGET: &str = "ODC0641";

fn is_for_gpus(artifact: &Path) -> bool {
    let Ok(bytes) = std::fs::read(artifact) else { return false };
    let gpu = |t: &TargetProgram| matches!(t.device, odc_format::Device::Gpu { .. });
    ArtifactView::parse(&bytes).is_ok_and(|view| view.manifest.targets.iter().any(gpu))
}

#[cfg(feature = "gpu")]
mod gpu {
    use super::*;
    use odc_runtime::gpu::{GpuModel, GpuOptions, GpuSession, own_device};

    pub struct Gpu {
        pub model: GpuModel,
        pub session: GpuSession,
    }

    impl Gpu {
        pub fn new(bytes: ArtifactBytes, target: Option<&GpuTarget>, args: &DeviceArgs) -> Result<Gpu, Failure> {
            let mut options = GpuOptions::default();
            if let Some(t) = target {
                options = options.target(&t.name);
            }
            options.adapter.clone_from(&args.adapter);
            let (device, queue) = own_device(bytes.clone(), &options)?;
            let model = GpuModel::load(bytes, &device, &queue, options)?;
            let session = GpuSession::new(&model);
            Ok(Gpu { model, session })
        }

        pub fn report(&self) -> Value {
            let (m, info) = (self.session.memory(), self.model.device().adapter_info());
            let (loaded, ran) = (self.model.counters(), self.session.counters());
            json!({
                "device": format!("{} ({:?})", info.name, info.backend), "arena_bytes": m.arena, "weight_bytes": m.weights,
                "gpu_bytes": m.total(), "pipelines": loaded.pipelines + ran.pipelines, "buffers": ran.buffers,
                "bind_groups": ran.bind_groups, "submits": ran.submits, "passes": ran.passes,
            })
        }
    }

    impl From<odc_runtime::gpu::GpuError> for Failure {
        fn from(e: odc_runtime::gpu::GpuError) -> Failure {
            use odc_runtime::gpu::GpuError as G;
            match e {
                G::Load(e) => e.into(),
                G::Run(e) => e.into(),
                e => Failure::new(Exit::Device, Problem::new(e.code(), &e)),
            }
        }
    }
}
