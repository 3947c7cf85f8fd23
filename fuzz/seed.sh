#!/usr/bin/env bash
# Seeds for the fuzz targets, into fuzz/corpus: small conformance models, the modules of the file tests, carried artifacts.
#
#     fuzz/seed.sh [ODC]        ODC (target/release/odc) also writes artifacts; conformance cases from tests/conformance/make.sh
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
odc=${1:-$root/target/release/odc}
cases=${ODC_CONFORMANCE:-$root/target/conformance}
corpus=$root/fuzz/corpus
mkdir -p "$corpus"/{onnx_import,parse_graph,parse_tensor,parse_loop,artifact,shape_program,differential}
n=0
# A model of every operator is worth more than many of one, and small ones more than large ones.
while IFS= read -r model; do
  name=$(basename "$(dirname "$model")")
  cp "$model" "$corpus/onnx_import/$name"
  n=$((n + 1))
  [ $((n % 10)) -eq 0 ] && [ -x "$odc" ] || continue
  "$odc" compile "$model" -o "$corpus/artifact/$name.odc" >/dev/null 2>&1 || continue
  for level in graph tensor loop; do
    "$odc" compile "$model" --emit $level >"$corpus/parse_$level/$name" 2>/dev/null || rm -f "$corpus/parse_$level/$name"
  done
done < <(find "$cases" -name model.onnx -size -4k | sort)
while IFS= read -r module; do
  level=$(sed -n 's/^\(graph\|tensor\|loop\) module.*/\1/p' "$module" | head -n 1)
  [ -z "$level" ] || cp "$module" "$corpus/parse_$level/$(basename "$module")"
done < <(find "$root/tests/filetests" -type f)
# Random graphs are drawn from bytes: without long seeds a fuzzer begins with graphs of one op.
python3 - "$corpus/differential" <<'PYTHON'
import random, sys
r = random.Random(7)
for k in range(150):
    with open(f"{sys.argv[1]}/seed{k}", "wb") as f:
        f.write(bytes(r.getrandbits(8) for _ in range(r.choice([60, 200, 400, 800]))))
PYTHON
for folder in "$corpus"/*; do echo "$(basename "$folder"): $(find "$folder" -type f | wc -l) seeds"; done
