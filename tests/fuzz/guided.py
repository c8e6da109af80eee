"""The coverage-guided fuzzer: libFuzzer through atheris, over the package's parser and all targets.

    python tests/fuzz/guided.py CORPUS -max_total_time=300

Options are those of libFuzzer. `run.py` starts it; it needs the extra `fuzz`.
"""

from __future__ import annotations

import random
import sys
from pathlib import Path

import atheris

sys.path.insert(0, str(Path(__file__).parent))

with atheris.instrument_imports(include=["lfqcodec.bitstream", "lfqcodec.codec", "lfqcodec.entropy"]):
    import targets
from mutate import Mutator, mend, seeds

_CORPUS = seeds()


def one(data: bytes) -> None:
    """All targets on one input."""
    for name in targets.TARGETS:
        targets.attempt(name, data)


def mutate(data: bytes, most: int, seed: int) -> bytes:
    """A change by libFuzzer or one of ours, with right checksums in half of the inputs."""
    chance = random.Random(seed)
    if chance.random() < 0.5:
        data = atheris.Mutate(data, most)
    else:
        data = Mutator(_CORPUS, seed).change(data)
    return (mend(data) if chance.random() < 0.5 else data)[:most]


if __name__ == "__main__":
    atheris.Setup(sys.argv, one, custom_mutator=mutate)
    atheris.Fuzz()
