"""Generators on disk: found by name or path as models are, and described without torch.

A generator belongs to the tokenizer whose tokens it was trained on. Its file says which, how to sample, and
what its classes are called.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from lfqcodec.errors import UnknownModel, WeightsError, WeightsHashMismatch
from lfqcodec.generate.model.config import GeneratorConfig, SamplingConfig
from lfqcodec.weights.store import MODELS, Model, NameOrPath, Shelf, Weights

DEFAULT_SAMPLING = "default"


@dataclass(frozen=True)
class Generator(Weights):
    """A generator on disk. Properties raise `WeightsError` where the file's header is wrong."""

    config: GeneratorConfig

    @property
    def trained_for(self) -> str:
        """SHA-256 of the tokenizer, in hex."""
        return self.metadata.get("trained_for", "")

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes; number y is the y-th."""
        names = self._json("classes")
        if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
            raise WeightsError(f"{self.path}: classes are no list of names")
        if len(names) != self.config.classes or len(set(names)) != len(names):
            raise WeightsError(f"{self.path}: has {len(names)} names for {self.config.classes} classes")
        return tuple(names)

    @property
    def samplings(self) -> dict[str, SamplingConfig]:
        """Settings to sample with, by the name of the set; one is `default`."""
        sets = self._json("sampling")
        if not isinstance(sets, dict) or DEFAULT_SAMPLING not in sets:
            raise WeightsError(f"{self.path}: does not say how to sample")
        try:
            return {name: SamplingConfig.from_json(json.dumps(values)) for name, values in sets.items()}
        except WeightsError as error:
            raise WeightsError(f"{self.path}: {error}") from error

    def _json(self, key: str) -> Any:
        try:
            return json.loads(self.metadata.get(key, ""))
        except (ValueError, RecursionError) as error:
            raise WeightsError(f"{self.path}: its {key} are not JSON ({error})") from error


GENERATORS = Shelf(Generator, "generator", GeneratorConfig.from_json)
read_generator, available_generators, resolve_generator = (
    GENERATORS.read,
    GENERATORS.available,
    GENERATORS.resolve,
)


def tokenizer_of(generator: Generator, wanted: NameOrPath | None = None) -> Model:
    """The tokenizer of a generator: `wanted`, or that of its SHA-256 beside it or among the models here.

    Raises `WeightsHashMismatch` where `wanted` is another one, `UnknownModel` where none is found.
    """
    need = generator.trained_for
    if wanted is not None:
        found: Model | None = MODELS.resolve(wanted)
        if found is not None and found.sha256.hex() != need:
            raise WeightsHashMismatch(
                f"{generator.path}: was trained on tokens of SHA-256 {need[:16]}..., "
                f"{found.path} has {found.sha256.hex()[:16]}..."
            )
    else:
        near = MODELS.available(generator.path.parent)
        found = next((each for each in near if each.sha256.hex() == need), None)
    if found is None:
        raise UnknownModel(
            f"{generator.path}: was trained on tokens of a tokenizer that is not here "
            f"(SHA-256 {need}); give it with --tokenizer"
        )
    return found
