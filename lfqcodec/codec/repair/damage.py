"""What is lost of a damaged file, in terms of its video: which frames, when they were shown, and why."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Any

FRAMES, DETAIL, DATA, INDEX, END = "frames", "detail", "data", "index", "end"


@dataclass(frozen=True)
class Loss:
    """One damaged part of a file. Times are seconds since the first frame of the file.

    `kind`: "frames" are lost from `first_frame` on, shown from `start` to `end`; of `frames` frames
    "detail" is lost: they are shown with fewer `streams`, (right, wanted); "data" was lost at about `start`,
    which no frame needs, sound or subtitles perhaps; the "index" is damaged, and all frames are there; or the
    "end" cannot be read, what is behind the first `first_frame` frames, at `start`: `frames`, if the file
    says how many it should have, or 0, until about `end`. `cause` is the first of `faults` errors, `offset`
    its byte in the file.
    """

    kind: str
    start: float
    end: float
    first_frame: int
    frames: int
    cause: str
    faults: int
    offset: int | None
    streams: tuple[int, int] | None = None

    def __str__(self) -> str:
        more = f" and {self.faults - 1} more" if self.faults > 1 else ""
        because = f": {self.cause}{more}" if self.cause else ""
        if self.kind == DATA:
            return f"about {clock(self.start)}: no frame is lost, sound or subtitles may be{because}"
        if self.kind == INDEX:
            return f"the index is damaged or missing, no frame is lost{because}"
        if self.kind == END:
            where = f"after {clock(self.start)} ({self.first_frame} frames)"
            count = f"{self.frames} frame{'s are' if self.frames != 1 else ' is'} missing"
            missing = (
                f"{count}, {self.end - self.start:.2f} s" if self.frames else "the file cannot be read on"
            )
            return f"{where}: {missing}{because}"
        if self.kind == DETAIL and not self.frames:
            return f"{clock(self.start)} to {clock(self.end)}: no frame is lost{because}"
        what = f"frame {self.first_frame} is"
        if self.frames != 1:
            what = f"frames {self.first_frame} to {self.first_frame + self.frames - 1} are"
        if self.streams is not None:
            right, wanted = self.streams
            what += f" shown with {right} of {wanted} streams"
        else:
            what += " lost"
        return f"{clock(self.start)} to {clock(self.end)}: {what}{because}"

    def joined(self, after: Loss) -> Loss | None:
        """Both in one where detail of frames is lost that follow each other, else None."""
        if self.kind != DETAIL or after.kind != DETAIL or self.first_frame + self.frames != after.first_frame:
            return None
        if not after.frames:
            return None
        streams = min(filter(None, (self.streams, after.streams)), default=None)
        return replace(
            self,
            end=after.end,
            frames=self.frames + after.frames,
            faults=self.faults + after.faults,
            streams=streams,
        )

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return asdict(self)


def note(losses: list[Loss], loss: Loss) -> None:
    """Add `loss` to those before it, to the last of them where it goes on."""
    joined = losses[-1].joined(loss) if losses else None
    if joined is None:
        losses.append(loss)
    else:
        losses[-1] = joined


def clock(seconds: float) -> str:
    """A time as `--start` takes it: 0:01.320, 1:02:03.000."""
    thousandths = max(0, round(seconds * 1000))
    minutes, rest = divmod(thousandths, 60_000)
    hours, minutes = divmod(minutes, 60)
    head = f"{hours}:{minutes:02}" if hours else f"{minutes}"
    return f"{head}:{rest / 1000:06.3f}"
