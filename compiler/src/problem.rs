//! Problems as people and machines read them: a stable code, where, what, and what to do. A failed command reports all of its
//! problems at once, and its kind of failure is the exit code.

use odc_onnx::OpenDim;
use serde::Serialize;
use std::fmt;

/// Exit codes of the command; scripts rely on the numbers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum Exit {
    /// The command line, or a file it names, is not usable.
    Usage = 1,
    /// The model cannot be imported.
    Import = 2,
    /// The model is understood, but not compilable: for this target, or as long as data decides its shapes.
    Compile = 3,
    /// Results differ.
    Differ = 4,
    /// A budget or gate was missed.
    Budget = 5,
    /// The device or the runtime refuses.
    Device = 6,
}

/// One problem.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Problem {
    pub code: Box<str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub node: Option<Box<str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub op: Option<Box<str>>,
    pub message: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub help: Option<Box<str>>,
    /// Inputs of the model that `--fix` would have to give.
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    pub inputs: Box<[String]>,
    /// Dims of the model that `--dim` would have to fix.
    #[serde(skip)]
    pub dims: Box<[OpenDim]>,
}

impl Problem {
    pub fn new(code: &str, message: impl fmt::Display) -> Problem {
        Problem {
            code: code.into(),
            node: None,
            op: None,
            message: message.to_string(),
            help: None,
            inputs: Box::default(),
            dims: Box::default(),
        }
    }
    pub fn help(mut self, help: impl Into<String>) -> Problem {
        self.help = Some(help.into().into());
        self
    }
    /// The ONNX nodes that it is about.
    pub fn at(mut self, node: impl Into<String>) -> Problem {
        self.node = Some(node.into().into());
        self
    }
    pub fn usage(message: impl fmt::Display) -> Problem {
        Problem::new("ODC0001", message)
    }
    /// A file that could not be read.
    pub fn unreadable(path: &std::path::Path, why: impl fmt::Display) -> Problem {
        Problem::new("ODC0002", format!("{}: {why}", path.display()))
    }
    /// A file that could not be written.
    pub fn unwritable(path: &std::path::Path, why: impl fmt::Display) -> Problem {
        Problem::new("ODC0003", format!("cannot write {}: {why}", path.display()))
            .help("choose another place with -o, or make the folder writable")
    }
    /// A file whose content is not what its kind promises.
    pub fn bad_file(path: &std::path::Path, why: impl fmt::Display) -> Problem {
        Problem::new("ODC0004", format!("{}: {why}", path.display()))
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "error[{}]", self.code)?;
        if let Some(node) = &self.node {
            write!(f, " node `{}`", node.escape_debug())?;
        }
        if let Some(op) = &self.op {
            write!(f, " ({})", op.escape_debug())?;
        }
        write!(f, ": {}", self.message)?;
        match &self.help {
            Some(help) => write!(f, "\n  help: {help}"),
            None => Ok(()),
        }
    }
}

impl From<odc_onnx::Diagnostic> for Problem {
    fn from(d: odc_onnx::Diagnostic) -> Problem {
        Problem {
            code: d.code.as_str().into(),
            node: d.node.map(Into::into),
            op: d.op.map(Into::into),
            message: d.message,
            help: d.help.map(Into::into),
            inputs: d.inputs.into(),
            dims: d.dims.into(),
        }
    }
}

/// Why a command failed: never without a problem that says so.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Failure {
    pub exit: Exit,
    pub problems: Vec<Problem>,
}

impl Failure {
    pub fn new(exit: Exit, problem: Problem) -> Failure {
        Failure { exit, problems: vec![problem] }
    }
    pub fn usage(message: impl fmt::Display) -> Failure {
        Problem::usage(message).into()
    }
}

impl From<Problem> for Failure {
    fn from(p: Problem) -> Failure {
        Failure::new(Exit::Usage, p)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (k, p) in self.problems.iter().enumerate() {
            write!(f, "{}{p}", if k > 0 { "\n" } else { "" })?;
        }
        Ok(())
    }
}

impl std::error::Error for Failure {}

impl From<odc_runtime::LoadError> for Failure {
    fn from(e: odc_runtime::LoadError) -> Failure {
        Failure::new(Exit::Device, Problem::new(e.code(), &e))
    }
}

impl From<odc_format::FormatError> for Failure {
    fn from(e: odc_format::FormatError) -> Failure {
        Failure::new(Exit::Device, Problem::new(e.code(), &e))
    }
}

impl From<odc_runtime::RunError> for Failure {
    fn from(e: odc_runtime::RunError) -> Failure {
        use odc_runtime::RunError as R;
        let exit = match &e {
            R::MissingInputs { .. }
            | R::UnknownInput { .. }
            | R::DuplicateInput { .. }
            | R::WrongType { .. }
            | R::WrongRank { .. }
            | R::WrongShape { .. }
            | R::DimOutOfBounds { .. }
            | R::CheckFailed { .. }
            | R::DataLength { .. }
            | R::Misaligned { .. }
            | R::TooLarge { .. }
            | R::OutOfRange { .. } => Exit::Usage,
            R::OutOfMemory { .. } | R::BadPlan { .. } | R::Endless { .. } | R::Cancelled => Exit::Device,
        };
        let problem = Problem::new(e.code(), &e);
        Failure::new(
            exit,
            match e {
                R::Endless { .. } => problem.help("raise the limit with --iterations N"),
                R::Cancelled => problem.help("give it more time with --timeout SECONDS"),
                _ => problem,
            },
        )
    }
}

impl From<crate::CompileError> for Failure {
    fn from(e: crate::CompileError) -> Failure {
        match e {
            crate::CompileError::Import(list) => {
                // Sound, and it runs where shapes may change under way: only it cannot be finished beforehand.
                let sound = list.iter().all(|d| d.code == odc_onnx::Code::DataDependentShape);
                let exit = if sound { Exit::Compile } else { Exit::Import };
                Failure { exit, problems: list.into_iter().map(Problem::from).collect() }
            }
            crate::CompileError::Compile(problems) => Failure { exit: Exit::Compile, problems },
            crate::CompileError::Budget(p) => Failure::new(Exit::Budget, p),
        }
    }
}
