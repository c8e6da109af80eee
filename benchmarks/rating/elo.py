"""Ratings from votes: Elo, and Bradley-Terry beside it, with bootstrap intervals.

Elo as in Elo and Sloan, The Rating of Chessplayers (1978): expected score 1 / (1 + 10^(-d/400)), K = 32,
all begin at 1500. Its result depends on the order of the games, so it is the mean over random orders.
Bradley-Terry (1952) is the maximum likelihood of the same model, by Hunter's MM iteration (2004), on the same
scale with mean 1500. Half a win each way between codecs that met is added, so that one that always won gets a
finite rating.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from benchmarks.rating.store import Vote
from lfqcodec.errors import LfqError

START, K, SCALE = 1500.0, 32.0, 400.0
_ORDERS = 100
_BOOTSTRAP_ORDERS = 5
_ITERATIONS = 10_000
_MANY_RATERS = 5

Games = NDArray[np.int64]
"""[n, 2]: winner and loser of each vote, as numbers of codecs."""


class EloError(LfqError):
    """These votes do not give ratings."""


@dataclass(frozen=True)
class Rating:
    """One codec; the intervals are 95%, by bootstrap."""

    codec: str
    wins: int
    losses: int
    elo: float
    elo_low: float
    elo_high: float
    bradley_terry: float
    bradley_terry_low: float
    bradley_terry_high: float


@dataclass(frozen=True)
class Ratings:
    """All codecs, the best first. `resampled`: "raters" or "votes". `wins` [n, n]: row won against column."""

    rows: tuple[Rating, ...]
    votes: int
    raters: int
    resampled: str
    codecs: tuple[str, ...]
    wins: list[list[int]]


def elo(games: Games, codecs: int, dice: np.random.Generator, orders: int) -> NDArray[np.float64]:
    """Mean Elo over random orders of the games: float [codecs]."""
    ratings = np.full((orders, codecs), START)
    shuffled = np.stack([dice.permutation(len(games)) for _ in range(orders)])
    every = np.arange(orders)
    for step in range(len(games)):
        winner, loser = games[shuffled[:, step]].T
        surprise = 1 / (1 + 10 ** ((ratings[every, winner] - ratings[every, loser]) / SCALE))
        ratings[every, winner] += K * surprise
        ratings[every, loser] -= K * surprise
    mean: NDArray[np.float64] = ratings.mean(0)
    return mean


def bradley_terry(wins: NDArray[np.float64]) -> NDArray[np.float64]:
    """Ratings with mean 1500 from a matrix of wins [n, n], by MM: float [n]."""
    met = (wins + wins.T) > 0
    wins = wins + 0.5 * met
    total = wins + wins.T
    strength = np.ones(len(wins))
    for _ in range(_ITERATIONS):
        expected = (total / (strength[:, None] + strength)).sum(1)
        fresh = wins.sum(1) / expected
        fresh /= np.exp(np.log(fresh).mean())
        settled = np.abs(np.log(fresh / strength)).max() < 1e-9
        strength = fresh
        if settled:
            break
    scores: NDArray[np.float64] = SCALE * np.log10(strength)
    centred: NDArray[np.float64] = START + scores - scores.mean()
    return centred


def _matrix(games: Games, codecs: int) -> NDArray[np.float64]:
    wins = np.zeros((codecs, codecs))
    np.add.at(wins, (games[:, 0], games[:, 1]), 1)
    return wins


def _connected(wins: NDArray[np.float64]) -> bool:
    reach = (wins + wins.T + np.eye(len(wins))) > 0
    for _ in range(len(wins)):
        reach = (reach.astype(np.int64) @ reach.astype(np.int64)) > 0
    return bool(reach.all())


def rate_votes(votes: Sequence[Vote], *, bootstrap: int = 1000, seed: int = 0) -> Ratings:
    """Ratings of all codecs in the votes.

    Resampled are raters, where there are at least five, since the votes of one person belong together; else
    votes. Raises `EloError` without votes, and where codecs fall into groups that never met.
    """
    if not votes:
        raise EloError("there are no votes")
    codecs = sorted({name for vote in votes for name in (vote.left, vote.right)})
    number = {name: place for place, name in enumerate(codecs)}
    games = np.array([[number[vote.winner], number[vote.loser]] for vote in votes])
    wins = _matrix(games, len(codecs))
    if not _connected(wins):
        raise EloError("some codecs were never compared, not even through others: no common scale")
    raters = sorted({vote.rater for vote in votes})
    by_rater = [np.flatnonzero([vote.rater == rater for vote in votes]) for rater in raters]
    dice = np.random.default_rng(seed)
    point = elo(games, len(codecs), dice, _ORDERS), bradley_terry(wins)
    samples: list[list[NDArray[np.float64]]] = [[], []]
    for _ in range(bootstrap):
        if len(raters) >= _MANY_RATERS:
            picked = np.concatenate([by_rater[i] for i in dice.integers(len(raters), size=len(raters))])
        else:
            picked = dice.integers(len(games), size=len(games))
        again = _matrix(games[picked], len(codecs))
        if _connected(again):
            samples[0].append(elo(games[picked], len(codecs), dice, _BOOTSTRAP_ORDERS))
            samples[1].append(bradley_terry(again))
    low_high = [
        np.quantile(np.stack(kind), (0.025, 0.975), axis=0) if kind else np.full((2, len(codecs)), np.nan)
        for kind in samples
    ]
    rows = [
        Rating(
            name,
            int(wins[i].sum()),
            int(wins[:, i].sum()),
            *(float(value) for value in (point[0][i], *low_high[0][:, i])),
            *(float(value) for value in (point[1][i], *low_high[1][:, i])),
        )
        for i, name in enumerate(codecs)
    ]
    rows.sort(key=lambda row: -row.bradley_terry)
    return Ratings(
        rows=tuple(rows),
        votes=len(votes),
        raters=len(raters),
        resampled="raters" if len(raters) >= _MANY_RATERS else "votes",
        codecs=tuple(codecs),
        wins=wins.astype(int).tolist(),
    )
