"""Frames and products: what users hold in their hands."""

from __future__ import annotations

from importlib import resources
from pathlib import Path

from emdarks.frames import Dataset, Image
from emdarks.products import BadPixelMap, Dark, DetectorNoiseMaps, DetectorParams

__all__ = [
    "BadPixelMap",
    "Dark",
    "Dataset",
    "DetectorNoiseMaps",
    "DetectorParams",
    "Image",
    "sample",
]


def sample() -> list[Path]:
    """Files of the small dark campaign that comes with the package.

    Simulated frames of 40 x 62 pixels (camera ``excam-sample``): six stacks of four
    frames each, of different EM gain and exposure time. Beside them lie ``truth.fits.gz``,
    the detector behind them (`emdarks.simulate.load_truth`), and a note on how they were
    made.

    Returns
    -------
    list of Path
        The frames, in the order in which they were taken.

    Examples
    --------
    >>> from emdarks.data import Dataset, sample
    >>> len(Dataset(sample()))
    24
    """
    folder = Path(str(resources.files("emdarks") / "sample_data"))
    return sorted(folder.glob("cgi_*.fits.gz"))
