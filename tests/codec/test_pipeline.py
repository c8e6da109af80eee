"""Stages beside each other: order, bounds, errors, and an end at any time."""

from __future__ import annotations

import os
from contextlib import closing

import pytest

from lfqcodec.codec.pipeline import ahead, behind, delayed, room


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


@pytest.mark.parametrize("depth", [0, 3])
def test_items_come_in_order_and_errors_after_them(depth):
    made = []
    assert list(ahead(numbers(50, made), depth)) == list(range(50))
    got = []
    with pytest.raises(Broken):
        got.extend(ahead(numbers(5, made, fails=True), depth))
    assert got == list(range(5))


def test_no_more_is_made_than_there_is_room_for():
    made = []
    with closing(ahead(numbers(50, made), 2)) as items:
        assert next(items) == 0
    # One was taken, two wait, one waits for room.
    assert made[-1] == "closed"
    assert len(made) <= 5


@pytest.mark.parametrize("depth", [0, 2])
def test_all_is_taken_in_order(depth):
    taken = []
    with behind(taken.append, depth) as put:
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


def test_what_waits_is_bounded_in_bytes_and_pipes_have_no_thread(tmp_path):
    assert room(tmp_path / "new.y4m", 64, 48) == 16
    assert room(tmp_path, 7680, 4320) == 1
    os.mkfifo(tmp_path / "pipe")
    assert room(tmp_path / "pipe", 64, 48) == room("-", 64, 48) == 0


def test_delayed_items_come_when_the_next_is_there():
    made, seen = [], []

    def items():
        for number in range(4):
            made.append(number)
            yield number
        raise ValueError("after 3")

    late = delayed(items(), lambda item: item == 1)
    seen.extend((next(late), made[-1]) for _ in range(4))
    with pytest.raises(ValueError, match="after 3"):
        next(late)
    assert seen == [(0, 1), (1, 1), (2, 3), (3, 3)]
