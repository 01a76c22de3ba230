"""From whatever a caller hands over to frames that can be streamed.

Our own `Dataset` and any object with the documented attributes (``frames``;
frames with ``data``, ``err``, ``dq``, headers and ``filepath``) become a list
of `FrameInput`: a record, headers, and a source of pixels.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from emdarks.cameras import BUILTIN, Camera, FrameRecord, read_record, read_settings
from emdarks.errors import InputError
from emdarks.fits import Cards, FileLayout, scan_file
from emdarks.fits.pixels import ArraySource, FileSource
from emdarks.frames.array_checks import flags_plane, number_plane
from emdarks.frames.bias import LevelledSource, levelled
from emdarks.frames.image import Image
from emdarks.frames.raw_settings import CameraPlans
from emdarks.frames.raw_source import RawSource
from emdarks.frames.unknown_camera import foreign_frames, has_keywords_of

Source = ArraySource | FileSource
HEADERS = ("pri", "ext", "err", "dq")
#: Card with the processing level, and the levels at which frames are raw.
_LEVEL, _RAW = "DATALVL", frozenset({"L0", "L1"})


@dataclass(frozen=True, slots=True)
class Provenance:
    """The file of a frame, as found.

    Attributes
    ----------
    name : str
        File name without folder.
    path : str
        The file, as far as it is known, to tell files of one name apart.
    size, mtime_ns : int
        0 where the frame was only in memory.
    datasum : str
        Stored DATASUM of the image, or empty.
    frame : int or None
        Plane of a cube.
    hdu : int or None
        Index of its HDU, where every image of the file is a frame.
    """

    name: str
    path: str
    size: int
    mtime_ns: int
    datasum: str
    frame: int | None
    hdu: int | None = None


@dataclass(frozen=True, slots=True)
class FrameInput:
    """One frame, ready to be streamed."""

    record: FrameRecord
    source: Source | LevelledSource | RawSource
    headers: dict[str, Cards]
    provenance: Provenance

    @property
    def layout(self) -> FileLayout | None:
        """The file that the pixels lie in; None where they are in memory."""
        source = _stored(self.source)
        return source.layout if isinstance(source, FileSource) else None

    def is_in(self, path: str) -> bool:
        """Whether the pixels lie in this file, by its path as given or from any folder."""
        layout = self.layout
        return layout is not None and path in (layout.path, layout.absolute)


def _stored(source: Source | LevelledSource | RawSource) -> Source:
    """The frame as it is stored."""
    return source.inner if isinstance(source, (LevelledSource, RawSource)) else source


def _layer0(frame: Any) -> Any:
    err = getattr(frame, "err", None)
    if err is None:
        return None
    err = number_plane(err, f"{_name_of(frame)}: err")
    if err.ndim == 3 and not len(err):
        raise InputError(f"{_name_of(frame)}: err has no layer")
    return err[0] if err.ndim == 3 else err


def _source_of(frame: Any) -> Source | RawSource:
    own = getattr(frame, "source", None)
    if isinstance(own, (FileSource, RawSource)):
        return own
    if not hasattr(frame, "data"):
        raise InputError(
            f"a dataset holds frames or names of files, not {type(frame).__name__} objects"
        )
    data = frame.data
    if data is not None:
        data = number_plane(data, f"{_name_of(frame)}: data")
        if data.ndim != 2:
            raise InputError(
                f"{_name_of(frame)}: has pixels of shape {data.shape}; a frame has rows and columns"
            )
        dq = getattr(frame, "dq", None)
        source = ArraySource(data, _layer0(frame), _integers(dq, frame))
        for plane in (source.err, source.dq):
            if plane is not None and plane.shape != data.shape:
                raise InputError(
                    f"{_name_of(frame)}: err or dq has shape {plane.shape}, the data {data.shape}"
                )
        return source
    layout = scan_file(frame.filepath)
    if layout.n_frames != 1:
        raise InputError(f"{frame.filepath}: is a cube; open it with Dataset([path])")
    return FileSource(layout)


def _integers(dq: Any, frame: Any) -> Any:
    if dq is None:
        return None
    dq = flags_plane(dq, f"{_name_of(frame)}: dq")
    if dq.dtype.kind not in "iub":
        raise InputError(f"{_name_of(frame)}: dq holds {dq.dtype}, not bit flags")
    return dq


def _name_of(frame: Any) -> str:
    path = getattr(frame, "filepath", None) or getattr(frame, "filename", None) or "a frame"
    if isinstance(frame, Image):
        return f"{os.fspath(path)}{frame.part}"
    index = getattr(frame, "frame", None)
    return os.fspath(path) if index is None else f"{path}[{index}]"


def frame_name(frame: Any) -> str:
    """A frame by its file, with the plane of a cube, as messages and records name it."""
    return _name_of(frame)


def _cards_of(frame: Any, name: str) -> Cards:
    if isinstance(frame, Image):
        return frame.cards(name)
    return Cards.from_header(getattr(frame, f"{name}_hdr", None))


def _provenance(frame: Any, source: Source, headers: dict[str, Cards]) -> Provenance:
    layout = source.layout if isinstance(source, FileSource) else getattr(frame, "layout", None)
    name = Path(getattr(frame, "filename", None) or (layout.path if layout else "")).name
    return Provenance(
        name=name,
        path=_name_of_file(frame, layout),
        size=layout.size if layout else 0,
        mtime_ns=layout.mtime_ns if layout else 0,
        datasum=str(headers["ext"].get("DATASUM", "")),
        frame=getattr(frame, "frame", None),
        hdu=layout.image.hdu if layout and layout.extension else None,
    )


def _name_of_file(frame: Any, layout: FileLayout | None) -> str:
    return layout.path if layout else os.fspath(getattr(frame, "filepath", None) or "")


def frames_of(dataset: Any) -> Sequence[Any]:
    """Frames of a dataset, ours or another, or of a list of them; one at least."""
    frames = list(dataset.frames) if hasattr(dataset, "frames") else list(dataset)
    if not frames:
        raise InputError("the dataset has no frames")
    if isinstance(frames[0], (str, os.PathLike)):
        raise InputError("these are file names; make a Dataset of them first")
    return frames


def camera_named_in(dataset: Any) -> str:
    """Built-in camera that the first frame's CAMERA card names, else ``excam``.

    Raises
    ------
    MissingKeywordError
        There is no such card, and no frame has the keywords of ``excam``: the message names
        the cameras that fit.
    """
    frames = frames_of(dataset)
    named = next((card for card in _both(frames[0], "CAMERA") if card in BUILTIN), None)
    if named is not None:
        return str(named)
    default = BUILTIN[0]
    if not any(has_keywords_of(default, headers_of(frame)) for frame in frames):
        first = frames[0]
        path = getattr(first, "filepath", None) or getattr(first, "filename", None) or ""
        raise foreign_frames(
            default, len(frames), os.fspath(path), headers_of(first), shape_of(first)
        )
    return default


def headers_of(frame: Any) -> tuple[Cards, Cards]:
    """Image header and primary header of a frame, ours or another."""
    return _cards_of(frame, "ext"), _cards_of(frame, "pri")


def _both(frame: Any, keyword: str) -> Iterator[Any]:
    """Values of a keyword in the two headers of a frame."""
    return (cards.get(keyword) for cards in headers_of(frame))


def shape_of(frame: Any) -> tuple[int, int] | None:
    """Rows and columns of a frame, ours or another, without reading it; None if it has none."""
    shape = frame.shape if isinstance(frame, Image) else np.shape(getattr(frame, "data", ()))
    return (int(shape[0]), int(shape[1])) if len(shape) == 2 else None


def frame_inputs(dataset: Any, camera: Camera, kgain: float | None = None) -> list[FrameInput]:
    """Prepare every frame of a dataset; reads headers at most.

    Parameters
    ----------
    dataset : Dataset or an object like it
        The frames.
    camera : Camera
        Tells what their headers mean.
    kgain : float, optional
        Electrons per DN of frames whose camera does not know them.

    Returns
    -------
    list of FrameInput
        In the order of the dataset.

    Raises
    ------
    InputError, MissingKeywordError
        A frame cannot be used; the message names it.
    """
    plans = CameraPlans(camera)
    return [_prepare(frame, camera, kgain, plans) for frame in frames_of(dataset)]


def _prepare(frame: Any, camera: Camera, kgain: float | None, plans: CameraPlans) -> FrameInput:
    source = _source_of(frame)
    _check_extensions(frame, _stored(source), camera)
    headers = {name: _cards_of(frame, name) for name in HEADERS}
    record = read_record(
        camera,
        _name_of(frame),
        source.shape,
        (headers["ext"], headers["pri"]),
        plane=getattr(frame, "frame", None),
        k_gain=kgain,
    )
    _refuse_raw(record, headers, camera)
    provenance = _provenance(frame, _stored(source), headers)
    if isinstance(source, RawSource):
        return FrameInput(record, source, headers, provenance)
    plan = plans.plan(record)
    ready = levelled(source, record, camera) if plan is None else RawSource(source, plan)
    return FrameInput(record, ready, headers, provenance)


def _check_extensions(frame: Any, source: Source, camera: Camera) -> None:
    """Refuse one frame of a file all of whose images are frames of this camera."""
    if camera.frames.layout != "extensions" or not isinstance(source, FileSource):
        return
    layout = source.layout
    if not layout.extension and any(image.like_frame for image in layout.unread):
        raise InputError(
            f"{_name_of(frame)}: holds more frames, which were not read; open the files of camera "
            f"{camera.name} with Dataset(..., extensions=True)"
        )


def level_of(headers: Mapping[str, Cards]) -> str:
    """Processing level of a frame, such as "L2a", as its header says; empty where it does not."""
    for name in ("ext", "pri"):
        if _LEVEL in headers[name]:
            return str(headers[name][_LEVEL]).strip()
    return ""


def is_raw(level: str) -> bool:
    """Whether frames of a processing level hold their bias still."""
    return level.upper() in _RAW


def _refuse_raw(record: FrameRecord, headers: Mapping[str, Cards], camera: Camera) -> None:
    """Refuse frames with their bias inside, unless the camera says how to take it off."""
    level = level_of(headers)
    if is_raw(level) and camera.bias is None and not record.bias:
        raise InputError(
            f"{record.name}: is a raw frame ({_LEVEL} is {level!r}), with its bias level inside; "
            "prepare the frames (prepare_frames, emdarks prepare), or give frames of level L2a"
        )


def frame_settings(frame: Any, camera: Camera) -> dict[str, Any]:
    """Readout settings of one frame, whatever else its headers lack; see `read_settings`."""
    headers = _cards_of(frame, "ext"), _cards_of(frame, "pri")
    return read_settings(camera, _name_of(frame), headers)


def frame_sources(dataset: Any) -> list[Source | RawSource]:
    """Sources of the frames alone, all of one shape; headers are not looked at."""
    sources = [_source_of(frame) for frame in frames_of(dataset)]
    shapes = {source.shape for source in sources}
    if len(shapes) > 1:
        raise InputError(f"the frames have different shapes: {sorted(shapes)}")
    return sources
