"""Products and frames of a few pixels, for libraries of many: files that pass all checks."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from astropy.io import fits

from emdarks.data import Dark, DetectorNoiseMaps
from emdarks.fits import image_hdu
from emdarks.products.provenance import iso_date

SHAPE = (7, 6)


@dataclass(frozen=True)
class Made:
    """What a product is said to be made of.

    Attributes
    ----------
    camera : str
        CAMERA card.
    readout : str
        READOUT card; empty for none.
    begin, end : float
        Observation times of the first and the last frame, MJD.
    k_gain : float
        Electrons per DN.
    seed : int
        Of its pixels.
    cards : dict
        Further cards.
    """

    camera: str
    begin: float
    end: float
    readout: str = ""
    k_gain: float = 8.7
    seed: int = 0
    cards: dict[str, Any] = field(default_factory=dict)

    def headers(self) -> tuple[fits.Header, fits.Header]:
        ext = fits.Header()
        ext["CAMERA"], ext["KGAINUSE"] = self.camera, self.k_gain
        ext["DATE-BEG"], ext["DATE-END"] = iso_date(self.begin), iso_date(self.end)
        ext["DRPNFILE"], ext["NFRAMES"] = 40, 40
        if self.readout:
            ext["READOUT"] = self.readout
        ext.update(self.cards)
        return fits.Header({"OBSNUM": "001"}), ext

    def noise(self, *shape: int) -> Any:
        return np.random.default_rng(self.seed).normal(size=(*shape, *SHAPE))


def save_dark(path: Path, made: Made, gain: float, time: float, error: float) -> Path:
    """Write a dark, all of whose pixels have the same error."""
    primary, ext = made.headers()
    ext["EMGAIN_C"], ext["EXPTIME"], ext["KGAINPAR"] = gain, time, made.k_gain
    data = 0.5 + error * made.noise()
    dark = Dark(data, primary, ext, None, np.full(SHAPE, error), np.zeros(SHAPE, np.uint16))
    dark.save(path.parent, path.name)
    return path


def save_maps(path: Path, made: Made, errors: Any, correlations: Any) -> Path:
    """Write noise maps, all of whose pixels have the same errors (3) and correlations (3)."""
    primary, ext = made.headers()
    ext["B_O"], ext["B_O_ERR"] = 0.0, 0.1
    err = np.broadcast_to(np.reshape(errors, (3, 1, 1)), (3, *SHAPE))
    corr = np.broadcast_to(np.reshape(correlations, (3, 1, 1)), (3, *SHAPE)).copy()
    signed = np.reshape([1.0, 0.02, 1e-3], (3, 1, 1)) + 0.01 * err * made.noise(3)
    hdus = [image_hdu(signed, name="SIGNED"), image_hdu(corr, name="CORR")]
    maps = DetectorNoiseMaps(
        np.abs(signed), primary, ext, None, err[None], np.zeros(signed.shape, np.uint16), None,
        None, hdus,
    )  # fmt: skip
    maps.save(path.parent, path.name)
    return path


def save_frame(path: Path, cards: dict[str, Any]) -> Path:
    """Write a frame of no light with these cards."""
    image = fits.ImageHDU(np.zeros(SHAPE, np.float32))
    image.header.update(cards)
    zeros = np.zeros(SHAPE, np.float32)
    extra = [fits.ImageHDU(zeros[None], name="ERR"), fits.ImageHDU(zeros.astype("u2"), name="DQ")]
    fits.HDUList([fits.PrimaryHDU(), image, *extra]).writeto(path)
    return path
