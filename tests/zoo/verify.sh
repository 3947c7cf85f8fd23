#!/usr/bin/env bash
# Compile each made model once for all targets, then run all of its data sets from that artifact on each of them and compare:
#
#     tests/zoo/verify.sh [--odc PATH] [-t TARGET,...] [--adapter NAME] [--subset all|fast|gpu|small|f16] [--only A,B] OUT
#
# TARGET is what `odc compile -t` takes (cpu, which is the default; cpu:x86-64-v4, wgsl, spirv, wgsl:f16, ...), or one of these with the device
# that runs it: wgsl@lavapipe (what wgsl and spirv mean), spirv@swiftshader, wgsl@chromium (the browser runtime; nothing may be
# created after load), wgsl:subgroups@dawn (the same runtime in Node). metal runs on the host shim (tests/metal), in --shim PATH. With --adapter NAME, wgsl and spirv run on the
# machine's own GPU whose name has NAME in it.
# GPU targets need tests/gpu/install.sh, and an odc that was built with --features gpu.
#
# One line a model and target, and at the end "N passed, N failed". Exit code 1 if any failed, or if a listed model was not made.
# A model may take ODC_MODEL_SECONDS (900) a step.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../.." && pwd)
odc=odc subset=all only="" out="" targets=cpu adapter="" shim=${CARGO_TARGET_DIR:-$root/target}/debug/odc-metal-shim
while [ $# -gt 0 ]; do
  case $1 in
    --odc) odc=$2; shift ;;
    -t | --target) targets=$2; shift ;;
    --adapter) adapter=$2; shift ;;
    --shim) shim=$2; shift ;;
    --subset) subset=$2; shift ;;
    --only) only=$2; shift ;;
    -h | --help) sed -n '2,14s/^# \?//p' "${BASH_SOURCE[0]}"; exit 0 ;;
    -*) echo "verify.sh: unknown option $1" >&2; exit 1 ;;
    *) out=$1 ;;
  esac
  shift
done
[ -n "$out" ] || { echo "usage: tests/zoo/verify.sh [--odc PATH] [-t TARGET,...] [--adapter NAME] [--subset S] [--only A,B] OUT" >&2; exit 1; }
command -v "$odc" >/dev/null || { echo "verify.sh: there is no odc at $odc; build it with cargo build --release --features gpu" >&2; exit 1; }

names=$("$here/names.sh" "$subset" "$only")
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
passed=0 failed=0

compiled_for="" # each target once, without the devices; those with features, such as wgsl:f16, get artifacts of their own
for target in ${targets//,/ }; do
  case ,$compiled_for,$target in *:*) ;; *",${target%@*},"*) ;; *) compiled_for+=${compiled_for:+,}${target%@*} ;; esac
  case $target in
    cpu | cpu:* | wgsl*@chromium | wgsl*@dawn | *@swiftshader | *@lavapipe | *[!@]) ;;
    *) echo "verify.sh: no device ${target#*@}: lavapipe, swiftshader, chromium or dawn" >&2; exit 1 ;;
  esac
  if [ "$target" = metal ] && [ ! -x "$shim" ]; then
    echo "verify.sh: there is no $shim: cargo build -p odc-metal-shim, or name it with --shim" >&2
    exit 1
  fi
done

# step NAME COMMAND...: run within the time limit; on failure say which step, its exit code and its last words.
step() {
  local name=$1 code=0
  shift
  timeout "${ODC_MODEL_SECONDS:-900}" "$@" >"$tmp/log" 2>&1 </dev/null || code=$?
  [ $code -eq 0 ] && return 0
  [ $code -eq 124 ] && echo "(over ${ODC_MODEL_SECONDS:-900} s)" >>"$tmp/log"
  printf 'FAILED  %-32s exit code %d\n' "$name" "$code"
  tail -n 15 "$tmp/log" | sed 's/^/        /'
  return 1
}

# verify NAME FOLDER TARGET: the compiled model on one target.
verify() {
  local name="$1 $3" m=$2 language=${3%@*} device=lavapipe artifact=$tmp/model.odc environment=()
  case $3 in *@*) device=${3#*@} ;; esac
  case $language in
    *:*)
      artifact=$tmp/featured.odc
      step "$name" "$odc" compile "$m/model.onnx" -t "$language" -o "$artifact" || return 1 ;;
  esac
  local odc_verify=("$odc" verify "$artifact" -t "$language" --data "$m" --tolerance "$m/golden.json")
  case $3 in
    cpu | cpu:*) step "$name" "$odc" verify "$artifact" --data "$m" --tolerance "$m/golden.json"; return ;;
    metal)
      step "$name" "$odc" compile "$m/model.onnx" -t metal -o "$tmp/model/" &&
        step "$name" "$shim" "$artifact" "$tmp/model" --data "$m" --tolerance "$m/golden.json"
      return ;;
    *@chromium) step "$name" node "$root/tests/web/odc_counts.mjs" "$artifact" --data "$m" --runs 1 --target "${language%%:*}"; return ;;
    *@dawn) step "$name" "$root/tests/gpu/env.sh" lavapipe node "$root/tests/gpu/run_model.mjs" "$artifact" --data "$m"; return ;;
  esac
  if [ -n "$adapter" ]; then
    odc_verify+=(--adapter "$adapter")
  else
    environment=("$root/tests/gpu/env.sh" "$device")
  fi
  step "$name" "${environment[@]}" "${odc_verify[@]}"
}

since() { echo $((($(date +%s%N) - $1) / 1000000)); }
for name in $names; do
  m=$out/$name start=$(date +%s%N)
  if [ ! -f "$m/golden.json" ]; then
    printf 'FAILED  %-32s is not in %s: make it with tests/zoo/make.sh\n' "$name" "$out"
    failed=$((failed + 1))
    continue
  fi
  if [ -n "$compiled_for" ] && ! step "$name compile" "$odc" compile "$m/model.onnx" -t "$compiled_for" -o "$tmp/model.odc"; then
    failed=$((failed + 1))
    continue
  fi
  took=$(since "$start") sets=$(find "$m/" -maxdepth 1 -name 'test_data_set_*' | wc -l)
  for target in ${targets//,/ }; do
    start=$(date +%s%N)
    if verify "$name" "$m" "$target"; then
      printf 'ok      %-32s %-16s compiled in %6d ms, %d data sets in %6d ms\n' "$name" "$target" "$took" "$sets" "$(since "$start")"
      passed=$((passed + 1))
    else
      failed=$((failed + 1))
    fi
  done
  rm -rf "$tmp/model.odc" "$tmp/model" "$tmp/featured.odc"
done
echo "$passed passed, $failed failed"
[ $failed -eq 0 ] && [ $passed -gt 0 ]
