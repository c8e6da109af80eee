"""What networks do with crops that are not trained on, by q: figures for the log."""

from __future__ import annotations

import torch
from torch import Tensor

from lfqcodec.tokenizer.motion.encode.lagrangian import BASE, WEIGHT
from lfqcodec.train.lpips import LPIPS
from lfqcodec.train.motion.model.networks import GroupModel, IntraModel, eight_bits
from lfqcodec.train.motion.model.objective import PERCEPTUAL, psnr

REFERENCE_BETTER = 1.3
"""How much better first pictures are than what follows, in q."""
_OFF_GRID = (2, 3)


class Figures:
    """Lists by q: `psnr` in dB, `lpips` and `lpips_shifted` (crops 2 and 3 pixels off the grid of blocks),
    `bpp`, `lagrangian`; and `layers`, bits a pixel by layer for every q.
    """

    def __init__(self, lpips: LPIPS | None) -> None:
        self._lpips = lpips
        self.rows: dict[str, list[float] | list[list[float]]] = {}

    def add(self, q: float, decoded: Tensor, pictures: Tensor, bpp: Tensor) -> None:
        """All pictures of a q, float [N, 3, H, W]; bits a pixel by layer [layers]."""
        error = (decoded - pictures).square().mean((1, 2, 3)) * 255.0**2
        distortion = float(error.mean())
        row = {"psnr": float(psnr(error).mean())}
        if self._lpips is not None:
            y, x = _OFF_GRID
            row["lpips"] = float(self._lpips(decoded * 2, pictures * 2).mean())
            shifted = (each[:, :, y:, x:] * 2 for each in (decoded, pictures))
            row["lpips_shifted"] = float(self._lpips(*shifted).mean())
            distortion += PERCEPTUAL * row["lpips_shifted"]
        row["bpp"] = float(bpp.sum())
        row["lagrangian"] = WEIGHT * BASE**q * distortion + row["bpp"]
        for name, value in row.items():
            self.rows.setdefault(name, []).append(float(f"{value:.5g}"))  # type: ignore[arg-type]
        layers = [float(f"{value:.4g}") for value in bpp.tolist()]
        self.rows.setdefault("layers", []).append(layers)  # type: ignore[arg-type]


@torch.no_grad()
def measure_intra(model: IntraModel, pictures: Tensor, lpips: LPIPS | None) -> Figures:
    """Of first pictures float32 [N, 3, S, S], for every level of the steps."""
    figures = Figures(lpips)
    for level in range(model.quantizer.levels):
        q = torch.full((len(pictures),), float(level), device=pictures.device)
        coded = model.code(pictures, q)
        bpp = coded.bits.mean(0) / pictures[0, 0].numel()
        figures.add(level, eight_bits(coded.decoded), pictures, bpp)
    return figures


@torch.no_grad()
def measure_groups(
    model: GroupModel, intra: IntraModel, chains: Tensor, lpips: LPIPS | None, size: int
) -> Figures:
    """Of chains float32 [N, 1 + size * groups, 3, S, S], references being decoded and rounded to 8 bits.

    Also `places`, PSNR by place in a group for every q, and `last`, that of the last group.
    """
    figures = Figures(lpips)
    places: list[list[float]] = []
    last: list[float] = []
    for level in range(model.anchor.quantizer.levels):
        q = torch.full((len(chains),), float(level), device=chains.device)
        best = intra.quantizer.levels - 1
        chain = model.first(
            eight_bits(intra.code(chains[:, 0], (q + REFERENCE_BETTER).clamp(max=best)).decoded)
        )
        shown, bits = [], []
        for group in torch.split(chains[:, 1:], size, 1):
            own, chain = model.code(group, chain, q)
            chain = chain._replace(picture=eight_bits(chain.picture))
            shown.append(own.decoded)
            bits.append(own.bits)
        decoded = eight_bits(torch.stack(shown, 1))
        bpp = torch.stack(bits).mean((0, 1)) / (size * chains[0, 0, 0].numel())
        figures.add(level, decoded.flatten(0, 2), chains[:, 1:].flatten(0, 1), bpp)
        quality = psnr((decoded - chains[:, 1:].reshape(decoded.shape)).square().mean((3, 4, 5)) * 255.0**2)
        places.append([round(value, 3) for value in quality.mean((0, 1)).tolist()])
        last.append(round(float(quality[:, -1].mean()), 3))
    figures.rows.update(places=places, last=last)
    return figures
