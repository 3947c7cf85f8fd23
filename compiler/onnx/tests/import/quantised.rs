//! Quantised operators and element types of a byte and less, evaluated by the graph interpreter.

use crate::net::{Net, float, floats, int, list, one, text};
use odc_ir::core::{DType, Scalar, TensorValue};
use odc_ir::graph::{Module, interp};
use odc_onnx::Code;
use odc_onnx::proto::{DataType, TensorProto};

fn raw(name: &str, ty: DataType, dims: &[i64], data: Vec<u8>) -> TensorProto {
    let data_type = Some(ty as i32);
    TensorProto { name: Some(name.into()), data_type, dims: dims.to_vec(), raw_data: Some(data.into()), ..Default::default() }
}

fn run(m: &Module, inputs: &[(&str, TensorValue)]) -> TensorValue {
    let inputs: Vec<_> = inputs.iter().map(|(n, v)| (n.to_string(), v.clone())).collect();
    interp::run(m, &inputs).unwrap().remove(0)
}

fn bytes(shape: &[usize], data: &[i64]) -> TensorValue {
    TensorValue::from_ints(DType::U8, shape, data).unwrap()
}

#[test]
fn packed_weights_stay_packed() {
    let (rows, columns) = (64, 127);
    let data: Vec<u8> = (0..(rows * columns) / 2).map(|k| (k * 37 % 256) as u8).collect();
    let scale = floats("s", &[1], &[0.5]);
    for (ty, of) in [(DataType::Int4, DType::I4), (DataType::Uint4, DType::U4), (DataType::Float4e2m1, DType::F4E2M1)] {
        let w = raw("w", ty, &[rows, columns], data.clone());
        let net = Net::new(25).input("x", &["2", "64"]).weights([w, scale.clone()]);
        let net = net.node("DequantizeLinear", &["w", "s"], &["d"], vec![]).node("MatMul", &["x", "d"], &["y"], vec![]).output("y");
        let m = net.module();
        let largest = m.consts.iter().map(|c| c.bytes.len()).max().unwrap();
        assert_eq!(largest, data.len(), "{ty:?}\n{m}");
        let x = TensorValue::from_fn(DType::F32, &[2, 64], |i| Scalar::Float((i[0] * 3 + i[1] % 5) as f64)).unwrap();
        let y = run(&m, &[("x", x.clone())]);
        let weight = |k: usize| {
            let code = data[k / 2] >> (4 * (k % 2)) & 15;
            Scalar::read(of, &[code]).unwrap().as_f64() * 0.5
        };
        for (k, got) in y.data.iter().enumerate() {
            let (i, j) = (k / columns as usize, k % columns as usize);
            let want: f64 = (0..64).map(|d| x.get(&[i, d]).unwrap().as_f64() * weight(d * columns as usize + j)).sum();
            assert_eq!(got.as_f64(), want, "{ty:?} at {i}, {j}");
        }
    }
}

/// Of depth `k` with all factors as large as they get, the sum beyond what f32 holds.
#[test]
fn integer_products_are_exact() {
    for (k, parts) in [(100, 1), (1000, 2), (8192, 0)] {
        let mut w = vec![0x7f; k * 2];
        w[1] = 0x80;
        let w = raw("w", DataType::Int8, &[k as i64, 2], w);
        let k_text = k.to_string();
        let net = Net::new(13).typed("x", DataType::Uint8, &["1", &k_text]).weights([w]);
        let m = net.node("MatMulInteger", &["x", "w"], &["y"], vec![]).output("y").module();
        let text = m.to_string();
        assert_eq!(text.matches("matmul").count(), parts.max(1), "{text}");
        assert_eq!(text.contains(": f32["), parts > 0, "{text}");
        let y = run(&m, &[("x", TensorValue::from_fn(DType::U8, &[1, k], |_| Scalar::Int(255)).unwrap())]);
        assert_eq!(y.to_i64(), [k as i64 * 255 * 127, (k as i64 - 1) * 255 * 127 - 255 * 128]);
    }
}

#[test]
fn a_quantised_convolution() {
    let weights = [
        floats("xs", &[], &[0.5]),
        raw("xz", DataType::Uint8, &[], vec![10]),
        raw("w", DataType::Int8, &[2, 1, 1, 2], vec![1, 2, 0xff, 3]),
        floats("ws", &[2], &[0.25, 0.5]),
        raw("wz", DataType::Int8, &[2], vec![0, 1]),
        floats("ys", &[], &[0.5]),
        raw("yz", DataType::Uint8, &[], vec![100]),
        raw("b", DataType::Int32, &[2], [7i32, -5].iter().flat_map(|x| x.to_le_bytes()).collect()),
    ];
    let names = ["x", "xs", "xz", "w", "ws", "wz", "ys", "yz", "b"];
    let net = Net::new(13).typed("x", DataType::Uint8, &["1", "1", "1", "3"]).weights(weights);
    let m = net.node("QLinearConv", &names, &["y"], vec![list("pads", &[0, 1, 0, 0])]).output("y").module();
    let y = run(&m, &[("x", bytes(&[1, 1, 1, 3], &[10, 20, 0]))]);
    // x - 10 = [0, 10, -10] behind a zero; w - z = [1, 2] and [-2, 2]; times 1/4 and 1/2, halves to even, plus 100.
    assert_eq!(y.to_i64(), [102, 107, 99, 98, 108, 78]);
}

#[test]
fn blocks_that_do_not_divide_the_axis() {
    let weights = [floats("s", &[3], &[1.0, 10.0, 100.0])];
    let m =
        one(21, "QuantizeLinear", &["5"], weights.to_vec(), vec![int("axis", 0), int("block_size", 2), int("output_dtype", 3)]).module();
    let x = TensorValue::from_f32(&[5], &[1.5, 2.5, 35.0, -45.0, 1e6]).unwrap();
    assert_eq!(run(&m, &[("x", x)]).to_i64(), [2, 2, 4, -4, 127]);
    let bad = one(21, "QuantizeLinear", &["4"], vec![floats("s", &[3], &[1.0; 3])], vec![int("axis", 0)]);
    assert_eq!(bad.codes(), [Code::BadOperand]);
}

#[test]
fn casts_that_do_not_saturate() {
    let cast = |to: DataType, more: Vec<_>, x: &[f32]| {
        let attrs = [int("to", to as i64)].into_iter().chain(more).collect();
        let m = one(25, "Cast", &[&x.len().to_string()], vec![], attrs).module();
        run(&m, &[("x", TensorValue::from_f32(&[x.len()], x).unwrap())]).to_f32()
    };
    let x = [464.0, 465.0, -f32::INFINITY, -1.0];
    let y = cast(DataType::Float8e4m3fn, vec![int("saturate", 0)], &x);
    assert_eq!((y[0], y[3], y[1].is_nan(), y[2].is_nan()), (448.0, -1.0, true, true));
    let y = cast(DataType::Float8e5m2, vec![int("saturate", 0)], &[61439.0, 61440.0, -1e9, f32::NAN]);
    assert_eq!((&y[..3], y[3].is_nan()), (&[57344.0, f32::INFINITY, -f32::INFINITY][..], true));
    assert_eq!(cast(DataType::Float8e5m2, vec![], &[61440.0, -f32::INFINITY]), [57344.0, -57344.0]);

    let x = [1.0, 1.25, 1.5, 3.0, 1e-40];
    assert_eq!(cast(DataType::Float8e8m0, vec![], &x)[..4], [1.0, 2.0, 2.0, 4.0]);
    assert_eq!(cast(DataType::Float8e8m0, vec![text("round_mode", "down")], &x)[..4], [1.0, 1.0, 1.0, 2.0]);
    assert_eq!(cast(DataType::Float8e8m0, vec![text("round_mode", "nearest")], &x)[..4], [1.0, 1.0, 2.0, 4.0]);
    let y = cast(DataType::Float8e8m0, vec![int("saturate", 0)], &[0.0, 2.0, f32::MAX]);
    assert_eq!((y[0].is_nan(), y[1], y[2].is_nan()), (true, 2.0, true));
}

#[test]
fn operators_of_com_microsoft() {
    let point = |name: &str, z: u8| raw(name, DataType::Uint8, &[], vec![z]);
    let weights = vec![floats("s", &[], &[0.5]), point("z", 1), floats("t", &[], &[0.25]), point("u", 2)];
    let run_one = |op: &str, inputs: &[&str], attrs: Vec<_>, x: &[i64]| {
        let mut net = Net::new(13).typed("x", DataType::Uint8, &["1", &x.len().to_string()]).weights(weights.clone());
        net.model.opset_import.push(odc_onnx::proto::OperatorSetIdProto { domain: Some("com.microsoft".into()), version: Some(1) });
        net = net.node(op, inputs, &["y"], attrs).output("y");
        net.graph().node[0].domain = Some("com.microsoft".into());
        run(&net.module(), &[("x", bytes(&[1, x.len()], x))]).to_i64()
    };
    // (x - 1) / 2 is the number; in quarters it is 2 (x - 1), of sums and products of itself.
    assert_eq!(run_one("QLinearAdd", &["x", "s", "z", "x", "s", "z", "t", "u"], vec![], &[1, 2, 0, 200]), [2, 6, 0, 255]);
    assert_eq!(run_one("QLinearMul", &["x", "s", "z", "x", "s", "z", "t", "u"], vec![], &[1, 2, 0, 5]), [2, 3, 3, 18]);
    assert_eq!(run_one("QLinearLeakyRelu", &["x", "s", "z", "t", "u"], vec![float("alpha", 0.5)], &[1, 0, 3]), [2, 1, 6]);
    assert_eq!(run_one("QLinearConcat", &["t", "u", "x", "s", "z", "x", "t", "u"], vec![int("axis", 1)], &[1, 3]), [2, 6, 1, 3]);
}
