#!/usr/bin/env bash
# The names of models.txt, one a line: tests/zoo/names.sh all|fast|gpu|small|f16 [A,B]. A name that is not listed is an error.
set -euo pipefail
list=$(dirname "${BASH_SOURCE[0]}")/models.txt
case ${1:-} in all | fast | gpu | small | f16) ;; *) echo "names.sh: the subset is all, fast, gpu, small or f16, not '${1:-}'" >&2; exit 1 ;; esac
if [ -z "${2:-}" ]; then
  awk -v subset="$1" '!/^#/ && NF { for (k = 2; k <= NF; k++) if (subset == "all" || $k == subset) { print $1; next } }' "$list"
else
  for name in ${2//,/ }; do
    awk '{ print $1 }' "$list" | grep -qx -- "$name" || { echo "names.sh: no model $name in $list" >&2; exit 1; }
    echo "$name"
  done
fi
