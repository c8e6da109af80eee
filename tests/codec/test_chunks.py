"""Coding chunk by chunk, one latent frame at a time, against one run of the tokenizer over the whole GOP."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from codec_support import one_thread
from video_support import moving_picture

from lfqcodec.bitstream.geometry import padded_frames
from lfqcodec.codec.chunks import ChunkDecoder, ChunkEncoder, frames_to_tensor, pick_device, tensor_to_frames
from lfqcodec.errors import LfqError
from lfqcodec.tokenizer.base.tokenizer import BaseTokenizer
from lfqcodec.weights.loading import load_tokenizer
from lfqcodec.weights.store import resolve_model

CPU = torch.device("cpu")
# Float32 sums in another order differ by this much on latents of the size of 1.
TOLERANCE = 1e-3


@pytest.fixture(autouse=True, scope="module")
def _quick():
    with one_thread():
        yield


@pytest.fixture(scope="module")
def tokenizer() -> BaseTokenizer:
    return load_tokenizer(resolve_model(), CPU)


def clip(frames: int, size: tuple[int, int] = (44, 36)) -> list[np.ndarray]:
    noise = np.random.default_rng(0)
    return [
        np.clip(
            moving_picture(*size, i).astype(int) + noise.integers(-20, 21, (size[1], size[0], 3)), 0, 255
        ).astype(np.uint8)
        for i in range(frames)
    ]


def chunks_of(frames: list[np.ndarray]) -> list[list[np.ndarray]]:
    return [frames[:17], *(frames[at : at + 16] for at in range(17, len(frames), 16))]


def stage_inputs(tokenizer: BaseTokenizer, latents: torch.Tensor, tokens: np.ndarray) -> list[torch.Tensor]:
    """What stage k takes the signs of, given the tokens of the stages before it: [T, 18, h, w] each."""
    flat = latents[0].transpose(0, 1)
    out = []
    for stage in range(len(tokens)):
        left = flat
        if stage:
            before = torch.from_numpy(tokens[:stage].astype(np.int64)).unsqueeze(0)
            left = flat - tokenizer.dequantize(before)[0].transpose(0, 1)
        out.append(tokenizer.quantizer.project[stage](left))
    return out


@pytest.mark.parametrize("length", [1, 2, 17, 18, 33, 40])
@torch.inference_mode()
def test_tokens_equal_those_of_one_run(tokenizer, length):
    frames = clip(length)
    stages = tokenizer.config.stages
    encoder = ChunkEncoder(tokenizer, stages, CPU)
    parts = [encoder.encode(part, gop_start=k == 0) for k, part in enumerate(chunks_of(frames))]
    ours = np.concatenate(parts, 1)
    whole = frames + [frames[-1]] * (padded_frames(length, gop_start=True) - length)
    latents, _ = tokenizer.encode(frames_to_tensor(whole, CPU))
    wanted = tokenizer.quantize(latents, stages)[0].numpy()
    assert ours.shape == wanted.shape
    assert ours.dtype == np.int32
    assert 0 <= ours.min() <= ours.max() < 1 << 18
    # A bit may differ only where what it is the sign of lies within float tolerance of zero. Where an
    # earlier stage differs, later ones code another remainder.
    inputs = stage_inputs(tokenizer, latents, wanted)
    same_before = np.ones(ours.shape[1:], bool)
    for stage in range(stages):
        bits = torch.arange(18).view(1, 18, 1, 1)
        differ = (
            torch.from_numpy((ours[stage] ^ wanted[stage]).astype(np.int64)).unsqueeze(1) >> bits & 1
        ).bool()
        near = inputs[stage].abs() < TOLERANCE * inputs[stage].abs().mean().clamp_min(1)
        assert bool((~differ | near | ~torch.from_numpy(same_before).unsqueeze(1)).all())
        same_before &= ours[stage] == wanted[stage]
    assert same_before.mean() > 0.99


@pytest.mark.parametrize("length", [1, 17, 18, 37])
@torch.inference_mode()
def test_frames_equal_those_of_one_run(tokenizer, length):
    frames = clip(length)
    encoder = ChunkEncoder(tokenizer, 2, CPU)
    decoder = ChunkDecoder(tokenizer, 36, 44, CPU)
    parts = [encoder.encode(part, gop_start=k == 0) for k, part in enumerate(chunks_of(frames))]
    decoded = np.concatenate(
        [
            decoder.decode(tokens, len(part), gop_start=k == 0)
            for k, (tokens, part) in enumerate(zip(parts, chunks_of(frames), strict=True))
        ]
    )
    tokens = torch.from_numpy(np.concatenate(parts, 1).astype(np.int64)).unsqueeze(0)
    video, _ = tokenizer.decode(tokenizer.dequantize(tokens))
    wanted = tensor_to_frames(video[..., :36, :44])[:length]
    assert decoded.shape == (length, 36, 44, 3)
    difference = np.abs(decoded.astype(int) - wanted.astype(int))
    assert difference.max() <= 1  # where a value lies between two integers
    assert (difference > 0).mean() < 0.01


def test_a_gop_start_forgets(tokenizer):
    """After any chunk, the first chunk of a GOP is coded and decoded as by a new object."""
    first, second = clip(34)[:17], clip(34)[17:]
    used, fresh = (ChunkEncoder(tokenizer, 1, CPU) for _ in range(2))
    used.encode(first, gop_start=True)
    tokens = used.encode(second, gop_start=True)
    assert np.array_equal(tokens, fresh.encode(second, gop_start=True))
    decoder = ChunkDecoder(tokenizer, 36, 44, CPU)
    decoder.decode(fresh.encode(first, gop_start=True), 17, gop_start=True)
    again = decoder.decode(tokens, 17, gop_start=True)
    alone = ChunkDecoder(tokenizer, 36, 44, CPU).decode(tokens, 17, gop_start=True)
    assert np.array_equal(again, alone)


def test_a_later_chunk_needs_its_gop(tokenizer):
    """The state matters: the same frames as a later chunk have other tokens than as a first one."""
    frames = clip(33)
    encoder = ChunkEncoder(tokenizer, 1, CPU)
    encoder.encode(frames[:17], gop_start=True)
    later = encoder.encode(frames[17:], gop_start=False)
    assert later.shape[1] == 4
    assert ChunkEncoder(tokenizer, 1, CPU).encode(frames[17:], gop_start=True).shape[1] == 5


def test_padding_repeats_the_border():
    frame = np.arange(5 * 3 * 3, dtype=np.uint8).reshape(5, 3, 3)
    video = frames_to_tensor([frame], CPU)
    assert video.shape == (1, 3, 1, 8, 8)
    assert video.min() >= -1
    assert video.max() <= 1
    back = tensor_to_frames(video)[0]
    assert np.array_equal(back[:5, :3], frame)
    assert np.array_equal(back[7, 7], frame[4, 2])
    assert np.array_equal(back[0, 7], frame[0, 2])
    assert np.array_equal(tensor_to_frames(video[..., :5, :3])[0], frame)


def test_devices():
    assert pick_device("cpu") == CPU
    assert pick_device("auto").type in ("cpu", "cuda")
    with pytest.raises(LfqError, match="no device is named"):
        pick_device("abacus")
    if not torch.cuda.is_available():
        with pytest.raises(LfqError, match="no CUDA device"):
            pick_device("cuda")
