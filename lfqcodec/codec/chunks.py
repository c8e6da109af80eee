"""The tokenizer at work on chunks: frames to tokens and tokens to frames, state carried inside a GOP."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from lfqcodec.bitstream import SPATIAL_FACTOR, TEMPORAL_FACTOR
from lfqcodec.config import padded_frames
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


def tensor_to_frames(video: Tensor, height: int, width: int) -> NDArray[np.uint8]:
    """Clip float32 [1, 3, T, H', W'] to uint8 [T, H, W, 3], cropped to the true size."""
    x = ((video[0].permute(1, 2, 3, 0)[:, :height, :width] + 1) * 127.5).round_().clamp_(0, 255)
    return x.to(torch.uint8).contiguous().cpu().numpy()


class ChunkEncoder:
    """Turns the frames of successive chunks into latents or tokens."""

    def __init__(self, tokenizer: Tokenizer, stages: int, device: torch.device) -> None:
        self._tokenizer, self._stages, self._device = tokenizer, stages, device
        self._state: State | None = None

    @torch.inference_mode()
    def latents(self, frames: Sequence[NDArray[np.uint8]], *, gop_start: bool) -> Tensor:
        """New frames of a chunk, uint8 [H, W, 3] each, to latents float32 [D, T, h, w].

        Frames that do not fill their last latent frame are padded with the last frame.
        """
        missing = padded_frames(len(frames), gop_start=gop_start) - len(frames)
        padded = [*frames, *[frames[-1]] * missing]
        state = None if gop_start else self._state
        parts = []
        begin = 0
        # One latent frame at a time: the carried state makes it the same computation, in a quarter of the
        # memory, and what is being worked on stays in the processor's cache.
        while begin < len(padded):
            end = begin + (1 if state is None else TEMPORAL_FACTOR)
            latents, state = self._tokenizer.encode(frames_to_tensor(padded[begin:end], self._device), state)
            parts.append(latents[0])
            begin = end
        self._state = state
        return torch.cat(parts, 1)

    @torch.inference_mode()
    def encode(self, frames: Sequence[NDArray[np.uint8]], *, gop_start: bool) -> NDArray[np.int32]:
        """The tokens of `latents` as they are, int32 [stages, T, h, w]."""
        latents = self.latents(frames, gop_start=gop_start)
        return self._tokenizer.quantize(latents[None], self._stages)[0].to(torch.int32).cpu().numpy()


class ChunkDecoder:
    """Turns the tokens of successive chunks into frames."""

    def __init__(self, tokenizer: Tokenizer, height: int, width: int, device: torch.device) -> None:
        self._tokenizer, self._device = tokenizer, device
        self._height, self._width = height, width
        self._state: State | None = None

    @torch.inference_mode()
    def decode(self, tokens: NDArray[np.int32], valid: int, *, gop_start: bool) -> NDArray[np.uint8]:
        """Tokens int32 [stages, T, h, w] of a chunk to its `valid` new frames, uint8 [valid, H, W, 3]."""
        batch = torch.from_numpy(tokens).to(self._device, torch.int64).unsqueeze(0)
        latents = self._tokenizer.dequantize(batch)
        state = None if gop_start else self._state
        frames = []
        for time in range(latents.shape[2]):
            video, state = self._tokenizer.decode(latents[:, :, time : time + 1], state)
            frames.append(tensor_to_frames(video, self._height, self._width))
        self._state = state
        return np.concatenate(frames)[:valid]
