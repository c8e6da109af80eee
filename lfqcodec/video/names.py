"""Names of codecs, as FFmpeg has them."""

from __future__ import annotations

from typing import Any


def codec_name(stream: Any) -> str:
    """FFmpeg's name of the codec (not of one of its decoders); "" where this build does not know it."""
    context = stream.codec_context
    if context is None:
        return ""
    return str(getattr(context.codec, "canonical_name", "") or context.name)
