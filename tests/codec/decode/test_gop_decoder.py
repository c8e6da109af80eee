"""Chunks to pictures: begun one after the other, finished by threads."""

from __future__ import annotations

import io
from contextlib import closing

import numpy as np
import pytest
from codec_support import encoded, y4m

import lfqcodec
from lfqcodec.bitstream import Chunk
from lfqcodec.codec.decode.file import open_file
from lfqcodec.codec.gop import GopDecoder
from lfqcodec.codec.models import load_group_tokenizer
from lfqcodec.errors import BitstreamError

SIZE = (48, 32)


@pytest.fixture(scope="module")
def coded():
    return encoded(y4m(40, SIZE))


def test_an_error_leaves_a_decoder_as_it_was(coded):
    """Tokens that mean nothing, in the middle of a chunk; then the right ones."""
    with open_file(io.BytesIO(coded)) as file:
        chunks = [unit for unit in file.units() if isinstance(unit, Chunk)]
        tokens = file.token_decoder()
        groups = [tokens.decode(chunk) for chunk in chunks]
        size = file.header.height, file.header.width
        with closing(GopDecoder(load_group_tokenizer(file.model(), "cpu"), size)) as decoder:
            shown = [decoder.decode(groups[0], chunks[0].head)]
            quality, *others = groups[1][1]
            wrong = [groups[1][0], (np.full_like(quality, 2 << 9), *others), *groups[1][2:]]
            with pytest.raises(BitstreamError, match="quality"):
                decoder.decode(wrong, chunks[1].head)
            shown += [
                decoder.decode(*pair) for pair in zip(groups[1:], [c.head for c in chunks[1:]], strict=True)
            ]
            found = np.concatenate([each.result() for each in shown])
    with lfqcodec.open(io.BytesIO(coded), device="cpu") as file:
        assert np.array_equal(found, np.stack([frame.rgb for frame in file.frames()]))


def test_what_was_begun_is_dropped_at_the_end(coded):
    with open_file(io.BytesIO(coded)) as file:
        chunk = next(unit for unit in file.units() if isinstance(unit, Chunk))
        groups = file.token_decoder().decode(chunk)
        size = file.header.height, file.header.width
        decoder = GopDecoder(load_group_tokenizer(file.model(), "cpu"), size)
        shown = [decoder.decode(groups, chunk.head) for _ in range(20)]
        decoder.close()
        assert all(each.done() for each in shown)
        assert shown[-1].cancelled()
