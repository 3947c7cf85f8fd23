//! A smallest model of every operator, for any element type: `tests/samples/*.txt`, in a syntax near to that of ONNX's text form.
//! What is tried with all operators is tried with these.

use bytes::Bytes;
use odc_ir::core::{DType, Scalar, TensorValue};
use odc_onnx::proto::{
    AttributeProto, AttributeType, DataType, DimValue, Dimension, GraphProto, ModelProto, NodeProto, OperatorSetIdProto, TensorProto,
    TensorShapeProto, TypeProto, ValueInfoProto, type_proto,
};
use odc_onnx::{Model, OPSETS, external::External};

/// One operator in use.
#[derive(Clone, Debug)]
pub struct Sample {
    pub domain: &'static str,
    pub op: String,
    opset: i64,
    text: String,
}

impl Sample {
    /// In the order of the files.
    pub fn all() -> Vec<Sample> {
        let of = |domain| {
            let path = format!("{}/samples/{domain}.txt", env!("CARGO_MANIFEST_DIR"));
            let text = std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{path}: {e}"));
            lines(&text).into_iter().map(move |l| Sample::new(domain, &l))
        };
        ["ai.onnx", "ai.onnx.ml", "com.microsoft"].into_iter().flat_map(of).collect()
    }

    fn new(domain: &'static str, line: &str) -> Sample {
        let (text, named) = line.split_once(" # ").map_or((line, None), |(text, op)| (text, Some(op.to_owned())));
        let (text, opset) = match text.strip_prefix('@').and_then(|t| t.split_once(' ')) {
            Some((n, text)) => (text, n.parse().expect("an opset")),
            None => (text, *OPSETS.end()),
        };
        let mut s = Sample { domain, op: String::new(), opset, text: text.to_owned() };
        let last = s.graph(DType::F32).node.last().map(|n| n.op_type().to_owned());
        s.op = named.or(last).unwrap_or_default();
        s
    }

    /// Does its element type vary? Else any will do.
    pub fn varies(&self) -> bool {
        self.text.contains(":T[")
    }

    fn graph(&self, t: DType) -> GraphProto {
        let mut p = Parser { all: &self.text, rest: &self.text, t, domain: self.domain };
        let graph = p.graph();
        assert!(p.rest.trim().is_empty(), "sample `{}`: not understood from `{}` on", self.text, p.rest);
        graph
    }

    /// The model with `t` for `T`.
    pub fn model(&self, t: DType) -> Model {
        let set = |domain: &str, version| OperatorSetIdProto { domain: Some(domain.into()), version: Some(version) };
        let of_ml = if self.text.contains("TreeEnsemble(") { 5 } else { 3 };
        let opset_import = vec![set("", self.opset), set("ai.onnx.ml", of_ml), set("com.microsoft", 1)];
        let proto = ModelProto { ir_version: Some(13), opset_import, graph: Some(self.graph(t)), ..Default::default() };
        Model { proto, external: External::none() }
    }
}

/// Without comments; an indented line continues the one before.
fn lines(text: &str) -> Vec<String> {
    let mut out: Vec<String> = vec![];
    for l in text.lines().filter(|l| !l.starts_with('#')) {
        match out.last_mut() {
            Some(last) if l.starts_with(' ') => *last = format!("{last} {}", l.trim()),
            _ => out.push(l.to_owned()),
        }
    }
    out
}

struct Parser<'a> {
    all: &'a str,
    rest: &'a str,
    t: DType,
    domain: &'static str,
}

impl<'a> Parser<'a> {
    fn eat(&mut self, token: &str) -> bool {
        let rest = self.rest.trim_start().strip_prefix(token);
        self.rest = rest.unwrap_or(self.rest);
        rest.is_some()
    }
    fn expect(&mut self, token: &str) {
        assert!(self.eat(token), "sample `{}`: no `{token}` before `{}`", self.all, self.rest);
    }
    /// Letters, digits and what stands in numbers.
    fn word(&mut self) -> &'a str {
        let rest = self.rest.trim_start();
        let end = rest.find(|c: char| !(c.is_ascii_alphanumeric() || "_.-+".contains(c))).unwrap_or(rest.len());
        let (word, rest) = rest.split_at(end);
        self.rest = rest;
        word
    }
    fn list<T>(&mut self, end: &str, mut item: impl FnMut(&mut Self) -> T) -> Vec<T> {
        let mut out = vec![];
        while !self.eat(end) {
            out.push(item(self));
            self.eat(",");
        }
        out
    }
    fn quoted(&mut self) -> Bytes {
        let (text, rest) = self.rest.split_once('"').expect("a closing quote");
        self.rest = rest;
        Bytes::copy_from_slice(text.as_bytes())
    }

    /// `inputs | statements`, and what it gives if that is not all results of the last statement.
    fn graph(&mut self) -> GraphProto {
        let mut g = GraphProto { name: Some("sample".into()), ..Default::default() };
        while !self.eat("|") {
            let name = self.word().to_owned();
            self.expect(":");
            let (ty, dims) = self.tensor_type();
            if self.eat("=") {
                g.initializer.push(self.tensor(Some(name), ty, dims));
            } else {
                g.input.push(value(&name, ty, &dims));
            }
        }
        loop {
            g.node.push(self.node());
            if !self.eat(";") {
                break;
            }
        }
        let mut names = g.node.last().map(|n| n.output.clone()).unwrap_or_default();
        if self.eat("->") {
            names = vec![self.word().to_owned()];
            while self.eat(",") {
                names.push(self.word().to_owned());
            }
        }
        let named = names.into_iter().filter(|n| !n.is_empty());
        g.output = named.map(|n| ValueInfoProto { name: Some(n), ..Default::default() }).collect();
        g
    }

    fn node(&mut self) -> NodeProto {
        let name = |p: &mut Self| Some(p.word()).filter(|w| *w != "_").unwrap_or("").to_owned();
        let output = self.list("=", name);
        let op = self.word().to_owned();
        self.expect("(");
        let input = self.list(")", name);
        let attribute = if self.eat("{") { self.list("}", Self::attribute) } else { vec![] };
        let domain = Some(self.domain.into()).filter(|d| d != "ai.onnx");
        NodeProto { name: Some(format!("/{op}")), op_type: Some(op), domain, input, output, attribute, ..Default::default() }
    }

    fn tensor_type(&mut self) -> (DType, Vec<i64>) {
        let name = self.word();
        let ty = if name == "T" { Some(self.t) } else { DType::from_name(name) };
        self.expect("[");
        let dims = self.list("]", |p| p.word().parse().expect("a size"));
        (ty.unwrap_or_else(|| panic!("sample `{}`: no type is called `{name}`", self.all)), dims)
    }

    fn tensor(&mut self, name: Option<String>, ty: DType, dims: Vec<i64>) -> TensorProto {
        self.expect("[");
        if ty == DType::Str {
            // Where `T` is text, numbers are.
            let text = |p: &mut Self| if p.eat("\"") { p.quoted() } else { Bytes::copy_from_slice(p.word().as_bytes()) };
            let string_data = self.list("]", text);
            return TensorProto { name, dims, data_type: Some(number(ty)), string_data, ..Default::default() };
        }
        let data = self.list("]", |p| Scalar::Float(p.word().parse().expect("a number")).wrap(ty));
        let bytes = TensorValue::new(ty, vec![data.len()], data).expect("as many as there are").to_bytes();
        let bytes = match ty.bits() {
            // Several to a byte, the first lowest.
            bits @ (2 | 4) => {
                let pack = |c: &[u8]| c.iter().rev().fold(0, |byte, x| byte << bits | x & ((1 << bits) - 1));
                bytes.chunks(8 / bits as usize).map(pack).collect()
            }
            _ => bytes,
        };
        TensorProto { name, dims, data_type: Some(number(ty)), raw_data: Some(bytes.into()), ..Default::default() }
    }

    fn attribute(&mut self) -> AttributeProto {
        let mut a = AttributeProto { name: Some(self.word().into()), ..Default::default() };
        self.expect("=");
        let is_float = |w: &str| w.contains('.') || w.contains("e-");
        let ty = if self.eat("(") {
            a.g = Some(self.graph());
            self.expect(")");
            AttributeType::Graph
        } else if self.eat("\"") {
            a.s = Some(self.quoted());
            AttributeType::String
        } else if self.eat("[\"") {
            a.strings = vec![self.quoted()];
            self.eat(",");
            a.strings.extend(self.list("]", |p| {
                p.expect("\"");
                p.quoted()
            }));
            AttributeType::Strings
        } else if self.eat("[") {
            let words = self.list("]", Self::word);
            if words.iter().any(|w| is_float(w)) {
                a.floats = words.iter().map(|w| w.parse().expect("a number")).collect();
                AttributeType::Floats
            } else {
                a.ints = words.iter().map(|w| w.parse().expect("a number")).collect();
                AttributeType::Ints
            }
        } else {
            let before = self.rest;
            let word = self.word();
            if DType::from_name(word).is_some() {
                self.rest = before;
                let (ty, dims) = self.tensor_type();
                self.expect("=");
                a.t = Some(self.tensor(None, ty, dims));
                AttributeType::Tensor
            } else if is_float(word) {
                a.f = Some(word.parse().expect("a number"));
                AttributeType::Float
            } else {
                a.i = Some(word.parse().expect("a number"));
                AttributeType::Int
            }
        };
        a.r#type = Some(ty as i32);
        a
    }
}

/// ONNX's number of an element type.
fn number(ty: DType) -> i32 {
    let found = odc_onnx::support::element_types().into_iter().find(|(_, ours)| *ours == Some(ty.name()));
    found.and_then(|(onnx, _)| DataType::from_str_name(onnx)).expect("every element type is one of ONNX's") as i32
}

fn value(name: &str, ty: DType, dims: &[i64]) -> ValueInfoProto {
    let dim = |d: &i64| Dimension { value: Some(DimValue::DimValue(*d)), ..Default::default() };
    let shape = TensorShapeProto { dim: dims.iter().map(dim).collect() };
    let tensor = type_proto::Tensor { elem_type: Some(number(ty)), shape: Some(shape) };
    let ty = TypeProto { value: Some(type_proto::Value::TensorType(tensor)), ..Default::default() };
    ValueInfoProto { name: Some(name.into()), r#type: Some(ty), ..Default::default() }
}
