"""Tokens of groups of pictures for tests of the file format: of every kind, drawn from a seed alone."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from lfqcodec.bitstream import FileHeader, Layer, Profile, token_crc
from lfqcodec.codec.tokens import GroupTokens, TokenDecoder, TokenEncoder
from lfqcodec.prior.motion.static import StaticMotionRates
from lfqcodec.tokenizer.layout import Layout
from lfqcodec.tokenizer.motion.fields import anchor_field, between_field, half
from lfqcodec.tokenizer.motion.layout import pack_depth

Array = NDArray[np.int32]


class Noise:
    """Numbers that depend on nothing but a seed: no library's generator may change the golden files."""

    def __init__(self, seed: object) -> None:
        self._seed = seed
        self._draws = 0

    def bytes(self, count: int) -> bytes:
        """So many bytes."""
        self._draws += 1
        return hashlib.shake_256(f"{self._seed} {self._draws}".encode()).digest(count)

    def numbers(self, shape: Sequence[int], below: int) -> Array:
        """Numbers in 0..below - 1, int32 of `shape`."""
        words = np.frombuffer(self.bytes(4 * math.prod(shape)), "<u4")
        return (words % below).astype(np.int32).reshape(shape)

    def chosen(self, shape: Sequence[int], of_64: int) -> NDArray[np.bool_]:
        """True in so many of 64 cases."""
        return self.numbers(shape, 64) < of_64


@dataclass(frozen=True)
class Style:
    """What tokens are like. Chances are in 64ths.

    `value`: of a value not to be 0; `moved`: of a difference of motion not to be 0, then in
    -`reach`..`reach`; `drift` is added horizontally. `depths` are the numbers that are drawn. `qualities` are
    the tokens of `quality` of a GOP's groups, the last for all that follow; none draws them from all. All
    tokens of `empty_stream` are 0.
    """

    value: int = 10
    moved: int = 16
    reach: int = 5
    drift: int = 0
    depths: tuple[int, ...] = (0, 0, 1, 2, 3)
    qualities: tuple[int, ...] = ()
    empty_stream: int | None = None


USUAL = Style()
NOTHING = Style(0, 0, depths=(0,), qualities=(0,))


def group_tokens(layers: Sequence[Layer], noise: Noise, style: Style, number: int = 0) -> GroupTokens:
    """Tokens that may be, of each layer of group `number` of a GOP."""
    shapes = {layer.name: layer.shape for layer in layers}
    skipped: dict[str, NDArray[np.bool_]] = {}
    tokens = []
    for layer in layers:
        kind, _, part = layer.name.partition(".")
        shape = layer.shape
        if kind == "quality":
            own = noise.numbers(shape, 512)
            if style.qualities:
                own[:] = style.qualities[min(number, len(style.qualities) - 1)]
        elif kind == "motion":
            pair = (2, *shape)
            moves = noise.numbers(pair, 2 * style.reach + 1) - style.reach
            moves *= noise.chosen(pair, style.moved)
            moves[1] += style.drift
            own = moves[0] & 511 | (moves[1] & 511) << 9
        elif kind == "depth":
            most = sum(f"{part}.{k}" in shapes for k in range(8))
            rows, columns = (n // 2 for n in shapes[f"{part}.0"][1:])
            choice = noise.numbers((shape[0], rows, columns), len(style.depths))
            numbers = np.minimum(np.array(style.depths)[choice], most).astype(np.int32)
            own = pack_depth(numbers)
            skipped[part] = np.where(numbers == 3, most, numbers).repeat(2, 1).repeat(2, 2)
        else:
            bits = noise.chosen((*shape, 9), style.value) @ (1 << np.arange(9))
            own = bits | (bits & noise.numbers(shape, 512)) << 9
            if kind in skipped:
                own = own * (skipped[kind] > int(part))
        tokens.append(own.astype(np.int32) * (layer.stream != style.empty_stream))
    return tuple(tokens)


def size_of(header: FileHeader) -> tuple[int, int]:
    """(H, W)."""
    return header.height, header.width


def layers_of(
    header: FileHeader, valid: int, gop_start: bool, group_size: int = 4
) -> list[tuple[Layer, ...]]:
    """The layers of each group of a chunk."""
    return Layout(header.layers).chunk(valid, size_of(header), gop_start=gop_start, group_size=group_size)


def chunk_tokens(
    header: FileHeader,
    valid: int,
    gop_start: bool,
    noise: Noise,
    style: Style = USUAL,
    streams: int = 2,
    group_size: int = 4,
) -> list[GroupTokens]:
    """Tokens of each group of a chunk, of the layers of its first `streams` streams."""
    return [
        group_tokens([layer for layer in layers if layer.stream < streams], noise, style, number)
        for number, layers in enumerate(layers_of(header, valid, gop_start, group_size), int(not gop_start))
    ]


def token_encoder(header: FileHeader) -> TokenEncoder:
    """For profile static."""
    return TokenEncoder(Layout(header.layers), StaticMotionRates(), size_of(header))


def token_decoder(header: FileHeader) -> TokenDecoder:
    """For profile static."""
    return TokenDecoder(Layout(header.layers), StaticMotionRates(), Profile.STATIC, size_of(header))


def by_stream(
    header: FileHeader, valid: int, gop_start: bool, groups: Sequence[GroupTokens], group_size: int = 4
) -> list[Array]:
    """The tokens of each stream of a chunk in coding order; 0 where `groups` has none, as in a decoder."""
    flat: list[list[Array]] = [[np.zeros(0, np.int32)] for _ in range(2)]
    together: dict[str, list[Array]] = {"quality": [], "motion.anchor": []}
    for layers, tokens in zip(layers_of(header, valid, gop_start, group_size), groups, strict=True):
        for number, layer in enumerate(layers):
            own = tokens[number] if number < len(tokens) else np.zeros(layer.shape, np.int32)
            together.get(layer.name, flat[layer.stream]).append(own.reshape(-1))
    flat[0] = [own for parts in together.values() for own in parts] + flat[0]
    return [np.concatenate(parts).astype(np.int32) for parts in flat]


def crcs_of(
    header: FileHeader, valid: int, gop_start: bool, groups: Sequence[GroupTokens], group_size: int = 4
) -> list[int]:
    """The token CRC of each stream that has tokens."""
    return [token_crc(own) for own in by_stream(header, valid, gop_start, groups, group_size) if len(own)]


def decode_motion(
    header: FileHeader,
    valid: int,
    gop_start: bool,
    groups: Sequence[GroupTokens],
    before: torch.Tensor | None,
    group_size: int = 4,
) -> tuple[list[Array], torch.Tensor | None]:
    """The fields [blocks, 2] of a chunk in coding order, and the last anchor's, `before` that before it."""
    fields: list[Array] = []
    before = None if gop_start else before
    for layers, tokens in zip(layers_of(header, valid, gop_start, group_size), groups, strict=True):
        own = {layer.name: np.zeros(layer.shape, np.int32) for layer in layers}
        own |= {layer.name: each for layer, each in zip(layers, tokens, strict=False)}
        of_group = {name: torch.from_numpy(each) for name, each in own.items() if name.startswith("motion.")}
        if "motion.anchor" in of_group:
            before = middle = anchor_field(of_group["motion.anchor"][0], before)
            fields.append(before.reshape(-1, 2).numpy())
        if "motion.middle" in of_group:
            middle = between_field(of_group["motion.middle"][0], half(before))
            fields.append(middle.reshape(-1, 2).numpy())
        for plane in of_group.get("motion.quarters", ()):
            fields.append(between_field(plane, half(middle)).reshape(-1, 2).numpy())
    return fields, before
