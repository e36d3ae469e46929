# make demo: installs everything and runs the narrated demo. make test: what CI runs. make test-fast: lint, types and
# unit tests. Later runs skip what is already installed.
# where this interpreter is missing, the scripts use python3
PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
STEP := @sh scripts/step.sh
# Tests run in parallel (tests/workers.py says how they are divided), each process with one thread: two processes with
# two threads each, which wait for one another, are many times slower (docs/log.md).
WORKERS ?= 2
PYTEST := env OMP_NUM_THREADS=1 OMP_WAIT_POLICY=PASSIVE SHOPTALK_THREADS=1 $(BIN)/pytest --numprocesses=$(WORKERS)
# tests that start no model, server or browser
FAST := not slow and not label_studio and not postgres and not browser and not vllm

.PHONY: setup model label-studio vllm chat-ner demo docs test test-fast unit lint format types clean

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

# trains the small model that finds names in chats; needed only after a change of its sentences
chat-ner: $(STAMP)
	$(BIN)/python -m ingest.scrub.ner.chat.train

demo: setup
	$(BIN)/shoptalk demo $(ARGS)

# the documentation site, in build/site
docs: $(STAMP)
	$(STEP) documents env NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

lint: $(STAMP)
	$(STEP) lint $(BIN)/ruff check .
	$(STEP) format $(BIN)/ruff format --check .
	$(STEP) documents sh scripts/check_docs.sh $(BIN)/mkdocs

types: $(STAMP)
	$(STEP) types $(BIN)/mypy

# Label Studio is installed in parallel with shoptalk, lint and types
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
