#!/usr/bin/env python3
"""The table of docs/benchmarks.md: odc beside ONNX Runtime's WebGPU build and ncnn's Vulkan, on one device, one after the other.

    tests/gpu/env.sh lavapipe python tests/gpu/native_table.py --odc target/release/odc MODEL_DIR... [--seconds 3]

Median wall time of a run in ms and, in brackets, the CPU time of a run (user and system, all threads of the process): on a software
device that is the work itself. Models are compiled here; what cannot run says why below the table. Python needs what peers.py needs.
"""
import argparse, json, os, subprocess, sys, tempfile

HERE = os.path.dirname(os.path.abspath(__file__))


def lines(command):
    got = subprocess.run(command, capture_output=True, text=True)
    found = [json.loads(line) for line in got.stdout.splitlines() if line.startswith("{")]
    return found or [{"error": (got.stderr.strip().splitlines() or ["exit code %d" % got.returncode])[-1]}]


def odc(binary, folder, target, seconds):
    with tempfile.TemporaryDirectory() as scratch:
        artifact = scratch + "/model.odc"
        (made,) = lines([binary, "compile", folder + "/model.onnx", "-t", target, "-o", artifact, "--json"])
        if "error" in made:
            return made
        case = folder + "/test_data_set_0"
        (got,) = lines([binary, "bench", artifact, "-t", target, "--data", case, "--seconds", str(seconds), "--json"])
        return got if "error" in got else {"wall_ms": got["median_ms"], "cpu_ms": got["cpu_ms"], "device": got.get("device")}


def digits(ms):
    return "%.2f" % ms if ms < 10 else "%.1f" % ms if ms < 100 else "%.0f" % ms


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="+")
    parser.add_argument("--odc", default="odc")
    parser.add_argument("--seconds", type=float, default=3.0)
    args = parser.parse_args()
    columns = {"odc, WGSL": "wgsl", "odc, SPIR-V": "spirv", "ONNX Runtime WebGPU": "ort-webgpu", "ncnn Vulkan": "ncnn-vulkan"}
    rows, notes, devices = [], [], set()
    for folder in args.models:
        name = os.path.basename(os.path.abspath(folder))
        cells = [name]
        for column, kind in columns.items():
            if kind in ("wgsl", "spirv"):
                got = odc(args.odc, folder, kind, args.seconds)
            else:
                peers = [sys.executable, HERE + "/peers.py", folder, "--peers", kind, "--seconds", str(args.seconds)]
                got = lines(peers)[-1]
            if "error" in got:
                notes.append("%s, %s: %s" % (name, column, got["error"]))
                cells.append("does not run")
            else:
                devices.add(got.get("device"))
                cells.append("%s (%s)" % (digits(got["wall_ms"]), digits(got["cpu_ms"])))
        rows.append(cells)
    print("| model | %s |\n|%s" % (" | ".join(columns), "---|" * (1 + len(columns))))
    for cells in rows:
        print("| %s |" % " | ".join(cells))
    print("\nOn %s; %s" % (" and ".join(sorted(d for d in devices if d)), "load average %.1f" % os.getloadavg()[0]))
    print("\n".join(notes))


if __name__ == "__main__":
    main()
