"""What layers that are causal in time share in a pass, and carry from one part of a clip to the next."""

from __future__ import annotations

from torch import Tensor

State = dict[str, Tensor]
"""Left context of every causal layer, by layer name."""


class TimeContext:
    """What the layers of one pass share: the state they read and the one they leave.

    Without `keep` nothing follows, and layers may spare themselves the state they would leave.
    """

    def __init__(self, before: State | None, *, keep: bool = True) -> None:
        self.before = before
        self.keep = keep
        self.after: State = {}

    @property
    def starts(self) -> bool:
        """True at the start of a clip, where nothing lies to the left."""
        return self.before is None

    def left(self, name: str) -> Tensor | None:
        """The state that layer `name` left in the part before, None at the start."""
        return None if self.before is None else self.before[name]
