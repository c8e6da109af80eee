"""Groups whose first layers are worked on ahead of need, because there is nothing to choose in them."""

from __future__ import annotations

import numpy as np

from lfqcodec.tokenizer.interface import GroupEncoder, Options, Pictures, Reference, Tokens


class _Prepared(GroupEncoder):
    """A group with known `options` of a layer, and what is `taken` if its tokens are the plain ones."""

    def __init__(
        self, group: GroupEncoder, number: int, options: Options, taken: GroupEncoder | None
    ) -> None:
        self.layers = group.layers
        self._group, self._number, self._options, self._taken = group, number, options, taken

    def options(self, number: int) -> Options:
        return self._options if number == self._number else self._group.options(number)

    def take(self, number: int, tokens: Tokens) -> GroupEncoder:
        plain = number == self._number and np.array_equal(tokens, self._options.plain)
        return self._taken if plain and self._taken is not None else self._group.take(number, tokens)

    def reference(self) -> Reference:
        return self._group.reference()

    def close(self, *, decoded: bool) -> tuple[Pictures | None, Reference]:
        return self._group.close(decoded=decoded)


def prepared(group: GroupEncoder, number: int = 0) -> GroupEncoder:
    """A group of which `number` layers are taken, with the work done up to the next that has a choice."""
    options, taken = group.options(number), None
    if options.gains is None and number + 1 < len(group.layers):
        taken = prepared(group.take(number, options.plain), number + 1)
    return _Prepared(group, number, options, taken)
