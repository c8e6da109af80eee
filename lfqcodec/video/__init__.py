"""Video files in and out. The only package that imports PyAV; it never imports torch."""

from lfqcodec.video.reader import VideoReader, open_video
from lfqcodec.video.writer import SUPPORTED_OUTPUTS, VideoWriter, open_writer

__all__ = ["SUPPORTED_OUTPUTS", "VideoReader", "VideoWriter", "open_video", "open_writer"]
