"""A study on disk: `study.json` and the videos it names, and what each rater is shown."""

from __future__ import annotations

import hashlib
import itertools
import json
import random
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from lfqcodec.errors import LfqError

FILE = "study.json"
FORMAT = "lfqcodec study"
VERSION = 1
MAX_REPEATS = 100
T = TypeVar("T")
_KINDS: dict[type, str] = {str: "a text", int: "a whole number", list: "a list", dict: "an object"}


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
    """Two videos of a clip, as one rater sees them. `repeat` counts from 0 where they are shown again."""

    clip: Clip
    left: str
    right: str
    repeat: int

    @property
    def identity(self) -> str:
        """What a vote is filed under: the clip, the pair whichever side each was on, and the repeat."""
        return json.dumps([self.clip.name, *sorted((self.left, self.right)), self.repeat])


@dataclass(frozen=True)
class Study:
    """What is asked of which videos.

    `pairs` are codecs that are compared, each `repeats` times on every clip that has both; `digest`, the
    SHA-256 of `study.json`, names the study.
    """

    folder: Path
    title: str
    question: str
    seed: int
    clips: tuple[Clip, ...]
    pairs: tuple[tuple[str, str], ...]
    repeats: int
    digest: str

    def trials(self, rater: str) -> list[Trial]:
        """All pairs of all clips, in an order and on sides that depend on study and rater alone."""
        mixed = hashlib.sha256(f"{self.seed}\0{self.digest}\0{rater}".encode()).digest()
        dice = random.Random(mixed)
        trials = []
        for clip in self.clips:
            for pair in self.pairs:
                if set(pair) <= set(clip.videos):
                    sides = dice.sample(pair, 2)
                    for repeat in range(self.repeats):
                        trials.append(Trial(clip, sides[0], sides[1], repeat))
                        # The next time the other way round, against a liking for one side.
                        sides.reverse()
        dice.shuffle(trials)
        return trials


def load_study(folder: Path) -> Study:
    """Read and check a study. Raises `StudyError` for the first fault, in one line."""
    path = folder / FILE
    try:
        data = path.read_bytes()
        record = json.loads(data)
    except OSError as error:
        raise StudyError(f"{path}: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise StudyError(f"{path}: is not JSON ({error})") from error
    if not isinstance(record, dict) or record.get("format") != FORMAT:
        raise StudyError(f"{path}: is not a study")
    if record.get("version") != VERSION:
        raise StudyError(f"{path}: has version {record.get('version')}, this program reads {VERSION}")
    try:
        return _study(folder, record, hashlib.sha256(data).hexdigest())
    except StudyError as error:
        raise StudyError(f"{path}: {error}") from error


def _study(folder: Path, record: dict[str, Any], digest: str) -> Study:
    title, question = (_field(record, name, str) for name in ("title", "question"))
    seed, repeats = _field(record, "seed", int), _field({"repeats": 1, **record}, "repeats", int)
    if not 1 <= repeats <= MAX_REPEATS:
        raise StudyError(f"repeats must be 1 to {MAX_REPEATS}")
    clips = tuple(_clip(folder, number, item) for number, item in enumerate(_field(record, "clips", list)))
    if len({clip.name for clip in clips}) != len(clips):
        raise StudyError("two clips have the same name")
    codecs = list(dict.fromkeys(name for clip in clips for name in clip.videos))
    pairs = list(itertools.combinations(codecs, 2))
    if "pairs" in record:
        pairs = [_pair(item, codecs) for item in _field(record, "pairs", list)]
    if len({frozenset(pair) for pair in pairs}) != len(pairs):
        raise StudyError("pairs: the same two codecs are named twice")
    study = Study(folder, title, question, seed, clips, tuple(pairs), repeats, digest)
    if not study.trials(""):
        raise StudyError("there is nothing to compare")
    return study


def _field(item: dict[str, Any], name: str, kind: type[T], where: str = "") -> T:
    if name not in item:
        raise StudyError(f"{where}{name} is missing")
    value = item[name]
    # True counts as an integer in Python, but is none here.
    if not isinstance(value, kind) or isinstance(value, bool):
        raise StudyError(f"{where}{name} must be {_KINDS[kind]}")
    return value


def _pair(item: Any, codecs: list[str]) -> tuple[str, str]:
    if (
        not isinstance(item, list)
        or len(item) != 2
        or item[0] == item[1]
        or not all(x in codecs for x in item)
    ):
        raise StudyError(f"pairs must be two different codecs of {', '.join(codecs)}")
    return item[0], item[1]


def _clip(folder: Path, number: int, item: Any) -> Clip:
    where = f"clips[{number}]: "
    if not isinstance(item, dict):
        raise StudyError(f"{where}must be an object")
    name, reference = (_field(item, field, str, where) for field in ("name", "reference"))
    videos = _field(item, "videos", dict, where)
    paths = {codec: _inside(folder, _field(videos, codec, str, where)) for codec in videos}
    return Clip(name, _inside(folder, reference), paths)


def _inside(folder: Path, where: str) -> Path:
    """A file that the study names; nothing outside its folder is ever served."""
    try:
        path = (folder / where).resolve()
        inside, there = path.is_relative_to(folder.resolve()), path.is_file()
    except (ValueError, OSError) as error:
        raise StudyError(f"{where!r} cannot be a path ({error})") from error
    if not inside:
        raise StudyError(f"{where} is outside the study")
    if not there:
        raise StudyError(f"{where} is missing")
    return path
