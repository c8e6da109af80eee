"""Votes in SQLite: append-only, one for each rater and trial, whatever browsers repeat."""

from __future__ import annotations

import sqlite3
import threading
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

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
    """The votes of a file, for use from several threads. Every vote is on disk when `add` returns."""

    def __init__(self, path: Path, *, must_exist: bool = False) -> None:
        if must_exist and not path.is_file():
            raise VotesError(f"{path}: no such file")
        self._path = path
        self._lock = threading.Lock()
        try:
            self._connection = sqlite3.connect(
                path, check_same_thread=False, isolation_level=None, timeout=30
            )
            self._connection.execute("PRAGMA journal_mode=WAL")
            self._connection.execute("PRAGMA synchronous=FULL")
            self._connection.executescript(_SCHEMA)
        except sqlite3.Error as error:
            raise VotesError(f"{path}: {error}") from error

    def add(self, vote: Vote) -> Vote:
        """File a vote; returns the one that counts, which is an earlier one of this rater on this trial."""
        own = (vote.study, vote.rater, vote.trial)
        values = (*own, vote.clip, vote.left, vote.right, vote.winner, vote.seconds, _now())
        try:
            with self._lock:
                self._connection.execute(
                    "INSERT OR IGNORE INTO votes (study, rater, trial, clip, left_codec, right_codec, winner,"
                    " seconds, at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
                    values,
                )
                return self._read("WHERE study = ? AND rater = ? AND trial = ?", own)[0]
        except sqlite3.Error as error:
            raise VotesError(f"{self._path}: {error}") from error

    def of(self, study: str, rater: str) -> list[Vote]:
        """The votes of one rater in one study, in their order."""
        with self._lock:
            return self._read("WHERE study = ? AND rater = ?", (study, rater))

    def all(self) -> list[Vote]:
        """All votes in their order."""
        try:
            with self._lock:
                return self._read("", ())
        except sqlite3.Error as error:
            raise VotesError(f"{self._path}: {error}") from error

    def _read(self, where: str, values: tuple[str, ...]) -> list[Vote]:
        columns = "study, rater, trial, clip, left_codec, right_codec, winner, seconds"
        query = f"SELECT {columns} FROM votes {where} ORDER BY id"
        return [Vote(*row) for row in self._connection.execute(query, values)]

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._connection.close()


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")
