#!/usr/bin/env python3
"""Time models in the runtimes that also run on a GPU natively: ONNX Runtime's WebGPU build and ncnn's Vulkan, float32.

    tests/gpu/env.sh lavapipe python tests/gpu/peers.py MODEL_DIR... [--peers ort-webgpu,ncnn-vulkan] [--seconds 2]

MODEL_DIR holds model.onnx and test_data_set_0/input_0.pb and output_0.pb. One line of JSON for each model and peer, each measured in
a process of its own: load_ms, first_ms, the median wall_ms of a run, cpu_ms of a run (all threads of the process: on a
software device these are the work itself), max_abs_err against output_0, and the Vulkan device's name as the driver tells it.
Needs, in a Python environment of their own: numpy onnx onnxruntime-webgpu (not beside onnxruntime: same module) ncnn pnnx.
"""
import argparse, glob, json, os, statistics, subprocess, sys, tempfile, time


def tensor(path):
    import onnx
    from onnx import numpy_helper

    with open(path, "rb") as file:
        return numpy_helper.to_array(onnx.TensorProto.FromString(file.read()))


def ort_webgpu(folder, x):
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(folder + "/model.onnx", options, providers=["WebGpuExecutionProvider"])
    if session.get_providers()[0] != "WebGpuExecutionProvider":
        raise RuntimeError("no WebGPU device")
    feed = {session.get_inputs()[0].name: x}
    return onnxruntime.__version__, lambda: session.run(None, feed)[0]


def ncnn_vulkan(folder, x):
    import importlib.util
    import ncnn, numpy

    if ncnn.get_gpu_count() == 0:
        raise RuntimeError("no Vulkan device")
    with tempfile.TemporaryDirectory() as scratch:
        model = scratch + "/m.onnx"
        os.symlink(os.path.abspath(folder) + "/model.onnx", model)
        kinds = {"float32": "f32", "int64": "i64", "int32": "i32"}
        shape = "inputshape=[" + ",".join(map(str, x.shape)) + "]" + kinds[str(x.dtype)]
        converter = os.path.join(os.path.dirname(importlib.util.find_spec("pnnx").origin), "pnnx")  # the module itself wants torch
        subprocess.run([converter, model, shape, "fp16=0"], cwd=scratch, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        net = ncnn.Net()
        net.opt.use_vulkan_compute = True
        for name in ("fp16_packed", "fp16_storage", "fp16_arithmetic", "bf16_packed", "bf16_storage", "int8_arithmetic"):
            if hasattr(net.opt, "use_" + name):
                setattr(net.opt, "use_" + name, False)  # float32 as everyone here
        if net.load_param(scratch + "/m.ncnn.param") or net.load_model(scratch + "/m.ncnn.bin"):
            raise RuntimeError("ncnn does not load what pnnx wrote")
    given = x.astype(numpy.int32) if x.dtype == numpy.int64 else x
    rank_two_float = x.ndim == 2 and x.dtype == numpy.float32  # pnnx keeps [1, n] floats as they are
    given = numpy.ascontiguousarray(given if rank_two_float else given[0])

    def run():
        with net.create_extractor() as extractor:
            extractor.input("in0", ncnn.Mat(given))
            code, out = extractor.extract("out0")
            if code:
                raise RuntimeError(f"ncnn's extract gave {code}")
            return numpy.array(out)

    run.net = net  # lives as long as its extractors
    return ncnn.__version__, run


PEERS = {"ort-webgpu": ort_webgpu, "ncnn-vulkan": ncnn_vulkan}


def measure(peer, folder, seconds):
    import numpy

    case = folder + "/test_data_set_0"
    if len(glob.glob(case + "/input_*.pb")) != 1:
        raise RuntimeError("only models with one input are measured here")
    x, want = tensor(case + "/input_0.pb"), tensor(case + "/output_0.pb")
    start = time.perf_counter()
    version, run = PEERS[peer](folder, x)
    loaded = time.perf_counter()
    got = run()
    first = time.perf_counter()
    run()  # a second one to settle
    walls, cpu = [], time.process_time()
    while len(walls) < 3 or sum(walls) < seconds:
        begin = time.perf_counter()
        run()
        walls.append(time.perf_counter() - begin)
    cpu = (time.process_time() - cpu) / len(walls)
    error = float(numpy.abs(got.reshape(-1) - want.reshape(-1)).max()) if got.size == want.size else None
    ms = lambda s: round(1000 * s, 3)
    return {
        "version": version, "load_ms": ms(loaded - start), "first_ms": ms(first - loaded), "wall_ms": ms(statistics.median(walls)),
        "cpu_ms": ms(cpu), "runs": len(walls), "max_abs_err": error,
    }


def device():
    try:
        text = subprocess.run(["vulkaninfo", "--summary"], capture_output=True, text=True).stdout
    except OSError:
        return "unknown (vulkaninfo is missing)"
    return ", ".join(line.split("=", 1)[1].strip() for line in text.splitlines() if "deviceName" in line or "driverInfo" in line)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("models", nargs="+")
    parser.add_argument("--peers", default=",".join(PEERS))
    parser.add_argument("--seconds", type=float, default=2.0)
    parser.add_argument("--one", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.one:
        print(json.dumps(measure(args.one, args.models[0], args.seconds)), flush=True)
        os._exit(0)  # drivers crash in their destructors
    name = device()
    for folder in args.models:
        for peer in args.peers.split(","):
            if peer not in PEERS:
                sys.exit(f"peers.py: no peer named {peer}: {', '.join(PEERS)}")
            command = [sys.executable, __file__, folder, "--one", peer, "--seconds", str(args.seconds)]
            result = subprocess.run(command, capture_output=True, text=True)
            line = (result.stdout.strip().splitlines() or [""])[-1]
            found = json.loads(line) if line.startswith("{") else {"error": (result.stderr.strip().splitlines() or ["crashed"])[-1]}
            print(json.dumps({"model": os.path.basename(os.path.abspath(folder)), "peer": peer, "device": name, **found}), flush=True)


if __name__ == "__main__":
    main()
