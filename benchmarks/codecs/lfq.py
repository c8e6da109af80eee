"""lfqcodec itself, through its command."""

from __future__ import annotations

import sys
from pathlib import Path

import lfqcodec
from benchmarks.codecs.base import Codec, CodecUnavailable
from lfqcodec.codec.encode.options import MAX_CRF
from lfqcodec.errors import WeightsError
from lfqcodec.weights import resolve_model
from lfqcodec.weights.store import prior_for

SETTINGS = tuple(f"crf={crf}" for crf in (26, 30, 34, 38, 42, 48))
"""Of a sweep, from high to low rate."""
MIDDLE = 32.0
"""The crf of a middling rate, where speed is measured."""


class Lfq(Codec):
    """The codec of this project, sound left out, with one of its efforts."""

    suffix = ".lfq"
    # The decoder writes FFV1 in RGB: what it decodes is RGB, and nothing is lost.
    decoded_suffix = ".mkv"
    plain_suffix = ".y4m"
    settings = SETTINGS

    def __init__(self, name: str, effort: str, model: str | None) -> None:
        self.name, self._effort, self._model = name, effort, model

    def version(self) -> dict[str, str]:
        """Version of the package, names and hashes of the weights."""
        try:
            model = resolve_model(self._model)
        except WeightsError as error:
            raise CodecUnavailable(f"{self.name}: {error}") from error
        facts = {"lfqcodec": lfqcodec.__version__, "model": model.name, "model_sha256": model.sha256.hex()}
        prior = prior_for(model)
        if prior is not None:
            facts |= {"prior": prior.name, "prior_sha256": prior.sha256.hex()}
        return facts

    def check_setting(self, setting: str) -> None:
        """crf=0 to 63."""
        self._check_crf(setting, MAX_CRF)

    def encode_command(self, source: Path, coded: Path, setting: str) -> list[str]:
        """`lfqcodec encode`."""
        self.check_setting(setting)
        command = [sys.executable, "-m", "lfqcodec", "encode", "-q", "--audio", "none"]
        command += ["--effort", self._effort]
        return [*command, "--crf", setting.partition("=")[2], *self._chosen(), str(source), str(coded)]

    def decode_command(self, coded: Path, decoded: Path) -> list[str]:
        """`lfqcodec decode`."""
        return [sys.executable, "-m", "lfqcodec", "decode", "-q", *self._chosen(), str(coded), str(decoded)]

    def _chosen(self) -> list[str]:
        return ["--model", self._model] if self._model else []
