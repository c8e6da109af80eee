"""What holds for all tests."""

from __future__ import annotations

import os
import signal

from fixture_model import fixture_model

# Before torch is loaded, here and in what tests start. Several tests run at once: threads that wait for each
# other on cores that are taken make a test of seconds one of minutes.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# What is coded without a model of its own name is coded with this one, here and in what tests start.
os.environ["LFQCODEC_MODEL"] = str(fixture_model())

# Started in the background of a shell, this process ignores Ctrl-C, and so would the commands that it starts.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
