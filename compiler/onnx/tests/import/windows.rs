//! Convolutions, pooling and resizing: sizes, padding, attributes.

use crate::net::{Net, floats, int, list, one, text, weight};
use odc_onnx::Code;

fn conv(dims: &[&str], kernel: &[i64], attrs: Vec<odc_onnx::proto::AttributeProto>) -> Net {
    one(13, "Conv", dims, vec![weight("w", kernel)], attrs)
}

#[test]
fn convolution_sizes() {
    let attrs = || vec![list("strides", &[2, 2]), list("pads", &[1, 1, 1, 1])];
    assert_eq!(conv(&["n", "3", "h", "w"], &[16, 3, 3, 3], attrs()).result(), "f32[n, 16, floordiv(h + 1, 2), floordiv(w + 1, 2)]");
    assert_eq!(conv(&["1", "3", "32", "33"], &[16, 3, 3, 3], attrs()).result(), "f32[1, 16, 16, 17]");
    assert_eq!(conv(&["1", "4", "10"], &[8, 1, 3], vec![int("group", 4), list("dilations", &[2])]).result(), "f32[1, 8, 6]");
    let valid = vec![text("auto_pad", "VALID")];
    assert_eq!(conv(&["1", "3", "8", "8"], &[4, 3, 3, 3], valid).result(), "f32[1, 4, 6, 6]");
}

#[test]
fn same_padding() {
    let same = |upper: bool| vec![text("auto_pad", if upper { "SAME_UPPER" } else { "SAME_LOWER" }), list("strides", &[2, 2])];
    let body = conv(&["1", "3", "8", "7"], &[4, 3, 3, 3], same(true)).body();
    assert_eq!(body, ["%2 = conv {strides = [2, 2], pads = [0, 1, 1, 1], dilations = [1, 1], group = 1} %0, %1 : f32[1, 4, 4, 4]"]);
    let body = conv(&["1", "3", "8", "7"], &[4, 3, 3, 3], same(false)).body();
    assert!(body[0].contains("pads = [1, 1, 0, 1]"), "{body:?}");
    // How much is a question of the size: padded by an operation of its own.
    let body = conv(&["1", "3", "h", "8"], &[4, 3, 3, 3], same(true)).body();
    assert_eq!(body.len(), 2, "{body:?}");
    assert!(body[0].contains("pad {mode = constant"));
    // 2x2 with stride 2: nothing in front, whatever the size.
    let attrs = vec![list("kernel_shape", &[2, 2]), list("strides", &[2, 2]), text("auto_pad", "SAME_UPPER")];
    let body = one(12, "MaxPool", &["1", "3", "h", "w"], vec![], attrs).body();
    assert!(body[0].contains("pads = [0, 0, 0, 0]") && body[0].contains("[1, 3, floordiv(h + 1, 2), floordiv(w + 1, 2)]"), "{body:?}");
}

#[test]
fn attributes_are_checked() {
    let e = conv(&["1", "4", "8"], &[4, 4, 3], vec![int("group", -3)]).error();
    assert!(e.starts_with("error[ODC0112] node `/Conv` (Conv): attribute `group` must be a positive int, is -3"), "{e}");
    for (attrs, code) in [
        (vec![int("group", 3)], Code::BadAttribute),
        (vec![list("strides", &[0])], Code::BadAttribute),
        (vec![list("strides", &[1, 1])], Code::BadAttribute),
        (vec![list("pads", &[1])], Code::BadAttribute),
        (vec![list("pads", &[-1, 0])], Code::BadAttribute),
        (vec![list("kernel_shape", &[5])], Code::BadAttribute),
        (vec![text("auto_pad", "SOME")], Code::BadAttribute),
        (vec![int("strides", 1)], Code::BadAttribute),
        (vec![int("mystery", 1)], Code::UnknownAttribute),
        (vec![list("dilations", &[i64::MAX])], Code::Limit),
        (vec![list("dilations", &[9])], Code::BadOperand),
    ] {
        assert_eq!(conv(&["1", "4", "8"], &[4, 4, 3], attrs.clone()).codes(), [code], "{attrs:?}");
    }
    assert_eq!(conv(&["1", "5", "8"], &[4, 4, 3], vec![]).codes(), [Code::BadOperand]);
    assert_eq!(conv(&["1", "4"], &[4, 4, 3], vec![]).codes(), [Code::BadOperand]);
}

#[test]
fn pooling() {
    let attrs = |ceil: i64| vec![list("kernel_shape", &[3]), list("strides", &[2]), int("ceil_mode", ceil)];
    assert_eq!(one(12, "MaxPool", &["1", "3", "8"], vec![], attrs(0)).result(), "f32[1, 3, 3]");
    assert_eq!(one(12, "MaxPool", &["1", "3", "8"], vec![], attrs(1)).result(), "f32[1, 3, 4]");
    // A window that would start behind the end does not count.
    let attrs = vec![list("kernel_shape", &[1]), list("strides", &[2]), int("ceil_mode", 1)];
    assert_eq!(one(12, "MaxPool", &["1", "3", "4"], vec![], attrs).result(), "f32[1, 3, 2]");
    assert_eq!(one(12, "MaxPool", &["1", "3", "8"], vec![], vec![]).codes(), [Code::BadAttribute]);
    assert_eq!(
        one(12, "GlobalAveragePool", &["n", "3", "h", "w"], vec![], vec![]).body(),
        ["%1 = reduce {f = mean, axes = [2, 3], keep = true} %0 : f32[n, 3, 1, 1]"]
    );
}

#[test]
fn transposed_convolution() {
    let net = |attrs| one(13, "ConvTranspose", &["1", "4", "h"], vec![weight("w", &[4, 3, 4])], attrs);
    assert_eq!(net(vec![list("strides", &[2]), list("pads", &[1, 1])]).result(), "f32[1, 3, 2*h]");
    assert_eq!(net(vec![list("strides", &[2]), list("output_padding", &[1])]).result(), "f32[1, 3, 2*h + 3]");
    let body = net(vec![list("strides", &[2]), text("auto_pad", "SAME_UPPER")]).body();
    assert_eq!(body, ["%2 = conv_transpose {strides = [2], pads = [1, 1], dilations = [1], group = 1} %0, %1 : f32[1, 3, 2*h]"]);
}

#[test]
fn resizing() {
    let scales = |s: &[f32]| vec![floats("roi", &[0], &[]), floats("s", &[s.len() as i64], s)];
    let nearest = || vec![text("coordinate_transformation_mode", "asymmetric"), text("nearest_mode", "floor")];
    let net = one(13, "Resize", &["n", "3", "h", "w"], scales(&[1.0, 1.0, 2.0, 0.5]), nearest());
    assert_eq!(net.result(), "f32[n, 3, 2*h, floordiv(w, 2)]");
    assert_eq!(one(13, "Resize", &["1", "3", "7", "7"], scales(&[1.0, 1.0, 1.3, 2.0]), nearest()).result(), "f32[1, 3, 9, 14]");
    assert_eq!(one(13, "Resize", &["1", "3", "7", "7"], scales(&[1.0, 1.0, 1.0]), nearest()).codes(), [Code::BadOperand]);
    let crop = vec![text("coordinate_transformation_mode", "tf_crop_and_resize")];
    assert_eq!(one(13, "Resize", &["1", "3", "7", "7"], scales(&[1.0, 1.0, 1.0, 2.0]), crop).codes(), [Code::BadOperand]);
    // Tables of taps need sizes.
    let smooth = vec![text("mode", "linear"), int("antialias", 1)];
    assert_eq!(one(18, "Resize", &["1", "3", "h", "7"], scales(&[1.0, 1.0, 0.5, 0.5]), smooth).codes(), [Code::UnsupportedUse]);
    let old = one(9, "Upsample", &["1", "3", "4", "4"], vec![floats("s", &[4], &[1.0, 1.0, 2.0, 2.0])], vec![]);
    assert!(old.body()[0].contains("coord = asymmetric, nearest = floor"), "{:?}", old.body());
}
