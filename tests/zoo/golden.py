"""Golden outputs from ONNX Runtime, in the folder layout of ONNX's own conformance data.

make(folder, feeds) runs folder/model.onnx on every feed (a dict of arrays) and writes test_data_set_K/input_I.pb,
output_I.pb (named TensorProto) and golden.json: shape, dtype and a fair tolerance for each case and output.
A result passes when |got - golden| <= atol + rtol * |golden| for every element; outputs of integers are compared exactly.
"""
import json, os, shutil
import numpy as np


def session(path, level):
    import onnxruntime as ort
    options = ort.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.graph_optimization_level = getattr(ort.GraphOptimizationLevel, level)
    return ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])


def run(path, level, feeds):
    s = session(path, level)
    names = [i.name for i in s.get_inputs()]
    feeds = [{k: f[k] for k in names if k in f} for f in feeds]
    return feeds, [o.name for o in s.get_outputs()], [s.run(None, f) for f in feeds]


def write_tensor(path, name, value):
    from onnx import numpy_helper
    with open(path, "wb") as f:
        f.write(numpy_helper.from_array(np.asarray(value), name).SerializeToString())


def describe(name, gold, other):
    """One output's row. ONNX Runtime's own difference between no and all optimisations says how much noise is fair."""
    row = {"name": name, "shape": list(gold.shape), "dtype": str(gold.dtype)}
    if gold.dtype.kind != "f":
        return row
    if not np.isfinite(gold).all():
        raise ValueError("output %s holds NaN or infinity: such a golden would check nothing" % name)
    g = gold.astype(np.float64)
    rms = float(np.sqrt((g ** 2).mean())) if g.size else 0.0
    noise = float(np.abs(g - other).max()) if g.size else 0.0
    row["noise"], row["absmax"], row["rtol"] = noise, float(np.abs(g).max()) if g.size else 0.0, 1e-3
    row["atol"] = max(1e-4 * rms, 10 * noise, 1e-7)
    return row


def read_tensor(path):
    from onnx import TensorProto, numpy_helper
    with open(path, "rb") as f:
        return numpy_helper.to_array(TensorProto.FromString(f.read()))


def check(folder, wanted):
    """Does ONNX Runtime itself pass what golden.json is going to say? For models whose goldens are another model's."""
    case = os.path.join(folder, "test_data_set_0")
    feed = {name: read_tensor(os.path.join(case, "input_%d.pb" % i)) for i, name in enumerate(wanted["inputs"])}
    _, _, (got,) = run(os.path.join(folder, "model.onnx"), "ORT_DISABLE_ALL", [feed])
    for i, (row, value) in enumerate(zip(wanted["cases"][0], got)):
        gold = read_tensor(os.path.join(case, "output_%d.pb" % i)).astype(np.float64)
        off = np.abs(value - gold) - row.get("rtol", 0) * np.abs(gold)
        if off.size and not off.max() <= row.get("atol", 0):
            raise ValueError("ONNX Runtime's own output %s is off by %g" % (row["name"], off.max()))


def make(folder, feeds):
    path = os.path.join(folder, "model.onnx")
    feeds, names, gold = run(path, "ORT_DISABLE_ALL", feeds)  # the literal meaning of the graph
    _, _, other = run(path, "ORT_ENABLE_ALL", feeds)
    for old in os.listdir(folder):
        if old.startswith("test_data_set_"):
            shutil.rmtree(os.path.join(folder, old))
    cases = []
    for k, feed in enumerate(feeds):
        case = os.path.join(folder, "test_data_set_%d" % k)
        os.makedirs(case)
        for i, (name, value) in enumerate(feed.items()):
            write_tensor(os.path.join(case, "input_%d.pb" % i), name, value)
        for i, name in enumerate(names):
            write_tensor(os.path.join(case, "output_%d.pb" % i), name, gold[k][i])
        cases.append([describe(n, a, b) for n, a, b in zip(names, gold[k], other[k])])
    with open(os.path.join(folder, "golden.json.part"), "w") as f:
        json.dump({"inputs": list(feeds[0]), "outputs": names, "cases": cases}, f, indent=1)
    os.replace(f.name, os.path.join(folder, "golden.json"))  # last: its presence says that the folder is finished
