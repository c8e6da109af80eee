"""A file that the shipped model made once: the same tokens again, and pictures of what was coded."""

from __future__ import annotations

import hashlib
import json
import sys
from pathlib import Path

import numpy as np
import pytest
from codec_support import moving_picture

import lfqcodec
from lfqcodec.weights.store import package_folder

sys.path.insert(0, str(Path(__file__).parent))

from make_shipped import FOLDER, digest

NAMES = sorted(path.stem for path in FOLDER.glob("*.lfq"))


def test_there_is_a_file_of_all_that_ships():
    facts = [json.loads((FOLDER / f"{name}.json").read_text()) for name in NAMES]
    used = {each[kind] for each in facts for kind in ("model", "prior")}
    ships = [path for path in package_folder().glob("*.safetensors") if path.suffixes[0] != ".rates"]
    assert used == {hashlib.sha256(path.read_bytes()).hexdigest() for path in ships}


@pytest.mark.parametrize("name", NAMES)
def test_the_tokens_are_those_that_were_coded(name):
    facts = json.loads((FOLDER / f"{name}.json").read_text())
    with lfqcodec.open(FOLDER / f"{name}.lfq", device="cpu") as video:
        assert video.model().sha256.hex() == facts["model"]
        assert video.header.prior_sha256.hex() == facts["prior"]
        chunks = list(video.tokens())
    assert digest(chunks) == facts["tokens"]


@pytest.mark.parametrize("name", NAMES)
def test_the_pictures_are_of_what_was_coded(name):
    with lfqcodec.open(FOLDER / f"{name}.lfq", device="cpu") as video:
        frames = list(video.frames())
    assert len(frames) == 34
    errors = [
        np.square(frame.rgb.astype(float) - moving_picture(56, 40, number)).mean()
        for number, frame in enumerate(frames)
    ]
    blank = [np.var(moving_picture(56, 40, number).astype(float)) for number in range(34)]
    assert np.mean(errors) < 0.2 * np.mean(blank)
