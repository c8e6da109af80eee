"""`python -m benchmarks report`: mean curves, pictures, plots, page and command, on made-up results."""

from __future__ import annotations

import itertools
import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image
from report_support import FRAMES, RATES, SIZE, Copy, add, made_up, row, sha256, with_files, write_clip
from video_support import moving_picture

from benchmarks.report import command, viewer
from benchmarks.report.bd import METRICS
from benchmarks.report.curves import PAPER_BPP, mean_curves, table_at
from benchmarks.report.page import (
    Plots,
    compared,
    explanation,
    flat,
    number,
    percent,
    quality_words,
    rate_words,
    render,
    verdict,
)
from benchmarks.report.plots import mean_figure, small_figure, styles
from benchmarks.results import FILE, Results, ResultsError
from lfqcodec.errors import LfqError

PSNR, MS_SSIM, LPIPS, _ = METRICS


def run(*arguments: object):
    return CliRunner().invoke(command.report, [str(word) for word in arguments])


# Mean curves


def simple(folder: Path) -> Results:
    """Two sequences, one codec, two settings: figures that are easy to mean by hand."""
    results = Results(folder=folder, dataset="simple")
    for sequence, bpps in {"a": (0.02, 0.06), "b": (0.04, 0.08)}.items():
        for setting, bpp, psnr in zip(("low", "high"), bpps, (30.0, 34.0), strict=True):
            add(results, row("x", setting, sequence, bpp, psnr=psnr + bpp, ms_ssim=0.9, lpips=0.2))
    return results


def test_mean_curves(tmp_path):
    means = mean_curves(simple(tmp_path))
    assert means.sequences == ["a", "b"]
    low, high = means.curves["x"]
    assert (low.setting, high.setting) == ("low", "high")
    assert (low.bpp, high.bpp) == pytest.approx((0.03, 0.07))
    assert low.values.pop("lpips_shifted") is None
    assert low.values == pytest.approx({"psnr": 30.03, "ms_ssim": 0.9, "lpips": 0.2})


def test_means_are_of_the_same_sequences_everywhere(tmp_path):
    results = simple(tmp_path)
    del results.rows["x", "high", "b"]
    add(results, row("y", "one", "a", 0.05))
    add(results, row("y", "one", "b", 0.05))
    add(results, row("y", "tried once", "a", 0.05))
    means = mean_curves(results)
    assert means.sequences == ["a"]
    assert means.left_out == ["b: lacks x high and 1 more"]
    add(results, row("y", "one", "c", 0.05))
    means = mean_curves(results)
    assert means.left_out == [
        "x high: measured on 1 of 3 sequences, fewer than half",
        "y tried once: measured on 1 of 3 sequences, fewer than half",
        "c: lacks x low",
    ]
    assert {codec: [p.setting for p in curve] for codec, curve in means.curves.items()} == {
        "x": ["low"],
        "y": ["one"],
    }


def test_a_mean_needs_the_same_source_everywhere(tmp_path):
    results = simple(tmp_path)
    results.rows["x", "low", "a"] = replace(results.rows["x", "low", "a"], source_sha256="2" * 64)
    means = mean_curves(results)
    assert (means.sequences, means.left_out) == (["b"], ["a: not all measured on the same source"])


def test_a_codec_without_a_metric_is_named_below_its_mean_curves(tmp_path):
    results = made_up(tmp_path, 1)
    results.rows = {
        key: replace(own, lpips=None) if own.codec == "lfq" else own for key, own in results.rows.items()
    }
    text = render(command.analyse(results), Plots({"lpips": "<svg></svg>"}, {}), [])
    assert text.count("Not drawn: lfq, for which LPIPS was not measured on all of these sequences.") == 1
    assert text.count("Not drawn") == 1


def test_a_mean_needs_the_metric_everywhere(tmp_path):
    results = simple(tmp_path)
    results.rows["x", "low", "a"] = replace(results.rows["x", "low", "a"], lpips=None, psnr=float("inf"))
    values = mean_curves(results).curves["x"][0].values
    assert values == {"psnr": None, "ms_ssim": pytest.approx(0.9), "lpips": None, "lpips_shifted": None}


def test_table_of_one_rate(tmp_path):
    results = Results(folder=tmp_path, dataset="line")
    for codec, scale in (("x", 1.0), ("far", 4.0)):
        for step in range(3):
            bpp = scale * PAPER_BPP * 2.0 ** (step - 1.25)
            values = {"ms_ssim": 1 - 10 ** -(1 + step / 10), "lpips": 0.4 - 0.1 * step}
            add(results, row(codec, f"{step}", "a", bpp, psnr=30.0 + 3 * step, **values))
    near, far = table_at(mean_curves(results))
    assert (near.codec, near.nearest.setting) == ("x", "1")
    # Straight in log rate: 1.25 steps up from the first point.
    assert near.interpolated["psnr"] == pytest.approx(33.75)
    assert near.interpolated["lpips"] == pytest.approx(0.275)
    assert near.interpolated["ms_ssim"] == pytest.approx(1 - 10**-1.125)
    assert (far.nearest.setting, set(far.interpolated.values())) == ("0", {None})


# Words and numbers


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        (["crf=10", "crf=8"], "crf 8, 10"),
        (["qp=30", "crf=8"], "crf=8, qp=30"),
        (["slow", "crf=8"], "slow, crf=8"),
    ],
)
def test_settings_in_words(tmp_path, settings, expected):
    results = Results(folder=tmp_path, dataset="d")
    for setting in settings:
        add(results, row("x", setting, "a", 0.1))
    assert compared(results)[-1] == ("x", expected)


def test_numbers():
    assert [number(None), number(-1.234), number(2, 0)] == ["\N{EN DASH}", "\N{MINUS SIGN}1.23", "2"]
    assert [percent(12.34), percent(-5), percent(220.4)] == ["+12.3 %", "\N{MINUS SIGN}5.0 %", "+220 %"]
    assert flat({"a_b": {"c": 1, "d": [1, 2]}, "e": None}) == [
        ("a b c", "1"),
        ("a b d", "1, 2"),
        ("e", "None"),
    ]


def test_words(tmp_path):
    def spoken(factor: float, metric, shake: float = 0.0):
        results = Results(folder=tmp_path, dataset="words")
        for index, sequence in enumerate("abcd"):
            for step in range(5):
                values = {"psnr": 30.0 + 3 * step, "lpips": 0.5 - 0.1 * step}
                own = factor * (1 + shake * (-1) ** index)
                add(results, row("x265", f"{step}", sequence, 0.1 * 2**step, **values))
                add(results, row("lfq", f"{step}", sequence, own * 0.1 * 2**step, **values))
        found = command.compare(results, "x265", "lfq", metric)
        return rate_words(found, metric), quality_words(found, metric), verdict(found, metric)

    rate, quality, winner = spoken(3.2, PSNR, 0.01)
    assert rate == "needs 3.2 times the bits of x265 at equal PSNR"
    assert re.fullmatch(r"has 5\.0\d dB lower PSNR \(worse\) than x265 at equal bits", quality)
    assert winner == "x265 wins"
    assert spoken(1.2, PSNR, 0.01)[0] == "needs 20 % more bits than x265 at equal PSNR"
    rate, quality, winner = spoken(0.5, LPIPS, 0.01)
    assert rate == "needs 50 % fewer bits than x265 at equal LPIPS"
    assert quality == "has 0.100 lower LPIPS (better) than x265 at equal bits"
    assert winner == "lfq wins"
    rate, _, winner = spoken(1.001, PSNR, 0.2)
    assert winner == "no clear winner, the interval includes no difference"
    assert spoken(1.0, MS_SSIM)[2] == "not measured"
    assert "refused on every sequence" in spoken(1000.0, PSNR)[1]
    results = Results(folder=tmp_path, dataset="nothing in common")
    for codec, start in (("x265", 0), ("lfq", 100)):
        for step in (1, 2):
            add(results, row(codec, f"{step}", "a", 1.0 * step + start, psnr=30.0 + step - start / 10))
    found = command.compare(results, "x265", "lfq", PSNR)
    assert verdict(found, PSNR) == "no figure, every sequence was refused"
    assert explanation(found, PSNR).startswith(
        "For one, a: too little common range of PSNR in dB: none is (x265"
    )


# Plots


def test_plots_are_the_same_each_time_and_the_colours_too():
    curves = {"lfq": [(0.01, 0.5), (0.1, 0.2)], "x265-medium": [(0.02, 0.4), (0.2, 0.1)]}
    looks = styles(["lfq", "svtav1-8", "x265-medium", "x265-veryslow", "other", "another"])
    assert looks["x265-medium"].colour == looks["x265-veryslow"].colour
    assert looks["x265-medium"].dash != looks["x265-veryslow"].dash
    assert len({look.marker for look in looks.values()}) == len(looks)
    assert styles(["x265-medium", "lfq"])["lfq"].colour == looks["lfq"].colour
    one, two = (mean_figure(LPIPS, curves, looks, 2) for _ in range(2))
    assert one == two
    assert "lower is better" in one.svg
    assert "<dc:date>" not in one.svg
    assert not re.search(r"[ \t]$", one.svg, re.MULTILINE)
    inline = one.inline("a")
    assert set(re.findall(r'\bid="(..)', inline)) == {"a-"}
    assert not re.search(r"#(?!a-)[\w-]+\)|width=\"\d+\.?\d*pt", inline)
    assert "currentColor" in inline
    assert small_figure(PSNR, "a <b> $x$ & c", curves, looks).png is None
    assert "a &lt;b&gt; $x$ &amp; c" in small_figure(PSNR, "a <b> $x$ & c", curves, looks).svg


@pytest.mark.parametrize("octaves", [1, 2, 3, 4, 5, 6, 8])
def test_numbers_at_the_rate_axis_do_not_run_together(octaves):
    looks = styles(["lfq"])
    for low in (0.0021, 0.0045):
        curves = {"lfq": [(low, 30.0), (low * 2**octaves, 40.0)]}
        for drawing in (mean_figure(PSNR, curves, looks, 2), small_figure(PSNR, "a", curves, looks)):
            axis = re.search(r'id="matplotlib.axis_1"(.*)id="matplotlib.axis_2"', drawing.svg, re.DOTALL)
            texts = re.findall(r'text-anchor: middle[^>]*? x="([\d.]+)"[^>]*>([\d.]+)</text>', axis[1])
            # Of 10 points; a digit of DejaVu Sans is 0.636 of that wide.
            spans = [(float(x) - 3.18 * len(text), float(x) + 3.18 * len(text)) for x, text in texts]
            assert len(spans) >= 2
            assert all(one[1] + 3 < two[0] for one, two in itertools.pairwise(spans)), texts


# Pictures


def test_closest_pair():
    def rows(codec, *bpps):
        return [row(codec, f"{bpp}", "a", bpp) for bpp in bpps]

    def pair(ours, anchor):
        found = viewer.closest_pair(rows("lfq", *ours), rows("x265", *anchor))
        return found and tuple(own.bpp for own in found)

    assert pair((0.05, 0.4), (0.06, 0.4)) == (0.05, 0.06)  # the band beats a closer pair far above it
    assert pair((0.05, 0.4), (0.2, 0.41)) == (0.4, 0.41)  # but not a poor match in the band
    assert pair((0.01, 0.06), (0.01, 0.06)) == (0.06, 0.06)
    assert pair((0.01,), (1.0,)) == (0.01, 1.0)
    assert pair((), (1.0,)) is None


def picture_of(shown: viewer.Shown) -> np.ndarray:
    import base64
    import io

    head, _, data = shown.picture.partition(",")
    assert head == "data:image/webp;base64"
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(data))).convert("RGB"), float)


def test_pictures_are_the_middle_frames_and_are_made_once(tmp_path):
    results = with_files(made_up(tmp_path, 1))
    log = tmp_path / "log"

    def get(name: str) -> Copy:
        return Copy(name, log)

    scene, notes = viewer.make_scene(results, "sequence_0", "lfq", "x265-medium", get)
    assert notes == []
    assert (scene.frame, scene.width, scene.height) == (FRAMES // 2, *SIZE)
    assert [shown.codec for shown in scene.shown] == ["source", "lfq", "x265-medium"]
    assert [shown.row and shown.row.bpp for shown in scene.shown] == [None, RATES[1] * 1.5, RATES[2]]
    for shown, offset in zip(scene.shown, (0, 20, 40), strict=True):
        expected = moving_picture(*SIZE, 8 * scene.frame + offset)
        assert np.abs(picture_of(shown) - expected).mean() < 3
    assert log.read_text() == "xx"
    again, _ = viewer.make_scene(results, "sequence_0", "lfq", "x265-medium", get)
    assert again == scene
    assert log.read_text() == "xx"
    # A row that was measured anew is decoded anew; a damaged picture is made again.
    own = scene.shown[1].row
    results.rows[own.key] = replace(own, fingerprint="new")
    for path in (tmp_path / viewer.FOLDER).iterdir():
        path.write_bytes(b"damaged")
    scene, _ = viewer.make_scene(results, "sequence_0", "lfq", "x265-medium", get)
    assert scene.shown[1].row.fingerprint == "new"
    assert log.read_text() == "xxxx"


def test_missing_pictures_are_told_and_the_rest_goes_on(tmp_path, monkeypatch):
    results = with_files(made_up(tmp_path, 4))
    monkeypatch.setattr(command, "get", lambda name: Copy(name, tmp_path / "log"))
    names = list(results.sequences)
    (tmp_path / results.sequences[names[0]].file).unlink()
    for key, own in results.rows.items():
        if own.sequence == names[1] and own.codec == "lfq":
            (tmp_path / own.file).write_bytes(b"other bytes")
        if own.sequence == names[2]:
            (tmp_path / own.file).write_bytes(b"no video")
            results.rows[key] = replace(own, file_sha256=sha256(tmp_path / own.file))
        if own.sequence == names[3]:
            results.rows[key] = replace(own, codec="lfq-stages")
    scenes, notes = command.look(command.analyse(results, "x265-medium"), [], {})
    assert [(s.sequence, [p.codec for p in s.shown]) for s in scenes] == [
        (names[0], ["lfq", "x265-medium"]),
        (names[1], ["source", "x265-medium"]),
    ]
    assert len(notes) == 5
    assert re.fullmatch(rf"{names[0]}: no picture of source: \S+ is not there", notes[0])
    assert re.fullmatch(rf"{names[1]}: no picture of lfq: \S+ is not the file that was measured", notes[1])
    assert all(re.match(rf"{names[2]}: no picture of (lfq|x265-medium): ", note) for note in notes[2:4])
    assert notes[4] == f"{names[3]}: no pictures, lfq and x265-medium not measured on it"


def test_pictures_through_the_real_registry(tmp_path):
    from benchmarks.codecs import get
    from benchmarks.process import run_process

    source = write_clip(tmp_path / "sources" / "a.mkv")
    coded = tmp_path / "files" / "a.h264"
    coded.parent.mkdir()
    codec = get("x264-medium")
    run_process(codec.encode_command(source, coded, "crf=5"))
    results = made_up(tmp_path, 1, ("lfq", "x264-medium"))
    name = "sequence_0"
    results.sequences[name] = replace(results.sequences[name], file="sources/a.mkv", sha256=sha256(source))
    for key, own in results.rows.items():
        results.rows[key] = replace(own, file="files/a.h264", file_sha256=sha256(coded))
    scene, notes = viewer.make_scene(results, name, "lfq", "x264-medium", lambda _: codec)
    assert notes == []
    assert np.abs(picture_of(scene.shown[0]) - picture_of(scene.shown[1])).mean() < 3


# The page


class Page(HTMLParser):
    """Checks nesting, and collects ids, links and everything that would be fetched."""

    VOID = frozenset({"meta", "link", "img", "br", "input"})

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.ids: list[str] = []
        self.references: list[str] = []
        self.words: list[str] = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        if tag not in self.VOID:
            self.open.append(tag)
        for name, value in attrs:
            if name == "id":
                self.ids.append(value)
            if name in ("src", "href", "xlink:href", "action", "srcset"):
                self.references.append(value)

    def handle_startendtag(self, tag, attrs):
        self.handle_starttag(tag, attrs)
        if tag not in self.VOID:
            self.handle_endtag(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.words.append(data)


def test_page_is_whole_escaped_and_alone(tmp_path):
    results = made_up(tmp_path, 2)
    analysis = command.analyse(results)
    text = render(analysis, command.draw(analysis, _made(tmp_path / "plots")), [])
    page = Page(text)
    assert len(page.ids) == len(set(page.ids))
    assert all(found.startswith(("#", "data:")) for found in page.references)
    anchors = {found[1:] for found in page.references if found.startswith("#")}
    assert anchors <= set(page.ids)
    assert not re.search(r"@import|url\((?!#)|https?://(?!www\.w3\.org/)", text)
    words = " ".join(" ".join(page.words).split())
    assert "x264: <script>alert(1)</script> failed" in words
    assert "<script>alert" not in text
    assert "<b>Fast & hot</b>" in words
    assert "made up <eval>" in words
    assert "0123456789ab" in words
    assert "lfq against x265-medium, x265-veryslow and x264-medium: 2 sequences" in words
    assert (
        "frames 10, 5 a sequence sizes 96\N{MULTIPLICATION SIGN}64 (2) lfq crf 30, 35, 40, 45, 50 x265-medium"
        in words
    )
    assert words.index("Mean curves are valid only over sequences that every codec has") < words.index(
        "In short"
    )
    assert "PSNR: x265-medium wins. lfq needs 3.0 times the bits of x265-medium at equal PSNR" in words
    assert text.count("<svg") == len(METRICS) * (1 + 2)


def _made(folder: Path) -> Path:
    folder.mkdir()
    return folder


def test_page_without_anything_to_compare(tmp_path):
    results = simple(tmp_path)
    analysis = command.analyse(results)
    assert analysis.anchor is None
    words = " ".join(Page(render(analysis, Plots({}, {}), [])).words)
    assert "lfq: no rows, so nothing is compared with it" in words
    only = command.analyse(made_up(tmp_path, 1, ("lfq",)))
    assert "no codec besides lfq has rows, so there is nothing to compare with" in only.notes
    other = command.analyse(made_up(tmp_path, 1, ("lfq", "x264-medium")))
    assert other.anchor == "x264-medium"
    assert "x265-medium: no rows, x264-medium takes its place as the anchor" in other.notes


# The command


def test_command(tmp_path):
    results = made_up(tmp_path)
    results.save()
    done = run(tmp_path, "--no-viewer")
    assert (done.exit_code, done.stderr) == (0, "")
    assert "PSNR: x265-medium wins. lfq needs 3.0 times the bits" in done.stdout
    record = json.loads((tmp_path / "report.json").read_text())
    rates = {(c["anchor"], c["metric"]): c["rate"]["summary"]["mean"] for c in record["comparisons"]}
    assert rates["x265-medium", "psnr"] == pytest.approx(200)
    assert rates["x265-veryslow", "psnr"] == pytest.approx(275)
    assert rates["x264-medium", "ms_ssim_db"] == pytest.approx(100)
    assert [line["codec"] for line in record["table"]] == list(results.codecs)
    assert record["viewer"] == []
    names = {f"{kind}-{metric.field}" for kind in ("mean", "sequences") for metric in METRICS}
    files = {path.name for path in (tmp_path / "plots").iterdir()}
    assert files == {name + suffix for name in names for suffix in (".png", ".svg")}
    with Image.open(tmp_path / "plots" / "mean-psnr.png") as picture:
        assert picture.width > 600
    # The same again, elsewhere: the same bytes.
    done = run(tmp_path, "--no-viewer", "--out", tmp_path / "new" / "er", "--json")
    assert json.loads(done.stdout) == record
    for path in (p for p in tmp_path.rglob("*") if p.is_file() and p.name != FILE and "new" not in p.parts):
        assert path.read_bytes() == (tmp_path / "new" / "er" / path.relative_to(tmp_path)).read_bytes(), path


def test_command_with_pictures(tmp_path, monkeypatch):
    with_files(made_up(tmp_path, 2))
    monkeypatch.setattr(command, "get", lambda name: Copy(name, tmp_path / "log"))
    credit = ("--credit", "sequence_1", "A. Nyone, CC BY 3.0")
    done = run(tmp_path, "--show", "sequence_1", "--anchor", "x264-medium", *credit)
    assert done.exit_code == 0, done.output
    (scene,) = json.loads((tmp_path / "report.json").read_text())["viewer"]
    assert scene["sequence"] == "sequence_1"
    assert [own["codec"] for own in scene["pictures"]] == ["lfq", "x264-medium"]
    page = (tmp_path / "report.html").read_text()
    assert page.count("data:image/webp") == 3
    assert '"credit": "A. Nyone, CC BY 3.0"' in page
    done = run(tmp_path, "--show", "nothing")
    assert str(done.exception) == "no rows of sequence 'nothing'; there are sequence_0, sequence_1"


def test_what_is_missing_is_said(tmp_path):
    results = made_up(tmp_path, 2)
    for key, own in list(results.rows.items()):
        results.rows[key] = replace(own, lpips=None, ms_ssim=None if key[2] == "sequence_1" else own.ms_ssim)
    for step in range(1, len(RATES)):
        del results.rows["lfq", f"crf={50 - 5 * step}", "sequence_1"]
    results.save()
    (tmp_path / "plots").mkdir()
    (tmp_path / "plots" / "mean-lpips.png").write_bytes(b"of an older report")
    done = run(tmp_path, "--no-viewer")
    assert done.exit_code == 0
    lines = done.stderr.splitlines()
    assert "report: lfq on sequence_1: 1 usable point, a curve needs 2" in lines
    assert any(line.startswith("report: LPIPS: not measured in any row") for line in lines)
    assert any(line.startswith("report: MS-SSIM: not measured in 16 of 36 rows") for line in lines)
    assert "report: BD-rate against x265-medium in psnr: refused on 1 of 2 sequences" in lines
    assert "LPIPS: not measured.\n" in done.stdout
    words = " ".join(Page((tmp_path / "report.html").read_text()).words)
    for line in lines:
        assert line.removeprefix("report: ") in words
    assert "refused: lfq has 1 usable point, 2 are needed" in words
    assert not (tmp_path / "plots" / "mean-lpips.png").exists()
    record = json.loads((tmp_path / "report.json").read_text())
    psnr = next(c for c in record["comparisons"] if (c["anchor"], c["metric"]) == ("x265-medium", "psnr"))
    assert psnr["rate"]["refused"] == {"sequence_1": "lfq has 1 usable point, 2 are needed"}
    assert (psnr["rate"]["summary"]["count"], psnr["rate"]["summary"]["low"]) == (1, None)


def damage(**changes):
    def change(record):
        record["rows"][0].update(changes)

    return change


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (lambda r: r.update(version=0), "has version 0"),
        (lambda r: r.update(format="x"), "does not hold results"),
        (lambda r: r.update(rows=[]), "holds no measured row, only 1 failures"),
        (lambda r: r["rows"][0].pop("bpp"), "is damaged"),
        (lambda r: r.update(runs=["x"]), "a run or a codec is no record"),
        (lambda r: r["codecs"].pop("lfq"), "codec lfq is not described"),
        (damage(bpp=0), "bpp is 0"),
        (damage(bpp="much"), "bpp is 'much'"),
        (damage(psnr=None), "psnr is None"),
        (damage(lpips="low"), "lpips is 'low'"),
    ],
)
def test_bad_results(tmp_path, change, text):
    made_up(tmp_path, 1, ("lfq", "x265-medium")).save()
    record = json.loads((tmp_path / FILE).read_text())
    change(record)
    (tmp_path / FILE).write_text(json.dumps(record))
    done = run(tmp_path)
    assert isinstance(done.exception, ResultsError)
    assert text in str(done.exception)
    assert "\n" not in str(done.exception)
    assert [path.name for path in tmp_path.iterdir()] == [FILE]


def test_bad_arguments(tmp_path):
    assert isinstance(run(tmp_path / "nowhere").exception, ResultsError)
    (tmp_path / FILE).write_text("{")
    assert "is not JSON" in str(run(tmp_path).exception)
    made_up(tmp_path).save()
    done = run(tmp_path, "--anchor", "vp9")
    assert isinstance(done.exception, LfqError)
    assert str(done.exception).startswith("no rows of anchor 'vp9'; there are x265-medium, ")
    done = run(tmp_path, "--no-viewer", "--out", tmp_path / FILE)
    assert isinstance(done.exception, LfqError)


def test_read_frame(tmp_path):
    clip = write_clip(tmp_path / "a.mkv")
    assert viewer.read_frame(clip, FRAMES - 1).shape == (SIZE[1], SIZE[0], 3)
    with pytest.raises(viewer.FrameMissing, match="has no frame 5"):
        viewer.read_frame(clip, FRAMES)
