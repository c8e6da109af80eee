"""The tokenizer at work on chunks: frames to tokens and tokens to frames, state carried inside a GOP."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from lfqcodec.bitstream import SPATIAL_FACTOR, TEMPORAL_FACTOR
from lfqcodec.bitstream.geometry import padded_frames
from lfqcodec.codec.tiles import Tile, pixels, plan_tiles
from lfqcodec.errors import LfqError
from lfqcodec.tokenizer.interface import Tokenizer
from lfqcodec.tokenizer.layers import State


def pick_device(name: str) -> torch.device:
    """`auto`, `cpu` or `cuda` to a device. Raises `LfqError` where there is none of that name."""
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if name == "cuda" and not torch.cuda.is_available():
        raise LfqError("no CUDA device is available (use --device cpu)")
    try:
        return torch.device(name)
    except RuntimeError as error:
        raise LfqError(f"no device is named {name!r} (use auto, cpu or cuda)") from error


def frames_to_tensor(frames: Sequence[NDArray[np.uint8]], device: torch.device) -> Tensor:
    """Frames uint8 [H, W, 3] to one clip float32 [1, 3, T, H', W'] in [-1, 1].

    H' and W' are H and W rounded up to multiples of 8 by repeating the last row and column.
    """
    video = torch.from_numpy(np.stack(frames)).to(device).permute(0, 3, 1, 2).float()
    height, width = video.shape[-2:]
    video = F.pad(video, (0, -width % SPATIAL_FACTOR, 0, -height % SPATIAL_FACTOR), mode="replicate")
    return (video / 127.5 - 1).transpose(0, 1).unsqueeze(0)


def tensor_to_frames(video: Tensor) -> NDArray[np.uint8]:
    """Clip float32 [1, 3, T, H, W] to uint8 [T, H, W, 3]."""
    x = ((video[0].permute(1, 2, 3, 0) + 1) * 127.5).round_().clamp_(0, 255)
    return x.to(torch.uint8).contiguous().cpu().numpy()


def compact(state: State) -> State:
    """The same state, in memory of its own where it is a part of something larger, which can then go."""
    return {
        name: tensor.clone() if tensor.untyped_storage().nbytes() > tensor.nbytes else tensor
        for name, tensor in state.items()
    }


class ChunkEncoder:
    """Turns the frames of successive chunks into latents or tokens."""

    def __init__(self, tokenizer: Tokenizer, stages: int, device: torch.device) -> None:
        self._tokenizer, self._stages, self._device = tokenizer, stages, device
        self._tiles: list[Tile] = []
        self._states: list[State | None] = []

    @torch.inference_mode()
    def latents(self, frames: Sequence[NDArray[np.uint8]], *, gop_start: bool) -> Tensor:
        """New frames of a chunk, uint8 [H, W, 3] each, to latents float32 [D, T, h, w].

        Frames that do not fill their last latent frame are padded with the last frame.
        """
        missing = padded_frames(len(frames), gop_start=gop_start) - len(frames)
        padded = [*frames, *[frames[-1]] * missing]
        size = padded[0].shape[0], padded[0].shape[1]
        grid = -(-size[0] // SPATIAL_FACTOR), -(-size[1] // SPATIAL_FACTOR)
        if gop_start:
            self._tiles = plan_tiles(grid, self._tokenizer.encoder_reach)
            self._states = [None] * len(self._tiles)
        parts = []
        begin = 0
        # One latent frame at a time: the carried state makes it the same computation, in a quarter of the
        # memory, and what is being worked on stays in the processor's cache.
        while begin < len(padded):
            end = begin + (1 if gop_start and not begin else TEMPORAL_FACTOR)
            parts.append(self._latent_frame(padded[begin:end], size, grid))
            begin = end
        return torch.cat(parts, 1)

    def _latent_frame(
        self, frames: Sequence[NDArray[np.uint8]], size: tuple[int, int], grid: tuple[int, int]
    ) -> Tensor:
        """Frames of one latent frame to float32 [D, 1, h, w], tile by tile."""
        whole: Tensor | None = None
        for number, tile in enumerate(self._tiles):
            rows, columns = pixels(tile.outer, size)
            clip = frames_to_tensor([frame[rows, columns] for frame in frames], self._device)
            latents, state = self._tokenizer.encode(clip, self._states[number])
            self._states[number] = compact(state)
            if len(self._tiles) == 1:
                return latents[0]
            if whole is None:
                whole = latents.new_empty(latents.shape[1], 1, *grid)
            whole[(..., *tile.core)] = latents[0][(..., *tile.inner)]
        assert whole is not None
        return whole

    @torch.inference_mode()
    def encode(self, frames: Sequence[NDArray[np.uint8]], *, gop_start: bool) -> NDArray[np.int32]:
        """The tokens of `latents` as they are, int32 [stages, T, h, w]."""
        latents = self.latents(frames, gop_start=gop_start)
        return self._tokenizer.quantize(latents[None], self._stages)[0].to(torch.int32).cpu().numpy()


class ChunkDecoder:
    """Turns the tokens of successive chunks into frames."""

    def __init__(self, tokenizer: Tokenizer, height: int, width: int, device: torch.device) -> None:
        self._tokenizer, self._device = tokenizer, device
        self._size = height, width
        grid = -(-height // SPATIAL_FACTOR), -(-width // SPATIAL_FACTOR)
        self._tiles = plan_tiles(grid, tokenizer.decoder_reach)
        self._states: list[State | None] = [None] * len(self._tiles)

    @torch.inference_mode()
    def decode(self, tokens: NDArray[np.int32], valid: int, *, gop_start: bool) -> NDArray[np.uint8]:
        """Tokens int32 [stages, T, h, w] of a chunk to its `valid` new frames, uint8 [valid, H, W, 3]."""
        if gop_start:
            self._states = [None] * len(self._tiles)
        frames = np.empty((valid, *self._size, 3), np.uint8)
        begin = 0
        for time in range(tokens.shape[1]):
            count = 1 if gop_start and not time else TEMPORAL_FACTOR
            self._latent_frame(tokens[:, time : time + 1], frames[begin : begin + count])
            begin += count
        return frames

    def _latent_frame(self, tokens: NDArray[np.int32], out: NDArray[np.uint8]) -> None:
        """Tokens int32 [stages, 1, h, w] to frames, as many of them as `out` has room for."""
        for number, tile in enumerate(self._tiles):
            part = np.ascontiguousarray(tokens[(..., *tile.outer)])
            latents = self._tokenizer.dequantize(torch.from_numpy(part).to(self._device, torch.int64)[None])
            video, state = self._tokenizer.decode(latents, self._states[number])
            self._states[number] = compact(state)
            rows, columns = pixels(tile.core, self._size)
            top, left = tile.rows.low * SPATIAL_FACTOR, tile.columns.low * SPATIAL_FACTOR
            video = video[:, :, : len(out), rows.start - top : rows.stop - top]
            out[:, rows, columns] = tensor_to_frames(video[..., columns.start - left : columns.stop - left])
