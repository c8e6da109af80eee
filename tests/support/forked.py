"""Commands run in forks of a process that has loaded what they load: a short one takes little but its start.

Each has a process of its own, with pipes and an exit code, as one that is started anew.
"""

from __future__ import annotations

import atexit
import gc
import json
import os
import runpy
import signal
import socket
import subprocess
import sys
import threading
import traceback
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import NoReturn

ROOT = Path(__file__).parents[2]
LOADED = [
    *("lfqcodec.cli.main", "lfqcodec.codec.encode.encoder", "lfqcodec.codec.decode.decoder"),
    *("lfqcodec.codec.encode.rdo", "lfqcodec.codec.decode.events", "lfqcodec.tokenizer.motion.tokenizer"),
    *("lfqcodec.prior.motion.learned", "lfqcodec.prior.motion.static", "lfqcodec.weights.loading"),
]
_lock = threading.Lock()


def run(
    module: str,
    arguments: Sequence[str],
    *,
    input: bytes | None = None,
    cwd: Path | None = None,
    env: dict[str, str] | None = None,
    timeout: float = 120,
    file_size: int | None = None,
) -> subprocess.CompletedProcess[bytes]:
    """`python -m MODULE ARGUMENTS` to its end; output is captured, input is empty unless given.

    Files cannot grow beyond `file_size` bytes, as on a disk that is full then.
    """
    if not hasattr(os, "fork"):
        line = [sys.executable, "-m", module, *arguments]
        given = {"input": input or b"", "cwd": cwd, "env": env, "timeout": timeout}
        return subprocess.run(line, capture_output=True, check=False, **given)
    given, out, errors = os.pipe(), os.pipe(), os.pipe()
    ours, theirs = socket.socketpair()
    with ours, theirs, _lock:
        passed = [given[0], out[1], errors[1], theirs.fileno()]
        socket.send_fds(_server(), [b"x"], passed)
        for end in passed[:3]:
            os.close(end)
        talk = ours.dup()
    asked = {
        "module": module,
        "arguments": list(arguments),
        "cwd": str(cwd or Path.cwd()),
        "env": env or dict(os.environ),
        "file_size": file_size,
    }
    with talk, talk.makefile("rw") as lines, ThreadPoolExecutor(3) as pool:
        print(json.dumps(asked), file=lines, flush=True)
        process = int(lines.readline())  # the first one waits for what is loaded
        talk.settimeout(timeout)
        pool.submit(_fill, given[1], input or b"")
        found = [pool.submit(_drain, end[0]) for end in (out, errors)]
        try:
            code = int(lines.readline())
        except TimeoutError:
            os.kill(process, signal.SIGKILL)
            raise subprocess.TimeoutExpired([module, *arguments], timeout) from None
        return subprocess.CompletedProcess([module, *arguments], code, *(each.result() for each in found))


def _fill(end: int, data: bytes) -> None:
    with suppress(BrokenPipeError), open(end, "wb") as file:
        file.write(data)


def _drain(end: int) -> bytes:
    with open(end, "rb") as file:
        return file.read()


@cache
def _server() -> socket.socket:
    """The way to the process that forks, which ends with this one."""
    ours, theirs = socket.socketpair()
    with theirs:
        process = subprocess.Popen(
            [sys.executable, __file__, str(theirs.fileno())],
            # Pipes, as those of commands are: Python looks once whether it can seek in them.
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            pass_fds=[theirs.fileno()],
            env={**os.environ, "OMP_WAIT_POLICY": "passive", "PYTHONPATH": os.pathsep.join(sys.path)},
        )

    def end() -> None:
        with process:
            ours.close()

    atexit.register(end)
    return ours


def serve(asked: socket.socket) -> str | None:
    """Fork for whoever asks. Gives the module that a fork is to run, and None at the end."""
    from lfqcodec.kernels import compile_all

    for name in LOADED:
        __import__(name)
    compile_all()
    gc.collect()
    gc.freeze()
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    while True:
        got, descriptors, _, _ = socket.recv_fds(asked, 1, 4)
        if not got:
            return None
        if os.fork() == 0:
            break
        for each in descriptors:
            os.close(each)
    asked.close()
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    *standard, number = descriptors
    with socket.socket(fileno=number) as talk, talk.makefile("rw") as lines:
        wanted = json.loads(lines.readline())
        if process := os.fork():
            for each in standard:
                os.close(each)
            with suppress(OSError):
                print(process, file=lines, flush=True)
                print(os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]), file=lines, flush=True)
            os._exit(0)
    for each, name in enumerate(standard):
        os.dup2(name, each)
        os.close(name)
    os.chdir(wanted["cwd"])
    os.environ.clear()
    os.environ.update(wanted["env"])
    if wanted["file_size"] is not None:
        import resource

        resource.setrlimit(resource.RLIMIT_FSIZE, (wanted["file_size"],) * 2)
    sys.argv = ["", *wanted["arguments"]]
    return wanted["module"]


def end_with(module: str) -> NoReturn:
    """Run it, and end as Python does, but leave modules whole: to take them apart takes 0.3 s."""
    code: object = 0
    try:
        runpy.run_module(module, run_name="__main__", alter_sys=True)
    except SystemExit as stop:
        code = stop.code or 0
    except BaseException:
        traceback.print_exc()
        code = 1
    threading._shutdown()
    atexit._run_exitfuncs()
    try:
        sys.stdout.flush()
    except OSError:
        code = 120
    assert isinstance(code, int), code
    os._exit(code)


if __name__ == "__main__":
    sys.path[0] = str(ROOT)
    if module := serve(socket.socket(fileno=int(sys.argv[1]))):
        end_with(module)
