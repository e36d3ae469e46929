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
started="$venv.installing"  # beside it, there until the install is whole
finished="$venv/.litellm-$version"

if [ -e "$finished" ] && [ -x "$venv/bin/litellm" ]; then
    echo "LiteLLM $version is installed in $venv"
    exit 0
fi

# Empties what a run of this script left half-made, and nothing else: a folder in use may be named by mistake.
make_environment() {
    ours=
    for mark in "$started" "$venv"/.litellm-*; do [ -e "$mark" ] && ours=yes; done
    if [ -z "$ours" ] && { [ -L "$venv" ] || [ -e "$venv" ]; } && [ -n "$(ls -A "$venv" 2>&1)" ]; then
        echo "$venv is there already and was not made by this script: remove it, or name another folder" >&2
        exit 1
    fi
    : > "$started"
    "$python" -m venv --clear "$venv"
}

"$venv/bin/python" -m pip --version >/dev/null 2>&1 || make_environment
echo "Installing LiteLLM $version in $venv (about two minutes) ..."
"$venv/bin/python" -m pip install --quiet --disable-pip-version-check -c bench/litellm.txt "litellm[proxy]==$version"
"$venv/bin/python" -m pip check --disable-pip-version-check >&2
: > "$finished"
rm -f "$started"
echo "LiteLLM $version is installed in $venv"
