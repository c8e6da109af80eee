"""The prior as it is trained: all steps of a frame at once, with the integers of inference going forward.

Weights are real; every product, table and rounding gives the very integers of `lfqcodec.prior.exact`
(a test holds the logits of both together), and gradients pass as if nothing had been rounded. With
`rounded` off, the same weights run as an ordinary float network: the difference is the cost of export.
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from lfqcodec.bitstream.geometry import SUBTOKEN_BITS
from lfqcodec.entropy.subtokens import SYMBOLS
from lfqcodec.prior import arithmetic as exact
from lfqcodec.prior.config import (
    ACTIVATION_BITS,
    LIMIT,
    LOGIT_BITS,
    RESIDUAL_LIMIT,
    SCORE_LIMIT,
    SLOTS,
    PriorConfig,
    feature_count,
)
from lfqcodec.prior.features import (
    flag_features,
    neighbour_features,
    pad_grid,
    signs,
    stage_features,
)
from lfqcodec.prior.schedule import bounds_for, layer_shift, slot_offsets, tile_ranks, windows
from lfqcodec.prior.weights import (
    PLACES,
    PriorWeights,
    block_names,
    linear_specs,
    logit_table,
    score_table,
)
from lfqcodec.train.prior.layers import NAT, QuantLinear, attention, replace


class PriorNetwork(nn.Module):
    """The trainable prior."""

    def __init__(self, config: PriorConfig) -> None:
        super().__init__()
        self.config = config
        linears = {}
        for name, spec in linear_specs(config).items():
            ends_block = name.endswith((".mix", ".down")) or spec.biased
            # Of the inputs of an embedding about a quarter are not 0.
            active = spec.inputs / 4 if name.endswith(".embed") else spec.inputs
            linears[name.replace(".", "_")] = QuantLinear(spec, 0.0 if ends_block else active**-0.5)
        self.linears = nn.ModuleDict(linears)
        zeros = {name.replace(".", "_"): None for name in block_names(config)}
        self.place = nn.ParameterDict(
            {name: nn.Parameter(torch.zeros(config.sources, config.heads, PLACES)) for name in zeros}
        )
        self.none = nn.ParameterDict({name: nn.Parameter(torch.zeros(config.heads)) for name in zeros})
        self.register_buffer("table", torch.from_numpy(score_table()).float(), persistent=False)

    def forward(
        self, tokens: Tensor, start: Tensor, stage: int, *, rounded: bool = True
    ) -> tuple[Tensor, Tensor]:
        """Logits of all tokens of a stage, each as in its own step of the schedule.

        `tokens` int64 [B, stages, 2 + T, h, w], -1 where unknown: T latent frames and the two before them, of
        this stage and those below; what lies above is not looked at, and may be left out.
        `start` int64 [B]: time in the GOP of the first of the T. Returns the logits of both subtokens,
        float32 [B, T, h * w, 512] in units of 2^-6 nats, the second given the true first.
        """
        run = _Pass(self, tokens, start, stage, rounded)
        return run.logits()

    def bits(self, tokens: Tensor, start: Tensor, stage: int, *, rounded: bool = True) -> Tensor:
        """What each token costs, float32 [B, T, h * w] in bits."""
        target = tokens[:, stage, 2:].flatten(2).clamp_min(0)
        pair = self(tokens, start, stage, rounded=rounded)
        total = torch.zeros_like(target, dtype=torch.float32)
        for logits, symbol in zip(pair, (target % SYMBOLS, target // SYMBOLS), strict=True):
            log_p = torch.log_softmax(logits / (1 << LOGIT_BITS), -1)
            total = total - log_p.gather(-1, symbol.unsqueeze(-1)).squeeze(-1)
        return total / float(np.log(2))

    def export(self) -> PriorWeights:
        """The integers. Raises `WeightsError` where training has left their range."""
        arrays: dict[str, NDArray[np.int64]] = {}
        for name in linear_specs(self.config):
            module = self.linears[name.replace(".", "_")]
            assert isinstance(module, QuantLinear)
            for part, array in module.export().items():
                arrays[f"{name}.{part}"] = array
        for name in block_names(self.config):
            for part, store in (("place", self.place), ("none", self.none)):
                units = self.score_units(store[name.replace(".", "_")])
                arrays[f"{name}.{part}"] = units.detach().cpu().long().numpy()
        arrays["table.score"], arrays["table.logit"] = score_table(), logit_table()
        return PriorWeights(self.config, arrays)

    @staticmethod
    def score_units(nats: Tensor, rounded: bool = True) -> Tensor:
        """Real nats to integer units of attention scores, with gradients."""
        units = (nats * NAT).clamp(-SCORE_LIMIT, SCORE_LIMIT)
        return replace(units, units.round()) if rounded else units


class _Pass:
    """One forward pass: what its layers share."""

    def __init__(self, net: PriorNetwork, tokens: Tensor, start: Tensor, stage: int, rounded: bool) -> None:
        self.net, self.config, self.stage, self.rounded = net, net.config, stage, rounded
        self.tokens = tokens
        self.batch, _, longer, self.h, self.w = tokens.shape
        self.frames = longer - 2
        self.area = self.h * self.w
        device = tokens.device
        times = start[:, None] + torch.arange(self.frames, device=device)
        self.first_frame = (times == 0).reshape(-1)
        self.age = times.clamp(max=2).reshape(-1)
        ranks = torch.from_numpy(tile_ranks()).to(device)
        y = torch.arange(self.h, device=device) % 8
        x = torch.arange(self.w, device=device) % 8
        self.rank = ranks[y[:, None], x[None, :]].reshape(-1)
        self.begins = [self._begins(time, device) for time in (0, 1)]
        self.where = {}
        for shift in {layer_shift(layer) for layer in range(self.config.layers)}:
            layout = windows(self.h, self.w, shift)
            source = np.full(layout.count * SLOTS, self.area, np.int64)
            source[layout.slot] = np.arange(self.area)
            self.where[shift] = (
                layout.count,
                torch.from_numpy(layout.slot).to(device),
                torch.from_numpy(source).to(device),
                torch.from_numpy(layout.valid).to(device),
            )

    def _begins(self, time: int, device: torch.device) -> Tensor:
        """By rank, int64 [64]: the rank at which the step of a token begins."""
        bounds = bounds_for(self.config, time, self.stage)
        begins = np.zeros(SLOTS, np.int64)
        for low, high in pairwise(bounds):
            begins[low:high] = low
        return torch.from_numpy(begins).to(device)

    def linear(self, name: str, x: Tensor) -> Tensor:
        y: Tensor = self.net.linears[name.replace(".", "_")](x, self.rounded)
        return y

    def normalise(self, x: Tensor) -> Tensor:
        unit = float(1 << ACTIVATION_BITS)
        scale = unit * (x.square().mean(-1, keepdim=True) + 1 / 16).rsqrt()
        soft = (x * scale).clamp(-LIMIT, LIMIT)
        return replace(soft, exact.normalise(x.detach())) if self.rounded else soft

    def pointwise(self, name: str, x: Tensor) -> Tensor:
        a = self.linear(f"{name}.up", self.normalise(x)).clamp(0, LIMIT)
        soft = a.square() / 128
        hidden = replace(soft, soft.round()) if self.rounded else soft
        return self.add(x, self.linear(f"{name}.down", hidden))

    @staticmethod
    def add(x: Tensor, update: Tensor) -> Tensor:
        return (x + update).clamp(-RESIDUAL_LIMIT, RESIDUAL_LIMIT)

    def features(self, known: bool) -> Tensor:
        """float32 [B * T * h * w, F]: of the queries, or of the context, where the tokens are known."""
        config, stage = self.config, self.stage
        grid = signs(self.tokens)  # [B, stages, 2 + T, h, w, 18]
        # Queries see neither their own token nor anything of the stages above, whose features are left out.
        frames = [grid[:, :, 2 - back : 2 - back + self.frames] for back in range(3)]
        lower = frames[0][:, stage - 1] if stage else torch.zeros_like(frames[0][:, 0])
        parts = [self._flags(known), neighbour_features(pad_grid(lower.flatten(0, 1))).flatten(0, 2)]
        for below in range(stage + 1):
            now, before, earlier = (frame[:, below].flatten(0, 3) for frame in frames)
            if below == stage and not known:
                now = torch.zeros_like(now)
            parts.append(stage_features(now, before, earlier))
        result = torch.cat(parts, -1)
        assert result.shape[-1] == feature_count(config, stage)
        return result

    def _flags(self, known: bool) -> Tensor:
        rows = []
        for age in range(3):
            begins = self.begins[0 if age == 0 else 1]
            each = [
                flag_features(self.config, self.stage, age, None if known else int(begin)) for begin in begins
            ]
            rows.append(torch.stack(each))
        table = torch.stack(rows).to(self.tokens.device)  # [3, 64, flags]
        return table[self.age][:, self.rank].flatten(0, 1)

    def to_windows(self, x: Tensor, shift: int) -> Tensor:
        """[B * T * area, heads * c] -> [B * T, count, heads, 64, c]; empty slots hold 0."""
        count, _, source, _ = self.where[shift]
        grid = x.view(-1, self.area, x.shape[-1])
        grid = torch.cat((grid, grid.new_zeros(len(grid), 1, x.shape[-1])), 1)
        return (
            grid.index_select(1, source)
            .view(-1, count, SLOTS, self.config.heads, self.config.head_width)
            .transpose(2, 3)
        )

    def memory(self, layer: int, normal: Tensor) -> tuple[Tensor, Tensor]:
        """Keys and values of all frames and of those before them, [B * T, count, heads, sources * 64, c]."""
        both = self.linear(f"memory.{layer}", normal).clamp(-LIMIT, LIMIT)
        result = []
        for part in torch.split(both, self.config.width, 1):
            own = self.to_windows(part, layer_shift(layer))
            sources = [own]
            frames = own.view(self.batch, self.frames, *own.shape[1:])
            for back in range(1, self.config.kept_frames + 1):
                shown = frames[:, : max(0, self.frames - back)]
                hidden = frames.new_zeros(self.batch, min(back, self.frames), *frames.shape[2:])
                sources.append(torch.cat((hidden, shown), 1).flatten(0, 1))
            result.append(torch.cat(sources, 3))
        return result[0], result[1]

    def _unseen(self, shift: int, known: bool) -> Tensor:
        """bool [B * T, count, 1, 64, sources * 64]: True where a query does not look at a key."""
        _, _, _, valid = self.where[shift]
        rank = torch.arange(SLOTS, device=self.rank.device)
        seen = []
        for begins in self.begins:
            begin = begins[:, None]
            # Context also sees its own step; the next step begins where this one's tokens end.
            seen.append(begins[None, :] <= begin if known else rank[None, :] < begin)
        own = torch.stack(seen)[torch.where(self.first_frame, 0, 1)]  # [B * T, 64, 64]
        parts = [own]
        index = torch.arange(self.frames, device=own.device).repeat(self.batch)
        for back in range(1, self.config.kept_frames + 1):
            parts.append((index >= back)[:, None, None].expand_as(own))
        inside = valid.repeat(1, self.config.sources)
        return ~(torch.cat(parts, -1)[:, None] & inside[None, :, None, :]).unsqueeze(2)

    def attend(
        self, name: str, layer: int, normal: Tensor, memory: tuple[Tensor, Tensor], known: bool
    ) -> Tensor:
        shift = layer_shift(layer)
        count, slot, _, _ = self.where[shift]
        key, value = memory
        query = self.linear(f"{name}.ask", normal).clamp(-LIMIT, LIMIT)
        grid = self.to_windows(query, shift)
        flat = name.replace(".", "_")
        table = self.net.score_units(self.net.place[flat], self.rounded)
        none = self.net.score_units(self.net.none[flat], self.rounded).view(-1, 1, 1)
        offsets = torch.from_numpy(slot_offsets(shift)).to(grid.device)
        place = table.index_select(2, offsets.view(-1)).view(*table.shape[:2], SLOTS, SLOTS)
        place = place.permute(1, 2, 0, 3).flatten(2)
        assert isinstance(self.net.table, Tensor)
        unseen = self._unseen(shift, known)
        mixed = attention(grid, key, value, place, none, unseen, self.net.table, self.rounded)
        rows = mixed.transpose(2, 3).reshape(-1, count * SLOTS, self.config.width)
        return rows.index_select(1, slot).flatten(0, 1)

    def block(
        self, name: str, layer: int, x: Tensor, normal: Tensor, memory: tuple[Tensor, Tensor], known: bool
    ) -> Tensor:
        mixed = self.attend(name, layer, normal, memory, known)
        return self.pointwise(name, self.add(x, self.linear(f"{name}.mix", mixed)))

    def logits(self) -> tuple[Tensor, Tensor]:
        config = self.config
        context = self.linear("context.embed", self.features(known=True))
        normal = self.normalise(context)
        x = self.linear("query.embed", self.features(known=False))
        for layer in range(config.layers):
            memory = self.memory(layer, normal)
            x = self.block(f"query.{layer}", layer, x, self.normalise(x), memory, False)
            if layer < config.context_layers:
                context = self.block(f"context.{layer}", layer, context, normal, memory, True)
                normal = self.normalise(context)
        first = self.linear("head.first", self.normalise(x))
        target = self.tokens[:, self.stage, 2:].reshape(-1)
        x = self.add(x, self.linear("head.join", signs(target)[:, :SUBTOKEN_BITS]))
        second = self.linear("head.second", self.normalise(self.pointwise("head", x)))
        shape = (self.batch, self.frames, self.area, SYMBOLS)
        return first.view(shape), second.view(shape)
