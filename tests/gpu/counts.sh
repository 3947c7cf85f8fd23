#!/usr/bin/env bash
# What a run costs in the browser: odc's runtime on four models in headless Chromium, each with a limit of dispatches. Results are
# compared, and nothing may be created after load (tests/web/odc_counts.mjs).
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
    -h | --help) sed -n '2,7s/^# \?//p' "${BASH_SOURCE[0]}"; exit 0 ;;
    -*) echo "counts.sh: unknown option $1" >&2; exit 1 ;;
    *) out=$1 ;;
  esac
  shift
done
[ -n "$out" ] || { echo "usage: tests/gpu/counts.sh [--odc PATH] OUT" >&2; exit 1; }
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
passed=0 failed=0
while read -r name limit; do
  if "$odc" compile "$out/$name/model.onnx" -t wgsl -o "$tmp/model.odc" >"$tmp/log" 2>&1 &&
    node "$root/tests/web/odc_counts.mjs" "$tmp/model.odc" --data "$out/$name" --runs 3 >"$tmp/log" 2>&1 &&
    dispatches=$(node -p 'JSON.parse(fs.readFileSync(0, "utf8").trim().split("\n").pop()).per_run.dispatches' <"$tmp/log") &&
    [ "$dispatches" -le "$limit" ]; then
    echo "ok      ${name#*/}: $dispatches dispatches, at most $limit"
    passed=$((passed + 1))
  else
    echo "FAILED  ${name#*/}, at most $limit dispatches"
    tail -n 5 "$tmp/log" | cut -c1-600
    failed=$((failed + 1))
  fi
done <<END
web/mlp_784_256_128_10 3
web/encoder_2l_s64_d128 16
ppocrv2_cls 70
mobilenet_v2_ts_op11 54
END
echo "$passed passed, $failed failed"
[ $failed -eq 0 ]
