"""The page of a study in a real browser."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from rating_support import make_study, serving

from benchmarks.rating.store import Votes

pytestmark = pytest.mark.browser
QUIET = ["no-sandbox", "disable-gpu", "disable-quic", "no-first-run", "disable-background-networking"]
QUIET += ["disable-component-update", "disable-sync"]


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
        for key in ("Space", "k", "MediaPlayPause"):
            page.keyboard.press(key)
        page.wait_for_timeout(400)
        assert not page.evaluate("document.getElementById('left').paused")
        left, right = (f"document.getElementById('{side}').currentTime" for side in ("left", "right"))
        apart = f"Math.abs({left} - {right})"
        assert min(page.evaluate(apart) for _ in range(5)) < 0.05
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
        assert winners(study) == ["right", "left", "right"]
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
        assert not page.evaluate("document.getElementById('left').paused")
        hold = page.locator("#show-reference")
        hold.dispatch_event("pointerdown", {"pointerId": 1, "pointerType": "touch"})
        page.locator("#choose-right").tap()
        progress(page, "2 of 3")
        assert winners(study) == ["right"]
        context.close()


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
