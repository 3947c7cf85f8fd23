#!/usr/bin/env python3
"""What choosing is worth: three ways to form dispatches, side by side, as a table in Markdown.

    tests/bench/fusion.py ODC MODEL_FOLDER... [--seconds 1] [--json FILE]

A model folder holds model.onnx and test_data_set_0. `alone`: a kernel an op; `greedy`: what is always better; `choose`: the e-graph.
Each arm is compiled once; the runs of all arms take turns, so that a slow moment of the machine meets all, and their medians count.
"""

import argparse, json, os, subprocess, sys, tempfile

ARMS = ["alone", "greedy", "choose"]
TURNS = 3


def bench(odc, model, extra, seconds):
    cmd = [odc, "bench", model, "--threads", "1", "--seconds", str(seconds), "--json", *extra]
    out = subprocess.run(cmd, capture_output=True, text=True, timeout=900)
    if out.returncode:
        raise RuntimeError((out.stderr or out.stdout).strip()[-300:])
    return json.loads(out.stdout)


def row(odc, folder, seconds):
    model = os.path.join(folder, "model.onnx")
    data = ["--data", os.path.join(folder, "test_data_set_0")]
    result = {a: bench(odc, model, ["--fusion", a, *data], seconds) for a in ARMS}
    times = {a: [result[a]["median_ms"]] for a in ARMS}
    with tempfile.TemporaryDirectory() as tmp:
        for a in ARMS:
            subprocess.run([odc, "compile", model, "--fusion", a, "-o", f"{tmp}/{a}.odc"], check=True, capture_output=True)
        for _ in range(TURNS):
            for a in ARMS:
                times[a].append(bench(odc, f"{tmp}/{a}.odc", data, seconds)["median_ms"])
    for a in ARMS:
        # The least disturbed turn; the first was another process.
        result[a]["median_ms"] = min(times[a])
        # What a run needs beside the weights.
        result[a]["peak_bytes"] = result[a]["arena_bytes"] + result[a]["scratch_bytes_per_thread"]
    return result


def main():
    p = argparse.ArgumentParser(description=__doc__)
    p.add_argument("odc")
    p.add_argument("folders", nargs="+")
    p.add_argument("--seconds", type=float, default=1.0)
    p.add_argument("--json")
    args = p.parse_args()
    rows = {}
    print("| model | dispatches | MB moved | predicted ms | measured ms | peak MB | compile s |\n|---|---|---|---|---|---|---|", flush=True)
    for folder in args.folders:
        name = os.path.basename(folder.rstrip("/"))
        try:
            r = row(args.odc, folder, args.seconds)
        except Exception as e:  # one model must not cost the table
            print(f"{name}: {e}", file=sys.stderr, flush=True)
            continue
        rows[name] = r
        cell = lambda key, scale, digits: " / ".join(f"{(r[a].get(key) or 0) * scale:.{digits}f}" for a in ARMS)
        print(
            f"| {name} | {cell('dispatches', 1, 0)} | {cell('moved_bytes', 1e-6, 1)} | {cell('predicted_ms', 1, 2)} "
            f"| {cell('median_ms', 1, 2)} | {cell('peak_bytes', 1e-6, 2)} | {cell('compile_ms', 1e-3, 1)} |",
            flush=True,
        )
    if args.json:
        with open(args.json, "w") as f:
            json.dump(rows, f, indent=1)


main()
