//! Random graphs, compiled and run: Cranelift's code, and GPU programs where there is a GPU, against the graph interpreter.

use crate::choices::Choices;
use crate::filetest::close;
use crate::generate::{self, inputs};
use crate::level::AnyModule;
use crate::pipeline;
use crate::samples::Sample;
use odc::Options;
use odc_format::Arch;
use odc_ir::core::{DType, TensorValue};
use odc_ir::graph;
use odc_runtime::{Artifact, SessionOptions};
use std::sync::OnceLock;

/// A random graph or an operator of ONNX: the interpreter's results and those of the compiled code by the runtime, with one thread
/// and two, at two sets of sizes in one session; with the feature `gpu` also by the GPU that is here.
pub fn differential(bytes: &[u8]) {
    let mut c = Choices::from_bytes(bytes);
    let of_onnx = c.chance(20);
    if let Err(e) = if of_onnx { compare_operator(&mut c) } else { compare(&mut c, &pipeline::optimised()) } {
        panic!("{e}");
    }
}

/// Some operator of ONNX with some element type.
fn compare_operator(c: &mut Choices) -> Result<(), String> {
    static SAMPLES: OnceLock<Vec<Sample>> = OnceLock::new();
    let s = c.pick(SAMPLES.get_or_init(Sample::all));
    compare_sample(s, *c.pick(DType::ALL), c)
}

/// An operator with this element type, if it takes it.
pub fn compare_sample(s: &Sample, t: DType, c: &mut Choices) -> Result<(), String> {
    match odc_onnx::import(&s.model(t), &odc_onnx::ImportOptions::default()) {
        Ok(m) => compare_module(&m, c, &pipeline::optimised()).map_err(|e| format!("{} of {t}: {e}\nmodule:\n{m}", s.op)),
        Err(_) => Ok(()),
    }
}

/// The differential test as a result: the text names the sizes and holds the module.
pub fn compare(c: &mut Choices, options: &Options) -> Result<(), String> {
    let m = generate::graph::module(c);
    compare_module(&m, c, options).map_err(|e| format!("{e}\nmodule:\n{m}"))
}

/// By its name: what runs compiled code.
type Runner<'m> = (String, Box<dyn FnMut(&Values) -> Result<Values, String> + 'm>);
type Values = Vec<(String, TensorValue)>;

pub fn compare_module(m: &graph::Module, c: &mut Choices, options: &Options) -> Result<(), String> {
    let any = AnyModule::Graph(m.clone());
    let params = any.inputs();
    let types: Vec<_> = m.main().map_or(vec![], |f| f.body.yields.iter().map(|v| f.ty(*v).dtype).collect());
    let mut runners = on_cpu(m, &types, options)?;
    #[cfg(feature = "gpu")]
    runners.extend(on_gpu(m, &types, c, options)?);
    for _ in 0..2 {
        let binding = inputs::binding(c, &m.symbols);
        let given = inputs::inputs(c, &params, &binding).map_err(|e| e.to_string())?;
        let expected = any.run(&given).map_err(|e| format!("the interpreter: {e}"))?;
        for (name, run) in &mut runners {
            let at = |e: String| format!("{e}, {name} at {binding:?}");
            let got = run(&given).map_err(at)?;
            if got.len() != expected.len() {
                return Err(at(format!("{} results instead of {}", got.len(), expected.len())));
            }
            for ((name, x), (_, y)) in got.iter().zip(&expected) {
                close(x, y).map_err(|e| at(format!("`{name}`: {e}")))?;
            }
        }
    }
    Ok(())
}

fn on_cpu<'m>(m: &graph::Module, types: &'m [DType], options: &Options) -> Result<Vec<Runner<'m>>, String> {
    if Arch::host().is_none() {
        return Ok(vec![]);
    }
    let artifact = Artifact::from_bytes(pipeline::compile(m, "cpu", options)?).map_err(|e| format!("load: {e}"))?;
    let runner = |threads| {
        let mut session = artifact.session(SessionOptions::threads(threads)).map_err(|e| e.to_string())?;
        let run = move |given: &Values| pipeline::run(&mut session, given, types);
        Ok((format!("with {threads} threads"), Box::new(run) as Box<_>))
    };
    [1, 2].map(runner).into_iter().collect()
}

/// As WGSL or as SPIR-V, if there is a GPU and the graph is one that GPUs can run.
#[cfg(feature = "gpu")]
fn on_gpu<'m>(m: &graph::Module, types: &'m [DType], c: &mut Choices, options: &Options) -> Result<Option<Runner<'m>>, String> {
    let language = *c.pick(&["spirv", "wgsl"]);
    if !crate::gpu::is_here() {
        return Ok(None);
    }
    let artifact = match pipeline::compile(m, language, options) {
        Ok(artifact) => artifact,
        // What GPUs do not have is refused.
        Err(e) if ["ODC0310", "ODC0311", "ODC0313"].iter().any(|code| e.contains(code)) => return Ok(None),
        Err(e) => return Err(e),
    };
    let mut session = crate::gpu::session(artifact)?;
    Ok(Some((format!("as {language}"), Box::new(move |given| crate::gpu::run(&mut session, given, types)))))
}
