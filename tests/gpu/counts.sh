#!/usr/bin/env bash
# What a run costs in the browser: odc's runtime on four models in headless Chromium, each with a limit of dispatches and of peak
# buffer bytes (0.7 of ONNX Runtime Web's 1.30, where the weights' own type can be that small). Results are compared, and nothing may
# be created after load (tests/web/odc_counts.mjs).
#
#     tests/gpu/counts.sh [--odc PATH] OUT
#
# OUT is where tests/zoo/make.sh --web made the models. Ends with "N passed, N failed".
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
odc=odc out=""
while [ $# -gt 0 ]; do
  case $1 in
    --odc) odc=$2; shift ;;
    -h | --help) sed -n '2,8s/^# \?//p' "${BASH_SOURCE[0]}"; exit 0 ;;
    -*) echo "counts.sh: unknown option $1" >&2; exit 1 ;;
    *) out=$1 ;;
  esac
  shift
done
[ -n "$out" ] || { echo "usage: tests/gpu/counts.sh [--odc PATH] OUT" >&2; exit 1; }
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
passed=0 failed=0
figure() { node -p "JSON.parse(fs.readFileSync(0, 'utf8').trim().split('\n').pop()).$1" <"$tmp/log"; }
while read -r name weights limit bytes; do
  # Half-float weights move results by what they were rounded by.
  data=("$out/$name")
  if [ "$weights" = f16 ]; then data+=(--rel 2e-3); fi
  if "$odc" compile "$out/$name/model.onnx" -t wgsl --weights "$weights" -o "$tmp/model.odc" >"$tmp/log" 2>&1 &&
    node "$root/tests/web/odc_counts.mjs" "$tmp/model.odc" --data "${data[@]}" --runs 3 >"$tmp/log" 2>&1 &&
    dispatches=$(figure per_run.dispatches) && peak=$(figure peak_buffer_bytes) &&
    [ "$dispatches" -le "$limit" ] && [ "$peak" -le "$bytes" ]; then
    echo "ok      ${name#*/}, weights $weights: $dispatches dispatches, at most $limit; $peak bytes, at most $bytes"
    passed=$((passed + 1))
  else
    echo "FAILED  ${name#*/}, weights $weights: at most $limit dispatches and $bytes bytes"
    tail -n 5 "$tmp/log" | cut -c1-600
    failed=$((failed + 1))
  fi
done <<END
web/mlp_784_256_128_10 model 3 1219993
web/encoder_2l_s64_d128 model 16 2440128
web/encoder_2l_s64_d128 f16 16 2135112
ppocrv2_cls model 70 1591755
mobilenet_v2_ts_op11 model 54 24311403
END
echo "$passed passed, $failed failed"
[ $failed -eq 0 ]
