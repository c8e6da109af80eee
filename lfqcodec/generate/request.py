"""What is to be generated: which samples of which classes, with which settings. Imports no torch."""

from __future__ import annotations

import difflib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from lfqcodec.arguments import integer
from lfqcodec.errors import ArgumentValueError, LfqError, WeightsError
from lfqcodec.generate.model.config import SamplingConfig
from lfqcodec.generate.model.store import DEFAULT_SAMPLING, Generator

_CAUSAL = ("top_k", "top_p")
"""Settings that only an lm has."""


@dataclass(frozen=True)
class Request:
    """Samples `first` to `first` + `count` of a seed. `labels[k]` is the class of the k-th of them.

    A model without classes has labels 0, its class "none".
    """

    sampling: SamplingConfig
    labels: tuple[int, ...]
    seed: int = 0
    first: int = 0

    @property
    def count(self) -> int:
        """How many samples there are."""
        return len(self.labels)


def choose_sampling(
    generator: Generator, name: str | None = None, changes: Mapping[str, Any] | None = None
) -> SamplingConfig:
    """The settings of a set of the file, with `changes` by the name of the field; None changes nothing.

    Raises `ArgumentValueError` for a set that is not there and values out of range, `LfqError` where guidance
    is asked of a model that knows only samples with a class, and `WeightsError` where the file is wrong.
    """
    sets = generator.samplings
    wanted = name or DEFAULT_SAMPLING
    if wanted not in sets:
        raise ArgumentValueError("sampling", f"must be one of {', '.join(sets)}, not {wanted!r}")
    chosen, units = sets[wanted], generator.config.units
    for field, value in (changes or {}).items():
        if value is None:
            continue
        if field != "temperature" and (field in _CAUSAL) != generator.config.causal:
            how = "one after the other" if generator.config.causal else "all at once"
            raise ArgumentValueError(field, f"is of no use: {generator.name} draws tokens {how}")
        try:
            chosen = replace(chosen, **{field: value})
        except WeightsError as error:
            problem = str(error).removeprefix(field).strip()
            raise ArgumentValueError(field, problem) from error
    if chosen.steps > units and not generator.config.causal:
        raise ArgumentValueError("steps", f"must be 1 to {units}, the number of units, not {chosen.steps}")
    if chosen.guidance != 1 and not generator.config.class_drop:
        raise LfqError(
            f"{generator.name}: guidance needs a model that was trained without classes at times; "
            "it was never shown a sample without its class"
        )
    return chosen


def class_number(generator: Generator, wanted: str) -> int:
    """The number of a class by its name or its number. `ArgumentValueError`, with names that are like it."""
    names = generator.classes
    if not names:
        raise ArgumentValueError("class", f"cannot be given: {generator.name} has no classes")
    if wanted in names:
        return names.index(wanted)
    if wanted.isascii() and wanted.isdigit() and int(wanted) < len(names):
        return int(wanted)
    near = difflib.get_close_matches(wanted, names, 3, cutoff=0) or names[:3]
    raise ArgumentValueError(
        "class", f"{wanted!r} is not known; near are {', '.join(near)} (there are {len(names)} classes)"
    )


def make_request(
    generator: Generator,
    sampling: SamplingConfig,
    *,
    classes: Sequence[str] = (),
    balanced: bool = False,
    count: int = 16,
    seed: int = 0,
    first: int = 0,
) -> Request:
    """`count` samples that take turns with `classes`, or with all.

    `balanced` takes all classes in a random order, another one in each round, as ADM's protocol has it: equal
    shares in every part of the whole. Sample k has the same class whatever `first` is.
    Raises `ArgumentError`.
    """
    integer("count", count, 1)
    integer("seed", seed, 0)
    integer("start_index", first, 0)
    if balanced and classes:
        raise ArgumentValueError("balanced", "takes all classes, and stands in place of --class")
    chosen = [class_number(generator, each) for each in classes]
    total = generator.config.classes
    if balanced and not total:
        raise ArgumentValueError("balanced", f"cannot be given: {generator.name} has no classes")
    numbers = range(first, first + count)
    if balanced:
        rounds = range(first // total, math.ceil((first + count) / total))
        order = {each: np.random.default_rng((seed, each)).permutation(total) for each in rounds}
        labels = [int(order[k // total][k % total]) for k in numbers]
    else:
        turns = chosen or list(range(max(1, total)))
        labels = [turns[k % len(turns)] for k in numbers]
    return Request(sampling, tuple(labels), seed, first)
