#!/bin/sh
# Installs LiteLLM's proxy in an environment of its own, for bench/http.py alone: nothing of shoptalk needs it.
#
#   scripts/litellm.sh [FOLDER]
#
# FOLDER defaults to .venv-bench. PYTHON names the interpreter to use. The exact versions of all it brings are in
# bench/litellm.txt. Does nothing when it is there already. Safe to run again after an interrupted install.
set -eu

version=1.100.0
venv=${1:-.venv-bench}
python=${PYTHON:-python3.11}
command -v "$python" >/dev/null 2>&1 || python=python3
finished="$venv/.litellm-$version"

if [ -e "$finished" ] && [ -x "$venv/bin/litellm" ]; then
    echo "LiteLLM $version is installed in $venv"
    exit 0
fi

"$venv/bin/python" -m pip --version >/dev/null 2>&1 || "$python" -m venv --clear "$venv"
echo "Installing LiteLLM $version in $venv (about two minutes) ..."
"$venv/bin/python" -m pip install --quiet --disable-pip-version-check -c bench/litellm.txt "litellm[proxy]==$version"
"$venv/bin/python" -m pip check --disable-pip-version-check >&2
: > "$finished"
echo "LiteLLM $version is installed in $venv"
