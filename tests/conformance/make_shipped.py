"""Makes the files under shipped/: one of each model that ships, in profile exact, and what its tokens are.

    python tests/conformance/make_shipped.py

Made anew only with a new model or a new version of the format. Between those the encoder may change, and
every decoder must still find the tokens that the encoder of that day chose.
"""

from __future__ import annotations

import hashlib
import io
import json
import sys
from pathlib import Path

import lfqcodec
from lfqcodec.codec.decode.file import ChunkTokens
from lfqcodec.weights.store import MODELS, package_folder

FOLDER = Path(__file__).parent / "shipped"
sys.path.insert(0, str(FOLDER.parents[1] / "support"))

from codec_support import y4m  # noqa: E402


def digest(chunks: list[ChunkTokens]) -> list[str]:
    """SHA-256 of the tokens of each chunk, int32 LE in raster order, layer after layer."""
    digests = []
    for chunk in chunks:
        layers = (tokens for group in chunk.groups for tokens in group.values())
        digests.append(hashlib.sha256(b"".join(tokens.astype("<i4").tobytes() for tokens in layers)))
    return [each.hexdigest() for each in digests]


def main() -> None:
    """Make them all."""
    for model in MODELS.available():
        if model.path.parent != package_folder():
            continue
        out = io.BytesIO()
        # A GOP of two chunks and one of a single frame.
        source = io.BytesIO(y4m(34, (56, 40)))
        lfqcodec.encode(source, out, model=model.name, device="cpu", profile="exact", gop=33)
        with lfqcodec.open(io.BytesIO(out.getvalue()), device="cpu") as video:
            chunks = list(video.tokens())
            facts = {
                "model": model.sha256.hex(),
                "prior": video.header.prior_sha256.hex(),
                "frames": 34,
                "tokens": digest(chunks),
            }
        FOLDER.mkdir(exist_ok=True)
        (FOLDER / f"{model.name}.lfq").write_bytes(out.getvalue())
        (FOLDER / f"{model.name}.json").write_text(json.dumps(facts, indent=1) + "\n")


if __name__ == "__main__":
    main()
