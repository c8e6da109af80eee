"""What an encoder is asked to do, and what that comes to for the model at hand."""

from __future__ import annotations

import os
from dataclasses import dataclass
from fractions import Fraction

from lfqcodec.bitstream import SPATIAL_FACTOR, TEMPORAL_FACTOR, FileHeader, Profile
from lfqcodec.bitstream.header import NO_HASH
from lfqcodec.bitstream.limits import MAX_GOP_CHUNKS
from lfqcodec.codec.cut import check_range
from lfqcodec.codec.rate_control import BitrateControl
from lfqcodec.errors import LfqError, WeightsError, WeightsMissing
from lfqcodec.media import VideoInfo
from lfqcodec.weights.rates import MAX_CRF, RateTable, load_rates
from lfqcodec.weights.store import Model, Prior, prior_for

DEFAULT_GOP = 4
PROFILES = ("exact", "static")
_BITRATE_TOLERANCE = 0.03


@dataclass(frozen=True)
class EncodeOptions:
    """How to encode. `start`, `duration` in seconds; `scale` is (width, height); `gop` counts chunks.

    Quality: `crf` (0 to 63, lower is better), or `bitrate` (bits per second of video, sound not counted),
    with at most `stages` stages; or `stages` alone, whose tokens are coded as they are. With none of them,
    the default crf of the model, or all its stages where it has no rate table. `profile` "exact" uses the
    prior, "static" does without; None takes exact where the model has a prior. `audio` copies sound and
    subtitles. `measure` decodes what was written and reports its quality. `resume` keeps what an interrupted
    run has written, and goes on from there. `workers` processes code a GOP each, with the same bytes; not
    with a bitrate. Raises `LfqError` for a value out of range.
    """

    model: str | os.PathLike[str] | None = None
    crf: float | None = None
    bitrate: float | None = None
    stages: int | None = None
    profile: str | None = None
    gop: int = DEFAULT_GOP
    start: float | Fraction | None = None
    duration: float | Fraction | None = None
    frames: int | None = None
    scale: tuple[int, int] | None = None
    audio: bool = True
    device: str = "auto"
    overwrite: bool = False
    measure: bool = False
    resume: bool = False
    workers: int = 1

    def __post_init__(self) -> None:
        check_range(self.start, self.duration)
        if not 1 <= self.gop <= MAX_GOP_CHUNKS:
            raise LfqError(f"a GOP has 1 to {MAX_GOP_CHUNKS} chunks, not {self.gop}")
        if self.crf is not None and self.bitrate is not None:
            raise LfqError("crf and bitrate cannot both be given")
        if self.crf is not None and not 0 <= self.crf <= MAX_CRF:
            raise LfqError(f"crf must be 0 to {MAX_CRF:g}, not {self.crf:g}")
        if self.bitrate is not None and not 0 < self.bitrate < float("inf"):
            raise LfqError(f"bitrate must be over 0, not {self.bitrate:g}")
        if self.profile is not None and self.profile not in PROFILES:
            raise LfqError(f"profile must be exact or static, not {self.profile!r}")
        if self.profile == "static" and (self.crf is not None or self.bitrate is not None):
            raise LfqError("crf and bitrate need the profile exact")
        if self.workers < 1:
            raise LfqError(f"workers must be at least 1, not {self.workers}")
        if self.workers > 1 and self.bitrate is not None:
            raise LfqError("a bitrate is steered from GOP to GOP: use one worker")
        if self.stages is not None and self.stages < 1:
            raise LfqError(f"stages must be at least 1, not {self.stages}")
        if self.frames is not None and self.frames < 1:
            raise LfqError(f"frames must be at least 1, not {self.frames}")
        if self.scale is not None and min(self.scale) < 1:
            raise LfqError("scale must be a width and a height of at least 1")


@dataclass(frozen=True)
class Plan:
    """What the options come to for a model: the prior, at most how many stages, and how lambda is found.

    With `control` it is steered by the bitrate, with `table` and `crf` fixed; else tokens stay as they are.
    """

    prior: Prior | None
    stages: int
    crf: float | None
    table: RateTable | None
    control: BitrateControl | None
    notes: tuple[str, ...]


def require_container_grid(model: Model) -> None:
    """Raise `WeightsError` for a model whose tokens are not those of the container: 8x8 pixels, 4 frames."""
    spatial, temporal = model.config.spatial_factor, model.config.temporal_factor
    if (spatial, temporal) != (SPATIAL_FACTOR, TEMPORAL_FACTOR):
        kind = "is for images only: " if temporal == 1 else "cannot be used for .lfq files: "
        raise WeightsError(
            f"model {model.name} {kind}a token covers {spatial}x{spatial} pixels of {temporal} frames, in "
            f".lfq files {SPATIAL_FACTOR}x{SPATIAL_FACTOR} of {TEMPORAL_FACTOR}"
        )


def make_plan(model: Model, options: EncodeOptions) -> Plan:
    """What `options` come to.

    Raises `LfqError` for options that the model cannot serve, `WeightsMissing` without what they need,
    `WeightsError` for a model that cannot code .lfq files at all.
    """
    require_container_grid(model)
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
        return Plan(None, stages, None, None, None, notes)
    if options.stages is None:
        stages = min(stages, prior.stages)
    elif stages > prior.stages:
        raise LfqError(f"stages must be 1 to {prior.stages} with prior {prior.name}, not {stages}")
    table = load_rates(model, prior)
    if table is None and wanted:
        raise WeightsMissing(f"prior {prior.name} has no rate table (make one with `lfqcodec train rates`)")
    if table is None or (options.stages is not None and not wanted):
        return Plan(prior, stages, None, None, None, ())
    if options.bitrate is not None:
        return Plan(prior, stages, None, table, BitrateControl(table, stages, options.bitrate), ())
    crf = table.default_crf if options.crf is None else options.crf
    return Plan(prior, len(table.lambdas(crf, stages)), crf, table, None, ())


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
