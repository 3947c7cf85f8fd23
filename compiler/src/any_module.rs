//! A module of whatever level its text says: what `odc opt` and file tests work on. The one place outside of the pipeline that
//! lists the levels.

use odc_ir::core::{
    Blobs, Const, Func, InterpError, Level, Module, ParseError, Parser, Sym, Symbol, TensorType, TensorValue, VerifyError, level_name,
    parse_module,
};
use odc_ir::{graph, loops, program, tensor};
use std::collections::BTreeMap;
use std::fmt;

#[derive(Clone, PartialEq, Debug)]
pub enum AnyModule {
    Graph(graph::Module),
    Tensor(tensor::Module),
    Loop(loops::Module),
    Program(program::Program),
}

impl AnyModule {
    pub fn parse(text: &str, blobs: Blobs<'_>) -> Result<Self, ParseError> {
        match level_name(text).as_deref() {
            Some("graph") => parse_module(text, blobs).map(AnyModule::Graph),
            Some("tensor") => parse_module(text, blobs).map(AnyModule::Tensor),
            Some("loop") => parse_module(text, blobs).map(AnyModule::Loop),
            Some("program") => program::parse_program(text, blobs).map(AnyModule::Program),
            _ => {
                let mut p = Parser::new(text);
                p.skip_space();
                Err(p.error("expected `graph`, `tensor`, `loop` or `program`"))
            }
        }
    }

    pub fn verify(&self) -> Vec<VerifyError> {
        match self {
            AnyModule::Graph(m) => graph::verify(m),
            AnyModule::Tensor(m) => tensor::verify(m),
            AnyModule::Loop(m) => loops::verify(m),
            AnyModule::Program(p) => {
                let error =
                    |e: program::ProgramError| VerifyError { func: p.name.clone(), op: e.at, loc: String::new(), message: e.message };
                program::verify_program(p).into_iter().map(error).collect()
            }
        }
    }

    pub fn level(&self) -> &'static str {
        match self {
            AnyModule::Graph(_) => "graph",
            AnyModule::Tensor(_) => "tensor",
            AnyModule::Loop(_) => "loop",
            AnyModule::Program(_) => "program",
        }
    }

    pub fn symbols(&self) -> &BTreeMap<Sym, Symbol> {
        match self {
            AnyModule::Graph(m) => &m.symbols,
            AnyModule::Tensor(m) => &m.symbols,
            AnyModule::Loop(m) => &m.symbols,
            AnyModule::Program(p) => &p.symbols,
        }
    }

    /// Names and types of the model's inputs; kernels have none.
    pub fn inputs(&self) -> Vec<(String, TensorType)> {
        fn of<L: Level<Type = TensorType>>(m: &Module<L>) -> Vec<(String, TensorType)> {
            let params = |f: &Func<L>| f.param_names.iter().cloned().zip(f.body.args.iter().map(|v| f.ty(*v).clone())).collect();
            m.main().map_or(vec![], params)
        }
        match self {
            AnyModule::Graph(m) => of(m),
            AnyModule::Tensor(m) => of(m),
            AnyModule::Loop(_) => vec![],
            AnyModule::Program(p) => p.inputs.iter().map(|i| (i.name.clone(), i.ty.clone())).collect(),
        }
    }

    pub fn consts(&self) -> &[Const] {
        match self {
            AnyModule::Graph(m) => &m.consts,
            AnyModule::Tensor(m) => &m.consts,
            AnyModule::Loop(m) => &m.consts,
            AnyModule::Program(p) => &p.consts,
        }
    }

    /// Is there an interpreter for it? Kernels alone compute no named results.
    pub fn can_run(&self) -> bool {
        match self {
            AnyModule::Graph(_) | AnyModule::Tensor(_) | AnyModule::Program(_) => true,
            AnyModule::Loop(_) => false,
        }
    }

    /// The results by name, by the level's interpreter.
    pub fn run(&self, inputs: &[(String, TensorValue)]) -> Result<Vec<(String, TensorValue)>, InterpError> {
        let named = |names: &[String], values: Vec<TensorValue>| names.iter().cloned().zip(values).collect();
        fn outputs<L: odc_ir::core::Level>(f: Option<&odc_ir::core::Func<L>>) -> Vec<String> {
            f.into_iter().flat_map(|f| f.outputs().map(|(name, _)| name.clone())).collect()
        }
        match self {
            AnyModule::Graph(m) => Ok(named(&outputs(m.main()), graph::interp::run(m, inputs)?)),
            AnyModule::Tensor(m) => Ok(named(&outputs(m.main()), tensor::interp::run(m, inputs)?)),
            AnyModule::Program(p) => {
                let names: Vec<String> = p.outputs.iter().map(|(port, _)| port.name.clone()).collect();
                Ok(named(&names, program::run(p, inputs)?))
            }
            AnyModule::Loop(_) => Err(InterpError::NoFunction),
        }
    }

    /// Values in order of appearance: passes leave gaps in their numbers, and text has none.
    pub fn renumber(&mut self) {
        match self {
            AnyModule::Graph(m) => m.funcs.iter_mut().for_each(|f| f.renumber()),
            AnyModule::Tensor(m) => m.funcs.iter_mut().for_each(|f| f.renumber()),
            AnyModule::Loop(m) => m.funcs.iter_mut().for_each(|f| f.renumber()),
            AnyModule::Program(p) => p.kernels.iter_mut().for_each(|f| f.renumber()),
        }
    }
}

impl fmt::Display for AnyModule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            AnyModule::Graph(m) => m.fmt(f),
            AnyModule::Tensor(m) => m.fmt(f),
            AnyModule::Loop(m) => m.fmt(f),
            AnyModule::Program(p) => p.fmt(f),
        }
    }
}
