#!/usr/bin/env python3
"""Write the models of docs/benchmarks.md that no zoo has: matmul 1024x1024x1024 and a 3-layer MLP, with inputs and outputs.

    python tests/bench/matmul.py OUT      # needs numpy, onnx, onnxruntime (tests/zoo/requirements.txt)
"""
import os
import sys

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper


def save(out, name, nodes, inputs, outputs, weights, feed):
    folder = os.path.join(out, name)
    data = os.path.join(folder, "test_data_set_0")
    os.makedirs(data, exist_ok=True)
    value = lambda item: helper.make_tensor_value_info(item[0], TensorProto.FLOAT, item[1])
    initializers = [numpy_helper.from_array(a, n) for n, a in weights.items()]
    graph = helper.make_graph(nodes, name, [value(i) for i in inputs], [value(o) for o in outputs], initializers)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.save(model, os.path.join(folder, "model.onnx"))
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    results = zip([n for n, _ in outputs], session.run(None, feed))
    for kind, tensors in (("input", feed.items()), ("output", results)):
        for k, (n, a) in enumerate(tensors):
            with open(os.path.join(data, f"{kind}_{k}.pb"), "wb") as f:
                f.write(numpy_helper.from_array(a, n).SerializeToString())


def main():
    out, rng = sys.argv[1], np.random.default_rng(0)
    normal = lambda *shape: rng.standard_normal(shape).astype(np.float32)
    n = 1024
    save(out, "matmul1024", [helper.make_node("MatMul", ["a", "b"], ["c"])], [("a", [n, n]), ("b", [n, n])], [("c", [n, n])], {},
         {"a": normal(n, n), "b": normal(n, n)})
    sizes, nodes, weights, x = [784, 256, 128, 10], [], {}, "x"
    for k, (i, o) in enumerate(zip(sizes, sizes[1:])):
        weights |= {f"w{k}": normal(o, i) / np.float32(i) ** np.float32(0.5), f"b{k}": normal(o)}
        nodes.append(helper.make_node("Gemm", [x, f"w{k}", f"b{k}"], [f"h{k}"], transB=1))
        x = f"h{k}"
        if o != sizes[-1]:
            nodes.append(helper.make_node("Relu", [x], [f"r{k}"]))
            x = f"r{k}"
    save(out, "mlp3", nodes, [("x", ["batch", sizes[0]])], [(x, ["batch", sizes[-1]])], weights, {"x": normal(1, sizes[0])})


if __name__ == "__main__":
    main()
