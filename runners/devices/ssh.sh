#!/bin/sh
# Measure a pack on a device that you can log in to, and fetch what it measured:
#
#   runners/devices/ssh.sh latency-pack-NAME user@host [python3]
#   nasbench latency import latency-pack-NAME/results.json
#
# Needs ssh and scp here, Python 3.9 or newer with venv there, and the network there once, to install the runtime.
set -eu
pack=${1:?folder of the pack}
host=${2:?user@host}
python=${3:-python3}
runtime=$("$python" -c 'import json, sys; print(json.load(open(sys.argv[1] + "/manifest.json"))["runtime"])' "$pack" 2>/dev/null ||
  sed -n 's/^ *"runtime": *"\(.*\)".*/\1/p' "$pack/manifest.json")
folder=$(basename "$pack")
scp -rq "$pack" "$host:$folder"
ssh "$host" "cd '$folder' && '$python' -m venv venv && venv/bin/pip install -q '$runtime' && venv/bin/python standalone.py"
scp -q "$host:$folder/results.json" "$pack/results.json"
echo "now run: nasbench latency import $pack/results.json"
