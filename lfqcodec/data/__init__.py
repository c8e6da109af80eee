"""Samples for training out of .lfq files: tokens or pictures, GOP by GOP, in random order.

    dataset = LfqDataset("clips/*.lfq", kind="pictures", frames=17)
    for batch in torch.utils.data.DataLoader(dataset, batch_size=4, num_workers=2): ...

`lfqcodec.data.ray_source` gives the same samples to Ray Data.
"""

from __future__ import annotations

from lfqcodec.data.dataset import LfqDataset
from lfqcodec.data.samples import Sample

__all__ = ["LfqDataset", "Sample"]
