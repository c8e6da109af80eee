"""Compiled kernels: exact types, and a result wherever they can be kept or not."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from lfqcodec.tokenizer.motion.kernels import follow


def test_other_types_are_refused() -> None:
    field = np.zeros((2, 3, 2), np.int64)
    assert follow(field, field, 256).shape == field.shape
    with pytest.raises(TypeError):
        follow(field.astype(np.int32), field, 256)


def test_without_a_folder_to_keep_them_in() -> None:
    code = (
        "import numba.core.caching as caching; caching.CacheImpl._locator_classes = []\n"
        "import numpy as np\n"
        "from lfqcodec.tokenizer.motion.kernels import follow\n"
        "field = np.arange(12).reshape(2, 3, 2)\n"
        "print(follow(field, 0 * field, 256).tolist())\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=True
    )
    field = np.arange(12).reshape(2, 3, 2)
    assert done.stdout.strip() == str(follow(field, 0 * field, 256).tolist())
