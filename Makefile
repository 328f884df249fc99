# make demo    set everything up and run the whole path on real clips: sources -> catalogs -> adapter -> clip
# make test    set up and run the tests
# make lint    ruff, mypy --strict, docstrings
# make bench   the measurements that the README quotes
#
# PYTHON=python3.12 picks the interpreter; TORCH='torch==2.13.0 --index-url URL' another build of torch.

PYTHON ?= python3
TORCH ?= torch==2.13.0
BIN := .venv/bin
export PATH := $(CURDIR)/$(BIN):$(PATH)

.PHONY: demo test lint bench clean

demo: .venv/ready
	$(BIN)/python examples/demo.py

test: .venv/ready
	$(BIN)/python -m pytest

lint: .venv/ready
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

bench: .venv/ready
	$(BIN)/python benchmarks/decode.py
	$(BIN)/python benchmarks/build_canny.py
	$(BIN)/python benchmarks/rebuild.py

.venv/ready: pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed: make PYTHON=python3.11")'
	@echo "setting up .venv: torch, ray, diffusers and the rest, about 1.5 GB, a few minutes the first time"
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install -q --upgrade pip
	$(BIN)/python -m pip install -q $(TORCH)
	$(BIN)/python -m pip install -q -e '.[dev]'
	@touch $@

clean:
	rm -rf .venv demo bench build *.egg-info
