"""lfqcodec: a neural video codec.

    lfqcodec.encode("in.mp4", "out.lfq", crf=28, measure=True)    -> EncodeReport
    lfqcodec.decode("out.lfq", "out.mp4")                          -> DecodeReport
    with lfqcodec.open("out.lfq") as video:
        video.info, video.header
        for frame in video.frames(): frame.pts, frame.rgb          # uint8 [H, W, 3]
        for chunk in video.tokens(): chunk.tokens                  # int32 [stages, T, h, w]

Importing this package is cheap: torch and PyAV are imported by the first call that needs them.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, BinaryIO

from lfqcodec.errors import (
    BitstreamError,
    DamageConcealed,
    InputVideoError,
    LfqError,
    NumericsMismatch,
    OutputError,
    WeightsError,
)

if TYPE_CHECKING:
    from lfqcodec.bitstream import Limits
    from lfqcodec.codec.decode.decoder import DecodeReport
    from lfqcodec.codec.decode.file import LfqFile
    from lfqcodec.codec.encode.encoder import EncodeReport
    from lfqcodec.codec.progress import ProgressCallback

__version__ = "0.1.0"

__all__ = [
    "BitstreamError",
    "DamageConcealed",
    "InputVideoError",
    "LfqError",
    "NumericsMismatch",
    "OutputError",
    "WeightsError",
    "__version__",
    "decode",
    "encode",
    "open",
]


def encode(
    source: str | os.PathLike[str] | BinaryIO,
    dest: str | os.PathLike[str] | BinaryIO,
    *,
    progress: ProgressCallback | None = None,
    **options: Any,
) -> EncodeReport:
    """Encode a video or still image into a .lfq file.

    `source` and `dest` are paths, "-" for standard input and output, or binary file objects. The options are
    the fields of `lfqcodec.codec.encode.options.EncodeOptions`: model, crf, bitrate (bits per second),
    passes and stats, profile, gop (pictures), scene_cuts, start and duration (seconds), frames, scale (width,
    height), audio, device ("auto", "cpu", "cuda"), overwrite, measure, resume (go on after an interruption),
    workers.
    Raises `InputVideoError`, `OutputError`, `WeightsError` or `LfqError`; nothing partial is left then.
    """
    from lfqcodec.codec.encode import encoder
    from lfqcodec.codec.encode.options import EncodeOptions
    from lfqcodec.codec.progress import ignore

    return encoder.encode(source, dest, EncodeOptions(**options), progress=progress or ignore)


def decode(
    source: str | os.PathLike[str] | BinaryIO,
    dest: str | os.PathLike[str] | BinaryIO,
    *,
    progress: ProgressCallback | None = None,
    **options: Any,
) -> DecodeReport:
    """Decode a .lfq file to a video file, a folder of PNG pictures or a y4m stream.

    The options are the fields of `lfqcodec.codec.decode.decoder.DecodeOptions`: model, streams, start and
    duration (seconds), device, overwrite, best_effort, limits. Raises `InputVideoError`, `BitstreamError`,
    `WeightsError`, `NumericsMismatch` or `OutputError`; nothing partial is left then. Of a damaged
    file an output is made as far as it can be read; without best_effort `DamageConcealed`, a
    `BitstreamError`, then says so.
    """
    from lfqcodec.codec.decode import decoder
    from lfqcodec.codec.progress import ignore

    return decoder.decode(source, dest, decoder.DecodeOptions(**options), progress=progress or ignore)


def open(
    source: str | os.PathLike[str] | BinaryIO,
    *,
    model: str | os.PathLike[str] | None = None,
    device: str = "auto",
    limits: Limits | None = None,
) -> LfqFile:
    """Open a .lfq file for its header, frames and tokens. Raises `InputVideoError` or `BitstreamError`.

    Reading the tokens of a file of profile static needs neither torch nor a model. `limits`, of
    `lfqcodec.bitstream`, is what the file may ask for (`LimitExceeded`).
    """
    from lfqcodec.codec.decode.file import open_file

    return open_file(source, model=model, device=device, limits=limits)
