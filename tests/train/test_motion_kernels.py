"""Kernels for GPUs against PyTorch, and the script for GPUs at small size: both run on a CPU."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

import lfqcodec
from lfqcodec.tokenizer.motion.config import MotionConfig
from lfqcodec.train.motion.model.networks import GroupModel, IntraModel
from lfqcodec.weights.loading import load_tokenizer
from lfqcodec.weights.store import read_model

ROOT = Path(lfqcodec.__file__).parents[1]


@pytest.mark.skipif(importlib.util.find_spec("triton") is None, reason="Triton is not installed")
def test_the_kernel_agrees_with_pytorch() -> None:
    code = """import torch
from lfqcodec.train.motion.model import kernels
error = kernels.relative_error(torch.device("cpu"))
assert error < kernels.TOLERANCE, error"""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code],
        env=os.environ | {"TRITON_INTERPRET": "1"},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def test_the_trainer_needs_neither_pyav_nor_constriction() -> None:
    code = """import sys; sys.modules.update(dict.fromkeys(("av", "constriction", "click", "numba")))
import lfqcodec.train.motion.run"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr


def test_the_script_for_gpus_trains_and_writes_pieces(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    (tmp_path / "clips").mkdir()
    for number in range(6):
        clip = np.repeat(np.repeat(rng.integers(0, 256, (10, 12, 12, 3), np.uint8), 6, 1), 6, 2)
        np.save(tmp_path / "clips" / f"clip{number}.npy", clip)
    for name, model in (("intra", IntraModel(MotionConfig())), ("group", GroupModel(MotionConfig()))):
        torch.save(model.state_dict(), tmp_path / f"{name}.pt")
    clips, out = tmp_path / "clips", tmp_path / "out"
    done = subprocess.run(
        ["tools/gpu_run.sh", "0.02", clips, out, "--batch", "1", "--size", "64", "--init", tmp_path],
        cwd=ROOT,
        env=os.environ | {"PYTHON": sys.executable, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    pieces = out / "pieces"
    names = {path.name for path in pieces.iterdir()}
    assert {"motion.safetensors.00", "motion.rates.safetensors.00", "SHA256SUMS", "intra.jsonl"} < names
    assert all(path.stat().st_size <= 15 << 20 for path in pieces.iterdir())
    whole = b"".join(path.read_bytes() for path in sorted(pieces.glob("motion.safetensors.*")))
    assert whole == (out / "motion.safetensors").read_bytes()
    model = load_tokenizer(read_model(out / "motion.safetensors"), torch.device("cpu"))
    assert model.config == MotionConfig()
    assert "| intra |" in (pieces / "training_log.md").read_text()
