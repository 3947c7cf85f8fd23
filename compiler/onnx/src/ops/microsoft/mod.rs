//! Operators of com.microsoft: what ONNX Runtime's optimiser and its quantiser write into models.

mod activation;
mod qlinear;

use super::quant;
use super::row::*;

rows! {
    "BiasGelu" ANY..NOW (2, 2) activation::bias_gelu;
    "DequantizeLinear" ANY..NOW (2, 3) quant::dequantize_linear;
    "DynamicQuantizeMatMul" ANY..NOW (3, 5) qlinear::dynamic_quantize_matmul;
    "FastGelu" ANY..NOW (1, 2) activation::fast_gelu;
    "Gelu" ANY..NOW (1, 1) activation::gelu;
    "MatMulIntegerToFloat" ANY..NOW (4, 7) qlinear::matmul_integer_to_float;
    "QGemm" ANY..NOW (6, 9) qlinear::gemm;
    "QLinearAdd" ANY..NOW (7, 8) qlinear::add;
    "QLinearAveragePool" ANY..NOW (4, 5) qlinear::average_pool;
    "QLinearConcat" ANY..NOW (5, MANY) qlinear::concat;
    "QLinearGlobalAveragePool" ANY..NOW (5, 5) qlinear::global_average_pool;
    "QLinearLeakyRelu" ANY..NOW (4, 5) qlinear::leaky_relu;
    "QLinearMul" ANY..NOW (7, 8) qlinear::mul;
    "QLinearSigmoid" ANY..NOW (4, 5) qlinear::sigmoid;
    "QLinearSoftmax" ANY..NOW (5, 5) qlinear::softmax;
    "QLinearWhere" ANY..NOW (9, 9) qlinear::select;
    "QuantizeLinear" ANY..NOW (2, 3) quant::quantize_linear;
    "QuickGelu" ANY..NOW (1, 1) activation::quick_gelu;
}
