# What one types here. Each target makes and fills .venv itself; nothing is installed by hand.

PYTHON_IN_VENV := .venv/bin/python

.DEFAULT_GOAL := help
.PHONY: help demo test lint bench docs fuzz

help: ## List the targets
	@sed -n 's/^\([a-z]*\):.*## /\1\t/p' Makefile | expand -t 8

demo: ## Show it all on a real PostgreSQL, http://127.0.0.1:8000 (ONCE=1: tour and leave; PORT=8001)
	@scripts/bootstrap.sh demo
	@$(PYTHON_IN_VENV) -m asgi_guard.cli demo $(if $(ONCE),--once) $(if $(PORT),--port $(PORT))

test: ## Run the linters and every test, with coverage (ARGS: further words for pytest)
	@scripts/bootstrap.sh dev
	@scripts/services.sh
	@scripts/lint.sh
	@$(PYTHON_IN_VENV) -m pytest --numprocesses auto --maxprocesses 2 --dist loadfile --no-loadscope-reorder --cov --cov-report=term $(ARGS)

lint: ## Run only the linters
	@scripts/bootstrap.sh dev
	@scripts/lint.sh

fuzz: ## Fuzz every parser, coverage-guided (TARGET: one of them; SECONDS: for each, 300)
	@scripts/bootstrap.sh dev
	@for name in $(or $(TARGET),$$($(PYTHON_IN_VENV) -m tests.fuzz list)); do \
		$(PYTHON_IN_VENV) -m tests.fuzz $$name $(or $(SECONDS),300) || exit 1; done

bench: ## Run the benchmarks (ARGS: names of some, e.g. rls_binding)
	@scripts/bootstrap.sh bench
	@$(PYTHON_IN_VENV) benchmarks/run.py $(ARGS)

docs: ## Check that the pages' links resolve and their Python compiles
	@scripts/bootstrap.sh dev
	@$(PYTHON_IN_VENV) scripts/check_docs.py
