"""What holds for all tests."""

from __future__ import annotations

import importlib
import os
import signal

import pytest
from fixture_model import fixture_models

from lfqcodec.kernels import compile_all

# Before torch is loaded, here and in what tests start. Several tests run at once: threads that wait for each
# other on cores that are taken make a test of seconds one of minutes.
os.environ["OMP_NUM_THREADS"] = "1"

# What is coded without naming a model is coded with the first, here and in what tests start. The other one
# is found by its name.
_model, _folder = fixture_models()
os.environ["LFQCODEC_MODEL"], os.environ["LFQCODEC_MODELS"] = str(_model), str(_folder)

# Started in the background of a shell, this process ignores Ctrl-C, and so would the commands that it starts.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_configure(config: pytest.Config) -> None:
    """Compile kernels before workers start: each would do it for itself, and commands would say so."""
    if not hasattr(config, "workerinput"):
        for name in ("lfqcodec.prior.motion.learned", "lfqcodec.tokenizer.motion.tokenizer"):
            importlib.import_module(name)
        compile_all()
