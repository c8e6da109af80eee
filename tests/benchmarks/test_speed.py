"""`benchmarks speed` and `stages` on tiny videos: every figure is there and follows from the others."""

from __future__ import annotations

import json
import sys

import pytest
from codec_support import benchmarks


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str, dict]:
    out = tmp_path_factory.mktemp("speed") / "speed.json"
    plot = out.with_name("growth.png")
    done = benchmarks(
        *("speed", "--codecs", "lfq,lfq-fast,x265-medium", "--sizes", "64x48", "--seconds", "0.2,0.4,200"),
        *("--limit", 60, "--out", out, "--plot", plot, "--crf", 30),
    )
    assert done.returncode == 0, done.stderr
    assert plot.read_bytes().startswith(b"\x89PNG")
    return done.stdout, done.stderr, json.loads(out.read_text())


def test_rows(measured: tuple[str, str, dict]) -> None:
    text, _, record = measured
    ours = [row for row in record["rows"] if row["codec"] == "lfq"]
    assert [(row["frames"], row["video_seconds"]) for row in ours[:2]] == [(5, 0.2), (10, 0.4)]
    fast = [row for row in record["rows"] if row["codec"] == "lfq-fast"]
    assert [row["setting"] for row in fast] == ["crf=30"] * len(fast)
    assert fast[0]["bytes"] != ours[0]["bytes"]
    for row in record["rows"]:
        assert row["bytes"] > 100
        for direction in ("encode", "decode"):
            assert row[direction]["seconds"] > 0
            assert row[direction]["peak_mib"] > 10
    first = ours[0]
    line = next(line for line in text.splitlines() if " lfq " in line)
    assert f"{5 / first['encode']['seconds']:.2f}" in line
    reference = next(row for row in record["rows"] if row["codec"] == "x265-medium")
    assert f"{first['encode']['seconds'] / reference['encode']['seconds']:.2f}x" in line


def test_what_takes_too_long_is_named(measured: tuple[str, str, dict]) -> None:
    _, errors, record = measured
    assert any(text.startswith("lfq 64x48 200 s: would take about") for text in record["left_out"])
    assert "left out: lfq 64x48 200 s" in errors


def test_stages_share_the_time(measured: tuple[str, str, dict]) -> None:
    result = measured[2]["stages"]["64x48"]
    actions = result["actions"]
    assert set(actions) == {"encode", "decode mp4", "decode y4m", "verify"}
    for action in actions.values():
        # The main thread fills the time, others run beside it.
        assert sum(action["parts"].values()) > 0.98
        picture = 1000 * action["watched_seconds"] / result["frames"]
        for part, share in action["parts"].items():
            assert action["ms"][part] == pytest.approx(picture * share, rel=0.02, abs=0.02)
    both = {"compensation", "intra decoder", "anchor decoder", "between decoder", "prior", "rANS", "writing"}
    assert both <= set(actions["decode y4m"]["parts"])
    assert actions["decode y4m"]["floor_ms"]["intra decoder"] > 0
    assert "writing" not in actions["decode y4m"]["floor_ms"]
    search = {"reading", "motion search", "anchor encoder", "between encoder", "quantization"}
    assert both | search <= set(actions["encode"]["parts"])
    assert {"reading", "prior", "rANS"} <= set(actions["verify"]["parts"])
    assert "motion search" not in actions["decode y4m"]["parts"]
    if sys.platform == "linux":
        assert result["search_mib"] >= 0


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("--sizes", "640"), "640x360"),
        (("--seconds", "ten"), "2,10,60"),
        (("--seconds", "0"), "above 0"),
        (("--codecs", "h267"), "no codec"),
    ],
)
def test_wrong_requests(arguments: tuple[str, str], expected: str) -> None:
    done = benchmarks("speed", *arguments)
    assert done.returncode == 1
    assert expected in done.stderr.splitlines()[-1]
