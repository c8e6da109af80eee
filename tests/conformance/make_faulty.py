"""Makes the files under faulty/: small files with one thing wrong each, and what every decoder must say.

    python tests/conformance/make_faulty.py

NNN-what-is-wrong.json names the error with the byte offset and the chunk at which ours notices it, and the
section of the specification that is broken. Files over `MOST` bytes are left to the tests in memory.
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

HERE = Path(__file__).parent
FOLDER = HERE / "faulty"
MOST = 4096
sys.path[:0] = [str(HERE), str(HERE.parent / "support")]

from bitstream_helpers import decode_file  # noqa: E402
from faults import Case, all_cases  # noqa: E402

from lfqcodec.errors import BitstreamError  # noqa: E402


def cases() -> list[tuple[str, Case]]:
    """Every faulty file with its name, those over `MOST` bytes too."""
    named = []
    for number, case in enumerate(all_cases(), 1):
        words = re.sub(r"[^a-z0-9]+", "-", f"{case.area} {case.what}".lower()).strip("-")
        named.append((f"{number:03}-{words}", case))
    return named


def verdict(data: bytes) -> BitstreamError:
    """The error of our decoder, which reads everything and decodes every token."""
    try:
        decode_file(data)
    except BitstreamError as error:
        return error
    raise AssertionError("nothing is wrong with this file")


def expected(case: Case, error: BitstreamError) -> dict[str, object]:
    """What the .json beside a file says, whose error is ours."""
    assert type(error).__name__ == case.error, f"{case.what}: {error!r}"
    return {
        "what": f"{case.area}: {case.what}",
        "spec": f"section {case.spec}",
        "error": case.error,
        "offset": error.offset,
        "chunk": error.chunk,
    }


def main() -> None:
    """Make them all."""
    FOLDER.mkdir(exist_ok=True)
    count = 0
    for name, case in cases():
        facts = expected(case, verdict(case.data))
        if len(case.data) <= MOST:
            (FOLDER / f"{name}.lfq").write_bytes(case.data)
            (FOLDER / f"{name}.json").write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")
            count += 1
    print(f"{count} files")


if __name__ == "__main__":
    main()
