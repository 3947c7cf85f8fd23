#!/usr/bin/env bash
# The environment of the software GPUs: which Vulkan driver programs find, and where the test tools are.
#
#     eval "$(tests/gpu/env.sh lavapipe)"      Mesa's: f16, subgroups of 8, 48 storage buffers (the default)
#     eval "$(tests/gpu/env.sh swiftshader)"   Chromium's: a stand-in for a weak device, 256 invocations, no f16
#     tests/gpu/env.sh swiftshader COMMAND...  runs the command with it
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
tools=${ODC_GPU_TOOLS:-$root/target/gpu-tools}
driver=${1:-lavapipe}
case $driver in
  lavapipe) icds=(/usr/share/vulkan/icd.d/lvp_icd*.json) ;;
  swiftshader) icds=(/usr/lib/chromium/vk_swiftshader_icd.json) ;;
  -h | --help) sed -n '2,6s/^# \?//p' "${BASH_SOURCE[0]}"; exit 0 ;;
  *) echo "tests/gpu/env.sh: no driver named $driver: lavapipe or swiftshader" >&2; exit 1 ;;
esac
[ -f "${icds[0]}" ] || { echo "tests/gpu/env.sh: ${icds[0]} is missing: run tests/gpu/install.sh" >&2; exit 1; }
runtime_dir=${XDG_RUNTIME_DIR:-$tools/run} # Mesa warns without one
[ -d "$runtime_dir" ] || mkdir -p -m 700 "$runtime_dir"
vars=(
  "VK_DRIVER_FILES=${icds[0]}"
  "VK_ICD_FILENAMES=${icds[0]}" # the same to older loaders
  "XDG_RUNTIME_DIR=$runtime_dir"
  "ODC_GPU_TOOLS=$tools"
  "ODC_SPIRV_VAL=$tools/python/spirv/spirv-val"
  "ODC_CHROMIUM=${ODC_CHROMIUM:-/usr/bin/chromium}"
)
if [ $# -gt 1 ]; then
  shift
  exec env "${vars[@]}" "$@"
fi
for var in "${vars[@]}"; do printf 'export %s=%q\n' "${var%%=*}" "${var#*=}"; done
