#!/bin/sh
# Installs shoptalk with the exact versions it was tested with, in its own environment.
# Usage: install.sh [FOLDER]   PYTHON names the interpreter. Safe to run again after an interruption; does nothing
# if everything is installed and neither pyproject.toml nor constraints.txt has changed since.
set -eu

folder=${1:-.venv}
python=${PYTHON:-python3.11}
command -v "$python" >/dev/null 2>&1 || python=python3

"$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || {
    echo "Python 3.11 or newer is needed; set PYTHON to it" >&2
    exit 1
}
pip_works() { "$folder/bin/python" -m pip --version >/dev/null 2>&1; }

done="$folder/.installed"
started="$folder.installing"  # a file beside the folder that exists until the install is complete
if [ -e "$done" ] && [ -z "$(find pyproject.toml constraints.txt -newer "$done")" ] && pip_works; then
    touch "$done"
    echo "shoptalk is installed in $folder"
    exit 0
fi
if ! pip_works && ! "$folder/bin/python" -m ensurepip >/dev/null 2>&1; then
    clear=
    if [ -e "$done" ] || [ -e "$started" ]; then
        clear=--clear  # made by this script, and broken or incomplete: created again
    elif [ -e "$folder" ] && [ -n "$(ls -A "$folder" 2>&1)" ]; then
        echo "$folder already exists and was not made by this script: remove it, or name another folder" >&2
        exit 1
    fi
    : > "$started"
    "$python" -m venv $clear "$folder"
fi
"$folder/bin/python" -m pip install --quiet --upgrade 'pip>=25'
# PyTorch first and by itself: its exact version decides which build every other package brings along.
torch=$(grep '^torch==' constraints.txt)
"$folder/bin/python" -m pip install --quiet "$torch"
"$folder/bin/python" -m pip install --quiet -c constraints.txt -e '.[dev]'
touch "$done"
rm -f "$started"
