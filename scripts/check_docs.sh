#!/bin/sh
# Builds the documentation into a folder that is deleted afterwards; fails at a warning.   Usage: check_docs.sh MKDOCS
set -eu  # without --quiet, which would hide warnings from --strict

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
NO_MKDOCS_2_WARNING=1 "$1" build --strict --site-dir "$folder"
