"""lfqcodec itself, through its command: by quality (`lfq`) and by number of stages (`lfq-stages`)."""

from __future__ import annotations

import hashlib
import sys
from pathlib import Path

import lfqcodec
from benchmarks.codecs.base import Codec, CodecUnavailable
from lfqcodec.errors import LfqError, WeightsError
from lfqcodec.weights import resolve_model
from lfqcodec.weights.rates import MAX_CRF, rates_path
from lfqcodec.weights.store import prior_for


class Lfq(Codec):
    """The codec of this project, sound left out."""

    suffix = ".lfq"
    # The decoder writes FFV1 in RGB: what it decodes is RGB, and nothing is lost.
    decoded_suffix = ".mkv"
    plain_suffix = ".y4m"

    def __init__(self, name: str, option: str, settings: tuple[str, ...], model: str | None) -> None:
        self.name = name
        self.settings = settings
        self._option = option
        self._model = model

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
            rates = rates_path(prior.path)
            if rates.is_file():
                facts["rates_sha256"] = hashlib.sha256(rates.read_bytes()).hexdigest()
        return facts

    def check_setting(self, setting: str) -> None:
        """crf=0 to 63, or stages=1 and more."""
        option, _, text = setting.partition("=")
        try:
            value = float(text) if self._option == "crf" else int(text)
        except ValueError:
            value = -1
        fits = 0 <= value <= MAX_CRF if self._option == "crf" else value >= 1
        if option != self._option or not fits:
            raise LfqError(f"{self.name}: no setting {setting!r} (give {self._option}=N)")

    def encode_command(self, source: Path, coded: Path, setting: str) -> list[str]:
        """`lfqcodec encode`."""
        self.check_setting(setting)
        option, _, value = setting.partition("=")
        model = ["--model", self._model] if self._model else []
        command = [sys.executable, "-m", "lfqcodec", "encode", "-q", "--audio", "none"]
        return [*command, f"--{option}", value, *model, str(source), str(coded)]

    def decode_command(self, coded: Path, decoded: Path) -> list[str]:
        """`lfqcodec decode`."""
        model = ["--model", self._model] if self._model else []
        return [sys.executable, "-m", "lfqcodec", "decode", "-q", *model, str(coded), str(decoded)]
