"""Decoding training data: with PyAV where it is installed, otherwise with OpenCV."""

from __future__ import annotations

from collections.abc import Generator
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional as F

from lfqcodec.errors import BitstreamError, InputVideoError, LfqError
from lfqcodec.train.data.sources import IMAGE_SUFFIXES


def decode_frames(path: Path) -> Generator[NDArray[np.uint8], None, None]:
    """Frames of a video, image or .lfq file, uint8 [H, W, 3]. Machines without PyAV use OpenCV.

    Raises `InputVideoError` where the file cannot be read, perhaps after some frames, and `LfqError` where
    neither is installed.
    """
    if path.suffix.lower() == ".lfq":
        yield from _decode_lfq(path)
        return
    try:
        from lfqcodec.media import Frame
        from lfqcodec.video import open_video
    except ImportError:
        yield from _decode_with_opencv(path)
        return
    with open_video(str(path), copy_streams=False) as reader:
        for event in reader.events():
            if isinstance(event, Frame):
                yield event.rgb


def _decode_lfq(path: Path) -> Generator[NDArray[np.uint8], None, None]:
    from lfqcodec.codec.decode.file import open_file

    try:
        with open_file(path) as file:
            for frame in file.frames():
                yield frame.rgb
    except BitstreamError as error:
        raise InputVideoError(f"{path}: {error}") from error


def _decode_with_opencv(path: Path) -> Generator[NDArray[np.uint8], None, None]:
    try:
        import cv2  # type: ignore[import-not-found,unused-ignore]
    except ImportError as error:
        raise LfqError("videos and pictures cannot be read: neither PyAV nor OpenCV is installed") from error
    if path.suffix.lower() in IMAGE_SUFFIXES:
        image = cv2.imread(str(path))
        if image is None:
            raise InputVideoError(f"{path}: cannot be read")
        yield np.ascontiguousarray(image[:, :, ::-1])
        return
    capture = cv2.VideoCapture(str(path))
    found = False
    try:
        while True:
            good, image = capture.read()
            if not good:
                break
            found = True
            yield np.ascontiguousarray(image[:, :, ::-1])
    finally:
        capture.release()
    if not found:
        raise InputVideoError(f"{path}: no frames")


def bounded(frame: NDArray[np.uint8], longest: int) -> NDArray[np.uint8]:
    """A frame uint8 [H, W, 3], shrunk where its longer side is over `longest`."""
    height, width = frame.shape[:2]
    if max(height, width) <= longest:
        return frame
    ratio = longest / max(height, width)
    size = (max(1, round(height * ratio)), max(1, round(width * ratio)))
    x = torch.from_numpy(frame).permute(2, 0, 1)[None].float()
    x = F.interpolate(x, size, mode="bilinear", antialias=True)[0].permute(1, 2, 0)
    return np.ascontiguousarray(x.round().clamp(0, 255).to(torch.uint8).numpy())
