"""Simulated charge that comes late, and simulated glow."""

from __future__ import annotations

import numpy as np
import pytest

from emdarks.errors import InputError
from emdarks.simulate import Effects, make_truth, simulate_frame
from emdarks.simulate.effects import defer
from loops import for_each

NONE = Effects.none()


@for_each("axis", [0, 1])
def test_a_share_of_the_charge_is_late(axis: int) -> None:
    name = ("deferred_rows", "deferred_columns")[axis]
    electrons = np.zeros((7, 9), np.int64)
    electrons[2, 3] = electrons[6, 8] = 1_000_000
    late = defer(electrons, Effects(**{name: 0.1}), np.random.default_rng(1))
    behind = (3, 3) if axis == 0 else (2, 4)
    assert late.sum() == electrons.sum()
    assert late[behind] == pytest.approx(1e5, abs=2000)
    assert late[2, 3] + late[behind] == 1_000_000
    # What would leave the frame stays.
    assert late[6, 8] == 1_000_000


def test_charge_that_is_late_changes_nothing_else() -> None:
    truth = make_truth("excam-sample", 3)
    frames = [
        simulate_frame(truth, 1.0, 90.0, np.random.default_rng(4), effects=effects).data
        for effects in (NONE, Effects(flagged=0.0, flagged_per_second=0.0, deferred_rows=1.0))
    ]
    electrons = frames[1] - frames[0]  # the same noise and pattern in both
    assert electrons.any()
    assert np.abs(electrons - electrons.round()).max() < 1e-3
    assert abs(electrons.sum()) < 1e-3 * electrons.size


@pytest.mark.parametrize("wrong", [{"deferred_rows": 1.5}, {"deferred_columns": -0.1}])
def test_impossible_shares(wrong: dict[str, float]) -> None:
    with pytest.raises(InputError):
        Effects(**wrong)


def test_glow() -> None:
    dark, shining = make_truth("excam-sample", 3), make_truth("excam-sample", 3, glow=0.5)
    more = shining.dark_current - dark.dark_current
    area = dark.imaging_area
    assert not more[~area].any()
    assert more[area].min() == 0
    assert more[area].max() == pytest.approx(0.5)
    assert more.max() == more[area].reshape(-1)[-1]
    np.testing.assert_array_equal(dark.fixed_pattern, shining.fixed_pattern)
