"""From files to a store of tokens, each step once: decoded into a pack, then tokenized."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path

import torch

from lfqcodec.errors import LfqError
from lfqcodec.generate.pictures import grid_of, magvit2_config
from lfqcodec.tokenizer.magvit2.tokenizer import Magvit2Tokenizer
from lfqcodec.train.data import Pack, ensure_pack
from lfqcodec.train.data.sources import IMAGE_SUFFIXES
from lfqcodec.train.generator.config import GeneratorTrainConfig
from lfqcodec.train.generator.tokens import Online, Origin, TokenStore, build_store, class_names
from lfqcodec.weights.loading import load_tokenizer
from lfqcodec.weights.store import Model

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Sources:
    """Where the data is: `pack` is made of folders of `videos` and `images`, unless it is there already.

    `held` is a folder of what to measure on. `labels` is None where there are no classes.
    """

    pack: Path
    videos: tuple[Path, ...]
    images: tuple[Path, ...]
    held: Path | None = None
    max_frames: int = 240
    labels: str | None = None
    skip_unlabelled: bool = False

    def training(self) -> Pack:
        """The pack to train from. Raises what `ensure_pack` raises."""
        self._ensure(self.pack, self.videos, self.images)
        return Pack(self.pack)

    def held_out(self) -> Pack | None:
        """The pack to measure on, beside the other one, where a folder is named."""
        if self.held is None:
            return None
        folder = self.pack.with_name(f"{self.pack.name}-held")
        pictures = any(path.suffix.lower() in IMAGE_SUFFIXES for path in self.held.rglob("*"))
        self._ensure(folder, () if pictures else (self.held,), (self.held,) if pictures else ())
        return Pack(folder)

    def _ensure(self, folder: Path, videos: tuple[Path, ...], images: tuple[Path, ...]) -> None:
        ensure_pack(
            folder,
            videos,
            images,
            max_frames=self.max_frames,
            labels=self.labels,
            skip_unlabelled=self.skip_unlabelled,
        )


def prepare_store(
    sources: Sources, model: Model, config: GeneratorTrainConfig, folder: Path, device: torch.device
) -> TokenStore:
    """The store of tokens in `folder`, made unless it is there.

    Raises `LfqError` where the tokenizer, sizes or classes do not fit, and what reading the files raises.
    """
    shape = magvit2_config(model.config, model.path)
    grid = grid_of(shape, config.data.frames, config.data.size)
    if grid != config.model.grid:
        clip = f"{config.data.frames}x{config.data.size}x{config.data.size}"
        ours, theirs = ("x".join(map(str, each)) for each in (grid, config.model.grid))
        raise LfqError(
            f"{clip} pixels are {ours} tokens, the model's grid is {theirs} (--set model.grid={list(grid)})"
        )
    origin = _origin(model, config)
    if (folder / "tokens.json").exists():
        if sources.videos or sources.images:
            log.info("%s: was made before; remove it and the pack after a change of the files", folder)
    else:
        packs = sources.training(), sources.held_out()
        classes = class_names(pack for pack in packs if pack is not None) if sources.labels else []
        tokenizer = load_tokenizer(model, device)
        assert isinstance(tokenizer, Magvit2Tokenizer)
        build_store(packs[0], packs[1], tokenizer, origin, folder, classes=classes)
    store = TokenStore(folder)
    store.check_origin(origin, folder)
    return store


def prepare_online(
    sources: Sources, model: Model, config: GeneratorTrainConfig, store: TokenStore, device: torch.device
) -> Online:
    """New views of the items of a store that `prepare_store` gave, tokenized while a model is trained."""
    tokenizer = load_tokenizer(model, device)
    assert isinstance(tokenizer, Magvit2Tokenizer)
    return Online(store, sources.training(), sources.held_out(), tokenizer, _origin(model, config))


def _origin(model: Model, config: GeneratorTrainConfig) -> Origin:
    return Origin(model.sha256.hex(), config.seed, config.data, config.model.task, config.model.task_frames)
