"""One command's worth of training: `python -m lfqcodec.train.motion.run --help`, or `lfqcodec train motion`.

It goes on with what is in the folder of the run, and needs neither PyAV nor constriction nor click.
"""

from __future__ import annotations

import argparse
import dataclasses
import logging
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from lfqcodec.codec.device import pick_device
from lfqcodec.errors import LfqError, WeightsMissing
from lfqcodec.tokenizer.motion.config import MotionConfig
from lfqcodec.train.data import ensure_pack
from lfqcodec.train.distributed import World, world_of_environment
from lfqcodec.train.loop import Loop
from lfqcodec.train.lpips import load_lpips
from lfqcodec.train.motion.config import PHASES, MotionTrainConfig
from lfqcodec.train.motion.data import Clips
from lfqcodec.train.motion.graph import GraphLoop
from lfqcodec.train.motion.journal import append_run
from lfqcodec.train.motion.model.networks import IntraModel
from lfqcodec.train.motion.start import Start, export_run, next_phase, progress_of, read_run, read_start
from lfqcodec.train.motion.tasks import GroupsTask, IntraTask

log = logging.getLogger(__name__)

NEXT = "next"
_BATCHES = {"cpu": {"intra": 8, "groups": 4}, "cuda": {"intra": 64, "groups": 32}}


@dataclass(frozen=True)
class Options:
    """What a call is asked to do.

    `clips` are folders of .npy, `videos` and `images` folders that are decoded once into OUT/pack. `minutes`
    is how long the call trains, `steps` the same in steps; without either it goes on until it is stopped.
    `init` is for phases that have not begun (`read_start`), or `model` to begin with nothing; `changes` are
    fields of the configuration.
    """

    out: Path
    clips: tuple[Path, ...] = ()
    videos: tuple[Path, ...] = ()
    images: tuple[Path, ...] = ()
    phase: str = NEXT
    init: Path | None = None
    lpips: Path | None = None
    minutes: float | None = None
    steps: int | None = None
    save_minutes: float = 5.0
    evaluate_minutes: float = 15.0
    device: str = "auto"
    precision: str = "auto"
    journal: Path | None = None
    export: Path | None = None
    model: MotionConfig | None = None
    changes: dict[str, Any] = dataclasses.field(default_factory=dict)


def train(options: Options) -> str:
    """Train one phase, and say which. Ctrl-C and SIGTERM end it as `minutes` do. Raises `LfqError`."""
    device = pick_device(options.device)
    if device.type == "cuda":
        torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = True
        torch.backends.cudnn.benchmark = True
    phase = next_phase(options.out) if options.phase == NEXT else options.phase
    with world_of_environment(device.type) as world:
        loop = _loop(options, phase, device, world)
        before = loop.seconds
        log.info("%s from step %d on", phase, loop.step)
        try:
            with suppress(KeyboardInterrupt):
                loop.run(
                    record={"phase": phase, **asdict(loop.task.config), "precision": str(loop.task.dtype)},
                    evaluate_every=10**9,
                    evaluate_minutes=options.evaluate_minutes,
                    save_minutes=options.save_minutes,
                    stop_after=options.steps,
                )
        finally:
            if options.journal is not None and world.leads and loop.seconds > before:
                append_run(options.journal, loop.out, phase, loop.seconds - before, world.size)
        if options.export is not None and world.leads:
            try:
                export_run(options.out, options.export, options.export.stem, options.init)
            except WeightsMissing as error:
                log.warning("no model file: %s", error)
    return phase


def _loop(options: Options, phase: str, device: torch.device, world: World) -> Any:
    """The loop of a phase; it has resumed where it could."""
    progress = progress_of(options.out, phase)
    start = _start(options, phase)
    config = MotionTrainConfig(phase, batch=_BATCHES[device.type][phase], model=start.config)
    config = dataclasses.replace(config, **options.changes)
    clips = _clips(options, world)
    lpips = None if options.lpips is None else load_lpips(options.lpips)
    if lpips is None:
        log.warning("no weights of LPIPS: the perceptual loss is left out")
    common: dict[str, Any] = {
        "device": device,
        "precision": options.precision,
        "lpips": lpips,
        "world": world,
    }
    # A run that goes on takes its weights from the checkpoint.
    init = start.phases.get(phase)
    task: IntraTask | GroupsTask
    if phase == "intra":
        task = IntraTask(config, clips, init, **common)
    else:
        task = GroupsTask(config, clips, init, _intra(start), **common)
    if device.type == "cuda":
        _use_kernels(task)
    kind = GraphLoop if device.type == "cuda" else Loop
    return kind(
        task,
        options.out / phase,
        schedule=config.schedule(progress.get("seconds", 0.0), options.minutes),
        optimizer=config.optimizer,
        ema=config.ema,
        world=world,
    )


def _start(options: Options, phase: str) -> Start:
    """Weights of this run before those of `init`."""
    own = read_run(options.out)
    if phase in own.phases and "intra" in own.phases:
        return own
    if options.init is None and options.model is not None:
        other = Start(options.model, {})
    else:
        other = read_start(options.init)
    return Start(own.config if own.phases else other.config, other.phases | own.phases)


def _intra(start: Start) -> IntraModel:
    if "intra" not in start.phases:
        raise LfqError("groups need first pictures: train the phase intra, or start from weights")
    model = IntraModel(start.config)
    tensors = model.state_dict() | {name: each.float() for name, each in start.phases["intra"].items()}
    try:
        model.load_state_dict(tensors)
    except RuntimeError as error:
        raise LfqError(f"the weights of first pictures do not fit ({error})") from error
    return model


def _clips(options: Options, world: World) -> Clips:
    packs = []
    if options.videos or options.images:
        packs = [options.out / "pack"]
        if world.leads:
            ensure_pack(packs[0], options.videos, options.images, max_frames=240)
        world.wait()
    return Clips(options.clips, packs)


def _use_kernels(task: IntraTask | GroupsTask) -> None:
    from lfqcodec.train.motion.model import kernels

    error = kernels.relative_error(task.device)
    log.info("relative error of the depthwise kernel: %.2g", error)
    if error < kernels.TOLERANCE:
        for model in [task.model, task.intra] if isinstance(task, GroupsTask) else [task.model]:
            kernels.use_depthwise(model)


def parser() -> argparse.ArgumentParser:
    """The options, for machines without click."""
    made = argparse.ArgumentParser(description="Train the motion tokenizer; the same command goes on.")
    made.add_argument("--out", type=Path, required=True, help="Folder of the run.")
    for name, what in (("clips", ".npy clips"), ("videos", "videos"), ("images", "pictures")):
        made.add_argument(f"--{name}", type=Path, action="append", default=[], help=f"Folder of {what}.")
    made.add_argument("--phase", choices=(NEXT, *PHASES), default=NEXT)
    made.add_argument("--init", type=Path, help="Model file, run, or folder to start from.")
    made.add_argument("--lpips", type=Path, help="Weights of LPIPS (safetensors).")
    made.add_argument("--minutes", type=float, help="How long to train.")
    made.add_argument("--steps", type=int, help="The same in steps.")
    made.add_argument("--save-minutes", type=float, default=Options.save_minutes)
    made.add_argument("--evaluate-minutes", type=float, default=Options.evaluate_minutes)
    made.add_argument("--device", choices=("auto", "cpu", "cuda"), default=Options.device)
    made.add_argument("--precision", choices=("auto", "fp32", "bf16"), default=Options.precision)
    made.add_argument("--journal", type=Path, help="Markdown file that gets a line.")
    made.add_argument("--export", type=Path, help="Model file (.safetensors) to write at the end.")
    made.add_argument("--batch", type=int, help="First pictures, or chains, of a step.")
    made.add_argument("--size", type=int, help="Pixels of a crop in each direction.")
    return made


def options_of(values: dict[str, Any]) -> Options:
    """Options from what a command line gave; None is what the configuration has."""
    changes = {name: values.pop(name) for name in ("batch", "size")}
    folders = {name: tuple(values[name]) for name in ("clips", "videos", "images")}
    given = {name: each for name, each in changes.items() if each is not None}
    return Options(**values | folders, changes=given)


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    train(options_of(vars(parser().parse_args())))
