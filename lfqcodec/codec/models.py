"""What models a file can be coded with, and its rate model by its profile. Importing it loads no torch."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lfqcodec.entropy import RateModel
from lfqcodec.errors import WeightsError
from lfqcodec.machine import may_have_gpu
from lfqcodec.startup import loading
from lfqcodec.tokenizer.motion.config import MotionConfig
from lfqcodec.weights.store import Model, Prior

if TYPE_CHECKING:
    from lfqcodec.tokenizer.interface import GroupTokenizer


def rate_model(prior: Prior | None) -> RateModel:
    """What gives the frequency rows: of a prior, or those of profile static. Raises `WeightsError`."""
    if prior is None:
        from lfqcodec.prior.motion.static import StaticMotionRates

        return StaticMotionRates()
    with loading():
        from lfqcodec.prior.motion.learned import LearnedMotionRates
        from lfqcodec.weights.loading import load_networks

    return LearnedMotionRates(load_networks(prior))


def motion_config(model: Model) -> MotionConfig:
    """The configuration of a model that can code .lfq files. Raises `WeightsError` for any other."""
    if not isinstance(model.config, MotionConfig):
        raise WeightsError(f"model {model.name} cannot code .lfq files: it does not predict motion")
    return model.config


def device_name(wanted: str) -> str:
    """`auto` or the name of a device to the latter; raises what `pick_device` does.

    It asks torch, whose import takes a second, only where there may be something to ask.
    """
    if wanted == "cpu" or (wanted == "auto" and not may_have_gpu()):
        return "cpu"
    with loading():
        from lfqcodec.codec.device import pick_device

    return str(pick_device(wanted))


def load_group_tokenizer(model: Model, device: str, precision: str = "auto") -> GroupTokenizer:
    """The tokenizer of a model that can code .lfq files; later calls give it again. Raises `WeightsError`.

    `device` and `precision` as in `lfqcodec.codec.device`.
    """
    with loading():
        from lfqcodec.codec.device import pick_device, pick_precision
        from lfqcodec.tokenizer.motion.tokenizer import MotionTokenizer
        from lfqcodec.weights.loading import load_tokenizer

    motion_config(model)
    where = pick_device(device)
    tokenizer = load_tokenizer(model, where, pick_precision(precision, where))
    assert isinstance(tokenizer, MotionTokenizer)
    return tokenizer
