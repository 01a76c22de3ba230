"""Fixtures: the golden campaign, and a small one with every kind of bad pixel."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import settings

from campaigns import Campaign, quirky_campaign
from emdarks.data import Dataset, DetectorParams, Image

# A busy machine is slow, and that is no fault of what is tested.
settings.register_profile("emdarks", deadline=None)
settings.load_profile("emdarks")

#: Needs an environment of its own: make interchange.
collect_ignore = ["interchange"]

GOLDEN = Path(__file__).parent / "data" / "golden"


@pytest.fixture(scope="session")
def golden_paths() -> list[str]:
    return sorted(str(path) for path in GOLDEN.glob("cgi_*.fits"))


@pytest.fixture(scope="session")
def golden_regions() -> dict[str, Any]:
    return json.loads((GOLDEN / "campaign.json").read_text())["geometry"]


@pytest.fixture(scope="session")
def golden_params() -> DetectorParams:
    return DetectorParams(GOLDEN / "detector_params.fits")


@pytest.fixture(scope="session", params=["files", "memory"])
def golden_dataset(request: pytest.FixtureRequest, golden_paths: list[str]) -> Dataset:
    if request.param == "files":
        return Dataset(golden_paths)
    return Dataset([Image(path) for path in golden_paths])


@pytest.fixture(scope="session")
def quirky(tmp_path_factory: pytest.TempPathFactory) -> Campaign:
    return quirky_campaign(tmp_path_factory.mktemp("quirky"))


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(20260101)


@pytest.fixture
def coarse_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Figures are drawn with few dots and unfitted labels, where a test looks at other things.

    A page takes a second of drawing for each figure; `test_drawing.py` and `test_report_browser.py`
    draw them as they are.
    """
    from matplotlib.figure import Figure

    original = Figure.savefig

    def savefig(self: Figure, *arguments: Any, **options: Any) -> None:
        self.set_layout_engine("none")
        original(self, *arguments, **options | {"dpi": 24})

    monkeypatch.setattr(Figure, "savefig", savefig)
