#!/usr/bin/env bash
# Write ONNX's conformance cases: tests/conformance/make.sh [OUT]
#
# 2,033 cases of the pinned `onnx` package, 75 MB, into OUT ($ODC_CONFORMANCE, or target/conformance); a minute, once. Python's
# packages are those of the test models, in $ODC_ZOO (target/zoo).
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../.." && pwd)
out=${1:-${ODC_CONFORMANCE:-$root/target/conformance}}
case $out in -*) sed -n '2,5s/^# \?//p' "${BASH_SOURCE[0]}"; exit 0 ;; esac
# Made by another version of the script: anew.
stamp=$(cat "$here/make.py" "$here/../zoo/requirements.txt" | sha256sum | cut -c1-16)
[ "$(cat "$out/made-by.txt" 2>/dev/null)" = "$stamp" ] && exit 0
zoo=${ODC_ZOO:-$root/target/zoo}
mkdir -p "$zoo" "$(dirname "$out")"
python=$("$here/../zoo/venv.sh" "$zoo")
"$python" "$here/make.py" "$out"
echo "$stamp" >"$out/made-by.txt"
