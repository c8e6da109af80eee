"""Tokenizers that quantize without a look at what was decoded. The reference is the context of their layers.

Large pictures go through in tiles (`lfqcodec.tokenizer.tiles`), and every clip one latent frame at a time:
the carried context makes it the same computation, in a quarter of the memory.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from lfqcodec.bitstream.geometry import SUBTOKEN_BITS, padded_frames
from lfqcodec.bitstream.limits import SPATIAL_FACTOR, TEMPORAL_FACTOR
from lfqcodec.tokenizer.interface import GroupEncoder, Options, Pictures, Tokenizer, Tokens
from lfqcodec.tokenizer.layers import State, channels_last
from lfqcodec.tokenizer.layout import Layer, open_loop_grid
from lfqcodec.tokenizer.lfq.binary import Quantized, ResidualLFQ
from lfqcodec.tokenizer.tiles import pixels, plan_tiles


@dataclass(frozen=True)
class Context:
    """The reference of an open-loop tokenizer: left context by tile, of the analysis and of the synthesis.

    `synthesis` is None where nothing was decoded.
    """

    analysis: tuple[State, ...] | None
    synthesis: tuple[State, ...] | None


class OpenLoopTokenizer(Tokenizer):
    """An analysis and a synthesis transform with residual LFQ between them.

    s is `config.spatial_factor`, D the size of a latent vector. Clips are 1 + 4k frames to 1 + k latent
    frames at a GOP start, else 4k to k. (A model of images, with a temporal factor of 1, has a latent frame
    each.)
    """

    quantizer: ResidualLFQ
    encoder_reach: int | None = None
    """Positions of the latent grid from a latent to the last pixel that matters to it; None: all matter."""
    decoder_reach: int | None = None
    """Positions from a pixel's own to the last latent that matters to it; None: all matter."""

    @abstractmethod
    def analyse(self, video: Tensor, state: State | None = None) -> tuple[Tensor, State]:
        """Video to latents: float32 [B, 3, T, H, W] in [-1, 1] -> [B, D, T', H/s, W/s] and the next state.

        H and W are multiples of s. Without `state` the clip starts a GOP; with the state that the chunk
        before returned it goes on with it.
        """

    @abstractmethod
    def synthesise(self, latents: Tensor, state: State | None = None) -> tuple[Tensor, State]:
        """Latents to video: float32 [B, D, T', h, w] -> [B, 3, T, s*h, s*w] near [-1, 1], and next state."""

    @abstractmethod
    def forward(self, video: Tensor, kept: Tensor) -> tuple[Tensor, Quantized]:
        """One training pass over clips that start a GOP: video [B, 3, T, H, W] -> (reconstruction, losses).

        `kept` int [B] is the number of stages that each clip keeps.
        """

    @abstractmethod
    def inflate(self) -> None:
        """Turn image weights into video weights (central inflation, MAGVIT-v2 section 3.1)."""

    @abstractmethod
    def initialise_from(self, frames: Tensor) -> None:
        """Prepare an untrained model for pictures like `frames` (float32 [N, 3, H, W] in [-1, 1])."""

    def quantize(self, latents: Tensor, stages: int) -> Tensor:
        """float32 [B, D, T', h, w] -> tokens int64 [B, stages, T', h, w] in [0, 2^18)."""
        flat = channels_last(latents.transpose(1, 2).flatten(0, 1))
        tokens = self.quantizer.quantize(flat, stages)
        return tokens.reshape(stages, latents.shape[0], -1, *tokens.shape[2:]).transpose(0, 1)

    def dequantize(self, tokens: Tensor) -> Tensor:
        """Tokens int64 [B, stages, T', h, w] -> float32 [B, D, T', h, w]. Any number of stages from 1."""
        flat = tokens.transpose(0, 1).flatten(1, 2)
        latents = self.quantizer.dequantize(flat)
        return latents.reshape(tokens.shape[0], -1, *latents.shape[1:]).transpose(1, 2)

    @torch.inference_mode()
    def encode(
        self,
        pictures: Sequence[NDArray[np.uint8]],
        reference: Context | None = None,
        quality: float = 0.0,
    ) -> OpenLoopGroup:
        """As in the interface, at one quality. The last picture is repeated to fill its latent frame."""
        starts = reference is None
        missing = padded_frames(len(pictures), gop_start=starts) - len(pictures)
        padded = [*pictures, *[pictures[-1]] * missing]
        size = padded[0].shape[0], padded[0].shape[1]
        grid = open_loop_grid(size)
        tiles = plan_tiles(grid, self.encoder_reach)
        states: list[State | None] = [None] * len(tiles)
        if reference is not None:
            assert reference.analysis is not None
            states = [*reference.analysis]
        device = next(self.parameters()).device
        parts = []
        begin = 0
        while begin < len(padded):
            end = begin + (1 if starts and not begin else TEMPORAL_FACTOR)
            frame: Tensor | None = None
            for number, tile in enumerate(tiles):
                rows, columns = pixels(tile.outer, size)
                clip = frames_to_tensor([each[rows, columns] for each in padded[begin:end]], device)
                latents, state = self.analyse(clip, states[number])
                states[number] = _compact(state)
                if len(tiles) == 1:
                    frame = latents[0]
                    break
                if frame is None:
                    frame = latents.new_empty(latents.shape[1], 1, *grid)
                frame[(..., *tile.core)] = latents[0][(..., *tile.inner)]
            assert frame is not None
            parts.append(frame)
            begin = end
        whole = torch.cat(parts, 1).transpose(0, 1).contiguous(memory_format=torch.channels_last)
        layers = self.layout.layers(len(pictures), size, first=starts)
        analysis = tuple(state for state in states if state is not None)
        return OpenLoopGroup(self, layers, len(pictures), size, whole, (), reference, analysis)

    @torch.inference_mode()
    def decode(
        self,
        tokens: Sequence[Tokens],
        count: int,
        size: tuple[int, int],
        reference: Context | None = None,
    ) -> tuple[Pictures, Context]:
        """As in the interface; pictures may differ by one step between machines."""
        stacked = np.stack(tokens)
        tiles = plan_tiles((stacked.shape[2], stacked.shape[3]), self.decoder_reach)
        states: list[State | None] = [None] * len(tiles)
        if reference is not None and reference.synthesis is not None:
            states = [*reference.synthesis]
        device = next(self.parameters()).device
        out = np.empty((count, *size, 3), np.uint8)
        begin = 0
        for time in range(stacked.shape[1]):
            frames = out[begin : begin + (1 if reference is None and not time else TEMPORAL_FACTOR)]
            for number, tile in enumerate(tiles):
                part = np.ascontiguousarray(stacked[:, time : time + 1][(..., *tile.outer)])
                latents = self.dequantize(torch.from_numpy(part).to(device, torch.int64)[None])
                video, state = self.synthesise(latents, states[number])
                states[number] = _compact(state)
                rows, columns = pixels(tile.core, size)
                top, left = tile.rows.low * SPATIAL_FACTOR, tile.columns.low * SPATIAL_FACTOR
                video = video[:, :, : len(frames), rows.start - top : rows.stop - top]
                frames[:, rows, columns] = tensor_to_frames(
                    video[..., columns.start - left : columns.stop - left]
                )
            begin += len(frames)
        analysis = None if reference is None else reference.analysis
        return out, Context(analysis, tuple(state for state in states if state is not None))


@dataclass(frozen=True)
class OpenLoopGroup(GroupEncoder):
    """`residual` float32 [T, D, h, w]: what the stages that were `taken` leave of the latents."""

    tokenizer: OpenLoopTokenizer
    layers: tuple[Layer, ...]
    count: int
    size: tuple[int, int]
    residual: Tensor
    taken: tuple[Tokens, ...]
    reference: Context | None
    analysis: tuple[State, ...]

    @torch.inference_mode()
    def options(self, number: int) -> Options:
        """The signs of the numbers that the stage makes of what is left; a wrong one costs its magnitude."""
        quantizer = self.tokenizer.quantizer
        scores = quantizer.scores(self.residual, number)  # [T, 18, h, w]
        plain = quantizer.signs_to_tokens(scores > 0).to(torch.int32).cpu().numpy()
        return Options(plain, scores.movedim(1, -1).reshape(-1, SUBTOKEN_BITS))

    @torch.inference_mode()
    def take(self, number: int, tokens: Tokens) -> OpenLoopGroup:
        """Take the decoded stage off what is left."""
        picked = torch.from_numpy(tokens.astype(np.int64)).to(self.residual.device)
        residual = self.residual - self.tokenizer.quantizer.part(picked, number)
        return replace(self, residual=residual, taken=(*self.taken, tokens))

    def close(self, *, decoded: bool) -> tuple[Pictures | None, Context]:
        """Pictures only where `decoded`: the next group does not need them."""
        if not decoded:
            return None, Context(self.analysis, None)
        pictures, after = self.tokenizer.decode(self.taken, self.count, self.size, self.reference)
        return pictures, Context(self.analysis, after.synthesis)


def frames_to_tensor(frames: Sequence[NDArray[np.uint8]], device: torch.device) -> Tensor:
    """Frames uint8 [H, W, 3] to one clip float32 [1, 3, T, H', W'] in [-1, 1].

    H' and W' are H and W rounded up to multiples of 8 by repeating the last row and column.
    """
    video = torch.from_numpy(np.stack(frames)).to(device).permute(0, 3, 1, 2).float()
    height, width = video.shape[-2:]
    video = F.pad(video, (0, -width % SPATIAL_FACTOR, 0, -height % SPATIAL_FACTOR), mode="replicate")
    return (video / 127.5 - 1).transpose(0, 1).unsqueeze(0)


def tensor_to_frames(video: Tensor) -> Pictures:
    """Clip float32 [1, 3, T, H, W] to uint8 [T, H, W, 3]."""
    x = ((video[0].permute(1, 2, 3, 0) + 1) * 127.5).round_().clamp_(0, 255)
    return x.to(torch.uint8).contiguous().cpu().numpy()


def _compact(state: State) -> State:
    """The same state, in memory of its own where it is a part of something larger, which can then go."""
    return {
        name: tensor.clone() if tensor.untyped_storage().nbytes() > tensor.nbytes else tensor
        for name, tensor in state.items()
    }
