"""A season: every frame gets the product that a search through all of them gets, by the script."""

from __future__ import annotations

import math
import random
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

from emdarks.data import Dataset
from emdarks.library import Library, Match
from emdarks.products.provenance import iso_date
from small_products import Made, save_dark, save_frame, save_maps

pytestmark = pytest.mark.filterwarnings("ignore::emdarks.errors.EmdarksWarning")

NIGHTS, PRODUCTS, FRAMES, FIRST = 40, 300, 500, 61041.1
GAINS, TIMES = (1.0, 50.0, 1000.0), (2.0, 10.0, 60.0)


class Mode(NamedTuple):
    """A camera in a mode: what its products and its frames say."""

    camera: str
    readout: str
    k_gain: float
    cards: dict[str, Any]
    bias: str

    def frame(self, gain: float, time: float, mjd: float) -> dict[str, Any]:
        own = {"CAMERA": self.camera, **self.cards}
        if self.camera == "excam-small":
            own |= {"EXPTIME": time, "EMGAIN_C": gain, "EMGAIN_A": -999.0, "MJDSRT": mjd}
            return own | {"KGAINPAR": self.k_gain, "BUNIT": "DN", "DATALVL": "L2a"}
        own |= {"DATE-OBS": iso_date(mjd)}
        if self.camera == "nuvu":
            return own | {"EXPTIME": time, "EMGAIN": gain, "EGAIN": self.k_gain}
        return own | {"EXPOSURE": time, "GAIN": gain, "SNTVTY": self.k_gain}


def nuvu(mode: int) -> Mode:
    cards = {"READMODE": mode, "XBINNING": 1, "YBINNING": 1}
    readout = f"readout_mode={mode}; horizontal_binning=1; vertical_binning=1"
    return Mode("nuvu", readout, 4.0 + mode, cards, "nothing")


def ixon(preamp: float, rate: float) -> Mode:
    own = {"SERNO": 77, "READTIME": 1e-6 / rate, "PREAMP": preamp, "ACQMODE": "Kinetics"}
    more = {"SUBRECT": "1, 6, 7, 1", "HBIN": 1, "VBIN": 1, "VSHIFT": 4.3e-6, "VCLKAMP": 0}
    readout = (
        f"serial=77; rate={rate:g}; preamp={preamp:g}; acquisition=Kinetics; window=1, 6, 7, 1; "
        "horizontal_binning=1; vertical_binning=1; vertical_shift=4.3e-06; clock_amplitude=0; "
        "accumulations=1; flip_x=0; flip_y=0; conventional=F"
    )
    return Mode("ixon-solis", readout, 5.1, own | more, "nothing")


MODES = (
    Mode("excam-small", "", 8.7, {}, ""),
    nuvu(1),
    nuvu(2),
    ixon(1.0, 10.0),
    ixon(2.0, 10.0),
    ixon(2.0, 30.0),
)


@dataclass
class Scripted:
    """A product as the script knows it."""

    id: int
    mode: int
    begin: float
    end: float
    dark: tuple[float, float] | None
    errors: Any
    correlations: Any
    valid: tuple[float, float] | None = None
    rejected: bool = False

    def serves(self, mode: int, gain: float, time: float) -> bool:
        same = self.mode == mode and not self.rejected
        return same and self.dark in (None, (gain, time))

    def days_off(self, mjd: float) -> float:
        off = max(self.begin - mjd, mjd - self.end, 0.0)
        return math.floor(off + 0.5)

    def error(self, gain: float, time: float) -> float:
        """Of the dark of each pixel; all pixels are alike."""
        if self.dark is not None:
            return float(self.errors)
        parts = self.errors * np.array([1 / gain, 1.0, time])
        rfc, rfd, rcd = self.correlations
        matrix = np.array([[1, rfc, rfd], [rfc, 1, rcd], [rfd, rcd, 1]])
        return float(np.sqrt(parts @ matrix @ parts))


def script(rng: random.Random) -> list[Scripted]:
    """Products of all nights: a camera drifts, so that errors differ from night to night."""
    made = []
    for number in range(1, PRODUCTS + 1):
        begin = FIRST + rng.randrange(NIGHTS) + rng.uniform(0, 0.2)
        drift = 1 + 0.5 * math.sin(begin) + rng.uniform(0, 0.3)
        maps = rng.random() < 0.5
        made.append(
            Scripted(
                number,
                rng.randrange(len(MODES)),
                begin,
                begin + rng.uniform(0.01, 0.2),
                None if maps else (rng.choice(GAINS), rng.choice(TIMES)),
                drift * np.array([6.0, 0.06, 0.004]) if maps else drift * rng.uniform(0.02, 1.0),
                [rng.uniform(-0.5, 0.1), rng.uniform(-0.2, 0.2), rng.uniform(-0.5, 0.0)],
            )
        )
    for one in rng.sample(made, 30):
        one.rejected = True
    for one in rng.sample(made, 40):
        first = one.begin + rng.uniform(-5, 1)
        one.valid = first, first + rng.uniform(0, 10)
    return made


def exhaustive(products: list[Scripted], mode: int, gain: float, time: float, mjd: float) -> Any:
    left = [one for one in products if one.serves(mode, gain, time)]
    certified = [one for one in left if one.valid and one.valid[0] <= mjd <= one.valid[1]]
    if not certified:
        left = [one for one in left if one.valid is None]
        nearest = min((one.days_off(mjd) for one in left), default=math.inf)
        left = [one for one in left if one.days_off(mjd) == nearest <= 30]
    else:
        left = certified
    return min(left, key=lambda one: one.error(gain, time)).id if left else None


def build(library: Library, products: list[Scripted], folder: Path) -> None:
    for one in products:
        mode = MODES[one.mode]
        cards = {"BIASSUB": mode.bias} if mode.bias else {}
        made = Made(mode.camera, one.begin, one.end, mode.readout, mode.k_gain, one.id, cards)
        path = folder / f"product_{one.id}.fits"
        if one.dark is None:
            save_maps(path, made, one.errors, one.correlations)
        else:
            save_dark(path, made, *one.dark, one.errors)
        assert library.add(path).id == one.id
        if one.valid is not None:
            library.certify(one.id, *one.valid)
        if one.rejected:
            library.reject(one.id, "so the script wants it")


def test_a_season_of_three_cameras(tmp_path: Path) -> None:
    rng = random.Random(21)
    products = script(rng)
    library = Library.init(tmp_path / "library")
    (tmp_path / "made").mkdir()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        build(library, products, tmp_path / "made")
    wanted, paths = [], []
    for number in range(FRAMES):
        mode, gain, time = rng.randrange(len(MODES)), rng.choice(GAINS), rng.choice(TIMES)
        # To the second, as dates in headers are; some before and after the season.
        mjd = round(86400 * (FIRST + rng.uniform(-35, NIGHTS + 35))) / 86400
        cards = MODES[mode].frame(gain, time, mjd)
        paths.append(save_frame(tmp_path / f"frame_{number:03d}.fits", cards))
        wanted.append(exhaustive(products, mode, gain, time, mjd))
    found = library.find(Dataset(paths))
    got = [None if match.entry is None else match.entry.id for match in found]
    assert got == wanted
    assert 5 < got.count(None) < 100
    assert len({number for number in got if number}) > 80
    for match in found:
        explained(match)


def explained(match: Match) -> None:
    """Each of the other products is left out by one rule, which says why."""
    out = [number for step in match.steps for number in step.out]
    assert len(out) == len(set(out)) == PRODUCTS - (match.entry is not None)
    assert all(step.words for step in match.steps)
    assert bool(match.missing) == (match.entry is None)
