"""Fuzzes the reader of .lfq files for a given time and tells what was tried and found.

    python tests/fuzz/run.py --seconds 600

Half of the time goes to the coverage-guided fuzzer (atheris, extra `fuzz`), half to mutations of the
conformance files; both mend the checksums in half of their inputs. Inputs that are findings are kept in
build/fuzz, and the exit code is then 1.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib.util
import json
import re
import subprocess
import sys
import time
import traceback
from dataclasses import asdict, dataclass, field
from pathlib import Path

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))

from mutate import Mutator, seeds  # noqa: E402
from targets import TARGETS, attempt  # noqa: E402

MEASURED = 50
"""Of so many inputs one is run with its memory counted."""


@dataclass
class Tally:
    """What a fuzzer did: inputs tried, each by every target, and the files of its findings."""

    fuzzer: str
    inputs: int = 0
    seconds: float = 0.0
    findings: list[str] = field(default_factory=list)


def by_mutation(
    out: Path,
    *,
    seconds: float = 1e9,
    inputs: int = 1 << 62,
    seed: int = 0,
    corpus: list[bytes] | None = None,
) -> Tally:
    """Mutate and try until time or inputs are used up."""
    tally = Tally("mutations")
    mutator = Mutator(corpus or seeds(), seed)
    began = time.monotonic()
    seen: set[str] = set()
    while tally.inputs < inputs and time.monotonic() - began < seconds:
        data = mutator.next()
        tally.inputs += 1
        for name in TARGETS:
            try:
                attempt(name, data, memory=tally.inputs % MEASURED == 0)
            except Exception as error:
                line = traceback.extract_tb(error.__traceback__)[-1]
                kind = f"{name}-{type(error).__name__}-{Path(line.filename).stem}-{line.lineno}"
                if kind not in seen:
                    seen.add(kind)
                    tally.findings.append(_keep(out, kind, data, error))
    tally.seconds = time.monotonic() - began
    return tally


def _keep(out: Path, kind: str, data: bytes, error: Exception) -> str:
    out.mkdir(parents=True, exist_ok=True)
    path = out / f"{kind}-{hashlib.sha256(data).hexdigest()[:8]}.lfq"
    path.write_bytes(data)
    print(f"{path}: {type(error).__name__}: {error}", file=sys.stderr)
    return str(path)


def by_coverage(out: Path, *, seconds: float, seed: int = 0) -> Tally:
    """Run `guided.py`, which ends with its first finding."""
    tally = Tally("coverage-guided")
    corpus = out / "corpus"
    corpus.mkdir(parents=True, exist_ok=True)
    for data in seeds():
        (corpus / hashlib.sha256(data).hexdigest()[:16]).write_bytes(data)
    options = [f"-max_total_time={seconds:.0f}", f"-seed={seed + 1}", "-max_len=6000", "-timeout=20"]
    options += ["-rss_limit_mb=2048", "-print_final_stats=1", f"-artifact_prefix={out}/"]
    began = time.monotonic()
    command = [sys.executable, str(HERE / "guided.py"), str(corpus), *options]
    done = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False)
    tally.seconds = time.monotonic() - began
    found = re.search(r"stat::number_of_executed_units:\s*(\d+)", done.stderr)
    tally.inputs = int(found[1]) if found else 0
    if done.returncode or not found:
        kept = re.findall(r"Test unit written to (\S+)", done.stderr)
        tally.findings += kept or ["guided.py failed"]
        print(done.stderr[-4000:], file=sys.stderr)
    return tally


def main() -> int:
    parser = argparse.ArgumentParser(description="Fuzz the reader of .lfq files.")
    parser.add_argument("--seconds", type=float, default=600, help="time for all (default 600)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", action="store_true", help="print the result as JSON")
    parser.add_argument("--out", type=Path, default=Path("build/fuzz"), help="where findings are kept")
    options = parser.parse_args()
    guided = importlib.util.find_spec("atheris") is not None
    share = options.seconds / 2 if guided else options.seconds
    if not guided:
        print("atheris is not installed (pip install -e '.[fuzz]'): mutations only", file=sys.stderr)
    tallies = [by_mutation(options.out, seconds=share, seed=options.seed)]
    if guided:
        tallies.append(by_coverage(options.out, seconds=share, seed=options.seed))
    if options.json:
        print(json.dumps([asdict(tally) for tally in tallies], indent=1))
    else:
        for each in tallies:
            rate = each.inputs / max(each.seconds, 1e-9)
            print(
                f"{each.fuzzer}: {each.inputs} inputs by {len(TARGETS)} targets in {each.seconds:.0f} s "
                f"({rate:.0f}/s), {len(each.findings)} findings"
            )
    return int(any(tally.findings for tally in tallies))


if __name__ == "__main__":
    sys.exit(main())
