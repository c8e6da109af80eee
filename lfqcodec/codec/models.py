"""What models a file can be coded with, and its rate model by its profile. Importing it loads no torch."""

from __future__ import annotations

from lfqcodec.bitstream import SPATIAL_FACTOR, TEMPORAL_FACTOR
from lfqcodec.entropy import RateModel
from lfqcodec.errors import InvalidField, WeightsError
from lfqcodec.tokenizer.motion.config import MotionConfig
from lfqcodec.weights.store import Model, Prior


def rate_model(
    model: Model | None, prior: Prior | None, grid: tuple[int, int], streams: int, device: str
) -> RateModel:
    """What gives the frequency rows for pictures with a latent grid (h, w) and at most so many `streams`.

    `prior` is None in profile static. Raises `WeightsError`, and `InvalidField` where the prior knows fewer.
    """
    if prior is None or (model is not None and isinstance(model.config, MotionConfig)):
        from lfqcodec.prior.motion.static import StaticMotionRates

        return StaticMotionRates()
    from lfqcodec.codec.device import pick_device
    from lfqcodec.prior.rows import GopCoder
    from lfqcodec.weights.loading import load_network

    network = load_network(prior, pick_device(device))
    if network.config.stages < streams:
        raise InvalidField(f"the file has up to {streams} stages, its prior {network.config.stages}")
    return GopCoder(network, *grid)


def require_container_grid(model: Model) -> None:
    """Raise `WeightsError` for a model whose tokens are not those of the container: 8x8 pixels, 4 frames."""
    spatial, temporal = model.config.spatial_factor, model.config.temporal_factor
    if (spatial, temporal) != (SPATIAL_FACTOR, TEMPORAL_FACTOR):
        kind = "is for images only: " if temporal == 1 else "cannot be used for .lfq files: "
        raise WeightsError(
            f"model {model.name} {kind}a token covers {spatial}x{spatial} pixels of {temporal} frames, in "
            f".lfq files {SPATIAL_FACTOR}x{SPATIAL_FACTOR} of {TEMPORAL_FACTOR}"
        )
