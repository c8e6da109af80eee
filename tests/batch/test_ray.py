"""`lfqcodec batch --engine ray` on a real cluster of two workers, one of which goes (`make test-cluster`)."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from batch_support import BROKEN, make_clips, outputs, report_of
from codec_support import ENVIRONMENT, encoded, y4m

ray = pytest.importorskip("ray")

pytestmark = [
    pytest.mark.cluster,
    # Ray leaves sockets and files to the end of the process.
    pytest.mark.filterwarnings("default"),
]
ROOT = Path(__file__).parents[2]
SECONDS = 900
# Workers of Ray have to find the package, and must not take the machine for one of another size.
SETTINGS = {
    "PYTHONPATH": str(ROOT),
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "RAY_USAGE_STATS_ENABLED": "0",
}
LONG = {"gop": 9, "scene_cuts": False}


@pytest.fixture(scope="module")
def cluster():
    from ray.cluster_utils import Cluster

    os.environ.update(SETTINGS)
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
    workers = [cluster.add_node(num_cpus=1) for _ in range(2)]
    yield cluster, workers
    cluster.shutdown()


def batch(*arguments, wait=True):
    line = [sys.executable, "-m", "lfqcodec", "batch", *map(str, arguments), "-q"]
    environment = {**ENVIRONMENT, **SETTINGS}
    process = subprocess.Popen(line, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    return finish(process) if wait else process


def finish(process):
    out, err = process.communicate(timeout=SECONDS)
    return process.returncode, out.decode(), err.decode()


def test_a_lost_worker_costs_nothing(cluster, tmp_path):
    """Outputs and report are those of one machine; a second call does no work."""
    nodes, workers = cluster
    folder, out, here = tmp_path / "in", tmp_path / "ray", tmp_path / "here"
    clips = make_clips(folder, [f"{number % 3}/{number}.y4m" for number in range(8)])
    (folder / "long.y4m").write_bytes(y4m(70, (48, 40)))
    for name, data in BROKEN.items():
        (folder / name).write_bytes(data)
    options = ("--gop", 9, "--no-scene-cuts")
    engine = ("--engine", "ray", "--address", nodes.address)
    process = batch(folder, out, *engine, *options, wait=False)
    until = time.monotonic() + SECONDS
    while not outputs(out) and time.monotonic() < until and process.poll() is None:
        time.sleep(0.1)
    nodes.remove_node(workers[0], allow_graceful=False)
    code, said, err = finish(process)
    assert (code, f"9 done, 0 skipped, {len(BROKEN)} failed" in said) == (1, True), (said, err)
    made = outputs(out)
    for clip in (*clips, folder / "long.y4m"):
        name = str(clip.relative_to(folder).with_suffix(".lfq"))
        assert made.pop(name) == encoded(clip, **LONG), name
    assert made == {}

    assert batch(folder, here, "--jobs", 1, *options)[0] == 1
    as_there = [{**line, "output": line["output"].replace(str(here), str(out))} for line in report_of(here)]
    assert report_of(out) == as_there

    code, said, err = batch(folder, out, *engine, *options)
    assert (code, f"0 done, 9 skipped, {len(BROKEN)} failed" in said) == (1, True), (said, err)


def test_ray_data_gives_the_samples(cluster, tmp_path):
    from lfqcodec.data.ray_source import read_lfq

    nodes, _ = cluster
    data = encoded(y4m(20, (48, 40)), **LONG)
    for number in range(2):
        (tmp_path / f"{number}.lfq").write_bytes(data)
    ray.init(address=nodes.address, log_to_driver=False, logging_level="ERROR")
    try:
        rows = read_lfq(tmp_path, kind="pictures", frames=4).take_all()
        assert len(rows) == 8
        assert {row["pictures"].shape for row in rows} == {(4, 3, 40, 48)}
        tokens = read_lfq(tmp_path).take_all()
        assert len(tokens) == 6
        assert tokens[0]["intra.0"].shape[1:] == (6, 6)
    finally:
        ray.shutdown()


def test_without_a_cluster_nothing_is_written(tmp_path):
    make_clips(tmp_path / "in", ["a.y4m"])
    code, said, err = batch(tmp_path / "in", tmp_path / "out", "--engine", "ray", "--address", "127.0.0.1:1")
    assert (code, said) == (1, "")
    assert len(err.splitlines()) == 1
    assert "no Ray cluster can be reached" in err
    assert not (tmp_path / "out").exists()
