//! Operators of ai.onnx.ml: what converters of classical models write.

mod feature;

use super::row::*;

rows! {
    "Binarizer" ANY..NOW (1, 1) feature::binarizer;
}
