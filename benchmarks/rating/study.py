"""A study on disk: `study.json` and the videos it names, and what each rater is shown."""

from __future__ import annotations

import hashlib
import itertools
import json
import random
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lfqcodec.errors import LfqError

FILE = "study.json"
FORMAT = "lfqcodec study"
VERSION = 1


class StudyError(LfqError):
    """A study cannot be used; the text names the file and the fault."""


@dataclass(frozen=True)
class Clip:
    """One sequence: the reference, and by codec the decoded video. Paths are inside the study's folder."""

    name: str
    reference: Path
    videos: dict[str, Path]


@dataclass(frozen=True)
class Trial:
    """Two videos of a clip, as one rater sees them."""

    clip: Clip
    left: str
    right: str

    @property
    def identity(self) -> str:
        """What a vote is filed under: the clip and the pair, whichever side each was on."""
        return json.dumps([self.clip.name, *sorted((self.left, self.right))])


@dataclass(frozen=True)
class Study:
    """What is asked of which videos. `pairs` are codecs that are compared; `digest` names the study."""

    folder: Path
    title: str
    question: str
    seed: int
    clips: tuple[Clip, ...]
    pairs: tuple[tuple[str, str], ...]
    digest: str

    def trials(self, rater: str) -> list[Trial]:
        """All pairs of all clips, in an order and on sides that depend on seed and rater alone."""
        mixed = hashlib.sha256(f"{self.seed}\0{self.digest}\0{rater}".encode()).digest()
        dice = random.Random(mixed)
        trials = []
        for clip in self.clips:
            for pair in self.pairs:
                if set(pair) <= set(clip.videos):
                    left, right = dice.sample(pair, 2)
                    trials.append(Trial(clip, left, right))
        dice.shuffle(trials)
        return trials


def load_study(folder: Path) -> Study:
    """Read and check a study. Raises `StudyError` for the first fault."""
    path = folder / FILE
    try:
        data = path.read_bytes()
        record = json.loads(data)
    except OSError as error:
        raise StudyError(f"{path}: {error.strerror}") from error
    except ValueError as error:
        raise StudyError(f"{path}: is not JSON ({error})") from error
    if not isinstance(record, dict) or record.get("format") != FORMAT:
        raise StudyError(f"{path}: is not a study")
    if record.get("version") != VERSION:
        raise StudyError(f"{path}: has version {record.get('version')}, this program reads {VERSION}")
    try:
        clips = tuple(_clip(folder, item) for item in record["clips"])
        codecs = list(dict.fromkeys(name for clip in clips for name in clip.videos))
        pairs = record.get("pairs") or list(itertools.combinations(codecs, 2))
        pairs = tuple((str(first), str(second)) for first, second in pairs)
        title, question, seed = str(record["title"]), str(record["question"]), int(record["seed"])
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise StudyError(f"{path}: {type(error).__name__}: {error}") from error
    if len({clip.name for clip in clips}) != len(clips):
        raise StudyError(f"{path}: two clips have the same name")
    unknown = {name for pair in pairs for name in pair} - set(codecs)
    if unknown or any(first == second for first, second in pairs):
        raise StudyError(f"{path}: pairs must be two different codecs of {', '.join(codecs)}")
    study = Study(folder, title, question, seed, clips, pairs, hashlib.sha256(data).hexdigest())
    if not study.trials(""):
        raise StudyError(f"{path}: there is nothing to compare")
    return study


def _clip(folder: Path, item: dict[str, Any]) -> Clip:
    videos = {str(name): _inside(folder, where) for name, where in item["videos"].items()}
    return Clip(str(item["name"]), _inside(folder, item["reference"]), videos)


def _inside(folder: Path, where: str) -> Path:
    """A file that the study names; nothing outside its folder is ever served."""
    path = (folder / where).resolve()
    if not path.is_relative_to(folder.resolve()):
        raise StudyError(f"{folder / FILE}: {where} is outside the study")
    if not path.is_file():
        raise StudyError(f"{folder / FILE}: {where} is missing")
    return path
