//! What an import can complain about: stable codes, the node concerned, what is wrong and what to do. Handlers return a
//! [`Fault`], which knows no node; the importer adds the node and collects every [`Diagnostic`] of a model.

use std::fmt;

macro_rules! codes {
    ($($(#[doc = $doc:literal])* $name:ident = $text:literal,)*) => {
        /// Stable codes of import diagnostics.
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
        pub enum Code { $($(#[doc = $doc])* $name),* }
        impl Code {
            pub const ALL: &'static [Code] = &[$(Code::$name),*];
            pub const fn as_str(self) -> &'static str { match self { $(Code::$name => $text),* } }
        }
    };
}

codes! {
    /// The file cannot be opened or is no regular file.
    Unreadable = "ODC0100",
    /// The bytes are no ONNX model.
    NotAModel = "ODC0101",
    /// The model names no opset, or one outside the supported range.
    Opset = "ODC0102",
    /// A tensor's data and its shape disagree.
    TensorData = "ODC0103",
    /// External data points out of the model's folder, or says nothing usable.
    ExternalPath = "ODC0104",
    /// An external data file is missing or too short.
    ExternalFile = "ODC0105",
    /// An element type that is not supported.
    UnsupportedType = "ODC0106",
    /// An operator that is not supported.
    UnsupportedOp = "ODC0110",
    /// An operator that is not supported in the opset version the model asks for.
    UnsupportedVersion = "ODC0111",
    /// An attribute is missing, has the wrong type or a value that its operator forbids.
    BadAttribute = "ODC0112",
    /// An attribute that the operator does not have.
    UnknownAttribute = "ODC0113",
    /// A valid use of an operator that is not supported.
    UnsupportedUse = "ODC0114",
    /// Too few or too many inputs or outputs.
    Arity = "ODC0115",
    /// Types or shapes of operands do not fit the operator.
    BadOperand = "ODC0116",
    /// An operand decides a shape but depends on data.
    DataDependentShape = "ODC0117",
    /// A comparison of sizes that the bounds of the dims do not decide.
    Undecided = "ODC0118",
    /// A name is used that nothing defines.
    UndefinedName = "ODC0120",
    /// A name is defined twice or empty.
    DuplicateName = "ODC0121",
    /// The nodes depend on each other in a circle.
    Cycle = "ODC0122",
    /// The model passes a limit of the importer.
    Limit = "ODC0123",
    /// A `--dim` option does not fit the model.
    BadDim = "ODC0124",
    /// A model-local function cannot be expanded.
    BadFunction = "ODC0125",
    /// An input or output of the graph has no usable type.
    BadSignature = "ODC0126",
    /// A `--fix` option does not fit the model.
    BadFix = "ODC0127",
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A problem before it is known at which node it is.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{code}: {message}")]
pub struct Fault {
    pub code: Code,
    pub message: String,
    pub help: Option<String>,
    /// Inputs of the model that would have to be known when compiling.
    pub inputs: Vec<String>,
    /// Dims of the model that would have to be.
    pub dims: Vec<OpenDim>,
}

/// A dim that has no value yet: its name, and an axis that has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpenDim {
    pub name: String,
    pub input: String,
    pub axis: usize,
}

impl Fault {
    pub fn new(code: Code, message: impl Into<String>) -> Fault {
        Fault { code, message: message.into(), help: None, inputs: vec![], dims: vec![] }
    }
    /// The problem goes away when these dims of the model have values.
    pub fn needs_dims(self, dims: Vec<OpenDim>) -> Fault {
        let Some(first) = dims.first() else { return self };
        let help = format!("fix it when compiling: --dim {}=N", first.name.escape_debug());
        Fault { help: Some(help), dims, ..self }
    }
    pub fn help(mut self, help: impl Into<String>) -> Fault {
        self.help = Some(help.into());
        self
    }
    /// The problem goes away when these inputs of the model get their values at compile time.
    pub fn fixable(self, inputs: Vec<String>) -> Fault {
        let Some(first) = inputs.first() else { return self };
        let help = format!("if its value is always the same, give it when compiling: --fix {}=VALUE", first.escape_debug());
        Fault { help: Some(help), inputs, ..self }
    }
    /// The diagnostic for a problem of the model as a whole.
    pub fn of_model(self) -> Diagnostic {
        Diagnostic { code: self.code, node: None, op: None, message: self.message, help: self.help, inputs: self.inputs, dims: self.dims }
    }
    pub fn at(self, node: &str, op: &str) -> Diagnostic {
        Diagnostic { node: Some(node.to_owned()), op: Some(op.to_owned()), ..self.of_model() }
    }
}

impl Diagnostic {
    /// As [`Fault::fixable`].
    pub fn fixable(self, inputs: Vec<String>) -> Diagnostic {
        let f = Fault { code: self.code, message: self.message, help: self.help, inputs: self.inputs, dims: self.dims }.fixable(inputs);
        Diagnostic { message: f.message, help: f.help, inputs: f.inputs, dims: f.dims, ..self }
    }
}

/// One problem of a model, ready to be shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostic {
    pub code: Code,
    /// The ONNX node's name (or its first output, when it has none).
    pub node: Option<String>,
    /// The operator, with its domain unless it is ai.onnx.
    pub op: Option<String>,
    pub message: String,
    pub help: Option<String>,
    /// Inputs of the model that would have to be known when compiling.
    pub inputs: Vec<String>,
    /// Dims of the model that would have to be.
    pub dims: Vec<OpenDim>,
}

impl fmt::Display for Diagnostic {
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

impl std::error::Error for Diagnostic {}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn codes_are_distinct_and_sorted() {
        let texts: Vec<_> = Code::ALL.iter().map(|c| c.as_str()).collect();
        assert!(texts.is_sorted());
        assert_eq!(texts.iter().collect::<BTreeSet<_>>().len(), texts.len());
        assert!(texts.iter().all(|t| t.starts_with("ODC01") && t.len() == 7));
    }

    #[test]
    fn a_diagnostic_says_where_and_what_to_do() {
        let d = Fault::new(Code::BadAttribute, "`group` is -3").help("use a positive count").at("/conv1", "Conv");
        assert_eq!(d.to_string(), "error[ODC0112] node `/conv1` (Conv): `group` is -3\n  help: use a positive count");
    }
}
