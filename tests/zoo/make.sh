#!/usr/bin/env bash
# Make the test models: tests/zoo/make.sh [--subset all|fast|gpu|small|f16] [--only A,B] [--web] OUT
#
# Creates a Python environment with the pinned packages of requirements.txt in OUT/.venv, fetches the trained
# models, writes the architectures with seeded weights, and runs ONNX Runtime for the golden outputs. What is finished is kept.
# With --web also OUT/web: two small models that the browser tests count on (tests/web/make_models.py).
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
case " $* " in *" -h "* | *" --help "*) sed -n '2,6s/^# \?//p' "${BASH_SOURCE[0]}"; exit 0 ;; esac
[ $# -ge 1 ] || { echo "usage: tests/zoo/make.sh [--subset all|fast|gpu|small|f16] [--only A,B] [--web] OUT" >&2; exit 1; }
out=${*: -1}
case $out in -*) echo "make.sh: the last argument must be the folder OUT, not $out" >&2; exit 1 ;; esac
mkdir -p "$out"
out=$(cd "$out" && pwd)
python=$("$here/venv.sh" "$out")
args=("${@:1:$#-1}") web=
for k in "${!args[@]}"; do
  if [ "${args[$k]}" = --web ]; then web=1; unset "args[$k]"; fi
done
if [ -n "$web" ] && [ ! -f "$out/web/encoder_2l_s64_d128/test_data_set_0/output_0.pb" ]; then
  "$python" "$here/../web/make_models.py" "$out/web"
fi
exec "$python" "$here/make.py" "${args[@]}" "$out"
