"""Ratings of simulated raters with known strengths, and of votes counted by hand."""

from __future__ import annotations

import json
import math
import sqlite3
from pathlib import Path

import numpy as np
import pytest
from codec_support import benchmarks

from benchmarks.rating.elo import EloError, bradley_terry, elo, rate_votes
from benchmarks.rating.store import Vote, Votes

TRUE = {"a": 1650.0, "b": 1500.0, "c": 1350.0}


def vote(rater: str, number: int, winner: str, loser: str) -> Vote:
    return Vote("study", rater, f"{number}", f"clip{number}", winner, loser, winner, 3.0)


def simulate(dice: np.random.Generator, raters: int, trials: int) -> list[Vote]:
    votes = []
    names = list(TRUE)
    for rater in range(raters):
        for number in range(trials):
            first, second = dice.choice(3, 2, replace=False)
            expected = 1 / (1 + 10 ** ((TRUE[names[second]] - TRUE[names[first]]) / 400))
            pair = (first, second) if dice.random() < expected else (second, first)
            votes.append(vote(f"rater{rater}", number, names[pair[0]], names[pair[1]]))
    return votes


def test_one_game_by_hand() -> None:
    ratings = elo(np.array([[0, 1]]), 2, np.random.default_rng(0), 3)
    assert ratings.tolist() == [1516, 1484]
    # The second win in a row is expected with 1 / (1 + 10^(-32/400)).
    again = elo(np.array([[0, 1], [0, 1]]), 2, np.random.default_rng(0), 3)
    assert again[0] == pytest.approx(1516 + 32 * (1 - 1 / (1 + 10 ** (-32 / 400))))


def test_bradley_terry_of_two_by_hand() -> None:
    # 29 to 9, with half a win each way 29.5 to 9.5: the odds are the strengths.
    ratings = bradley_terry(np.array([[0.0, 29], [9, 0]]))
    assert ratings[0] - ratings[1] == pytest.approx(400 * math.log10(29.5 / 9.5), abs=1e-5)
    assert ratings.mean() == pytest.approx(1500)


def test_known_strengths_are_found() -> None:
    ratings = rate_votes(simulate(np.random.default_rng(1), 40, 60), bootstrap=200)
    assert [row.codec for row in ratings.rows] == ["a", "b", "c"]
    for row in ratings.rows:
        assert row.bradley_terry == pytest.approx(TRUE[row.codec], abs=30)
        assert row.elo == pytest.approx(TRUE[row.codec], abs=60)
        assert row.bradley_terry_low < row.bradley_terry < row.bradley_terry_high
        assert row.elo_low < row.elo < row.elo_high
    assert ratings.resampled == "raters"
    assert sum(row.wins for row in ratings.rows) == ratings.votes == 2400


def test_intervals_hold_what_they_promise() -> None:
    """Of 60 studies, the 95% intervals have the true strength about as often as they say."""
    dice = np.random.default_rng(2)
    inside = total = 0
    for _ in range(60):
        for row in rate_votes(simulate(dice, 25, 12), bootstrap=100).rows:
            inside += row.bradley_terry_low <= TRUE[row.codec] <= row.bradley_terry_high
            total += 1
    assert 0.88 <= inside / total <= 0.99


def test_same_seed_same_ratings() -> None:
    votes = simulate(np.random.default_rng(3), 3, 10)
    assert rate_votes(votes, bootstrap=20, seed=5) == rate_votes(votes, bootstrap=20, seed=5)
    assert rate_votes(votes, bootstrap=20).resampled == "votes"


def test_one_that_always_wins_is_finite() -> None:
    rows = rate_votes([vote("x", number, "a", "b") for number in range(20)], bootstrap=20).rows
    assert rows[0].codec == "a"
    assert rows[0].bradley_terry - rows[1].bradley_terry == pytest.approx(400 * math.log10(41), abs=1e-4)


def test_lists_of_games_at_once_are_as_one_by_one() -> None:
    games = np.array([[[0, 1], [1, 2], [2, 0]], [[0, 1], [0, 2], [-1, -1]]])
    together = elo(games, 3, np.random.default_rng(0), 2000)
    alone = [elo(own[own[:, 0] >= 0], 3, np.random.default_rng(1), 2000) for own in games]
    assert np.abs(together - alone).max() < 0.5
    wins = np.array([[[0.0, 4, 1], [1, 0, 2], [3, 0, 0]], [[0, 1, 0], [0, 0, 9], [0, 1, 0]]])
    assert bradley_terry(wins) == pytest.approx(np.stack([bradley_terry(own) for own in wins]), abs=1e-5)


def test_raters_with_unequal_numbers_of_votes() -> None:
    votes = simulate(np.random.default_rng(6), 6, 10)
    shorter = [vote for vote in votes if vote.rater != "rater0" or vote.trial == "0"]
    ratings = rate_votes(shorter, bootstrap=50)
    assert (ratings.votes, ratings.resampled, ratings.left_out) == (51, "raters", 0)


def test_what_cannot_be_rated() -> None:
    with pytest.raises(EloError, match="no votes"):
        rate_votes([])
    with pytest.raises(EloError, match="never compared"):
        rate_votes([vote("x", 1, "a", "b"), vote("x", 2, "c", "d")])


def test_command(tmp_path: Path) -> None:
    path = tmp_path / "votes.sqlite"
    votes = Votes(path)
    for one in simulate(np.random.default_rng(4), 6, 8):
        votes.add(one)
    votes.close()
    done = benchmarks("elo", path, "--bootstrap", 20)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[0].startswith("48 votes of 6 raters")
    table = [line.split() for line in done.stdout.splitlines()]
    place = table.index(["a", "b", "c"])
    cells = np.array([[0 if cell == "-" else int(cell) for cell in line[1:]] for line in table[place + 1 :]])
    assert cells.sum() == 48
    # Wins in the first table are the sums of the rows of the second.
    assert [int(line[1]) for line in table[2:5]] == cells.sum(1).tolist()
    record = json.loads(benchmarks("elo", path, "--bootstrap", 20, "--json").stdout)
    assert {row["codec"] for row in record["rows"]} == set(TRUE)
    assert record["wins"] == cells.tolist()
    other = tmp_path / "other.sqlite"
    with sqlite3.connect(other) as connection:
        connection.execute("CREATE TABLE other (x)")
    connection.close()
    assert "no such table" in benchmarks("elo", other).stderr
    with sqlite3.connect(other) as connection:
        assert connection.execute("SELECT name FROM sqlite_master").fetchall() == [("other",)]
    connection.close()
    for given, expected in ((tmp_path / "none", "no such file"), (Path(__file__), "not a database")):
        done = benchmarks("elo", given)
        assert done.returncode == 1
        assert expected in done.stderr
        assert "Traceback" not in done.stderr
