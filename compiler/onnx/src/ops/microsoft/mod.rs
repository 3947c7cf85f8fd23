//! Operators of com.microsoft: what ONNX Runtime's optimiser and its quantiser write into models.

mod activation;
mod attention;
mod fused;
mod group_query;
mod nbits;
mod norm;
mod qlinear;

pub use norm::simplified;

use super::row::*;
use super::{quant, recurrent};

rows! {
    "Attention" ANY..NOW (2, 7) attention::projected;
    "BiasGelu" ANY..NOW (2, 2) activation::bias_gelu;
    "BiasSplitGelu" ANY..NOW (2, 2) fused::bias_split_gelu;
    "DequantizeLinear" ANY..NOW (2, 3) quant::dequantize_linear;
    "DynamicQuantizeLSTM" ANY..NOW (12, 12) recurrent::dynamic_quantize_lstm;
    "DynamicQuantizeMatMul" ANY..NOW (3, 5) qlinear::dynamic_quantize_matmul;
    "EmbedLayerNormalization" ANY..NOW (7, 9) norm::embed_layer;
    "FastGelu" ANY..NOW (1, 2) activation::fast_gelu;
    "FusedConv" ANY..NOW (2, 4) fused::conv;
    "FusedGemm" ANY..NOW (2, 3) fused::gemm;
    "FusedMatMul" ANY..NOW (2, 2) fused::mat_mul;
    "GatherBlockQuantized" ANY..NOW (3, 4) nbits::gather;
    "Gelu" ANY..NOW (1, 1) activation::gelu;
    "GroupNorm" ANY..NOW (3, 3) norm::group;
    "GroupQueryAttention" ANY..NOW (7, 14) group_query::attention;
    "MatMulIntegerToFloat" ANY..NOW (4, 7) qlinear::matmul_integer_to_float;
    "MatMulNBits" ANY..NOW (3, 6) nbits::mat_mul;
    "MultiHeadAttention" ANY..NOW (1, 10) attention::multi_head;
    "NhwcConv" ANY..NOW (2, 4) fused::nhwc_conv;
    "NhwcFusedConv" ANY..NOW (2, 4) fused::nhwc_conv;
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
    "RotaryEmbedding" ANY..NOW (4, 4) group_query::rotary_embedding;
    "SimplifiedLayerNormalization" ANY..NOW (2, 2) norm::simplified;
    "SkipGroupNorm" ANY..NOW (4, 5) norm::skip_group;
    "SkipLayerNormalization" ANY..NOW (3, 5) norm::skip_layer;
    "SkipSimplifiedLayerNormalization" ANY..NOW (3, 4) norm::skip_simplified;
}
