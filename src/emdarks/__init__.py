"""Dark calibration for EMCCD cameras: dark frames in, master darks and noise maps out."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from emdarks._version import __version__

if TYPE_CHECKING:
    from emdarks.accumulate import Checkpoint, Threads
    from emdarks.accumulate.dask import Dask
    from emdarks.bad_pixels import build_bad_pixel_map
    from emdarks.cameras import Camera, load_camera
    from emdarks.checks import inspect_campaign
    from emdarks.darks import (
        CalDarksLSQException,
        build_photon_counted_dark,
        build_synthesized_dark,
        build_trad_dark,
        calibrate_darks_lsq,
        mean_combine,
    )
    from emdarks.data import BadPixelMap, Dark, Dataset, DetectorNoiseMaps, DetectorParams, Image
    from emdarks.datasheet import DataSheet, characterize
    from emdarks.detector import detector_areas
    from emdarks.errors import EmdarksError, EmdarksWarning
    from emdarks.frames import prepare_frames
    from emdarks.half_split import check_darks
    from emdarks.subtract import subtract_dark

__all__ = [
    "BadPixelMap",
    "CalDarksLSQException",
    "Camera",
    "Checkpoint",
    "Dark",
    "Dask",
    "DataSheet",
    "Dataset",
    "DetectorNoiseMaps",
    "DetectorParams",
    "EmdarksError",
    "EmdarksWarning",
    "Image",
    "Threads",
    "__version__",
    "build_bad_pixel_map",
    "build_photon_counted_dark",
    "build_synthesized_dark",
    "build_trad_dark",
    "calibrate_darks_lsq",
    "characterize",
    "check_darks",
    "detector_areas",
    "inspect_campaign",
    "load_camera",
    "mean_combine",
    "prepare_frames",
    "subtract_dark",
]

# Compiled kernels take a second to load: names are fetched when they are used.
_HOMES = {
    "emdarks.bad_pixels": ("build_bad_pixel_map",),
    "emdarks.cameras": ("Camera", "load_camera"),
    "emdarks.darks": (
        "CalDarksLSQException",
        "build_photon_counted_dark",
        "build_synthesized_dark",
        "build_trad_dark",
        "calibrate_darks_lsq",
        "mean_combine",
    ),
    "emdarks.data": (
        "BadPixelMap",
        "Dark",
        "Dataset",
        "DetectorNoiseMaps",
        "DetectorParams",
        "Image",
    ),
    "emdarks.datasheet": ("DataSheet", "characterize"),
    "emdarks.detector": ("detector_areas",),
    "emdarks.errors": ("EmdarksError", "EmdarksWarning"),
    "emdarks.accumulate": ("Checkpoint", "Threads"),
    "emdarks.accumulate.dask": ("Dask",),
    "emdarks.frames": ("prepare_frames",),
    "emdarks.half_split": ("check_darks",),
    "emdarks.checks": ("inspect_campaign",),
    "emdarks.subtract": ("subtract_dark",),
}


def __getattr__(name: str) -> Any:
    for module, names in _HOMES.items():
        if name in names:
            return getattr(import_module(module), name)
    raise AttributeError(f"module 'emdarks' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
