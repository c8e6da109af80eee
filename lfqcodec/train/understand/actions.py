"""Training of classifiers of clips: from scratch, or from a pre-trained encoder."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from lfqcodec.errors import LfqError
from lfqcodec.train.checkpoint import load_checkpoint
from lfqcodec.train.loop import CHECKPOINT
from lfqcodec.train.understand.clips import ClipSet, LabelledClip, spread_out
from lfqcodec.train.understand.config import ActionConfig
from lfqcodec.train.understand.masked_video import load_encoder
from lfqcodec.train.understand.mixing import mixed, smoothed, soft_cross_entropy
from lfqcodec.train.understand.task import ClipTask, generator_of
from lfqcodec.understand.config import ClipConfig, EncoderConfig
from lfqcodec.understand.views import measured_views
from lfqcodec.understand.vit import ViTClassifier
from lfqcodec.understand.weights import VideoClassifier, build_classifier

_MEASURED = 256


class ActionTask(ClipTask[VideoClassifier]):
    """A classifier. It logs the loss; held-out clips give `top1` and `top5` in percent."""

    config: ActionConfig

    def __init__(
        self, config: ActionConfig, clips: ClipSet, *, init: Path | None = None, **where: Any
    ) -> None:
        """`init` is a run of `train masked-video` to start from. Raises what `load_encoder` raises."""
        self._set = clips
        super().__init__(config, clips.training, **where)
        if init is not None:
            if not isinstance(self.model, ViTClassifier):
                raise LfqError(f"{init}: pre-training is for model.kind vit")
            load_encoder(self.model.encoder, init)

    def _build(self) -> VideoClassifier:
        return build_classifier(self.config.model, len(self._set.classes))

    def identity(self) -> dict[str, str]:
        """Shape, clips and names of the classes."""
        c = self.config
        names = json.dumps(self._set.classes)
        return {"classifier": c.model.to_json(), "clip": c.clip.to_json(), "classes": names}

    def _loss(self, plan: list[tuple[int, int]], draws: tuple[int, ...]) -> tuple[Tensor, dict[str, Tensor]]:
        c = self.config
        video = self.batches.read(plan).to(self.device)
        labels = self.batches.labels(plan).to(self.device)
        targets = smoothed(labels, len(self._set.classes), c.label_smoothing)
        video, targets = mixed(generator_of(draws), video, targets, c.mixup, c.cutmix)
        with self.autocast():
            logits = self.model(video)
        return soft_cross_entropy(logits, targets), {}

    @torch.no_grad()
    def held_out(self, average: VideoClassifier) -> dict[str, Any]:
        """Accuracies over some held-out clips of all classes, in percent; empty if there are none."""
        return self.measured(average, spread_out(self._set.held_out, _MEASURED))

    @torch.no_grad()
    def measured(self, model: VideoClassifier, clips: Sequence[LabelledClip]) -> dict[str, float]:
        """`top1` and `top5` of clips, in percent."""
        if not clips:
            return {}
        c = self.config
        model.eval()
        ranks: list[int] = []
        size = max(1, c.batch // (c.segments * c.crops * c.accumulate))
        for begin in range(0, len(clips), size):
            part = clips[begin : begin + size]
            views = [[*measured_views(c.clip, clip.load(), c.segments, c.crops)] for clip in part]
            ranks += ranks_of(model, views, [clip.label for clip in part], self.device)
        return {f"top{k}": round(100 * sum(rank < k for rank in ranks) / len(ranks), 2) for k in (1, 5)}


@torch.no_grad()
def ranks_of(
    model: VideoClassifier, views: Sequence[Sequence[Tensor]], labels: Sequence[int], device: torch.device
) -> list[int]:
    """How many other classes are as likely as the true one or more, for each clip, by the mean of its views.

    A view is float32 [3, T, S, S]; all clips have as many.
    """
    each = torch.stack([view for own in views for view in own]).to(device)
    means = model(each).float().softmax(-1).unflatten(0, (len(views), -1)).mean(1)
    own = means.gather(1, torch.tensor(labels, device=device)[:, None])
    return [int(count) - 1 for count in (means >= own).sum(1)]


def export_classifier(run: Path) -> tuple[EncoderConfig, ClipConfig, list[str], dict[str, Tensor], str]:
    """Shape, clips, classes and averaged weights of a run in half precision, and its steps.

    Raises `LfqError` where the run is none of a classifier.
    """
    loaded = load_checkpoint(run / CHECKPOINT)
    progress = loaded.progress
    if "classifier" not in progress:
        raise LfqError(f"{run}: not a run of a classifier")
    tensors = {name: each.half().contiguous() for name, each in loaded.groups["ema"].items()}
    return (
        EncoderConfig.from_json(progress["classifier"]),
        ClipConfig.from_json(progress["clip"]),
        json.loads(progress["classes"]),
        tensors,
        str(progress["step"]),
    )
