"""Raw (level 1) frames, and the frames of level 2a that they become while they are read.

`prepare_frames` makes a dataset of `PreparedImage`: each has the headers of a frame of level 2a,
and a source that makes electrons of the stored numbers (`RawSource`). All functions of emdarks take
them like frames whose electrons lie in a file; nothing is written in between.
"""

from __future__ import annotations

import os
import re
import warnings
from collections.abc import Sequence
from contextlib import closing
from dataclasses import replace
from functools import lru_cache
from typing import Any, NamedTuple, Self

import numpy as np
import numpy.typing as npt

from emdarks.arguments import is_number
from emdarks.cameras import Camera, FrameRecord, Unit, load_camera, read_record
from emdarks.detector import region_slices
from emdarks.errors import EmdarksError, EmdarksWarning, InputError
from emdarks.fits import Cards, ascii_text, image_hdu
from emdarks.fits import astropy_fits as fits
from emdarks.fits.pixels import ArraySource, FileSource, Scratch
from emdarks.frames.bad_frames import BadFrame
from emdarks.frames.dataset import Dataset
from emdarks.frames.frame_input import camera_named_in, frame_name, frames_of, headers_of
from emdarks.frames.image import Image
from emdarks.frames.raw_settings import NONE, RawSettings, raw_settings
from emdarks.frames.raw_source import RawReader, RawSource
from emdarks.raw import FramePlan, FrameScan, RawCalibration
from emdarks.raw.exemption import coronagraph_discs

Array = npt.NDArray[Any]

#: Cards that end with level 1, and those that no longer hold for other pixels.
_DROPPED = frozenset({"LOCAMT", "CYCLES", "LASTEXP", "DATASUM", "CHECKSUM", "BSCALE", "BZERO"})
#: Cards that say that a frame is none to be used, and what they say.
_UNUSED = {"ISACQ": "was taken during setup (ISACQ = 1)", "IS_BAD": "is marked as bad (IS_BAD = T)"}
_NAMED = 3


def level_2a_name(name: str) -> str:
    """File name of the frame of level 2a that a raw frame becomes."""
    found, count = re.subn(r"_l[01]_?(?=\.|_|$)", "_l2a", name, count=1)
    if count:
        return found
    stem, dot, ending = name.partition(".")
    return f"{stem}_l2a{dot}{ending or '.fits' if dot else '.fits'}"


class PreparedImage(Image):
    """A raw frame as the frame of level 2a that it becomes.

    Its pixels are read and made ready when they are asked for; made by `prepare_frames`.

    Attributes
    ----------
    raw : Image
        The raw frame.
    settings : RawSettings
        What it is made ready with.
    plan : FramePlan
        The same for this frame.
    k_gain : float
        Electrons per DN.
    in_dn : bool
        Whether the pixels are linear DN, not electrons.
    """

    raw: Image
    settings: RawSettings
    plan: FramePlan
    k_gain: float
    in_dn: bool

    @classmethod
    def of(
        cls, raw: Image, settings: RawSettings, plan: FramePlan, k_gain: float, in_dn: bool = False
    ) -> PreparedImage:
        """The frame of level 2a of a raw frame."""
        image = cls.__new__(cls)
        image._begin()
        image.raw, image.settings, image.plan = raw, settings, plan
        image.k_gain, image.in_dn = k_gain, in_dn
        image.filedir, image.filename = raw.filedir, raw.filename
        image._layout, image._frame = raw.layout, raw.frame
        return image

    @property
    def source(self) -> Any:
        """What the stream reads; None where a plane was replaced, or only the image is wanted."""
        held = (self._data, self._err, self._dq)
        if self.plan.calibration.area is not None or any(plane is not None for plane in held):
            return None
        return self._source

    @property
    def _source(self) -> RawSource:
        return RawSource(_stored(self.raw), self.plan)

    def _read(self, name: str) -> Array:
        plane: Array = getattr(_planes(self), name)
        return plane.view()

    def _shape(self) -> tuple[int, ...]:
        if self._data is not None:
            return self._data.shape
        first, last, left, right = self.plan.area(_shape_of(self.raw))
        return last - first, right - left

    def cards(self, name: str) -> Cards:
        """See `Image.cards`; those of level 2a."""
        if name in self._headers:
            return super().cards(name)
        if name in ("err", "dq"):
            return Cards(())
        own = self.raw.cards(name)
        return own if name == "pri" else _level_2a(own, self)

    @property
    def scan(self) -> FrameScan:
        """What the first sweep over the frame learnt."""
        return _planes(self).scan

    @property
    def hdu_list(self) -> fits.HDUList:
        """HDU BIAS, the bias of each row in DN, and those of the raw file."""
        if self._hdu_list is None:
            first, last, _, _ = self.plan.area(_shape_of(self.raw))
            rows = self.scan.bias[first:last].astype(np.float32)
            self._hdu_list = fits.HDUList(
                [*self.raw.hdu_list, image_hdu(rows, fits.Header(), "BIAS")]
            )
        return self._hdu_list

    def in_memory(self, made: _Planes | None = None) -> Image:
        """The frame of level 2a with its pixels in memory."""
        planes = made_ready(self) if made is None else made
        image = Image(planes.data, self.pri_hdr.copy(), self.ext_hdr.copy(), planes.err, planes.dq)
        bias = image_hdu(planes.bias.astype(np.float32), fits.Header(), "BIAS")
        image._hdu_list = fits.HDUList([*self.raw.hdu_list, bias])
        image.filename = level_2a_name(self.filename)
        return image

    def save(
        self, filedir: str | os.PathLike[str] | None = None, filename: str | None = None
    ) -> None:
        """See `Image.save`; the file name is that of level 2a by default."""
        super().save(filedir, filename or level_2a_name(self.filename))


def _shape_of(raw: Image) -> tuple[int, int]:
    rows, cols = raw.shape
    return rows, cols


def _stored(raw: Image) -> ArraySource | FileSource:
    return raw.source or ArraySource(raw.data)


class _Planes(NamedTuple):
    """A frame made ready."""

    data: Array
    err: Array
    dq: Array
    scan: FrameScan
    bias: Array


def made_ready(image: PreparedImage) -> _Planes:
    """Pixels, errors and flags of a frame."""
    rows, cols = _shape_of(image.raw)
    first, last, left, right = image.plan.area((rows, cols))
    shape = last - first, cols
    with closing(image._source.open()) as reader:
        assert isinstance(reader, RawReader)
        data, err, dq = reader.pixels(first * cols, last * cols, Scratch(1))
        scan = reader.scan
    errors = np.zeros(shape) if err is None else err.reshape(shape)
    flags = np.zeros(shape, np.uint16) if dq is None else dq.reshape(shape)
    return _Planes(
        data.reshape(shape)[:, left:right],
        errors[np.newaxis, :, left:right],
        flags[:, left:right],
        scan,
        scan.bias[first:last],
    )


# Whoever asks for data, err and dq one after the other has them made once.
@lru_cache(maxsize=1)
def _planes(image: PreparedImage) -> _Planes:
    """The same, read-only."""
    made = made_ready(image)
    for plane in (made.data, made.err, made.dq):
        plane.flags.writeable = False
    return made


# ---------------------------------------------------------------- headers


def _level_2a(own: Cards, image: PreparedImage) -> Cards:
    """The image header of a raw frame as that of the frame of level 2a."""
    settings, plan = image.settings, image.plan
    keywords, k_gain = settings.camera.keywords, settings.k_gain
    well, unit = settings.full_well, Unit.DN if image.in_dn else Unit.EM_ELECTRON
    values: dict[str, tuple[Any, str]] = {
        (keywords.unit or ("BUNIT",))[0]: (unit.value, "unit of the pixels"),
        "DATALVL": ("L2a", "level of the data"),
        (keywords.k_gain or ("KGAINPAR",))[0]: (image.k_gain, "electrons per DN"),
        "KGAIN_ER": (0.0 if k_gain is None else k_gain.error, "error of the electrons per DN"),
        "IS_BAD": (False, "whether the frame is of no use"),
        # Without comments: the name of a file may fill a card.
        "NONLIN": (ascii_text(settings.linearity_name), ""),
        "KGAINSRC": ("headers" if k_gain is None else ascii_text(k_gain.source), ""),
        "BIASOFF": (ascii_text(settings.offset_name or NONE), ""),
        "BIASOFFV": ((settings.offset or (0.0,))[0], "that bias offset, DN"),
        "CRSEARCH": (settings.search_name, "parameters of the search for cosmic rays"),
        "NAXIS1": (image.shape[1], "columns"),
        "NAXIS2": (image.shape[0], "rows"),
    }
    if np.isfinite(plan.well):
        values["FWC_PP_E"] = (well.pixel, "full well of a pixel, e-")
        values["FWC_EM_E"] = (well.register, "full well of the gain register, e-")
        values["SAT_DN"] = (plan.saturation, "saturated from here on, DN above bias")
    if k_gain is not None and k_gain.read_noise is not None:
        values["RN"] = (k_gain.read_noise, "read noise, EM electrons")
        values["RN_ERR"] = (k_gain.read_noise_error or 0.0, "its error")
    return own.edited(values, _DROPPED, _history(image))


def _history(image: PreparedImage) -> list[str]:
    """What was done to a frame, in the words of the reference, whose tools read them."""
    settings = image.settings
    lines = ["Bias subtracted"]
    if settings.offset_name not in ("", NONE):
        lines.append(f"Bias offset of {settings.offset_name} added")
    if settings.search is not None:
        threshold = settings.search.threshold * image.plan.well
        lines.append(f"Cosmic ray threshold of {threshold} used.")
        lines.append("Cosmic ray mask created with median_filter_mode = 0.")
    if settings.linearity is not None:
        lines.append(f"Data corrected for non-linearity with {settings.linearity_name}")
    lines.append("Updated Data Level to L2a")
    if not image.in_dn:
        lines.append(f"data converted to detected EM electrons by kgain {image.k_gain}")
    return lines


# ---------------------------------------------------------------- datasets


def is_raw_frame(frame: Any, camera: Camera) -> bool:
    """Whether a frame is raw: as the camera file says, else where its unit is DN."""
    if isinstance(frame, PreparedImage):
        return False
    headers = headers_of(frame)
    if camera.raw is not None:
        key = camera.raw.keyword
        found = next((header[key] for header in headers if key in header), None)
        return found is not None and camera.raw.answer(found) is True
    keys = camera.keywords.unit
    text = next((str(h[k]) for k in keys for h in headers if k in h), "").strip().lower()
    return camera.units.get(text) is Unit.DN


def raw_frames_in(dataset: Any, camera: str | Camera | None = None) -> bool:
    """Whether a dataset has frames that have to be prepared: raw ones, as the camera file says."""
    chosen = load_camera(camera or camera_named_in(dataset))
    return chosen.raw is not None and any(is_raw_frame(f, chosen) for f in frames_of(dataset))


class PreparedDataset(Dataset):
    """Frames of level 2a made of raw frames.

    Attributes
    ----------
    preparation : str
        What they are made with, in words.
    unused : tuple of BadFrame
        Frames taken during setup, or marked as bad.
    """

    preparation: str = ""
    unused: tuple[BadFrame, ...] = ()

    def _of(self, frames: list[Any]) -> Self:
        found = super()._of(frames)
        found.preparation, found.unused = self.preparation, self.unused
        return found


def prepare_frames(
    dataset: Any,
    *,
    nonlinearity: Any = None,
    kgain: Any = None,
    detector_params: Any = None,
    offset: Any = None,
    cosmic_rays: str | None = None,
    camera: str | Camera | None = None,
    image_only: bool = False,
    in_dn: bool = False,
    skip_bad_frames: bool = False,
) -> PreparedDataset:
    """Make frames of level 2a of raw frames, lazily: all functions take them.

    Bias of each row, flags of saturated pixels (32) and of cosmic rays (128), linearity, electrons:
    the steps of corgidrp 5.1.1, from the stored numbers, while the frames are read.

    Parameters
    ----------
    dataset : Dataset or an object like it
        Raw frames; reads headers only.
    nonlinearity : str, path-like, Linearity or "none"
        Nonlinearity table; "none" takes the frames as linear. By default that of the camera
        file.
    kgain : float, str, path-like, optional
        Electrons per DN, or a k-gain file with its error and the read noise. By default each
        frame's own, from its header.
    detector_params : DetectorParams, str or path-like, optional
        Full wells FWC_PP_E and FWC_EM_E; by default those of the camera file.
    offset : DetectorNoiseMaps, str, path-like or "none", optional
        Noise maps whose bias offset belongs to these frames. Noise maps are made without; darks
        need it, and "none" takes it as 0.
    cosmic_rays : {"standard", "dark", "off"}, optional
        Parameters of the search for cosmic rays; by default those of the camera file.
    camera : str or Camera, optional
        By default the one that the frames name.
    image_only : bool
        Only the image region, as science frames are used: its rows alone say which bias is
        repaired.
    in_dn : bool
        Linear DN in the place of electrons.
    skip_bad_frames : bool
        Leave out frames whose headers do not tell what is needed; ``skipped`` has them.

    Returns
    -------
    PreparedDataset
        Of frames of level 2a. Frames taken during setup, or marked as bad, are in
        ``unused``, and in ``left_out`` with files that were no frames.

    Raises
    ------
    InputError
        A frame is not raw, or something that raw frames need is missing or cannot be read.

    Warns
    -----
    EmdarksWarning
        Frames are left out.
    """
    chosen = load_camera(camera or camera_named_in(dataset))
    frames = frames_of(dataset)
    other = next((frame for frame in frames if not is_raw_frame(frame, chosen)), None)
    if other is not None:
        raise InputError(
            f"{frame_name(other)}: is no raw frame; give raw frames alone (level 1), or prepare "
            "them with emdarks prepare and give all frames of level 2a"
        )
    settings = raw_settings(
        chosen,
        nonlinearity=nonlinearity,
        kgain=kgain,
        detector_params=detector_params,
        offset=offset,
        cosmic_rays=cosmic_rays,
    )
    made = _Maker(settings, image_only, in_dn)
    prepared, skipped = [], list(getattr(dataset, "skipped", ()))
    for frame in frames:
        try:
            image = made.prepared(frame)
        except EmdarksError as error:
            if not skip_bad_frames:
                raise
            skipped.append(BadFrame.of(frame_name(frame), error))
        else:
            prepared += [] if image is None else [image]
    if not prepared:
        first = (*made.left_out, *skipped)[0]
        raise InputError(f"no frame is left: {first.path}: {first.reason}")
    found = PreparedDataset(prepared)
    found.preparation = _in_words(settings, prepared)
    found.skipped, found.unused = tuple(skipped), tuple(made.left_out)
    found.left_out = (*getattr(dataset, "left_out", ()), *made.left_out)
    found.chosen_from = getattr(dataset, "chosen_from", 0)
    tell_left_out(made.left_out, len(frames))
    return found


def _in_words(settings: RawSettings, frames: Sequence[PreparedImage]) -> str:
    """What frames are made with."""
    own = settings.k_gain
    values = sorted({frame.k_gain for frame in frames})
    k_gain = f"{values[0]:g}" if len(values) == 1 else f"{values[0]:g} to {values[-1]:g}"
    source = "from the headers" if own is None else own.source
    offset = settings.offset_name or "not given"
    return (
        f"nonlinearity {settings.linearity_name}; k-gain {k_gain} e-/DN, {source}; full wells "
        f"{settings.full_well.pixel:g} and {settings.full_well.register:g} e-; bias offset "
        f"{offset}; cosmic rays {settings.search_name}"
    )


def check_offset(dataset: Any, product: str) -> None:
    """Refuse raw frames of which nobody said what bias offset they have.

    Raises
    ------
    InputError
        Nothing was said.
    """
    for frame in frames_of(dataset):
        if isinstance(frame, PreparedImage) and frame.settings.offset is None:
            raise InputError(
                f"{product} of raw frames needs the bias offset of noise maps: give them (offset, "
                "--offset MAPS), or 'none' to take it as 0"
            )


def tell_left_out(left_out: Sequence[BadFrame], frames: int) -> None:
    """Say which raw frames are not used."""
    if left_out:
        named = "; ".join(f"{bad.name}: {bad.reason}" for bad in left_out[:_NAMED])
        rest = len(left_out) - _NAMED
        warnings.warn(
            f"{len(left_out)} of {frames} raw frames left out: {named}"
            + (f"; and {rest} more" if rest > 0 else ""),
            EmdarksWarning,
            stacklevel=3,
        )


class _Maker:
    """Makes frames of level 2a; those of no use are in `left_out`."""

    def __init__(self, settings: RawSettings, image_only: bool, in_dn: bool):
        self.settings = settings
        self.left_out: list[BadFrame] = []
        self._image_only = image_only
        self._in_dn = in_dn
        # Frames of one k-gain share a calibration.
        self._calibrations: dict[float, RawCalibration] = {}

    def prepared(self, frame: Any) -> PreparedImage | None:
        """A frame of level 2a; None where it is left out."""
        raw = frame if isinstance(frame, Image) else _as_image(frame)
        ext, pri = raw.cards("ext"), raw.cards("pri")
        name = frame_name(frame)
        reason = next((why for key, why in _UNUSED.items() if _holds(key, ext, pri)), "")
        if reason:
            self.left_out.append(BadFrame(name, reason))
            return None
        record = self._record(name, raw, ext, pri)
        plan = FramePlan(self._calibration(record), record.em_gain, self._discs(name, ext))
        return PreparedImage.of(raw, self.settings, plan, record.k_gain, self._in_dn)

    def _discs(self, name: str, ext: Cards) -> tuple[tuple[float, float, float], ...]:
        """Where a coronagraph has its light."""
        if self.settings.search is None:
            return ()
        origin = self._area()[::2] if self._image_only else (0, 0)
        try:
            return coronagraph_discs(ext, origin)
        except InputError as error:
            raise InputError(f"{name}: {error}") from None

    def _record(self, name: str, raw: Image, ext: Cards, pri: Cards) -> FrameRecord:
        camera, given = self.settings.camera, self.settings.k_gain
        known = None if given is None else given.value
        record = read_record(camera, name, _shape_of(raw), (ext, pri), k_gain=known)
        if known is not None:
            return replace(record, k_gain=known)
        if not record.k_gain > 0:
            raise InputError(
                f"{name}: its header has a k-gain of {record.k_gain:g}; give the electrons per DN "
                "(kgain, --kgain FILE|NUMBER)"
            )
        return record

    def _calibration(self, record: FrameRecord) -> RawCalibration:
        if record.k_gain not in self._calibrations:
            area = self._area() if self._image_only else None
            made = self.settings.calibration(record.k_gain, area)
            self._calibrations[record.k_gain] = made.in_dn if self._in_dn else made
        return self._calibrations[record.k_gain]

    def _area(self) -> tuple[int, int, int, int]:
        camera = self.settings.camera
        rows, cols = region_slices(camera.arrtype, "image", camera.regions)
        return rows.start, rows.stop, cols.start, cols.stop


def _holds(key: str, *headers: Cards) -> bool:
    found = next((header[key] for header in headers if key in header), False)
    return found is True or (is_number(found) and found == 1)


def _as_image(frame: Any) -> Image:
    """A frame of another library, with its pixels as they are."""
    image = Image(np.asarray(frame.data), frame.pri_hdr, frame.ext_hdr)
    path = getattr(frame, "filepath", None) or getattr(frame, "filename", None) or ""
    image.filedir, image.filename = os.path.split(os.fspath(path))
    return image
