#!/usr/bin/env bash
# Compile each made model once, then run all of its data sets from that one artifact and compare:
#
#     tests/zoo/verify.sh [--odc PATH] [--subset fast|all] [--only A,B] OUT
#
# One line a model, and at the end "N passed, N failed". Exit code 1 if any failed, or if a listed model was not made.
# A model may take ODC_MODEL_SECONDS (900) a step.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
odc=odc subset=all only="" out=""
while [ $# -gt 0 ]; do
  case $1 in
    --odc) odc=$2; shift ;;
    --subset) subset=$2; shift ;;
    --only) only=$2; shift ;;
    -h | --help) sed -n '2,8s/^# \?//p' "${BASH_SOURCE[0]}"; exit 0 ;;
    -*) echo "verify.sh: unknown option $1" >&2; exit 1 ;;
    *) out=$1 ;;
  esac
  shift
done
[ -n "$out" ] || { echo "usage: tests/zoo/verify.sh [--odc PATH] [--subset fast|all] [--only A,B] OUT" >&2; exit 1; }
command -v "$odc" >/dev/null || { echo "verify.sh: there is no odc at $odc; build it with cargo build --release" >&2; exit 1; }

names=$("$here/names.sh" "$subset" "$only")
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
passed=0 failed=0

# step NAME COMMAND...: run within the time limit; on failure say which step, its exit code and its last words.
step() {
  local name=$1 code=0
  shift
  timeout "${ODC_MODEL_SECONDS:-900}" "$@" >"$tmp/log" 2>&1 </dev/null || code=$?
  [ $code -eq 0 ] && return 0
  [ $code -eq 124 ] && echo "(over ${ODC_MODEL_SECONDS:-900} s)" >>"$tmp/log"
  printf 'FAILED  %-32s odc %s: exit code %d\n' "$name" "$2" "$code"
  tail -n 15 "$tmp/log" | sed 's/^/        /'
  return 1
}

for name in $names; do
  m=$out/$name start=$(date +%s%N)
  if [ ! -f "$m/golden.json" ]; then
    printf 'FAILED  %-32s is not in %s: make it with tests/zoo/make.sh\n' "$name" "$out"
    failed=$((failed + 1))
  elif step "$name" "$odc" compile "$m/model.onnx" -t cpu -o "$tmp/model.odc" &&
    compiled=$(date +%s%N) &&
    step "$name" "$odc" verify "$tmp/model.odc" --data "$m" --tolerance "$m/golden.json"; then
    sets=$(find "$m" -maxdepth 1 -name 'test_data_set_*' | wc -l) end=$(date +%s%N)
    printf 'ok      %-32s compiled in %6d ms, %d data sets in %6d ms\n' "$name" \
      $(((compiled - start) / 1000000)) "$sets" $(((end - compiled) / 1000000))
    passed=$((passed + 1))
  else
    failed=$((failed + 1))
  fi
  rm -f "$tmp/model.odc"
done
echo "$passed passed, $failed failed"
[ $failed -eq 0 ] && [ $passed -gt 0 ]
