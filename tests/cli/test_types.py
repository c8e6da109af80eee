"""Texts of options: times, bitrates, numbers of bytes."""

from __future__ import annotations

from fractions import Fraction

import click
import pytest

from lfqcodec.cli.shared.types import bitrate, byte_count, positive_seconds, seconds


@pytest.mark.parametrize(
    ("text", "value"),
    [("12.5", "25/2"), (".4", "2/5"), ("3.", "3"), ("1:02.5", "125/2"), ("01:01:02.5", "7325/2"), ("0", "0")],
)
def test_times_as_players_write_them(text, value):
    assert seconds(text) == Fraction(value)


@pytest.mark.parametrize("text", ["", ".", ":", "1:", "1:2:3:4", "-1", "1e3", "5s", "1,5", "nan"])
def test_what_is_no_time(text):
    with pytest.raises(click.BadParameter, match="is not a time"):
        seconds(text)
    with pytest.raises(click.BadParameter):
        positive_seconds(text)


def test_no_time_at_all():
    with pytest.raises(click.BadParameter, match="over 0"):
        positive_seconds("0:00.0")


def test_amounts():
    assert (bitrate("300k"), bitrate("1.5M"), bitrate("250000")) == (300_000, 1_500_000, 250_000)
    assert (byte_count("60M"), byte_count("1.5g")) == (60_000_000, 1_500_000_000)
    for text in ("", "0", "k", "-5k", "3T", "1.5.2M"):
        with pytest.raises(click.BadParameter):
            bitrate(text)
        with pytest.raises(click.BadParameter):
            byte_count(text)
