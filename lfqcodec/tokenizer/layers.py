"""Building blocks that are causal in time and carry their left context from chunk to chunk.

All tensors are channels_last batches of frames, [B*T, C, h, w], with the frames of a clip adjacent. A 1x1
convolution over several frames is kept as one convolution per temporal tap: the tap of the current frame is
the 2D model's weight (central inflation, MAGVIT-v2 section 3.1), the taps of earlier frames start at zero.
Where there is no earlier frame, a learned vector takes their place, so that a layer can tell the first frame
of a GOP, which has a latent frame for itself, from the others, which share one between four.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

State = dict[str, Tensor]
"""Left context of every causal layer, by layer name."""


class TimeContext:
    """What the layers of one pass share: the batch size, the state they read and the one they leave.

    Without `keep` no chunk follows, and layers may spare themselves the state they would leave.
    """

    def __init__(self, batch: int, before: State | None, *, keep: bool = True) -> None:
        self.batch = batch
        self.before = before
        self.keep = keep
        self.after: State = {}

    @property
    def starts(self) -> bool:
        """True at the start of a GOP, where nothing lies to the left."""
        return self.before is None

    def split(self, x: Tensor) -> Tensor:
        """View [B*T, C, h, w] as [B, T, C, h, w]."""
        return x.reshape(self.batch, -1, *x.shape[1:])

    def left(self, name: str) -> Tensor | None:
        """The state that layer `name` left in the chunk before, None at a GOP start."""
        return None if self.before is None else self.before[name]


def conv1x1(inputs: int, outputs: int, *, bias: bool = True) -> nn.Conv2d:
    """A 1x1 convolution: oneDNN runs it faster than a linear layer on CPUs of either vendor."""
    return nn.Conv2d(inputs, outputs, 1, bias=bias)


class CausalPair(nn.Module):
    """1x1 convolution over the current and the previous frame."""

    def __init__(self, name: str, inputs: int, outputs: int) -> None:
        super().__init__()
        self.name = name
        self.now = conv1x1(inputs, outputs)
        self.past = conv1x1(inputs, outputs, bias=False)
        nn.init.zeros_(self.past.weight)
        self.start = nn.Parameter(torch.zeros(outputs, 1, 1))

    def forward(self, x: Tensor, time: TimeContext) -> Tensor:
        """[B*T, inputs, h, w] -> [B*T, outputs, h, w]."""
        y = time.split(self.now(x))
        left = time.left(self.name)
        if y.shape[1] == 1 and left is None and self.training:
            # A single image has no past: do not pay for it while training.
            return (y + self.start).flatten(0, 1)
        past = time.split(self.past(x))
        time.after[self.name] = past[:, -1:]
        if left is None:
            left = self.start.expand_as(past[:, :1])
        y = y + torch.cat([left, past[:, :-1]], 1)
        return y.flatten(0, 1)


def normalise(x: Tensor) -> Tensor:
    """Layer normalisation over channels, without weights: [N, C, h, w] -> the same shape and layout.

    The large epsilon leaves faint signals as they are and only bounds strong ones: without it the gated
    layers, which are quadratic, blow up on the rare block far outside the whitened range.
    """
    normal: Tensor = F.layer_norm(x.permute(0, 2, 3, 1), (x.shape[1],), eps=0.1)
    return normal.permute(0, 3, 1, 2)


class Block(nn.Module):
    """Two residual branches: spatial-temporal mixing, then a gated pointwise layer."""

    def __init__(self, name: str, width: int, expansion: int) -> None:
        super().__init__()
        self.enter = CausalPair(f"{name}.enter", width, width)
        self.spatial = nn.Conv2d(width, width, 3, padding=1, groups=width)
        self.leave = conv1x1(width, width)
        self.up = conv1x1(width, 2 * expansion * width)
        self.down = conv1x1(expansion * width, width)
        for last in (self.leave, self.down):
            nn.init.zeros_(last.weight)
            nn.init.zeros_(last.bias)  # type: ignore[arg-type]

    def forward(self, x: Tensor, time: TimeContext) -> Tensor:
        """[B*T, width, h, w] -> the same shape."""
        x = x + self.leave(self.spatial(F.leaky_relu(self.enter(normalise(x), time), 0.1)))
        value, gate = self.up(normalise(x)).chunk(2, 1)
        return torch.add(x, self.down(F.silu(gate) * value))


class TemporalDown(nn.Module):
    """Halve the frame rate: 1x1 over three causal frames, stride 2. 1 + 2k frames become 1 + k."""

    def __init__(self, name: str, inputs: int, outputs: int) -> None:
        super().__init__()
        self.name = name
        self.now = conv1x1(inputs, outputs)
        self.past = nn.ModuleList([conv1x1(inputs, outputs, bias=False) for _ in range(2)])
        initialise_identity(self.now)
        for past in self.past:
            nn.init.zeros_(past.weight)  # type: ignore[arg-type]
        self.start = nn.Parameter(torch.zeros(outputs, 1, 1))

    def forward(self, x: Tensor, time: TimeContext) -> Tensor:
        """[B*T, inputs, h, w] -> [B*T', outputs, h, w], T' = (T + 1) / 2 at a GOP start, else T / 2."""
        frames = time.split(x)
        left = time.left(self.name)
        time.after[self.name] = frames[:, -1:]
        if left is not None:
            frames = torch.cat([left, frames], 1)
        even, odd = frames[:, 0::2], frames[:, 1::2]
        current = even if left is None else even[:, 1:]
        y = time.split(self.now(_frames(current)))
        if even.shape[1] == 1:
            return (y + self.start).flatten(0, 1)
        past = time.split(self.past[0](_frames(odd)) + self.past[1](_frames(even[:, :-1])))
        if left is None:
            past = torch.cat([self.start.expand_as(past[:, :1]), past], 1)
        return (y + past).flatten(0, 1)


class TemporalUp(nn.Module):
    """Double the frame rate: 1x1 to two frames; the first is dropped at a GOP start. 1 + k become 1 + 2k."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.first = conv1x1(inputs, outputs)
        self.second = conv1x1(inputs, outputs)
        initialise_identity(self.second)
        self.inflate()

    def inflate(self) -> None:
        """Let the frame that an image never has start as a copy of the one it has."""
        self.first.load_state_dict(self.second.state_dict())

    def forward(self, x: Tensor, time: TimeContext) -> Tensor:
        """[B*T, inputs, h, w] -> [B*T', outputs, h, w], T' = 2T - 1 at a GOP start, else 2T."""
        second = time.split(self.second(x))
        if time.starts:
            if second.shape[1] == 1:
                return second.flatten(0, 1)
            first = time.split(self.first(_frames(time.split(x)[:, 1:])))
            pairs = torch.stack([first, second[:, 1:]], 2).flatten(1, 2)
            return _frames(torch.cat([second[:, :1], pairs], 1))
        first = time.split(self.first(x))
        return _frames(torch.stack([first, second], 2).flatten(1, 2))


def channels_last(x: Tensor) -> Tensor:
    """The same values, channels_last in memory: [N, C, h, w]."""
    return x.contiguous(memory_format=torch.channels_last)


def _frames(x: Tensor) -> Tensor:
    """[B, T, C, h, w] -> [B*T, C, h, w], channels_last in memory."""
    return channels_last(x.flatten(0, 1))


def initialise_identity(layer: nn.Conv2d) -> None:
    """Pass the channels through unchanged, cut off or padded with zeros."""
    with torch.no_grad():
        layer.weight.zero_()
        rows = min(layer.weight.shape[:2])
        layer.weight[range(rows), range(rows), 0, 0] = 1.0
        if layer.bias is not None:
            layer.bias.zero_()
