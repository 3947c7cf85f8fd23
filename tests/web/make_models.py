#!/usr/bin/env python3
"""Makes the two models that the browser comparison has beside the real ones, in the layout of ONNX's conformance data.

    python tests/web/make_models.py OUT

OUT/mlp_784_256_128_10      three linear layers with Relu between and Softmax at the end, batch 1
OUT/encoder_2l_s64_d128     token and position embeddings (64 tokens out of 1000), then two pre-norm transformer encoder layers:
                            width 128, 4 heads, feed forward 512, GELU through Erf; the nodes that exporters write
Each gets model.onnx and test_data_set_0 with input_0 and output_0 as .pb and .npy. Weights and inputs come from a seed, outputs from
ONNX Runtime on the CPU with its optimisations off. Needs: numpy onnx onnxruntime.
"""
import os, sys
import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper


class Graph:
    """Nodes and seeded weights, collected in the order they are asked for."""

    def __init__(self, seed):
        self.random, self.nodes, self.weights = np.random.default_rng(seed), [], []

    def weight(self, name, shape, std=None):
        std = shape[0] ** -0.5 if std is None else std
        return self.constant(name, (self.random.standard_normal(shape) * std).astype(np.float32))

    def constant(self, name, value):
        self.weights.append(numpy_helper.from_array(np.asarray(value), name))
        return name

    def node(self, op, inputs, output, **attributes):
        self.nodes.append(helper.make_node(op, inputs, [output], name="/" + output, **attributes))
        return output

    def linear(self, x, name, rows, columns):
        """MatMul, then Add of the bias: what torch.onnx writes for a Linear on three dimensions."""
        product = self.node("MatMul", [x, self.weight(name + ".weight", (rows, columns))], name + "/MatMul")
        return self.node("Add", [self.weight(name + ".bias", (columns,), 0.02), product], name + "/Add")

    def layer_norm(self, x, name, width):
        scale = self.constant(name + ".weight", (1 + 0.1 * self.random.standard_normal(width)).astype(np.float32))
        return self.node("LayerNormalization", [x, scale, self.weight(name + ".bias", (width,), 0.02)], name, axis=-1, epsilon=1e-5)

    def model(self, given, output):
        graph = helper.make_graph(
            self.nodes, "main", [helper.make_tensor_value_info(*given)],
            [helper.make_tensor_value_info(output[0], TensorProto.FLOAT, output[1])], self.weights,
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], producer_name="make_models", ir_version=8)
        onnx.checker.check_model(model, full_check=True)
        return model


def mlp():
    g = Graph(1)
    x = "input"
    for i, (rows, columns) in enumerate([(784, 256), (256, 128), (128, 10)], 1):
        x = g.node("Gemm", [x, g.weight(f"fc{i}.weight", (rows, columns)), g.weight(f"fc{i}.bias", (columns,), 0.02)], f"fc{i}/Gemm")
        x = g.node("Relu", [x], f"relu{i}") if i < 3 else g.node("Softmax", [x], "probabilities", axis=-1)
    return g.model(("input", TensorProto.FLOAT, [1, 784]), ("probabilities", [1, 10]))


def encoder(vocabulary=1000, tokens=64, width=128, heads=4, hidden=512, layers=2):
    g = Graph(2)
    size = width // heads
    split = g.constant("split", np.array([1, tokens, heads, size], np.int64))
    join = g.constant("join", np.array([1, tokens, width], np.int64))
    scale, root, one, half = (
        g.constant(n, np.float32(v)) for n, v in [("scale", size**-0.5), ("sqrt_half", 0.5**0.5), ("one", 1), ("half", 0.5)]
    )
    x = g.node("Gather", [g.weight("tokens.weight", (vocabulary, width), 1.0), "input_ids"], "tokens", axis=0)
    x = g.node("Add", [x, g.weight("positions.weight", (tokens, width), 0.1)], "positions")
    for i in range(layers):
        p = f"layers.{i}"
        a = p + ".attention"
        normed = g.layer_norm(x, p + ".norm1", width)
        head = {}
        for part, order in [("query", [0, 2, 1, 3]), ("key", [0, 2, 3, 1]), ("value", [0, 2, 1, 3])]:
            y = g.linear(normed, f"{a}.{part}", width, width)
            y = g.node("Reshape", [y, split], f"{a}.{part}/Reshape")
            head[part] = g.node("Transpose", [y], f"{a}.{part}/Transpose", perm=order)
        scores = g.node("MatMul", [head["query"], head["key"]], a + "/scores")
        scores = g.node("Mul", [scores, scale], a + "/Mul")
        shares = g.node("Softmax", [scores], a + "/Softmax", axis=-1)
        y = g.node("MatMul", [shares, head["value"]], a + "/MatMul")
        y = g.node("Transpose", [y], a + "/Transpose", perm=[0, 2, 1, 3])
        y = g.node("Reshape", [y, join], a + "/Reshape")
        x = g.node("Add", [x, g.linear(y, a + ".out", width, width)], p + "/Add")
        y = g.linear(g.layer_norm(x, p + ".norm2", width), p + ".linear1", width, hidden)
        erf = g.node("Erf", [g.node("Mul", [y, root], p + ".gelu/Mul")], p + ".gelu/Erf")
        y = g.node("Mul", [g.node("Mul", [y, half], p + ".gelu/Mul_1"), g.node("Add", [erf, one], p + ".gelu/Add")], p + ".gelu/Mul_2")
        x = g.node("Add", [x, g.linear(y, p + ".linear2", hidden, width)], "output" if i == layers - 1 else p + "/Add_1")
    return g.model(("input_ids", TensorProto.INT64, [1, tokens]), ("output", [1, tokens, width]))


def write(folder, model, x):
    import onnxruntime
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    (result,) = session.run(None, {name: x})
    case = os.path.join(folder, "test_data_set_0")
    os.makedirs(case, exist_ok=True)
    onnx.save(model, os.path.join(folder, "model.onnx"))
    for kind, tensor, value in [("input", name, x), ("output", session.get_outputs()[0].name, result)]:
        np.save(os.path.join(case, kind + "_0.npy"), value)
        with open(os.path.join(case, kind + "_0.pb"), "wb") as file:
            file.write(numpy_helper.from_array(value, tensor).SerializeToString())
    print(f"{folder}: {len(model.graph.node)} nodes, {os.path.getsize(os.path.join(folder, 'model.onnx'))} bytes")


def main():
    if len(sys.argv) != 2 or sys.argv[1].startswith("-"):
        sys.exit(__doc__)
    random = np.random.default_rng(3)
    write(os.path.join(sys.argv[1], "mlp_784_256_128_10"), mlp(), random.random((1, 784), np.float32))
    write(os.path.join(sys.argv[1], "encoder_2l_s64_d128"), encoder(), random.integers(0, 1000, (1, 64)))


if __name__ == "__main__":
    main()
