"""A float32 model with everything inside in float16: weights, constants, casts and all that is computed. Inputs and outputs stay
float32, with a Cast behind and before them, so that the model's inputs and golden outputs serve both.

convert(path, to) knows models whose float tensors are all float32 and whose graphs have no subgraphs.
"""
import numpy as np

FLOAT, HALF = 1, 10
# Inputs that ONNX wants in float32 whatever the others are.
FLOAT_INPUTS = {"Resize": (1, 2)}
MOST = 65504.0


def narrow(t):
    """The tensor in float16; what is beyond its range (masks of -3.4e38) becomes the largest that there is."""
    from onnx import numpy_helper
    x = np.clip(numpy_helper.to_array(t), -MOST, MOST).astype(np.float16)
    t.CopyFrom(numpy_helper.from_array(x, t.name))


def convert(path, to):
    import onnx
    from onnx import helper
    m = onnx.load(path)
    g = m.graph
    kept = {n.input[k] for n in g.node for k in FLOAT_INPUTS.get(n.op_type, ()) if k < len(n.input)}
    for t in g.initializer:
        if t.data_type == FLOAT and t.name not in kept:
            narrow(t)
    for n in g.node:
        for a in n.attribute:
            if a.HasField("g") or a.graphs:
                raise RuntimeError("%s has a subgraph" % n.name)
            if a.HasField("t") and a.t.data_type == FLOAT and n.output[0] not in kept:
                narrow(a.t)
            if n.op_type == "Constant" and a.name in ("value_float", "value_floats"):
                raise RuntimeError("%s has a float that is no tensor" % n.name)
            if n.op_type == "Cast" and a.name == "to" and a.i == FLOAT:
                a.i = HALF
    inputs = {t.name for t in g.initializer}
    before, after = [], []
    for v, list_, element in [(v, before, HALF) for v in g.input if v.name not in inputs] + [(v, after, FLOAT) for v in g.output]:
        if v.type.tensor_type.elem_type != FLOAT:
            continue
        inner = v.name + "/float16"
        for n in g.node:
            for names in (n.input, n.output):
                for k, name in enumerate(names):
                    if name == v.name:
                        names[k] = inner
        ends = ([v.name], [inner]) if list_ is before else ([inner], [v.name])
        list_.append(helper.make_node("Cast", *ends, name=v.name + "/cast", to=element))
    nodes = before + list(g.node) + after
    del g.node[:], g.value_info[:]
    g.node.extend(nodes)
    onnx.save(m, to)
