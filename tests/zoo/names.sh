#!/usr/bin/env bash
# The names of models.txt, one a line: tests/zoo/names.sh fast|all [A,B]. A name that is not listed is an error.
set -euo pipefail
list=$(dirname "${BASH_SOURCE[0]}")/models.txt
case ${1:-} in fast | all) ;; *) echo "names.sh: the subset is fast or all, not '${1:-}'" >&2; exit 1 ;; esac
if [ -z "${2:-}" ]; then
  awk -v subset="$1" '!/^#/ && NF && (subset == "all" || $2 == subset) { print $1 }' "$list"
else
  for name in ${2//,/ }; do
    awk '{ print $1 }' "$list" | grep -qx -- "$name" || { echo "names.sh: no model $name in $list" >&2; exit 1; }
    echo "$name"
  done
fi
