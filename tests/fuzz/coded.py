"""Files with right checksums around tokens that may be anything: what flipped bytes hardly ever reach.

Vectors far outside of the picture, depths beyond the layers, values where none are coded, empty groups and
GOPs of one picture, all as an encoder would code them.
"""

from __future__ import annotations

import io
import random
import sys
from fractions import Fraction
from pathlib import Path

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE.parent / "support"), str(HERE.parent / "conformance")]

from bitstream_helpers import add_chunk  # noqa: E402
from token_support import Noise, Style, chunk_tokens, token_encoder  # noqa: E402

from lfqcodec.bitstream import BitstreamWriter, FileHeader, LayerCounts  # noqa: E402

_GOPS = (((1,), (1,)), ((2,),), ((3,),), ((4,), (1,)), ((5,),), ((6,),), ((17, 2),))


def _style(chance: random.Random) -> Style:
    return Style(
        value=chance.choice((0, 1, 8, 32, 64)),
        moved=chance.choice((0, 8, 64)),
        reach=chance.choice((0, 3, 256)),
        drift=chance.choice((0, 0, 100, 255, -256)),
        depths=chance.choice(((0,), (1,), (3,), (0, 1, 2, 3))),
        qualities=chance.choice(((0,), (64,), (3, 90), ())),
        empty_stream=chance.choice((None, None, 0, 1)),
    )


def coded(seed: object, layers: LayerCounts | None = None, *, wrong: int = 1) -> bytes:
    """A file of random tokens; in one of two up to `wrong` of them are anything at all."""
    chance, noise = random.Random(f"{seed}"), Noise(f"coded {seed}")
    if layers is None:
        layers = LayerCounts(chance.randint(1, 3), chance.randint(1, 4), chance.randint(1, 4))
    width, height = chance.randint(1, 50), chance.randint(1, 50)
    header = FileHeader(width, height, Fraction(1, 25), layers, gop_chunks=2)
    encoder, out, pts, spoil = token_encoder(header), io.BytesIO(), 0, chance.random() < 0.5
    with BitstreamWriter(out, header) as writer:
        for gop in chance.choice(_GOPS):
            for position, valid in enumerate(gop):
                start, streams, size = position == 0, chance.choice((1, 2, 2)), chance.choice((4, 4, 2, 1))
                groups = chunk_tokens(header, valid, start, noise, _style(chance), streams, size)
                for _ in range(chance.randint(0, wrong) if spoil else 0):
                    layer = chance.choice(chance.choice(groups)).reshape(-1)
                    token = chance.choice((chance.randrange(1 << 18), 1 << chance.randrange(18)))
                    layer[chance.randrange(len(layer))] = token
                add_chunk(writer, groups, start, range(pts, pts + valid), 1, encoder, size)
                pts += valid
    return out.getvalue()
