"""Small campaigns for tests: written as files, held in memory, or as foreign objects."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
from astropy.io import fits

from emdarks.data import Dataset, DetectorParams, Image
from emdarks.simulate.register import multiply

ROWS, COLS = 23, 37
STACKS = ((1.0, 2.0, 5), (1.0, 90.0, 4), (40.0, 11.0, 6), (300.0, 50.0, 5), (2000.0, 80.0, 7))

REGIONS: dict[str, Any] = {
    "SCI": {
        "frame_rows": ROWS,
        "frame_cols": COLS,
        "image": {"rows": 17, "cols": 15, "r0c0": [2, 18]},
        "prescan": {"rows": ROWS, "cols": 16, "r0c0": [0, 0], "col_start": 9, "col_end": 14},
        "prescan_reliable": {"rows": ROWS, "cols": 5, "r0c0": [0, 9]},
        "parallel_overscan": {"rows": 3, "cols": 18, "r0c0": [20, 16]},
        "serial_overscan": {"rows": ROWS, "cols": 3, "r0c0": [0, 34]},
    }
}


def params(start: int | None = -1, stop: int | None = None) -> DetectorParams:
    return DetectorParams({"TELRSTRT": start, "TELREND": stop})


@dataclass
class Campaign:
    """Files of a campaign, and the same frames otherwise."""

    paths: list[str]

    def files(self) -> Dataset:
        return Dataset(self.paths)

    def memory(self) -> Dataset:
        return Dataset([Image(path) for path in self.paths])

    def foreign(self, with_data: bool) -> Any:
        return SimpleDataset([stand_in(path, with_data) for path in self.paths])

    def stack(self, gain: float, time: float) -> Campaign:
        kept = []
        for path in self.paths:
            header = fits.getheader(path, 1)
            if (header["EMGAIN_C"], header["EXPTIME"]) == (gain, time):
                kept.append(path)
        return Campaign(kept)


@dataclass
class RawCampaign(Campaign):
    """Raw frames, which are prepared while they are read."""

    folder: Path

    @classmethod
    def small(cls, folder: Path, stacks: Any = STACKS) -> RawCampaign:
        """Simulated frames of 120 x 220 pixels with cosmic rays, and their calibrations."""
        from emdarks import simulate

        made = simulate.simulate_campaign(
            folder, "excam-small", level="1", seed=29, stacks=[*stacks], overwrite=True
        )
        return cls([str(path) for path in made.paths], folder)

    def prepared(self, frames: Dataset) -> Dataset:
        """Frames of this campaign, from wherever they are read."""
        from emdarks.frames import prepare_frames

        return prepare_frames(
            frames,
            nonlinearity=self.folder / "nonlinearity.fits",
            kgain=self.folder / "kgain.fits",
            detector_params=self.folder / "params.fits",
        )

    def files(self) -> Dataset:
        return self.prepared(Dataset(self.paths))


class SimpleDataset:
    """A dataset that is none of ours: only the documented behaviour."""

    def __init__(self, frames: list[Any]):
        self.frames = frames

    def __len__(self) -> int:
        return len(self.frames)

    def __getitem__(self, index: Any) -> Any:
        return self.frames[index]


def stand_in(path: str, with_data: bool) -> SimpleNamespace:
    with fits.open(path, memmap=False) as hdus:
        return SimpleNamespace(
            data=hdus[1].data.astype(np.float64) if with_data else None,
            err=hdus["ERR"].data.astype(np.float64) if with_data else None,
            dq=hdus["DQ"].data.copy() if with_data else None,
            pri_hdr=hdus[0].header.copy(),
            ext_hdr=hdus[1].header.copy(),
            err_hdr=hdus["ERR"].header.copy(),
            dq_hdr=hdus["DQ"].header.copy(),
            filename=Path(path).name,
            filepath=path,
        )


def frame_hdus(
    data: Any,
    *,
    gain: float = 1.0,
    time: float = 1.0,
    err: Any = None,
    dq: Any = None,
    number: int = 0,
    unit: str | None = "detected EM electron",
    cards: dict[str, Any] | None = None,
) -> fits.HDUList:
    """A frame like those of EXCAM, with few cards."""
    primary = fits.PrimaryHDU()
    primary.header["VISTYPE"] = "CGIVST_CAL_DRK"
    primary.header["FILETIME"] = "2026-01-01T00:00:00"
    primary.header["OBSNUM"] = "001"
    image = fits.ImageHDU(np.asarray(data))
    image.header["EXPTIME"], image.header["EMGAIN_C"] = time, gain
    image.header["EMGAIN_A"], image.header["KGAINPAR"] = -999.0, 8.7
    image.header["MJDSRT"], image.header["EXCAMT"] = 61000.0 + number / 1000, -88.0 + number / 1e3
    image.header["DATALVL"], image.header["OVEREXP"] = "L2a", 0
    if unit is not None:
        image.header["BUNIT"] = unit
    for key, value in (cards or {}).items():
        if value is None:
            image.header.remove(key, ignore_missing=True)
        else:
            image.header[key] = value
    hdus = fits.HDUList([primary, image])
    if err is not None:
        hdus.append(fits.ImageHDU(np.asarray(err), name="ERR"))
    if dq is not None:
        hdus.append(fits.ImageHDU(np.asarray(dq), name="DQ"))
    return hdus


def quirky_campaign(folder: Path, stacks: Any = STACKS, seed: int = 7) -> Campaign:
    """Masked, always masked, once good and non-finite pixels, with input errors."""
    rng = np.random.default_rng(seed)
    bias = rng.normal(0, 12, (ROWS, COLS))
    cic = rng.uniform(0.01, 0.04, (ROWS, COLS))
    dark = rng.gamma(4, 2e-4, (ROWS, COLS))
    paths, number = [], 0
    for gain, time, frames in stacks:
        for index in range(frames):
            charge = gain * rng.gamma(np.maximum(rng.poisson(cic + time * dark), 1e-9))
            data = bias + charge + rng.normal(0, 90, (ROWS, COLS))
            err = rng.uniform(1, 3, (1, ROWS, COLS))
            dq = np.where(rng.random((ROWS, COLS)) < 0.04, 128, 0).astype(np.uint16)
            dq[3, 20] |= 4  # bad in every frame
            dq[5, 21] |= 64 if gain == 300 else 0  # bad in one whole stack
            dq[6, 22] |= 8 if gain >= 40 else 0  # bad in all but two stacks
            dq[7, 23] = 0 if index == 1 else 33  # good once in every stack
            data[8, 24] = np.nan if index == 0 else data[8, 24]
            data[9, 4] = np.inf if index == 2 else data[9, 4]
            err[0, 10, 25] = np.nan if index == 3 else 1.0
            data[-1] = 1e4 + rng.normal(size=COLS)  # telemetry
            path = folder / f"cgi_{number:04d}_l2a.fits"
            frame_hdus(
                data.astype(np.float32),
                gain=gain,
                time=time,
                err=err.astype(np.float32),
                dq=dq,
                number=number,
            ).writeto(path)
            paths.append(str(path))
            number += 1
    # Input order is not time order.
    return Campaign([paths[i] for i in rng.permutation(len(paths))])


#: EM gain and read noise of frames that are made for counting.
COUNT_GAIN, COUNT_NOISE = 5000.0, 110.0


def em_electrons(rate: Any, count: int, seed: int) -> Any:
    """Samples of frames with known rates, by all stages of the register."""
    rng = np.random.default_rng(seed)
    shape = (count, *np.shape(rate))
    electrons = multiply(rng.poisson(rate, shape), COUNT_GAIN, rng)
    return (electrons + COUNT_NOISE * rng.standard_normal(shape)).astype(np.float32)


def frames_to_count(data: Any, err: Any = None, dq: Any = None, **cards: Any) -> Dataset:
    """Frames in EM electrons, a plane of each array for each."""
    made = []
    for i, plane in enumerate(data):
        header = fits.Header(
            {
                "ARRTYPE": "SCI",
                "EMGAIN_C": COUNT_GAIN,
                "EXPTIME": 10.0,
                "KGAINPAR": 8.75,
                "RN": COUNT_NOISE,
                "ISPC": 1,
                "BUNIT": "detected EM electron",
                "SCTSRT": f"2027-01-01T00:{i // 60:02d}:{i % 60:02d}",
            }
            | cards
        )
        primary = fits.Header({"VISTYPE": "CGIVST_CAL_DRK"})
        errors, flags = (None if x is None else x[i] for x in (err, dq))
        made.append(Image(plane, primary, header, errors, flags))
        made[-1].filename = f"frame_{i:04d}_l2a.fits"
    return Dataset(made)
