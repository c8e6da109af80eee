"""Processes that are forked, as those of a PyTorch loader, where pictures were read before."""

from __future__ import annotations

import subprocess
import sys

import pytest

CODE = """
import gc, os
import av
from lfqcodec.video.colour import inspect, to_rgb

gc.disable()
frame = av.VideoFrame(640, 360, "yuv420p")
to_rgb(frame, inspect(frame, is_image=False), 320, 180)
ring = [frame]
ring.append(ring)
del frame, ring
pid = os.fork()
if not pid:
    gc.collect()
    os._exit(0)
os.waitpid(pid, 0)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="there are no forks")
def test_a_forked_process_can_free_pictures_that_were_read():
    """Threads of swscale, which a fork does not have, it would wait for."""
    subprocess.run([sys.executable, "-c", CODE], timeout=60, check=True, start_new_session=True)
