"""Pictures of a group to tokens, layer by layer: offer what may be chosen, go on with what was chosen."""

from __future__ import annotations

from abc import ABC, abstractmethod
from copy import copy

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lfqcodec.tokenizer.motion.group import GroupReconstruction, Reference
from lfqcodec.tokenizer.motion.layout import Grid, Layer
from lfqcodec.tokenizer.motion.networks import Intra
from lfqcodec.tokenizer.motion.numbers import Numbers, Options
from lfqcodec.tokenizer.motion.reconstruction import Prediction, quality, reconstruct_intra

Pictures = NDArray[np.uint8]
"""uint8 [n, H, W, 3], RGB."""


class GroupEncoder(ABC):
    """Pictures on their way to tokens. Immutable: `take` gives the next state."""

    def __init__(self, layers: tuple[Layer, ...], size: tuple[int, int]) -> None:
        self.layers = layers
        self._size = size
        self._taken = 0

    @property
    def next_layer(self) -> Layer | None:
        """The layer whose tokens come next; None when all are taken."""
        return self.layers[self._taken] if self._taken < len(self.layers) else None

    @torch.no_grad()
    def options(self, layer: str) -> Options:
        """What may be chosen for the next layer, which must be `layer`."""
        return self._options(self._expected(layer))

    @torch.no_grad()
    def take(self, layer: str, tokens: Grid) -> GroupEncoder:
        """Go on with tokens int32 [planes, rows, columns] for the next layer, which must be `layer`."""
        expected = self._expected(layer)
        if tokens.shape != expected.shape(self._size):
            raise ValueError(f"{layer}: tokens of shape {tokens.shape}, not {expected.shape(self._size)}")
        after = self._copy()
        after._taken += 1
        after._take(expected, tokens)
        return after

    def close(self) -> tuple[Pictures, Reference]:
        """What a decoder makes of the tokens, once all layers are taken, and the next reference."""
        if self.next_layer is not None:
            raise ValueError(f"{self.next_layer.name} is not taken yet")
        return self._close()

    def _expected(self, layer: str) -> Layer:
        expected = self.next_layer
        if expected is None or layer != expected.name:
            raise ValueError(f"the next layer is {expected and expected.name}, not {layer}")
        return expected

    def _copy(self) -> GroupEncoder:
        return copy(self)

    @abstractmethod
    def _options(self, layer: Layer) -> Options: ...

    @abstractmethod
    def _take(self, layer: Layer, tokens: Grid) -> None: ...

    @abstractmethod
    def _close(self) -> tuple[Pictures, Reference]: ...


class IntraEncoder(GroupEncoder):
    """The first picture of a GOP, padded, uint8 [3, H, W]."""

    def __init__(
        self, network: Intra, layers: tuple[Layer, ...], picture: Tensor, size: tuple[int, int], q: float
    ) -> None:
        super().__init__(layers, size)
        self._network = network
        self._q = quality(q, picture.device)
        with torch.no_grad():
            latents = network.analyse(unit(picture[None]), self._q)
            self._numbers = Numbers.of(network.quantizer, network.out, latents, self._q)

    def _options(self, layer: Layer) -> Options:
        return self._numbers.options()

    def _take(self, layer: Layer, tokens: Grid) -> None:
        self._numbers = self._numbers.take(tokens)

    @torch.no_grad()
    def _close(self) -> tuple[Pictures, Reference]:
        picture = reconstruct_intra(self._network, self._numbers.values[0], self._q)
        return to_pictures(picture[None], self._size), Reference(picture)


class PredictedEncoder(GroupEncoder):
    """A group after the first: pictures uint8 [n, 3, H, W], padded; `group` has none of them decoded yet."""

    def __init__(
        self, group: GroupReconstruction, layers: tuple[Layer, ...], pictures: Tensor, size: tuple[int, int]
    ) -> None:
        super().__init__(layers, size)
        self._group, self._pictures = group, pictures
        self._predictions: list[Prediction] = []
        self._numbers: Numbers | None = None

    def _copy(self) -> GroupEncoder:
        twin = copy(self)
        twin._group = self._group.copy()
        return twin

    def _originals(self, part: str) -> Tensor:
        return self._pictures[list(self._group.places[part])]

    def _options(self, layer: Layer) -> Options:
        if layer.name.startswith("motion."):
            return Options(self._group.search(layer.part, self._originals(layer.part)).cpu().numpy())
        assert self._numbers is not None
        return self._numbers.depth() if layer.number is None else self._numbers.options()

    def _take(self, layer: Layer, tokens: Grid) -> None:
        part = layer.part
        if layer.name.startswith("motion."):
            self._predictions = self._group.predict(part, torch.from_numpy(tokens))
            self._numbers = self._analysed(part)
            return
        assert self._numbers is not None
        if layer.number is None:
            self._numbers = self._numbers.with_depth(tokens)
            return
        self._numbers = self._numbers.take(tokens)
        following = self.next_layer
        if following is None or following.part != part:
            self._group.add(part, self._predictions, self._numbers.values)

    def _analysed(self, part: str) -> Numbers:
        network = self._group.network(part)
        contexts = torch.cat([prediction.context for prediction in self._predictions])
        latents = network.analyse(unit(self._originals(part)), contexts)
        return Numbers.of(network.quantizer, network.out, latents, self._group.q)

    def _close(self) -> tuple[Pictures, Reference]:
        return to_pictures(self._group.pictures(), self._size), self._group.reference()


def unit(pictures: Tensor) -> Tensor:
    """uint8 samples as networks see them: float32 in [-0.5, 0.5]."""
    return pictures.float() / 255 - 0.5


def to_pictures(padded: Tensor, size: tuple[int, int]) -> Pictures:
    """uint8 [n, 3, H, W], padded, -> uint8 [n, H, W, 3] of `size`."""
    pictures: Pictures = padded[:, :, : size[0], : size[1]].permute(0, 2, 3, 1).contiguous().cpu().numpy()
    return pictures
