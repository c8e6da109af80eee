"""How close a decoded video is to its source: PSNR, MS-SSIM and LPIPS of 8-bit RGB frames."""

from benchmarks.metrics.compare import FrameScores, Scores, compare, compare_frames, mean
from benchmarks.metrics.weights import file_sha256, find_lpips

__all__ = ["FrameScores", "Scores", "compare", "compare_frames", "file_sha256", "find_lpips", "mean"]
