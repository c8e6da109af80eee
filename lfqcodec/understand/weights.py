"""Weights files of classifiers to networks in memory, and back."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor

from lfqcodec.generate.model.weights import load_tensors, save_tensors
from lfqcodec.understand.config import ClipConfig, EncoderConfig
from lfqcodec.understand.store import Classifier
from lfqcodec.understand.vit import ViTClassifier
from lfqcodec.understand.vivit import ViViTClassifier

VideoClassifier = ViTClassifier | ViViTClassifier


def build_classifier(config: EncoderConfig, classes: int) -> VideoClassifier:
    """An untrained classifier."""
    kind = ViViTClassifier if config.kind == "vivit" else ViTClassifier
    return kind(config, classes)


def save_classifier(
    path: Path,
    config: EncoderConfig,
    clip: ClipConfig,
    classes: Sequence[str],
    tensors: Mapping[str, Tensor],
    metadata: Mapping[str, str],
    *,
    overwrite: bool = True,
) -> bytes:
    """Write a file, whole or not at all. Returns its SHA-256. Raises `OutputError`."""
    own = {"classifier": config.to_json(), "clip": clip.to_json(), "classes": json.dumps(list(classes))}
    return save_tensors(path, tensors, {**metadata, **own}, overwrite=overwrite)


def load_classifier(classifier: Classifier, device: torch.device) -> VideoClassifier:
    """The network of a classifier in float32, for inference.

    Raises `WeightsError` where tensors are missing, have another shape or type, or are not finite.
    """
    with torch.device("meta"):
        model = build_classifier(classifier.config, len(classifier.classes))
    load_tensors(model, classifier.path)
    return model.to(device).eval().requires_grad_(False)
