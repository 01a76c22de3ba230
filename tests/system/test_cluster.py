"""A Dask cluster of processes: the same bits as threads, whatever dies on the way."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from campaigns import REGIONS, Campaign, RawCampaign, params, quirky_campaign
from emdarks.accumulate import Checkpoint, Sample, StackJob, StackSums, Threads, blocks
from emdarks.accumulate.blocks import Adder, Block, Blocks
from emdarks.checks import inspect_campaign
from emdarks.darks import (
    build_photon_counted_dark,
    build_trad_dark,
    calibrate_darks_lsq,
    mean_combine,
)
from emdarks.data import Dataset
from emdarks.errors import ClusterError, EmdarksWarning, InputError
from emdarks.fits import scan_file
from emdarks.fits.pixels import FileSource
from emdarks.moments import Moments
from test_same_bits import assert_same_product

distributed = pytest.importorskip("distributed")

from emdarks.accumulate.dask import Dask  # noqa: E402

BLOCK = 2
STACKS = ((1.0, 2.0, 9), (1.0, 90.0, 4), (40.0, 11.0, 7), (300.0, 50.0, 5), (2000.0, 80.0, 11))


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blocks, "BLOCK_FRAMES", BLOCK)


@pytest.fixture(scope="module")
def campaign(tmp_path_factory: pytest.TempPathFactory) -> Campaign:
    return quirky_campaign(tmp_path_factory.mktemp("frames"), STACKS)


def cluster_of(workers: int) -> Any:
    return distributed.LocalCluster(
        n_workers=workers, threads_per_worker=1, dashboard_address="127.0.0.1:0"
    )


@pytest.fixture(scope="module")
def client() -> Iterator[Any]:
    with cluster_of(2) as cluster, distributed.Client(cluster) as client:
        yield client


def maps(dataset: Any, executor: Any, **options: Any) -> Any:
    return calibrate_darks_lsq(dataset, params(), True, REGIONS, executor=executor, **options)


def test_raw_frames_in_the_cluster(client: Any, tmp_path: Path) -> None:
    raw = RawCampaign.small(tmp_path, STACKS[:5])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", EmdarksWarning)
        found = calibrate_darks_lsq(raw.files(), None, executor=Dask(client))
        wanted = calibrate_darks_lsq(raw.files(), None)
    assert_same_product(found, wanted)


def test_means_along_the_sequence(client: Any, campaign: Campaign) -> None:
    sources = [FileSource(scan_file(str(path))) for path in campaign.stack(300.0, 50.0).paths]
    job = StackJob(tuple(map(Sample, sources)), sources[0].shape, 4, mean_frames=1)
    found, wanted = (executor.sums(job).sequence for executor in (Dask(client), Threads(1)))
    assert [means.frames for means in found] == [(1, 1), (1, 1), (1,)]
    for mine, theirs in zip(found, wanted, strict=True):
        assert mine.mean.tobytes() == theirs.mean.tobytes()
        assert mine.n.tobytes() == theirs.n.tobytes()


@pytest.mark.parametrize("screen", [False, True])
def test_the_same_bits_as_threads(client: Any, campaign: Campaign, screen: bool) -> None:
    told: list[tuple[int, int]] = []
    dask = Dask(client, progress=lambda *numbers: told.append(numbers))
    found = maps(campaign.files(), dask, screen=screen)
    assert_same_product(found, maps(campaign.files(), Threads(1), screen=screen))
    assert told[-1] == (36, 36)
    assert [done for done, _ in told] == sorted(done for done, _ in told)
    assert len(told) == sum(-(-n // BLOCK) for *_, n in STACKS)


def test_the_same_bits_with_four_workers(campaign: Campaign) -> None:
    with cluster_of(4) as cluster, distributed.Client(cluster) as client:
        found = maps(campaign.files(), Dask(client))
    assert_same_product(found, maps(campaign.files(), Threads(1)))


#: All counts of a photon-counted dark, whatever the frames hold.
COUNTED: Any = {"estimator": "reference", "threshold": 300.0, "read_noise": 60.0, "max_rate": 99.0}


@pytest.mark.filterwarnings("ignore:.*not marked as a frame for photon counting")
def test_other_functions(client: Any, campaign: Campaign) -> None:
    stack, dask = campaign.stack(2000.0, 80.0), Dask(client)
    for function in (
        lambda executor: (
            build_trad_dark(stack.files(), params(), REGIONS, True, executor=executor).data
        ),
        lambda executor: (
            build_photon_counted_dark(
                stack.files(), params(), REGIONS, True, executor=executor, **COUNTED
            ).err
        ),
        lambda executor: mean_combine(stack.files(), None, True, executor=executor)[0],
        lambda executor: repr(
            inspect_campaign(campaign.files(), executor=executor).as_dict(True)
        ).encode(),
    ):
        one, other = function(dask), function(Threads(2))
        assert bytes(one) == bytes(other)


def test_frames_in_memory_stay_where_they_are(client: Any, campaign: Campaign) -> None:
    found = maps(campaign.memory(), Dask(client))
    assert_same_product(found, maps(campaign.files(), Threads(1)))


def test_errors_that_only_late_frames_have(client: Any, campaign: Campaign, tmp_path: Path) -> None:
    """A block without errors leaves its zeros out when it is sent."""
    from astropy.io import fits

    sources = []
    for i, path in enumerate(campaign.stack(2000.0, 80.0).paths):
        target = tmp_path / f"frame{i}.fits"
        with fits.open(path) as hdus:
            if i < 7:
                hdus["ERR"].data[:] = 0
            hdus.writeto(target)
        sources.append(FileSource(scan_file(target)))
    job = StackJob(tuple(Sample(s, 1.5) for s in sources), sources[0].shape, 255)
    expected = Threads(1).sums(job).moments
    assert Dask(client).sums(job).moments.equal(expected)
    assert expected.err2 is not None
    assert expected.err2.any()


class Held(Blocks):
    """Blocks that take their time."""

    def sums(self, block: Block, adder: Adder, into: Moments | None = None) -> StackSums:
        time.sleep(0.05)
        return super().sums(block, adder, into)


def test_moments_in_the_cluster_are_bounded(client: Any, campaign: Campaign) -> None:
    """60 blocks; four for each of two threads, and one for each level of the tree."""
    source = FileSource(scan_file(campaign.paths[0]))
    job = StackJob(tuple(Sample(source) for _ in range(30)), source.shape, 255)
    held: list[int] = []

    def look(*_: int) -> None:
        held.append(sum(client.run(lambda dask_worker: len(dask_worker.data)).values()))

    results = list(Dask(client, progress=look).stacks([job] * 4, None, Held()))
    expected = Threads(1).sums(job).moments
    assert all(sums.moments.equal(expected) for sums in results)
    assert len(held) == 60
    levels = 4  # 15 blocks
    assert 1 < max(held) <= 4 * 2 + levels + 1
    deadline = time.monotonic() + 10
    while any(client.run(lambda dask_worker: len(dask_worker.data)).values()):
        assert time.monotonic() < deadline, "moments were left in the cluster"
        time.sleep(0.05)


def test_a_worker_killed_in_mid_run(campaign: Campaign) -> None:
    expected = maps(campaign.files(), Threads(1))
    with cluster_of(2) as cluster, distributed.Client(cluster) as client:
        alive = list(client.run(os.getpid).values())

        def kill(done: int, _: int) -> None:
            if done >= 10 and alive:
                os.kill(alive.pop(), signal.SIGKILL)

        found = maps(campaign.files(), Dask(client, progress=kill))
        assert alive == []
    assert_same_product(found, expected)


def test_a_lost_worker_costs_its_unfinished_blocks_with_a_checkpoint(
    campaign: Campaign, tmp_path: Path
) -> None:
    """Every block is written once, and no frame of a finished block is read again."""
    expected = maps(campaign.files(), Threads(1))
    kept = tmp_path / "kept"
    with cluster_of(2) as cluster, distributed.Client(cluster) as client:
        alive = list(client.run(os.getpid).values())
        times: dict[str, int] = {}

        def kill(done: int, _: int) -> None:
            if done >= 10 and len(alive) > 1:
                times.update({p.name: p.stat().st_mtime_ns for p in kept.glob("*.npz")})
                os.kill(alive.pop(), signal.SIGKILL)

        dask = Dask(client, progress=kill)
        assert_same_product(maps(campaign.files(), Checkpoint(dask, kept)), expected)
    assert len(times) >= 5
    assert {name: (kept / name).stat().st_mtime_ns for name in times} == times


class Failing(Blocks):
    """One block fails some times before it is done; each attempt leaves a line in a file."""

    def __init__(self, log: Path, times: int, error: Exception):
        self.log, self.times, self.error = log, times, error

    def sums(self, block: Block, adder: Adder, into: Moments | None = None) -> StackSums:
        if block.indices[0] == 4:
            with self.log.open("a") as file:
                file.write("tried\n")
            if len(self.log.read_text().split()) <= self.times:
                raise self.error
        return super().sums(block, adder, into)


def job_of(campaign: Campaign) -> StackJob:
    sources = [FileSource(scan_file(path)) for path in campaign.paths]
    return StackJob(tuple(Sample(s) for s in sources), sources[0].shape, 255)


def test_a_block_that_fails_twice_is_done(client: Any, campaign: Campaign, tmp_path: Path) -> None:
    job, log = job_of(campaign), tmp_path / "log"
    (sums,) = Dask(client).stacks([job], None, Failing(log, 2, OSError("not now")))
    assert sums.moments.equal(Threads(1).sums(job).moments)
    assert len(log.read_text().split()) == 3


def test_a_block_that_fails_three_times_ends_the_run(
    client: Any, campaign: Campaign, tmp_path: Path
) -> None:
    job, log = job_of(campaign), tmp_path / "log"
    with pytest.raises(ClusterError) as caught:
        list(Dask(client).stacks([job], None, Failing(log, 99, OSError("not now"))))
    assert campaign.paths[4] in str(caught.value)
    assert "OSError: not now" in str(caught.value)
    assert len(log.read_text().split()) == 3


def test_a_frame_that_cannot_be_read_is_named(client: Any, tmp_path: Path) -> None:
    campaign = quirky_campaign(tmp_path, STACKS)
    dataset = campaign.files()
    Path(campaign.paths[7]).unlink()
    with pytest.raises(InputError, match=Path(campaign.paths[7]).name + ": cannot be read"):
        maps(dataset, Dask(client))


@pytest.mark.filterwarnings("ignore:1 of .* frames left out:emdarks.errors.EmdarksWarning")
@pytest.mark.parametrize("keep", [False, True])
def test_a_frame_that_cannot_be_read_is_left_out(
    client: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, keep: bool
) -> None:
    """Workers name it by its absolute path, whatever the client calls it."""
    campaign = quirky_campaign(tmp_path, STACKS)
    monkeypatch.chdir(Path(campaign.paths[0]).parent)
    dataset = Dataset([Path(path).name for path in campaign.paths])
    Path(campaign.paths[7]).unlink()
    dask = Dask(client)
    executor = Checkpoint(dask, tmp_path / "kept") if keep else dask
    found = calibrate_darks_lsq(
        dataset, params(), True, REGIONS, skip_bad_frames=True, executor=executor
    )
    others = Campaign(campaign.paths[:7] + campaign.paths[8:])
    expected = maps(others.files(), Threads(1))
    # A checkpoint has blocks of the first attempt, which are other ones than those without it.
    close = 1e-9 if keep else 0.0
    assert np.allclose(found.data, expected.data, rtol=close, atol=close, equal_nan=True)
    assert np.allclose(found.err, expected.err, rtol=close, atol=close, equal_nan=True)
    assert list(found.hdu_list["SKIPPED"].data["FILENAME"]) == [Path(campaign.paths[7]).name]
    summary = inspect_campaign(dataset, executor=executor)
    assert summary.frames == len(campaign.paths)
    assert sum(stack.frames for stack in summary.stacks) == len(others.paths)


def test_relative_paths(client: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Workers have folders of their own to work in."""
    campaign = quirky_campaign(tmp_path, STACKS)
    monkeypatch.chdir(tmp_path)
    near = Campaign([Path(path).name for path in campaign.paths])
    assert_same_product(maps(near.files(), Dask(client)), maps(campaign.files(), Threads(1)))


def test_nobody_there() -> None:
    start = time.monotonic()
    with pytest.raises(
        ClusterError, match=r"tcp://127\.0\.0\.1:9: no Dask scheduler answers there"
    ):
        Dask("tcp://127.0.0.1:9")
    assert time.monotonic() - start < 30


def test_the_scheduler_is_gone(campaign: Campaign) -> None:
    """A scheduler in a process of its own, killed in mid-run: one error, and soon."""
    script = Path(__file__).parents[1] / "lose_scheduler.py"
    made = subprocess.run(
        [sys.executable, str(script), *campaign.paths],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert made.returncode == 0, made.stderr
    address, text, seconds = made.stdout.strip().split("|")
    assert text.startswith(f"{address}: the Dask scheduler is gone")
    assert float(seconds) < 40
    assert "Traceback" not in made.stderr


def test_numbers_are_those_of_the_frames(client: Any, campaign: Campaign) -> None:
    """Against NumPy: the tests above would not see what both executors do wrong."""
    from astropy.io import fits

    stack = campaign.stack(300.0, 50.0)
    mean, *_ = mean_combine(stack.files(), None, executor=Dask(client))
    data = np.array([fits.getdata(path, 1) for path in stack.paths], float)
    bad = np.array([fits.getdata(path, "DQ") for path in stack.paths]) > 0
    expected = np.ma.masked_array(data, bad | ~np.isfinite(data)).mean(axis=0).filled(0)
    # Errors that are not finite mask samples, too: one pixel.
    assert np.isclose(mean, expected, rtol=1e-12, atol=1e-9).mean() > 0.99


def test_from_the_command_line(tmp_path: Path) -> None:
    from astropy.io import fits

    from emdarks.data import sample

    paths = [str(path) for path in sample()]
    outputs = [tmp_path / "threads.fits", tmp_path / "dask.fits"]
    for output, options in zip(outputs, ([], ["--dask", "local", "--threads", "2"]), strict=True):
        made = subprocess.run(
            [sys.executable, "-m", "emdarks", "noisemaps", *paths, "-o", str(output), *options],
            capture_output=True,
            text=True,
            check=False,
        )
        assert made.returncode == 0, made.stderr
        assert "distributed" not in made.stderr
    for plane in (1, "ERR", "DQ", "SIGNED"):
        one, other = (fits.getdata(output, plane) for output in outputs)
        assert one.tobytes() == other.tobytes()
    wrong = subprocess.run(
        [sys.executable, "-m", "emdarks", "inspect", *paths, "--dask", "nowhere"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert wrong.returncode == 1
    assert wrong.stderr.count("\n") == 1
    assert wrong.stderr.startswith("error: nowhere: no Dask scheduler answers there")


def test_workers_do_not_see_ctrl_c(tmp_path: Path) -> None:
    """A terminal sends it to all processes of a command; the command alone answers."""
    from emdarks.data import sample

    paths = [str(path) for path in sample()]
    command = ["noisemaps", *paths, "-o", str(tmp_path / "maps.fits"), "--dask", "local", "-v"]
    running = subprocess.Popen(
        [sys.executable, "-m", "emdarks", *command],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert running.stderr is not None
    said = [running.stderr.readline()]
    while said[-1] and "on the Dask cluster" not in said[-1]:
        said.append(running.stderr.readline())
    os.killpg(running.pid, signal.SIGINT)
    words = running.communicate(timeout=120)[1]
    assert running.returncode == 130, (said, words)
    assert "interrupted" in words
    assert "Traceback" not in words
    assert list(tmp_path.iterdir()) == []
