"""A small good campaign, and how to spoil files of it, for `validation.hostile`.

24 frames of 23 x 37 pixels in five stacks, as files of the camera's layout: image, ERR, DQ.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from astropy.io import fits

__all__ = ["BLOCK", "CAMERA", "Place", "write_good"]

Array = npt.NDArray[Any]

BLOCK = 2880
ROWS, COLS = 23, 37
#: EM gain, exposure time in seconds, frames.
STACKS = ((1.0, 2.0, 5), (1.0, 60.0, 4), (40.0, 11.0, 5), (300.0, 50.0, 4), (2000.0, 80.0, 6))
FRAMES = sum(count for _, _, count in STACKS)

CAMERA = f"""
like = "excam"
name = "tiny"
description = "EXCAM in a tiny geometry"
telemetry_rows = [{ROWS - 1}, {ROWS}]

[geometry.SCI]
frame_rows = {ROWS}
frame_cols = {COLS}
image = {{ rows = 17, cols = 15, r0c0 = [2, 18] }}
prescan = {{ rows = {ROWS}, cols = 16, r0c0 = [0, 0], col_start = 9, col_end = 14 }}
prescan_reliable = {{ rows = {ROWS}, cols = 5, r0c0 = [0, 9] }}
parallel_overscan = {{ rows = 3, cols = 18, r0c0 = [20, 16] }}
serial_overscan = {{ rows = {ROWS}, cols = 3, r0c0 = [0, 34] }}
"""


def _frame(number: int, gain: float, time: float, data: Array, dq: Array) -> fits.HDUList:
    primary = fits.PrimaryHDU()
    primary.header["VISTYPE"] = "CGIVST_CAL_DRK"
    primary.header["FILETIME"] = "2026-01-01T00:00:00"
    image = fits.ImageHDU(data)
    image.header["EXPTIME"], image.header["EMGAIN_C"] = time, gain
    image.header["EMGAIN_A"], image.header["KGAINPAR"] = -999.0, 8.7
    image.header["MJDSRT"], image.header["EXCAMT"] = 61000.0 + number / 1000, -88.0
    image.header["DATALVL"], image.header["OVEREXP"] = "L2a", 0
    image.header["BUNIT"] = "detected EM electron"
    err = fits.ImageHDU(np.zeros((1, *data.shape), np.float32), name="ERR")
    return fits.HDUList([primary, image, err, fits.ImageHDU(dq, name="DQ")])


def write_good(folder: Path) -> list[Path]:
    """Write the good frames and the camera file; frames in order of their numbers."""
    rng = np.random.default_rng(11)
    pattern = rng.normal(0, 12, (ROWS, COLS))
    charge = rng.uniform(0.01, 0.04, (ROWS, COLS))
    current = rng.gamma(4, 2e-4, (ROWS, COLS))
    (folder / "camera.toml").write_text(CAMERA)
    paths: list[Path] = []
    for gain, time, count in STACKS:
        for _ in range(count):
            electrons = rng.poisson(charge + time * current)
            data = pattern + gain * rng.gamma(np.maximum(electrons, 1e-9))
            data += rng.normal(0, 90, data.shape)
            dq = np.where(rng.random(data.shape) < 0.02, 128, 0).astype(np.uint16)
            path = folder / f"frame_{len(paths):02d}.fits"
            _frame(len(paths), gain, time, data.astype(np.float32), dq).writeto(path)
            paths.append(path)
    return paths


@dataclass
class Place:
    """A folder with a copy of the good campaign, to be spoilt.

    Attributes
    ----------
    folder : Path
        Holds the frames in ``frames``, and the camera file.
    bad : list of Path
        Frames that were spoilt: those that a run may leave out.
    arguments : list of str
        Named as FRAMES; the folder by default.
    options : list of str
        Further options of the command.
    between : callable or None
        Done after the headers were read, before the first pixel is.
    """

    folder: Path
    bad: list[Path] = field(default_factory=list)
    arguments: list[str] = field(default_factory=list)
    options: list[str] = field(default_factory=list)
    between: Callable[[], None] | None = None
    output: str = "maps.fits"

    @classmethod
    def of(cls, good: Sequence[Path], folder: Path) -> Place:
        """Link the good files into a new folder: a copy that costs nothing."""
        frames = folder / "frames"
        frames.mkdir(parents=True)
        for path in good:
            os.link(path, frames / path.name)
        os.link(good[0].parent / "camera.toml", folder / "camera.toml")
        return cls(folder, arguments=[str(frames)])

    @property
    def frames(self) -> list[Path]:
        """Frames in the folder, in order of name."""
        return sorted((self.folder / "frames").glob("*.fits*"))

    def frame(self, number: int) -> Path:
        """The frame of a number; it counts as spoilt from now on."""
        path = self.folder / "frames" / f"frame_{number:02d}.fits"
        if path not in self.bad:
            self.bad.append(path)
        return path

    # Each of these replaces the file: its links elsewhere stay as they are.

    def write(self, number: int, content: bytes) -> None:
        """Put other bytes into a frame."""
        path = self.frame(number)
        path.unlink()
        path.write_bytes(content)

    def cut(self, number: int, length: int) -> None:
        """Keep the first bytes of a frame."""
        self.write(number, self.frame(number).read_bytes()[:length])

    def edit(self, number: int, change: Callable[[fits.HDUList], fits.HDUList | None]) -> None:
        """Change the HDUs of a frame; the change may hand back others."""
        path = self.frame(number)
        with fits.open(path, memmap=False, do_not_scale_image_data=True) as hdus:
            for hdu in hdus:
                _ = hdu.data
            made = change(hdus) or hdus
            path.unlink()
            made.writeto(path, output_verify="ignore")

    def edit_all(self, change: Callable[[fits.HDUList], fits.HDUList | None]) -> None:
        """Change all frames: none of them can be left out alone."""
        for number in range(FRAMES):
            self.edit(number, change)
        self.bad.clear()

    def card(self, number: int, keyword: str, text: str | None, hdu: int = 1) -> None:
        """Replace the text of a card, or remove it, whatever astropy thinks of it.

        A card that is not there takes the place of BUNIT.
        """
        content = self.frame(number).read_bytes()
        start, end = self.starts(number)[hdu : hdu + 2]
        at = content.find(keyword.ljust(8).encode() + b"=", start, end)
        if at < 0:
            at = content.find(b"BUNIT   =", start)
        card = f"{keyword:<8}= {text}" if text is not None else "COMMENT removed"
        self.write(number, content[:at] + card.ljust(80).encode("latin1") + content[at + 80 :])

    def starts(self, number: int) -> list[int]:
        """Byte at which each HDU of a frame starts, and its length."""
        with fits.open(self.frame(number)) as hdus:
            infos = [hdu.fileinfo() for hdu in hdus]
        return [info["hdrLoc"] for info in infos] + [infos[-1]["datLoc"] + infos[-1]["datSpan"]]
