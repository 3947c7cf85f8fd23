//! Models as object files and archives in C programs: the generated header compiled with every warning, linked with the runtime's
//! static library, run at several shapes, and its outputs compared with a session of the same artifact to the bit.

use crate::carried_models::model;
use odc::host_tensor::HostTensor;
use odc::{Compiled, Options, pb};
use odc_format::DType;
use odc_onnx::proto::{
    DataType, DimValue, Dimension, GraphProto, ModelProto, NodeProto, OperatorSetIdProto, TensorProto, TensorShapeProto, TypeProto,
    ValueInfoProto, type_proto,
};
use odc_runtime::{Artifact, SessionOptions};
use odc_static::{ObjectFormat, archive, c_name, header, model_symbol, write_object};
use prost::Message;
use std::path::{Path, PathBuf};
use std::process::Command;

fn cc() -> Option<String> {
    let cc = std::env::var("CC").unwrap_or_else(|_| "cc".into());
    let there = Command::new(&cc).arg("--version").output().is_ok_and(|o| o.status.success());
    if !there || !cfg!(unix) {
        eprintln!("SKIPPED: no C compiler ({cc}) to link models with; set CC");
        return None;
    }
    Some(cc)
}

fn must(command: &mut Command) {
    let output = command.output().unwrap_or_else(|e| panic!("{command:?}: {e}"));
    let text = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{command:?}: {}\n{text}", output.status);
}

/// `libodc_c.a`, as its own tests build it.
fn library() -> PathBuf {
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().expect("target/tmp");
    must(
        Command::new(env!("CARGO")).args(["build", "--quiet", "-p", "odc-c", "--target-dir"]).arg(target).current_dir(crate::tidy::root()),
    );
    target.join("debug/libodc_c.a")
}

/// Runs the model on each `FILE dims…` of its arguments in one session; appends all outputs to OUT.
fn program(name: &str, manifest: &odc_format::Manifest) -> String {
    let macro_of = |kind: &str, tensor: &str| format!("ODC_{}_{kind}_{}", c_name(name).to_uppercase(), c_name(tensor).to_uppercase());
    let (input, output) = (macro_of("INPUT", &manifest.inputs[0].name), macro_of("OUTPUT", &manifest.outputs[0].name));
    let symbol = model_symbol(name);
    format!(
        r#"#include "{name}.h"
#include <stdio.h>
#include <stdlib.h>

#define OK(call)                                                       \
  do {{                                                                  \
    if (call) {{                                                         \
      fprintf(stderr, "%s: %s: %s\n", #call, error.code, error.message); \
      return 1;                                                        \
    }}                                                                   \
  }} while (0)

int main(int argc, char **argv) {{
  OdcError error;
  OdcArtifact *model;
  OdcSession *session;
  if (argc < 3) return 2;
  FILE *to = fopen(argv[2], "wb");
  if (!to) return 3;
  OK(odc_open_static(&{symbol}, &model, &error));
  OK(odc_verify_weights(model, &error));
  OK(odc_session_new(model, (size_t)atoi(argv[1]), &session, &error));
  for (int at = 3; at + {input}_RANK < argc; at += 1 + {input}_RANK) {{
    size_t shape[{input}_RANK], bytes = sizeof(float);
    for (int k = 0; k < {input}_RANK; k++) bytes *= shape[k] = (size_t)atoi(argv[at + 1 + k]);
    void *data = malloc(bytes);
    FILE *from = fopen(argv[at], "rb");
    if (!from || fread(data, 1, bytes, from) != bytes) return 4;
    fclose(from);
    OdcTensor in = {{{input}_DTYPE, {input}_RANK, shape, data, bytes}}, out;
    OK(odc_set_input_by_name(session, {input}_NAME, &in, &error));
    OK(odc_run(session, &error));
    OK(odc_get_output(session, {output}, &out, &error));
    if (out.dtype != {output}_DTYPE || out.rank != {output}_RANK) return 5;
    if (fwrite(out.data, 1, out.bytes, to) != out.bytes) return 6;
    free(data);
  }}
  odc_session_free(session);
  odc_artifact_free(model);
  return fclose(to) ? 7 : 0;
}}
"#
    )
}

/// Links the model in both forms and compares the C programs' outputs with a Rust session's; returns those.
fn check(cc: &str, name: &str, compiled: &Compiled, inputs: &[HostTensor]) -> Vec<HostTensor> {
    let dir = tempfile::tempdir().expect("a folder");
    let path = |file: &str| dir.path().join(file);
    let write = |file: &str, bytes: &[u8]| std::fs::write(path(file), bytes).expect("writes");
    let bytes = compiled.artifact_bytes().expect("an artifact");
    let manifest = compiled.manifest();
    let format = ObjectFormat::host();
    let object = write_object(&bytes, name, 0, format).expect("an object");
    write("m.o", &object);
    let mut forms = vec!["m.o"];
    if format == ObjectFormat::Elf {
        write("libm.a", &archive(&object, name, format).expect("an archive"));
        forms.push("libm.a");
    }
    write(&format!("{name}.h"), header(manifest, name, 0).as_bytes());
    write("main.c", program(name, manifest).as_bytes());

    let input = &manifest.inputs[0].name;
    let mut session = Artifact::from_bytes(bytes).expect("opens").session(SessionOptions::default()).expect("a session");
    let mut expected = vec![];
    for x in inputs {
        let outputs = session.run(&[(input, x.view())]).expect("runs");
        expected.push(HostTensor::from_view(&outputs.at(0).expect("an output")).expect("its bytes"));
    }
    let want: Vec<u8> = expected.iter().flat_map(|t| t.bytes().to_vec()).collect();
    for form in forms {
        let main = path(&format!("main-{form}"));
        let mut command = Command::new(cc);
        command.args(["-std=c99", "-Wall", "-Wextra", "-Werror", "-I"]).arg(crate::tidy::root().join("runtime/c/include"));
        command.arg("-I").arg(dir.path()).args([path("main.c"), path(form), library()]).arg("-o").arg(&main);
        must(command.args(["-lpthread", "-ldl", "-lm"]));
        for threads in ["1", "2"] {
            let mut run = Command::new(&main);
            run.arg(threads).arg(path("out"));
            for (k, x) in inputs.iter().enumerate() {
                write(&format!("in{k}"), x.bytes());
                run.arg(path(&format!("in{k}"))).args(x.shape.iter().map(usize::to_string));
            }
            must(&mut run);
            let got = std::fs::read(path("out")).expect("the program's output");
            assert!(!want.is_empty() && got == want, "{name} as {form}, {threads} threads: C gives other bytes than the session");
        }
    }
    expected
}

fn floats(shape: &[usize], data: &[f32]) -> HostTensor {
    let bytes: Vec<u8> = data.iter().flat_map(|x| x.to_le_bytes()).collect();
    HostTensor::new(DType::F32, shape.to_vec(), &bytes).expect("bytes for the shape")
}

/// Eighths from -1 to 1.
fn number(k: usize) -> f32 {
    ((k * 7 + 3) % 17) as f32 / 8.0 - 1.0
}

/// `relu(x a + b) c + d`, as ONNX and in plain Rust.
fn mlp() -> (Vec<u8>, impl Fn(&[f32]) -> Vec<f32>) {
    const SIZES: [usize; 3] = [5, 16, 3];
    let value = |name: &str, dims: &[DimValue]| {
        let dim = dims.iter().map(|d| Dimension { value: Some(d.clone()), ..Default::default() }).collect();
        let tensor = type_proto::Tensor { elem_type: Some(DataType::Float as i32), shape: Some(TensorShapeProto { dim }) };
        let ty = TypeProto { value: Some(type_proto::Value::TensorType(tensor)), ..Default::default() };
        ValueInfoProto { name: Some(name.into()), r#type: Some(ty), ..Default::default() }
    };
    let weight = |name: &str, dims: &[usize]| TensorProto {
        name: Some(name.into()),
        data_type: Some(DataType::Float as i32),
        dims: dims.iter().map(|&d| d as i64).collect(),
        float_data: (0..dims.iter().product()).map(number).collect(),
        ..Default::default()
    };
    let node = |op: &str, inputs: &[&str], output: &str| NodeProto {
        op_type: Some(op.into()),
        input: inputs.iter().map(ToString::to_string).collect(),
        output: vec![output.into()],
        ..Default::default()
    };
    let graph = GraphProto {
        name: Some("mlp".into()),
        input: vec![value("x in", &[DimValue::DimParam("batch".into()), DimValue::DimValue(SIZES[0] as i64)])],
        output: vec![value("y", &[DimValue::DimParam("batch".into()), DimValue::DimValue(SIZES[2] as i64)])],
        initializer: vec![weight("a", &SIZES[..2]), weight("b", &SIZES[1..2]), weight("c", &SIZES[1..]), weight("d", &SIZES[2..])],
        node: vec![node("Gemm", &["x in", "a", "b"], "h"), node("Relu", &["h"], "r"), node("Gemm", &["r", "c", "d"], "y")],
        ..Default::default()
    };
    let opset = OperatorSetIdProto { domain: None, version: Some(17) };
    let model = ModelProto { ir_version: Some(8), opset_import: vec![opset], graph: Some(graph), ..Default::default() };
    let layer = |x: &[f32], n: usize, m: usize| -> Vec<f32> {
        x.chunks(n).flat_map(|row| (0..m).map(move |j| (0..n).fold(number(j), |s, i| s + row[i] * number(i * m + j)))).collect()
    };
    let run = move |x: &[f32]| {
        let hidden: Vec<f32> = layer(x, SIZES[0], SIZES[1]).into_iter().map(|v| v.max(0.0)).collect();
        layer(&hidden, SIZES[1], SIZES[2])
    };
    (model.encode_to_vec(), run)
}

#[test]
fn an_mlp_in_c() {
    let Some(cc) = cc() else { return };
    let (model, reference) = mlp();
    let compiled = odc::compile_bytes(model, &Options::default()).expect("it compiles");
    let batches = [1usize, 7, 2];
    let data: Vec<Vec<f32>> = batches.iter().map(|n| (0..n * 5).map(|k| number(k * n)).collect()).collect();
    let inputs: Vec<_> = batches.iter().zip(&data).map(|(&n, x)| floats(&[n, 5], x)).collect();
    let outputs = check(&cc, "mlp", &compiled, &inputs);
    for (y, x) in outputs.iter().zip(&data) {
        let view = y.view();
        let (got, want) = (view.as_slice::<f32>().expect("floats"), reference(x));
        assert_eq!(got.len(), want.len());
        assert!(got.iter().zip(&want).all(|(a, b)| (a - b).abs() <= 1e-4), "{got:?} instead of {want:?}");
    }
}

#[test]
fn a_trained_model_in_c() {
    let Some(cc) = cc() else { return };
    let folder = model("ppocrv2_cls");
    let compiled = odc::compile(folder.join("model.onnx"), &Options::default()).expect("it compiles");
    let mut inputs = vec![];
    for set in pb::data_sets(&folder).expect("data sets") {
        inputs.push(pb::read_tensor(&set.inputs[0]).expect("an input").1);
    }
    assert_eq!(check(&cc, "ppocrv2_cls", &compiled, &inputs).len(), 2);
}
