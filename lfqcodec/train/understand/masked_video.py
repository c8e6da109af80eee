"""Pre-training of an encoder on the tokens of what is masked (MAGVIT-v2, appendix A.4; after BEVT)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from lfqcodec.errors import LfqError
from lfqcodec.generate.model.embedding import split
from lfqcodec.generate.pictures import grid_of, to_tokens
from lfqcodec.tokenizer.magvit2.config import Magvit2Config
from lfqcodec.tokenizer.magvit2.tokenizer import Magvit2Tokenizer
from lfqcodec.train.checkpoint import copy_into, load_checkpoint
from lfqcodec.train.loop import CHECKPOINT
from lfqcodec.train.understand.clips import ClipBatches, LabelledClip, spread_out
from lfqcodec.train.understand.config import MaskedVideoConfig
from lfqcodec.train.understand.task import ClipTask, generator_of
from lfqcodec.train.understand.tubes import tube_masks
from lfqcodec.understand.vit import MaskedVideoModel, VideoTransformer

_MEASURED = 256


def check_targets(config: MaskedVideoConfig, shape: Magvit2Config) -> None:
    """Raise `LfqError` where a tokenizer's grid is not that of the encoder, two tubelets for four frames."""
    frames = config.model.frames
    grid = grid_of(shape, frames + 1, config.target_size)
    ours = config.model.grid
    if grid[1:] != ours[1:]:
        both = " and ".join("x".join(map(str, each[1:])) for each in (grid, ours))
        raise LfqError(f"target_size {config.target_size}: tokens and tubelets are grids of {both}")
    if ours[0] % (grid[0] - 1):
        raise LfqError(f"{ours[0]} tubelets cannot be shared by {grid[0] - 1} latent frames")


def spread(tokens: Tensor, tubelets: int) -> Tensor:
    """Tokens of 1 + k latent frames to those of tubelets: int64 [B, 1 + k, h, w] -> [B, t, h, w].

    The first latent frame, a copy of the first frame alone, has no tubelet.
    """
    inside = tokens[:, 1:]
    return inside.repeat_interleave(tubelets // inside.shape[1], 1)


class Targets:
    """Tokens of views, from a tokenizer that does not change. Those of numbered views are kept."""

    def __init__(self, tokenizer: Magvit2Tokenizer, size: int) -> None:
        self._tokenizer, self._size = tokenizer, size
        self._kept: dict[tuple[str, int], Tensor] = {}

    def of(self, video: Tensor, names: list[tuple[str, int]] | None) -> Tensor:
        """Clips float32 [B, 3, T, S, S] in [-1, 1] to tokens int64 [B, 1 + k, h, w]; `names` to keep them."""
        if names is None:
            return self._made(video)
        missing = [n for n, name in enumerate(names) if name not in self._kept]
        if missing:
            for n, tokens in zip(missing, self._made(video[missing]).cpu(), strict=True):
                self._kept[names[n]] = tokens
        return torch.stack([self._kept[name] for name in names]).to(video.device)

    @torch.no_grad()
    def _made(self, video: Tensor) -> Tensor:
        if video.shape[-1] != self._size:
            frames = video.transpose(1, 2).flatten(0, 1)
            frames = F.interpolate(frames, (self._size, self._size), mode="bilinear", antialias=True)
            video = frames.view(len(video), -1, *frames.shape[1:]).transpose(1, 2)
        return to_tokens(self._tokenizer, torch.cat((video[:, :, :1], video), 2))


class MaskedVideoTask(ClipTask[MaskedVideoModel]):
    """Pre-training. It logs the loss, and the `accuracy` of the subtokens of masked places."""

    config: MaskedVideoConfig

    def __init__(
        self,
        config: MaskedVideoConfig,
        clips: list[LabelledClip],
        held_out: list[LabelledClip],
        targets: Targets,
        identity: str,
        **where: Any,
    ) -> None:
        """`identity` is the SHA-256 of the tokenizer; `where` goes to `ClipTask`."""
        super().__init__(config, clips, **where)
        self.targets, self._identity = targets, identity
        self._held = held_out

    def _build(self) -> MaskedVideoModel:
        return MaskedVideoModel(self.config.model)

    def identity(self) -> dict[str, str]:
        """Shape of the encoder and the tokenizer."""
        return {"masked-video": self.config.model.to_json(), "tokenizer": self._identity}

    def _loss(self, plan: list[tuple[int, int]], draws: tuple[int, ...]) -> tuple[Tensor, dict[str, Tensor]]:
        return self._of(self.model, self.batches, plan, draws)

    def _of(
        self,
        model: MaskedVideoModel,
        batches: ClipBatches,
        plan: list[tuple[int, int]],
        draws: tuple[int, ...],
    ) -> tuple[Tensor, dict[str, Tensor]]:
        c = self.config
        video = batches.read(plan).to(self.device)
        names = [(batches.clips[clip].name, view) for clip, view in plan] if c.clip.views else None
        tokens = self.targets.of(video, names)
        rng = generator_of(draws)
        masks = tube_masks(rng, len(plan), c.model.grid, c.mask_ratio, c.min_patches)
        masked = torch.from_numpy(masks).to(self.device)
        with self.autocast():
            logits = model(video, masked)
        chosen = masked
        if c.target_frames == "pair":
            each = c.model.grid[0] // (tokens.shape[1] - 1)
            last = torch.arange(c.model.grid[0], device=self.device) % each == each - 1
            chosen = masked & last.repeat_interleave(masked.shape[1] // len(last))
        target = split(spread(tokens, c.model.grid[0]).flatten(1))[chosen]
        found = logits[chosen].float()
        loss = F.cross_entropy(found.flatten(0, 1), target.flatten(), label_smoothing=c.label_smoothing)
        right = (found.argmax(-1) == target).float().mean()
        return 2 * loss, {"accuracy": right}

    @torch.no_grad()
    def held_out(self, average: MaskedVideoModel) -> dict[str, Any]:
        """Loss and accuracy of held-out clips, with the same masks every time, and what guessing gives.

        `frequent` is the accuracy of the most frequent subtokens of all those places.
        """
        if not self._held:
            return {}
        clips = spread_out(self._held, _MEASURED)
        batches = ClipBatches(clips, self.config.clip, 1, seed=0)
        sums = {"loss": 0.0, "accuracy": 0.0}
        size = max(1, self.config.batch // self.config.accumulate)
        for begin in range(0, len(clips), size):
            plan = [(clip, 0) for clip in range(begin, min(len(clips), begin + size))]
            loss, values = self._of(average, batches, plan, (0, begin))
            for name, value in ({"loss": loss} | values).items():
                sums[name] += float(value) * len(plan) / len(clips)
        return {name: round(value, 4) for name, value in sums.items()}

    @torch.no_grad()
    def frequent(self, count: int = _MEASURED) -> float:
        """The accuracy of always guessing the most frequent value of each subtoken, for held-out clips."""
        clips = spread_out(self._held, count)
        batches = ClipBatches(clips, self.config.clip, 1, seed=0)
        tokens = [self.targets.of(batches.read([(n, 0)]).to(self.device), None) for n in range(len(clips))]
        values = split(torch.cat(tokens)[:, 1:].flatten())
        most = [int(torch.bincount(each).max()) for each in values.T]
        return sum(most) / values.numel()


def load_encoder(encoder: VideoTransformer, source: Path) -> None:
    """Give an encoder the weights of a pre-training run (a folder, or its checkpoint).

    Raises `LfqError` for a run of another kind, `WeightsError` where shapes differ or anything is missing.
    """
    path = source / CHECKPOINT if source.is_dir() else source
    loaded = load_checkpoint(path)
    if "masked-video" not in loaded.progress:
        raise LfqError(f"{source}: not a run of train masked-video")
    own = {
        name.removeprefix("encoder."): tensor
        for name, tensor in loaded.groups["ema"].items()
        if name.startswith("encoder.")
    }
    copy_into(encoder.state_dict(), own, f"{source}")
