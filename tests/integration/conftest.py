"""Products that several files of this tier share; a test that changes one takes a copy."""

from __future__ import annotations

import pytest

from campaigns import REGIONS, Campaign, params
from emdarks import calibrate_darks_lsq
from emdarks.data import DetectorNoiseMaps


@pytest.fixture(scope="session")
def maps(quirky: Campaign) -> DetectorNoiseMaps:
    """Noise maps of the campaign with every kind of bad pixel."""
    return calibrate_darks_lsq(quirky.files(), params(), True, REGIONS)
