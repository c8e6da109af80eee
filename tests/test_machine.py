"""How many workers a machine bears."""

from __future__ import annotations

import pytest

from lfqcodec import machine

PIXELS = 640 * 360
GIB = 1 << 30


@pytest.mark.parametrize(
    ("pictures", "gop", "cores", "free", "workers"),
    [
        (1000, 129, 4, None, 4),
        (1000, 129, 16, 64 * GIB, 8),
        (1000, 129, 16, 5 * GIB, 2),
        (1000, 129, 16, GIB // 2, 1),
        (129, 129, 16, None, 1),
        (130, 65, 16, None, 2),
        (60, 17, 16, None, 1),
    ],
)
def test_cores_memory_and_work_bound_workers(monkeypatch, pictures, gop, cores, free, workers):
    monkeypatch.setattr(machine, "usable_cores", lambda: cores)
    monkeypatch.setattr(machine, "free_memory", lambda: free)
    assert machine.fitting_workers(PIXELS, pictures, gop, -(-pictures // gop)) == workers


def test_what_this_machine_has(monkeypatch, tmp_path):
    """A container's limit counts, where there is one."""
    assert machine.usable_cores() >= 1
    free = machine.free_memory()
    assert free is None or free > 0
    (tmp_path / "memory.max").write_text("3000\n")
    (tmp_path / "memory.current").write_text("1000\n")
    monkeypatch.setattr(machine, "_CGROUP", tmp_path)
    assert machine.free_memory() == 2000
    (tmp_path / "memory.max").write_text("max\n")
    assert machine.free_memory() != 2000


def test_threads_that_pytorch_takes(monkeypatch):
    monkeypatch.setattr(machine, "usable_cores", lambda: 6)
    for given, taken in (("3", 3), ("0", 6), ("many", 6), ("", 6)):
        monkeypatch.setenv("OMP_NUM_THREADS", given)
        assert machine.usual_threads() == taken
    monkeypatch.delenv("OMP_NUM_THREADS")
    assert machine.usual_threads() == 6


def test_where_there_may_be_a_gpu(monkeypatch):
    """A driver that can be loaded, or that of AMD."""
    monkeypatch.setattr(machine.ctypes, "CDLL", lambda name: None)
    assert machine.may_have_gpu()

    def missing(name):
        raise OSError(name)

    monkeypatch.setattr(machine.ctypes, "CDLL", missing)
    for exists in (True, False):
        monkeypatch.setattr(machine.os.path, "exists", lambda path, exists=exists: exists)
        assert machine.may_have_gpu() is exists
