# `make help` lists what there is. VENV=somewhere-else uses another virtual environment.
VENV ?= .venv
PYTHON ?= python3
PY = $(VENV)/bin/python

.PHONY: help demo play pipeline pipeline-unseen test test-fast lint typecheck rom expert-table bc-table realisability audit reference compare clean

help: ## this list
	@grep -E '^[a-z-]+:.*## ' Makefile | sed 's/:.*## /\t/' | expand -t 16

$(VENV)/.installed: requirements.txt
	$(PYTHON) -m venv $(VENV)
	$(PY) -m pip install --quiet --disable-pip-version-check -r requirements.txt
	@touch $@

$(VENV)/.installed-dev: requirements.txt requirements-dev.txt requirements-minari.txt requirements-model.txt $(VENV)/.installed
	$(PY) -m pip install --quiet --disable-pip-version-check -r requirements-dev.txt
	@touch $@

demo: $(VENV)/.installed ## collect, clone and DAgger on three milestones; prints a table, writes films
	$(PY) -m benchmarks.demo

pipeline: $(VENV)/.installed ## a student for every milestone of Tallgrass, with the settings of the README (47 minutes; the same command resumes it)
	$(PY) auto_dagger_pipeline.py --network tiles-small --hidden-dim 64 --batch-size 32 --learning-rate 1e-3 \
	    --dagger-iterations 6 --episodes-per-iter 100 --train-steps-per-iter 2000 --eval-episodes 50 \
	    --best-eval-episodes 50 --parallel-milestones 2
	$(PY) -m tools.train_router

pipeline-unseen: $(VENV)/.installed ## students for worlds that they never saw (tier T2; hours; the same command resumes it)
	$(PY) auto_dagger_pipeline.py --tier T2 --output-dir dagger_pipeline_unseen --network tiles --hidden-dim 128 --batch-size 64 \
	    --learning-rate 1e-3 --dagger-iterations 10 --episodes-per-iter 150 --train-steps-per-iter 2000 --eval-episodes 50 \
	    --best-eval-episodes 50 --no-record-video --parallel-milestones 2
	$(PY) -m tools.chain_dagger --students dagger_pipeline_unseen --output-dir chain_dagger_unseen
	$(PY) -m tools.train_router --pipeline-dir dagger_pipeline_unseen --output chain_dagger_unseen/students/router.pth

play: $(VENV)/.installed ## the whole game from power-on by the students, filmed
	$(PY) play.py

test: $(VENV)/.installed-dev ## the whole suite, two tests at a time
	$(PY) -m pytest -n 2 --dist worksteal

test-fast: $(VENV)/.installed-dev ## what runs in a minute or two
	$(PY) -m pytest -m "not slow"

lint: $(VENV)/.installed-dev typecheck ## ruff and mypy
	$(VENV)/bin/ruff check .

typecheck: $(VENV)/.installed-dev ## mypy, over the folders that pyproject.toml names
	$(VENV)/bin/mypy

rom: ## rebuild tallgrass/tallgrass.gb (needs sdcc 4.2.0)
	tallgrass/tools/build_rom.sh

expert-table: $(VENV)/.installed ## success and steps of every scripted expert
	$(PY) -m benchmarks.expert_table

realisability: $(VENV)/.installed ## share of identical pictures with different labels
	$(PY) -m benchmarks.realisability

bc-table: $(VENV)/.installed ## behavioural cloning on every milestone, for the README's table
	$(PY) -m benchmarks.bc_table

audit: $(VENV)/.installed ## is Tallgrass-v1 hard enough, and fair? trivial policies against its gates
	$(PY) -m benchmarks.audit

reference: $(VENV)/.installed ## the reference scores of Tallgrass-v1 (hours; the same command resumes it)
	$(PY) -m benchmarks.reference

compare: $(VENV)/.installed ## DAgger against cloning at equal labels: tables and a picture (hours; the same command resumes it)
	$(PY) -m benchmarks.compare

clean: ## remove build products and results, not the virtual environment
	rm -rf tallgrass/build demo
	! test -d results || find results -type f ! -path 'results/v1/*.json' ! -path 'results/v1/*.md' ! -path 'results/v1/*/.*_settings' -delete
