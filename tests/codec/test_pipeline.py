"""Stages beside each other: order, bounds, errors, and an end at any time."""

from __future__ import annotations

from contextlib import closing

import pytest

from lfqcodec.codec.pipeline import ahead, behind


class Broken(Exception):
    pass


def numbers(count, made, *, fails=False):
    try:
        for number in range(count):
            made.append(number)
            yield number
        if fails:
            raise Broken
    finally:
        made.append("closed")


def test_items_come_in_order_and_errors_after_them():
    made = []
    assert list(ahead(numbers(50, made), 3)) == list(range(50))
    got = []
    with pytest.raises(Broken):
        got.extend(ahead(numbers(5, made, fails=True), 3))
    assert got == list(range(5))


def test_no_more_is_made_than_there_is_room_for():
    made = []
    with closing(ahead(numbers(50, made), 2)) as items:
        assert next(items) == 0
    # One was taken, two wait, one waits for room.
    assert made[-1] == "closed"
    assert len(made) <= 5


def test_all_is_taken_in_order():
    taken = []
    with behind(taken.append, 2) as put:
        for number in range(50):
            put(number)
    assert taken == list(range(50))


def test_what_taking_raises_comes_out():
    def take(number):
        if number == 3:
            raise Broken

    def work():
        with behind(take, 1) as put:
            for number in range(50):
                put(number)

    with pytest.raises(Broken):
        work()
