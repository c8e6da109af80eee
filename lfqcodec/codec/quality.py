"""PSNR and MS-SSIM of decoded frames against their source, as running means over a video."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray


def psnr(a: NDArray[np.uint8], b: NDArray[np.uint8]) -> float:
    """Peak signal-to-noise ratio of two 8-bit pictures in dB; infinite where they are equal."""
    mse = float(np.square(a.astype(np.float32) - b.astype(np.float32)).mean(dtype=np.float64))
    return math.inf if mse == 0 else 10 * math.log10(255**2 / mse)


class QualityMeter:
    """Collects the quality of frame after frame."""

    def __init__(self) -> None:
        self._psnr: list[float] = []
        self._ms_ssim: list[float] = []

    def add(self, source: NDArray[np.uint8], decoded: NDArray[np.uint8]) -> None:
        """Compare two frames, uint8 [H, W, 3]."""
        # 100 dB stands for an exact frame, so that one such frame does not make the mean infinite.
        self._psnr.append(min(100.0, psnr(source, decoded)))
        # Only here: who measures nothing does without torch.
        from lfqcodec.codec.ms_ssim import MS_SSIM_SIDE, ms_ssim

        if min(source.shape[:2]) >= MS_SSIM_SIDE:
            self._ms_ssim.append(ms_ssim(source, decoded))

    def values(self, behind: int) -> tuple[list[float], list[float]]:
        """PSNR and MS-SSIM of all frames but the first `behind`; the latter none for small pictures."""
        return self._psnr[behind:], self._ms_ssim[behind:]

    def put_back(self, psnr: list[float], ms_ssim: list[float]) -> None:
        """Add what another meter collected."""
        self._psnr += psnr
        self._ms_ssim += ms_ssim

    @property
    def psnr(self) -> float | None:
        """Mean over the frames of their PSNR in dB, None without frames."""
        return float(np.mean(self._psnr)) if self._psnr else None

    @property
    def ms_ssim(self) -> float | None:
        """Mean MS-SSIM; None for pictures with a side below 161 pixels."""
        return float(np.mean(self._ms_ssim)) if self._ms_ssim else None
