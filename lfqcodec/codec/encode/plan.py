"""What the options of an encoder come to for the model at hand."""

from __future__ import annotations

from dataclasses import dataclass

from lfqcodec.bitstream import FileHeader, Profile
from lfqcodec.bitstream.geometry import latent_grid
from lfqcodec.bitstream.header import NO_HASH
from lfqcodec.codec.encode.options import EncodeOptions
from lfqcodec.codec.encode.quality import DEFAULT_CRF, operating_point
from lfqcodec.codec.encode.rate_control import BitrateControl
from lfqcodec.codec.gop import GopEncoder, OperatingPoint, plain_choice
from lfqcodec.codec.models import rate_model, require_container_grid
from lfqcodec.errors import LfqError, WeightsMissing
from lfqcodec.media import VideoInfo
from lfqcodec.tokenizer.motion.config import MotionConfig
from lfqcodec.weights.rates import RateTable, load_rates
from lfqcodec.weights.store import Model, Prior, prior_for

_BITRATE_TOLERANCE = 0.03


@dataclass(frozen=True)
class Plan:
    """What the options come to for a model: the prior, and the operating point of all chunks.

    `stages` is the most layers that a chunk may have. With `control` the operating point is steered by the
    bitrate. `table` is None where tokens stay as they are.
    """

    prior: Prior | None
    stages: int
    point: OperatingPoint
    crf: float | None
    table: RateTable | None
    control: BitrateControl | None
    notes: tuple[str, ...]


def make_plan(model: Model, options: EncodeOptions) -> Plan:
    """What `options` come to.

    Raises `LfqError` for options that the model cannot serve, `WeightsMissing` without what they need,
    `WeightsError` for a model that cannot code .lfq files at all.
    """
    require_container_grid(model)
    if isinstance(model.config, MotionConfig):
        return _motion_plan(model, options)
    stages = model.config.stages if options.stages is None else options.stages
    if stages > model.config.stages:
        raise LfqError(f"stages must be 1 to {model.config.stages} with model {model.name}, not {stages}")
    prior = None if options.profile == "static" else prior_for(model)
    wanted = options.crf is not None or options.bitrate is not None
    if prior is None:
        if options.profile == "exact" or wanted:
            raise WeightsMissing(
                f"model {model.name} has no prior, which profile exact, crf and bitrate need"
            )
        lacking = options.profile is None
        notes = (f"model {model.name} has no prior: tokens keep their full size",) if lacking else ()
        return Plan(None, stages, OperatingPoint(stages), None, None, None, notes)
    if options.stages is None:
        stages = min(stages, prior.config.stages)
    elif stages > prior.config.stages:
        raise LfqError(f"stages must be 1 to {prior.config.stages} with prior {prior.name}, not {stages}")
    table = load_rates(model, prior)
    if table is None and wanted:
        raise WeightsMissing(f"prior {prior.name} has no rate table (make one with `lfqcodec train rates`)")
    if table is None or (options.stages is not None and not wanted):
        return Plan(prior, stages, OperatingPoint(stages), None, None, None, ())
    if options.bitrate is not None:
        control = BitrateControl(table, stages, options.bitrate)
        return Plan(prior, stages, control.point(table.default_crf), None, table, control, ())
    crf = table.default_crf if options.crf is None else options.crf
    point = OperatingPoint(*table.point(crf, stages))
    return Plan(prior, point.streams, point, crf, table, None, ())


def _motion_plan(model: Model, options: EncodeOptions) -> Plan:
    streams = options.stages or model.config.layout.streams
    if streams > model.config.layout.streams:
        raise LfqError(f"model {model.name} has {model.config.layout.streams} streams, not {streams}")
    prior = None if options.profile == "static" else prior_for(model)
    if prior is None and options.profile == "exact":
        raise WeightsMissing(f"model {model.name} has no prior, which profile exact needs")
    crf = DEFAULT_CRF if options.crf is None else options.crf
    return Plan(prior, streams, operating_point(crf, streams), crf, None, None, ())


def make_header(info: VideoInfo, model: Model, options: EncodeOptions, plan: Plan) -> FileHeader:
    """The header of the file to be written. The frame count is left open: the input's own is a guess."""
    return FileHeader(
        width=info.width,
        height=info.height,
        time_base=info.time_base,
        frame_rate=info.frame_rate,
        frame_count=1 if info.is_image else None,
        colour=info.colour,
        sar=info.sar,
        rotation=info.rotation,
        gop_chunks=options.gop,
        max_stages=plan.stages,
        profile=Profile.STATIC if plan.prior is None else Profile.EXACT,
        tokenizer_sha256=model.sha256,
        prior_sha256=NO_HASH if plan.prior is None else plan.prior.sha256,
        streams=info.streams,
        still_image=info.is_image,
    )


def missed_bitrate(wanted: float | None, reached: float) -> tuple[str, ...]:
    """A note where the bitrate that was asked for was not reached, in bits per second."""
    if wanted is None or abs(reached / wanted - 1) <= _BITRATE_TOLERANCE:
        return ()
    return (f"the video has {reached / 1000:.1f} kbit/s: nothing closer to {wanted / 1000:.1f} was found",)


def gop_encoder(model: Model, plan: Plan, size: tuple[int, int], device: str, *, measure: bool) -> GopEncoder:
    """What codes pictures of `size` (H, W) by the plan; with `measure` it gives decoded pictures, too."""
    from lfqcodec.codec.device import pick_device
    from lfqcodec.codec.encode.rdo import Rdo
    from lfqcodec.weights.loading import load_tokenizer

    rates = rate_model(model, plan.prior, latent_grid(size[1], size[0]), plan.stages, device)
    tokenizer = load_tokenizer(model, pick_device(device))
    costs = None if plan.table is None else plan.table.flip_costs
    choose = plain_choice if plan.point.lambda_ == 0 and plan.control is None else Rdo(costs)
    return GopEncoder(tokenizer, rates, choose, decoded=measure)
