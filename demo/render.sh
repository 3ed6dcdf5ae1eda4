#!/usr/bin/env bash
# Renders demo.flac from demo.txt: one sentence a line, 0.8 s of silence after each. Needs flite and sox.
set -euo pipefail
cd "$(dirname "$0")"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir "$work/parts"
n=0
while read -r sentence; do
  n=$((n + 1))
  flite -voice slt --setf duration_stretch=1.1 -t "$sentence" -o "$work/dry.wav"
  sox "$work/dry.wav" "$work/parts/$n.wav" norm -6 pad 0.2 0.8
done <demo.txt
sox "$work"/parts/*.wav -b 16 demo.flac
