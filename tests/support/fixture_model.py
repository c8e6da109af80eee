"""A small model of the `motion` tokenizer for the tests: a transform codec, made on the spot.

Its linear paths are principal components of made-up pictures, its networks give zeros. Tests that run on it
do not depend on the weights that ship.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[2]
NAME = "fixture"
PROFILES = ("static",)
"""Those that the model can be used with."""
_SOURCES = (
    Path(__file__),
    ROOT / "lfqcodec/tokenizer/lfq/ternary.py",
    ROOT / "lfqcodec/weights/loading.py",
    *sorted((ROOT / "lfqcodec/tokenizer/motion").glob("*.py")),
)


def fixture_model() -> Path:
    """The model file, made where it is not there yet; its folder is named by the code that makes it."""
    key = hashlib.sha256(b"\0".join(path.read_bytes() for path in _SOURCES)).hexdigest()[:16]
    path = ROOT / ".pytest_cache" / "models" / key / f"{NAME}.safetensors"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        # Several processes may come here at once: the file appears whole, whoever is first.
        with tempfile.TemporaryDirectory(dir=path.parents[1]) as folder:
            made = Path(folder) / path.name
            make_model(made)
            os.replace(made, path)
    return path


def make_model(path: Path) -> None:
    """Write the model."""
    import torch

    from lfqcodec.tokenizer.motion.blocks import to_patches
    from lfqcodec.tokenizer.motion.config import MotionConfig
    from lfqcodec.tokenizer.motion.tokenizer import MotionTokenizer
    from lfqcodec.weights.loading import save_tokenizer

    config = MotionConfig(
        intra_width=8,
        intra_channels=28,
        intra_layers=10,
        intra_encoder_blocks=1,
        intra_decoder_blocks=1,
        anchor_width=8,
        anchor_channels=16,
        anchor_layers=4,
        anchor_encoder_blocks=1,
        anchor_decoder_blocks=1,
        between_width=8,
        between_channels=12,
        between_layers=2,
        between_encoder_blocks=1,
        between_decoder_blocks=1,
        mask_width=8,
        head_channels=4,
    )
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    with torch.random.fork_rng(), torch.no_grad():
        torch.manual_seed(0)
        tokenizer = MotionTokenizer(config)
        pictures = _pictures(torch, 96, 64)
        # What prediction by motion misses: what a small shift changes, of anchors more than between them.
        missed = pictures - pictures.roll((1, 2), (2, 3))
        for network, seen in (
            (tokenizer.intra, pictures),
            (tokenizer.anchor, 0.5 * missed),
            (tokenizer.between, 0.25 * missed),
        ):
            network.initialise_from(seen)
            # Steps are as wide as it takes to reach most numbers with the digits that there are.
            reach = 3 * network.into(to_patches(seen)).transpose(0, 1).flatten(1).std(1)
            quantizer = network.quantizer
            quantizer.gain.copy_(quantizer.gain.minimum((quantizer.limit / reach).log()))
            network.encoder[-1].weight.zero_()
        for layer in (tokenizer.intra.head.h, tokenizer.anchor.head.h, tokenizer.between.last):
            layer.weight.zero_()
        tokenizer.between.mask[-1].weight.zero_()
    torch.set_num_threads(threads)
    save_tokenizer(path, config, tokenizer.state_dict(), {"name": NAME})


def _pictures(torch, count: int, side: int):
    """Coloured noise whose power falls with the square of the frequency, as in photographs, and edges."""
    frequency = torch.fft.fftfreq(side)[:, None].square() + torch.fft.rfftfreq(side).square()
    spectrum = torch.fft.rfft2(torch.randn(count, 3, side, side)) / frequency.clamp(min=side**-2).sqrt()
    noise = torch.fft.irfft2(spectrum, s=(side, side))
    mixed = torch.einsum("ij,njhw->nihw", torch.tensor([[1.0, 0.5, 0], [1, 0, 0], [1, -0.5, 0.5]]), noise)
    pictures = 0.25 * mixed / mixed.std() + 0.2 * torch.randn(count, 3, 1, 1)
    for picture in pictures[::2]:
        top, left = torch.randint(0, side // 2, (2,)).tolist()
        picture[:, top : top + side // 2, left : left + side // 2] = torch.rand(3, 1, 1) - 0.5
    return pictures.clamp(-0.5, 0.5)
