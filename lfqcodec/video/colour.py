"""Between decoded pictures of any pixel format and 8-bit RGB, and from RGB to 8-bit YUV.

`rgb_to_yuv` is the only place where RGB becomes YUV: .mp4, .mkv and .y4m all call it, so their planes agree.
Chroma of 4:2:0 is sited as in MPEG-2 and H.264 (horizontally on the even luma columns, vertically between two
rows), which is what players assume when a file says nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray

from lfqcodec.media import Colour

Plane = NDArray[np.uint8]

# For each H.273 matrix code point that swscale can convert: its number of the table of coefficients, Kr, Kb.
_MATRICES = {
    1: (1, 0.2126, 0.0722),
    4: (4, 0.30, 0.11),
    5: (5, 0.299, 0.114),
    6: (5, 0.299, 0.114),
    7: (7, 0.212, 0.087),
    9: (9, 0.2627, 0.0593),
    10: (9, 0.2627, 0.0593),
}
# More constants of swscale, as numbers because not every PyAV has names for all of them.
_LIMITED, _FULL = 1, 2
_BICUBIC, _LANCZOS = 0x4, 0x200
_FULL_CHROMA_OUT, _FULL_CHROMA_IN, _ACCURATE, _BITEXACT = 0x2000, 0x4000, 0x40000, 0x80000
_UNSPECIFIED = (0, 2, 3)
_HDR = {16: "PQ", 18: "HLG"}

# Limited-range grey to full range.
_STRETCH = np.clip(np.rint((np.arange(256) - 16) * 255 / 219), 0, 255).astype(np.uint8)
# Without accurate rounding swscale is off by a few levels; without full chroma it repeats chroma samples.
_EXACT = _ACCURATE | _BITEXACT | _FULL_CHROMA_OUT
_CONVERT = _BICUBIC | _EXACT | _FULL_CHROMA_IN
_SCALE = _LANCZOS | _EXACT


@dataclass(frozen=True)
class Conversion:
    """How the pictures of one source become RGB: resolved tags, and what the person should be told."""

    colour: Colour
    is_rgb: bool
    is_grey: bool
    full_range: bool
    notes: tuple[str, ...]


def guess_matrix(width: int, height: int) -> int:
    """H.273 matrix that untagged video of this size most likely uses: BT.709 for HD, else BT.601."""
    if height >= 720 or width >= 1280:
        return 1
    return 5 if height == 576 else 6


def usable_matrix(colour: Colour, width: int, height: int) -> int:
    """The matrix to convert with: that of `colour`, or the guess where it cannot be used for YUV."""
    return colour.matrix if colour.matrix in _MATRICES else guess_matrix(width, height)


def has_alpha(frame: av.VideoFrame) -> bool:
    return frame.format.name == "pal8" or any(part.is_alpha for part in frame.format.components)


def inspect(frame: av.VideoFrame, *, is_image: bool) -> Conversion:
    """Resolve the colour of a source from its first decoded picture."""
    form = frame.format
    name = form.name
    notes: list[str] = []
    depth = max((part.bits for part in form.components), default=8)
    if depth > 8:
        notes.append(f"{depth}-bit pictures are reduced to 8 bits")
    transfer = int(frame.color_trc)
    if transfer in _HDR:
        notes.append(f"HDR ({_HDR[transfer]}) is kept as 8-bit {_HDR[transfer]}, without tone mapping")
    if frame.interlaced_frame:
        notes.append("interlaced video is coded as whole frames, not deinterlaced")
    if form.is_rgb or name == "pal8":
        matrix = guess_matrix(frame.width, frame.height)
        return Conversion(Colour(1, 13, matrix, False), True, False, True, tuple(notes))
    grey = name.startswith(("gray", "ya8", "ya16", "mono"))
    full = int(frame.color_range) == _FULL or name.startswith("yuvj")
    if grey and int(frame.color_range) == 0:
        full = True
    matrix = int(frame.colorspace)
    if matrix not in _MATRICES:
        guessed = guess_matrix(frame.width, frame.height)
        if matrix not in _UNSPECIFIED:
            notes.append(f"colour matrix {matrix} is not supported; taken as {guessed}")
        matrix = guessed
    matrix = 9 if matrix == 10 else matrix
    primaries = int(frame.color_primaries)
    if primaries in _UNSPECIFIED:
        primaries = 1 if is_image or matrix in (1, 4) else matrix
    if transfer in _UNSPECIFIED:
        transfer = 13 if is_image else {1: 1, 4: 4, 7: 7, 9: 14}.get(matrix, 6)
    return Conversion(Colour(primaries, transfer, matrix, full), False, grey, full, tuple(notes))


def to_rgb(frame: av.VideoFrame, how: Conversion, width: int, height: int) -> tuple[NDArray[np.uint8], bool]:
    """RGB uint8 [height, width, 3] of a decoded picture, and whether any of it was transparent.

    Transparent parts are laid over black, as players do.
    """
    alpha = has_alpha(frame)
    resized = (frame.width, frame.height) != (width, height)
    options: dict[str, Any] = {
        "width": width,
        "height": height,
        "format": "rgba" if alpha else "rgb24",
        "interpolation": _SCALE if resized else _CONVERT,
        # Threads take longer to begin than a small picture takes, and a forked process would wait for them.
        "threads": 1,
    }
    if not how.is_rgb:
        matrix = _MATRICES[how.colour.matrix][0]
        options |= {
            "src_colorspace": matrix,
            "dst_colorspace": matrix,
            "src_color_range": _FULL if how.full_range else _LIMITED,
            "dst_color_range": _FULL,
        }
    picture = np.asarray(frame.reformat(**options).to_ndarray(), np.uint8)
    if how.is_grey and not how.full_range:
        # swscale takes every grey picture for full range.
        picture = np.concatenate([_STRETCH[picture[..., :3]], picture[..., 3:]], axis=2)
    if not alpha:
        return np.ascontiguousarray(picture), False
    cover = picture[..., 3:]
    if int(cover.min()) == 255:
        return np.ascontiguousarray(picture[..., :3]), False
    flat = (picture[..., :3].astype(np.uint16) * cover + 127) // 255
    return flat.astype(np.uint8), True


def _coefficients(colour: Colour, matrix: int) -> NDArray[np.int32]:
    """Rows Y, U, V of weights for R, G, B, times 2^16, that take full-range RGB to `colour`'s range."""
    _, red, blue = _MATRICES[matrix]
    luma = np.array([red, 1 - red - blue, blue])
    rows = np.stack([luma, ([0, 0, 1] - luma) / (2 - 2 * blue), ([1, 0, 0] - luma) / (2 - 2 * red)])
    if not colour.full_range:
        rows *= np.array([[219], [224], [224]]) / 255
    whole: NDArray[np.int32] = np.rint(rows * 65536).astype(np.int32)
    # Rounding must not tint greys nor shift white, so green takes what is left of each row's exact sum.
    sums = np.rint(np.array([65536 if colour.full_range else 65536 * 219 / 255, 0, 0])).astype(np.int32)
    whole[:, 1] = sums - whole[:, 0] - whole[:, 2]
    return whole


def _weigh(channels: list[NDArray[np.int32]], weights: NDArray[np.int32], offset: int, shift: int) -> Plane:
    total = channels[0] * weights[0]
    total += channels[1] * weights[1]
    total += channels[2] * weights[2]
    total += (offset << shift) + (1 << (shift - 1))
    total >>= shift
    plane: Plane = np.clip(total, 0, 255, out=total).astype(np.uint8)
    return plane


def _subsample(channel: NDArray[np.int32]) -> NDArray[np.int32]:
    """8 x ([1 2 1]/4 across at even columns, [1 1]/2 down) of [H, W]; edges are repeated."""
    height, width = channel.shape
    wide = np.pad(channel, ((0, height & 1), (1, 1 + (width & 1))), mode="edge")
    rows = wide[0::2] + wide[1::2]
    sums: NDArray[np.int32] = rows[:, 0:-2:2] + 2 * rows[:, 1:-1:2] + rows[:, 2::2]
    return sums


def rgb_to_yuv(
    rgb: NDArray[np.uint8], colour: Colour, *, subsample: bool = True
) -> tuple[Plane, Plane, Plane]:
    """Planes Y [H, W], U and V of an RGB picture uint8 [H, W, 3], in the matrix and range of `colour`.

    U and V are [ceil(H/2), ceil(W/2)] (4:2:0), or [H, W] (4:4:4) without `subsample`. Integers only and
    rounded once, so the planes are the same on every machine.
    """
    weights = _coefficients(colour, usable_matrix(colour, rgb.shape[1], rgb.shape[0]))
    channels = [rgb[..., index].astype(np.int32) for index in range(3)]
    y = _weigh(channels, weights[0], 0 if colour.full_range else 16, 16)
    if not subsample:
        return y, _weigh(channels, weights[1], 128, 16), _weigh(channels, weights[2], 128, 16)
    # Subsampling is linear, so it may come first, where it spares three quarters of the products.
    small = [_subsample(channel) for channel in channels]
    return y, _weigh(small, weights[1], 128, 19), _weigh(small, weights[2], 128, 19)


def yuv_frame(planes: tuple[Plane, Plane, Plane], form: str) -> av.VideoFrame:
    """A frame of pixel format `form` (yuv420p, yuv444p, yuvj444p) that holds copies of `planes`."""
    height, width = planes[0].shape
    frame = av.VideoFrame(width, height, form)
    for plane, values in zip(frame.planes, planes, strict=True):
        rows = np.zeros((plane.height, plane.line_size), np.uint8)
        rows[:, : plane.width] = values
        plane.update(rows.tobytes())
    return frame


def square_after_scaling(sar: Fraction, before: tuple[int, int], after: tuple[int, int]) -> Fraction:
    """Sample aspect ratio that keeps the shape of the picture when (width, height) goes `before` -> `after`.

    Ratios within 1% of 1 become 1: they come from rounding the size, not from anamorphic video.
    """
    scaled = sar * Fraction(before[0] * after[1], before[1] * after[0])
    if abs(scaled - 1) < Fraction(1, 100):
        return Fraction(1)
    return max(scaled.limit_denominator(1000), Fraction(1, 1000))
