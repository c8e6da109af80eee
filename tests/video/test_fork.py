"""Processes that are forked, as those of a PyTorch loader, where pictures were read before."""

from __future__ import annotations

import subprocess
import sys

import pytest

CODE = """
import gc, os
import av
import lfqcodec.video

gc.disable()
frame = av.VideoFrame(640, 360, "yuv420p")
scaled = frame.reformat(format="rgb24", width=320, height=180)
ring = [frame, scaled]
ring.append(ring)
del frame, scaled, ring
pid = os.fork()
if not pid:
    gc.collect()
    os._exit(0)
os.waitpid(pid, 0)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="there are no forks")
def test_a_forked_process_does_not_free_pictures_that_are_garbage():
    """swscale has threads for them, which a fork does not have, and would wait for their end."""
    subprocess.run([sys.executable, "-c", CODE], timeout=60, check=True, start_new_session=True)
