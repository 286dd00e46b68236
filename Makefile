# Wan Studio's commands; `make` alone lists them. On Windows use the lines in README.md.

VENV := .venv
BIN := $(VENV)/bin
RUNTIME := $(VENV)/requirements.installed
DEVELOPMENT := $(VENV)/requirements-dev.installed

PROMPT ?= a red balloon flies up over green hills
export PROMPT

# The first Python on the path for which every pinned requirement has wheels.
PYTHON ?= $(shell for python in python3 python3.14 python3.13 python3.12 python3.11 python; do \
	$$python -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 15))' 2>/dev/null && echo $$python && break; \
	done)

.DEFAULT_GOAL := help
.PHONY: help setup run demo test test-gpu check bench demo-model soak space

help:  ## list these commands
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-11s %s\n", $$1, $$2 }' Makefile

setup: $(RUNTIME)  ## make .venv with what requirements.txt pins

run: setup  ## serve the page on this computer (ARGS="--port 7861" and the like)
	$(BIN)/python app.py $(ARGS)

demo: setup  ## make one clip on the command line (PROMPT="a blue fish swims left in the sea")
	$(BIN)/python -m wan_pipeline generate --prompt "$$PROMPT" $(ARGS)

# Without compiled files, which some machines turn off, each of its processes would compile all tests again.
test: export PYTHONDONTWRITEBYTECODE =
test: $(DEVELOPMENT)  ## run the tests, in a real browser too, but not the long ones nor those for a GPU (ARGS="-k store" for some)
	.ci/install-chromium
	$(BIN)/python -m pytest -n 3 --dist loadgroup --no-loadscope-reorder $(ARGS)

test-gpu: $(DEVELOPMENT)  ## run the engine's tests on the accelerator (WAN_STUDIO_DEVICE names another device)
	$(BIN)/python -m pytest -m gpu --confcutdir=tests/gpu tests/gpu $(ARGS)

check: $(DEVELOPMENT)  ## lint, check the formatting, the types and which room imports which
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo

bench: $(DEVELOPMENT)  ## measure how well the demo model does what prompts ask
	$(BIN)/python -m benchmarks.demo.quality $(ARGS)

demo-model: setup  ## train the demo model anew, about half an hour on one large GPU
	$(BIN)/python -m training all $(ARGS)

space: setup  ## write build/space, to be pushed as a Hugging Face Space (ARGS="--hardware zerogpu --run")
	$(BIN)/python -m space $(ARGS)

soak: $(DEVELOPMENT)  ## run what `make test` leaves out, an hour or more: whole grids, long flows, 2000 jobs and 300 kills
	.ci/install-chromium
	$(BIN)/python -m pytest -m soak $(ARGS)

# Installed again only when the requirements have changed.

$(RUNTIME): requirements.txt | $(BIN)/python
	$(BIN)/python -m pip install --requirement requirements.txt
	@touch $@

$(DEVELOPMENT): requirements-dev.txt $(RUNTIME)
	$(BIN)/python -m pip install --requirement requirements-dev.txt
	@touch $@

$(BIN)/python:
	@if [ -z "$(PYTHON)" ]; then echo "Wan Studio needs Python 3.11 to 3.14: install one, or name it," \
		"as in: make $(MAKECMDGOALS) PYTHON=/path/to/python3.12" >&2; exit 1; fi
	@if ! $(PYTHON) -c 'import venv, ensurepip' 2>/dev/null; then echo "$(PYTHON) cannot make virtual environments:" \
		"install its venv module (Debian and Ubuntu: apt-get install python3-venv) and try again." >&2; exit 1; fi
	$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); exit 1; }
