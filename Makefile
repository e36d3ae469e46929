# make demo: everything from nothing to a narrated run. make test: what CI runs. make test-fast: lint, types and unit
# tests. Second runs skip what is there.
# where there is no such interpreter, the scripts take python3
PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
STEP := @sh scripts/step.sh
# Tests run side by side (tests/workers.py says how they are divided), each process with one thread: two processes whose
# two threads each wait for each other are many times slower (docs/log.md).
WORKERS ?= 2
PYTEST := env OMP_NUM_THREADS=1 OMP_WAIT_POLICY=PASSIVE SHOPTALK_THREADS=1 $(BIN)/pytest --numprocesses=$(WORKERS)
# what starts no model, server or browser
FAST := not slow and not label_studio and not postgres and not browser and not vllm

.PHONY: setup model label-studio vllm chat-ner demo test test-fast unit lint format types clean

setup: $(STAMP) model label-studio

$(STAMP): pyproject.toml constraints.txt scripts/install.sh
	$(STEP) install env PYTHON=$(PYTHON) sh scripts/install.sh $(VENV)

model: $(STAMP)
	$(STEP) "base model" $(BIN)/shoptalk setup

label-studio:
	$(STEP) "Label Studio" env PYTHON=$(PYTHON) sh scripts/label_studio.sh .venv-label-studio

# optional, 3.5 GB: the engine over a vLLM server, and its tests
vllm:
	PYTHON=$(PYTHON) sh scripts/vllm.sh .venv-vllm

# the small model that finds names in chats, after a change of its sentences; it comes trained
chat-ner: $(STAMP)
	$(BIN)/python -m ingest.scrub.ner.chat.train

demo: setup
	$(BIN)/shoptalk demo $(ARGS)

lint: $(STAMP)
	$(STEP) lint $(BIN)/ruff check .
	$(STEP) format $(BIN)/ruff format --check .

types: $(STAMP)
	$(STEP) types $(BIN)/mypy

# Label Studio installs beside shoptalk, lint and types beside that
test:
	$(STEP) "setup, lint and types" $(MAKE) --no-print-directory --jobs=2 label-studio model lint types
	$(STEP) tests $(PYTEST) --durations=10 $(ARGS)

test-fast:
	$(STEP) "lint, types and unit tests" $(MAKE) --no-print-directory --jobs=2 unit types lint

unit: $(STAMP)
	$(STEP) "unit tests" $(PYTEST) -m "$(FAST)" $(ARGS)

format: $(STAMP)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:
	rm -rf $(VENV) .venv-label-studio .venv-vllm .mypy_cache .ruff_cache .pytest_cache build *.egg-info
