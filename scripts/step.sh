#!/bin/sh
# Runs a command as a named step and prints how long it took.   Usage: step.sh NAME COMMAND...
set -u

name=$1
shift
began=$(date +%s)
echo "==> $name"
status=0
"$@" || status=$?
failed=
[ "$status" = 0 ] || failed=", failed with status $status"
echo "==> $name: $(($(date +%s) - began)) s$failed"
exit "$status"
