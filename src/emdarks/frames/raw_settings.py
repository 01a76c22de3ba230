"""What is needed to make electrons of raw frames: settings, and the files that they name."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from emdarks.arguments import is_number
from emdarks.cameras import Camera, FrameRecord
from emdarks.cameras.schema import Bias, CosmicRays
from emdarks.detector import region_slices
from emdarks.errors import InputError
from emdarks.frames.calibration_files import (
    KGain,
    read_full_well,
    read_k_gain,
    read_nonlinearity,
    read_offset,
)
from emdarks.raw import (
    DARK,
    STANDARD,
    CosmicRaySearch,
    FramePlan,
    FullWell,
    Linearity,
    RawCalibration,
    RowBias,
)

#: Said in the place of a file: there is none.
NONE = "none"
#: Parameters of the search by the names of the sets.
SEARCHES: dict[str, CosmicRaySearch | None] = {"standard": STANDARD, "dark": DARK, "off": None}


@dataclass(frozen=True, slots=True)
class RawSettings:
    """What is needed to make electrons of raw frames, read from its files.

    Attributes
    ----------
    camera : Camera
        Tells the bias columns, and what headers mean.
    linearity : Linearity or None
        Nonlinearity table; None takes the frames as linear.
    linearity_name : str
        Its file, or "none".
    k_gain : KGain or None
        Electrons per DN; None takes each frame's own, from its header.
    full_well : FullWell
        Electrons.
    offset : tuple of float or None
        Bias offset of noise maps and its error, DN; None where nothing was said of it.
    offset_name : str
        Their file, "none", or empty.
    search : CosmicRaySearch or None
        How cosmic rays are searched; None does not.
    search_name : str
        The name of its set.
    saturation : float
        Share of the full well from which on a pixel is saturated.
    """

    camera: Camera
    linearity: Linearity | None
    linearity_name: str
    k_gain: KGain | None
    full_well: FullWell
    offset: tuple[float, float] | None
    offset_name: str
    search: CosmicRaySearch | None
    search_name: str
    saturation: float = 0.95

    def calibration(self, k_gain: float, area: tuple[int, int, int, int] | None) -> RawCalibration:
        """What the sweeps over a frame of this k-gain need."""
        offset, error = self.offset or (0.0, 0.0)
        given = self.k_gain
        return RawCalibration(
            bias=_row_bias(self.camera, offset, error),
            k_gain=k_gain,
            k_gain_error=0.0 if given is None else given.error,
            full_well=self.full_well,
            saturation=self.saturation,
            search=self.search,
            linearity=self.linearity,
            area=area,
        )


def _bias_rule(camera: Camera) -> Bias | None:
    return camera.bias if camera.raw is None or camera.raw.bias is None else camera.raw.bias


def _row_bias(camera: Camera, offset: float, error: float) -> RowBias:
    rule = _bias_rule(camera)
    by_mean = rule is not None and rule.region is not None and rule.statistic != "median"
    if (rule is None and camera.raw is not None) or (rule and rule.file) or by_mean:
        raise InputError(
            f"camera {camera.name}: raw frames need a bias that is a level or the median of a "
            "region ([raw.bias] or [bias] of the camera file)"
        )
    if rule is None or rule.region is None:
        level = 0.0 if rule is None or rule.level is None else rule.level
        return RowBias("level", level=level, offset=offset, offset_error=error)
    limit = np.inf if rule.num_stds is None else rule.num_stds
    columns = region_slices(camera.arrtype, rule.region, camera.regions)[1]
    return RowBias(
        rule.per, (columns.start, columns.stop), num_stds=limit, offset=offset, offset_error=error
    )


def raw_settings(
    camera: Camera,
    *,
    nonlinearity: Any = None,
    kgain: Any = None,
    detector_params: Any = None,
    offset: Any = None,
    cosmic_rays: str | None = None,
) -> RawSettings:
    """Read what raw frames need; see `prepare_frames`.

    Raises
    ------
    InputError
        Something is missing, or its file cannot be read; says what for, and what to give.
    """
    linearity, linearity_name = _linearity(camera, nonlinearity)
    well = FullWell(camera.noise.full_well_image, camera.noise.full_well_register)
    if detector_params is not None:
        well = read_full_well(detector_params)
    name = camera.cosmic_rays.search if cosmic_rays is None else cosmic_rays
    if name not in SEARCHES:
        raise InputError(f"cosmic_rays is {name!r}; it must be one of {', '.join(SEARCHES)}")
    search = SEARCHES[name]
    if search is not None and not (np.isfinite(well.pixel) and np.isfinite(well.register)):
        raise InputError(
            f"cosmic rays are searched in shares of the full well, which camera {camera.name} does "
            "not know: give detector parameters (detector_params, --params FILE), the full wells "
            "in the camera file, or search none (cosmic_rays, --cosmic-rays off)"
        )
    known, offset_name = _offset(offset)
    own = camera.cosmic_rays
    if cosmic_rays is None and search is not None:
        search = _own_parameters(search, own)
    share = 0.95 if own.saturation is None else own.saturation
    return RawSettings(
        camera, linearity, linearity_name, k_gain_of(kgain), well, known, offset_name, search, name,
        share,
    )  # fmt: skip


def _own_parameters(search: CosmicRaySearch, own: CosmicRays) -> CosmicRaySearch:
    """The set of a camera file with the parameters that it gives itself."""
    names = ("threshold", "plateau", "filter", "box", "tail", "tail_per_gain")
    given = {name: value for name in names if (value := getattr(own, name)) is not None}
    if "tail_per_gain" in given:
        given["tail"] = None
    return replace(search, **given)


def _linearity(camera: Camera, given: Any) -> tuple[Linearity | None, str]:
    if given is None and camera.linearity is not None:
        given = camera.linearity.file
    if given is None:
        raise InputError(
            "raw frames need a nonlinearity table: give its file (nonlinearity, --nonlinearity "
            "FILE), or 'none' to take the frames as linear"
        )
    if isinstance(given, Linearity):
        return given, "a table in memory"
    if given == NONE:
        return None, NONE
    return read_nonlinearity(given), Path(os.fspath(given)).name


def k_gain_of(given: Any) -> KGain | None:
    """k-gain of a number, as a text or not, or of a k-gain file; None where none is given."""
    if given is None or isinstance(given, KGain):
        return given
    text = given if isinstance(given, str) else ""
    if is_number(given) or _is_number(text):
        value = float(given)
        if not (np.isfinite(value) and value > 0):
            raise InputError(
                f"kgain is {given!r}; it must be a positive number of electrons per DN"
            )
        return KGain(value, source="as given")
    return read_k_gain(given)


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _offset(given: Any) -> tuple[tuple[float, float] | None, str]:
    if given is None:
        return None, ""
    if isinstance(given, str) and given == NONE:
        return (0.0, 0.0), NONE
    name = getattr(given, "filename", None) or given
    return read_offset(given), Path(os.fspath(name)).name


class CameraPlans:
    """How frames in DN are made ready of whose cosmic rays or linearity the camera file tells.

    Parameters
    ----------
    camera : Camera
        One of whose frames no header says which are raw: all in DN are.
    """

    def __init__(self, camera: Camera):
        self._camera = camera

    @cached_property
    def _settings(self) -> RawSettings | None:
        """None where the camera file asks for neither."""
        camera = self._camera
        linear = camera.linearity is None or camera.linearity.path is None
        if camera.raw is not None or (linear and camera.cosmic_rays.search == "off"):
            return None
        return raw_settings(camera, offset=NONE)

    def plan(self, record: FrameRecord) -> FramePlan | None:
        """What is done to a frame: linear DN, with flags; None where nothing is."""
        settings = self._settings
        if settings is None or not record.in_dn:
            return None
        made = settings.calibration(record.k_gain, None)
        if made.bias.source == "level":  # that of the frame's mode comes first
            made = replace(made, bias=replace(made.bias, level=record.bias))
        well = settings.full_well.counts(record.em_gain, record.k_gain)
        # The converter may end before the well is full.
        end = (record.saturation - record.bias) / settings.saturation
        return FramePlan(replace(made, full_well=min(well, end)).in_dn, record.em_gain)
