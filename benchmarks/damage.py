"""Every way to break a file in one place, and how many of them are noticed. All of them must be."""

from __future__ import annotations

import io
import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import click
from tqdm import tqdm

from benchmarks.machine import command_line, describe
from lfqcodec.codec.decode.file import open_file
from lfqcodec.codec.repair.damage import Loss
from lfqcodec.codec.repair.gaps import Gap
from lfqcodec.errors import BitstreamError, LfqError, NumericsMismatch


@dataclass
class Tally:
    """Broken copies of a kind: how many were tried, and what strict reading named them.

    `silent`: those that were read to their end without an error. `unreported`: those of which reading past
    the damage, as `decode` does, told no loss and raised no error.
    """

    kind: str
    tried: int = 0
    silent: int = 0
    unreported: int = 0
    errors: Counter[str] = field(default_factory=Counter)

    @property
    def noticed(self) -> int:
        """Copies that neither way of reading took for whole."""
        return self.tried - max(self.silent, self.unreported)


def broken(data: bytes) -> Iterator[tuple[str, bytes]]:
    """Copies of a file with one bit changed, cut off, with a byte less, and with a byte twice."""
    for at in range(len(data)):
        for bit in range(8):
            yield "bits flipped", data[:at] + bytes((data[at] ^ (1 << bit),)) + data[at + 1 :]
        yield "cut off", data[:at]
        yield "bytes lost", data[:at] + data[at + 1 :]
        yield "bytes doubled", data[:at] + data[at : at + 1] + data[at:]


def name_of(data: bytes, model: str | None) -> str | None:
    """The error that `verify` gives, None where it finds nothing wrong."""
    try:
        with open_file(io.BytesIO(data), model=model, device="cpu") as file:
            for _ in file.tokens():
                pass
    except (BitstreamError, NumericsMismatch) as error:
        return type(error).__name__
    return None


def told(data: bytes) -> bool:
    """Whether reading past the damage says that something is lost."""
    try:
        with open_file(io.BytesIO(data), device="cpu") as file:
            salvage = file.salvage()
            lost = any(isinstance(item, (Gap, Loss)) for item in salvage.items())
    except BitstreamError:
        return True
    return lost


def count(data: bytes, model: str | None = None) -> list[Tally]:
    """Break `data` in every way and tally what is said. Raises `LfqError` where it is not whole itself."""
    if (error := name_of(data, model)) is not None:
        raise LfqError(f"the file is damaged already: {error}")
    tallies: dict[str, Tally] = {}
    total = 11 * len(data)
    for kind, copy in tqdm(broken(data), total=total, unit=" copies", disable=None):
        tally = tallies.setdefault(kind, Tally(kind))
        tally.tried += 1
        error = name_of(copy, model)
        if error is None:
            tally.silent += 1
        else:
            tally.errors[error] += 1
        # Payload that has the right checksum and other tokens shows only when it is decoded.
        tally.unreported += error not in (None, "NumericsMismatch") and not told(copy)
    return list(tallies.values())


@click.command("damage")
@click.argument(
    "files", nargs=-1, required=True, type=click.Path(exists=True, dir_okay=False, path_type=Path)
)
@click.option("--model", help="Model of the files, where it is not found by its SHA-256.")
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
@click.option("--out", type=click.Path(path_type=Path), help="Write the result as JSON.")
def damage(files: tuple[Path, ...], model: str | None, as_json: bool, out: Path | None) -> None:
    """Break FILES, small .lfq files, in every single place, and count what is noticed.

    Every bit is flipped, every byte lost and doubled, the file cut off at every length. The exit code is 1
    unless all is noticed, by strict reading (as `verify`) and by reading past damage (as `decode`).
    """
    record = []
    missed = 0
    for path in files:
        data = path.read_bytes()
        tallies = count(data, model)
        missed += sum(tally.tried - tally.noticed for tally in tallies)
        record.append({"file": path.name, "bytes": len(data), "kinds": [vars(each) for each in tallies]})
        if as_json:
            continue
        click.echo(f"{path.name}, {len(data)} bytes")
        for tally in tallies:
            named = ", ".join(f"{name} {number}" for name, number in tally.errors.most_common())
            click.echo(f"  {tally.kind:13} {tally.noticed} of {tally.tried} noticed ({named})")
    result = json.dumps({"command": command_line(), "machine": describe(), "files": record}, indent=1)
    if as_json:
        click.echo(result)
    if out is not None:
        out.write_text(result + "\n")
    if missed:
        raise LfqError(f"{missed} were not noticed")
