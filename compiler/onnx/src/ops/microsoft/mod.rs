//! Operators of com.microsoft: what ONNX Runtime's optimiser and its quantiser write into models.

mod activation;

use super::row::*;

rows! {
    "BiasGelu" ANY..NOW (2, 2) activation::bias_gelu;
    "FastGelu" ANY..NOW (1, 2) activation::fast_gelu;
    "Gelu" ANY..NOW (1, 1) activation::gelu;
    "QuickGelu" ANY..NOW (1, 1) activation::quick_gelu;
}
