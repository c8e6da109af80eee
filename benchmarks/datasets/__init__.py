"""The videos that are coded, as lossless copies of exactly the pictures that every codec gets."""

from benchmarks.datasets.find import Origin, find_origins
from benchmarks.datasets.prepare import Preparation, prepare

__all__ = ["Origin", "Preparation", "find_origins", "prepare"]
