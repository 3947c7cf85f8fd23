#!/usr/bin/env bash
# The Python environment of the test data: tests/zoo/venv.sh OUT makes OUT/.venv with the pinned packages and prints its python.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
venv=$1/.venv
# The environment carries a copy of the list that it was made from, so that a changed list makes it anew.
if ! cmp -s "$here/requirements.txt" "$venv/requirements.txt"; then
  echo "Python environment in $venv" >&2
  rm -rf "$venv"
  python3 -m venv "$venv"
  "$venv/bin/python" -m pip install -q --disable-pip-version-check --no-deps --only-binary :all: -r "$here/requirements.txt" >&2
  cp "$here/requirements.txt" "$venv/requirements.txt"
fi
echo "$venv/bin/python"
