//! Composed operators give the numbers of their definition: tiny models through the importer and the graph interpreter.

use crate::net::{Net, float, floats, int, ints, list, one, text};
use odc_ir::core::TensorValue;
use odc_onnx::Code;
use odc_onnx::proto::{AttributeProto, TensorProto};

/// All results of a model with the one input `x`.
#[track_caller]
pub fn run(net: &Net, shape: &[usize], x: &[f32]) -> Vec<TensorValue> {
    let m = net.module();
    let x = TensorValue::from_f32(shape, x).unwrap();
    odc_ir::graph::interp::run(&m, &[("x".into(), x)]).unwrap_or_else(|e| panic!("{e}\n{m}"))
}
#[track_caller]
pub fn close(got: &TensorValue, want: &[f64]) {
    let got = got.to_f64();
    assert!(got.len() == want.len() && got.iter().zip(want).all(|(a, b)| (a - b).abs() < 2e-4), "{got:?}\nis not\n{want:?}");
}
pub fn counted(n: usize) -> Vec<f32> {
    (0..n).map(|k| k as f32).collect()
}
fn mixed(n: usize) -> Vec<f32> {
    (0..n).map(|k| (k * 7 % 16) as f32).collect()
}
fn sizes(dims: &[usize]) -> Vec<String> {
    dims.iter().map(usize::to_string).collect()
}
/// `op` of `x` and constants, in numbers.
#[track_caller]
fn of(opset: i64, op: &str, shape: &[usize], x: &[f32], weights: Vec<TensorProto>, attribute: Vec<AttributeProto>) -> TensorValue {
    let dims = sizes(shape);
    let dims: Vec<&str> = dims.iter().map(String::as_str).collect();
    run(&one(opset, op, &dims, weights, attribute), shape, x).remove(0)
}
fn shaped(name: &str, dims: &[i64], data: &[i64]) -> TensorProto {
    TensorProto { dims: dims.to_vec(), ..ints(name, data) }
}

#[test]
fn pools_and_where_their_maxima_lie() {
    for (order, want) in [(0, [1.0, 2.0, 4.0, 2.0, 9.0, 11.0, 9.0, 11.0]), (1, [4.0, 8.0, 1.0, 8.0, 6.0, 14.0, 6.0, 14.0])] {
        let attrs = vec![list("kernel_shape", &[2, 2]), list("strides", &[1, 2]), list("pads", &[1, 0, 0, 1]), int("storage_order", order)];
        let net = Net::new(12).input("x", &["1", "1", "4", "4"]).node("MaxPool", &["x"], &["y", "i"], attrs).output("y").output("i");
        let all = run(&net, &[1, 1, 4, 4], &mixed(16));
        close(&all[0], &[7.0, 14.0, 12.0, 14.0, 15.0, 13.0, 15.0, 13.0]);
        close(&all[1], &want);
    }
    let lp = of(18, "LpPool", &[1, 1, 4, 4], &counted(16), vec![], vec![list("kernel_shape", &[2, 2]), int("p", 3)]);
    close(&lp, &[5.7489, 7.0473, 8.40612, 11.26623, 12.74452, 14.24402, 17.28694, 18.82386, 20.36818]);
    let attrs = vec![int("size", 3), float("alpha", 0.3), float("beta", 0.5), float("bias", 1.5)];
    let lrn = of(13, "LRN", &[1, 4, 1, 2], &[0.0, 7.0, 14.0, 5.0, 12.0, 3.0, 10.0, 1.0], vec![], attrs);
    let want = |x: f64, sum: f64| x / (1.5 + 0.1 * sum).sqrt();
    close(
        &lrn,
        &[0.0, want(7.0, 74.0), want(14.0, 340.0), want(5.0, 83.0), want(12.0, 440.0), want(3.0, 35.0), want(10.0, 244.0), want(1.0, 10.0)],
    );
    let net = |shape: &[i64]| {
        one(
            11,
            "MaxUnpool",
            &["1", "1", "1", "2"],
            vec![shaped("i", &[1, 1, 1, 2], &[2, 5]), ints("s", shape)],
            vec![list("kernel_shape", &[2, 2]), list("strides", &[2, 2])],
        )
    };
    // Two rows of four, then one more row.
    let mut want = [0.0; 12];
    (want[2], want[5]) = (8.0, 9.0);
    close(&run(&net(&[1, 1, 3, 4]), &[1, 1, 1, 2], &[8.0, 9.0])[0], &want);
}

#[test]
fn tables_of_taps() {
    let x = mixed(16);
    let resize = |mode: &str| {
        let w = vec![floats("r", &[0], &[]), floats("s", &[4], &[1.0, 1.0, 0.6, 0.8])];
        of(18, "Resize", &[1, 1, 4, 4], &x, w, vec![text("mode", mode), int("antialias", 1)])
    };
    close(&resize("linear"), &[4.73077, 8.41667, 7.25, 8.79487, 9.17593, 8.00926]);
    close(&resize("cubic"), &[4.46672, 8.93431, 7.52957, 9.77442, 9.05178, 7.50855]);
    let crop = vec![
        text("mode", "linear"),
        text("coordinate_transformation_mode", "tf_crop_and_resize"),
        float("extrapolation_value", 10.0),
        list("axes", &[2, 3]),
    ];
    let w = vec![floats("r", &[4], &[0.2, -0.1, 0.7, 1.1]), floats("s", &[0], &[]), ints("z", &[3, 3])];
    close(&of(18, "Resize", &[1, 1, 4, 4], &x, w, crop), &[10.0, 8.1, 10.0, 10.0, 7.9, 10.0, 10.0, 10.1, 10.0]);
    let policy = |p: &str| {
        let w = vec![floats("r", &[0], &[]), floats("s", &[0], &[]), ints("z", &[7, 8])];
        one(18, "Resize", &["1", "1", "2", "4"], w, vec![list("axes", &[2, 3]), text("keep_aspect_ratio_policy", p)]).result()
    };
    assert_eq!([policy("not_larger"), policy("not_smaller")], ["f32[1, 1, 4, 8]", "f32[1, 1, 7, 14]"]);
    let blocks = of(
        18,
        "Col2Im",
        &[1, 4, 9],
        &counted(36),
        vec![ints("i", &[5, 5]), ints("b", &[2, 2])],
        vec![list("strides", &[2, 2]), list("pads", &[1, 0, 0, 1])],
    );
    close(
        &blocks,
        &[
            18.0, 27.0, 19.0, 28.0, 20.0, 3.0, 12.0, 4.0, 13.0, 5.0, 21.0, 30.0, 22.0, 31.0, 23.0, 6.0, 15.0, 7.0, 16.0, 8.0, 24.0, 33.0,
            25.0, 34.0, 26.0,
        ],
    );
}

#[test]
fn reading_between_elements() {
    let grid = || floats("g", &[1, 1, 4, 2], &[-1.0, -1.0, 0.3, -0.2, 1.5, 0.9, -2.2, 1.1]);
    let cases = [
        ("linear", "zeros", 1, [0.0, 6.75, 3.6, 0.0]),
        ("linear", "border", 0, [0.0, 6.5, 15.0, 12.0]),
        ("linear", "reflection", 0, [0.0, 6.5, 14.5, 13.9]),
        ("linear", "reflection", 1, [0.0, 6.75, 13.65, 13.2]),
        ("nearest", "reflection", 1, [0.0, 6.0, 14.0, 14.0]),
        ("cubic", "zeros", 0, [-0.23438, 6.73768, -1.05525, 0.0]),
        ("cubic", "border", 0, [-0.46875, 6.68675, 15.441, 12.0]),
        ("cubic", "reflection", 0, [-0.9375, 6.68675, 15.22375, 14.494]),
    ];
    for (mode, padding, corners, want) in cases {
        let attrs = vec![text("mode", mode), text("padding_mode", padding), int("align_corners", corners)];
        close(&of(20, "GridSample", &[1, 1, 4, 4], &counted(16), vec![grid()], attrs), &want);
    }
    let identity = of(20, "AffineGrid", &[1, 2, 3], &[1.0, 0.0, 0.0, 0.0, 1.0, 0.5], vec![ints("s", &[1, 1, 2, 2])], vec![]);
    close(&identity, &[-0.5, 0.0, 0.5, 0.0, -0.5, 1.0, 0.5, 1.0]);
    let rois = || floats("r", &[2, 4], &[0.0, 0.0, 3.0, 3.0, -1.0, 0.5, 2.5, 9.0]);
    for (samples, want) in
        [(0, [1.5625, 3.0, 7.3125, 8.75, 3.92, 8.965, 0.0, 0.0]), (2, [1.5625, 3.0, 7.3125, 8.75, 4.0625, 9.25, 0.0, 0.0])]
    {
        let attrs = vec![int("output_height", 2), int("output_width", 2), int("sampling_ratio", samples)];
        close(&of(16, "RoiAlign", &[1, 1, 4, 4], &counted(16), vec![rois(), ints("b", &[0, 0])], attrs), &want);
    }
    let whole = of(
        1,
        "MaxRoiPool",
        &[1, 1, 4, 4],
        &mixed(16),
        vec![floats("r", &[1, 5], &[0.0, 1.0, 0.0, 3.0, 3.0])],
        vec![list("pooled_shape", &[2, 2])],
    );
    close(&whole, &[14.0, 14.0, 15.0, 13.0]);
    let mut offset = [0.0; 32];
    offset[..4].fill(0.5);
    offset[20..24].fill(-0.25);
    let w = vec![floats("w", &[1, 1, 2, 2], &[1.0, 2.0, 3.0, 4.0]), floats("o", &[1, 8, 2, 2], &offset)];
    close(&of(19, "DeformConv", &[1, 1, 3, 3], &counted(9), w, vec![]), &[26.25, 37.75, 54.0, 67.75]);
}

#[test]
fn ranks_and_running_sums() {
    let net = |largest| {
        let attrs = vec![int("largest", largest)];
        Net::new(11)
            .input("x", &["1", "6"])
            .weights([ints("k", &[4])])
            .node("TopK", &["x", "k"], &["v", "i"], attrs)
            .output("v")
            .output("i")
    };
    let x = [3.0, 1.0, 3.0, 2.0, 5.0, 3.0];
    let all = run(&net(1), &[1, 6], &x);
    close(&all[0], &[5.0, 3.0, 3.0, 3.0]);
    close(&all[1], &[4.0, 0.0, 2.0, 5.0]);
    let all = run(&net(0), &[1, 6], &x);
    close(&all[0], &[1.0, 2.0, 3.0, 3.0]);
    close(&all[1], &[1.0, 3.0, 0.0, 2.0]);
    // Long enough to go by blocks, and no multiple of them.
    let x: Vec<f32> = (0..300).map(|k| (k % 5) as f32).collect();
    for (exclusive, reverse) in [(0, 0), (1, 0), (0, 1), (1, 1)] {
        let got = of(14, "CumSum", &[300], &x, vec![shaped("a", &[], &[0])], vec![int("exclusive", exclusive), int("reverse", reverse)]);
        let want: Vec<f64> = (0..300usize)
            .map(|i| {
                (0..300usize)
                    .filter(|j| (if reverse == 1 { *j >= i } else { *j <= i }) && (exclusive == 0 || *j != i))
                    .map(|j| f64::from(x[j]))
                    .sum()
            })
            .collect();
        close(&got, &want);
    }
    let product =
        of(26, "CumProd", &[4], &[1.0, 2.0, 3.0, 4.0], vec![shaped("a", &[], &[0])], vec![int("exclusive", 1), int("reverse", 1)]);
    close(&product, &[24.0, 12.0, 4.0, 1.0]);
}

#[test]
fn spectra() {
    // 200 elements are split into two factors; a cosine and a sine have one line each.
    let wave = |k: usize| {
        (2.0 * std::f64::consts::PI * (3 * k) as f64 / 200.0).cos() + 2.0 * (2.0 * std::f64::consts::PI * (50 * k) as f64 / 200.0).sin()
    };
    let x: Vec<f32> = (0..200).map(|k| wave(k) as f32).collect();
    let got = of(20, "DFT", &[1, 200, 1], &x, vec![], vec![int("onesided", 1)]).to_f64();
    let mut want = vec![0.0; 202];
    (want[6], want[101]) = (100.0, -200.0);
    assert!(got.iter().zip(&want).all(|(a, b)| (a - b).abs() < 1e-2), "{got:?}");
    let back = Net::new(20)
        .input("x", &["1", "200", "1"])
        .node("DFT", &["x"], &["f"], vec![int("onesided", 1)])
        .node("DFT", &["f"], &["y"], vec![int("onesided", 1), int("inverse", 1)])
        .output("y");
    let again: Vec<f64> = x.iter().map(|v| f64::from(*v)).collect();
    close(&run(&back, &[1, 200, 1], &x)[0], &again);
    let frames = of(17, "STFT", &[1, 8, 1], &counted(8), vec![shaped("s", &[], &[2]), floats("w", &[4], &[1.0, 0.5, 0.5, 1.0])], vec![]);
    assert_eq!(frames.shape, [1, 3, 3, 2]);
    // The first frame 0, 0.5, 1, 3: its sum, its quarter turn, its alternating sum.
    close(&TensorValue::from_f64(frames.dtype, &[6], &frames.to_f64()[..6]).unwrap(), &[4.5, 0.0, -1.0, 2.5, -2.5, 0.0]);
    let hann = Net::new(17).weights([shaped("n", &[], &[4])]).node("HannWindow", &["n"], &["y"], vec![]).output("y").module();
    close(&odc_ir::graph::interp::run(&hann, &[]).unwrap()[0], &[0.0, 0.5, 1.0, 0.5]);
}

#[test]
fn matrices_grams_and_sequences() {
    let m = [2.0, -1.0, 0.0, 1.0, 3.0, 2.0, 0.0, 5.0, -4.0];
    close(&of(11, "Det", &[3, 3], &m, vec![], vec![]), &[-48.0]);
    close(&of(9, "EyeLike", &[2, 3], &[0.0; 6], vec![], vec![int("k", 1)]), &[0.0, 1.0, 0.0, 0.0, 0.0, 1.0]);
    close(&of(13, "Hardmax", &[2, 2], &[3.0, 3.0, 1.0, 2.0], vec![], vec![]), &[1.0, 0.0, 0.0, 1.0]);
    let turned = of(10, "ReverseSequence", &[3, 2], &counted(6), vec![ints("n", &[3, 2])], vec![]);
    close(&turned, &[4.0, 3.0, 2.0, 1.0, 0.0, 5.0]);
    let attrs = vec![
        text("mode", "TF"),
        int("min_gram_length", 1),
        int("max_gram_length", 2),
        int("max_skip_count", 1),
        list("ngram_counts", &[0, 4]),
        list("ngram_indexes", &[0, 1, 2, 3, 4, 5, 6]),
        list("pool_int64s", &[2, 3, 5, 4, 5, 6, 7, 8, 6, 7]),
    ];
    let grams = of(9, "TfIdfVectorizer", &[2, 6], &[1.0, 1.0, 3.0, 3.0, 3.0, 7.0, 8.0, 6.0, 7.0, 5.0, 6.0, 8.0], vec![], attrs);
    close(&grams, &[0.0, 3.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0, 0.0, 1.0, 0.0, 1.0]);
    let cache = of(
        24,
        "TensorScatter",
        &[1, 1, 4, 1],
        &[0.0; 4],
        vec![floats("u", &[1, 1, 2, 1], &[1.0, 2.0]), ints("w", &[3])],
        vec![text("mode", "circular")],
    );
    close(&cache, &[2.0, 0.0, 0.0, 1.0]);
}

#[test]
fn letters_with_dots_and_diagonals() {
    let net = |equation: &str, dims: &[i64]| {
        let attrs = vec![text("equation", equation)];
        let w = floats("w", dims, &counted(dims.iter().product::<i64>() as usize));
        Net::new(12).input("x", &["2", "2", "2"]).weights([w]).node("Einsum", &["x", "w"], &["y"], attrs).output("y")
    };
    // The two matrices [[0, 1], [2, 3]] and [[4, 5], [6, 7]], times the first.
    let x = counted(8);
    close(&run(&net("...ij,...jk->...ik", &[2, 2]), &[2, 2, 2], &x)[0], &[2.0, 3.0, 6.0, 11.0, 10.0, 19.0, 14.0, 27.0]);
    close(&run(&net("...ij,...jk", &[1, 2, 2]), &[2, 2, 2], &x)[0], &[2.0, 3.0, 6.0, 11.0, 10.0, 19.0, 14.0, 27.0]);
    close(&run(&net("...ii,j->...ij", &[2]), &[2, 2, 2], &x)[0], &[0.0, 0.0, 0.0, 3.0, 0.0, 4.0, 0.0, 7.0]);
}

#[test]
fn remainders_of_floats() {
    let y = vec![floats("d", &[4], &[3.0, -3.0, 3.0, f32::INFINITY])];
    close(&of(28, "Mod", &[4], &[-7.0, 7.0, 6.0, 5.0], y, vec![]), &[2.0, -2.0, 0.0, 5.0]);
}

#[test]
fn tables_have_an_end() {
    let huge = |sizes: &[i64]| {
        let w = vec![floats("r", &[0], &[]), floats("s", &[0], &[]), ints("z", sizes)];
        one(18, "Resize", &["1", "1", "4", "4"], w, vec![text("mode", "linear"), int("antialias", 1), list("axes", &[2, 3])])
    };
    assert_eq!(huge(&[1 << 40, 2]).codes(), [Code::UnsupportedUse]);
    let image = one(18, "Col2Im", &["1", "4", "9"], vec![ints("i", &[1 << 30, 1 << 30]), ints("b", &[1 << 30, 2])], vec![]);
    assert_eq!(image.codes(), [Code::UnsupportedUse]);
    assert_eq!(one(20, "DFT", &["1", "1000003", "1"], vec![], vec![]).codes(), [Code::UnsupportedUse]);
}

/// The generator is the same everywhere and forever: these are its first numbers, and they look random.
#[test]
fn random_numbers() {
    let net = |op: &str, extra: Vec<AttributeProto>| {
        let mut attrs = vec![list("shape", &[4000]), float("seed", 1.0)];
        attrs.extend(extra);
        Net::new(13).node(op, &[], &["y"], attrs).output("y").module()
    };
    let numbers = |m| odc_ir::graph::interp::run(&m, &[]).unwrap().remove(0).to_f64();
    let u = numbers(net("RandomUniform", vec![]));
    let mean = u.iter().sum::<f64>() / 4000.0;
    assert!((mean - 0.5).abs() < 0.02 && u.iter().all(|v| (0.0..1.0).contains(v)), "{mean}");
    assert_eq!(u, numbers(net("RandomUniform", vec![])));
    let n = numbers(net("RandomNormal", vec![float("mean", 3.0), float("scale", 2.0)]));
    let mean = n.iter().sum::<f64>() / 4000.0;
    let deviation = (n.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / 4000.0).sqrt();
    assert!((mean - 3.0).abs() < 0.1 && (deviation - 2.0).abs() < 0.1, "{mean} {deviation}");
}
