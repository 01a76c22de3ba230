"""A set of frames: headers first, pixels when they are asked for."""

from __future__ import annotations

import operator
import os
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Self, overload

import numpy as np
import numpy.typing as npt

from emdarks.cameras import load_camera, read_record
from emdarks.errors import EmdarksError, InputError, MissingKeywordError
from emdarks.fits import FileLayout, Scanner, shown
from emdarks.frames.bad_frames import BadFrame
from emdarks.frames.frame_input import camera_named_in
from emdarks.frames.html import Picture, Rows, size_text, table_with_pictures
from emdarks.frames.image import Image
from emdarks.frames.unread_images import UnreadImages

Array = npt.NDArray[Any]

#: Most settings that the table in notebooks lists.
MOST_SETTINGS = 20


class Dataset:
    """Frames in a fixed order.

    Parameters
    ----------
    frames_or_filepaths : sequence of str, path-like or Image
        Files or URLs, of which only the headers are read now, or frames, which are kept
        as they are. A file that holds a cube of N frames counts as N frames.
    skip_bad_frames : bool
        Leave out files that cannot be read.
    extensions : bool
        Every image of a file is a frame (or a cube), as ``layout = "extensions"`` of a camera
        file says; its header is that of the primary HDU and of its own.

    Attributes
    ----------
    frames : list of Image
        The frames. Those of files are light: the pixels stay in the file.
    skipped : tuple of BadFrame
        Files that cannot be read and were left out, and why; products made of these frames
        list them. Kept by whatever makes a dataset of this one.
    left_out : tuple of BadFrame
        Files of a folder that were not taken, since their headers say that they are no darks
        or a product (see ``select_frames``), and why. Kept in the same way.
    chosen_from : int
        Frames of the largest dataset that these were chosen from, 0 where there is none: the
        share of skipped files is one of these.

    Raises
    ------
    InputError
        There are no frames, or a file cannot be read (with ``skip_bad_frames``: none can);
        the message names it.

    Warns
    -----
    EmdarksWarning
        Files hold images that are not read: how many, and which.

    Notes
    -----
    A second dataset over the same frames holds the same objects and changes
    nothing about the first.

    Examples
    --------
    >>> from emdarks import Dataset
    >>> from emdarks.data import sample
    >>> darks = Dataset(sample())
    >>> darks
    <Dataset of 24 frames>
    >>> darks[0].ext_hdr["EXPTIME"], darks[0].data.shape
    (2.0, (40, 62))
    >>> len(darks[:4])
    4
    """

    def __init__(
        self,
        frames_or_filepaths: Iterable[Any],
        *,
        skip_bad_frames: bool = False,
        extensions: bool = False,
    ):
        if isinstance(frames_or_filepaths, (str, os.PathLike)):
            raise InputError(f"{frames_or_filepaths}: give a list of files, not one file name")
        if not isinstance(frames_or_filepaths, Iterable):
            raise InputError(
                f"a dataset is made of a list of files or frames, not of {frames_or_filepaths!r}"
            )
        items = list(frames_or_filepaths)
        if not items:
            raise InputError("a dataset needs at least one frame")
        self.frames: list[Any] = items
        self.skipped: tuple[BadFrame, ...] = ()
        self.left_out: tuple[BadFrame, ...] = ()
        self.chosen_from = 0
        names = [isinstance(item, (str, os.PathLike)) for item in items]
        if any(names) and not all(names):
            raise InputError("a dataset is made of files or of frames, not of both; open the files")
        if names[0]:
            self.frames, self.skipped = _opened(items, skip_bad_frames, extensions)

    def __len__(self) -> int:
        return len(self.frames)

    def __iter__(self) -> Iterator[Any]:
        return iter(self.frames)

    @overload
    def __getitem__(self, index: int) -> Any: ...
    @overload
    def __getitem__(self, index: slice | Sequence[int] | Array) -> Self: ...
    def __getitem__(self, index: Any) -> Any:
        """One frame for an integer; a dataset for a slice, indices or a boolean array."""
        if isinstance(index, (int, np.integer)):
            return self.frames[index]
        if isinstance(index, slice):
            return self._of(self.frames[index])
        chosen = np.asarray(index)
        if chosen.ndim != 1 or chosen.dtype.kind not in "biuf":
            raise TypeError(
                f"frames are chosen by an integer, a slice, indices or booleans, not {index!r}"
            )
        if chosen.dtype == bool:
            if chosen.shape != (len(self),):
                raise IndexError(f"a boolean index needs {len(self)} entries, not {chosen.shape}")
            chosen = np.flatnonzero(chosen)
        return self._of([self.frames[operator.index(i)] for i in chosen])

    def _of(self, frames: list[Any]) -> Self:
        """Some of the frames; what could not be read may have belonged to them."""
        some = type(self)(frames)
        some.skipped, some.left_out = self.skipped, self.left_out
        some.chosen_from = max(self.chosen_from, len(self))
        return some

    def _stacked(self, plane: str) -> Array:
        return np.stack([getattr(frame, plane) for frame in self.frames])

    @property
    def all_data(self) -> Array:
        """Pixels of all frames, shape (frames, rows, columns); a new array each time."""
        return self._stacked("data")

    @property
    def all_err(self) -> Array:
        """Errors of all frames, shape (frames, layers, rows, columns); a new array."""
        return self._stacked("err")

    @property
    def all_dq(self) -> Array:
        """Flags of all frames, shape (frames, rows, columns); a new array each time."""
        return self._stacked("dq")

    def split_dataset(
        self,
        prihdr_keywords: Sequence[str] | None = None,
        exthdr_keywords: Sequence[str] | None = None,
    ) -> tuple[list[Self], list[Any]]:
        """Split by header values.

        Parameters
        ----------
        prihdr_keywords, exthdr_keywords : sequence of str, optional
            Keywords of the primary and of the image header; at least one.

        Returns
        -------
        datasets : list of Dataset
            One for each combination of values, sorted by them; frames keep their order.
        values : list
            The combinations: tuples, or plain values where there is one keyword.

        Raises
        ------
        InputError
            No keyword is given.
        MissingKeywordError
            A frame lacks one; names the frame.
        """
        keys = [("pri", key) for key in prihdr_keywords or ()]
        keys += [("ext", key) for key in exthdr_keywords or ()]
        if not keys:
            raise InputError("split_dataset needs at least one keyword")
        groups: dict[tuple[Any, ...], list[Any]] = {}
        for frame in self.frames:
            groups.setdefault(tuple(_value(frame, *key) for key in keys), []).append(frame)
        ordered = sorted(groups, key=_sortable)
        values = [value if len(keys) > 1 else value[0] for value in ordered]
        return [self._of(groups[value]) for value in ordered], values

    def copy(self, copy_data: bool = True) -> Self:
        """An independent copy; without ``copy_data`` frames share arrays, not headers."""
        return self._of([frame.copy(copy_data=copy_data) for frame in self.frames])

    def save(
        self, filedir: str | os.PathLike[str] | None = None, filenames: Sequence[str] | None = None
    ) -> None:
        """Save every frame.

        Parameters
        ----------
        filedir : str or path-like, optional
            Folder; each frame's own by default.
        filenames : sequence of str, optional
            One name a frame; the frames' own by default.
        """
        names: Sequence[str | None] = filenames or [None] * len(self)
        if len(names) != len(self):
            raise InputError(f"{len(names)} file names for {len(self)} frames")
        targets = [
            os.path.join(filedir or frame.filedir, name or frame.filename)  # noqa: PTH118
            for frame, name in zip(self.frames, names, strict=True)
        ]
        if len(set(targets)) < len(targets):
            twice = next(target for target in targets if targets.count(target) > 1)
            raise InputError(f"{twice}: several frames would be saved there; give filenames")
        for frame, name in zip(self.frames, names, strict=True):
            frame.save(filedir=filedir, filename=name)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of {len(self)} frames>"

    # In notebooks

    def _repr_html_(self) -> str:
        return table_with_pictures(type(self).__name__, self._rows(), self._pictures())

    def _rows(self) -> Rows:
        rows = [("frames", str(len(self)))]
        try:
            counts = self._settings()
        except EmdarksError as error:
            return [*rows, ("headers", str(error))]
        rows.append(("shape", " or ".join(sorted({size_text(key[0]) for key in counts}))))
        listed = sorted(counts.items(), key=lambda item: item[0][1:])
        for (_, time, gain, k_gain), count in listed[:MOST_SETTINGS]:
            rows.append((f"EM gain {gain:g}, {time:g} s, k-gain {k_gain:g}", f"{count} frames"))
        if len(listed) > MOST_SETTINGS:
            rows.append(("and more", f"{len(listed) - MOST_SETTINGS} settings"))
        return rows

    def _settings(self) -> Counter[Any]:
        """Numbers of frames by shape, time, gain and k-gain; reads headers only."""
        camera = load_camera(camera_named_in(self))
        counts: Counter[Any] = Counter()
        for frame in self:
            own = isinstance(frame, Image)
            ext = frame.cards("ext") if own else frame.ext_hdr
            pri = frame.cards("pri") if own else frame.pri_hdr
            shape = frame.shape if own else np.shape(frame.data)
            name = getattr(frame, "filename", "") or "a frame"
            record = read_record(camera, name, shape, (ext, pri))
            key = record.shape, record.exposure_time, record.commanded_gain, record.k_gain
            counts[key] += 1
        return counts

    def _pictures(self) -> Iterator[Picture]:
        from emdarks import plots

        first = self[0]
        if len(np.shape(first.data)) == 2:
            yield "the first frame", plots.thumbnail(first.data)


def _opened(
    paths: Sequence[str | os.PathLike[str]], skip: bool, extensions: bool
) -> tuple[list[Any], tuple[BadFrame, ...]]:
    frames: list[Any] = []
    skipped: list[BadFrame] = []
    unread = UnreadImages(extensions)
    for path, layouts in zip(paths, Scanner().scan_each(paths, extensions), strict=True):
        if not isinstance(layouts, InputError):
            frames += frames_in(layouts)
            unread.note(layouts[0])
        elif skip:
            skipped.append(BadFrame.of(shown(path), layouts))
        else:
            raise layouts
    if not frames:
        raise InputError(f"no file can be read; the first: {skipped[0].path}: {skipped[0].reason}")
    unread.tell(stacklevel=4)
    return frames, tuple(skipped)


def frames_in(layouts: Sequence[FileLayout]) -> list[Image]:
    """Frames of a file, lazily: one, or the planes of a cube, for each image that is read."""
    return [
        Image.lazy(layout, frame)
        for layout in layouts
        for frame in ([None] if len(layout.image.shape) == 2 else range(layout.n_frames))
    ]


def _value(frame: Any, header: str, keyword: str) -> Any:
    cards = frame.cards(header) if isinstance(frame, Image) else getattr(frame, f"{header}_hdr")
    if keyword not in cards:
        name = getattr(frame, "filename", "") or "a frame"
        raise MissingKeywordError(f"{name}: the {header} header has no {keyword}")
    return cards[keyword]


def _sortable(values: tuple[Any, ...]) -> tuple[tuple[bool, Any], ...]:
    """Sort numbers before texts, so that mixed values have an order."""
    return tuple((isinstance(value, str), value) for value in values)
