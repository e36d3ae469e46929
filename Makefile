# make demo: everything from nothing to a narrated run. make test: what CI runs. Second runs skip what is there.
# where there is no such interpreter, the scripts take python3
PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.PHONY: setup model label-studio vllm chat-ner demo test lint format types clean

setup: $(STAMP) model label-studio

$(STAMP): pyproject.toml constraints.txt scripts/install.sh
	PYTHON=$(PYTHON) sh scripts/install.sh $(VENV)

model: $(STAMP)
	$(BIN)/shoptalk setup

label-studio:
	PYTHON=$(PYTHON) sh scripts/label_studio.sh .venv-label-studio

# optional, 3.5 GB: the engine over a vLLM server, and its tests
vllm:
	PYTHON=$(PYTHON) sh scripts/vllm.sh .venv-vllm

# the small model that finds names in chats, after a change of its sentences; it comes trained
chat-ner: $(STAMP)
	$(BIN)/python -m ingest.scrub.chat.train

demo: setup
	$(BIN)/shoptalk demo $(ARGS)

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

test: setup lint
	$(BIN)/pytest $(ARGS)

format: $(STAMP)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:
	rm -rf $(VENV) .venv-label-studio .venv-vllm .mypy_cache .ruff_cache .pytest_cache build *.egg-info
