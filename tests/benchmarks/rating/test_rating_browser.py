"""The page of a study in a real browser."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from rating_support import make_study, serving, write_mp4

from benchmarks.rating.store import Votes
from benchmarks.rating.study import load_study

pytestmark = pytest.mark.browser
QUIET = ["no-sandbox", "disable-gpu", "disable-quic", "no-first-run", "disable-background-networking"]
QUIET += ["disable-component-update", "disable-sync"]
# For two seconds: how far apart the panes are, in seconds, and how often one stood still.
WATCH = """() => new Promise((done) => {
  const videos = ["left", "right", "reference-left"].map((id) => document.getElementById(id));
  const apart = [];
  let stopped = 0;
  const timer = setInterval(() => {
    const [clock, ...others] = videos.map((video) => video.currentTime);
    stopped += videos.filter((video) => video.paused && !video.ended && !video.seeking).length;
    apart.push(Math.max(...others.map((time) => Math.abs(time - clock))));
  }, 20);
  setTimeout(() => { clearInterval(timer); done([apart.sort((a, b) => a - b), stopped]); }, 2000);
})"""


def ready(page: Any) -> None:
    """Wait until a vote can be given. (The page's own rules forbid to wait for a script's result.)"""
    page.wait_for_selector("#choose-left:enabled", timeout=20_000)


def progress(page: Any, text: str) -> None:
    """Wait until this is shown."""
    page.wait_for_selector(f"#progress:text-is('{text}')")


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    from playwright.sync_api import sync_playwright

    path = shutil.which("chromium") or shutil.which("google-chrome")
    assert path, "no Chromium on the PATH"
    with sync_playwright() as playwright:
        yield playwright.chromium.launch(executable_path=path, args=[f"--{flag}" for flag in QUIET])


@pytest.fixture
def study(tmp_path: Path) -> Path:
    return make_study(tmp_path / "study")


def winners(study: Path) -> list[str]:
    votes = Votes(study / "votes.sqlite")
    try:
        return ["left" if vote.winner == vote.left else "right" for vote in votes.all()]
    finally:
        votes.close()


def begin(page: Any, server: str, name: str = "ann") -> None:
    page.goto(server)
    page.fill("#name", name)
    page.click("#welcome button")
    page.wait_for_selector("#study:not([hidden])")


def test_desktop_keyboard_reload_and_double_click(browser: Any, study: Path, tmp_path: Path) -> None:
    with serving(study) as (server, _):
        page = browser.new_page(viewport={"width": 1200, "height": 700})
        problems: list[str] = []
        page.on("console", lambda message: problems.append(message.text) if message.type == "error" else None)
        page.on("pageerror", lambda error: problems.append(str(error)))
        begin(page, server)
        # Before the end of the first showing there is no vote, by key neither.
        page.keyboard.press("ArrowLeft")
        ready(page)
        assert winners(study) == []
        # A button that was clicked before has the focus, and the space bar would press it.
        page.focus("#choose-left")
        for key in ("Space", "k", "MediaPlayPause"):
            page.keyboard.press(key)
        page.wait_for_timeout(300)
        assert winners(study) == []
        page.keyboard.down("r")
        assert page.is_visible("#reference-left")
        page.screenshot(path=tmp_path / "original.png")
        page.keyboard.up("r")
        assert not page.is_visible("#reference-left")
        page.screenshot(path=tmp_path / "desktop.png")
        page.keyboard.press("ArrowRight")
        progress(page, "2 of 3")
        page.reload()
        progress(page, "2 of 3")
        ready(page)
        page.dblclick("#choose-left")
        progress(page, "3 of 3")
        ready(page)
        page.keyboard.press("2")
        page.wait_for_selector("#thanks:not([hidden])")
        page.screenshot(path=tmp_path / "thanks.png")
        assert winners(study) == ["right", "left", "right"]
        page.click("#another")
        page.screenshot(path=tmp_path / "welcome.png")
        # Without a name there is a number, which is kept as a name is.
        page.click("#welcome button")
        progress(page, "1 of 3")
        ready(page)
        page.keyboard.press("1")
        progress(page, "2 of 3")
        page.reload()
        progress(page, "2 of 3")
        assert not problems
        page.close()


def test_phone_touch(browser: Any, study: Path, tmp_path: Path) -> None:
    with serving(study) as (server, _):
        context = browser.new_context(viewport={"width": 360, "height": 700}, has_touch=True, is_mobile=True)
        page = context.new_page()
        begin(page, server, "bob")
        ready(page)
        page.screenshot(path=tmp_path / "phone.png")
        assert page.evaluate("document.documentElement.scrollWidth") <= 360
        boxes = [page.locator(f"#{side}").bounding_box() for side in ("left", "right")]
        assert boxes[1]["y"] >= boxes[0]["y"] + boxes[0]["height"] - 1
        page.locator("video#left").tap(force=True)
        page.wait_for_timeout(300)
        apart, stopped = page.evaluate(WATCH)
        assert stopped < len(apart) / 2
        box = page.locator("#show-reference").bounding_box()
        finger = {"x": box["x"] + box["width"] / 2, "y": box["y"] + box["height"] / 2}
        screen = context.new_cdp_session(page)
        screen.send("Input.dispatchTouchEvent", {"type": "touchStart", "touchPoints": [finger]})
        page.wait_for_selector("#reference-left", state="visible")
        assert page.is_visible("#reference-right")
        page.screenshot(path=tmp_path / "phone-original.png")
        screen.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})
        page.wait_for_selector("#reference-left", state="hidden")
        page.locator("#choose-right").tap()
        progress(page, "2 of 3")
        assert winners(study) == ["right"]
        ready(page)
        page.keyboard.press("ArrowUp")
        progress(page, "3 of 3")
        assert winners(study) == ["right", "left"]
        context.close()


def test_videos_run_together(browser: Any, study: Path) -> None:
    for path in study.glob("*.mp4"):
        write_mp4(path, (90, 90, 90), frames=40)
    with serving(study) as (server, _):
        page = browser.new_page()
        begin(page, server)
        ready(page)
        apart, stopped = page.evaluate(WATCH)
        # Apart only at the moment when all begin again.
        assert apart[int(len(apart) * 0.8)] < 0.04
        assert stopped < len(apart) / 2
        page.close()


def test_sides_are_those_of_the_seed(browser: Any, study: Path) -> None:
    with serving(study) as (server, _):
        for rater in ("ann", "bob", "eve", "joe"):
            page = browser.new_context().new_page()
            begin(page, server, rater)
            ready(page)
            # What is seen: lfq is the red one.
            page.screenshot(path=study / "shown.png")
            picture = np.asarray(Image.open(study / "shown.png").convert("RGB")).astype(int)
            boxes = [page.locator(f"#{side}").bounding_box() for side in ("left", "right")]
            red = []
            for box in boxes:
                x, y, width, height = (int(box[key]) for key in ("x", "y", "width", "height"))
                colour = np.median(picture[y : y + height, x : x + width].reshape(-1, 3), axis=0)
                red.append(colour[0] > colour[2])
            trial = load_study(study).trials(rater)[0]
            assert red == [trial.left == "lfq", trial.right == "lfq"]
            page.close()


def test_two_raters_at_once(browser: Any, study: Path) -> None:
    with serving(study) as (server, _):
        pages = [browser.new_context().new_page() for _ in range(2)]
        for number, page in enumerate(pages):
            begin(page, server, f"rater{number}")
        for page in pages:
            ready(page)
            page.keyboard.press("1")
            progress(page, "2 of 3")
        assert winners(study) == ["left", "left"]
