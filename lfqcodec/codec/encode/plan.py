"""What the options of an encoder come to for the model at hand."""

from __future__ import annotations

from dataclasses import dataclass

from lfqcodec.bitstream import FileHeader, Profile
from lfqcodec.bitstream.syntax.header import NO_HASH
from lfqcodec.codec.encode.options import EncodeOptions
from lfqcodec.codec.encode.rate.control import ConstantCrf, OnePass, RateControl, SecondPass
from lfqcodec.codec.encode.rate.quality import DEFAULT_CRF
from lfqcodec.codec.encode.rate.stats import ChunkStats, load_stats
from lfqcodec.codec.gop import GopEncoder
from lfqcodec.codec.models import load_group_tokenizer, motion_config, rate_model
from lfqcodec.errors import WeightsMissing
from lfqcodec.media import VideoInfo
from lfqcodec.startup import loading
from lfqcodec.weights.store import Model, Prior, prior_for

_BITRATE_TOLERANCE = 0.05


@dataclass(frozen=True)
class Plan:
    """What the options come to for a model: the prior, the number of streams, and the crf of all chunks.

    `effort` is that of the search for motion. `crf` is None with a bitrate; `stats` are those of pass 1,
    where they are to be used; `measure` is whether the quality of what is written is wanted.
    """

    prior: Prior | None
    streams: int
    effort: str
    crf: float | None
    stats: list[ChunkStats] | None
    measure: bool

    @property
    def tries(self) -> bool:
        """Whether chunks are coded with groups of every size, to keep the best."""
        return self.effort == "slow"


def make_plan(model: Model, options: EncodeOptions) -> Plan:
    """What `options` come to.

    Raises `WeightsError` for a model that cannot code .lfq files, `WeightsMissing` without what they need,
    `LfqError` where the file of pass 1 cannot be used.
    """
    streams = motion_config(model).layout.streams
    prior = None if options.profile == "static" else prior_for(model)
    if prior is None and options.profile == "exact":
        raise WeightsMissing(f"model {model.name} has no prior, which profile exact needs")
    stats = None
    if options.passes == 2:
        assert options.stats is not None
        stats = load_stats(options.stats)
    wanted = float(DEFAULT_CRF if options.crf is None else options.crf)
    crf = wanted if options.bitrate is None else None
    return Plan(prior, streams, options.effort, crf, stats, options.measure)


def rate_control(
    options: EncodeOptions, plan: Plan, info: VideoInfo, pictures: int | None, spent: int
) -> RateControl:
    """What gives each chunk its crf, for a video of so many pictures, if known.

    `spent` bits are in the file before its first chunk.
    """
    if options.bitrate is None:
        assert plan.crf is not None
        return ConstantCrf(plan.crf)
    if plan.stats is not None:
        return SecondPass(options.bitrate, info.time_base, spent, plan.stats, str(options.stats))
    size = info.height, info.width
    return OnePass(options.bitrate, info.time_base, spent, size, options.gop, pictures)


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
        gop_chunks=options.gop_chunks,
        layers=motion_config(model).layout.counts,
        profile=Profile.STATIC if plan.prior is None else Profile.EXACT,
        tokenizer_sha256=model.sha256,
        prior_sha256=NO_HASH if plan.prior is None else plan.prior.sha256,
        streams=info.streams,
        still_image=info.is_image,
        metadata=info.metadata,
    )


def missed_bitrate(wanted: float | None, reached: float) -> tuple[str, ...]:
    """A note where the bitrate that was asked for was not reached, in bits per second."""
    if wanted is None or abs(reached / wanted - 1) <= _BITRATE_TOLERANCE:
        return ()
    return (f"the video has {reached / 1000:.1f} kbit/s: not the {wanted / 1000:.1f} asked for",)


def gop_encoder(model: Model, plan: Plan, device: str, precision: str) -> GopEncoder:
    """What codes pictures by the plan; it gives decoded ones to be measured, and where sizes are tried."""
    with loading():
        from lfqcodec.codec.encode.rdo import choose_tokens

    decoded = plan.measure or plan.tries
    tokenizer = load_group_tokenizer(model, device, precision)
    return GopEncoder(tokenizer, rate_model(plan.prior), choose_tokens, decoded=decoded, effort=plan.effort)
