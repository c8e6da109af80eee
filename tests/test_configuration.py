"""Values read from JSON: the right types, or one clear reason why not."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Any

import pytest

from lfqcodec.configuration import JsonConfig, from_values
from lfqcodec.errors import WeightsError


@dataclass(frozen=True)
class Values:
    whole: int
    flag: bool
    share: float
    name: str
    sizes: tuple[int, ...]
    measured: list[float]
    state: dict[str, Any]


GOOD = Values(3, True, 0.5, "a", (1, 2), [1.5], {"level": 2})


@dataclass(frozen=True)
class Config(JsonConfig):
    expansion: int = 2
    shares: tuple[float, ...] = (0.5,)


def test_what_is_written_is_read():
    assert from_values(Values, json.loads(json.dumps(asdict(GOOD)))) == GOOD
    assert Config.from_json(Config(4, (0.25, 1.0)).to_json()) == Config(4, (0.25, 1.0))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"whole": 2.5}, "whole must be an integer, not 2.5"),
        ({"whole": True}, "whole must be an integer"),
        ({"flag": 1}, "flag must be true or false"),
        ({"share": 1}, "share must be a number with a decimal point"),
        ({"name": None}, "name must be a text"),
        ({"sizes": [1, "2"]}, "sizes must be a list of integers"),
        ({"measured": [1.5, None]}, "measured must be a list of numbers"),
        ({"measured": {}}, "measured must be a list of numbers"),
        ({"state": []}, "state must be an object"),
        ({"more": 1}, "more is missing or unknown"),
    ],
)
def test_what_is_of_another_type_is_told(changes, said):
    with pytest.raises(ValueError, match=said):
        from_values(Values, json.loads(json.dumps(asdict(GOOD))) | changes)


@pytest.mark.parametrize("values", [[], 3, None, {"whole": 3}])
def test_what_is_no_such_object_is_told(values):
    with pytest.raises(ValueError, match="not a Values"):
        from_values(Values, values)


@pytest.mark.parametrize("text", ['{"expansion": 2.5, "shares": [0.5]}', '{"expansion": 2}', "[]", "{"])
def test_files_of_weights_are_untrusted(text):
    with pytest.raises(WeightsError):
        Config.from_json(text)
