"""Makes a file under shipped/ of each model and prior that ship, in profile exact, and says its tokens.

    python tests/conformance/make_shipped.py

A file that is there already is left alone for ever: the encoder may change, what was made once may not. So
the tokens in FILE.json are those that the encoder of its day chose, and every decoder must find them again.
A file has the name of its model, or of its prior where the model had another one before.
"""

from __future__ import annotations

import hashlib
import io
import json
import sys
from pathlib import Path

import lfqcodec
from lfqcodec.codec.file import ChunkTokens
from lfqcodec.weights.store import package_folder, prior_for, read_model

FOLDER = Path(__file__).parent / "shipped"
sys.path.insert(0, str(FOLDER.parents[1] / "support"))

from codec_support import y4m  # noqa: E402


def digest(chunks: list[ChunkTokens]) -> list[str]:
    """SHA-256 of the tokens of each chunk, int32 LE in raster order, stage after stage."""
    return [hashlib.sha256(chunk.tokens.astype("<i4").tobytes()).hexdigest() for chunk in chunks]


def main() -> None:
    """Add what lacks."""
    for path in sorted(package_folder().glob("*.safetensors")):
        if "prior" in path.stem:
            continue
        model = read_model(path)
        prior = prior_for(model)
        assert prior is not None
        name, facts_path = model.name, FOLDER / f"{model.name}.json"
        if facts_path.exists():
            if json.loads(facts_path.read_text())["prior"] == prior.sha256.hex():
                continue
            name = prior.name
            if (FOLDER / f"{name}.json").exists():
                continue
        out = io.BytesIO()
        # A GOP of two chunks and one of a single frame.
        source = io.BytesIO(y4m(34, (56, 40)))
        lfqcodec.encode(source, out, model=model.name, device="cpu", stages=4, gop=2)
        with lfqcodec.open(io.BytesIO(out.getvalue()), device="cpu") as video:
            chunks = list(video.tokens())
            facts = {
                "model": model.sha256.hex(),
                "prior": video.header.prior_sha256.hex(),
                "frames": 34,
                "shapes": [list(chunk.tokens.shape) for chunk in chunks],
                "tokens": digest(chunks),
            }
        (FOLDER / f"{name}.lfq").write_bytes(out.getvalue())
        (FOLDER / f"{name}.json").write_text(json.dumps(facts, indent=1) + "\n")


if __name__ == "__main__":
    main()
