"""What `--crf` means for a model: a small table kept beside its weights, of use to encoders only."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from lfqcodec.errors import WeightsError
from lfqcodec.weights.store import Model, Prior

MAX_CRF = 63.0


@dataclass(frozen=True)
class RateTable:
    """From crf to stages and lambda.

    `flip_costs`, by stage: squared error of the decoded samples, in 8-bit units, for a flipped sign, over the
    magnitude of the number that it is the sign of. lambda is `scale * (2^(crf / doubling) - 1)`, so crf 0
    codes the tokens as they are. Stage k from 1 is given up from crf `dropped[k - 1]` on, in falling order,
    which is a step in the sizes. `prior` and `tokenizer` are SHA-256 in hex.
    """

    flip_costs: tuple[float, ...]
    scale: float
    doubling: float
    dropped: tuple[float, ...]
    default_crf: float
    prior: str
    tokenizer: str

    def __post_init__(self) -> None:
        numbers = [self.scale, self.doubling, *self.flip_costs]
        if not self.flip_costs or not all(0 < n < math.inf for n in numbers):
            raise WeightsError("the rate table has numbers that are not positive")
        if len(self.dropped) != len(self.flip_costs) - 1 or not 0 <= self.default_crf <= MAX_CRF:
            raise WeightsError("the rate table is out of range")
        if any(later > earlier for earlier, later in zip(self.dropped, self.dropped[1:], strict=False)):
            raise WeightsError("the rate table gives up its stages in the wrong order")

    def point(self, crf: float, stages: int) -> tuple[int, float]:
        """How many stages are coded at `crf`, in 0..63, at most `stages`, and lambda."""
        kept = 1 + sum(crf < gone for gone in self.dropped[: stages - 1])
        return kept, self.scale * (2 ** (crf / self.doubling) - 1)


def rates_path(prior_path: Path) -> Path:
    """Where the table of a prior lies: beside it, under its name."""
    return prior_path.with_suffix(".rates.json")


def load_rates(model: Model, prior: Prior) -> RateTable | None:
    """The table of a model and its prior, None where there is none. Raises `WeightsError`."""
    path = rates_path(prior.path)
    if not path.exists():
        return None
    try:
        values: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        for name in ("dropped", "flip_costs"):
            values[name] = tuple(float(value) for value in values[name])
        table = RateTable(**values)
    except (OSError, ValueError, KeyError, TypeError, WeightsError) as error:
        raise WeightsError(f"{path}: not a rate table ({error})") from error
    if (table.prior, table.tokenizer) != (prior.sha256.hex(), model.sha256.hex()):
        raise WeightsError(f"{path}: belongs to other weights than those beside it")
    if len(table.flip_costs) > model.config.stages:
        raise WeightsError(f"{path}: has more stages than the tokenizer")
    return table


def save_rates(prior_path: Path, table: RateTable) -> Path:
    """Write a table beside its prior."""
    path = rates_path(prior_path)
    path.write_text(json.dumps(asdict(table), indent=1, sort_keys=True) + "\n", encoding="utf-8")
    return path
