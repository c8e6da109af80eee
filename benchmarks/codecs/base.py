"""`Codec`: what the benchmark needs to know of a codec."""

from __future__ import annotations

from abc import ABC, abstractmethod
from pathlib import Path

from lfqcodec.errors import LfqError


class CodecUnavailable(LfqError):
    """A codec cannot be used here: its library or its weights are missing."""


class Codec(ABC):
    """A codec under test. Both directions are commands of their own, timed as whole processes.

    A setting is one point of the rate-distortion curve, as text: "crf=32". `suffix` is that of the coded
    file, `decoded_suffix` that of the decoded video, which holds the decoded samples without further loss;
    `plain_suffix` makes the decoder write them uncompressed, to measure its speed.
    """

    name: str
    suffix: str
    decoded_suffix: str
    plain_suffix: str
    settings: tuple[str, ...]
    """The settings of a sweep that does not name others, from high to low rate."""

    @abstractmethod
    def version(self) -> dict[str, str]:
        """What identifies the encoder: library, version string, fixed options, hashes of weights.

        Raises `CodecUnavailable`.
        """

    @abstractmethod
    def check_setting(self, setting: str) -> None:
        """Raise `LfqError` for a setting that the codec does not have."""

    def _check_crf(self, setting: str, most: float) -> None:
        """Raise `LfqError` unless it is "crf=" and a number from 0 to `most`."""
        option, _, text = setting.partition("=")
        try:
            value = float(text)
        except ValueError:
            value = -1
        if option != "crf" or not 0 <= value <= most:
            raise LfqError(f"{self.name}: no setting {setting!r} (give crf=0 to {most:g})")

    @abstractmethod
    def encode_command(self, source: Path, coded: Path, setting: str) -> list[str]:
        """The command that codes the pictures of `source`, without sound, into the new file `coded`."""

    @abstractmethod
    def decode_command(self, coded: Path, decoded: Path) -> list[str]:
        """The command that decodes `coded`, alone, into the new video file `decoded`."""
