"""A generator with its tokenizer: from a request to tokens and pictures, a batch at a time."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lfqcodec.generate.decoding.causal import decode_causal
from lfqcodec.generate.decoding.commit import known_pixels, known_positions, look_of_unknown, padded
from lfqcodec.generate.decoding.masked import decode_masked
from lfqcodec.generate.decoding.noise import SampleNoise
from lfqcodec.generate.model.causal import CausalModel
from lfqcodec.generate.model.store import Generator
from lfqcodec.generate.model.weights import load_generator
from lfqcodec.generate.pictures import frames_of, magvit2_config, to_pictures, to_tokens, to_video
from lfqcodec.generate.request import Request
from lfqcodec.tokenizer.magvit2.tokenizer import Magvit2Tokenizer
from lfqcodec.weights.loading import load_tokenizer
from lfqcodec.weights.store import Model


@dataclass(frozen=True)
class Samples:
    """Samples `first` and on: `tokens` int32 [B, T', h, w], `pictures` uint8 [B, T, H, W, 3]."""

    first: int
    labels: tuple[int, ...]
    tokens: NDArray[np.int32]
    pictures: NDArray[np.uint8]


class Sampler:
    """Makes pictures and clips. Raises `LfqError` where the tokenizer's kind does not fit."""

    def __init__(self, generator: Generator, tokenizer: Model, device: torch.device) -> None:
        shape, config = magvit2_config(tokenizer.config, tokenizer.path), generator.config
        self.config, self.device = config, device
        self.size = (config.grid[1] * shape.spatial_factor, config.grid[2] * shape.spatial_factor)
        self.frames = frames_of(shape, config.grid[0])
        self.known = torch.zeros(self.frames, *self.size, dtype=torch.bool)
        if config.given:
            self.known[: frames_of(shape, config.condition_frames)] = True
        if config.commits:
            self.known = known_pixels(config, self.frames, self.size)
        """Pixels bool [T, H, W] that the condition holds."""
        self._model = load_generator(generator, device)
        network = load_tokenizer(tokenizer, device)
        assert isinstance(network, Magvit2Tokenizer)
        self._tokenizer = network

    def samples(
        self,
        request: Request,
        *,
        batch: int = 16,
        skip: int = 0,
        condition: NDArray[np.uint8] | None = None,
        keep: bool = True,
    ) -> Iterator[Samples]:
        """The samples of a request but the first `skip`, at most `batch` at a time.

        `condition` uint8 [T, H, W, 3] holds what `known` says, for all samples; it may end behind the last of
        that. With `keep` the result has those pixels as they are, not as the tokenizer has them.
        """
        start = None if condition is None else self._start(condition)
        for begin in range(skip, request.count, batch):
            labels = request.labels[begin : begin + batch]
            first = request.first + begin
            noise = SampleNoise(request.seed, range(first, first + len(labels)))
            if isinstance(self._model, CausalModel):
                tokens = decode_causal(self._model, labels, request.sampling, noise)
            else:
                given = None if start is None else start.expand(len(labels), *start.shape[1:])
                name = "look" if self.config.commits else "condition"
                tokens = decode_masked(self._model, labels, request.sampling, noise, **{name: given})
            pictures = to_pictures(self._tokenizer, tokens)
            if condition is not None and keep:
                known = self.known[: len(condition), :, :, None].numpy()
                kept = pictures[:, : len(condition)]
                kept[:] = np.where(known, condition, kept)
            yield Samples(first, labels, tokens.cpu().numpy().astype(np.int32), pictures)

    def reconstructed(self, pictures: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """What the tokenizer makes of a clip, the most that a generator can reach: uint8 [T, H, W, 3]."""
        (made,) = to_pictures(self._tokenizer, self.tokens_of(_video(pictures)))
        return np.asarray(made)

    def tokens_of(self, video: Tensor) -> Tensor:
        """Tokens int64 [1, t, h, w] of a clip float32 [3, T, H, W] in [-1, 1].

        The first ones do not depend on what follows.
        """
        return to_tokens(self._tokenizer, video[None].to(self.device))

    def _start(self, condition: NDArray[np.uint8]) -> Tensor:
        """What decoding starts from: tokens int64 [1, t, h, w], or of a task the look of units [1, N, 2]."""
        if not self.config.commits:
            return self.tokens_of(_video(condition))
        clip = np.zeros((self.frames, *condition.shape[1:]), np.uint8)
        clip[: len(condition)] = condition
        tokens = self.tokens_of(padded(self.config, _video(clip), self.known))
        return look_of_unknown(tokens.flatten(1), known_positions(self.known, self.config.grid))

    @property
    def given(self) -> int:
        """Pictures of the condition: up to the last of which something is known."""
        seen = self.known.flatten(1).any(1).nonzero()
        return int(seen[-1]) + 1 if len(seen) else 0


def _video(pictures: NDArray[np.uint8]) -> Tensor:
    return to_video(torch.from_numpy(pictures).permute(0, 3, 1, 2).float())
