"""Labels from folders and tables, and every way a table can be wrong."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from lfqcodec.errors import InputVideoError
from lfqcodec.train import data
from lfqcodec.train.data.labels import labels_of
from lfqcodec.train.data.sources import gather_media


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Three pictures in two folders."""
    for name in ("cats/1.png", "cats/deep/2.png", "dogs/1.png"):
        path = tmp_path / "set" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (8, 8), (len(name), 0, 0)).save(path)
    return tmp_path / "set"


def found(root: Path, wanted: str, **options: bool) -> dict[str, str]:
    labels = labels_of(wanted, [root], gather_media([], [root]), **options)
    return {path.relative_to(root).as_posix(): label for path, label in labels.items()}


def test_folders(root: Path) -> None:
    assert found(root, "folder") == {"cats/1.png": "cats", "cats/deep/2.png": "cats", "dogs/1.png": "dogs"}
    Image.new("RGB", (8, 8)).save(root / "stray.png")
    with pytest.raises(InputVideoError, match=r"stray\.png: lies in no folder"):
        found(root, "folder")


def test_tables(root: Path, tmp_path: Path) -> None:
    table = tmp_path / "labels.csv"
    table.write_text('file,label\ncats/1,"a, b"\n\ncats/deep/2.png,c\ndogs/1.png,c\n')
    expected = {"cats/1.png": "a, b", "cats/deep/2.png": "c", "dogs/1.png": "c"}
    assert found(root, str(table)) == expected
    table.write_text("file,label\ncats/1,x\n")
    assert found(root, str(table), skip_unlisted=True) == {"cats/1.png": "x"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("cats/1,x\n", "line 1: must be file,label"),
        ("", "line 1: must be file,label"),
        ("file,label\ncats/1,x\ncats/1,y\n", "line 3: cats/1 has another label on line 2"),
        ("file,label\ncats/1,\n", "line 2: must be a file and a label"),
        ("file,label\ncats/1\n", "line 2: must be a file and a label"),
        ("file,label\ncats/1,x\n", "does not list cats/deep/2.png"),
        ("file,label\ncats/1,x\ncats/deep/2,x\ndogs/1,x\ncows/1,x\n", "line 5: there is no file cows/1"),
    ],
)
def test_wrong_tables(root: Path, tmp_path: Path, text: str, message: str) -> None:
    table = tmp_path / "labels.csv"
    table.write_text(text)
    with pytest.raises(InputVideoError, match=message):
        found(root, str(table))


def test_no_table(root: Path, tmp_path: Path) -> None:
    with pytest.raises(InputVideoError, match="not a table of labels"):
        found(root, str(tmp_path / "nothing.csv"))
    (tmp_path / "binary.csv").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InputVideoError, match="not a table of labels"):
        found(root, str(tmp_path / "binary.csv"))


def test_packs_keep_labels(root: Path, tmp_path: Path) -> None:
    data.ensure_pack(tmp_path / "pack", [], [root], max_frames=1, labels="folder")
    entries = data.Pack(tmp_path / "pack").entries
    assert [(e.name, e.label, e.source) for e in entries] == [
        ("1.png", "cats", "cats/1"),
        ("2.png", "cats", "cats/2"),
        ("1.png", "dogs", "dogs/1"),
    ]
    data.ensure_pack(tmp_path / "plain", [], [root], max_frames=1)
    assert {e.label for e in data.Pack(tmp_path / "plain").entries} == {None}
