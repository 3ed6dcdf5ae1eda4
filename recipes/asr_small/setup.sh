#!/bin/sh
# Installs what `stage=synthesize` reads aloud with, from Debian or Ubuntu packages. Everything else comes with
# `pip install -e '.[train]'`.
set -eu
sudo=
[ "$(id -u)" = 0 ] || sudo=sudo
$sudo apt-get update
$sudo apt-get install -y --no-install-recommends espeak-ng flite festival festvox-kallpc16k festvox-us-slt-hts
