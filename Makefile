# The two commands of the README, and what CI runs. Everything lives in .venv, made from pyproject.toml and constraints.txt.

# The Python of that version where it goes by that name, or else the one that is there; pip refuses one that is too old.
PYTHON ?= $(shell command -v python3.11 || echo python3)
VENV ?= .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
EXTRAS := $(VENV)/.extras
BUNDLED := numpy_plain torch_functional torch_functional:math torch_functional:flash \
	torch_modules torch_modules:with_weights torch_modules:native torch_modules:stock
HUGGINGFACE := huggingface_eager huggingface_sdpa

# Nothing here asks a hub for a model.
export HF_HUB_OFFLINE := 1

.PHONY: conform conform-huggingface extras test check docs clean

# The second line trains models with the reference, in the short form of every run: scores, baselines, curves, maps.
conform: $(READY)  ## judge the bundled implementations; reports/latest/{index.html,report.json,report.md} and a table
	$(BIN)/python -m pytest -q $(addprefix --impl ,$(BUNDLED))
	$(BIN)/python -m pytest -q -m short --report-dir reports/training

conform-huggingface: $(EXTRAS)  ## the same for Hugging Face's models, which need an extra
	$(BIN)/python -m pytest -q $(addprefix --impl ,$(HUGGINGFACE)) --report-dir reports/huggingface
	$(BIN)/python -m pytest -q --impl metrics_libraries --impl torchmetrics_functional --report-dir reports/metrics

extras: $(EXTRAS)  ## install what some tests and implementations need and most users do not

test: $(READY)  ## judge the reference, then test the engine
	$(BIN)/python -m pytest -q --report-dir build/reference
	$(BIN)/python -m pytest -q tests -n 2

check: $(READY)  ## lint, format and types; types are checked on an installed copy, where the folders are one package
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	rm -rf build/typed
	$(BIN)/python -m pip install -q --no-deps --no-build-isolation --target build/typed .
	MYPYPATH=build/typed $(BIN)/mypy -p transpec

docs: $(READY)  ## write the generated documents anew
	$(BIN)/transpec spec --output docs/specification.md
	$(BIN)/transpec spec --faults --output docs/faults.md
	$(BIN)/python -m tests.kill

$(READY): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install -q -c constraints.txt setuptools torch
	$(BIN)/python -m pip install -q -c constraints.txt -e ".[dev,training]"
	touch $@

$(EXTRAS): $(READY)
	$(BIN)/python -m pip install -q -c constraints.txt -e ".[huggingface,minilm,evaluation]"
	touch $@

clean:
	rm -rf build reports/latest *.egg-info
