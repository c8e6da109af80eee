"""Classifiers of clips on disk: found by name or path as models are, and described without torch."""

from __future__ import annotations

import json
from dataclasses import dataclass

from lfqcodec.errors import WeightsError
from lfqcodec.understand.config import ClipConfig, EncoderConfig, check_classes
from lfqcodec.weights.store import Shelf, Weights


@dataclass(frozen=True)
class Classifier(Weights):
    """A classifier on disk. Properties raise `WeightsError` where the file's header is wrong."""

    config: EncoderConfig

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes; number y is the y-th."""
        try:
            return check_classes(json.loads(self.metadata.get("classes", "")), self.path)
        except (ValueError, RecursionError) as error:
            raise WeightsError(f"{self.path}: its classes are not JSON ({error})") from error

    @property
    def clip(self) -> ClipConfig:
        """What it sees of a clip."""
        return ClipConfig.from_json(self.metadata.get("clip", ""))


CLASSIFIERS = Shelf(Classifier, "classifier", EncoderConfig.from_json)
read_classifier, available_classifiers, resolve_classifier = (
    CLASSIFIERS.read,
    CLASSIFIERS.available,
    CLASSIFIERS.resolve,
)
