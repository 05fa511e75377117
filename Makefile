# A thin front: CMake presets do the building, tools/ the rest. `make help` lists the targets.

PYTHON ?= python3
PREFIX ?= /usr/local
FUZZ_SECONDS ?= 60
# Two programs of tests at a time: most of their work is one thread's. Teams of threads that wait leave
# the cores to the other program.
CTEST = OMP_WAIT_POLICY=passive ctest -j 2 --output-on-failure

.DEFAULT_GOAL := build
.PHONY: deps build cuda gpu-bundle quickstart test test-asan test-peers bench fuzz lint format install clean help

deps: ## install the Debian/Ubuntu packages that are missing
	@tools/install_deps

build: deps ## compile everything; the program is build/bessemer
	cmake --preset release
	cmake --build --preset release

cuda: deps ## compile for NVIDIA GPUs (needs nvcc); the program is build-cuda/bessemer
	cmake --preset cuda
	cmake --build --preset cuda

gpu-bundle: ## what tools/gpu_check needs on a machine with a GPU, in gpu-bundle/ (needs nvcc)
	tools/gpu_bundle

quickstart: build ## train a small model on three real corpora, about five minutes
	tools/quickstart

test: build ## run the tests
	$(CTEST) --test-dir build

test-asan: deps ## run the tests under the address and undefined-behaviour sanitizers
	cmake --preset asan-ubsan
	cmake --build --preset asan-ubsan
	$(CTEST) --test-dir build-asan

test-peers: build ## compare with PyTorch and transformers (installed in .venv/peers)
	PYTHON=$(PYTHON) tests/peers/run

bench: build ## run the kernel benchmarks, then Bessemer and PyTorch side by side
	PYTHON=$(PYTHON) bench/run

fuzz: deps ## run each fuzz target for FUZZ_SECONDS (60)
	cmake --preset fuzz
	cmake --build --preset fuzz --target fuzzers
	tools/fuzz $(FUZZ_SECONDS)

lint: deps ## check layering, formatting and a chosen set of clang-tidy checks
	tools/lint

format: deps ## bring every source file to .clang-format
	find src tests bench -name '*.h' -o -name '*.cpp' -o -name '*.cu' -o -name '*.cuh' | xargs clang-format -i

install: build ## install to PREFIX (/usr/local)
	cmake --install build --prefix $(PREFIX)

clean: ## remove the build directories
	rm -rf build build-debug build-asan build-cuda build-fuzz gpu-bundle

help: ## show this list
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 20
