"""Names of the codecs, and the points of their curves."""

from __future__ import annotations

from collections.abc import Iterable

from benchmarks.codecs.base import Codec
from lfqcodec.errors import LfqError


def _crf(*values: int) -> tuple[str, ...]:
    return tuple(f"crf={value}" for value in values)


# From high to low rate.
_ANCHORS = {
    "x265": (("medium", "veryslow"), _crf(27, 32, 37, 42, 47, 51)),
    "x264": (("medium", "veryslow"), _crf(27, 32, 37, 42, 47, 51)),
    "svtav1": (("8", "4"), _crf(23, 31, 39, 47, 55, 63)),
}
# Short names for several codecs at once.
GROUPS = {
    library: tuple(f"{library}-{preset}" for preset in presets) for library, (presets, _) in _ANCHORS.items()
}
_OURS = {"lfq": "medium", "lfq-fast": "fast", "lfq-slow": "slow"}
"""The efforts of lfqcodec; the usual one is what is compared with others."""
NAMES = (*_OURS, *(name for names in GROUPS.values() for name in names))


def expand(names: Iterable[str]) -> list[str]:
    """Names of codecs with the short ones written out ("x265" is both of its presets), each once.

    Raises `LfqError` for a name that is not known.
    """
    found: dict[str, None] = {}
    for name in names:
        own = GROUPS.get(name, (name,))
        if not set(own) <= set(NAMES):
            raise LfqError(f"no codec {name!r}: give some of {', '.join((*NAMES, *GROUPS))}")
        found |= dict.fromkeys(own)
    return list(found)


def get(name: str, *, model: str | None = None) -> Codec:
    """The codec of that name; `model` chooses the weights of ours. Raises `LfqError`."""
    if name not in NAMES:
        raise LfqError(f"no codec {name!r}: give one of {', '.join(NAMES)}")
    if name in _OURS:
        # Here, because anchors need no torch.
        from benchmarks.codecs.lfq import Lfq

        return Lfq(name, _OURS[name], model)
    from benchmarks.codecs.anchors import Anchor

    library, _, preset = name.partition("-")
    return Anchor(library, preset, _ANCHORS[library][1])
