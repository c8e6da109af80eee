"""Video files in and out. The only package that imports PyAV; it never imports torch."""

from lfqcodec.video.read.arrays import Pictures
from lfqcodec.video.read.reader import VideoReader, open_video
from lfqcodec.video.read.tally import Tally
from lfqcodec.video.write.outputs import SUPPORTED_OUTPUTS, open_writer
from lfqcodec.video.write.writer import VideoWriter

__all__ = [
    "SUPPORTED_OUTPUTS",
    "Pictures",
    "Tally",
    "VideoReader",
    "VideoWriter",
    "open_video",
    "open_writer",
]
