"""lfqcodec: a neural video codec.

    lfqcodec.encode("in.mp4", "out.lfq", crf=28, measure=True)    -> EncodeReport
    lfqcodec.encode(frames, "out.lfq", frame_rate=30)              # arrays [H, W, 3] or tensors [3, H, W]
    lfqcodec.decode("out.lfq", "out.mp4")                          -> DecodeReport
    with lfqcodec.open("out.lfq") as video:
        video.info, video.header
        for frame in video.frames(): frame.pts, frame.rgb          # array uint8 [H, W, 3]
        for tensor in video.tensors(): ...                         # tensor uint8 [3, H, W]
        for chunk in video.tokens(): chunk.groups                  # {layer: int32 [planes, h, w]} of each

Every error is an `LfqError`; a wrong argument is an `ArgumentError` and a TypeError or ValueError, too.
Importing this package is cheap: NumPy, torch and PyAV are imported by the first use that needs them.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from importlib import import_module
from typing import TYPE_CHECKING, Any, BinaryIO, Unpack

from lfqcodec.errors import (
    ArgumentError,
    ArgumentTypeError,
    ArgumentValueError,
    BitstreamError,
    DamageConcealed,
    InputVideoError,
    LfqError,
    NumericsMismatch,
    OutputError,
    WeightsError,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

    from lfqcodec.bitstream import Limits
    from lfqcodec.codec.decode.decoder import DecodeReport
    from lfqcodec.codec.decode.file import LfqFile
    from lfqcodec.codec.decode.options import DecodeKeywords, DecodeOptions
    from lfqcodec.codec.encode.encoder import EncodeReport
    from lfqcodec.codec.encode.options import EncodeKeywords, EncodeOptions
    from lfqcodec.codec.progress import Progress, ProgressCallback
    from lfqcodec.media import Frame

__version__ = "0.1.0"

__all__ = [
    "ArgumentError",
    "ArgumentTypeError",
    "ArgumentValueError",
    "BitstreamError",
    "DamageConcealed",
    "DecodeOptions",
    "DecodeReport",
    "EncodeOptions",
    "EncodeReport",
    "Frame",
    "InputVideoError",
    "LfqError",
    "LfqFile",
    "Limits",
    "NumericsMismatch",
    "OutputError",
    "Progress",
    "WeightsError",
    "__version__",
    "decode",
    "encode",
    "open",
]

# Found when they are asked for, so that the import stays cheap.
_HOMES = {
    "DecodeOptions": "codec.decode.options",
    "DecodeReport": "codec.decode.decoder",
    "EncodeOptions": "codec.encode.options",
    "EncodeReport": "codec.encode.encoder",
    "Frame": "media",
    "LfqFile": "codec.decode.file",
    "Limits": "bitstream",
    "Progress": "codec.progress",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)


def encode(
    source: str | os.PathLike[str] | BinaryIO | Iterable[NDArray[Any]] | Iterable[Tensor],
    dest: str | os.PathLike[str] | BinaryIO,
    *,
    progress: ProgressCallback | None = None,
    **options: Unpack[EncodeKeywords],
) -> EncodeReport:
    """Encode a video, a still image or pictures in memory into a .lfq file.

    `source` and `dest` are paths, "-" for standard input and output, or binary file objects. `source` may
    also be pictures in memory, RGB: an array uint8 [T, H, W, 3], a tensor uint8 [T, 3, H, W], or anything
    that gives arrays [H, W, 3] or tensors [3, H, W] one after the other. `progress` is called with a
    `Progress` now and then. The options are the fields of `EncodeOptions`.

    Raises `ArgumentError`, `InputVideoError`, `OutputError`, `WeightsError` or `LfqError`; nothing partial is
    left then.
    """
    from lfqcodec import arguments
    from lfqcodec.codec.encode.options import EncodeKeywords, EncodeOptions

    arguments.known(options, [*EncodeKeywords.__annotations__], "encode")
    settings = EncodeOptions(**options)
    if progress is not None:
        arguments.callback("progress", progress)
    from lfqcodec.codec.encode import encoder
    from lfqcodec.codec.progress import ignore

    return encoder.encode(source, dest, settings, progress=progress or ignore)


def decode(
    source: str | os.PathLike[str] | BinaryIO,
    dest: str | os.PathLike[str] | BinaryIO,
    *,
    progress: ProgressCallback | None = None,
    **options: Unpack[DecodeKeywords],
) -> DecodeReport:
    """Decode a .lfq file to a video file, a folder of PNG pictures or a y4m stream.

    `progress` is called with a `Progress` for every picture. The options are the fields of `DecodeOptions`.

    Raises `ArgumentError`, `InputVideoError`, `BitstreamError`, `WeightsError`, `NumericsMismatch` or
    `OutputError`; nothing partial is left then. Of a damaged file an output is made as far as it can be read;
    without best_effort `DamageConcealed`, a `BitstreamError`, then says so.
    """
    from lfqcodec import arguments
    from lfqcodec.codec.decode.options import DecodeKeywords, DecodeOptions

    arguments.known(options, [*DecodeKeywords.__annotations__], "decode")
    settings = DecodeOptions(**options)
    if progress is not None:
        arguments.callback("progress", progress)
    from lfqcodec.codec.decode import decoder
    from lfqcodec.codec.progress import ignore

    return decoder.decode(source, dest, settings, progress=progress or ignore)


def open(
    source: str | os.PathLike[str] | BinaryIO,
    *,
    model: str | os.PathLike[str] | None = None,
    device: str = "auto",
    precision: str = "auto",
    limits: Limits | None = None,
) -> LfqFile:
    """Open a .lfq file for its header, frames and tokens.

    Reading the tokens of a file of profile static needs neither torch nor a model. `limits` is what the file
    may ask for (`LimitExceeded`). Raises `ArgumentError`, `InputVideoError` or `BitstreamError`.
    """
    from lfqcodec.codec.decode.file import open_file

    return open_file(source, model=model, device=device, precision=precision, limits=limits)
