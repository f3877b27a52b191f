# One-word commands; each sets up what it needs in .venv on a machine with python3, make and git.

PYTHON ?= python3
VENV := .venv
PY := $(VENV)/bin/python
DEMO := demo
# The tests of a file run one after the other in one process, and each process has one thread of PyTorch: with more,
# the threads of several processes wait for each other.
IN_PARALLEL := --numprocesses auto --maxprocesses 4 --dist loadfile
VIDEO ?=
FOOTAGE ?=
N ?=

.PHONY: demo test test-lowest test-labelstudio check fix docs pictures bench export-all fuzz weights kill demo-cluster cluster-check clean

## classify a video that the project renders itself, find the moves in a longer one, or both in VIDEO=FILE
demo: $(VENV)/installed
	@mkdir -p $(DEMO)
	@$(PY) -m tadacli.camera_motion.virtual_camera "$(DEMO)/pan left.mp4" --motion "pan left"
	$(VENV)/bin/tada classify "$(DEMO)/pan left.mp4" --format table
	@rm -f $(DEMO)/moves.html
	@$(PY) -m tadacli.camera_motion.virtual_camera $(DEMO)/moves.mp4 --truth $(DEMO)/moves.json --height 270 --seconds 4 \
		--motion "pan left" --motion static --motion "zoom in" --motion "pan right" --motion "zoom out"
	$(VENV)/bin/tada detect $(DEMO)/moves.mp4 --window 1s --stride 250ms --format table \
		--report $(DEMO)/moves.html
	@echo "the report is $(DEMO)/moves.html; the true times are in $(DEMO)/moves.json"
ifneq ($(VIDEO),)
	$(VENV)/bin/tada classify --format table -- "$(VIDEO)"
endif

## run the tests; those that need ../shared skip without it
test: $(VENV)/dev
	OMP_NUM_THREADS=1 $(PY) -m pytest $(IN_PARALLEL)

## run the tests against the lowest versions that are declared, in an environment of its own
test-lowest: $(PY)
	$(PYTHON) -m venv $(VENV)-lowest
	$(PY) -m tests.lowest > $(VENV)-lowest/constraints.txt
	$(VENV)-lowest/bin/python -m pip install --quiet --disable-pip-version-check --editable ".[dev]" \
		--constraint $(VENV)-lowest/constraints.txt
	OMP_NUM_THREADS=1 $(VENV)-lowest/bin/python -m pytest $(IN_PARALLEL)

## hold what is written for Label Studio to its SDK, in an environment of its own
test-labelstudio: $(VENV)/dev
	$(PYTHON) -m venv $(VENV)-labelstudio
	$(VENV)-labelstudio/bin/python -m pip install --quiet --disable-pip-version-check "label-studio-sdk>=2"
	rm -rf build/labelstudio && mkdir -p build/labelstudio
	$(PY) -m tests.labelstudio write build/labelstudio
	$(VENV)-labelstudio/bin/python tests/labelstudio.py check build/labelstudio
	$(PY) -m tests.labelstudio read build/labelstudio

## lint, format and type checks
check: $(VENV)/dev
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy

## mend what the linter can
fix: $(VENV)/dev
	$(VENV)/bin/ruff check --fix .
	$(VENV)/bin/ruff format .

## build the documentation into build/site, strictly and without a network
docs: $(VENV)/dev
	NO_MKDOCS_2_WARNING=1 $(PY) -m documentation.building
	@echo "the site is build/site/index.html; with search: $(PY) -m http.server --directory build/site --bind 127.0.0.1"

## render the pictures of the README again; needs Chromium
pictures: $(VENV)/dev
	$(PY) -m documentation.pictures

## the ratios that the documentation states
bench: $(VENV)/dev
	$(PY) -m benchmarks.forward
	$(PY) -m benchmarks.detect
	$(PY) -m benchmarks.metrics

## export every network in full: error, size, time to make the files and to run them; takes an hour
export-all: $(VENV)/dev
	$(PY) -m benchmarks.exports

## damage small videos of every kind for two minutes, or N=20000 of them, and hold the reader to what it promises
fuzz: $(VENV)/dev
	$(PY) -m tests.fuzz $(if $(N),--num-files $(N))

## kill the long commands N times each at random moments, and compare what resuming makes of them
kill: $(VENV)/dev
	$(PY) -m benchmarks.kill $(if $(N),--kills $(N))

## start Ray and a bucket on this machine, and score videos from the bucket
demo-cluster: $(VENV)/dev
	$(PY) -m benchmarks.cluster_demo

## share 2,000 small videos and 40 real ones among workers that are killed, here and on a Ray cluster, and compare bytes
cluster-check: $(VENV)/dev
	rm -rf build/ray && mkdir -p build
	$(PY) -m tests.cluster.ray_cluster build/ray --all
	$(PY) -m benchmarks.long_list
	OMP_NUM_THREADS=1 $(PY) -m benchmarks.cluster

## train the built-in weights again; FOOTAGE=DIR adds running video to the generated scenes
weights: $(VENV)/installed
	OMP_WAIT_POLICY=PASSIVE $(PY) -m tadacli.camera_motion --output weights $(if $(FOOTAGE),--footage "$(FOOTAGE)")

clean:
	rm -rf $(VENV) $(VENV)-lowest $(DEMO) build dist .mypy_cache .pytest_cache .ruff_cache

$(PY):
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "error: $(PYTHON) is older than 3.11; name a newer one: make PYTHON=python3.12 ..." >&2; exit 1; }
	@$(PYTHON) -c 'import venv, ensurepip' 2>/dev/null || \
		{ echo "error: $(PYTHON) has no venv module; on Debian and Ubuntu: apt install python3-venv" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/installed: $(PY) pyproject.toml
	@echo "installing what tada needs into $(VENV); with PyTorch that is several gigabytes and takes minutes"
	$(PY) -m pip install --quiet --disable-pip-version-check --editable .
	@touch $@

$(VENV)/dev: $(VENV)/installed
	$(PY) -m pip install --quiet --disable-pip-version-check --editable ".[dev]"
	@touch $@
