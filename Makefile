# `make demo` and `make test` do all set-up on a machine with Python 3.10+ and a C++17 compiler.

PYTHON ?= python3
VENV ?= .venv

BIN := $(VENV)/bin
IN_VENV = PATH="$$(cd "$(BIN)" && pwd):$$PATH";
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check
ROOMS := converters quantization benchmarks
ORACLES := build/oracles
NATIVE_BENCH := build/bench-native
MODEL := digits-m0

# GCC 12's thread sanitizer doesn't know the address layouts of newer kernels.
FIXED_ADDRESSES = $(shell setarch -R true 2>/dev/null && echo setarch -R)

# Each stamp records an install; it is renewed when what decides that install has changed.
CREATED := $(VENV)/.created
RUNTIME := $(VENV)/.runtime
DEVELOPMENT := $(VENV)/.development
PEERS := $(VENV)/.peers
BUILD_FILES := pyproject.toml setup.py CMakeLists.txt \
	$(shell find native -type f \( -name '*.cc' -o -name '*.h' -o -name CMakeLists.txt \) \
	! -path '*/tests/*' ! -path '*/bench/*' ! -path '*/fuzz/*')

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help demo test check-native lint bench bench-native model zoo oracles clean check-demo \
	check-test check-tools tree

help: ## list the targets
	@sed -n 's/^\([a-z-]*\):.* ## /  make \1\t/p' $(firstword $(MAKEFILE_LIST)) | expand -t 21

demo: $(RUNTIME) ## install into .venv, build, and run the bundled detector on the bundled picture
	$(BIN)/edgedet demo

test: check-test lint ## everything: lint, the C++ tests, the Python tests
	$(IN_VENV) CMAKE_GENERATOR=Ninja cmake --preset release
	$(IN_VENV) cmake --build --preset release
	$(IN_VENV) ctest --preset release
	$(BIN)/python -m pytest

check-native: check-tools $(DEVELOPMENT) ## the C++ tests under sanitizers and under qemu, and a minute of fuzzing
	$(IN_VENV) set -e; for preset in asan tsan aarch64 fuzz; do \
	  CMAKE_GENERATOR=Ninja cmake --preset $$preset >/dev/null; cmake --build --preset $$preset; \
	done
	$(IN_VENV) ctest --preset asan
	$(IN_VENV) $(FIXED_ADDRESSES) ctest --preset tsan
	$(IN_VENV) ctest --preset aarch64
	$(IN_VENV) ctest --preset fuzz --parallel 3

lint: $(DEVELOPMENT) tree ## formats, static checks, types, and which room imports which
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	find native -name '*.cc' -o -name '*.h' | xargs $(BIN)/clang-format --dry-run -Werror
	$(IN_VENV) cd build/tree && \
	  mypy --config-file ../../pyproject.toml --cache-dir ../../.mypy_cache
	$(IN_VENV) cd build/tree && lint-imports --config ../../pyproject.toml --no-cache

bench: $(RUNTIME) ## latency of the bundled detector, step by step and beside its bare engine
	$(BIN)/edgedet benchmark edgedet/assets/digits-m0-int8.tflite
	$(BIN)/python -m edgedet.benchmarks.detect_overhead

bench-native: $(PEERS) ## the kernels beside OpenCV, OpenVINO, LiteRT and NumPy (docs/native.md)
	$(IN_VENV) cmake -S . -B $(NATIVE_BENCH) -G Ninja -DCMAKE_BUILD_TYPE=Release \
	  -DEDGEDET_BUILD_BENCHMARKS=ON
	$(IN_VENV) cmake --build $(NATIVE_BENCH)
	$(IN_VENV) if command -v aarch64-linux-gnu-g++ >/dev/null; then \
	  cmake --preset aarch64 -B $(NATIVE_BENCH)/aarch64 -G Ninja \
	    -DEDGEDET_BUILD_TESTS=OFF -DEDGEDET_BUILD_BENCHMARKS=ON && \
	  cmake --build $(NATIVE_BENCH)/aarch64; \
	fi
	$(BIN)/python -m edgedet.benchmarks.native_runtime --build $(NATIVE_BENCH)

model: $(DEVELOPMENT) ## train, convert and measure the bundled model again: 2 hours (docs/models.md)
	$(BIN)/edgedet synth datasets/digits --images 8000
	$(BIN)/edgedet synth datasets/dense --images 8000 --val 8 --max-count 24 --seed 1
	$(BIN)/edgedet train --data edgedet/assets/recipe.yaml --activation relu6 --name $(MODEL)-dense \
	  --anchor-scale 1.5 --scale 0.9 1.2 --epochs 20 --lr 2.5e-3 --val-every 5
	$(BIN)/edgedet train --data datasets/digits/data.yaml --activation relu6 --name $(MODEL) \
	  --weights runs/train/$(MODEL)-dense/last.keras \
	  --anchor-scale 1.5 --scale 0.95 1.1 --epochs 4 --lr 1e-3 --val-every 2
	$(BIN)/edgedet convert runs/train/$(MODEL)/best.keras --to tflite --int8 \
	  --data datasets/digits/data.yaml --out runs/train/$(MODEL)
	$(BIN)/edgedet eval --model runs/train/$(MODEL)/best.keras --data datasets/digits/data.yaml
	$(BIN)/edgedet eval --model runs/train/$(MODEL)/best-int8.tflite --data datasets/digits/data.yaml

zoo: $(DEVELOPMENT) ## every preset: build, save, reload, TensorFlow beside JAX, low precision: an hour
	$(BIN)/python tests/zoo/check_presets.py

oracles: $(DEVELOPMENT) ## networks, losses and training steps beside other projects': 9 GB (docs/oracles.md)
	$(PYTHON) -m venv $(ORACLES)/effdet
	$(ORACLES)/effdet/bin/pip install -q -r tests/oracles/requirements-effdet.txt
	$(ORACLES)/effdet/bin/python tests/oracles/effdet_reference.py $(ORACLES)/out \
	  d0:256 d2:256 d6:256 lite0:256
	$(PYTHON) -m venv $(ORACLES)/model-garden
	$(ORACLES)/model-garden/bin/pip install -q -r tests/oracles/requirements-model-garden.txt
	$(ORACLES)/model-garden/bin/pip install -q --no-deps \
	  -r tests/oracles/requirements-model-garden-bare.txt
	$(ORACLES)/model-garden/bin/python tests/oracles/model_garden_reference.py $(ORACLES)/out \
	  mb49:256 mb49s:256 mb49xs:256 r50-nasfpn:256
	$(ORACLES)/effdet/bin/python tests/oracles/effdet_training_reference.py $(ORACLES)/training
	$(BIN)/python tests/oracles/compare.py $(ORACLES)/out
	set -e; for backend in tensorflow jax; do \
	  KERAS_BACKEND=$$backend $(BIN)/python tests/oracles/compare_training.py $(ORACLES)/training; \
	done

clean: ## remove everything built; .venv keeps what was downloaded
	rm -rf build dist edgedet.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
	rm -f edgedet/_native.*.so $(RUNTIME) $(DEVELOPMENT) $(PEERS)
	find edgedet tests $(ROOMS) -name __pycache__ -type d -prune -exec rm -rf {} +

# mypy and import-linter look for edgedet.converters inside edgedet/: here they find it there.
tree:
	@rm -rf build/tree && mkdir -p build/tree/edgedet
	@ln -s $(addprefix ../../../,$(filter-out %/__pycache__ %.so,$(wildcard edgedet/*)) $(ROOMS)) \
		build/tree/edgedet/

$(CREATED):
	@$(MAKE) --no-print-directory check-demo
	$(PYTHON) -m venv $(VENV)
	@touch $@

$(RUNTIME): $(CREATED) $(BUILD_FILES)
	@$(MAKE) --no-print-directory check-demo
	@echo "Installing edgedet and what it needs at run time into $(VENV) ..."
	$(PIP) --editable .
	@touch $@

$(DEVELOPMENT): $(CREATED) $(BUILD_FILES)
	@$(MAKE) --no-print-directory check-test
	@echo "Installing edgedet and what its tests need into $(VENV); TensorFlow takes a while ..."
	$(PIP) --editable '.[dev,train,convert,eval]'
	@touch $(RUNTIME) $@

$(PEERS): $(CREATED) $(BUILD_FILES)
	@$(MAKE) --no-print-directory check-demo
	@echo "Installing edgedet and what its kernels are compared with into $(VENV) ..."
	$(PIP) --editable '.[bench]'
	@touch $(RUNTIME) $@

# One sentence for each missing thing, all of them before anything is installed.
check-demo:
	@missing=0; \
	need() { test "$$1" = 0 || { echo "$$2" >&2; missing=1; }; }; \
	if command -v $(PYTHON) >/dev/null; then \
	  $(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))'; \
	  need $$? "$(PYTHON) is older than Python 3.10: name a newer one, as in make PYTHON=python3.12 demo."; \
	  $(PYTHON) -c 'import ensurepip, venv' 2>/dev/null; \
	  need $$? "$(PYTHON) can't make virtual environments: install the Debian package python3-venv."; \
	  $(PYTHON) -c 'import os, sys, sysconfig; sys.exit(not os.path.exists(os.path.join(sysconfig.get_path("include"), "Python.h")))'; \
	  need $$? "The headers of $(PYTHON) are missing: install the Debian package python3-dev."; \
	else \
	  need 1 "$(PYTHON) is missing: install the Debian package python3."; \
	fi; \
	echo 'static_assert(__cplusplus >= 201703L, "");' | $(CXX) -std=c++17 -x c++ -fsyntax-only - 2>/dev/null; \
	need $$? "A C++17 compiler ($(CXX)) is missing: install the Debian package g++."; \
	exit $$missing

check-test: check-demo
	@echo '#include <gtest/gtest.h>' | $(CXX) -std=c++17 -x c++ -fsyntax-only - 2>/dev/null || \
	{ echo "GoogleTest is missing: install the Debian package libgtest-dev." >&2; exit 1; }

check-tools: check-test
	@missing=0; \
	need() { \
	  test "$$1" = 0 || { echo "$$2 is missing: install the Debian package $$3." >&2; missing=1; }; \
	}; \
	command -v aarch64-linux-gnu-g++ >/dev/null; \
	need $$? "A compiler for aarch64 (aarch64-linux-gnu-g++)" g++-aarch64-linux-gnu; \
	command -v qemu-aarch64 >/dev/null; need $$? qemu-aarch64 qemu-user; \
	command -v clang++ >/dev/null; need $$? clang++ clang; \
	test -n "$(wildcard /usr/lib/llvm-*/lib/clang/*/lib/linux/libclang_rt.fuzzer-*.a)"; \
	need $$? libFuzzer libclang-rt-dev; \
	exit $$missing
