"""Every error that lfqcodec raises on purpose, each with the exit code the command line gives it.

    LfqError 1 > ArgumentError 2, InputVideoError 3, BitstreamError 4, WeightsError 5, NumericsMismatch 6

130 is an interrupt (Ctrl-C).
"""

from __future__ import annotations

from typing import Any


class LfqError(Exception):
    """Base of all errors raised on purpose; `str()` is one clear line for a person."""

    exit_code = 1


class ArgumentError(LfqError):
    """A wrong argument. `argument` is its name, with which the message begins."""

    exit_code = 2

    def __init__(self, argument: str, problem: str) -> None:
        super().__init__(f"{argument} {problem}")
        self.argument, self.problem = argument, problem


class ArgumentTypeError(ArgumentError, TypeError):
    """An argument of a wrong type, or one that does not exist."""


class ArgumentValueError(ArgumentError, ValueError):
    """An argument out of range, or one that does not go with another."""


class OutputError(LfqError):
    """The output could not be written: no space, no permission, a closed pipe, an unknown format."""


class OutputBusy(OutputError):
    """Another run is making the same file."""


class InputVideoError(LfqError):
    """The input is missing, is not a video, has no frames, or cannot be decoded."""

    exit_code = 3


class BitstreamError(LfqError):
    """A .lfq file breaks the specification.

    `offset` is the byte position in the file where the fault was noticed and `chunk` the number of the
    chunk it belongs to, counted from 0; either is None where it does not apply.
    """

    exit_code = 4

    def __init__(self, message: str, *, offset: int | None = None, chunk: int | None = None) -> None:
        self.message = message
        self.offset = offset
        self.chunk = chunk
        where = []
        if chunk is not None:
            where.append(f"chunk {chunk}")
        if offset is not None:
            where.append(f"byte {offset}")
        super().__init__(f"{message} ({', '.join(where)})" if where else message)


class BadMagic(BitstreamError):
    """The file does not start with the .lfq signature."""


class UnsupportedVersion(BitstreamError):
    """The file needs a newer decoder."""


class Truncated(BitstreamError):
    """The file ends before the structure it announced."""


class InvalidField(BitstreamError):
    """A field holds a value that the specification does not allow."""


class LimitExceeded(BitstreamError):
    """A size is over the limit that the specification or the caller sets."""


class ChecksumMismatch(BitstreamError):
    """Stored and computed checksum differ: the bytes are damaged."""


class CorruptPayload(BitstreamError):
    """An entropy-coded payload cannot be what an encoder wrote."""


class DamageConcealed(BitstreamError):
    """A damaged file was decoded as far as it goes: the output is there, less what was lost.

    `report` is the `DecodeReport`, which says what was lost.
    """

    def __init__(self, message: str, report: Any) -> None:
        super().__init__(message)
        self.report = report


class WeightsError(LfqError):
    """Model weights cannot be used."""

    exit_code = 5


class UnknownModel(WeightsError):
    """No model of that name or SHA-256 is known here."""


class WeightsMissing(WeightsError):
    """The weights file of a known model is not there."""


class WeightsHashMismatch(WeightsError):
    """A weights file does not have the SHA-256 that was asked for."""


class NumericsMismatch(LfqError):
    """Decoded tokens fail their checksum although the payload is intact: the arithmetic differed."""

    exit_code = 6
