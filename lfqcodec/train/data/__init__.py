"""Training data: videos and pictures, decoded once into packs, and random crops of them."""

from lfqcodec.train.data.pack import Entry, Pack, build_pack, ensure_pack
from lfqcodec.train.data.prefetch import Prefetcher
from lfqcodec.train.data.sampling import SampleConfig, Sampler

__all__ = ["Entry", "Pack", "Prefetcher", "SampleConfig", "Sampler", "build_pack", "ensure_pack"]
