# make demo    a file grows, its writer is killed, a second run goes on, every byte is checked
# make test    every check that CI runs, and a summary of them
# make bench   npygrow and its peers side by side, 15 minutes (ARGS=--quick: 2; ARGS=--write keeps it in docs/performance.md)
# make clean   removes all that these made
#
# Needs Rust 1.89 or newer with rustfmt and clippy, Python 3.11 or newer, and make. Everything else is fetched into .venv
# and target/. Another Python: make PYTHON=/path/to/python3.12 demo

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.NOTPARALLEL:
.SUFFIXES:

export PIP_DISABLE_PIP_VERSION_CHECK := 1
export PYTHONDONTWRITEBYTECODE := 1
export HYPOTHESIS_STORAGE_DIRECTORY := target/hypothesis
export MYPY_CACHE_DIR := target/mypy

is_new_enough := -c 'import sys; sys.exit(sys.version_info < (3, 11))'
# A command can be found and still not run (a pyenv shim of a version that is not active), so each candidate is run.
first_python = $(shell for python in $(1); do $$python $(is_new_enough) 2>/dev/null && echo $$python && break; done)

ifndef PYTHON
PYTHON := $(call first_python,python3.13 python3.12 python3.11 python3)
endif
# Builds and tests of the binding see the same interpreter.
export PYO3_PYTHON := $(PYTHON)

# The oldest NumPy we support, and the oldest Python here: NumPy 1.26 has no wheels for Python 3.13 and later.
OLDEST_PYTHON = $(call first_python,python3.11 python3.12 $(PYTHON))
oldest_numpy := import sys; v = sys.version_info; print("1.26" if v < (3, 13) else "2.1" if v < (3, 14) else "2.3")

# What the wheel is made of; README.md is its description.
SOURCES := $(wildcard Cargo.toml Cargo.lock pyproject.toml README.md) \
	$(shell find crates/*/src crates/*/Cargo.toml python/npygrow -type f ! -name '*.py[co]' ! -name '*.so' 2>/dev/null)
TEST_TOOLS := 'pytest>=8' hypothesis ml_dtypes h5py zarr 'dask[array]' pyarrow awkward duckdb xarray

.PHONY: help demo test bench clean need-rust need-python

help:
	@sed -n '/^$$/q; s/^# \{0,1\}//p' Makefile

demo: .venv/.package
	@.venv/bin/python -P examples/demo.py

# --- The checks, in the order they run: the quick ones first -------------------------------------------------------

CHECKS := fmt clippy clippy-no-std clippy-ndarray platforms no-std cargo-test cargo-test-ndarray fuzz doc wheel \
	pytest pytest-oldest doctest stubtest
.PHONY: $(CHECKS)

test: need-rust need-python
	@mkdir -p target && rm -f target/checks
	@$(MAKE) --no-print-directory --keep-going $(CHECKS); status=$$?; \
	printf '\n== summary\n'; \
	for check in $(CHECKS); do \
		grep -s " $$check\$$" target/checks || { echo "not run $$check"; status=1; }; \
	done; \
	exit $$status

fmt:
	@scripts/check $@ cargo fmt --all --check
clippy:
	@scripts/check $@ cargo clippy --quiet --workspace --all-targets -- -D warnings
clippy-no-std:
	@scripts/check $@ cargo clippy --quiet -p npygrow --no-default-features --lib -- -D warnings
clippy-ndarray:
	@scripts/check $@ cargo clippy --quiet -p npygrow --features ndarray --all-targets -- -D warnings
platforms:
	@scripts/check $@ scripts/platforms
no-std:
	@scripts/check $@ cargo build --quiet -p npygrow -p flash-logger --no-default-features --lib
cargo-test:
	@scripts/check $@ cargo test --quiet --workspace
cargo-test-ndarray:
	@scripts/check $@ cargo test --quiet -p npygrow --features ndarray array
# The short run on stable Rust; scripts/fuzz is the long one.
fuzz:
	@scripts/check $@ cargo test --quiet --manifest-path fuzz/Cargo.toml --no-default-features
doc:
	@RUSTDOCFLAGS='-D warnings' scripts/check $@ cargo doc --quiet --workspace --no-deps
wheel: .venv/.package
	@scripts/check $@ .venv/bin/python -P -c 'import npygrow'

# The suite runs on the wheel, installed; suite.py refuses anything else.
pytest: .venv/.tools
	@scripts/check $@ .venv/bin/python -P scripts/suite.py -q -rs -o cache_dir=target/pytest python/tests
pytest-oldest: target/venv-oldest/.tools
	@scripts/check $@ target/venv-oldest/bin/python -P scripts/suite.py -q -rs -o cache_dir=target/pytest python/tests
doctest: .venv/.package
	@scripts/check $@ .venv/bin/python -P scripts/doctests.py
stubtest: .venv/.tools
	@scripts/check $@ .venv/bin/python -P -m mypy.stubtest npygrow

bench: target/venv-bench/.tools
	@target/venv-bench/bin/python bench/run.py --dir target $(ARGS)

clean:
	rm -rf .venv dist target bench/target fuzz/target rigs/target

# --- One wheel, three environments: .venv for the demo and the tests, the oldest NumPy, the benchmarks --------------

dist/.built: $(SOURCES) | need-rust .venv/bin/python
	@echo 'building the wheel (the first time takes a minute or two)'
	@mkdir -p dist && rm -f dist/*.whl
	@.venv/bin/python -m pip wheel --quiet --no-deps --wheel-dir dist .
	@touch $@

# The second install puts in a rebuilt wheel of the same version, which pip would call satisfied.
%/.package: dist/.built | %/bin/python
	@$*/bin/python -m pip install --quiet dist/*.whl
	@$*/bin/python -m pip install --quiet --no-deps --force-reinstall dist/*.whl
	@touch $@

.venv/.tools: .venv/.package
	@.venv/bin/python -m pip install --quiet --upgrade numpy mypy $(TEST_TOOLS)
	@touch $@

target/venv-oldest/.tools: target/venv-oldest/.package
	@numpy=$$(target/venv-oldest/bin/python -c '$(oldest_numpy)') && \
	target/venv-oldest/bin/python -m pip install --quiet "numpy==$$numpy.*" $(TEST_TOOLS)
	@touch $@

# One by one: a peer that cannot be installed here is named, with pip's words, and the others are compared.
target/venv-bench/.tools: target/venv-bench/.package bench/requirements.txt
	@while read -r peer; do log=$(@D)/pip-$${peer%%=*}.log; \
	$(@D)/bin/python -m pip install --quiet "$$peer" >"$$log" 2>&1 || { echo "!!! cannot install $$peer:"; cat "$$log"; }; \
	done < bench/requirements.txt
	@touch $@

target/venv-oldest/bin/python: | need-python
	@$(OLDEST_PYTHON) -m venv $(@:/bin/python=)

%/bin/python: | need-python
	@$(PYTHON) -m venv $*

.PRECIOUS: %/.package %/bin/python

need-rust:
	@cargo --version >/dev/null 2>&1 || { echo 'npygrow needs Rust 1.89 or newer: https://rustup.rs' >&2; exit 1; }
	@cargo fmt --version >/dev/null 2>&1 && cargo clippy --version >/dev/null 2>&1 || \
	{ echo 'rustfmt or clippy is missing: rustup component add rustfmt clippy' >&2; exit 1; }

need-python:
	@$(or $(PYTHON),false) $(is_new_enough) 2>/dev/null || { \
	echo 'npygrow needs Python 3.11 or newer; tried: $(or $(PYTHON),python3.13 python3.12 python3.11 python3)' >&2; \
	echo 'name one: make PYTHON=/path/to/python3.12' >&2; exit 1; }
