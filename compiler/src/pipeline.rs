//! The way through the house, stage by stage. Each stage is verified before the next one builds on it, and kept, so that it can
//! be shown as text. What is common to all targets is here; [`crate::build`] makes the program of each machine.

use crate::artifact::{self, Parts, TargetCode};
use crate::build::Build;
use crate::kernels::{self, KernelText};
use crate::passes;
use crate::problem::Problem;
use crate::progress::{Report, silent};
use crate::target::{self, AnyTarget};
use odc_format::{FormatError, Manifest, WriteError};
use odc_ir::core::VerifyError;
use odc_ir::program::Program;
use odc_ir::{graph, loops, tensor};
use odc_onnx::{Diagnostic, Fixed, ImportOptions, Items, Limits, Model};
use odc_passes::{canonicalise, compress, fuse};
use std::collections::BTreeMap;
use std::fmt;
use std::io::{self, Write};
use std::path::Path;

/// How hard to optimise.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub enum OptLevel {
    /// One plain loop nest a dispatch, one thread: for finding out which pass is wrong.
    O0,
    O1,
    #[default]
    O2,
    O3,
}

impl OptLevel {
    /// 3 for everything above.
    pub fn new(n: u8) -> OptLevel {
        match n {
            0 => OptLevel::O0,
            1 => OptLevel::O1,
            2 => OptLevel::O2,
            _ => OptLevel::O3,
        }
    }
}

/// What weights are stored as.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Weights {
    /// As the model has them.
    #[default]
    Model,
    /// Large f32 constants as f16, widened where they are read ([`odc_passes::compress`]).
    F16,
}

#[derive(Clone, Debug)]
pub struct Options {
    /// The artifact holds a program for each, the best first; of a language, the one that may use most features.
    pub targets: Vec<AnyTarget>,
    pub level: OptLevel,
    pub weights: Weights,
    pub fusion: fuse::Options,
    /// Bytes that the arena may take at the sizes that plans are judged at: fixed dims, and 64 for every other.
    pub mem_budget: Option<u64>,
    /// By a dim's name: a size, bounds (`1..128`) or an expression of other dims.
    pub dims: BTreeMap<String, String>,
    /// By an input's name: its value, which makes it a constant.
    pub fix: BTreeMap<String, Fixed>,
    /// By the name of an input that is a sequence or an optional: its elements. They become inputs `name.0` and so on.
    pub lists: BTreeMap<String, Items>,
    /// Sizes past which a model is refused.
    pub limits: Limits,
    /// Threads that compile kernels. The result does not depend on it.
    pub threads: usize,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            targets: AnyTarget::parse("cpu").into_iter().collect(),
            level: OptLevel::default(),
            weights: Weights::default(),
            fusion: fuse::Options::default(),
            mem_budget: None,
            dims: BTreeMap::new(),
            fix: BTreeMap::new(),
            lists: BTreeMap::new(),
            limits: Limits::default(),
            threads: std::thread::available_parallelism().map_or(1, usize::from),
        }
    }
}

/// Why there is no artifact; every problem that could be found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CompileError {
    /// The model is damaged, or says things that odc does not know.
    Import(Vec<Diagnostic>),
    /// The model is understood, but not compilable.
    Compile(Vec<Problem>),
    /// It compiles, but not within the memory budget.
    Budget(Problem),
}

impl fmt::Display for CompileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        crate::Failure::from(self.clone()).fmt(f)
    }
}

impl std::error::Error for CompileError {}

impl CompileError {
    pub(crate) fn one(p: Problem) -> CompileError {
        CompileError::Compile(vec![p])
    }
}

macro_rules! stages {
    ($($(#[doc = $doc:literal])* $v:ident $name:literal,)*) => {
        /// What stands between the passes.
        #[derive(Clone, Copy, PartialEq, Eq, Debug)]
        pub enum Stage { $($(#[doc = $doc])* $v),* }
        impl Stage {
            pub const ALL: &'static [Stage] = &[$(Stage::$v),*];
            pub const fn name(self) -> &'static str { match self { $(Stage::$v => $name),* } }
        }
    };
}
stages! {
    /// Graph IR, as imported.
    Graph "graph",
    /// Graph IR, simplified.
    Canonical "canonical",
    /// Tensor IR, one structured op or a few for each graph op.
    Tensor "tensor",
    /// Tensor IR, fused into dispatches with their schedules.
    Dispatches "dispatches",
    /// Loop IR, one function a kernel.
    Loop "loop",
    /// Kernels, commands and memory plan.
    Program "program",
}

impl Stage {
    /// Is it the same for all targets?
    pub const fn is_shared(self) -> bool {
        match self {
            Stage::Graph | Stage::Canonical => true,
            Stage::Tensor | Stage::Dispatches | Stage::Loop | Stage::Program => false,
        }
    }
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Counts of a compiled model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Summary {
    pub dispatches: usize,
    pub kernels: usize,
    pub weight_bytes: u64,
    pub code_bytes: u64,
    /// Bytes, or a formula of the dims.
    pub arena: String,
}

/// A compiled model.
#[derive(Debug)]
pub struct Compiled {
    pub graph: graph::Module,
    pub canonical: graph::Module,
    /// The artifact holds a program for each, in this order.
    pub targets: Vec<AnyTarget>,
    /// That of the first target.
    first: Build,
    more: Vec<Build>,
    parts: Parts,
}

/// Compiles a model file.
pub fn compile(model: impl AsRef<Path>, options: &Options) -> Result<Compiled, CompileError> {
    compile_with(model.as_ref(), options, &silent)
}

/// Compiles a model in memory, which cannot refer to external data.
pub fn compile_bytes(model: impl Into<bytes::Bytes>, options: &Options) -> Result<Compiled, CompileError> {
    let model = Model::from_bytes(model).map_err(|e| CompileError::Import(vec![e.into()]))?;
    compile_model(&model, "model", options, &silent)
}

/// Compiles a model file and reports on the way.
pub fn compile_with(model: &Path, options: &Options, report: Report<'_>) -> Result<Compiled, CompileError> {
    let name = model.file_stem().and_then(|s| s.to_str()).unwrap_or("model");
    report("reading the model", 0, 0);
    let model = Model::open(model).map_err(|e| CompileError::Import(vec![e.into()]))?;
    compile_model(&model, name, options, report)
}

pub(crate) fn import(model: &Model, options: &Options) -> Result<graph::Module, CompileError> {
    let options = ImportOptions {
        dims: options.dims.clone(),
        fix: options.fix.clone(),
        lists: options.lists.clone(),
        limits: options.limits.clone(),
    };
    odc_onnx::import(model, &options).map_err(CompileError::Import)
}

fn compile_model(model: &Model, name: &str, options: &Options, report: Report<'_>) -> Result<Compiled, CompileError> {
    report("importing", 0, 0);
    let mut graph = import(model, options)?;
    graph.name = name.into();
    compile_graph_with(graph, options, report)
}

/// Compiles a model that is graph IR already. `dims` of the options say nothing here: they are the importer's.
pub fn compile_graph(graph: graph::Module, options: &Options) -> Result<Compiled, CompileError> {
    compile_graph_with(graph, options, &silent)
}

/// Everything before code is generated, for one target: dispatches, kernels as loops and the memory plan, or why not.
pub(crate) fn plan_for(graph: &graph::Module, target: &AnyTarget, options: &Options) -> Result<Build, CompileError> {
    sound(Stage::Graph, graph::verify(graph))?;
    let mut canonical = graph.clone();
    canonicalise::canonicalise(&mut canonical);
    passes::renumber(&mut canonical);
    Build::new(&canonical, target.machine(), options, &silent)
}

fn compile_graph_with(graph: graph::Module, options: &Options, report: Report<'_>) -> Result<Compiled, CompileError> {
    sound(Stage::Graph, graph::verify(&graph))?;

    let mut canonical = graph.clone();
    if options.level > OptLevel::O0 {
        report("canonicalising", 0, 0);
        canonicalise::canonicalise(&mut canonical);
        passes::renumber(&mut canonical);
        sound(Stage::Canonical, graph::verify(&canonical))?;
    }

    let targets = target::ordered(&options.targets);
    let mut machines = vec![];
    for machine in targets.iter().map(AnyTarget::machine) {
        if !machines.contains(&machine) {
            machines.push(machine);
        }
    }
    let mut builds = vec![];
    for machine in machines {
        builds.push(Build::new(&canonical, machine, options, report)?);
    }
    let mut codes = vec![];
    for target in &targets {
        let machine = target.machine();
        if let Some(build) = builds.iter().find(|b| b.machine == machine) {
            let code = kernels::compile(&build.program, target, options.threads, report).map_err(CompileError::Compile)?;
            codes.push(TargetCode { target, program: &build.program, code });
        }
    }
    report("assembling the artifact", 0, 0);
    let mut parts = artifact::assemble(&codes).map_err(CompileError::one)?;
    artifact::add_strings(&mut parts.manifest, &graph);
    let mut builds = builds.into_iter();
    let nothing = || CompileError::one(Problem::usage("there is no target to compile for"));
    let first = builds.next().ok_or_else(nothing)?;
    Ok(Compiled { graph, canonical, targets, first, more: builds.collect(), parts })
}

pub(crate) fn bug(stage: Stage, e: impl fmt::Display) -> Problem {
    Problem::new("ODC0390", format!("the {stage} stage is not sound: {e}")).help("this is a bug of odc: please report it with the model")
}

pub(crate) fn sound(stage: Stage, errors: Vec<VerifyError>) -> Result<(), CompileError> {
    refuse(errors.into_iter().map(|e| bug(stage, e)).collect())
}

pub(crate) fn refuse(problems: Vec<Problem>) -> Result<(), CompileError> {
    if problems.is_empty() { Ok(()) } else { Err(CompileError::Compile(problems)) }
}

impl Compiled {
    /// What was made for each machine; the first target's first.
    pub fn builds(&self) -> impl Iterator<Item = &Build> {
        std::iter::once(&self.first).chain(&self.more)
    }

    /// The program of the first target.
    pub fn program(&self) -> &Program {
        &self.first.program
    }

    /// The dispatches of the first target.
    pub fn dispatches(&self) -> &tensor::Module {
        &self.first.dispatches
    }

    /// The first target's, where targets differ.
    pub fn stage_text(&self, stage: Stage) -> String {
        self.stage_text_of(stage, &self.first)
    }

    pub fn stage_text_of(&self, stage: Stage, build: &Build) -> String {
        match stage {
            Stage::Graph => self.graph.to_string(),
            Stage::Canonical => self.canonical.to_string(),
            Stage::Tensor => build.tensor.to_string(),
            Stage::Dispatches => build.dispatches.to_string(),
            Stage::Loop => build.loops().to_string(),
            Stage::Program => build.program.to_string(),
        }
    }

    /// The first target's kernels as a module of their own.
    pub fn loops(&self) -> loops::Module {
        self.first.loops()
    }

    /// What the backends make of each kernel, for each target.
    pub fn kernel_texts(&self) -> Result<Vec<KernelText>, Vec<Problem>> {
        let (mut texts, mut problems) = (vec![], vec![]);
        for target in &self.targets {
            let machine = target.machine();
            for build in self.builds().filter(|b| b.machine == machine) {
                match kernels::texts(&build.program, target) {
                    Ok(list) => texts.extend(list),
                    Err(list) => problems.extend(list),
                }
            }
        }
        if problems.is_empty() { Ok(texts) } else { Err(problems) }
    }

    /// What became of the first target's large weights, if they were to be stored as f16.
    pub fn compressed(&self) -> Option<&compress::Report> {
        self.first.compressed.as_ref()
    }

    /// The weights, in the order of the manifest.
    pub fn weights(&self) -> &[bytes::Bytes] {
        &self.parts.weights
    }

    /// The code sections.
    pub fn code(&self) -> &[Vec<u8>] {
        &self.parts.code
    }

    pub fn manifest(&self) -> &Manifest {
        &self.parts.manifest
    }

    /// Writes the artifact; the same model and options give the same bytes.
    pub fn write_artifact(&self, sink: &mut dyn Write) -> Result<(), WriteError<io::Error>> {
        let code: Vec<&[u8]> = self.parts.code.iter().map(Vec::as_slice).collect();
        let weights: Vec<&[u8]> = self.parts.weights.iter().map(|b| &b[..]).collect();
        odc_format::write(&self.parts.manifest, &code, &weights, |bytes| sink.write_all(bytes))
    }

    pub fn artifact_bytes(&self) -> Result<Vec<u8>, FormatError> {
        let mut out = vec![];
        match self.write_artifact(&mut out) {
            Ok(()) => Ok(out),
            Err(WriteError::Format(e)) => Err(e),
            // A vector takes everything.
            Err(WriteError::Sink(e)) => Err(FormatError::Invalid { at: "the artifact".into(), why: e.to_string() }),
        }
    }

    pub fn summary(&self) -> Summary {
        Summary {
            dispatches: self.program().dispatch_count(),
            kernels: self.program().kernels.len(),
            weight_bytes: self.parts.manifest.weights.last().map_or(0, |w| w.offset + w.len),
            code_bytes: self.parts.code.iter().map(|c| c.len() as u64).sum(),
            arena: self.program().arena_bytes.to_string(),
        }
    }
}
