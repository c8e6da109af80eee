"""Stores of tokens with labels: each item is tokenized once, some views of it, and then only read.

A store is a folder: `tokens.json` says what it was made from and lists its items, `tokens.i32` holds their
grids, int32 [T', h, w], those of an item one after the other. For a model with a task each grid is followed
by that of the padded condition (`lfqcodec.generate.decoding.commit`).
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from tqdm import tqdm

from lfqcodec.bitstream.limits import BITS_PER_TOKEN
from lfqcodec.errors import InputVideoError, LfqError
from lfqcodec.generate.decoding.commit import known_pixels, padded
from lfqcodec.generate.model.config import GeneratorConfig
from lfqcodec.generate.pictures import grid_of, to_tokens
from lfqcodec.output import replacing
from lfqcodec.tokenizer.magvit2.tokenizer import Magvit2Tokenizer
from lfqcodec.train.data import Entry, Pack
from lfqcodec.train.generator.config import DataConfig
from lfqcodec.train.generator.views import middle_view, random_view, span

_VERSION = 1
_AT_ONCE = 32
"""Pictures, or clips of 17 pictures less, that the tokenizer sees at once."""


@dataclass(frozen=True)
class Item:
    """What was tokenized: `views` grids from grid number `first` on. `label` is the number of its class."""

    name: str
    label: int
    held_out: bool
    first: int
    views: int


@dataclass(frozen=True)
class Origin:
    """What a store was made from: the SHA-256 of the tokenizer, and how views were cut out.

    `task` and `task_frames` are those of the model: with a task each view has a grid of its condition, too.
    """

    tokenizer: str
    seed: int
    data: DataConfig
    task: str = "none"
    task_frames: int = 0

    def to_json(self) -> dict[str, Any]:
        """As a JSON object."""
        return json.loads(json.dumps(asdict(self)))  # type: ignore[no-any-return]


def class_names(packs: Iterable[Pack]) -> list[str]:
    """Names of all classes, sorted. Raises `LfqError` unless every item has one and there are two or more."""
    names = {entry.label for pack in packs for entry in pack.entries}
    if None in names:
        raise LfqError("the pack has no labels; remove it to make it again")
    if len(names) < 2:
        raise LfqError(f"all files are of one class ({min(map(str, names), default='none')}); two are needed")
    return sorted(map(str, names))


def build_store(
    training: Pack,
    held_out: Pack | None,
    tokenizer: Magvit2Tokenizer,
    origin: Origin,
    out: Path,
    *,
    classes: Sequence[str] = (),
) -> None:
    """Tokenize a pack into the new folder `out`: `data.views` of each item to train on, one of the held-out.

    What is held out is the pack `held_out`, or else a part of `training`. Without `classes` labels are not
    looked at. Nothing is left where it fails. Raises `LfqError` where sizes do not fit the tokenizer or a
    class has nothing to train on, `InputVideoError` where no item is long enough, `OutputError`.
    """
    data = origin.data
    grid = grid_of(tokenizer.config, data.frames, data.size)
    plan = [(training, entry, False) for entry in trained_on(training, held_out, data)]
    if not plan:
        raise InputVideoError(f"no item to train on has {span(data)} frames")
    measured = training.held_out if held_out is None else held_out.entries
    plan += [(held_out or training, entry, True) for entry in measured if entry.frames >= span(data)]
    numbers = {name: number for number, name in enumerate(classes)}
    if classes:
        seen = Counter(entry.label for _, entry, held in plan if not held)
        if missing := [name for name in classes if not seen[name]]:
            raise LfqError(f"class {missing[0]} has nothing to train on (--held names what is held out)")
    tokenize = Tokenize(tokenizer, origin)
    out.parent.mkdir(parents=True, exist_ok=True)
    items: list[Item] = []
    first = 0
    with replacing(out, directory=True) as folder:
        with (folder / "tokens.i32").open("wb") as file:
            for pack, entry, held in tqdm(plan, desc="tokenizing", unit="file"):
                views = _views(pack, entry, origin, held=held)
                file.write(tokenize(views).tobytes())
                label = numbers[entry.label or ""] if classes else 0
                items.append(Item(entry.name, label, held, first, len(views)))
                first += len(views)
        facts = {
            "version": _VERSION,
            "origin": origin.to_json(),
            "grid": grid,
            "classes": list(classes),
            "items": [list(asdict(item).values()) for item in items],
        }
        (folder / "tokens.json").write_text(json.dumps(facts))


def _views(pack: Pack, entry: Entry, origin: Origin, *, held: bool) -> list[Tensor]:
    if held:
        return [middle_view(pack, entry, origin.data)]
    return [
        random_view(pack, entry, origin.data, seed=origin.seed, number=number)
        for number in range(origin.data.views)
    ]


def trained_on(training: Pack, held_out: Pack | None, data: DataConfig) -> list[Entry]:
    """The items to train on that are long enough, in the order of a store."""
    entries = training.training if held_out is None else training.entries
    return [entry for entry in entries if entry.frames >= span(data)]


class Tokenize:
    """Views to the grids of a store, int32 [V, 1, T', h, w]; for a model with a task two of each view.

    The second is that of the padded condition.
    """

    def __init__(self, tokenizer: Magvit2Tokenizer, origin: Origin) -> None:
        data = origin.data
        grid = grid_of(tokenizer.config, data.frames, data.size)
        self._tokenizer = tokenizer
        self._shape = GeneratorConfig(grid=grid, task=origin.task, task_frames=origin.task_frames)
        self._known: Tensor | None = None
        if self._shape.commits:
            self._known = known_pixels(self._shape, data.frames, (data.size, data.size))

    def __call__(self, views: list[Tensor]) -> NDArray[np.int32]:
        """`views` are float32 [3, T, S, S] in [-1, 1]."""
        both = [self._tokens(views)]
        if self._known is not None:
            both.append(self._tokens([padded(self._shape, view, self._known) for view in views]))
        return np.stack(both, 1)

    def _tokens(self, views: list[Tensor]) -> NDArray[np.int32]:
        device = next(self._tokenizer.parameters()).device
        most = max(1, _AT_ONCE // views[0].shape[1])
        parts = [
            to_tokens(self._tokenizer, torch.stack(views[begin : begin + most]).to(device)).cpu()
            for begin in range(0, len(views), most)
        ]
        return torch.cat(parts).numpy().astype("<i4")


class Online:
    """Tokens of fresh views in place of those of a store, for the same items.

    `pack`, `held_out` and `tokenizer` are those that the store was made from. Raises `LfqError` where the
    pack has other items.
    """

    def __init__(
        self,
        store: TokenStore,
        pack: Pack,
        held_out: Pack | None,
        tokenizer: Magvit2Tokenizer,
        origin: Origin,
    ) -> None:
        self._pack, self._origin, self._tokenize = pack, origin, Tokenize(tokenizer, origin)
        self._entries = trained_on(pack, held_out, origin.data)
        names = [item.name for item in store.items if not item.held_out]
        if names != [entry.name for entry in self._entries]:
            raise LfqError("the tokens were made from other files than the pack; remove them")

    def __call__(self, items: Sequence[int], numbers: Sequence[int]) -> NDArray[np.int32]:
        """View number `numbers[k]` of the `items[k]`-th item to train on, as `Tokenize` gives it."""
        data, seed = self._origin.data, self._origin.seed
        # A store has the first views.
        return self._tokenize(
            [
                random_view(self._pack, self._entries[item], data, seed=seed, number=data.views + number)
                for item, number in zip(items, numbers, strict=True)
            ]
        )


class TokenStore:
    """The tokens of a store. Raises `InputVideoError` where the folder holds none, or a damaged one."""

    def __init__(self, folder: Path) -> None:
        try:
            facts = json.loads((folder / "tokens.json").read_text())
            if facts["version"] != _VERSION:
                raise ValueError(f"version {facts['version']}")
            self.origin: dict[str, Any] = facts["origin"]
            self.tokenizer = str(self.origin["tokenizer"])
            self.grid: tuple[int, ...] = tuple(facts["grid"])
            self.classes: list[str] = facts["classes"]
            self.items = [Item(*row) for row in facts["items"]]
            flat: Any = np.memmap(folder / "tokens.i32", dtype="<i4", mode="r")
            both = flat.reshape(-1, 1 if self.origin["task"] == "none" else 2, *self.grid)
            self.tokens, self.conditions = both[:, 0], both[:, -1]
            self._check()
        except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
            hint = "remove it to make it again"
            raise InputVideoError(f"{folder}: not a store of tokens, or damaged ({error}); {hint}") from error

    def _check(self) -> None:
        if len(self.grid) != 3 or not self.items:
            raise ValueError("no items")
        if self.items[-1].first + self.items[-1].views != len(self.tokens):
            raise ValueError(f"it holds {len(self.tokens)} grids")
        most = max(1, len(self.classes))
        if not all(0 <= item.label < most and item.views > 0 for item in self.items):
            raise ValueError("a label is unknown")
        each = (self.tokens, self.conditions)
        if min(x.min() for x in each) < 0 or max(x.max() for x in each) >= 1 << BITS_PER_TOKEN:
            raise ValueError("a token is out of range")

    def used(self) -> NDArray[np.int64]:
        """All values of tokens to train on, ascending: int64 [W]."""
        found: NDArray[np.int64] = np.empty(0, np.int64)
        for item in self.items:
            if not item.held_out:
                found = np.union1d(found, self.tokens[item.first : item.first + item.views])
        return found.astype(np.int64)

    def check_origin(self, origin: Origin, folder: Path) -> None:
        """Raise `LfqError` where the store was made from something else."""
        wanted = origin.to_json()
        data = {**self.origin["data"], **{name: self.origin[name] for name in ("task", "task_frames")}}
        for name, value in {**wanted["data"], "task": origin.task, "task_frames": origin.task_frames}.items():
            if (found := data.get(name)) != value:
                raise LfqError(
                    f"{folder}: was made with {name} {found}, not {value}; remove it to make it again"
                )
        if self.tokenizer != origin.tokenizer:
            raise LfqError(f"{folder}: was made with another tokenizer; remove it to make it again")
