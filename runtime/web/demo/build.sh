#!/usr/bin/env bash
# Makes the demo in out/, which any static server can serve:
#
#     demo/build.sh [--odc PROGRAM] [--terrain MODEL.onnx]
#     python3 -m http.server --directory demo/out
#
# Builds the runtime (npm install first) and compiles both models for WebGPU. The terrain
# model is a download of its own: tests/zoo/make.sh --only terrain_unet DIR makes DIR/terrain_unet/model.onnx; found by itself in
# $ODC_ZOO and in target/zoo.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
root=$(cd ../../.. && pwd)
odc=${ODC:-odc}
terrain=${ODC_ZOO:-$root/target/zoo}/terrain_unet/model.onnx
while [ $# -gt 0 ]; do
  case $1 in
    --odc) odc=$2; shift 2 ;;
    --terrain) terrain=$2; shift 2 ;;
    -h | --help) sed -n '2,9s/^# \?//p' build.sh; exit 0 ;;
    *) echo "build.sh: unknown option $1; see --help" >&2; exit 1 ;;
  esac
done
command -v "$odc" >/dev/null || { echo "build.sh: there is no $odc: name the compiler with --odc" >&2; exit 1; }
[ -f "$terrain" ] || { echo "build.sh: $terrain is missing: make it with tests/zoo/make.sh --only terrain_unet DIR and name it with --terrain" >&2; exit 1; }

node ../build.mjs
rm -rf out
mkdir out
cp index.html style.css main.js classify.js terrain.js out/
cp ../dist/index.js out/odc-runtime-web.js
text=$root/tests/models/ppocrv2_cls
cp "$text/upright.png" "$text/turned.png" out/
cp "$text/labels.txt" out/textdir.txt
"$odc" compile "$text/model.onnx" -t wgsl -o out/textdir.odc
"$odc" compile "$terrain" -t wgsl -o out/terrain.odc
du -h out/*.odc
