#!/usr/bin/env bash
# Every kernel of the made models through other people's validators: WGSL through Tint with WebGPU's default limits, SPIR-V
# through spirv-val.
#
#     tests/gpu/check_kernels.sh [--odc PATH] [--subset all|fast|gpu|small] [--only A,B] OUT
#
# OUT is where tests/zoo/make.sh made the models. Needs no GPU. Ends with "N passed, N failed", counted in kernels.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
odc=odc subset=all only="" out=""
while [ $# -gt 0 ]; do
  case $1 in
    --odc) odc=$2; shift ;;
    --subset) subset=$2; shift ;;
    --only) only=$2; shift ;;
    -h | --help) sed -n '2,7s/^# \?//p' "${BASH_SOURCE[0]}"; exit 0 ;;
    -*) echo "check_kernels.sh: unknown option $1" >&2; exit 1 ;;
    *) out=$1 ;;
  esac
  shift
done
[ -n "$out" ] || { echo "usage: tests/gpu/check_kernels.sh [--odc PATH] [--subset S] [--only A,B] OUT" >&2; exit 1; }
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
passed=0 failed=0
for name in $("$root/tests/zoo/names.sh" "$subset" "$only"); do
  if ! "$odc" compile "$out/$name/model.onnx" -t wgsl,spirv -o "$tmp/$name/" >"$tmp/log" 2>&1; then
    echo "FAILED  $name: odc compile"
    tail -n 5 "$tmp/log"
    failed=$((failed + 1))
  fi
  rm -f "$tmp/$name/weights.bin"
  for manifest in "$tmp/$name"/*/manifest.json; do
    listed=$(grep -c '^ *"file": ' "$manifest") files=$(find "${manifest%/*}/kernels" -name '*.wgsl' -o -name '*.spv' | wc -l)
    if [ "$listed" -ne "$files" ]; then
      echo "FAILED  $name: $files files of $listed kernels in ${manifest#"$tmp/"}"
      failed=$((failed + 1))
    fi
  done
done
for check in "node $root/tests/gpu/check_wgsl.mjs" "$root/tests/gpu/spirv_val.sh"; do
  $check "$tmp" >"$tmp/log" 2>&1 || true
  grep -vE '^[0-9]+ passed, [0-9]+ failed$' "$tmp/log" || true
  read -r ok not_ok < <(awk '/^[0-9]+ passed, [0-9]+ failed$/ { a = $1; b = $3 } END { print a + 0, b + 0 }' "$tmp/log")
  echo "${check##*/}: $ok kernels are valid, $not_ok are not"
  passed=$((passed + ok)) failed=$((failed + not_ok))
  if [ $((ok + not_ok)) -eq 0 ]; then failed=$((failed + 1)); fi # it did not even begin
done
echo "$passed passed, $failed failed"
[ $failed -eq 0 ]
