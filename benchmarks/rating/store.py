"""Votes in SQLite: append-only, one for each rater and trial, whatever browsers repeat."""

from __future__ import annotations

import sqlite3
import threading
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from lfqcodec.errors import LfqError

_SCHEMA = """
CREATE TABLE IF NOT EXISTS votes (
  id INTEGER PRIMARY KEY,
  study TEXT NOT NULL,
  rater TEXT NOT NULL,
  trial TEXT NOT NULL,
  clip TEXT NOT NULL,
  left_codec TEXT NOT NULL,
  right_codec TEXT NOT NULL,
  winner TEXT NOT NULL CHECK (winner IN (left_codec, right_codec)),
  seconds REAL NOT NULL,
  at TEXT NOT NULL,
  UNIQUE (study, rater, trial)
);
-- An INSERT OR REPLACE would take the old row away without asking the trigger for DELETE.
CREATE TRIGGER IF NOT EXISTS votes_first BEFORE INSERT ON votes
  WHEN EXISTS (SELECT 1 FROM votes WHERE id = NEW.id
    OR (study = NEW.study AND rater = NEW.rater AND trial = NEW.trial))
  BEGIN SELECT RAISE(IGNORE); END;
CREATE TRIGGER IF NOT EXISTS votes_stay BEFORE UPDATE ON votes
  BEGIN SELECT RAISE(ABORT, 'votes are append-only'); END;
CREATE TRIGGER IF NOT EXISTS votes_remain BEFORE DELETE ON votes
  BEGIN SELECT RAISE(ABORT, 'votes are append-only'); END;
"""


class VotesError(LfqError):
    """A file of votes cannot be read or written."""


@dataclass(frozen=True)
class Vote:
    """`rater` preferred `winner` over the other codec on a clip, `seconds` after the videos began."""

    study: str
    rater: str
    trial: str
    clip: str
    left: str
    right: str
    winner: str
    seconds: float

    @property
    def loser(self) -> str:
        """The codec that was not chosen."""
        return self.right if self.winner == self.left else self.left


class Votes:
    """The votes of a file, for use from several threads. Every vote is on disk when `add` returns.

    With `read_only` the file must be there, and nothing is changed in it.
    """

    def __init__(self, path: Path, *, read_only: bool = False) -> None:
        if read_only and not path.is_file():
            raise VotesError(f"{path}: no such file")
        self._path = path
        self._lock = threading.Lock()
        try:
            self._connection = sqlite3.connect(
                path, check_same_thread=False, isolation_level=None, timeout=30
            )
            if read_only:
                # Not SQLite's own read-only mode, which cannot take up what a killed server left in its log.
                self._connection.execute("PRAGMA query_only=ON")
            else:
                self._connection.execute("PRAGMA journal_mode=WAL")
                self._connection.execute("PRAGMA synchronous=FULL")
                self._connection.executescript(_SCHEMA)
        except sqlite3.Error as error:
            raise VotesError(f"{path}: {error}") from error

    def add(self, vote: Vote) -> Vote:
        """File a vote; returns the one that counts, which is an earlier one of this rater on this trial.

        Raises `VotesError`, as all methods do.
        """
        own = (vote.study, vote.rater, vote.trial)
        values = (*own, vote.clip, vote.left, vote.right, vote.winner, vote.seconds, _now())
        self._run(
            "INSERT INTO votes (study, rater, trial, clip, left_codec, right_codec, winner, seconds, at)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
            values,
        )
        return self._read("WHERE study = ? AND rater = ? AND trial = ?", own)[0]

    def of(self, study: str, rater: str) -> list[Vote]:
        """The votes of one rater in one study, in their order."""
        return self._read("WHERE study = ? AND rater = ?", (study, rater))

    def all(self) -> list[Vote]:
        """All votes in their order."""
        return self._read("", ())

    def _read(self, where: str, values: tuple[str, ...]) -> list[Vote]:
        columns = "study, rater, trial, clip, left_codec, right_codec, winner, seconds"
        return [Vote(*row) for row in self._run(f"SELECT {columns} FROM votes {where} ORDER BY id", values)]

    def _run(self, statement: str, values: tuple[str | float, ...]) -> list[tuple[Any, ...]]:
        try:
            with self._lock:
                return self._connection.execute(statement, values).fetchall()
        except sqlite3.Error as error:
            raise VotesError(f"{self._path}: {error}") from error

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._connection.close()


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")
