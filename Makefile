# Each target sets up all it needs on a fresh machine and is quick when repeated.
#   make toy    draw the intuition plots        make check  lint, types, contracts, fast tests: under a minute
#   make quick  the same in about a minute       make test   everything CI checks
#   make theory every claim's verdict           make bench  speed, measured side by side
#   make proofs  Coq checks the theorems of theory/proofs, after installing it where it can
#   make mutation  do tests notice small mistakes?
#   make figures  the paper's figures and tables, from what results/ holds
#   make report  the page of all results with the explorer in it, report/index.html; needs Node 20
#   make site   the documentation as pages for a browser, into build/site: guides, verdicts, results, API
#   make soak   10 000 requests to a judge whose endpoint fails in every way, with flat memory; a cell of Table 4 that
#               is stopped in every step: minutes
#   make train-tiny   INS-DPO on shipped data under the deepspeed launcher, minutes on one CPU
#   make evaluate-tiny   its answers to a dozen shipped questions: generated, judged by a rule, scored, shown
#   make online-tiny   two rounds of training on a tiny policy's own responses, labeled by a rule, minutes on one CPU
#   make reproduce-tiny   Table 4's eight cells by tiny models: trained, judged by a rule, scored, minutes on two CPUs
#   make train-smol   fetch SmolLM2-135M-Instruct, train it by INS-DPO, compare replies: minutes on two CPUs
VENV ?= .venv
PYTHON ?= python3
PY := $(VENV)/bin/python
export PIP_CONSTRAINT := $(CURDIR)/constraints.txt
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.PHONY: toy quick figures site report npm train-tiny train-smol evaluate-tiny online-tiny reproduce-tiny check test lint packages bench theory proofs coq chromium thorough mutation soak clean

toy: $(VENV)/.toy-ready
	$(PY) toy/run.py

quick: $(VENV)/.toy-ready
	$(PY) toy/run.py --quick

site: $(VENV)/.site-ready
	$(PY) -m docs.site

figures: $(VENV)/.toy-ready
	$(PY) -m paper_figures

# With the toy's results where there are any, else a quick run of it.
report: $(VENV)/.report-ready report/node_modules/.ready
	test -f results/toy/results.json || test -f results/toy-quick/results.json || \
		$(PY) toy/run.py --quick --out results/toy-quick
	$(PY) -m report

report/node_modules/.ready: report/package.json report/package-lock.json
	npm ci --prefix report
	touch $@

# The launcher calls `python3`, so the environment's own must come first.
train-tiny: $(VENV)/.train-ready
	PATH="$(abspath $(VENV))/bin:$$PATH" deepspeed --num_gpus 1 scaled/train.py --config scaled/configs/tiny.yaml

# A run that was stopped goes on; a finished one is only compared again.
SMOL := results/models/smollm2-135m-instruct
train-smol: $(VENV)/.smol-ready
	$(PY) scaled/examples/fetch_smol.py $(SMOL)
	$(PY) scaled/train.py --config scaled/configs/smol.yaml
	$(PY) -m scaled.compare results/train-smol

# Trains first, where train-tiny has not been made; a second time it only scores and shows again.
evaluate-tiny: $(VENV)/.evaluate-ready
	test -f results/train-tiny/run.json || $(MAKE) train-tiny
	$(PY) scaled/examples/evaluate_tiny.py results/train-tiny

# What was stopped goes on; a second time it only shows the table again.
online-tiny: $(VENV)/.train-ready
	$(PY) scaled/train.py --config scaled/configs/tiny_first.yaml
	$(PY) -m scaled.online --config scaled/configs/online/tiny.yaml

# What was stopped goes on; a second time it only shows the table again.
reproduce-tiny: $(VENV)/.evaluate-ready
	$(PY) -m scaled.reproduce --table 4 --scale tiny --launch local

check: lint
	$(PY) -m pytest -n auto --dist loadscope -m "not slow"

# Checks and packages at a time: the first keep the processors busy, the second the disk.
test: $(VENV)/.dev-ready
	@$(MAKE) --no-print-directory -j 2 lint packages
	$(PY) -m pytest -n auto --dist loadscope --durations 30

lint: $(VENV)/.dev-ready
	$(VENV)/bin/ruff check
	$(VENV)/bin/ruff format --check
	$(VENV)/bin/mypy
	$(VENV)/bin/lint-imports

bench: $(VENV)/.dev-ready
	$(PY) benchmarks/toy_speed.py

theory: $(VENV)/.dev-ready
	$(PY) -m theory

proofs: coq
	$(PYTHON) -m theory.proofs

# Debian's packages that tests use, about 900 MB and 400 MB, and npm's for the page, 90 MB. Where they cannot be installed, `make test` goes on: tests
# that need them are skipped and say why.
packages:
	@$(MAKE) --no-print-directory coq
	@$(MAKE) --no-print-directory chromium
	@$(MAKE) --no-print-directory npm

coq:
	@$(PYTHON) -c 'import sys, theory.proofs; sys.exit(theory.proofs.missing() is not None)' || \
	$(call apt_install,coq libcoq-mathcomp-algebra)

chromium:
	@command -v chromium >/dev/null || $(call apt_install,chromium)

npm:
	@if command -v npm >/dev/null; then $(MAKE) --no-print-directory report/node_modules/.ready \
		|| echo "make npm: its packages could not be installed"; \
	else echo "make npm: npm is not installed"; fi

define apt_install
if ! command -v apt-get >/dev/null || [ "$$(id -u)" != 0 ]; then \
	echo "make $@: not installed, and installing $(1) needs root and apt-get"; \
else \
	apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -qq --no-install-recommends $(1) >/dev/null \
		|| echo "make $@: apt-get could not install $(1)"; \
fi
endef

# Twenty times as many random examples.
thorough: $(VENV)/.dev-ready
	THEORY_PROFILE=thorough $(PY) -m pytest theory

mutation: $(VENV)/.dev-ready
	$(PY) -m theory.mutation
	$(PY) -m theory.mutation --semantic

soak: $(VENV)/.dev-ready
	SOAK=10000 $(PY) -m pytest tests/scaled/evaluation/test_judging.py -k "exactly_once and 10000"
	SOAK=1 $(PY) -m pytest tests/scaled/test_killed_reproduce.py

# torch goes first and alone: what depends on it must find the pinned build, not choose its own.
$(VENV)/.torch-ready: constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(PY) -m pip install --quiet "$$(grep '^pip==' constraints.txt)"
	$(PY) -m pip install --quiet "$$(grep '^torch==' constraints.txt)"
	touch $@

$(VENV)/.toy-ready: $(VENV)/.torch-ready pyproject.toml
	$(PY) -m pip install --quiet --group toy --editable .
	touch $@

$(VENV)/.site-ready: $(VENV)/.torch-ready pyproject.toml
	$(PY) -m pip install --quiet --group site --editable .
	touch $@

$(VENV)/.train-ready: $(VENV)/.torch-ready pyproject.toml
	$(PY) -m pip install --quiet --group train --editable .
	touch $@

$(VENV)/.smol-ready: $(VENV)/.torch-ready pyproject.toml
	$(PY) -m pip install --quiet --group smol --editable .
	touch $@ $(VENV)/.train-ready

$(VENV)/.report-ready: $(VENV)/.torch-ready pyproject.toml
	$(PY) -m pip install --quiet --group report --editable .
	touch $@ $(VENV)/.toy-ready

$(VENV)/.evaluate-ready: $(VENV)/.torch-ready pyproject.toml
	$(PY) -m pip install --quiet --group evaluate --editable .
	touch $@ $(VENV)/.train-ready

$(VENV)/.dev-ready: $(VENV)/.torch-ready pyproject.toml
	$(PY) -m pip install --quiet --group dev --editable .
	touch $@ $(VENV)/.toy-ready $(VENV)/.train-ready $(VENV)/.evaluate-ready $(VENV)/.site-ready $(VENV)/.report-ready

clean:
	rm -rf $(VENV) report/node_modules report/index.html results build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
