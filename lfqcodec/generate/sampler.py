"""A generator with its tokenizer: from a request to tokens and pictures, a batch at a time."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lfqcodec.errors import LfqError
from lfqcodec.generate.causal import CausalModel
from lfqcodec.generate.decode_causal import decode_causal
from lfqcodec.generate.decode_masked import decode_masked
from lfqcodec.generate.noise import SampleNoise
from lfqcodec.generate.pictures import frames_of, magvit2_config, to_pictures, to_tokens, to_video
from lfqcodec.generate.request import Request
from lfqcodec.generate.store import Generator
from lfqcodec.generate.weights import load_generator
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
    """Makes pictures and clips. Raises `LfqError` where the tokenizer's kind or shape does not fit."""

    def __init__(self, generator: Generator, tokenizer: Model, device: torch.device) -> None:
        shape, config = magvit2_config(tokenizer.config, tokenizer.path), generator.config
        if shape.temporal_factor == 1 and config.grid[0] > 1:
            raise LfqError(f"{tokenizer.path}: is a tokenizer of pictures, and {generator.name} makes clips")
        self.config, self.device = config, device
        self.size = tuple(side * shape.spatial_factor for side in config.grid[1:])
        self.frames = frames_of(shape, config.grid[0])
        self.given = frames_of(shape, config.condition_frames) if config.given else 0
        """Pictures of a clip, and those of them that the condition holds."""
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

        `condition` uint8 [given, H, W, 3] are the first pictures of all; with `keep` the result has them as
        they are, not as the tokenizer has them.
        """
        known = None if condition is None else self._condition(condition)
        for begin in range(skip, request.count, batch):
            labels = request.labels[begin : begin + batch]
            first = request.first + begin
            noise = SampleNoise(request.seed, range(first, first + len(labels)))
            if isinstance(self._model, CausalModel):
                tokens = decode_causal(self._model, labels, request.sampling, noise)
            else:
                start = None if known is None else known.expand(len(labels), -1, -1, -1)
                tokens = decode_masked(self._model, labels, request.sampling, noise, condition=start)
            pictures = to_pictures(self._tokenizer, tokens)
            if condition is not None and keep:
                pictures[:, : len(condition)] = condition
            yield Samples(first, labels, tokens.cpu().numpy().astype(np.int32), pictures)

    def reconstructed(self, pictures: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """What the tokenizer makes of a clip, the most that a generator can reach: uint8 [T, H, W, 3]."""
        (made,) = to_pictures(self._tokenizer, self._condition(pictures))
        return np.asarray(made)

    def _condition(self, pictures: NDArray[np.uint8]) -> Tensor:
        """Tokens int64 [1, t, h, w] of pictures, which do not depend on what follows."""
        video = to_video(torch.from_numpy(pictures).permute(0, 3, 1, 2).float()).to(self.device)
        return to_tokens(self._tokenizer, video[None])
