"""What a tokenizer can do with clips that it does not learn from."""

from __future__ import annotations

import torch
from torch import Tensor

from lfqcodec.errors import LfqError
from lfqcodec.tokenizer.interface import Tokenizer
from lfqcodec.tokenizer.layers import channels_last
from lfqcodec.tokenizer.lfq.binary import Choose, Quantized
from lfqcodec.train.choice import TokenChoice
from lfqcodec.train.config import Phase, TrainConfig
from lfqcodec.train.data import Pack, SampleConfig, Sampler
from lfqcodec.train.losses import psnr
from lfqcodec.train.lpips import LPIPS
from lfqcodec.train.prior_net import PriorNet
from lfqcodec.train.rate_model import BitModel, draw_known
from lfqcodec.train.rate_prior import PriorRate

_BATCHES = 4
_MOST_CLIPS = 8
_LPIPS_EVERY = 5
"""Frames from one that LPIPS looks at to the next."""

_Rows = dict[str, list[Tensor]]


class HeldOut:
    """Measures on the held-out clips of a pack, the same crops every time, with what the run has for it."""

    def __init__(
        self,
        config: TrainConfig,
        pack: Pack,
        *,
        lpips: LPIPS | None,
        rate_model: BitModel | PriorRate | None,
        chooser: PriorNet | None,
        device: torch.device,
    ) -> None:
        self.config, self.pack, self.device = config, pack, device
        self.lpips, self.rate_model, self.chooser = lpips, rate_model, chooser

    @torch.no_grad()
    def measure(self, model: Tokenizer, phase: Phase) -> dict[str, list[float]]:
        """Means over crops like those of `phase`, by number of stages from 1; empty if nothing is held out.

        `psnr` in dB; `lpips`, where the run has LPIPS, of clamped frames; `bits`, where it has a rate model,
        what it estimates that a token of the stage costs; `chosen_psnr` and `chosen_lpips`, where it chooses
        tokens, those of chosen ones, with the lambda in the middle for the number of stages.
        """
        data = self.config.data
        shape = SampleConfig(
            min(phase.batch, _MOST_CLIPS), phase.frames, phase.size, data.max_shrink, skip_chance=0.0
        )
        try:
            sampler = Sampler(self.pack, shape, seed=self.config.seed + 1, held_out=True)
        except LfqError:
            return {}
        rows: _Rows = {}
        for number in range(_BATCHES):
            video = sampler.batch(number).to(self.device)
            latents = model.encode(video)[0]
            self._compare(self._decode_plain(model, latents), video, "", rows)
            if self.chooser is not None:
                self._compare(self._decode_chosen(model, self.chooser, latents), video, "chosen_", rows)
            if self.rate_model is not None:
                rows.setdefault("bits", []).append(self._bits(model, self.rate_model, latents, number))
        return {name: [round(float(v), 4) for v in torch.cat(r).mean(0)] for name, r in rows.items()}

    def _decode_plain(self, model: Tokenizer, latents: Tensor) -> list[Tensor]:
        """What one, two, ... stages give."""
        stages = self.config.model.stages
        tokens = model.quantize(latents, stages)
        return [model.decode(model.dequantize(tokens[:, :kept]))[0] for kept in range(1, stages + 1)]

    def _decode_chosen(self, model: Tokenizer, chooser: PriorNet, latents: Tensor) -> list[Tensor]:
        config = self.config.choice
        decoded = []
        for stages in range(1, self.config.model.stages + 1):
            kept = torch.full((len(latents),), stages, device=self.device)
            lambdas = torch.full(kept.shape, config.middle(stages), device=self.device)
            flat = _quantize(model, latents, kept, TokenChoice(chooser, config, lambdas, kept)).latents
            decoded.append(model.decode(flat.view(len(latents), -1, *flat.shape[1:]).transpose(1, 2))[0])
        return decoded

    def _compare(self, decoded: list[Tensor], video: Tensor, prefix: str, rows: _Rows) -> None:
        decoded = [x.clamp(-1, 1) for x in decoded]
        by_stages = [psnr(x, video) for x in decoded]
        rows.setdefault(f"{prefix}psnr", []).append(torch.stack(by_stages, 1))
        if self.lpips is not None:
            by_stages = [self._distance(self.lpips, x, video) for x in decoded]
            rows.setdefault(f"{prefix}lpips", []).append(torch.stack(by_stages, 1))

    @staticmethod
    def _distance(lpips: LPIPS, decoded: Tensor, video: Tensor) -> Tensor:
        pair = (x[:, :, ::_LPIPS_EVERY].transpose(1, 2).flatten(0, 1) for x in (decoded, video))
        distance: Tensor = lpips(*pair)
        return distance.view(len(video), -1).mean(1)

    def _bits(
        self, model: Tokenizer, rate_model: BitModel | PriorRate, latents: Tensor, number: int
    ) -> Tensor:
        clips, stages = len(latents), self.config.model.stages
        quantized = _quantize(model, latents, torch.full((clips,), stages, device=self.device))
        if isinstance(rate_model, PriorRate):
            each = [rate_model(quantized, clips, stage)[0].mean(1) for stage in range(stages)]
            return torch.stack(each, 1)
        frames, h, w = latents.shape[2:]
        known = draw_known((stages, clips, frames, h, w), torch.Generator().manual_seed(number))
        bits: Tensor = rate_model(quantized, known.to(self.device))
        return bits.mean(2).T


def _quantize(model: Tokenizer, latents: Tensor, kept: Tensor, choose: Choose | None = None) -> Quantized:
    """As in a training pass: latents [B, D, T', h, w], `kept` int64 [B]."""
    flat = channels_last(latents.transpose(1, 2).flatten(0, 1))
    quantized: Quantized = model.quantizer(flat, kept.repeat_interleave(latents.shape[2]), choose)
    return quantized
