"""Names of the data pipeline under one roof: packs (`pack`, `sources`, `decode`) and crops (`sampling`)."""

from lfqcodec.train.decode import decode_frames
from lfqcodec.train.pack import Entry, Pack, build_pack, ensure_pack
from lfqcodec.train.prefetch import Prefetcher
from lfqcodec.train.sampling import SampleConfig, Sampler
from lfqcodec.train.sources import IMAGE_SUFFIXES, VIDEO_SUFFIXES, find_media, source_of

__all__ = [
    "IMAGE_SUFFIXES",
    "VIDEO_SUFFIXES",
    "Entry",
    "Pack",
    "Prefetcher",
    "SampleConfig",
    "Sampler",
    "build_pack",
    "decode_frames",
    "ensure_pack",
    "find_media",
    "source_of",
]
