# Everything a person types. `make setup` is quick when nothing changed, so every target begins with it.
PYTHON ?= python3
EXTRAS ?= cpu,lora,postgres,s3,ray,dev
WORKSPACE ?= workspace
BIN := .venv/bin

.DEFAULT_GOAL := help
.PHONY: help setup run test test-slow check format bench lock clean

help: ## this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "make %-8s %s\n", $$1, $$2}' Makefile

setup: ## make .venv with everything in it (EXTRAS=gpu,lora,dev for a CUDA machine)
	@command -v $(PYTHON) >/dev/null 2>&1 || { \
		echo "setup: there is no $(PYTHON) here" >&2; \
		echo "  next: install Python 3.11 or newer, or: make setup PYTHON=/path/to/python" >&2; exit 1; }
	@$(PYTHON) scripts/venv.py setup --extras $(EXTRAS)

run: setup ## two on-policy rounds for real, in ./workspace
	@test -d $(WORKSPACE)/lake || $(BIN)/prefactory init $(WORKSPACE)
	$(BIN)/prefactory run quickstart --workspace $(WORKSPACE)

test: setup ## the test suite (PYTEST_ARGS="-k ids" for a part of it)
	$(BIN)/python -m pytest -n 2 --dist loadfile -m "not slow" $(PYTEST_ARGS)

test-slow: setup ## what takes longer: kills by the dozen, whole walks, TRL beside ours
	$(BIN)/python -m pytest -n 2 --dist loadfile -m slow $(PYTEST_ARGS)

check: setup ## lint, format, types, imports, house rules: all of them, then the verdict
	@failed=; for step in "ruff check ." "ruff format --check ." "pyright" \
		"pyright --project tests/pyrightconfig.json" "lint-imports --no-cache" \
		"python scripts/check_house.py"; do \
		echo "== $$step"; $(BIN)/$$step || failed="$$failed [$$step]"; \
	done; test -z "$$failed" || { echo "check: failed:$$failed" >&2; exit 1; }

format: setup ## put the code in its one format
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: setup ## every benchmark of bench/; results in bench/results/
	@mkdir -p bench/results
	@for script in $(sort $(wildcard bench/*.py)); do echo "== $$script"; $(BIN)/python $$script || exit 1; done

lock: setup ## resolve every version anew into constraints.txt and constraints-gpu.txt
	@$(PYTHON) scripts/venv.py lock

clean: ## remove .venv and caches; never a workspace
	rm -rf .venv build dist .pytest_cache .ruff_cache .hypothesis .import_linter_cache
