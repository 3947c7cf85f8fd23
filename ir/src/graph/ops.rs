//! The graph ops, one row each: mnemonic, operands, results, regions, effect (and how often random graphs draw it), attributes. Shapes that ONNX passes as tensors are
//! dims in attributes or in the result type. See `infer` for each op's typing rule and `interp` for its meaning.

use crate::core::{Callee, ConstId, Dim, LoopForm};
use crate::{attr_enum, ops};

attr_enum! {
    /// Functions of one element as models name them; composite ones are spelled out when lowered.
    UnaryFn {
        Abs "abs", Neg "neg", Sign "sign", Sqrt "sqrt", Reciprocal "reciprocal", Floor "floor", Ceil "ceil", Round "round",
        IsNan "is_nan", IsInf "is_inf", Not "not", BitNot "bit_not",
        Exp "exp", Log "log", Sin "sin", Cos "cos", Tan "tan", Asin "asin", Acos "acos", Atan "atan",
        Sinh "sinh", Cosh "cosh", Tanh "tanh", Asinh "asinh", Acosh "acosh", Atanh "atanh", Erf "erf",
        Relu "relu", Sigmoid "sigmoid", Silu "silu", HardSwish "hard_swish", Softplus "softplus", Softsign "softsign", Mish "mish",
        Gelu "gelu", GeluTanh "gelu_tanh",
    }
}

attr_enum! {
    /// Functions of two elements, operands broadcast against each other as in numpy.
    BinaryFn {
        Add "add", Sub "sub", Mul "mul",
        /// Integers truncate.
        Div "div",
        Pow "pow", Min "min", Max "max",
        /// Sign of the divisor (ONNX `Mod`, `fmod = 0`).
        Mod "mod",
        /// Sign of the dividend (ONNX `Mod`, `fmod = 1`).
        Rem "rem",
        And "and", Or "or", Xor "xor", BitAnd "bit_and", BitOr "bit_or", BitXor "bit_xor", Shl "shl", Shr "shr",
        Eq "eq", Ne "ne", Lt "lt", Le "le", Gt "gt", Ge "ge",
        /// `x < 0 ? x * slope : x`.
        Prelu "prelu",
    }
}

attr_enum! {
    PoolKind {
        Max "max", Average "average", Sum "sum",
        /// Where in its plane the greatest element of a window lies (the first of equals), row-major, as i64.
        ArgMax "arg_max",
    }
}
attr_enum! {
    ReduceFn {
        Sum "sum", Mean "mean", Prod "prod", Max "max", Min "min", SumSquare "sum_square", L1 "l1", L2 "l2",
        LogSum "log_sum", LogSumExp "log_sum_exp",
    }
}
attr_enum! { ArgFn { Max "max", Min "min" } }
attr_enum! { PadMode { Constant "constant", Reflect "reflect", Edge "edge", Wrap "wrap" } }
attr_enum! { ScatterFn { Replace "replace", Add "add", Mul "mul", Max "max", Min "min" } }
attr_enum! { ResizeMode { Nearest "nearest", Linear "linear", Cubic "cubic" } }
attr_enum! {
    CoordMode {
        HalfPixel "half_pixel", HalfPixelSymmetric "half_pixel_symmetric", PytorchHalfPixel "pytorch_half_pixel",
        AlignCorners "align_corners", Asymmetric "asymmetric",
    }
}
attr_enum! { NearestMode { RoundPreferFloor "round_prefer_floor", RoundPreferCeil "round_prefer_ceil", Floor "floor", Ceil "ceil" } }

use crate::core::MANY;

ops! {
    /// A weight or literal.
    Constant "constant" (0, 0) -> (1, 1) [0, 0] Pure * 0 { value: ConstId }
    /// Sizes as a tensor: rank 0 (one dim) or 1; the result's element type may be any number type.
    Dims "dims" (0, 0) -> (1, 1) [0, 0] Pure { values: Vec<Dim> }
    /// A function of each element.
    Unary "unary" (1, 1) -> (1, 1) [0, 0] Pure { f: UnaryFn }
    /// A function of each pair of elements, with broadcasting.
    Binary "binary" (2, 2) -> (1, 1) [0, 0] Pure * 4 { f: BinaryFn }
    /// `condition ? a : b` with broadcasting.
    Select "select" (3, 3) -> (1, 1) [0, 0] Pure {}
    /// To the result's element type; floats to integers truncate and saturate (and wrap in less than a byte), anything to bool is `!= 0`, to
    /// floats of 8 bits and fewer to nearest even and saturating, to f8e8m0 up.
    Cast "cast" (1, 1) -> (1, 1) [0, 0] Pure * 3 {}
    /// The same bits under the result's element type, which has as many; an element's own bits, where it has fewer than a byte.
    Bitcast "bitcast" (1, 1) -> (1, 1) [0, 0] Pure {}
    /// `x < 0 ? alpha * x : x`.
    LeakyRelu "leaky_relu" (1, 1) -> (1, 1) [0, 0] Pure { alpha: f64 }
    /// `x < 0 ? alpha * (exp(x) - 1) : x`.
    Elu "elu" (1, 1) -> (1, 1) [0, 0] Pure { alpha: f64 }
    /// `clamp(alpha * x + beta, 0, 1)`.
    HardSigmoid "hard_sigmoid" (1, 1) -> (1, 1) [0, 0] Pure { alpha: f64, beta: f64 }
    /// numpy's matmul: batch axes broadcast, rank 1 operands as a row or a column.
    MatMul "matmul" (2, 2) -> (1, 1) [0, 0] Pure * 5 {}
    /// Sum of products by letters: `bct,bcs->bts`; lower-case letters, one operand a term, no ellipsis.
    Einsum "einsum" (1, MANY) -> (1, 1) [0, 0] Pure { equation: String }
    /// x[n, c, spatial…] * w[o, c/group, kernel…] (+ b[o]); `pads` holds the begins, then the ends.
    Conv "conv" (2, 3) -> (1, 1) [0, 0] Pure { strides: Vec<i64>, pads: Vec<i64>, dilations: Vec<i64>, group: i64 }
    /// x[n, c, spatial…] with w[c, o/group, kernel…] (+ b[o]); the end pads follow from the result's size.
    ConvTranspose "conv_transpose" (2, 3) -> (1, 1) [0, 0] Pure { strides: Vec<i64>, pads: Vec<i64>, dilations: Vec<i64>, group: i64 }
    /// Windows over the spatial axes; ends past the padded input (ceil mode) follow from the result's size and count as outside.
    Pool "pool" (1, 1) -> (1, 1) [0, 0] Pure { kind: PoolKind, kernel: Vec<i64>, strides: Vec<i64>, pads: Vec<i64>, dilations: Vec<i64>, count_include_pad: bool }
    /// Over `axes` (non-negative, sorted); `keep` leaves them with size 1.
    Reduce "reduce" (1, 1) -> (1, 1) [0, 0] Pure { f: ReduceFn, axes: Vec<usize>, keep: bool }
    /// Position of the extreme as i64; `last` prefers the last of equals.
    ArgReduce "arg_reduce" (1, 1) -> (1, 1) [0, 0] Pure { f: ArgFn, axis: usize, keep: bool, last: bool }
    /// `exp(x - max) / sum`, or its logarithm.
    Softmax "softmax" (1, 1) -> (1, 1) [0, 0] Pure { axis: usize, log: bool }
    /// x, scale (, bias): over the axes from `axis` on.
    LayerNorm "layer_norm" (2, 3) -> (1, 1) [0, 0] Pure { axis: usize, epsilon: f64 }
    /// x, scale: `x / sqrt(mean(x^2) + epsilon) * scale` over the axes from `axis` on.
    RmsNorm "rms_norm" (2, 2) -> (1, 1) [0, 0] Pure { axis: usize, epsilon: f64 }
    /// x[n, c, …], scale[c], bias[c], statistics over each of `groups` groups of channels; `groups = 0` means one a channel.
    GroupNorm "group_norm" (3, 3) -> (1, 1) [0, 0] Pure { groups: i64, epsilon: f64 }
    /// x[n, c, …], scale[c], bias[c], mean[c], variance[c].
    BatchNorm "batch_norm" (5, 5) -> (1, 1) [0, 0] Pure { epsilon: f64 }
    /// Result axis `k` is operand axis `perm[k]`.
    Transpose "transpose" (1, 1) -> (1, 1) [0, 0] Pure { perm: Vec<usize> }
    /// The same elements in row-major order under the result's shape.
    Reshape "reshape" (1, 1) -> (1, 1) [0, 0] Pure {}
    /// Broadcast to the result's shape.
    Expand "expand" (1, 1) -> (1, 1) [0, 0] Pure {}
    /// Result index `k` reads operand index `starts[k] + steps[k] * k`; one entry an axis, steps may be negative.
    Slice "slice" (1, 1) -> (1, 1) [0, 0] Pure * 2 { starts: Vec<Dim>, steps: Vec<i64> }
    /// Operands after each other along `axis`.
    Concat "concat" (1, MANY) -> (1, 1) [0, 0] Pure { axis: usize }
    /// x (, value: scalar): `before` elements in front of each axis, as many behind as the result's shape needs; negative crops.
    Pad "pad" (1, 2) -> (1, 1) [0, 0] Pure { mode: PadMode, before: Vec<Dim> }
    /// The operand repeated along each axis up to the result's shape.
    Tile "tile" (1, 1) -> (1, 1) [0, 0] Pure {}
    /// data, indices (negative counts from the end): slices of `axis`.
    Gather "gather" (2, 2) -> (1, 1) [0, 0] Pure { axis: usize }
    /// data, indices of the same rank: one element each along `axis`.
    GatherElements "gather_elements" (2, 2) -> (1, 1) [0, 0] Pure { axis: usize }
    /// data, indices[…, k]: slices addressed by tuples of k, after `batch_dims` common axes.
    GatherNd "gather_nd" (2, 2) -> (1, 1) [0, 0] Pure { batch_dims: usize }
    /// data, indices[…, k], updates: data with slices replaced or combined, in order.
    ScatterNd "scatter_nd" (3, 3) -> (1, 1) [0, 0] Pure { f: ScatterFn }
    /// data, indices, updates of the same rank: one element each along `axis`, in order.
    ScatterElements "scatter_elements" (3, 3) -> (1, 1) [0, 0] Pure { axis: usize, f: ScatterFn }
    /// Resampled to the result's shape. `scales[k]` is result/operand size as the model states it, 0 where only sizes are known.
    Resize "resize" (1, 1) -> (1, 1) [0, 0] Pure { mode: ResizeMode, coord: CoordMode, nearest: NearestMode, scales: Vec<f64>, cubic_a: f64, exclude_outside: bool }
    /// Running sum along `axis`.
    CumSum "cum_sum" (1, 1) -> (1, 1) [0, 0] Pure { axis: usize, exclusive: bool, reverse: bool }
    /// start, step (scalars): `start + k * step` for k below the result's size.
    Range "range" (2, 2) -> (1, 1) [0, 0] Pure {}
    /// indices, values[2] = (off, on): a new axis at `axis`, of the result's size there.
    OneHot "one_hot" (2, 2) -> (1, 1) [0, 0] Pure { axis: usize }
    /// boxes[b, n, (y1, x1, y2, x2)], scores[b, c, n], overlap, least (scalars): for each class the numbers of its boxes, the best first;
    /// -1 for one whose score is not above `least`, or that shares more than `overlap` (intersection over union) with a better one that is
    /// left.
    Suppress "suppress" (4, 4) -> (1, 1) [0, 0] Pure * 0 {}
    /// Keeps the upper (`j - i >= k`) or the lower (`j - i <= k`) triangle of the last two axes, zero elsewhere.
    Trilu "trilu" (1, 1) -> (1, 1) [0, 0] Pure { upper: bool, k: i64 }
    /// A bool, then what both functions take: the results of `then` or of `otherwise`.
    If "if" (1, MANY) -> (1, MANY) [0, 0] Pure * 0 { then: Callee, otherwise: Callee }
    /// The body at most `trips` times: operands, parameters and results are as `form` says (see `LoopForm`).
    Loop "loop" (0, MANY) -> (1, MANY) [0, 0] Pure * 0 { body: Callee, trips: Dim, form: LoopForm }
}
