#!/usr/bin/env bash
# Validates SPIR-V modules with the spirv-val that install.sh put in place.
#
#     tests/gpu/spirv_val.sh [--env vulkan1.3] FILE.spv|DIR...
#
# One line a failure; the exit code is 1 if there is any, or if there is no file. Scalar block layout is allowed, also
# in workgroup memory; everything else is what the environment (vulkan1.3, unless told) demands.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
spirv_val=${ODC_SPIRV_VAL:-${ODC_GPU_TOOLS:-$root/target/gpu-tools}/python/spirv/spirv-val}
[ -x "$spirv_val" ] || { echo "spirv_val.sh: $spirv_val is missing: run tests/gpu/install.sh" >&2; exit 1; }
env=vulkan1.3
if [ "${1:-}" = --env ]; then env=${2:?"spirv_val.sh: --env wants a name such as vulkan1.2"}; shift 2; fi
files=()
for path in "$@"; do
  [ -e "$path" ] || { echo "spirv_val.sh: $path does not exist" >&2; exit 1; }
  if [ -d "$path" ]; then
    while IFS= read -r file; do files+=("$file"); done < <(find "$path" -name '*.spv' -type f | sort)
  else
    files+=("$path")
  fi
done
[ ${#files[@]} -gt 0 ] || { echo "spirv_val.sh: no .spv file; usage: tests/gpu/spirv_val.sh [--env vulkan1.3] FILE.spv|DIR..." >&2; exit 1; }
failed=0
for file in "${files[@]}"; do
  if ! message=$("$spirv_val" --target-env "$env" --scalar-block-layout --workgroup-scalar-block-layout "$file" 2>&1); then
    failed=$((failed + 1))
    echo "$file: $(tr '\n' ' ' <<<"$message" | cut -c1-400)"
  fi
done
echo "$((${#files[@]} - failed)) passed, $failed failed"
[ $failed -eq 0 ]
