"""The report of a batch: a line of JSON for each input, in their order, and a table for people."""

from __future__ import annotations

import heapq
import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TextIO

from lfqcodec.batch.work import Outcome


@dataclass
class Summary:
    """What a batch came to: how many inputs of each status, and how many failures of each kind.

    `frames`, `source_bytes` and `made_bytes` are sums over what was done in this batch.
    """

    counts: Counter[str] = field(default_factory=Counter)
    kinds: Counter[str] = field(default_factory=Counter)
    frames: int = 0
    source_bytes: int = 0
    made_bytes: int = 0

    @property
    def files(self) -> int:
        """How many inputs there were."""
        return self.counts.total()

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return {
            "files": self.files,
            "done": self.counts["done"],
            "skipped": self.counts["skipped"],
            "failed": self.counts["failed"],
            "frames": self.frames,
            "source_bytes": self.source_bytes,
            "made_bytes": self.made_bytes,
            "failures": dict(sorted(self.kinds.items())),
        }


class Report:
    """Writes lines in the order of inputs, whatever that of outcomes. Nothing in them depends on time."""

    def __init__(self, lines: TextIO) -> None:
        self._lines, self.summary = lines, Summary()
        self._next = 0
        self._waiting: list[tuple[int, str]] = []

    def add(self, number: int, source: str, output: str, size: int, outcome: Outcome) -> None:
        """What came of input `number`, of `size` bytes."""
        summary = self.summary
        summary.counts[outcome.status] += 1
        facts = outcome.facts or {}
        if outcome.status == "done":
            summary.frames += facts.get("frames", 0)
            summary.source_bytes += size
            summary.made_bytes += 0 if outcome.made is None else outcome.made.size
        line: dict[str, Any] = {"source": source, "output": output or None, "status": outcome.status, **facts}
        if outcome.notes:
            line["notes"] = outcome.notes
        if outcome.error is not None:
            line |= {"error": outcome.error, "kind": outcome.error_kind, "exit_code": outcome.exit_code}
        if outcome.status == "failed":
            summary.kinds[outcome.error_kind or ""] += 1
        heapq.heappush(self._waiting, (number, json.dumps(line)))
        while self._waiting and self._waiting[0][0] == self._next:
            self._lines.write(heapq.heappop(self._waiting)[1] + "\n")
            self._next += 1


def failures(report: Path) -> Iterator[tuple[str, str]]:
    """The sources that failed and the reasons, out of a report."""
    with report.open(encoding="utf-8") as lines:
        for line in lines:
            entry = json.loads(line)
            if entry["status"] == "failed":
                yield entry["source"], entry["error"].removeprefix(f"{entry['source']}: ")


def write_table(summary: Summary, report: Path, table: TextIO) -> None:
    """Write the report for people: totals, kinds of failures, and each failure with its reason."""
    counts = summary.counts
    rows = [("files", summary.files), *((name, counts[name]) for name in ("done", "skipped", "failed"))]
    rows += [
        ("frames", summary.frames),
        ("bytes in", summary.source_bytes),
        ("bytes out", summary.made_bytes),
    ]
    rows += [(f"failed: {kind}", count) for kind, count in sorted(summary.kinds.items())]
    width = max(len(name) for name, _ in rows)
    table.writelines(f"{name:{width}}  {value:>15,}\n" for name, value in rows)
    table.writelines(f"\n{source}\n    {reason}\n" for source, reason in failures(report))
