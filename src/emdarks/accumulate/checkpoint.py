"""Finished blocks on disk: a run that was killed goes on, a campaign grows.

Each block has a file of its own: its moments in float64, the OR of all flags, the figures of
its frames, and what these were made of. The name of the file is a hash of the latter, so that
a block is found by its inputs and by nothing else; frames that changed are other inputs. A
file is written beside its name and renamed: it is there whole or not at all, whoever else
writes to the folder.

A stack that has grown, or lost its order, is covered by stored blocks whose frames are all
its own; only frames in none of them are read.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
import uuid
import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from emdarks.accumulate.blocks import (
    Adder,
    Block,
    Blocks,
    FrameFigures,
    Sample,
    StackJob,
    StackSums,
    in_blocks,
)
from emdarks.accumulate.executor import Count, Executor
from emdarks.accumulate.sums_version import sums_version
from emdarks.accumulate.threads import Threads
from emdarks.counting_sums import FurtherSums
from emdarks.errors import EmdarksWarning, InputError
from emdarks.fits import PART, whole_file
from emdarks.moments import SUMS, Moments

Array = npt.NDArray[Any]
A = TypeVar("A")
B = TypeVar("B")
Spec = dict[str, Any]
_Signature = tuple[str, int, int]

#: Version of the layout of the files.
FORMAT = 4
#: Figures of a frame that are numbers.
_NUMBERS = tuple(field.name for field in fields(FrameFigures) if field.name != "content")
_ENDING = ".block.npz"
_MARK = "emdarks-checkpoint"
# What the sums of a block depend on besides, where other code has made them.
_OLD = "old"
# Nobody writes one file for so long, s.
_ABANDONED = 3600.0


class Checkpoint(Executor):
    """An executor that keeps finished blocks in a folder, and takes them from there.

    Parameters
    ----------
    executor : Executor or None
        Who computes; the threads of this process where None.
    folder : str or path-like
        Made where it is missing. Processes on other machines must find it by the same
        path. Runs may share it, one after the other or at once.

    Raises
    ------
    InputError
        The folder cannot be used.

    Notes
    -----
    The same frames in the same order give the same bits as without a checkpoint, as long as
    the folder holds no other blocks of them. Frames that are in memory are not kept. Per
    pixel, a file has 20 bytes, 8 more where errors are not 0, and 8 more for each sample that
    screening keeps: 53 MB for a frame of 1200 x 2200 pixels, whatever the number of frames.
    """

    def __init__(self, executor: Executor | None, folder: str | os.PathLike[str]):
        self._executor = executor or Threads()
        self._blocks = KeptBlocks.prepared(folder)

    def map(self, function: Callable[[A], B], items: Iterable[A]) -> list[B]:
        """See `Executor`."""
        return self._executor.map(function, items)

    def stacks(
        self,
        jobs: Sequence[StackJob],
        into: Sequence[Moments] | None = None,
        blocks: Blocks | None = None,
        count: Count | None = None,
    ) -> Iterator[StackSums]:
        """See `Executor`; ``blocks`` is not used.

        Raises
        ------
        InputError
            Means along the sequence are wanted, which would take four times the space.
        """
        if any(job.mean_frames for job in jobs):
            raise InputError(
                "means along the sequence, which telegraph pixels are found in, are not kept in a "
                "checkpoint; do without one (checkpoint, --checkpoint), or without them"
            )
        return self._executor.stacks(jobs, into, self._blocks, count)

    def release(self, moments: Moments) -> None:
        """See `Executor`."""
        self._executor.release(moments)


@dataclass(frozen=True, slots=True)
class _Stored:
    """A block in the folder: its frames, and what else it depends on, as texts."""

    frames: tuple[str, ...]
    rest: str


class KeptBlocks(Blocks):
    """Blocks that are taken from a folder where they are there, and put there where not.

    Parameters
    ----------
    folder : Path
        Absolute.
    mark : str
        What stands in the folder's mark, to be sure that it is the same folder.
    """

    def __init__(self, folder: Path, mark: str):
        self.folder = folder
        self.mark = mark
        # By name, size and time of the files; None for those that are useless.
        self._known: dict[_Signature, _Stored | None] = {}
        self._told = False

    def __getstate__(self) -> dict[str, Any]:
        useless = {signature: None for signature, known in self._known.items() if known is None}
        return {"folder": self.folder, "mark": self.mark, "_known": useless, "_told": True}

    @classmethod
    def prepared(cls, folder: str | os.PathLike[str]) -> KeptBlocks:
        """Make the folder where it is missing, and clear away what killed runs left."""
        if "://" in os.fspath(folder):
            raise InputError(f"{folder}: a checkpoint needs a folder of a file system")
        path = Path(folder).absolute()
        try:
            path.mkdir(parents=True, exist_ok=True)
            _remove_abandoned(path)
            return cls(path, _marked(path))
        except OSError as error:
            raise InputError(
                f"{folder}: cannot be used as a checkpoint ({error.strerror or error}); "
                "name another folder"
            ) from None

    # Cutting

    def cut(self, job: StackJob) -> list[Block]:
        """Blocks of a stack: those of 128 frames, or stored ones and the frames in none."""
        usual = super().cut(job)
        specs = [_spec(block) for block in usual]
        stored = self._stored()
        missing = [i for i, spec in enumerate(specs) if spec and _key(spec) not in stored]
        if not missing or not stored or None in specs:
            return usual
        found = [block for i, block in enumerate(usual) if i not in missing]
        left = {i: _name(job.samples[i]) for block in missing for i in usual[block].indices}
        covers = _covers(left, _rest(specs[0]), stored.values())
        rest = sorted(left)
        found += Block.several(job, [*covers, *in_blocks(rest)])
        return sorted(found, key=lambda block: min(block.indices))

    def _stored(self) -> dict[str, _Stored]:
        """Blocks in the folder, by their keys."""
        found, old = {}, 0
        for path in self.folder.glob(f"*{_ENDING}"):
            signature = _signature(path)
            if signature is None:
                continue
            if signature not in self._known:
                self._known[signature] = _look_at(path)
            stored = self._known[signature]
            if stored is not None and stored.rest == _OLD:
                old += 1
            elif stored is not None:
                found[path.name.removesuffix(_ENDING)] = stored
        if old and not self._told:
            self._told = True
            warnings.warn(
                f"{self.folder}: holds {old} blocks that another version of emdarks has made; they "
                "are not used, and can be removed",
                EmdarksWarning,
                stacklevel=2,
            )
        return found

    # Taking and keeping

    def sums(self, block: Block, adder: Adder, into: Moments | None = None) -> StackSums:
        """See `Blocks`."""
        spec = _spec(block)
        if spec is None:
            return adder.add(block, into)
        into = adder.room(block.kind) if into is None else into
        path = self.folder / f"{_key(spec)}{_ENDING}"
        told: tuple[str, ...] = ()
        signature = _signature(path)
        # Of those that are useless, a user has heard.
        if signature is not None and self._known.get(signature, _Stored((), "")) is not None:
            try:
                return _load(path, spec, into)
            except Exception as error:  # damaged bytes can fail anywhere
                told = (_useless(path, error),)
                if into.err2 is not None:
                    into.err2[:] = 0.0
        sums = adder.add(block, into)
        sums = replace(sums, warnings=told + sums.warnings)
        self._keep(path, spec, sums)
        return sums

    def _keep(self, path: Path, spec: Spec, sums: StackSums) -> None:
        mark = self.folder / _MARK
        if not mark.exists() or _mark_in(mark) != self.mark:
            raise InputError(
                f"{self.folder}: is not the checkpoint that this run was started with; it must "
                "be on a file system that all workers share"
            )
        with whole_file(path) as file:
            np.savez(file, allow_pickle=False, **_arrays(spec, sums))


def _covers(left: dict[int, str | None], rest: str, stored: Iterable[_Stored]) -> list[list[int]]:
    """Stored blocks, the largest first, that consist of frames that are left; takes them out.

    Parameters
    ----------
    left : dict
        Names of frames by their indices.
    rest : str
        What the sums depend on besides.
    stored : iterable
        The blocks.

    Returns
    -------
    list of lists of int
        Indices of the frames of each block, in its order.
    """
    places: dict[str | None, list[int]] = {}
    for i in sorted(left, reverse=True):
        places.setdefault(left[i], []).append(i)
    found = []
    for block in sorted(stored, key=lambda block: (-len(block.frames), block.frames)):
        need = Counter(block.frames)
        if block.rest == rest and all(len(places.get(f, ())) >= c for f, c in need.items()):
            found.append([places[frame].pop() for frame in block.frames])
            for i in found[-1]:
                del left[i]
    return found


def _name(sample: Sample) -> str | None:
    """All that tells a frame from others, as a text; None for one in memory."""
    identity = sample.source.identity
    if identity is None:
        return None
    return json.dumps([*identity, float(sample.scale).hex()])


def _spec(block: Block) -> Spec | None:
    """What the sums of a block depend on; None where that cannot be told."""
    job = block.job
    frames = [_name(sample) for sample in job.samples]
    if any(frame is None for frame in frames):
        return None
    return {
        "format": FORMAT,
        "sums": sums_version(),
        "shape": list(job.shape),
        "mask": job.mask,
        "area": None if job.area is None else asdict(job.area),
        "kept": job.kept,
        "counting": _counting(job),
        "frames": frames,
    }


def _counting(job: StackJob) -> Any:
    """Thresholds and bins, which the counts of a block depend on."""
    if job.thresholds is None and job.histogram is None:
        return None
    found = (job.thresholds, job.histogram)
    return [*(at if at is None else asdict(at) for at in found), list(job.telemetry)]


def _rest(spec: Spec | None) -> str:
    """What sums depend on besides the frames."""
    return json.dumps({**(spec or {}), "frames": []}, sort_keys=True)


def _key(spec: Spec | None) -> str:
    text = json.dumps(spec, sort_keys=True)
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


def _arrays(spec: Spec, sums: StackSums) -> dict[str, Array]:
    """Content of a file."""
    moments = sums.moments
    arrays = {name: getattr(moments, name) for name in SUMS}
    if not moments.has_errors:
        arrays["err2"] = None
    arrays["histogram"] = moments.histogram
    if moments.counting is not None:
        arrays |= moments.counting.named()
    return {
        "spec": np.frombuffer(json.dumps(spec).encode(), np.uint8),
        "figures": np.array(
            [[getattr(figure, name) for name in _NUMBERS] for figure in sums.figures], np.float64
        ),
        "contents": np.array([figure.content for figure in sums.figures], "U16"),
        **{name: array for name, array in arrays.items() if array is not None},
    }


def _load(path: Path, spec: Spec, into: Moments) -> StackSums:
    """Sums in a file that was made from these inputs; damage shows in checksums."""
    with path.open("rb") as file, np.load(file, allow_pickle=False) as stored:
        if _key(_read_spec(stored)) != _key(spec):
            raise ValueError("made from other inputs")
        planes: dict[str, Any] = {name: stored.get(name) for name in SUMS}
        counting = None if into.counting is None else _counts(stored, into.counting)
        histogram = stored.get("histogram")
        has_errors = planes["err2"] is not None
        into.take(Moments(**planes, has_errors=has_errors, counting=counting, histogram=histogram))
        numbers: list[list[float]] = stored["figures"].tolist()
        contents: list[str] = stored["contents"].tolist()
    figures = tuple(_figures(row, content) for row, content in zip(numbers, contents, strict=True))
    return StackSums(into, figures, 0)


def _counts(stored: Any, like: FurtherSums) -> FurtherSums:
    return type(like)(*(stored[name] for name in like.named()))


def _figures(numbers: Sequence[float], content: str) -> FrameFigures:
    values: dict[str, Any] = dict(zip(_NUMBERS, numbers, strict=True))
    for name in ("not_finite", "at_highest", "pixels", "repaired_rows"):
        values[name] = int(values[name])
    values["over_saturated"] = bool(values["over_saturated"])
    return FrameFigures(**values, content=content)


def _read_spec(stored: Any) -> Spec:
    spec: Spec = json.loads(stored["spec"].tobytes())
    return spec


def _signature(path: Path) -> _Signature | None:
    """What changes when a file does; None where there is none."""
    try:
        status = path.stat()
    except FileNotFoundError:
        return None
    return path.name, status.st_size, status.st_mtime_ns


def _look_at(path: Path) -> _Stored | None:
    """What a file was made of; None, and a warning, where it is none of ours."""
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as stored:
            spec = _read_spec(stored)
        if path.name != f"{_key(spec)}{_ENDING}":
            raise ValueError("its content does not belong to its name")
        if (spec["format"], spec.get("sums")) != (FORMAT, sums_version()):
            return _Stored((), _OLD)
        return _Stored(tuple(spec["frames"]), _rest(spec))
    except Exception as error:  # damaged bytes can fail anywhere
        warnings.warn(_useless(path, error), EmdarksWarning, stacklevel=2)
        return None


def _useless(path: Path, error: Exception) -> str:
    reason = str(error) or type(error).__name__
    return f"{path}: is no whole block of a checkpoint ({reason}); its frames are read again"


def _marked(folder: Path) -> str:
    """What stands in the mark of a folder, which the first run puts there."""
    mark = folder / _MARK
    if not mark.exists():
        own = folder / f"{_MARK}-{uuid.uuid4().hex}{PART}"
        own.write_text(own.stem)
        try:
            os.link(own, mark)  # fails where another run was faster
        except FileExistsError:
            pass
        except OSError:  # a file system without links
            own.replace(mark)
        own.unlink(missing_ok=True)
    return _mark_in(mark)


def _mark_in(mark: Path) -> str:
    """What the mark holds; whatever bytes somebody put there."""
    return mark.read_text(encoding="utf-8", errors="replace")


def _remove_abandoned(folder: Path) -> None:
    """Remove what killed runs were writing; what others write now is younger."""
    for part in folder.glob(f"*{PART}"):
        with suppress(FileNotFoundError):
            if time.time() - part.stat().st_mtime > _ABANDONED:
                part.unlink()
