"""Whole commands, each in a process of its own: how long they take and how much memory they need."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence

from benchmarks.results import Cost
from lfqcodec.errors import LfqError

# A child starts with the peak memory of its parent. So a small Python starts the command, not this one,
# which has torch in memory.
_LAUNCHER = """
import json, os, subprocess, sys, time
began = time.perf_counter()
process = subprocess.Popen(sys.argv[1:], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
errors = process.stderr.read()
_, status, usage = os.wait4(process.pid, 0)
seconds = time.perf_counter() - began
print(json.dumps([seconds, usage.ru_utime + usage.ru_stime, usage.ru_maxrss]))
sys.stderr.buffer.write(errors)
sys.exit(os.waitstatus_to_exitcode(status) % 256)
"""


class ProcessFailed(LfqError):
    """A command ended with an error; the text has its last line."""


def run_process(command: Sequence[str]) -> tuple[Cost, str]:
    """Run a command to its end: what it cost, and what it wrote to standard error.

    Its standard output is thrown away. Raises `ProcessFailed`.
    """
    line = [sys.executable, "-IS", "-c", _LAUNCHER, *command]
    done = subprocess.run(line, capture_output=True, text=True, errors="replace", check=False)
    if done.returncode:
        said = done.stderr.strip().splitlines()
        raise ProcessFailed(said[-1] if said else f"{command[0]}: ended with status {done.returncode}")
    seconds, cpu_seconds, peak = json.loads(done.stdout)
    mib = peak / 1024 if sys.platform != "darwin" else peak / 1024**2
    return Cost(round(seconds, 4), round(cpu_seconds, 4), round(mib, 1)), done.stderr


def run_lfqcodec(*arguments: str) -> Cost:
    """Run `lfqcodec` with these arguments. Raises `ProcessFailed`."""
    return run_process([sys.executable, "-m", "lfqcodec", *arguments])[0]
