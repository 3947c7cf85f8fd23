"""Writes ONNX's conformance cases, as the installed `onnx` package has them, in the layout that `odc verify --data` reads.

    python make.py OUT

OUT/KIND/CASE/model.onnx and test_data_set_K/{input,output}_I.pb. Node cases are made by the package's own case classes, the
others are copied from it; the light models' weights are fills, and their input is what ONNX's runner feeds. OUT/cases.txt has
one line a case: KIND/CASE, domain, rtol, atol, separated by tabs. The domain is `training` where a case trains.
"""
import json
import shutil
import sys
import warnings
from pathlib import Path

warnings.filterwarnings("ignore")
import numpy as np
import onnx
from onnx import TensorProto, numpy_helper
from onnx.backend.test.loader import DATA_DIR, load_model_tests

COPIED = ("simple", "pytorch-operator", "pytorch-converted")
DEFAULT = (1e-3, 1e-7)  # what ONNX's own runner uses


def serialised(value, info):
    """A value of a case as the protobuf of its declared type, named."""
    kind = info.type.WhichOneof("value")
    if isinstance(value, TensorProto):
        proto = value
    elif kind == "sequence_type":
        proto = numpy_helper.from_list(value, info.name)
    elif kind == "optional_type":
        proto = numpy_helper.from_optional(value, info.name)
    elif kind == "map_type":
        proto = numpy_helper.from_dict(value, info.name)
    else:
        proto = numpy_helper.from_array(np.asarray(value), info.name)
    return proto.SerializeToString()


def node_cases(out):
    for case in load_model_tests(kind="node"):
        folder = out / "node" / case.name
        folder.mkdir(parents=True)
        (folder / "model.onnx").write_bytes(case.model.SerializeToString())
        graph = case.model.graph
        for k, data in enumerate(case.data_sets):
            files = folder / f"test_data_set_{k}"
            files.mkdir()
            for what, values, infos in zip(("input", "output"), data, (graph.input, graph.output)):
                for i, (value, info) in enumerate(zip(values, infos)):
                    (files / f"{what}_{i}.pb").write_bytes(serialised(value, info))
        yield folder, case.model, (case.rtol, case.atol)


def copied_cases(out):
    for kind in COPIED:
        shutil.copytree(Path(DATA_DIR) / kind, out / kind, ignore=shutil.ignore_patterns("*.py", "__pycache__"))
        for folder in sorted((out / kind).iterdir()):
            given = folder / "data.json"
            tolerance = json.loads(given.read_text()) if given.exists() else {}
            yield folder, onnx.load(folder / "model.onnx"), (tolerance.get("rtol", DEFAULT[0]), tolerance.get("atol", DEFAULT[1]))


def light_cases(out):
    for file in sorted((Path(DATA_DIR) / "light").glob("light_*.onnx")):
        folder = out / "light" / file.stem
        files = folder / "test_data_set_0"
        files.mkdir(parents=True)
        shutil.copyfile(file, folder / "model.onnx")
        model = onnx.load(file)
        constants = {t.name for t in model.graph.initializer}
        info = next(i for i in model.graph.input if i.name not in constants)
        shape = [d.dim_value for d in info.type.tensor_type.shape.dim]
        ramp = (np.arange(np.prod(shape)).reshape(shape) / np.prod(shape)).astype(np.float32)
        (files / "input_0.pb").write_bytes(serialised(ramp, info))
        shutil.copyfile(file.parent / f"{file.stem}_output_0.pb", files / "output_0.pb")
        yield folder, model, (2e-3, 1e-6)


def domain_of(name, model):
    """`training`, or the rarest domain of its operators."""
    used = {n.domain or "ai.onnx" for n in model.graph.node} | {n.domain or "ai.onnx" for f in model.functions for n in f.node}
    if "ai.onnx.preview.training" in used or "_training_" in name:
        return "training"
    return max(used, key=lambda d: (d != "ai.onnx", d), default="ai.onnx")


def main():
    out = Path(sys.argv[1])
    made = out.with_name(out.name + ".part")  # renamed when it is whole
    shutil.rmtree(made, ignore_errors=True)
    made.mkdir(parents=True)
    lines = []
    for cases in (node_cases, copied_cases, light_cases):
        for folder, model, (rtol, atol) in cases(made):
            lines.append(f"{folder.parent.name}/{folder.name}\t{domain_of(folder.name, model)}\t{rtol}\t{atol}\n")
    (made / "cases.txt").write_text("".join(sorted(lines)))
    shutil.rmtree(out, ignore_errors=True)
    made.rename(out)
    print(f"{len(lines)} conformance cases of onnx {onnx.__version__} in {out}")


if __name__ == "__main__":
    main()
