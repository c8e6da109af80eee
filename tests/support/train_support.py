"""Small packs to train on."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np

from lfqcodec.train.data import build_pack


def moving_patterns(root: Path, clips: int = 4) -> Path:
    """A pack, in a new folder of `root`, of clips of noise that moves in jerks: 64x40, 9 frames."""
    rng = np.random.default_rng(0)
    folder = root / "clips"
    folder.mkdir()
    for number in range(clips):
        picture = rng.integers(0, 256, (40, 64, 3), dtype=np.uint8)
        with av.open(str(folder / f"clip{number}x.mkv"), "w") as container:
            stream = container.add_stream("ffv1", rate=25, width=64, height=40, pix_fmt="bgr0")
            for n in range(9):
                frame = av.VideoFrame.from_ndarray(np.roll(picture, 2 * n + 3 * (n % 2), 1), format="rgb24")
                container.mux(stream.encode(frame.reformat(format="bgr0")))
            container.mux(stream.encode())
    build_pack(sorted(folder.iterdir()), root / "pack")
    return root / "pack"
