"""Whole commands, each in a process of its own: how long they take and how much memory they need."""

from __future__ import annotations

import subprocess
import sys

import click

# A child starts with the peak memory of its parent. So a small Python starts the command, not this one,
# which has torch in memory.
_LAUNCHER = """
import os, subprocess, sys, time
began = time.perf_counter()
process = subprocess.Popen(sys.argv[1:], stdout=subprocess.DEVNULL)
_, status, usage = os.wait4(process.pid, 0)
print(time.perf_counter() - began, usage.ru_maxrss)
sys.exit(os.waitstatus_to_exitcode(status))
"""


def run_command(arguments: list[str]) -> tuple[float, float]:
    """Run `lfqcodec` with these arguments: seconds, and peak resident memory in MiB."""
    line = [sys.executable, "-IS", "-c", _LAUNCHER, sys.executable, "-m", "lfqcodec", *arguments]
    done = subprocess.run(line, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        raise click.ClickException(f"lfqcodec {' '.join(arguments)} failed ({done.returncode})")
    seconds, peak = map(float, done.stdout.split())
    return seconds, peak / 1024 if sys.platform != "darwin" else peak / 1024**2
