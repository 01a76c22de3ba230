"""Several processes at once, killed ones, full and read-only disks: nothing lost, nothing wrong."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from validation.hostile_writing import limited_size, small_disk

from emdarks.errors import InputError
from emdarks.library import Library, check_library, index
from emdarks.library.index import FILE, is_remote
from small_products import Made, save_dark

pytestmark = pytest.mark.filterwarnings("ignore::emdarks.errors.EmdarksWarning")


@pytest.fixture(scope="module")
def products(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Sixty darks; every third has the name of another."""
    folder = tmp_path_factory.mktemp("products")
    paths = []
    for i in range(60):
        (folder / f"{i % 3}").mkdir(exist_ok=True)
        path = folder / f"{i % 3}" / f"dark_{i // 3}.fits"
        made = Made("excam-small", 61041.0 + i, 61041.5 + i, seed=i)
        paths.append(save_dark(path, made, 100.0, 10.0, 0.1 + i / 1000))
    return paths


def tell(text: str) -> None:
    """Shown by ``pytest -s``."""
    sys.stdout.write(f"\n{text}\n")


def child(action: Any) -> int:
    """Do something in another process; its number."""
    process = os.fork()
    if process:
        return process
    code = 1
    try:
        warnings.simplefilter("ignore")
        action()
        code = 0
    finally:
        os._exit(code)


def ended(process: int) -> int:
    """Exit code of a process, negative where a signal ended it."""
    return os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])


def whole(folder: Path) -> dict[str, str]:
    """Paths by SHA-256 of the products of a library, each of which is there as it was added."""
    library = Library(folder)
    assert library.index.problems() == []
    entries, added = library.list(), {e.product for e in library.history() if e.what == "added"}
    for entry in entries:
        library.verified(entry)
        assert entry.id in added
    return {entry.sha256: entry.path for entry in entries}


def test_processes_that_add_at_once(products: list[Path], tmp_path: Path) -> None:
    Library.init(tmp_path / "library")

    def add_some(number: int) -> None:
        library = Library(tmp_path / "library")
        mine = products[10 * number : 10 * number + 30]  # each product is added by three
        random.Random(number).shuffle(mine)
        for path in mine:
            library.add(path)

    started = time.monotonic()
    processes = [child(lambda n=n: add_some(n)) for n in range(-1, 5)]
    assert [ended(process) for process in processes] == [0] * 6
    took = time.monotonic() - started
    kept = whole(tmp_path / "library")
    names = {path.name for path in (tmp_path / "library").glob("*.fits")}
    tell(f"6 processes, {len(kept)} products, {len(names)} files, {took:.1f} s")
    assert len(kept) == len(names) == 60
    assert check_library(tmp_path / "library") == []


def test_processes_killed_while_they_add(products: list[Path], tmp_path: Path) -> None:
    folder = tmp_path / "library"
    Library.init(folder)
    started = time.monotonic()
    assert ended(child(lambda: [Library(folder).add(path) for path in products[:10]])) == 0
    usual = time.monotonic() - started
    moments = random.Random(1)
    killed = parts = 0
    unknown: set[str] = set()
    for _ in range(50):
        before = whole(folder)
        process = child(lambda: [Library(folder).add(path) for path in products])
        time.sleep(moments.uniform(0.2, 1.0) * usual)
        os.kill(process, signal.SIGKILL)
        killed += ended(process) == -signal.SIGKILL
        after = whole(folder)
        assert before.items() <= after.items()
        found = {finding.text for finding in check_library(folder)}
        assert all("is not in its index" in text for text in found)
        unknown |= found
        parts += bool(list(folder.glob(".*.emdarks-part")))
        for part in folder.glob(".*.emdarks-part"):  # the next process removes those of a minute
            part.unlink()
        if len(after) > 45:  # begin again
            shutil.rmtree(folder)
            Library.init(folder)
    check_library(folder, mend=True)
    for path in products:
        Library(folder).add(path)
    kept = whole(folder)
    tell(
        f"{killed} of 50 processes killed; {len(unknown)} files were copied and not yet recorded, "
        f"{parts} left a hidden part of a file; nothing lost, {len(kept)} products in the end"
    )
    assert killed == 50
    assert len(kept) == 60
    assert check_library(folder) == []


@pytest.mark.parametrize("point", ["_copy", "insert", "note", "commit"])
def test_a_process_killed_at_every_step(products: list[Path], tmp_path: Path, point: str) -> None:
    """Before the file is copied, before and after its row is written, and when all is."""
    library = Library.init(tmp_path / "library")
    library.add(products[0])

    def die(*_: Any, **__: Any) -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    def add() -> None:
        home: Any = Library if point == "_copy" else index
        if point == "commit":
            original = index.note
            index.note = lambda *given: (original(*given), given[0].commit(), die())
        else:
            setattr(home, point, die)
        library.add(products[1])

    assert ended(child(add)) == -signal.SIGKILL
    committed = point == "commit"
    assert len(whole(library.folder)) == 1 + committed
    unknown = [finding.topic for finding in check_library(library.folder)]
    assert unknown == (["unknown"] if point in ("insert", "note") else [])
    library.add(products[1])
    assert len(whole(library.folder)) == len(list(library.folder.glob("*.fits"))) == 2
    assert check_library(library.folder) == []


def test_a_disk_that_is_really_full(products: list[Path]) -> None:
    with small_disk(400) as disk:
        if disk is None:
            pytest.skip("no file system can be mounted here")
        library = Library.init(disk / "library")
        with pytest.raises(InputError, match=r"(?i)space|full") as caught:
            _add_all(library, products)
        kept = whole(library.folder)
        tell(f"400 kB: {len(kept)} products, then: {str(caught.value).replace(str(disk), '')}")
        assert 0 < len(kept) < 60
        assert {path.name for path in library.folder.glob("*.fits")} == set(kept.values())
        with pytest.raises(InputError, match=r"(?i)space|full"):
            _certify_for_ever(library)
        assert whole(library.folder) == kept


def _add_all(library: Library, products: list[Path]) -> None:
    for path in products:
        library.add(path)


def _certify_for_ever(library: Library) -> None:
    for _ in range(5000):
        library.certify(1, why="x" * 500)


def test_writes_that_fail_after_ever_more_bytes(products: list[Path], tmp_path: Path) -> None:
    refused = 0
    for step in range(30):
        folder = tmp_path / f"{step}"
        library = Library.init(folder)
        library.add(products[0])
        try:
            with limited_size(2000 * step):
                library.add(products[1])
        except InputError:
            refused += 1
        kept = whole(folder)
        assert {path.name for path in folder.glob("*.fits")} == set(kept.values())
        library.add(products[1])
        assert len(whole(folder)) == 2
    tell(f"{refused} of 30 writes refused")
    assert 10 < refused < 30


@contextmanager
def read_only(disk: Path) -> Iterator[None]:
    subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
    yield
    subprocess.run(["mount", "-o", "remount,rw", str(disk)], check=True)


@pytest.mark.parametrize("closed", [True, False], ids=["closed", "with a log"])
def test_a_library_on_a_read_only_disk(products: list[Path], tmp_path: Path, closed: bool) -> None:
    """Also where the last process that wrote was killed, and its log was not merged."""
    library = Library.init(tmp_path / "library")
    entries = [library.add(path) for path in products[:5]]
    with small_disk(2000) as disk:
        if disk is None:
            pytest.skip("no file system can be mounted here")
        if closed:
            library.certify(3, why="looked at")
            shutil.copytree(library.folder, disk / "library")
        else:
            with library.index.reading() as reader:  # keeps the log
                reader.execute("SELECT * FROM products").fetchall()
                library.certify(3, why="looked at")
                shutil.copytree(library.folder, disk / "library")
            assert (disk / "library" / f"{FILE}-wal").stat().st_size > 0
        with read_only(disk):
            there = Library(disk / "library")
            assert [entry.sha256 for entry in there.list()] == [e.sha256 for e in entries]
            assert there.show(3).certified
            assert check_library(there.folder) == []
            for action in (
                lambda: there.add(products[7]),
                lambda: there.certify(1),
                lambda: there.remove(1),
                lambda: Library.init(disk / "another"),
            ):
                with pytest.raises(InputError, match=r"cannot be (used|made|written)") as caught:
                    action()
            tell(caught.value)
            assert len(there.list()) == 5
        assert len(whole(disk / "library")) == 5


def test_a_library_that_another_process_holds(
    products: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(index, "_PATIENCE", 0.2)
    library = Library.init(tmp_path / "library")
    library.add(products[0])
    with library.index.writing():
        assert len(library.list()) == 1  # readers do not wait
        with pytest.raises(InputError, match="another process holds it: try again"):
            library.add(products[1])
    assert list(whole(library.folder).values()) == ["dark_0.fits"]


def test_the_kind_of_journal_follows_the_file_system(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert not is_remote(tmp_path)
    monkeypatch.setattr(index, "is_remote", lambda folder: True)
    library = Library.init(tmp_path / "far")
    with library.index.reading() as connection:
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("delete",)
    monkeypatch.undo()
    with Library.init(tmp_path / "near").index.reading() as connection:
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
