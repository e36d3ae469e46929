#!/bin/sh
# Installs Label Studio in its own environment, apart from shoptalk's: their dependencies conflict.
#
#   scripts/label_studio.sh [FOLDER]
#
# FOLDER defaults to $SHOPTALK_LABEL_STUDIO_VENV, else .venv-label-studio. PYTHON names the interpreter to use.
# Takes about four minutes and 1 GB once; does nothing if it is already installed. Safe to run again after an
# interrupted install: an incomplete environment is created again.
set -eu

version=1.23.2
venv=${1:-${SHOPTALK_LABEL_STUDIO_VENV:-.venv-label-studio}}
python=${PYTHON:-python3.11}
command -v "$python" >/dev/null 2>&1 || python=python3
started="$venv.installing"  # a file beside the folder that exists until the install is complete
finished="$venv/.label-studio-$version"

installed() {
    [ -x "$venv/bin/label-studio" ] && "$venv/bin/python" -c "
import importlib.metadata, sys
sys.exit(importlib.metadata.version('label-studio') != '$version')" 2>/dev/null
}

if [ -e "$finished" ] && installed; then
    echo "Label Studio $version is installed in $venv"
    exit 0
fi

# Empties only what a run of this script left incomplete: a folder in use may be named by mistake.
make_environment() {
    ours=
    for mark in "$started" "$venv"/.label-studio-*; do [ -e "$mark" ] && ours=yes; done
    if [ -z "$ours" ] && { [ -L "$venv" ] || [ -e "$venv" ]; } && [ -n "$(ls -A "$venv" 2>&1)" ]; then
        echo "$venv already exists and was not made by this script: remove it, or name another folder" >&2
        exit 1
    fi
    : > "$started"
    "$python" -m venv --clear "$venv"
}

if [ -e "$started" ] || ! [ -x "$venv/bin/python" ]; then make_environment; fi
if ! installed; then
    echo "Installing Label Studio $version in $venv (about four minutes) ..."
    "$venv/bin/python" -m pip install --quiet --disable-pip-version-check "label-studio==$version"
fi
"$venv/bin/python" -m pip check --disable-pip-version-check >&2 ||
    echo "warning: its dependencies conflict, as listed above; Label Studio may still work" >&2
rm -f "$started"
: > "$finished"
echo "Label Studio $version is installed in $venv"
