//! Damaged models: every byte of a small model replaced, cut and doubled. An error or a module may come out, a panic must not.

use crate::net::{Net, floats, int, ints, list, weight};
use odc_onnx::{ImportOptions, Model, import};
use prost::Message;

fn models() -> Vec<Vec<u8>> {
    let conv = Net::new(13)
        .input("x", &["n", "3", "h", "w"])
        .weights([weight("k", &[4, 3, 3, 3]), floats("s", &[4], &[1.0, 1.0, 2.0, 2.0]), floats("roi", &[0], &[])])
        .node("Conv", &["x", "k"], &["a"], vec![list("strides", &[2, 2]), list("pads", &[1, 1, 1, 1])])
        .node("MaxPool", &["a"], &["b"], vec![list("kernel_shape", &[2, 2]), int("ceil_mode", 1)])
        .node("Resize", &["b", "roi", "s"], &["y"], vec![])
        .output("y");
    let shape = Net::new(13)
        .input("x", &["n", "2*n"])
        .weights([ints("a", &[0]), ints("e", &[9]), ints("t", &[2]), ints("flat", &[-1, 2])])
        .node("Shape", &["x"], &["s"], vec![])
        .node("Slice", &["x", "a", "e", "a", "t"], &["p"], vec![])
        .node("Gather", &["s", "a"], &["g"], vec![int("axis", 0)])
        .node("ConstantOfShape", &["g"], &["c"], vec![])
        .node("Reshape", &["x", "flat"], &["r"], vec![])
        .node("Gemm", &["r", "r"], &["m"], vec![int("transA", 1)])
        .node("ReduceSum", &["m"], &["y"], vec![])
        .output("y")
        .output("p")
        .output("c");
    [conv, shape].iter().map(|n| n.model.encode_to_vec()).collect()
}

fn try_one(bytes: Vec<u8>) -> bool {
    match Model::from_bytes(bytes) {
        Ok(m) => import(&m, &ImportOptions::default()).is_ok(),
        Err(_) => false,
    }
}

#[test]
fn damaged_models_do_not_panic() {
    let (mut good, mut bad) = (0, 0);
    for original in models() {
        assert!(try_one(original.clone()));
        for k in 0..original.len() {
            for by in [0, 1, 0x7f, 0x80, 0xff, original[k].wrapping_add(1), original[k] ^ 0x40] {
                let mut b = original.clone();
                b[k] = by;
                if try_one(b) { good += 1 } else { bad += 1 }
            }
            let (mut cut, mut twice) = (original.clone(), original.clone());
            cut.remove(k);
            twice.insert(k, original[k]);
            for b in [cut, twice, original[..k].to_vec()] {
                if try_one(b) { good += 1 } else { bad += 1 }
            }
        }
    }
    assert!(good > 100 && bad > 1000, "{good} good, {bad} bad");
}
