# `make test` and `make demo` each do all the set-up on a fresh machine.
PYTHON ?= python3
BIN := .venv/bin
EXTRAS := demo,peft,onnx,fast,serve,excel,tracking,search,cluster,dev

.PHONY: demo test lint types suite docs clean

demo: .venv/installed
	$(BIN)/understudy demo

test: lint types suite

lint: .venv/installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: .venv/installed
	$(BIN)/mypy

# the processes that tests start find the sources compiled, whatever the environment says
suite: .venv/installed
	HF_HUB_OFFLINE=1 PYTHONDONTWRITEBYTECODE= $(BIN)/python -m pytest --numprocesses auto --maxprocesses 8 --dist loadfile

docs: .venv/installed
	$(BIN)/python -m pip install --quiet --editable ".[docs]" --constraint constraints.txt
	$(BIN)/mkdocs build --strict --site-dir build/docs

.venv/installed: pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet torch --constraint constraints.txt
	$(BIN)/python -m pip install --quiet --editable ".[$(EXTRAS)]" --constraint constraints.txt
	touch $@

clean:
	rm -rf .venv build dist src/*.egg-info
