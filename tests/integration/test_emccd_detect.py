"""Frames of emccd-detect, which knows nothing of this package; `make validate` has more.

One campaign of 5940 ordinary pixels: a pull std is known to 1 %, and C of a few frames is far
from normal, so 0.97 to 1.03 becomes 0.95 to 1.05.
"""

from __future__ import annotations

import numpy as np
import pytest
import scipy.stats

pytest.importorskip(
    "emccd_detect", reason="emccd-detect is not installed: its frames are NOT compared with ours"
)
if not hasattr(scipy.stats, "landau"):
    pytest.skip(
        "emccd-detect needs SciPy 1.15: its frames are NOT compared with ours",
        allow_module_level=True,
    )

from validation.emccd_detect_frames import register_charge, run


@pytest.mark.parametrize(
    ("grid", "frames", "fast"),
    [("real16", 20, True), ("m9", 8, False)],
    ids=["gamma", "604 stages"],
)
def test_maps_agree_with_what_it_was_given(grid: str, frames: int, fast: bool) -> None:
    found = run(grid, frames, seed=2, fast_gain_mode=fast)
    assert np.abs(found.sigmas).max() < 3
    assert np.abs(found.pulls.std(axis=1) - 1).max() < 0.05
    assert np.abs((np.abs(found.pulls) < 2).mean(axis=1) * 100 - 95.4).max() < 1.5


def test_the_charge_that_its_register_adds() -> None:
    """About (g - 1) / (40 g) electrons."""
    for gain in (2.0, 100.0, 5000.0):
        assert register_charge(gain) == pytest.approx((1 - 1 / gain) / 40, rel=0.01)
