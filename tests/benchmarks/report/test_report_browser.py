"""The page of the report in Chromium: `pytest -m browser`, with playwright and a Chromium on PATH."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from report_support import Copy, made_up, row, with_files

from benchmarks.report import command, page
from benchmarks.results import Failure

playwright = pytest.importorskip("playwright.sync_api")
pytestmark = pytest.mark.browser

ARGUMENTS = [
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
]
DESKTOP = {"viewport": {"width": 1280, "height": 900}}
PHONE = {
    "viewport": {"width": 360, "height": 740},
    "has_touch": True,
    "is_mobile": True,
    "device_scale_factor": 2,
}
SHOTS = os.environ.get("REPORT_SHOTS")
"""Folder for screenshots, for a person to look at."""


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("report")
    results = made_up(folder, 3)
    long = "a_name_without_any_place_to_break_" * 4
    results.failures["x", "y", long] = Failure("x", "y", long, f"{long}: /{long}/{long}")
    results.runs[0]["command"] = f"python -m benchmarks sweep --out {long}"
    added = row("x264-medium", "crf=5", "sequence_1", 0.9, psnr=44.0)
    results.rows[added.key] = added
    with_files(results)
    analysis = command.analyse(results)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(command, "get", lambda name: Copy(name, folder / "log"))
        scenes, notes = command.look(analysis, [], {})
    assert notes == []
    analysis.notes.append(f"{long}: only here to be long")
    (folder / "plots").mkdir()
    path = folder / "report.html"
    path.write_text(page.render(analysis, command.draw(analysis, folder / "plots"), scenes))
    return path


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    path = shutil.which("chromium")
    if path is None:
        pytest.skip("no chromium")
    with playwright.sync_playwright() as started:
        found = started.chromium.launch(executable_path=path, args=ARGUMENTS)
        yield found
        found.close()


@pytest.fixture
def visit(browser: Any, report: Path) -> Iterator[Any]:
    """Opens the page in a new window; at the end nothing may have been fetched or complained about."""
    complaints: list[str] = []
    contexts = []

    def start(**options: Any) -> Any:
        context = browser.new_context(**options)
        contexts.append(context)
        tab = context.new_page()
        tab.on("console", lambda message: complaints.append(message.text))
        tab.on("pageerror", lambda error: complaints.append(str(error)))
        tab.on(
            "request",
            lambda request: request.url.startswith(("file://", "data:")) or complaints.append(request.url),
        )
        tab.goto(report.as_uri())
        return tab

    yield start
    for context in contexts:
        context.close()
    assert complaints == []


def shoot(tab: Any, name: str) -> None:
    if SHOTS:
        tab.screenshot(path=str(Path(SHOTS) / f"{name}.png"), full_page=True)


def position(tab: Any) -> int:
    return int(tab.locator("#handle").get_attribute("aria-valuenow"))


def settled(tab: Any, expected: float) -> None:
    """Wait until the slider is there: it moves with the next drawn frame."""
    tab.wait_for_function(
        "e => Math.abs(document.getElementById('handle').getAttribute('aria-valuenow') - e) <= 2",
        arg=expected,
        timeout=5000,
    )


def middle(tab: Any, selector: str) -> tuple[float, float]:
    box = tab.locator(selector).bounding_box()
    return box["x"] + box["width"] / 2, box["y"] + box["height"] / 2


def overflow(tab: Any) -> list[str]:
    """The page must not scroll sideways; gives what sticks out of it."""
    return tab.evaluate("""() => {
        const wide = document.documentElement.clientWidth;
        if (document.documentElement.scrollWidth <= wide) return [];
        return [...document.body.querySelectorAll("*")]
            .filter((e) => e.getBoundingClientRect().right > wide + 1)
            .map((e) => e.tagName + "#" + e.id + "." + e.className);
    }""")


def test_slider_by_mouse_and_keyboard(visit: Any) -> None:
    tab = visit(**DESKTOP)
    shoot(tab, "desktop")
    assert position(tab) == 50
    tab.locator("#stage").scroll_into_view_if_needed()
    box = tab.locator("#stage").bounding_box()
    x, y = middle(tab, "#handle span")
    tab.mouse.move(x, y)
    tab.mouse.down()
    tab.mouse.move(box["x"] + box["width"] * 0.2, y, steps=5)
    settled(tab, 20)
    tab.mouse.move(box["x"] - 50, y)  # beyond the edge
    settled(tab, 0)
    tab.mouse.move(box["x"] + box["width"] * 0.7, y)
    settled(tab, 70)
    tab.mouse.up()
    tab.mouse.move(box["x"] + 5, y)  # let go: does not follow
    tab.wait_for_timeout(100)
    assert position(tab) == 70
    clip = tab.locator("#left-picture").evaluate("e => getComputedStyle(e).clipPath")
    assert clip.startswith("inset(0px 30")
    tab.mouse.click(box["x"] + box["width"] * 0.4, y)
    settled(tab, 40)
    # The mouse gave the handle the focus.
    now = position(tab)
    for key, change in (
        ("ArrowRight", 1),
        ("ArrowUp", 1),
        ("ArrowLeft", -1),
        ("PageUp", 10),
        ("PageDown", -10),
    ):
        tab.keyboard.press(key)
        now += change
        assert position(tab) == now, key
    tab.keyboard.press("Shift+ArrowRight")
    assert position(tab) == now + 10
    tab.keyboard.press("End")
    assert position(tab) == 100
    tab.keyboard.press("Home")
    assert position(tab) == 0
    handle = tab.locator("#handle")
    assert handle.get_attribute("role") == "slider"
    assert handle.get_attribute("aria-valuetext") == "0 % lfq, 100 % x265-medium"


def test_choice_and_zoom(visit: Any) -> None:
    tab = visit(**DESKTOP)
    facts = tab.locator("#left-facts")
    before = tab.locator("#left-picture").get_attribute("src")
    assert facts.inner_text().startswith("lfq · crf=45 · 0.0375 bpp · ")
    tab.select_option("#left", label="source")
    assert facts.inner_text() == "source · lossless source"
    assert tab.locator("#left-picture").get_attribute("src") != before
    assert tab.locator("#left-picture").get_attribute("alt") == "source, frame 2 of sequence_0"
    tab.select_option("#scene", label="sequence_2")
    assert "sequence_2" in tab.locator("#right-picture").get_attribute("alt")
    assert tab.locator("#scene option").all_inner_texts() == ["sequence_0", "sequence_1", "sequence_2"]
    for factor in (1, 2):
        button = tab.locator(f"[data-zoom='{factor}']")
        button.click()
        width = tab.locator("#stage").evaluate("e => e.offsetWidth")
        assert width == 96 * factor
        assert tab.locator("[aria-pressed=true]").all_inner_texts() == [button.inner_text()]
    assert tab.locator("#left-picture").evaluate("e => getComputedStyle(e).imageRendering") == "pixelated"
    # Zoomed, the picture itself is for scrolling and only the handle moves the border.
    tab.locator("#stage").scroll_into_view_if_needed()
    box = tab.locator("#stage").bounding_box()
    tab.mouse.click(box["x"] + 3, box["y"] + 3)
    assert position(tab) == 50
    x, y = middle(tab, "#handle span")
    tab.mouse.move(x, y)
    tab.mouse.down()
    tab.mouse.move(box["x"] + box["width"] * 0.75, y)
    settled(tab, 75)
    tab.mouse.up()


def test_phone_and_touch(visit: Any) -> None:
    tab = visit(**PHONE)
    shoot(tab, "phone")
    assert overflow(tab) == []
    tab.locator("#stage").scroll_into_view_if_needed()
    box = tab.locator("#stage").bounding_box()
    x, y = middle(tab, "#handle span")
    touch = tab.context.new_cdp_session(tab)

    def send(kind: str, *places: tuple[float, float]) -> None:
        points = [{"x": px, "y": py} for px, py in places]
        touch.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})

    send("touchStart", (x, y))
    for share in (0.45, 0.6, 0.8):
        send("touchMove", (box["x"] + box["width"] * share, y))
    settled(tab, 80)
    send("touchEnd")
    tab.touchscreen.tap(box["x"] + box["width"] * 0.3, box["y"] + 20)
    settled(tab, 30)
    # A finger that goes up over the picture scrolls the page.
    start = tab.evaluate("scrollY")
    side = box["x"] + box["width"] - 10
    send("touchStart", (side, y))
    for step in range(1, 11):
        send("touchMove", (side, y - 15 * step))
        tab.wait_for_timeout(16)
    send("touchEnd")
    tab.wait_for_function("s => scrollY > s + 40", arg=start, timeout=5000)


@pytest.mark.parametrize("width", [320, 360, 400, 800])
def test_nothing_sticks_out(visit: Any, width: int) -> None:
    tab = visit(**{**PHONE, "viewport": {"width": width, "height": 700}})
    tab.evaluate("document.querySelectorAll('details').forEach((e) => { e.open = true; })")
    assert overflow(tab) == []
    for zoom in ("1", "2", "fit"):
        tab.locator(f"[data-zoom='{zoom}']").click()
        assert overflow(tab) == [], zoom
    if width == 360:
        shoot(tab, "phone-open")


def test_sorting(visit: Any) -> None:
    tab = visit(**DESKTOP)
    tab.evaluate("document.querySelectorAll('details').forEach((e) => { e.open = true; })")

    def column(number: int) -> list[str]:
        return tab.locator(f"#rows td:nth-child({number})").evaluate_all(
            "cells => cells.map((e) => e.dataset.value ?? e.textContent)"
        )

    title = tab.get_by_role("button", name="bpp", exact=True)
    title.click()
    rates = [float(text) for text in column(7)]
    assert rates == sorted(rates)
    assert tab.locator("th[aria-sort=ascending]").all_inner_texts() == ["bpp"]
    title.click()
    assert [float(text) for text in column(7)] == sorted(rates, reverse=True)
    for _ in range(2):  # what is missing comes last, in both orders
        tab.get_by_role("button", name="LPIPS", exact=True).click()
        assert [number for number, text in enumerate(column(11)) if not text] == [len(rates) - 1]
    tab.get_by_role("button", name="codec", exact=True).click()
    assert column(1) == sorted(column(1))


def test_dark(visit: Any) -> None:
    def lightness(tab: Any, selector: str, name: str) -> float:
        text = tab.locator(selector).first.evaluate(f"e => getComputedStyle(e).{name}")
        return sum(map(float, text.strip("rgb()").split(",")[:3])) / 3

    for scheme, dark in (("light", False), ("dark", True)):
        tab = visit(**DESKTOP, color_scheme=scheme)
        assert (lightness(tab, "body", "backgroundColor") < 128) == dark
        assert (lightness(tab, "figure svg text", "fill") > 128) == dark
        if dark:
            shoot(tab, "dark")
