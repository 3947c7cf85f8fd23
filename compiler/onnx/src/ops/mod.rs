//! The tables of operators, one a domain: name, first opset, arities and handler, one row each. A handler turns one node into graph
//! operations. Files are by family; `adding an op` is a row here and a function there.

mod attention;
mod branch;
mod cast;
mod choose;
mod collect;
mod control;
mod conv;
mod cumulative;
mod deform;
mod einsum;
mod elementwise;
mod fourier;
mod index;
mod integer;
mod linear;
mod linear_attention;
mod list;
mod loss;
mod matrix;
mod microsoft;
mod ml;
mod move_data;
mod norm;
mod pool;
mod preview;
mod quant;
mod random;
mod recurrent;
mod reduce;
mod refused;
mod resize;
mod roi;
mod rotary;
mod row;
mod rows;
mod sample;
mod shape;
mod signal;
mod slice;
mod sort;
mod state;
mod strings;
mod suppress;
mod taps;
mod text;

pub use row::Row;
use row::*;

rows! {
    "Abs" ANY..NOW (1, 1) elementwise::abs;
    "Acos" ANY..NOW (1, 1) elementwise::acos;
    "Acosh" 9..NOW (1, 1) elementwise::acosh;
    "Add" ANY..NOW (2, 2) elementwise::add;
    "AffineGrid" 20..NOW (2, 2) sample::affine_grid;
    "And" ANY..NOW (2, 2) elementwise::and;
    "ArgMax" ANY..NOW (1, 1) reduce::arg_max;
    "ArgMin" ANY..NOW (1, 1) reduce::arg_min;
    "Asin" ANY..NOW (1, 1) elementwise::asin;
    "Asinh" 9..NOW (1, 1) elementwise::asinh;
    "Atan" ANY..NOW (1, 1) elementwise::atan;
    "Atanh" 9..NOW (1, 1) elementwise::atanh;
    "Attention" 23..NOW (3, 7) attention::attention;
    "AveragePool" ANY..NOW (1, 1) pool::average_pool;
    "BatchNormalization" ANY..NOW (5, 5) norm::batch_norm;
    "Bernoulli" 15..NOW (1, 1) random::bernoulli;
    "BitCast" 26..NOW (1, 1) cast::bit_cast;
    "BitShift" 11..NOW (2, 2) elementwise::bit_shift;
    "BitwiseAnd" 18..NOW (2, 2) elementwise::bit_and;
    "BitwiseNot" 18..NOW (1, 1) elementwise::bit_not;
    "BitwiseOr" 18..NOW (2, 2) elementwise::bit_or;
    "BitwiseXor" 18..NOW (2, 2) elementwise::bit_xor;
    "BlackmanWindow" 17..NOW (1, 1) signal::blackman;
    "Cast" ANY..NOW (1, 1) cast::cast;
    "CastLike" 15..NOW (2, 2) cast::cast_like;
    "CausalConvWithState" 27..NOW (2, 4) state::causal_conv;
    "Ceil" ANY..NOW (1, 1) elementwise::ceil;
    "Celu" 12..NOW (1, 1) elementwise::celu;
    "CenterCropPad" 18..NOW (2, 2) slice::center_crop_pad;
    "Clip" ANY..NOW (1, 3) elementwise::clip;
    "Col2Im" 18..NOW (3, 3) taps::col2im;
    "Compress" 9..NOW (2, 2) choose::compress;
    "Concat" ANY..NOW (1, MANY) move_data::concat;
    "ConcatFromSequence" 11..NOW (1, 1) list::concat;
    "Constant" ANY..NOW (0, 0) shape::constant;
    "ConstantOfShape" 9..NOW (1, 1) shape::constant_of_shape;
    "Conv" ANY..NOW (2, 3) conv::conv;
    "ConvInteger" 10..NOW (2, 4) integer::conv_integer;
    "ConvTranspose" ANY..NOW (2, 3) conv::conv_transpose;
    "Cos" ANY..NOW (1, 1) elementwise::cos;
    "Cosh" 9..NOW (1, 1) elementwise::cosh;
    "CumProd" 26..NOW (2, 2) cumulative::cum_prod;
    "CumSum" 11..NOW (2, 2) cumulative::cum_sum;
    "DFT" 17..NOW (1, 3) fourier::dft;
    "DeformConv" 19..NOW (3, 5) deform::deform_conv;
    "DepthToSpace" ANY..NOW (1, 1) move_data::depth_to_space;
    "DequantizeLinear" 10..NOW (2, 3) quant::dequantize_linear;
    "Det" 11..NOW (1, 1) matrix::det;
    "Div" ANY..NOW (2, 2) elementwise::div;
    "Dropout" ANY..NOW (1, 3) norm::dropout;
    "DynamicQuantizeLinear" 11..NOW (1, 1) quant::dynamic_quantize_linear;
    "Einsum" 12..NOW (1, MANY) einsum::einsum;
    "Elu" ANY..NOW (1, 1) elementwise::elu;
    "Equal" ANY..NOW (2, 2) elementwise::equal;
    "Erf" 9..NOW (1, 1) elementwise::erf;
    "Exp" ANY..NOW (1, 1) elementwise::exp;
    "Expand" 8..NOW (2, 2) shape::expand;
    "EyeLike" 9..NOW (1, 1) matrix::eye_like;
    "Flatten" ANY..NOW (1, 1) shape::flatten;
    "Floor" ANY..NOW (1, 1) elementwise::floor;
    "GRU" 7..NOW (3, 6) recurrent::gru;
    "Gather" ANY..NOW (2, 2) index::gather;
    "GatherElements" 11..NOW (2, 2) index::gather_elements;
    "GatherND" 11..NOW (2, 2) index::gather_nd;
    "Gelu" 20..NOW (1, 1) elementwise::gelu;
    "Gemm" ANY..NOW (2, 3) linear::gemm;
    "GlobalAveragePool" ANY..NOW (1, 1) pool::global_average_pool;
    "GlobalLpPool" ANY..NOW (1, 1) pool::global_lp_pool;
    "GlobalMaxPool" ANY..NOW (1, 1) pool::global_max_pool;
    "Greater" ANY..NOW (2, 2) elementwise::greater;
    "GreaterOrEqual" 12..NOW (2, 2) elementwise::greater_or_equal;
    "GridSample" 16..NOW (2, 2) sample::grid_sample;
    "GroupNormalization" 18..NOW (3, 3) norm::group_norm;
    "HammingWindow" 17..NOW (1, 1) signal::hamming;
    "HannWindow" 17..NOW (1, 1) signal::hann;
    "HardSigmoid" ANY..NOW (1, 1) elementwise::hard_sigmoid;
    "HardSwish" 14..NOW (1, 1) elementwise::hard_swish;
    "Hardmax" ANY..NOW (1, 1) matrix::hardmax;
    "Identity" ANY..NOW (1, 1) shape::identity;
    "If" ANY..NOW (1, 1) branch::if_;
    "ImageDecoder" 20..NOW (1, 1) refused::image_decoder;
    "InstanceNormalization" ANY..NOW (3, 3) norm::instance_norm;
    "IsInf" 10..NOW (1, 1) elementwise::is_inf;
    "IsNaN" 9..NOW (1, 1) elementwise::is_nan;
    "LRN" ANY..NOW (1, 1) pool::lrn;
    "LSTM" 7..NOW (3, 8) recurrent::lstm;
    "LayerNormalization" ANY..NOW (2, 3) norm::layer_norm;
    "LeakyRelu" ANY..NOW (1, 1) elementwise::leaky_relu;
    "Less" ANY..NOW (2, 2) elementwise::less;
    "LessOrEqual" 12..NOW (2, 2) elementwise::less_or_equal;
    "LinearAttention" 27..NOW (3, 6) linear_attention::linear_attention;
    "Log" ANY..NOW (1, 1) elementwise::log;
    "LogSoftmax" ANY..NOW (1, 1) norm::log_softmax;
    "Loop" ANY..NOW (0, MANY) control::loop_;
    "LpNormalization" ANY..NOW (1, 1) norm::lp_norm;
    "LpPool" ANY..NOW (1, 1) pool::lp_pool;
    "MatMul" ANY..NOW (2, 2) linear::mat_mul;
    "MatMulInteger" 10..NOW (2, 4) integer::matmul_integer;
    "Max" ANY..NOW (1, MANY) elementwise::max;
    "MaxPool" ANY..NOW (1, 1) pool::max_pool;
    "MaxRoiPool" ANY..NOW (2, 2) roi::max_roi_pool;
    "MaxUnpool" 9..NOW (2, 3) pool::max_unpool;
    "Mean" ANY..NOW (1, MANY) elementwise::mean;
    "MeanVarianceNormalization" ANY..NOW (1, 1) norm::mean_variance_norm;
    "MelWeightMatrix" 17..NOW (5, 5) signal::mel_weight_matrix;
    "Min" ANY..NOW (1, MANY) elementwise::min;
    "Mish" 18..NOW (1, 1) elementwise::mish;
    "Mod" 10..NOW (2, 2) elementwise::modulo;
    "Mul" ANY..NOW (2, 2) elementwise::mul;
    "Multinomial" 7..NOW (1, 1) random::multinomial;
    "Neg" ANY..NOW (1, 1) elementwise::neg;
    "NegativeLogLikelihoodLoss" 12..NOW (2, 3) loss::negative_log_likelihood;
    "NonMaxSuppression" 10..NOW (2, 5) suppress::non_max_suppression;
    "NonZero" 9..NOW (1, 1) choose::non_zero;
    "Not" ANY..NOW (1, 1) elementwise::not;
    "OneHot" 9..NOW (3, 3) index::one_hot;
    "Optional" 15..NOW (0, 1) list::optional;
    "OptionalGetElement" 15..NOW (1, 1) list::get_element;
    "OptionalHasElement" 15..NOW (0, 1) list::has_element;
    "Or" ANY..NOW (2, 2) elementwise::or;
    "PRelu" ANY..NOW (2, 2) elementwise::prelu;
    "Pad" ANY..NOW (1, 4) move_data::pad;
    "Pow" ANY..NOW (2, 2) elementwise::pow;
    "QLinearConv" 10..NOW (8, 9) integer::qlinear_conv;
    "QLinearMatMul" 10..NOW (8, 8) integer::qlinear_matmul;
    "QuantizeLinear" 10..NOW (2, 3) quant::quantize_linear;
    "RMSNormalization" 23..NOW (2, 2) norm::rms_norm;
    "RNN" 7..NOW (3, 6) recurrent::rnn;
    "RandomNormal" ANY..NOW (0, 0) random::random_normal;
    "RandomNormalLike" ANY..NOW (1, 1) random::random_normal_like;
    "RandomUniform" ANY..NOW (0, 0) random::random_uniform;
    "RandomUniformLike" ANY..NOW (1, 1) random::random_uniform_like;
    "Range" 11..NOW (3, 3) shape::range;
    "Reciprocal" ANY..NOW (1, 1) elementwise::reciprocal;
    "ReduceL1" ANY..NOW (1, 2) reduce::reduce_l1;
    "ReduceL2" ANY..NOW (1, 2) reduce::reduce_l2;
    "ReduceLogSum" ANY..NOW (1, 2) reduce::reduce_log_sum;
    "ReduceLogSumExp" ANY..NOW (1, 2) reduce::reduce_log_sum_exp;
    "ReduceMax" ANY..NOW (1, 2) reduce::reduce_max;
    "ReduceMean" ANY..NOW (1, 2) reduce::reduce_mean;
    "ReduceMin" ANY..NOW (1, 2) reduce::reduce_min;
    "ReduceProd" ANY..NOW (1, 2) reduce::reduce_prod;
    "ReduceSum" ANY..NOW (1, 2) reduce::reduce_sum;
    "ReduceSumSquare" ANY..NOW (1, 2) reduce::reduce_sum_square;
    "RegexFullMatch" 20..NOW (1, 1) strings::regex_full_match;
    "Relu" ANY..NOW (1, 1) elementwise::relu;
    "Reshape" ANY..NOW (1, 2) shape::reshape;
    "Resize" 10..NOW (1, 4) resize::resize;
    "ReverseSequence" 10..NOW (2, 2) state::reverse_sequence;
    "RoiAlign" 10..NOW (3, 3) roi::roi_align;
    "RotaryEmbedding" 23..NOW (3, 4) rotary::rotary_embedding;
    "Round" 11..NOW (1, 1) elementwise::round;
    "STFT" 17..NOW (2, 4) fourier::stft;
    "Scan" 8..NOW (1, MANY) control::scan;
    "Scatter" 9..10 (3, 3) index::scatter_elements;
    "ScatterElements" 11..NOW (3, 3) index::scatter_elements;
    "ScatterND" 11..NOW (3, 3) index::scatter_nd;
    "Selu" ANY..NOW (1, 1) elementwise::selu;
    "SequenceAt" 11..NOW (2, 2) list::at;
    "SequenceConstruct" 11..NOW (1, MANY) list::construct;
    "SequenceEmpty" 11..NOW (0, 0) list::empty;
    "SequenceErase" 11..NOW (1, 2) list::erase;
    "SequenceInsert" 11..NOW (2, 3) list::insert;
    "SequenceLength" 11..NOW (1, 1) list::length;
    "Shape" ANY..NOW (1, 1) shape::shape;
    "Shrink" 9..NOW (1, 1) elementwise::shrink;
    "Sigmoid" ANY..NOW (1, 1) elementwise::sigmoid;
    "Sign" 9..NOW (1, 1) elementwise::sign;
    "SimplifiedLayerNormalization" ANY..NOW (2, 2) microsoft::simplified;
    "Sin" ANY..NOW (1, 1) elementwise::sin;
    "Sinh" 9..NOW (1, 1) elementwise::sinh;
    "Size" ANY..NOW (1, 1) shape::size;
    "Slice" ANY..NOW (1, 5) slice::slice;
    "Softmax" ANY..NOW (1, 1) norm::softmax;
    "SoftmaxCrossEntropyLoss" 12..NOW (2, 3) loss::softmax_cross_entropy;
    "Softplus" ANY..NOW (1, 1) elementwise::softplus;
    "Softsign" ANY..NOW (1, 1) elementwise::softsign;
    "SpaceToDepth" ANY..NOW (1, 1) move_data::space_to_depth;
    "Split" ANY..NOW (1, 2) slice::split;
    "SplitToSequence" 11..NOW (1, 2) list::split;
    "Sqrt" ANY..NOW (1, 1) elementwise::sqrt;
    "Squeeze" ANY..NOW (1, 2) shape::squeeze;
    "StringConcat" 20..NOW (2, 2) strings::concat;
    "StringNormalizer" 10..NOW (1, 1) strings::normalizer;
    "StringSplit" 20..NOW (1, 1) strings::split;
    "Sub" ANY..NOW (2, 2) elementwise::sub;
    "Sum" ANY..NOW (1, MANY) elementwise::sum;
    "SwiGLU" 28..NOW (2, 2) elementwise::swi_glu;
    "Swish" 24..NOW (1, 1) elementwise::swish;
    "Tan" ANY..NOW (1, 1) elementwise::tan;
    "Tanh" ANY..NOW (1, 1) elementwise::tanh;
    "TensorScatter" 24..NOW (2, 3) state::tensor_scatter;
    "TfIdfVectorizer" 9..NOW (1, 1) text::tf_idf;
    "ThresholdedRelu" 10..NOW (1, 1) elementwise::thresholded_relu;
    "Tile" ANY..NOW (2, 3) move_data::tile;
    "TopK" ANY..NOW (1, 2) sort::top_k;
    "Transpose" ANY..NOW (1, 1) shape::transpose;
    "Trilu" 14..NOW (1, 2) index::trilu;
    "Unique" 11..NOW (1, 1) choose::unique;
    "Unsqueeze" ANY..NOW (1, 2) shape::unsqueeze;
    "Upsample" ANY..9 (1, 2) resize::upsample;
    "Where" 9..NOW (3, 3) elementwise::select;
    "Xor" ANY..NOW (2, 2) elementwise::xor;
}

/// Every operator, by domain and name.
pub fn all() -> impl Iterator<Item = (&'static str, &'static Row)> {
    let tables = [("ai.onnx", TABLE), ("ai.onnx.ml", ml::TABLE), ("com.microsoft", microsoft::TABLE)];
    tables.into_iter().flat_map(|(domain, table)| table.iter().map(move |r| (domain, r)))
}

/// The row of an operator; domains by their canonical names.
pub fn find(domain: &str, op: &str) -> Option<&'static Row> {
    let table = match domain {
        "" => TABLE,
        "ai.onnx.ml" => ml::TABLE,
        "ai.onnx.preview" => preview::TABLE,
        "com.microsoft" => microsoft::TABLE,
        _ => return None,
    };
    table.binary_search_by(|r| r.op.cmp(op)).ok().and_then(|k| table.get(k))
}

/// May an input of the operator be a sequence or an optional?
pub fn takes_lists(domain: &str, op: &str) -> bool {
    const OPS: [&str; 10] = [
        "ConcatFromSequence",
        "Identity",
        "Loop",
        "Optional",
        "OptionalGetElement",
        "OptionalHasElement",
        "SequenceAt",
        "SequenceErase",
        "SequenceInsert",
        "SequenceLength",
    ];
    domain.is_empty() && OPS.contains(&op)
}

/// Is anything of this domain supported?
pub fn knows(domain: &str) -> bool {
    ["", "ai.onnx.ml", "ai.onnx.preview", "com.microsoft"].contains(&domain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_sorted_so_that_it_can_be_searched() {
        for table in [TABLE, ml::TABLE, microsoft::TABLE, preview::TABLE] {
            assert!(table.is_sorted_by(|a, b| a.op < b.op));
        }
        assert!(find("", "Conv").is_some() && find("", "conv").is_none() && find("com.microsoft", "Conv").is_none());
    }
}
