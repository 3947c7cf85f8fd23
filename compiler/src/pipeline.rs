//! The way through the house, stage by stage. Each stage is verified before the next one builds on it, and kept, so that it can
//! be shown as text.

use crate::artifact::{self, Parts};
use crate::kernels::{self, KernelText};
use crate::passes;
use crate::problem::Problem;
use crate::progress::{Report, silent};
use odc_backend::Target;
use odc_format::{FormatError, Manifest, WriteError};
use odc_ir::core::VerifyError;
use odc_ir::program::{Program, verify_program};
use odc_ir::{graph, loops, tensor};
use odc_onnx::{Diagnostic, ImportOptions, Model};
use odc_passes::{canonicalise, expand, fuse, lower_loop, lower_tensor, plan, schedule};
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

#[derive(Clone, Debug)]
pub struct Options {
    /// The artifact holds a program for each, the best first.
    pub targets: Vec<Target>,
    pub level: OptLevel,
    /// By a dim's name: a size, bounds (`1..128`) or an expression of other dims.
    pub dims: BTreeMap<String, String>,
    /// Threads that compile kernels. The result does not depend on it.
    pub threads: usize,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            targets: Target::parse("cpu").into_iter().collect(),
            level: OptLevel::default(),
            dims: BTreeMap::new(),
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
}

impl fmt::Display for CompileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        crate::Failure::from(self.clone()).fmt(f)
    }
}

impl std::error::Error for CompileError {}

impl CompileError {
    fn one(p: Problem) -> CompileError {
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
    pub tensor: tensor::Module,
    pub dispatches: tensor::Module,
    pub program: Program,
    pub targets: Vec<Target>,
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

pub(crate) fn import(model: &Model, dims: &BTreeMap<String, String>) -> Result<graph::Module, CompileError> {
    let options = ImportOptions { dims: dims.clone(), ..ImportOptions::default() };
    odc_onnx::import(model, &options).map_err(CompileError::Import)
}

fn compile_model(model: &Model, name: &str, options: &Options, report: Report<'_>) -> Result<Compiled, CompileError> {
    report("importing", 0, 0);
    let mut graph = import(model, &options.dims)?;
    graph.name = name.into();
    sound(Stage::Graph, graph::verify(&graph))?;

    let mut canonical = graph.clone();
    if options.level > OptLevel::O0 {
        report("canonicalising", 0, 0);
        canonicalise::canonicalise(&mut canonical);
        passes::renumber(&mut canonical);
        sound(Stage::Canonical, graph::verify(&canonical))?;
    }

    report("lowering to tensor ops", 0, 0);
    let at = |code: &str, loc: &str, message: String| CompileError::one(Problem::new(code, message).at(loc));
    let tensor = lower_tensor::lower(&canonical).map_err(|e| at("ODC0300", &e.loc, e.to_string()))?;
    sound(Stage::Tensor, tensor::verify(&tensor))?;

    report("forming dispatches", 0, 0);
    let mut dispatches = tensor.clone();
    fuse::fuse(&mut dispatches);
    if options.level > OptLevel::O0 {
        report("scheduling and packing weights", 0, 0);
        schedule::schedule(&mut dispatches);
    }
    passes::renumber(&mut dispatches);
    sound(Stage::Dispatches, tensor::verify(&dispatches))?;

    report("lowering to loops", 0, 0);
    let mut lowered = lower_loop::lower(&dispatches).map_err(|e| at("ODC0310", &e.loc, e.to_string()))?;
    lowered.iter_mut().for_each(|k| expand::expand(&mut k.func));
    report("planning memory", 0, 0);
    let program = plan::plan(&dispatches, lowered).map_err(|e| CompileError::one(Problem::new("ODC0320", e)))?;
    let wrong: Vec<_> = verify_program(&program).into_iter().map(|e| bug(Stage::Program, e)).collect();
    refuse(wrong)?;

    let mut codes = vec![];
    for target in &options.targets {
        codes.push(kernels::compile(&program, target, options.threads, report).map_err(CompileError::Compile)?);
    }
    report("assembling the artifact", 0, 0);
    let parts = artifact::assemble(&program, &options.targets, &codes).map_err(CompileError::one)?;
    Ok(Compiled { graph, canonical, tensor, dispatches, program, targets: options.targets.clone(), parts })
}

fn bug(stage: Stage, e: impl fmt::Display) -> Problem {
    Problem::new("ODC0390", format!("the {stage} stage is not sound: {e}")).help("this is a bug of odc: please report it with the model")
}

fn sound(stage: Stage, errors: Vec<VerifyError>) -> Result<(), CompileError> {
    refuse(errors.into_iter().map(|e| bug(stage, e)).collect())
}

fn refuse(problems: Vec<Problem>) -> Result<(), CompileError> {
    if problems.is_empty() { Ok(()) } else { Err(CompileError::Compile(problems)) }
}

impl Compiled {
    pub fn stage_text(&self, stage: Stage) -> String {
        match stage {
            Stage::Graph => self.graph.to_string(),
            Stage::Canonical => self.canonical.to_string(),
            Stage::Tensor => self.tensor.to_string(),
            Stage::Dispatches => self.dispatches.to_string(),
            Stage::Loop => self.loops().to_string(),
            Stage::Program => self.program.to_string(),
        }
    }

    /// The kernels as a module of their own.
    pub fn loops(&self) -> loops::Module {
        let mut m = loops::Module::new(&self.program.name);
        m.symbols.clone_from(&self.program.symbols);
        m.funcs.clone_from(&self.program.kernels);
        m
    }

    /// What the backend makes of each kernel, for each target.
    pub fn kernel_texts(&self) -> Result<Vec<KernelText>, Vec<Problem>> {
        kernels::texts(&self.program, &self.targets)
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
            dispatches: self.program.dispatch_count(),
            kernels: self.program.kernels.len(),
            weight_bytes: self.parts.manifest.weights.last().map_or(0, |w| w.offset + w.len),
            code_bytes: self.parts.code.iter().map(|c| c.len() as u64).sum(),
            arena: self.program.arena_bytes.to_string(),
        }
    }
}
