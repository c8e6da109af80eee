"""Ratings from votes: Elo, and Bradley-Terry beside it, with bootstrap intervals.

Elo as in Elo and Sloan, The Rating of Chessplayers (1978): expected score 1 / (1 + 10^(-d/400)), K = 32,
all begin at 1500. Its result depends on the order of the games, so it is the mean over random orders.
Bradley-Terry (1952) is the maximum likelihood of the same model, by Hunter's MM iteration (2004), on the same
scale with mean 1500. Half a win each way between codecs that met is added, so that one that always won gets a
finite rating.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from benchmarks.rating.store import Vote
from lfqcodec.errors import LfqError

START, K, SCALE = 1500.0, 32.0, 400.0
_ORDERS = 100
# What is left of the order of the games after so few widens the intervals of Elo a little.
_BOOTSTRAP_ORDERS = 20
_ITERATIONS = 10_000
_MANY_RATERS = 5
# Games in memory at once, over all resamples and orders.
_BATCH = 2_000_000

Games = NDArray[np.int64]
"""[..., n, 2]: winner and loser of each vote, as numbers of codecs; -1 where there is no vote."""
Floats = NDArray[np.float64]


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
    """All codecs, the best first. `resampled`: "raters" or "votes". `wins` [n, n]: row won against column.

    `left_out` of the `bootstrap` resamples had codecs without a common scale and count for nothing.
    """

    rows: tuple[Rating, ...]
    votes: int
    raters: int
    studies: int
    resampled: str
    bootstrap: int
    left_out: int
    codecs: tuple[str, ...]
    wins: list[list[int]]


def elo(games: Games, codecs: int, dice: np.random.Generator, orders: int) -> Floats:
    """Mean Elo over random orders of each list of games [..., n, 2]: float [..., codecs]."""
    *outer, count, _ = games.shape
    lists = games.reshape(-1, count, 2)
    ratings = np.full((len(lists), orders, codecs), START)
    shuffled = np.empty((len(lists), orders, count), np.int32)
    shuffled[:] = np.arange(count)
    dice.permuted(shuffled, axis=2, out=shuffled)
    which, order = np.arange(len(lists))[:, None], np.arange(orders)[None]
    for step in range(count):
        winner, loser = np.moveaxis(lists[which, shuffled[:, :, step]], -1, 0)
        ahead = ratings[which, order, winner] - ratings[which, order, loser]
        gain = np.where(winner < 0, 0.0, K / (1 + 10 ** (ahead / SCALE)))
        ratings[which, order, winner] += gain
        ratings[which, order, loser] -= gain
    mean: Floats = ratings.mean(1).reshape(*outer, codecs)
    return mean


def bradley_terry(wins: Floats) -> Floats:
    """Ratings with mean 1500 from each matrix of wins [..., n, n], by MM: float [..., n]."""
    met = (wins + wins.swapaxes(-1, -2)) > 0
    wins = wins + 0.5 * met
    total = wins + wins.swapaxes(-1, -2)
    strength = np.ones(wins.shape[:-1])
    for _ in range(_ITERATIONS):
        expected = (total / (strength[..., :, None] + strength[..., None, :])).sum(-1)
        fresh = wins.sum(-1) / expected
        fresh /= np.exp(np.log(fresh).mean(-1, keepdims=True))
        settled = np.abs(np.log(fresh / strength)).max() < 1e-9
        strength = fresh
        if settled:
            break
    scores: Floats = SCALE * np.log10(strength)
    centred: Floats = START + scores - scores.mean(-1, keepdims=True)
    return centred


def _matrix(games: Games, codecs: int) -> Floats:
    """How often each codec won against each, for every list of games: float [..., codecs, codecs]."""
    # One row and column more take the places without a vote.
    marks = np.eye(codecs + 1)[games]
    counted: Floats = (marks[..., 0, :].swapaxes(-1, -2) @ marks[..., 1, :])[..., :codecs, :codecs]
    return counted


def _connected(wins: Floats) -> NDArray[np.bool_]:
    """Whether all codecs met, if only through others, for each matrix of wins [..., n, n]."""
    reach = ((wins + wins.swapaxes(-1, -2) + np.eye(wins.shape[-1])) > 0).astype(np.float64)
    for _ in range(wins.shape[-1]):
        reach = np.minimum(reach @ reach, 1)
    return np.asarray((reach > 0).all((-1, -2)))


def _resamples(
    games: Games, rater: NDArray[np.int64], count: int, dice: np.random.Generator
) -> Iterator[Games]:
    """`count` lists of games drawn with replacement, in batches [b, n, 2]."""
    raters = int(rater.max()) + 1
    batch = max(1, _BATCH // (len(games) * _BOOTSTRAP_ORDERS))
    for begin in range(0, count, batch):
        size = min(batch, count - begin)
        if raters < _MANY_RATERS:
            yield games[dice.integers(len(games), size=(size, len(games)))]
            continue
        drawn = [
            np.concatenate([games[rater == one] for one in dice.integers(raters, size=raters)])
            for _ in range(size)
        ]
        # Raters gave unequal numbers of votes: the shorter lists are filled up.
        lists = np.full((size, max(map(len, drawn)), 2), -1)
        for row, own in zip(lists, drawn, strict=True):
            row[: len(own)] = own
        yield lists


def rate_votes(votes: Sequence[Vote], *, bootstrap: int = 1000, seed: int = 0) -> Ratings:
    """Ratings of all codecs in the votes, with intervals from `bootstrap` resamples.

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
    raters = {name: place for place, name in enumerate(sorted({vote.rater for vote in votes}))}
    rater = np.array([raters[vote.rater] for vote in votes])
    dice = np.random.default_rng(seed)
    point = elo(games, len(codecs), dice, _ORDERS), bradley_terry(wins)
    samples: tuple[list[Floats], list[Floats]] = [], []
    for lists in _resamples(games, rater, bootstrap, dice):
        again = _matrix(lists, len(codecs))
        usable = _connected(again)
        if usable.any():
            samples[0].append(elo(lists[usable], len(codecs), dice, _BOOTSTRAP_ORDERS))
            samples[1].append(bradley_terry(again[usable]))
    if not samples[0]:
        raise EloError("too few votes for intervals: no resample has all codecs on a common scale")
    low_high = [np.quantile(np.concatenate(kind), (0.025, 0.975), axis=0) for kind in samples]
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
        studies=len({vote.study for vote in votes}),
        resampled="raters" if len(raters) >= _MANY_RATERS else "votes",
        bootstrap=bootstrap,
        left_out=bootstrap - sum(map(len, samples[0])),
        codecs=tuple(codecs),
        wins=wins.astype(int).tolist(),
    )
