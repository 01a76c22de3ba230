"""What a frame asks of a library: its camera, settings, gain, times, as its header says them."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

from emdarks.arguments import is_number
from emdarks.cameras import Camera, FrameRecord, load_camera, read_record
from emdarks.detector import frame_shape, region_slices
from emdarks.fits import ascii_text
from emdarks.frames import camera_named_in, frames_of
from emdarks.frames.frame_input import frame_name, headers_of, level_of, shape_of
from emdarks.frames.prepared import is_raw_frame
from emdarks.library.entry import Kind
from emdarks.stacks.compatibility import bias_of, readout_text

Shape = tuple[int, int]

#: Processing level of raw frames when they have been prepared.
_PREPARED = "L2a"
_DARKS = (Kind.DARK, Kind.COUNTED_DARK, Kind.NOISE_MAPS)


@dataclass(frozen=True, slots=True)
class Request:
    """What a frame asks for.

    Attributes
    ----------
    kind : Kind
        ``Kind.DARK`` is answered by darks and by noise maps.
    name : str
        The frame.
    camera, settings, level, bias : str
        As in `Entry`; of raw frames those that they have when they have been prepared.
    shapes : frozenset of tuple of int
        Rows and columns of products that fit: the frame's; of a whole frame the image region's
        and of an image region the whole frame's, too.
    gain, commanded_gain : float
        EM gain to compute with, and as commanded.
    exposure_time : float
        Seconds.
    k_gain : float
        Electrons per DN.
    in_dn : bool
        Whether the frame is multiplied by it.
    time : float
        Start of the exposure, MJD; NaN where the header does not say it.
    temperature : float
        Of the detector, degrees Celsius; NaN where the header does not say it.
    threshold : float
        By which the frame is counted, EM electrons; NaN where nobody says it.
    raw : bool
        Whether the frame has to be prepared (level 1).
    offset_only : bool
        Of noise maps, their bias offset is all that is wanted.
    offset_of : str
        Path of the noise maps, as in `Entry`, whose offset it must be; empty where any will do.
    """

    kind: Kind
    name: str
    camera: str
    settings: str
    level: str
    bias: str
    shapes: frozenset[Shape]
    gain: float
    commanded_gain: float
    exposure_time: float
    k_gain: float
    in_dn: bool
    time: float
    temperature: float = math.nan
    threshold: float = math.nan
    raw: bool = False
    offset_only: bool = False
    offset_of: str = ""

    @property
    def of_dark(self) -> bool:
        """Whether a dark of its gain and time is wanted, from a dark or from noise maps."""
        return self.kind in _DARKS and not self.offset_only

    @property
    def setting(self) -> str:
        """Gain, time and readout setting in words."""
        known = f"EM gain {self.commanded_gain:g}, {self.exposure_time:g} s"
        return f"{known}, {self.settings}" if self.settings else known


def requests_of(
    dataset: Any,
    camera: str | Camera | None = None,
    kgain: float | None = None,
    kind: Kind = Kind.DARK,
    threshold: float | None = None,
) -> list[Request]:
    """What the frames of a dataset ask for; reads headers only.

    Parameters
    ----------
    dataset : Dataset, or an object like it
        Frames, of any cameras, raw ones among them.
    camera : str or Camera, optional
        Of all frames; by default the one that each frame's CAMERA card names, else ``excam``.
    kgain : float, optional
        Electrons per DN, instead of the headers'.
    kind : Kind
        What is wanted; a dark of frames whose electrons are counted is a photon-counted one.
    threshold : float, optional
        By which the frames are counted, EM electrons, instead of the headers' (table
        ``[counting]`` of the camera file, else card PCTHRESH).

    Raises
    ------
    InputError, MissingKeywordError
        A header cannot be used; the message names the frame.
    """
    geometry = _Geometry()
    found = [_request(frame, camera, kgain, kind, geometry) for frame in frames_of(dataset)]
    return [replace(one, threshold=threshold) for one in found] if threshold else found


def _request(
    frame: Any,
    named: str | Camera | None,
    kgain: float | None,
    kind: Kind,
    geometry: _Geometry,
) -> Request:
    camera = geometry.camera(named or camera_named_in([frame]))
    shape, headers, name = shape_of(frame) or (0, 0), headers_of(frame), frame_name(frame)
    plane = getattr(frame, "frame", None)
    record = read_record(camera, name, shape, headers, plane=plane, k_gain=kgain)
    raw = camera.raw is not None and is_raw_frame(frame, camera)
    counted = kind is Kind.DARK and record.counted is not None
    return Request(
        kind=Kind.COUNTED_DARK if counted else kind,
        name=name,
        camera=ascii_text(camera.name),
        settings=ascii_text(readout_text(record.setting)),
        level=_PREPARED if raw else level_of({"ext": headers[0], "pri": headers[1]}),
        # What is taken off raw frames is said when they are prepared.
        bias="" if raw else ascii_text(bias_of(record, camera) or ""),
        shapes=geometry.shapes(camera, shape),
        gain=record.em_gain,
        commanded_gain=record.commanded_gain,
        exposure_time=record.exposure_time,
        k_gain=kgain or record.k_gain,
        in_dn=record.in_dn and not raw,
        time=record.start,
        temperature=record.temperature,
        threshold=_threshold(record, headers[0]),
        raw=raw,
    )


def _threshold(record: FrameRecord, header: Any) -> float:
    """Of a frame that was counted; -999 in one that was not."""
    if record.counted is not None:
        return record.counted.threshold
    value = header.get("PCTHRESH")
    return float(value) if is_number(value) and value > 0 else math.nan


class _Geometry:
    """Cameras, and shapes that fit each other, each worked out once."""

    def __init__(self) -> None:
        self._cameras: dict[str, Camera] = {}
        self._shapes: dict[tuple[str, Shape], frozenset[Shape]] = {}

    def camera(self, named: str | Camera) -> Camera:
        if isinstance(named, Camera):
            return named
        if named not in self._cameras:
            self._cameras[named] = load_camera(named)
        return self._cameras[named]

    def shapes(self, camera: Camera, shape: Shape) -> frozenset[Shape]:
        key = camera.name, shape
        if key not in self._shapes:
            self._shapes[key] = frozenset(_fitting(camera.fitted_to(shape), shape))
        return self._shapes[key]


def _fitting(camera: Camera, shape: Shape) -> Iterable[Shape]:
    """Shapes of darks that can be subtracted from a frame."""
    yield shape
    whole = frame_shape(camera.arrtype, camera.regions)
    rows, columns = region_slices(camera.arrtype, "image", camera.regions)
    image = rows.stop - rows.start, columns.stop - columns.start
    if shape == whole:
        yield image
    elif shape == image:
        yield whole
