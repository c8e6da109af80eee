"""Training checkpoints to the tensors of a model file."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from lfqcodec.errors import WeightsError
from lfqcodec.tokenizer.motion.config import MotionConfig
from lfqcodec.tokenizer.motion.tokenizer import MotionTokenizer


def model_tensors(
    config: MotionConfig, intra: Mapping[str, Tensor], groups: Mapping[str, Tensor]
) -> dict[str, Tensor]:
    """The tensors of a model file in half precision, from the states of intra and of groups after training.

    `intra` has the names of `Intra`, `groups` those of `Anchor` and `Between` after "anchor." and "between.".
    Both may hold rate networks ("rates."), which only training needs, and a number of steps. The result goes
    to `lfqcodec.weights.loading.save_tokenizer` with `config`. Raises `WeightsError` where it does not fit.
    """
    given = {f"intra.{name}": tensor for name, tensor in intra.items()} | dict(groups)
    with torch.device("meta"):
        expected = MotionTokenizer(config).state_dict()
    tensors = {}
    for name, shape in ((name, tensor.shape) for name, tensor in expected.items()):
        if name not in given or given[name].shape != shape:
            raise WeightsError(f"a checkpoint does not fit the configuration ({name})")
        tensors[name] = given[name].half()
    return tensors
