"""Look for crashes of the FITS reading: ``python -m validation.fuzz --seconds 600 --page``.

Coverage-guided (atheris, extra ``fuzz``): bytes become a file, or a header, and go the way of
a frame: headers, camera, pixels. Whatever is wrong with them must end in an `EmdarksError`.
Starts from the corpus in tests/data/fuzz; counts executions and distinct crashes, and keeps
what caused them; ``--page`` writes docs/validation_fuzz.md. Without atheris: ``--random``
mutates the corpus without guidance.
"""

from __future__ import annotations

import argparse
import contextlib
import gzip
import json
import os
import random
import subprocess
import sys
import tempfile
import time
import traceback
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
CORPUS = ROOT / "tests" / "data" / "fuzz"
TEXT = Path(__file__).with_suffix(".md")
PAGE = ROOT / "docs" / "validation_fuzz.md"

#: What the first byte of an input chooses.
FILE, HEADER = 0, 1

#: Words that FITS is made of, for the mutations.
WORDS = (
    b"SIMPLE  =                    T",
    b"XTENSION= 'IMAGE   '",
    b"XTENSION= 'BINTABLE'",
    b"BITPIX  =                  -32",
    b"BITPIX  =                   16",
    b"NAXIS   =                    3",
    b"NAXIS1  =                    0",
    b"NAXIS1  =           2147483648",
    b"NAXIS2  =                   -1",
    b"PCOUNT  =                   -8",
    b"GCOUNT  =                    0",
    b"BSCALE  =                1E308",
    b"BZERO   =                32768",
    b"BLANK   =               -32768",
    b"EXTNAME = 'ERR     '",
    b"EXTNAME = 'DQ      '",
    b"ZIMAGE  =                    T",
    b"ZCMPTYPE= 'RICE_1  '",
    b"ZNAXIS1 =             99999999",
    b"EXPTIME =                  NaN",
    b"EMGAIN_C=                1E999",
    b"KGAINPAR= 'eight'",
    b"DATE-OBS= '2026-13-45T99:99:99'",
    b"CONTINUE  'and so on&'",
    b"HIERARCH LONG KEY = 3 / ",
    b"END",
)


def corpus() -> list[bytes]:
    """Inputs to start from: each a file of the corpus, as a file and as headers."""
    found = []
    for path in sorted(CORPUS.glob("*.gz")):
        content = gzip.decompress(path.read_bytes())
        found += [bytes([FILE]) + content, bytes([HEADER]) + content[:8640]]
    return found


class Target:
    """Takes inputs, and remembers every kind of crash.

    Parameters
    ----------
    folder : Path
        Receives the files; in memory, preferably.
    """

    def __init__(self, folder: Path):
        # Imported late: atheris instruments these when they are imported.
        import numpy as np

        from emdarks.cameras import BUILTIN, explain, load_camera, read_record
        from emdarks.errors import EmdarksError
        from emdarks.fits import Cards
        from emdarks.frames import Dataset, frame_inputs

        self.executions = 0
        self.accepted = 0
        self.crashes: dict[str, tuple[str, bytes]] = {}
        self._path = folder / "frame.fits"
        self._np, self._cards, self._dataset = np, Cards, Dataset
        self._prepare, self._expected = frame_inputs, EmdarksError
        self._read_record, self._explain = read_record, explain
        self._cameras = [load_camera(name) for name in BUILTIN]

    def run(self, data: bytes) -> None:
        """Treat an input; note where anything but a clear message comes of it."""
        self.executions += 1
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            warnings.simplefilter("error", RuntimeWarning)
            try:
                (self._header if data[:1] == bytes([HEADER]) else self._file)(data[1:])
                self.accepted += 1
            except self._expected:
                pass
            except Exception as error:
                self._note(error, data)

    def _file(self, content: bytes) -> None:
        self._path.write_bytes(content)
        dataset = self._dataset([self._path])
        for frame in dataset.frames[:2]:
            if self._np.prod(frame.shape) < 1 << 20:
                _ = frame.data, frame.err, frame.dq, frame.hdu_names
                _ = frame.pri_hdr, frame.ext_hdr
            for camera in self._cameras:
                with contextlib.suppress(self._expected):
                    self._prepare([frame], camera)

    def _header(self, block: bytes) -> None:
        cards = self._cards.from_bytes(block)
        for keyword in cards:
            _ = cards[keyword]
        for camera in self._cameras:
            with contextlib.suppress(self._expected):
                self._read_record(camera, "frame", (23, 37), (cards,))
            self._explain(camera, "frame", (cards,))

    def _note(self, error: Exception, data: bytes) -> None:
        last = traceback.extract_tb(error.__traceback__)[-1]
        kind = f"{type(error).__name__} at {Path(last.filename).name}:{last.lineno}"
        if kind not in self.crashes:
            self.crashes[kind] = ("".join(traceback.format_exception(error)), data)


def mutated(rng: random.Random, inputs: list[bytes]) -> bytes:
    """An input with a few changes, without guidance."""
    data = bytearray(rng.choice(inputs))
    for _ in range(rng.randint(1, 6)):
        at = rng.randrange(1, len(data))
        kind = rng.randrange(5)
        if kind == 0:
            data[at] = rng.randrange(256)
        elif kind == 1:
            start = 1 + (at - 1) // 80 * 80
            word = rng.choice(WORDS).ljust(80)
            data[start : start + 80] = word
        elif kind == 2:
            del data[rng.choice((at, 1 + (at - 1) // 2880 * 2880)) :]
            data += b"\0" if len(data) < 2 else b""
        elif kind == 3:
            start = 1 + (at - 1) // 80 * 80
            other = 1 + (rng.randrange(1, len(data)) - 1) // 80 * 80
            data[start : start + 80], data[other : other + 80] = (
                data[other : other + 80],
                data[start : start + 80],
            )
        else:
            block = 1 + (at - 1) // 2880 * 2880
            data[block:block] = data[block : block + 2880]
    return bytes(data)


@contextlib.contextmanager
def _folder() -> Iterator[Path]:
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None) as name:
        yield Path(name)


def random_run(executions: int, seed: int = 1, seconds: float = float("inf")) -> Target:
    """Mutate the corpus at random; the same seed makes the same inputs."""
    rng, inputs, started = random.Random(seed), corpus(), time.monotonic()
    with _folder() as folder:
        target = Target(folder)
        for data in inputs:
            target.run(data)
        while target.executions < executions and time.monotonic() - started < seconds:
            target.run(mutated(rng, inputs))
    return target


def _child(options: argparse.Namespace) -> None:
    """Run under atheris, which ends the process itself; results go to a file."""
    import atheris

    with atheris.instrument_imports(include=["emdarks", "astropy.io.fits"]):
        import emdarks.frames  # noqa: F401
    with _folder() as folder:
        target = Target(folder)
        end = time.monotonic() + options.seconds

        def one(data: bytes) -> None:
            target.run(data)
            if target.executions % 500 == 0 or time.monotonic() > end:
                _save(target, Path(options.child))
            if time.monotonic() > end:
                os._exit(0)

        work = folder / "corpus"
        work.mkdir()
        for number, data in enumerate(corpus()):
            (work / f"{number}").write_bytes(data)
        words = folder / "words"
        words.write_text(
            "\n".join(f'"{w.decode()}"'.replace("'", "\\x27") for w in WORDS), encoding="ascii"
        )
        atheris.Setup(
            [
                *(sys.argv[0], str(work), f"-dict={words}", "-max_len=60000"),
                *("-rss_limit_mb=4096", "-timeout=60", "-verbosity=0"),
            ],
            one,
        )
        atheris.Fuzz()


def _save(target: Target, path: Path) -> None:
    found = {kind: (text, data.hex()) for kind, (text, data) in target.crashes.items()}
    result = {"executions": target.executions, "accepted": target.accepted, "crashes": found}
    whole = path.with_suffix(".new")
    whole.write_text(json.dumps(result))
    whole.replace(path)


def guided_run(seconds: float) -> dict[str, Any]:
    """Run atheris in a process of its own; what it found."""
    with tempfile.TemporaryDirectory() as name:
        result = Path(name) / "result.json"
        command = [sys.executable, "-m", "validation.fuzz", "--seconds", str(seconds)]
        ended = subprocess.run(
            [*command, "--child", str(result)],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=False,
        )
        if not result.exists():
            raise SystemExit(f"the fuzzer did not start:\n{ended.stderr[-2000:]}")
        found: dict[str, Any] = json.loads(result.read_text())
    found["ended"] = ended.returncode
    found["said"] = ended.stderr[-1500:] if ended.returncode else ""
    return found


def main() -> int:
    """Run, print, keep what crashed; 0 where nothing did."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--random", action="store_true", help="without atheris")
    parser.add_argument("--page", action="store_true", help="write docs/validation_fuzz.md")
    parser.add_argument("--keep", type=Path, default=Path("fuzz-crashes"))
    parser.add_argument("--child", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        _child(options)
        return 0
    if options.random:
        target = random_run(1 << 60, int(time.time()), options.seconds)
        crashes = target.crashes
        counts = target.executions, target.accepted
        ended = 0
    else:
        found = guided_run(options.seconds)
        crashes = {kind: (t, bytes.fromhex(data)) for kind, (t, data) in found["crashes"].items()}
        counts, ended = (found["executions"], found["accepted"]), found["ended"]
        sys.stdout.write(found["said"])
    for number, (kind, (text, data)) in enumerate(crashes.items()):
        options.keep.mkdir(exist_ok=True)
        (options.keep / f"{number}.bin").write_bytes(data)
        sys.stdout.write(f"{kind}\n{text[-1500:]}\n")
    figures = (
        f"{counts[0]} executions in {options.seconds:.0f} s, {counts[1]} inputs accepted, "
        f"{len(crashes)} kinds of crashes, exit {ended}"
    )
    sys.stdout.write(f"{figures}\n")
    if options.page:
        text = TEXT.read_text(encoding="utf-8")
        PAGE.write_text(text.replace("@FIGURES@", f"{figures}."), encoding="utf-8")
    return 1 if crashes or ended else 0


if __name__ == "__main__":
    raise SystemExit(main())
