"""The codecs that are compared, behind one interface: each turns a source into one complete file and back."""

from benchmarks.codecs.base import Codec, CodecUnavailable
from benchmarks.codecs.registry import NAMES, expand, get

__all__ = ["NAMES", "Codec", "CodecUnavailable", "expand", "get"]
