"""What a tokenizer can do that codes .lfq files: pictures to tokens, layer by layer, and back.

No module keeps state between calls. What a group of pictures is predicted from is its reference: a value that
`GroupEncoder.close` and `GroupTokenizer.decode` give and the next call takes.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from lfqcodec.bitstream.geometry import Layer
from lfqcodec.tokenizer.config import TokenizerConfig
from lfqcodec.tokenizer.layout import Layout

Pictures = NDArray[np.uint8]
"""uint8 [n, H, W, 3], RGB."""
Tokens = NDArray[np.int32]
"""int32 [planes, rows, columns] of one layer, in [0, 2^18)."""
GroupValues = Any
"""What the tokens of a group mean, immutable."""
Reference = Any
"""What a group depends on besides its own tokens, immutable. None: nothing."""


@dataclass(frozen=True)
class Options:
    """What may be chosen as the tokens of a layer.

    `plain` are those that quantization alone gives. `gains` float32 [2 n, 9], for the subtokens of the n
    positions in raster order: how much less the squared error of the samples is with a bit set than with it
    clear; None where there is nothing to choose. A bit of subtoken 1 may be set only where that of subtoken 0
    is.
    """

    plain: Tokens
    gains: Tensor | None = None


class GroupEncoder(ABC):
    """Pictures on their way to tokens. Immutable: `take` gives the next state."""

    layers: tuple[Layer, ...]

    @abstractmethod
    def options(self, number: int) -> Options:
        """What may be chosen for a layer, once all layers before it are taken."""

    @abstractmethod
    def take(self, number: int, tokens: Tokens) -> GroupEncoder:
        """Go on with these tokens for a layer."""

    def reference(self) -> Reference:
        """What the next group is predicted from, once that is known, which may be long before `close`."""
        return None

    @abstractmethod
    def close(self, *, decoded: bool) -> tuple[Pictures | None, Reference]:
        """The pictures as a decoder has them, where `decoded` or needed anyway, and the next reference."""


@dataclass(frozen=True)
class DecodedGroup:
    """A group of which as much is decoded as the next one needs: its `reference`.

    `pictures` decodes the rest, in any thread, and gives all of them.
    """

    reference: Reference
    pictures: Callable[[], Pictures]


class Tokenizer(nn.Module):
    """A tokenizer of any architecture."""

    config: TokenizerConfig


class GroupTokenizer(Tokenizer, ABC):
    """Causal tokenizer: a group of pictures depends on itself and on what came before it."""

    layout: Layout
    """The layers of tokens in coding order."""

    @abstractmethod
    def multiply_in(self, dtype: torch.dtype) -> None:
        """Let most layers multiply float32 or bfloat16. It rounds weights, so there is no way back."""

    @abstractmethod
    def encode(
        self,
        pictures: Sequence[NDArray[np.uint8]],
        reference: Reference = None,
        quality: float = 0.0,
        effort: str = "medium",
    ) -> GroupEncoder:
        """Begin to code a group of pictures uint8 [H, W, 3]; without `reference` it starts a GOP.

        `effort` "fast", "medium" or "slow" is how long to look for what costs least.
        """

    @abstractmethod
    def read(
        self, tokens: Sequence[Tokens], count: int, size: tuple[int, int], before: GroupValues = None
    ) -> GroupValues:
        """What the tokens of a group of `count` pictures of `size` (H, W) mean.

        `tokens` are those of its layers in order; those of later streams may be left out. `before` is the
        same of the group before, None at the start of a GOP. Raises `BitstreamError` where they mean nothing.
        """

    @abstractmethod
    def decode(self, group: GroupValues, reference: Reference = None) -> DecodedGroup:
        """Decode as much of a group as the next one needs. Whatever `read` gave can be decoded."""
