"""Who may import whom, read from the source text."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import lfqcodec

ROOT = Path(lfqcodec.__file__).parent
STANDARD = sys.stdlib_module_names

# Package or module -> everything of ours that it may import, besides itself.
ALLOWED = {
    "errors": set(),
    "arguments": {"errors"},
    "configuration": {"errors"},
    "kernels": set(),
    "scaling": {"arguments", "errors"},
    "startup": set(),
    "machine": set(),
    "media": set(),
    "memory": set(),
    "output": {"errors"},
    "reproducible": set(),
    "bitstream": {"errors", "media"},
    "entropy": {"bitstream", "errors"},
    "tokenizer": {"bitstream", "configuration", "errors", "kernels", "machine"},
    "prior": {"bitstream", "configuration", "entropy", "errors", "kernels", "reproducible", "tokenizer"},
    "timespan": {"arguments", "errors", "media"},
    "video": {"arguments", "errors", "media", "output", "scaling", "startup", "timespan"},
    "weights": {"errors", "prior", "reproducible", "tokenizer"},
    "codec": {
        *("arguments", "bitstream", "configuration", "entropy", "errors", "kernels", "machine", "media"),
        *("memory", "output", "prior", "scaling", "startup", "timespan", "tokenizer", "video", "weights"),
    },
    "generate": {
        *("arguments", "bitstream", "configuration", "errors", "media", "output", "reproducible"),
        *("tokenizer", "video", "weights"),
    },
    "understand": {"bitstream", "configuration", "errors", "generate", "weights"},
    "train": {
        *("bitstream", "codec", "entropy", "errors", "generate", "media", "output"),
        *("prior", "tokenizer", "understand", "video", "weights"),
    },
    "data": {"arguments", "bitstream", "codec", "errors"},
    "batch": {"bitstream", "codec", "errors", "output", "weights"},
    "cli": {
        *("__init__", "arguments", "batch", "bitstream", "codec", "errors", "generate", "media", "output"),
        *("machine", "memory", "prior", "scaling", "startup", "tokenizer", "understand", "video", "weights"),
    },
    "__init__": {"arguments", "codec", "errors", "media"},
    "__main__": {"cli"},
}
TRAINING_COMMANDS = sorted((ROOT / "cli" / "train").glob("*.py"))
# Outside packages: the only parts of lfqcodec that may import each.
OUTSIDE = {
    "av": {"video"},
    "constriction": {"entropy"},
    "click": {"cli"},
    "numba": {"kernels"},
    "fsspec": {"batch"},
    "pyarrow": {"batch"},
    "ray": {"batch", "data"},
    "torch": {"batch", "codec", "data", "generate", "prior", "tokenizer", "train", "understand", "weights"},
    "safetensors": {"generate", "prior", "train", "weights"},
    "cv2": {"train"},  # a fallback for machines without PyAV, which training alone has
    "tqdm": {"train"},
    "triton": {"train"},  # kernels for GPUs, imported where there is one
    "skvideo": set(),
    "numpy": set(ALLOWED)
    - {"arguments", "configuration", "errors", "machine", "memory", "output", "scaling", "reproducible"}
    - {"startup", "__init__", "__main__", "timespan"},
}
CLI = sorted(path.relative_to(ROOT) for path in (ROOT / "cli").rglob("[a-z]*.py"))
# What has to start fast: none of these may load torch, PyAV or numba when it is imported.
LIGHT = [
    *("lfqcodec", "lfqcodec.tokenizer.registry", "lfqcodec.errors", "lfqcodec.media", "lfqcodec.output"),
    *("lfqcodec.bitstream", "lfqcodec.entropy", "lfqcodec.weights.store"),
    *(
        f"lfqcodec.codec.{name}"
        for name in ("gop", "models", "progress", "decode.cut", "decode.file", "decode.options")
    ),
    *(f"lfqcodec.generate.{name}" for name in ("model.config", "decoding.schedule", "model.store")),
    *(f"lfqcodec.understand.{name}" for name in ("config", "store")),
    *(f"lfqcodec.codec.encode.{name}" for name in ("options", "plan", "rate.control")),
    *("lfqcodec.batch.run", "lfqcodec.batch.engines.processes"),
    *(f"lfqcodec.{'.'.join(path.with_suffix('').parts)}" for path in CLI),
]


def modules() -> Iterator[tuple[str, Path]]:
    """(part of lfqcodec, file) for every source file; the part is the package or top-level module."""
    for path in sorted(ROOT.rglob("*.py")):
        inside = path.relative_to(ROOT)
        yield inside.parts[0] if len(inside.parts) > 1 else inside.stem, path


def imports(path: Path, *, at_run_time: bool) -> Iterator[tuple[str, int]]:
    """Full names of everything that a file imports and the lines; `at_run_time` leaves TYPE_CHECKING out."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    skipped: set[ast.AST] = set()
    if at_run_time:
        for node in ast.walk(tree):
            if isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING"):
                skipped |= {inner for statement in node.body for inner in ast.walk(statement)}
    for node in ast.walk(tree):
        if node in skipped:
            continue
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name, node.lineno
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: relative import"
            for alias in node.names:
                yield f"{node.module}.{alias.name}", node.lineno


def part_of(name: str) -> str:
    """The part of lfqcodec that an imported name belongs to; "__init__" for the package itself."""
    parts = name.split(".")
    inside = ROOT / parts[1] if len(parts) > 1 else ROOT
    return parts[1] if inside.is_dir() or inside.with_suffix(".py").is_file() else "__init__"


def test_every_part_has_rules():
    assert {part for part, _ in modules()} <= set(ALLOWED)


def test_imports():
    wrong = []
    for part, path in modules():
        for name, line in imports(path, at_run_time=True):
            where = f"{path.relative_to(ROOT.parent)}:{line} imports {name}"
            top = name.split(".")[0]
            if top == "lfqcodec":
                other = part_of(name)
                training = other == "train" and path in TRAINING_COMMANDS
                fine = training or other == part or other in ALLOWED[part]
            else:
                # Benchmarks and tests are not in OUTSIDE, for one.
                fine = top in STANDARD or top == "__future__" or part in OUTSIDE.get(top, ())
            if not fine:
                wrong.append(where)
    assert wrong == []


def test_types_may_come_from_anywhere_but_train_and_benchmarks():
    for part, path in modules():
        for name, line in imports(path, at_run_time=False):
            assert not name.startswith(("benchmarks", "tests")), f"{path}:{line}"
            if part != "train" and path not in TRAINING_COMMANDS:
                assert not name.startswith("lfqcodec.train"), f"{path}:{line}"


def test_the_container_needs_numpy_only():
    for part, path in modules():
        if part == "bitstream":
            for name, line in imports(path, at_run_time=False):
                allowed = {"numpy", "lfqcodec", *STANDARD}
                assert name.split(".")[0] in allowed, f"{path}:{line} imports {name}"


def test_files_stay_readable():
    """Near 300 lines, and never far above: one stage of the pipeline, one file."""
    long = {str(p.relative_to(ROOT)): n for _, p in modules() if (n := len(p.read_text().splitlines())) > 400}
    assert long == {}


def test_light_modules_load_no_torch():
    code = "import sys, " + ", ".join(LIGHT) + "; print(sorted({'torch', 'av', 'numba'} & set(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.stdout, done.stderr) == ("[]\n", "")
