# Two commands set everything up on a fresh machine; both may be run again at any time.
#   make demo [FILE=x.wav]   words appear while a recording plays; then a sentence is spoken, and the recording converted
#   make test                lint, type check, tests
# Another Python than the default one: make test PYTHON=python3.12

PYTHON ?= python3
FILE ?= demo/demo.flac
VOICE ?= arctic-clb
TEXT ?= Good morning. This sentence was made while you waited, a little at a time.
PIP := .venv/bin/python -m pip --disable-pip-version-check --quiet

.DEFAULT_GOAL := help
.PHONY: help demo test lint check-system clean

help:
	@sed -n '2,3s/^# *//p' Makefile

demo: .venv/installed-demo
	@echo "demo: streaming $(FILE) through the bundled recogniser, at the speed of speech"
	@.venv/bin/speech listen --input "$(FILE)"
	@echo "demo: speaking a sentence into demo-speech.wav, as fast as it can be made"
	@.venv/bin/speech say --out demo-speech.wav --seed 1 "$(TEXT)"
	@echo "demo: converting $(FILE) into the voice $(VOICE), into demo-converted.wav"
	@.venv/bin/speech convert "$(FILE)" --to "$(VOICE)" --out demo-converted.wav

test: .venv/installed-dev check-system lint
	@echo "test: running the tests"
	@.venv/bin/python -m pytest

lint: .venv/installed-dev
	@echo "lint: ruff"
	@.venv/bin/ruff check .
	@.venv/bin/ruff format --check .
	@echo "lint: pyright"
	@.venv/bin/pyright --pythonpath .venv/bin/python

clean:
	rm -rf .venv

.venv/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' || { \
	  echo "expected Python 3.11 to 3.13, got `$(PYTHON) --version 2>&1`: name another one, as in make PYTHON=python3.12" >&2; \
	  exit 1; }
	@echo "setup: making .venv"
	@$(PYTHON) -m venv .venv || { rm -rf .venv; \
	  echo "Python's venv module is missing: apt-get install python3-venv" >&2; exit 1; }

# torch goes first and by its exact version: where a local CPU build of that version lies in pip's search path it wins.
.venv/installed-torch: constraints.txt | .venv/bin/python
	@echo "setup: installing torch (the largest part, once)"
	@$(PIP) install "$$(grep '^torch==' constraints.txt)"
	@touch $@

.venv/installed-demo: pyproject.toml constraints.txt .venv/installed-torch
	@echo "setup: installing the project and what it needs"
	@$(PIP) install --constraint constraints.txt --editable ".[live]"
	@touch $@

.venv/installed-dev: pyproject.toml constraints.txt .venv/installed-torch
	@echo "setup: installing the project with everything the tests need"
	@$(PIP) install --constraint constraints.txt --editable ".[dev]"
	@touch $@ .venv/installed-demo

check-system:
	@missing=""; \
	for pair in pulseaudio:pulseaudio paplay:pulseaudio-utils espeak-ng:espeak-ng flite:flite; do \
	  command -v "$${pair%%:*}" >/dev/null || missing="$$missing $${pair##*:}"; done; \
	PATH="$$PATH:/sbin" ldconfig -p | grep -q libportaudio.so.2 || missing="$$missing libportaudio2"; \
	ls /usr/lib/*/alsa-lib/libasound_module_pcm_pulse.so >/dev/null 2>&1 || missing="$$missing libasound2-plugins"; \
	if [ -n "$$missing" ]; then \
	  echo "test: tests of live audio and of rendered speech are skipped where these Debian packages are missing; install them with"; \
	  echo "  apt-get install --no-install-recommends$$missing"; fi
