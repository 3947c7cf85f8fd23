//! A model in a few lines, and its graph IR as lines to compare with.

use odc_ir::core::{DType, TensorValue};
use odc_ir::graph::Module;
use odc_onnx::proto::{
    AttributeProto, AttributeType, DataType, DimValue, Dimension, GraphProto, ModelProto, NodeProto, OperatorSetIdProto, TensorProto,
    TensorShapeProto, TypeProto, ValueInfoProto, type_proto,
};
use odc_onnx::{Code, Diagnostic, ImportOptions, Model, import};
use prost::Message;

pub struct Net {
    pub model: ModelProto,
    pub options: ImportOptions,
}

fn strings(v: &[&str]) -> Vec<String> {
    v.iter().map(|s| s.to_string()).collect()
}

pub fn value(name: &str, ty: DataType, dims: &[&str]) -> ValueInfoProto {
    let dim = |d: &&str| {
        let value = match d.parse::<i64>() {
            Ok(v) => DimValue::DimValue(v),
            Err(_) => DimValue::DimParam(d.to_string()),
        };
        Dimension { value: (!d.is_empty()).then_some(value), ..Default::default() }
    };
    let shape = TensorShapeProto { dim: dims.iter().map(dim).collect() };
    let tensor = type_proto::Tensor { elem_type: Some(ty as i32), shape: Some(shape) };
    let ty = TypeProto { value: Some(type_proto::Value::TensorType(tensor)), ..Default::default() };
    ValueInfoProto { name: Some(name.into()), r#type: Some(ty), ..Default::default() }
}

pub fn ints(name: &str, data: &[i64]) -> TensorProto {
    let (ty, dims) = (Some(DataType::Int64 as i32), vec![data.len() as i64]);
    TensorProto { name: Some(name.into()), data_type: ty, dims, int64_data: data.to_vec(), ..Default::default() }
}
pub fn floats(name: &str, dims: &[i64], data: &[f32]) -> TensorProto {
    let ty = Some(DataType::Float as i32);
    TensorProto { name: Some(name.into()), data_type: ty, dims: dims.to_vec(), float_data: data.to_vec(), ..Default::default() }
}
/// A weight of zeros, too large to be worked with at import.
pub fn weight(name: &str, dims: &[i64]) -> TensorProto {
    floats(name, dims, &vec![0.0; dims.iter().product::<i64>() as usize])
}
pub fn node(op: &str, inputs: &[&str], outputs: &[&str], attribute: Vec<AttributeProto>) -> NodeProto {
    let name = Some(format!("/{op}"));
    NodeProto { name, op_type: Some(op.into()), input: strings(inputs), output: strings(outputs), attribute, ..Default::default() }
}

pub fn attr(name: &str, ty: AttributeType) -> AttributeProto {
    AttributeProto { name: Some(name.into()), r#type: Some(ty as i32), ..Default::default() }
}
pub fn int(name: &str, i: i64) -> AttributeProto {
    AttributeProto { i: Some(i), ..attr(name, AttributeType::Int) }
}
pub fn float(name: &str, f: f32) -> AttributeProto {
    AttributeProto { f: Some(f), ..attr(name, AttributeType::Float) }
}
pub fn list(name: &str, ints: &[i64]) -> AttributeProto {
    AttributeProto { ints: ints.to_vec(), ..attr(name, AttributeType::Ints) }
}
pub fn text(name: &str, s: &str) -> AttributeProto {
    AttributeProto { s: Some(s.to_owned().into()), ..attr(name, AttributeType::String) }
}
pub fn words(name: &str, v: &[&str]) -> AttributeProto {
    let strings = v.iter().map(|s| s.as_bytes().to_vec().into()).collect();
    AttributeProto { strings, ..attr(name, AttributeType::Strings) }
}

impl Net {
    pub fn new(opset: i64) -> Net {
        let set = OperatorSetIdProto { domain: None, version: Some(opset) };
        let graph = GraphProto { name: Some("net".into()), ..Default::default() };
        let model = ModelProto { opset_import: vec![set], graph: Some(graph), ..Default::default() };
        Net { model, options: ImportOptions::default() }
    }
    pub fn graph(&mut self) -> &mut GraphProto {
        self.model.graph.as_mut().unwrap()
    }
    pub fn input(mut self, name: &str, dims: &[&str]) -> Net {
        self.graph().input.push(value(name, DataType::Float, dims));
        self
    }
    pub fn typed(mut self, name: &str, ty: DataType, dims: &[&str]) -> Net {
        self.graph().input.push(value(name, ty, dims));
        self
    }
    pub fn weights(mut self, list: impl IntoIterator<Item = TensorProto>) -> Net {
        self.graph().initializer.extend(list);
        self
    }
    pub fn node(mut self, op: &str, inputs: &[&str], outputs: &[&str], attribute: Vec<AttributeProto>) -> Net {
        self.graph().node.push(node(op, inputs, outputs, attribute));
        self
    }
    /// The last node is of another domain.
    pub fn of_domain(mut self, domain: &str) -> Net {
        self.model.opset_import.push(OperatorSetIdProto { domain: Some(domain.into()), version: Some(1) });
        if let Some(n) = self.graph().node.last_mut() {
            n.domain = Some(domain.into());
        }
        self
    }
    pub fn output(mut self, name: &str) -> Net {
        self.graph().output.push(ValueInfoProto { name: Some(name.into()), ..Default::default() });
        self
    }
    pub fn dim(mut self, name: &str, value: &str) -> Net {
        self.options.dims.insert(name.into(), value.into());
        self
    }
    pub fn import(&self) -> Result<Module, Vec<Diagnostic>> {
        import(&Model::from_bytes(self.model.encode_to_vec()).unwrap(), &self.options)
    }

    /// The operations without constants and locations, as text; values numbered as in the module.
    #[track_caller]
    pub fn body(&self) -> Vec<String> {
        let m = self.module();
        let all = m.to_string();
        let inside = all.lines().skip_while(|l| !l.trim_start().starts_with("func")).skip(1);
        let line = |l: &str| l.split(" loc(").next().unwrap_or("").trim().to_owned();
        inside.map(line).filter(|l| !l.contains(" = constant ") && !l.starts_with(['}', 'y'])).collect()
    }
    #[track_caller]
    pub fn module(&self) -> Module {
        let m = match self.import() {
            Ok(m) => m,
            Err(all) => panic!("{}", all.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")),
        };
        let broken = odc_ir::graph::verify(&m);
        assert!(broken.is_empty(), "{broken:?}\n{m}");
        m
    }
    /// Type of the only output.
    #[track_caller]
    pub fn result(&self) -> String {
        let m = self.module();
        let f = m.main().unwrap();
        f.ty(f.body.yields[0]).to_string()
    }
    /// The parameters' types.
    #[track_caller]
    pub fn params(&self) -> Vec<String> {
        let m = self.module();
        let f = m.main().unwrap();
        f.body.args.iter().map(|v| f.ty(*v).to_string()).collect()
    }
    #[track_caller]
    pub fn codes(&self) -> Vec<Code> {
        self.import().unwrap_err().iter().map(|d| d.code).collect()
    }
    #[track_caller]
    pub fn error(&self) -> String {
        self.import().unwrap_err().iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
    }
}

/// One node with one data input `x` and constants, from `x` to `y`.
pub fn one(opset: i64, op: &str, dims: &[&str], weights: Vec<TensorProto>, attribute: Vec<AttributeProto>) -> Net {
    let names: Vec<String> = weights.iter().map(|w| w.name().to_owned()).collect();
    let inputs: Vec<&str> = std::iter::once("x").chain(names.iter().map(String::as_str)).collect();
    Net::new(opset).input("x", dims).weights(weights).node(op, &inputs, &["y"], attribute).output("y")
}

/// Numbers to run with: a short sequence that repeats, from a place of one's own.
pub fn ramp(k: usize, shape: &[usize]) -> TensorValue {
    let n = shape.iter().product::<usize>();
    let data: Vec<f32> = (0..n).map(|i| (((i * 7 + k * 3) % 11) as f32 - 5.0) / 4.0).collect();
    TensorValue::from_f32(shape, &data).unwrap()
}

/// One node with all of its inputs at run time, `None` for those left out, by the interpreter: the first `n` outputs.
#[track_caller]
pub fn run_one(opset: i64, op: &str, inputs: &[Option<TensorValue>], attribute: Vec<AttributeProto>, n: usize) -> Vec<TensorValue> {
    run_in("", Net::new(opset), op, inputs, attribute, n)
}
#[track_caller]
pub fn run_microsoft(op: &str, inputs: &[Option<TensorValue>], attribute: Vec<AttributeProto>, n: usize) -> Vec<TensorValue> {
    run_in("com.microsoft", Net::new(17), op, inputs, attribute, n)
}
#[track_caller]
pub fn run_in(
    domain: &str,
    mut net: Net,
    op: &str,
    inputs: &[Option<TensorValue>],
    attribute: Vec<AttributeProto>,
    n: usize,
) -> Vec<TensorValue> {
    let names: Vec<String> = (0..inputs.len()).map(|k| if inputs[k].is_some() { format!("x{k}") } else { String::new() }).collect();
    let outputs: Vec<String> = (0..n).map(|k| format!("y{k}")).collect();
    let mut given = vec![];
    for (name, v) in names.iter().zip(inputs) {
        let Some(v) = v else { continue };
        let ty = match v.dtype {
            DType::F32 => DataType::Float,
            DType::I64 => DataType::Int64,
            DType::I32 => DataType::Int32,
            DType::Bool => DataType::Bool,
            DType::U8 => DataType::Uint8,
            other => panic!("{other}"),
        };
        let dims: Vec<String> = v.shape.iter().map(ToString::to_string).collect();
        net = net.typed(name, ty, &dims.iter().map(String::as_str).collect::<Vec<_>>());
        given.push((name.clone(), v.clone()));
    }
    let [i, o] = [&names, &outputs].map(|v| v.iter().map(String::as_str).collect::<Vec<_>>());
    net = net.node(op, &i, &o, attribute);
    if !domain.is_empty() {
        net = net.of_domain(domain);
    }
    for name in &outputs {
        net = net.output(name);
    }
    odc_ir::graph::interp::run(&net.module(), &given).unwrap()
}

#[track_caller]
pub fn close(got: &TensorValue, want: &[f32]) {
    let want = TensorValue::from_f32(&got.shape, want).unwrap();
    odc_ir::core::assert_close(got, &want, 1e-4, 1e-4).unwrap();
}
