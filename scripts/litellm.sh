#!/bin/sh
# Installs LiteLLM's proxy in its own environment, for bench/http.py only: shoptalk itself does not need it.
#
#   scripts/litellm.sh [FOLDER]
#
# FOLDER defaults to .venv-bench. PYTHON names the interpreter to use. The exact versions of its dependencies are in
# bench/litellm.txt. Does nothing if it is already installed. Safe to run again after an interrupted install.
set -eu

version=1.100.0
venv=${1:-.venv-bench}
python=${PYTHON:-python3.11}
command -v "$python" >/dev/null 2>&1 || python=python3
started="$venv.installing"  # a file beside the folder that exists until the install is complete
finished="$venv/.litellm-$version"

if [ -e "$finished" ] && [ -x "$venv/bin/litellm" ]; then
    echo "LiteLLM $version is installed in $venv"
    exit 0
fi

# Empties only what a run of this script left incomplete: a folder in use may be named by mistake.
make_environment() {
    ours=
    for mark in "$started" "$venv"/.litellm-*; do [ -e "$mark" ] && ours=yes; done
    if [ -z "$ours" ] && { [ -L "$venv" ] || [ -e "$venv" ]; } && [ -n "$(ls -A "$venv" 2>&1)" ]; then
        echo "$venv already exists and was not made by this script: remove it, or name another folder" >&2
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
