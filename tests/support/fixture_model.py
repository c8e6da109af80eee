"""Small models of the `motion` tokenizer for the tests: a transform codec, made on the spot.

Its linear paths are principal components of made-up pictures, its networks give zeros. Tests that run on it
do not depend on the weights that ship. There is one without a prior, which is the default model of the tests,
and the same under another name with a prior of random integers, for profile exact.
"""

from __future__ import annotations

import hashlib
import tempfile
from contextlib import suppress
from pathlib import Path

ROOT = Path(__file__).parents[2]
NAME, EXACT_NAME = "fixture", "fixture-exact"
PROFILES = {"static": {"profile": "static"}, "exact": {"profile": "exact", "model": EXACT_NAME}}
"""Options of the encoder."""
_COUNTS = ("intra_layers", "anchor_layers", "between_layers")
_SOURCES = (
    Path(__file__),
    ROOT / "lfqcodec/tokenizer/lfq/ternary.py",
    ROOT / "lfqcodec/weights/loading.py",
    *sorted((ROOT / "lfqcodec/tokenizer/motion").glob("*.py")),
    *(ROOT / f"lfqcodec/prior/motion/{name}.py" for name in ("config", "weights")),
)


def fixture_models() -> tuple[Path, Path]:
    """The model file without a prior, and a folder with the other one and its prior.

    They are made where they are not there yet; their folder is named by the code that makes them.
    """
    key = hashlib.sha256(b"\0".join(path.read_bytes() for path in _SOURCES)).hexdigest()[:16]
    folder = ROOT / ".pytest_cache" / "models" / key
    if not folder.exists():
        folder.parent.mkdir(parents=True, exist_ok=True)
        # Several processes may come here at once: the folder appears whole, whoever is first.
        with tempfile.TemporaryDirectory(dir=folder.parent) as name:
            made = Path(name) / key
            make_model(made / f"{NAME}.safetensors", NAME)
            make_model(made / "exact" / f"{EXACT_NAME}.safetensors", EXACT_NAME)
            make_prior(made / "exact")
            with suppress(OSError):
                made.rename(folder)
    return folder / f"{NAME}.safetensors", folder / "exact"


def make_prior(folder: Path) -> None:
    """Write a prior of the model in `folder` there, which is no better than chance."""
    from motion_prior_support import random_motion_prior

    from lfqcodec.prior.motion.config import MotionPriorConfig
    from lfqcodec.prior.motion.weights import save_motion_prior
    from lfqcodec.weights.store import read_model

    model = read_model(folder / f"{EXACT_NAME}.safetensors")
    counts = {name: getattr(model.config, name) for name in _COUNTS}
    weights = random_motion_prior(MotionPriorConfig(**counts, width=8, block_width=8))
    save_motion_prior(
        folder / f"{EXACT_NAME}-prior.safetensors",
        weights,
        {"name": f"{EXACT_NAME}-prior", "trained_for": model.sha256.hex()},
    )


def make_model(path: Path, name: str) -> None:
    """Write the model under a name."""
    import torch

    from lfqcodec.tokenizer.motion.config import MotionConfig
    from lfqcodec.tokenizer.motion.network.patches import to_patches
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
    save_tokenizer(path, config, tokenizer.state_dict(), {"name": name})


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
