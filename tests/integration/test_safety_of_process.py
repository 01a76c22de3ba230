"""What a library may not do to the process that it runs in: mask, open files, secrets."""

from __future__ import annotations

import os
import stat
import threading
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from astropy.io import fits
from validation.hostile_run import few_descriptors

from emdarks.accumulate import Sample, StackJob, Threads
from emdarks.accumulate.open_files import OPEN_FILES, files_allowed
from emdarks.data import Dataset
from emdarks.errors import EmdarksError, EmdarksWarning, InputError, without_secrets
from emdarks.fits import remote, scan_file, shown, whole_file
from emdarks.fits.pixels import FileSource
from loops import for_each


@pytest.fixture(params=[0o077, 0o027, 0o002])
def mask(request: pytest.FixtureRequest) -> Iterator[int]:
    """A mask of the process."""
    before = os.umask(request.param)
    yield request.param
    os.umask(before)


def test_files_get_the_mask_of_the_process_and_nobody_changes_it(
    tmp_path: Path, mask: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []
    with monkeypatch.context() as patch:
        patch.setattr(os, "umask", asked.append)
        for name in ("a.fits", "a.fits", "b" * 240 + ".fits"):
            with whole_file(tmp_path / name) as file:
                file.write(b"x")
    assert not asked
    modes = {stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()}
    assert modes == {0o666 & ~mask}


@for_each(
    "text, expected",
    [
        ("https://me:pass@host/a.fits?X-Amz-Signature=abc: no", "https://host/a.fits: no"),
        ("ftp://me:pa/ss@host/x.fits", "ftp://host/x.fits"),
        ("https://me:pa#ss@host:80/x", "https://host:80/x"),
        ("https://host/x.fits?token=abc&id=7, s3://b/y?sig=1;", "https://host/x.fits, s3://b/y;"),
        ("simplecache::https://me:pass@host/x: no", "simplecache::https://host/x: no"),
        ("https:/me:pass@host/x", "https:/host/x"),
        ("s3://b/dark_?.fits and s3://b/d#3.fits", "s3://b/dark_?.fits and s3://b/d#3.fits"),
        ("http://host:80/a@b.fits", "http://host:80/a@b.fits"),
        ("http://[::1]:80/a@b.fits", "http://[::1]:80/a@b.fits"),
        ("/home/me@here/dark:1.fits", "/home/me@here/dark:1.fits"),
    ],
)
def test_no_message_shows_a_secret(text: str, expected: str) -> None:
    assert without_secrets(text) == expected
    assert str(InputError(text)) == expected
    assert str(EmdarksWarning(text)) == expected
    with pytest.warns(EmdarksWarning) as caught:
        warnings.warn(text, EmdarksWarning, stacklevel=1)
    assert str(caught[0].message) == expected
    assert shown(text) == expected


@pytest.mark.parametrize(
    "url", ["ftp://me:pass@no.invalid/x.fits", "nonsense://me:pass@host/x.fits?token=pass"]
)
def test_a_server_that_is_not_there_is_one_error_without_secret(url: str) -> None:
    pytest.importorskip("fsspec")
    with pytest.raises(EmdarksError, match="cannot be read") as caught:
        Dataset([url])
    assert "pass" not in str(caught.value)
    assert "me" not in str(caught.value).replace("Name", "").replace("name", "")


def test_files_that_a_query_tells_apart_are_others() -> None:
    one, other = (
        remote.RemoteFile(f"https://me:pass@host/get?id={i}&sig=abc", 5, 0, "e") for i in (1, 2)
    )
    assert one.name == other.name == "https://host/get"
    assert one.version != other.version
    assert "pass" not in repr(one)
    assert "abc" not in repr(one) + one.version
    assert remote.RemoteFile("https://host/a.fits", 5, 0, "e").version == "e"


def test_executors_of_one_process_share_its_open_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As many as threads of a Dask worker have: together they stay below half of the limit."""
    for i in range(40):
        fits.PrimaryHDU(np.full((6, 5), i, np.float32)).writeto(tmp_path / f"{i:02d}.fits")
    samples = tuple(Sample(FileSource(scan_file(path))) for path in sorted(tmp_path.iterdir()))
    job = StackJob(samples, (6, 5), 255)
    expected = Threads(1).sums(job).moments
    now, most, lock = 0, 0, threading.Lock()
    original = FileSource.open

    def counted(self: FileSource) -> Any:
        nonlocal now, most
        with lock:
            now += 1
            most = max(most, now)
        reader = original(self)
        close = reader.close

        def closed() -> None:
            nonlocal now
            close()
            with lock:
                now -= 1

        reader.close = closed  # type: ignore[method-assign]
        return reader

    monkeypatch.setattr(FileSource, "open", counted)
    found, together = [], threading.Barrier(12)

    def work() -> None:
        own = Threads(1)
        together.wait()
        found.extend(own.sums(job).moments for _ in range(3))

    with few_descriptors(120):
        allowed = files_allowed()
        threads = [threading.Thread(target=work) for _ in range(12)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
    assert len(found) == 36
    assert all(moments.equal(expected) for moments in found)
    assert allowed == 60
    assert 40 <= most <= allowed
    assert OPEN_FILES._taken == 0


def test_a_reader_that_fails_gives_its_files_back(tmp_path: Path) -> None:
    path = tmp_path / "gone.fits"
    fits.PrimaryHDU(np.zeros((4, 3), np.float32)).writeto(path)
    source = FileSource(scan_file(path))
    path.unlink()
    with pytest.raises(InputError, match="cannot be read"):
        Threads(1).sums(StackJob((Sample(source),), (4, 3), 255))
    assert OPEN_FILES._taken == 0
