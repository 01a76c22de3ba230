"""Forty nights of a simulated detector that drifts: the whole way from frames to the verdict."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from emdarks.darks import calibrate_darks_lsq
from emdarks.data import Dataset
from emdarks.library import Library, Series, Trend, find_trends
from emdarks.products.provenance import iso_date
from emdarks.simulate import CampaignFiles, Drift, Truth, make_truth, simulate_campaign

pytestmark = pytest.mark.filterwarnings("ignore::emdarks.errors.EmdarksWarning")

NIGHTS, FRAMES, CAMERA, FIRST = 40, 4, "excam-sample", 61041
#: Night before which, and from which on, the detector is another.
STEP, STEP_NIGHT = NIGHTS // 2, "2026-01-21"


def observe(folder: Path, library: Library, detector: Truth, night: int, drift: Drift) -> None:
    made: CampaignFiles = simulate_campaign(
        folder / "night",
        CAMERA,
        FRAMES,
        seed=2,
        detector=detector,
        date=iso_date(FIRST + night),
        drift=drift,
        overwrite=night > 0,
    )
    maps = calibrate_darks_lsq(Dataset(made.paths), None)
    maps.save(folder, f"maps_{night:02d}.fits")
    library.add(folder / f"maps_{night:02d}.fits")


def told(trend: Trend) -> str:
    def one(series: Series) -> str:
        assert series.change is not None
        sigmas, scatter = series.change.sigmas, series.change.scatter
        return f"{series.title}: {series.verdict} ({sigmas:.1f} errors, scatter {scatter:.2f})"

    return "\n".join(map(one, trend.series))


def test_forty_nights_of_a_drifting_camera(tmp_path: Path) -> None:
    detector, library = make_truth(CAMERA, 5), Library.init(tmp_path / "library")
    observe(tmp_path, library, detector, 0, Drift())
    mean_d = library.show(1).numbers["mean_d"]
    size = 3.0 * mean_d.error
    own = float(detector.dark_current[detector.imaging_area].mean())
    for night in range(1, NIGHTS):
        later = Drift(dark_current=1.0 + size / own if night >= STEP else 1.0)
        observe(tmp_path, library, detector, night, later)
    trend = find_trends(library)
    sys.stdout.write(f"\n{told(trend)}\nlimit {trend.limit:.2f}\n")
    (changed,) = [series for series in trend.series if series.alarm]
    assert changed.name == "mean_d"
    assert changed.change is not None
    assert changed.change.size == pytest.approx(size, abs=4 * changed.change.error)
    night, first, last = changed.nights()
    assert night == STEP_NIGHT
    assert first <= STEP_NIGHT <= last
    # All errors are those of what they stand beside; hot pixels stay, hence scatter less.
    for series in trend.series:
        assert series.change is not None
        assert series.change.scatter < 1.5, series.name
        assert series.name == "hot_pixels" or series.change.scatter > 0.6, series.name
