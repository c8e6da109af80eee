"""Weights that a run starts from, and what a run leaves: model files, in half precision.

A run is a folder with a folder for each phase that has begun. Model files hold what encoding and decoding
need; the rate networks, which only training needs, go into a second file beside them.
"""

from __future__ import annotations

import json
import pickle
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

from lfqcodec.errors import WeightsError, WeightsMissing
from lfqcodec.tokenizer.motion.config import MotionConfig
from lfqcodec.tokenizer.motion.training.checkpoint import model_tensors
from lfqcodec.train.checkpoint import load_checkpoint
from lfqcodec.train.loop import CHECKPOINT
from lfqcodec.train.motion.config import PHASES
from lfqcodec.train.motion.model.networks import is_rate
from lfqcodec.weights.loading import save_tokenizer
from lfqcodec.weights.store import available_models, read_model

RATES_SUFFIX = ".rates.safetensors"
_OLD_NAMES = {"intra": "intra.pt", "groups": "group.pt"}
_INTRA = "intra."
Tensors = dict[str, Tensor]


@dataclass(frozen=True)
class Start:
    """By phase the tensors of its networks, as the state of its model names them; and their configuration."""

    config: MotionConfig
    phases: dict[str, Tensors]


def progress_of(run: Path, phase: str) -> dict[str, Any]:
    """What the checkpoint of a phase says of its progress; empty where the phase has not begun."""
    path = run / phase / CHECKPOINT
    if not path.exists():
        return {}
    try:
        with safe_open(path, framework="pt") as file:
            return dict(json.loads((file.metadata() or {})["progress"]))
    except (OSError, SafetensorError, KeyError, ValueError) as error:
        raise WeightsError(f"{path}: not a training checkpoint ({error})") from error


def next_phase(run: Path) -> str:
    """First pictures get a quarter of the time that groups get, and begin."""
    shares = {"intra": 1, "groups": 4}
    return min(PHASES, key=lambda phase: progress_of(run, phase).get("seconds", 0) / shares[phase])


def read_start(path: Path | None) -> Start:
    """Weights of a run, of a model file, or of a folder with intra.pt or group.pt (tensors by name).

    Without a path: of the last `motion` model, by name, that is at hand, or none. Raises `WeightsError`.
    """
    if path is None:
        models = [each for each in available_models() if each.config.architecture == "motion"]
        if not models:
            return Start(MotionConfig(), {})
        path = max(models, key=lambda model: model.name).path
    if path.is_file():
        return _of_model(path)
    found = read_run(path)
    if not found.phases:
        old = {phase: path / name for phase, name in _OLD_NAMES.items() if (path / name).exists()}
        found = Start(MotionConfig(), {phase: _of_pickle(each) for phase, each in old.items()})
    if not found.phases:
        raise WeightsMissing(f"{path}: holds no weights to start from")
    return found


def read_run(run: Path) -> Start:
    """Averaged weights of the phases of a run that have begun."""
    config, phases = MotionConfig(), {}
    for phase in PHASES:
        progress = progress_of(run, phase)
        if progress:
            config = MotionConfig.from_json(progress["model"])
            phases[phase] = load_checkpoint(run / phase / CHECKPOINT).groups["ema"]
    return Start(config, phases)


def _of_pickle(path: Path) -> Tensors:
    try:
        tensors = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, pickle.UnpicklingError) as error:
        raise WeightsError(f"{path}: cannot be read ({error})") from error
    return {name: tensor for name, tensor in tensors.items() if name != "steps"}


def _of_model(path: Path) -> Start:
    config = read_model(path).config
    if not isinstance(config, MotionConfig):
        raise WeightsError(f"{path}: is not a model of the motion tokenizer")
    tensors = load_file(path)
    rates = _rates_beside(path)
    if rates.exists():
        tensors |= load_file(rates)
    intra = {name.removeprefix(_INTRA): each for name, each in tensors.items() if name.startswith(_INTRA)}
    groups = {name: each for name, each in tensors.items() if not name.startswith(_INTRA)}
    return Start(config, {"intra": intra, "groups": groups})


def is_run(folder: Path) -> bool:
    """Whether a folder is a run of this trainer."""
    return any((folder / phase / CHECKPOINT).exists() for phase in PHASES)


def export_run(run: Path, dest: Path, name: str, start: Path | None = None) -> None:
    """Write averaged weights in half precision: a model file, and the rate networks beside it.

    A phase that has not begun is as in `start` (see `read_start`). Raises `WeightsError` where the two do not
    fit, and `WeightsMissing` where one is nowhere.
    """
    own = read_run(run)
    phases = own.phases
    if len(phases) < len(PHASES):
        phases = read_start(start).phases | phases
    for phase in PHASES:
        if phase not in phases:
            raise WeightsMissing(
                f"{run}: has not trained {phase} yet, and there are no weights to take instead"
            )
    tensors = model_tensors(own.config, phases["intra"], phases["groups"])
    given = {_INTRA + name: each for name, each in phases["intra"].items()} | phases["groups"]
    rates = {name: each.half().contiguous() for name, each in given.items() if is_rate(name)}
    save_tokenizer(dest, own.config, tensors, {"name": name})
    save_file(rates, _rates_beside(dest))


def _rates_beside(model: Path) -> Path:
    return model.with_name(model.name.removesuffix(".safetensors") + RATES_SUFFIX)
