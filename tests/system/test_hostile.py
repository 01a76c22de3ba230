"""Every kind of bad input of `validation.hostile`: refused, left out, or harmless; no traceback."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from validation.hostile_campaign import Place
from validation.hostile_cases import CASES, Case
from validation.hostile_run import (
    Outcome,
    few_descriptors,
    invoke,
    run_case,
    same_planes,
    without_bad,
)
from validation.hostile_table import judge

from emdarks.darks import mean_combine
from emdarks.data import Dataset
from emdarks.fits import unpacked

Reference = Callable[[Place], Path | None]

pytestmark = pytest.mark.filterwarnings("default::emdarks.errors.EmdarksWarning")


@pytest.fixture(scope="session")
def whole(good: list[Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Noise maps of the good campaign."""
    place = Place.of(good, tmp_path_factory.mktemp("whole") / "run")
    outcome = without_bad(place, good, place.folder.parent / "maps")
    assert outcome.product is not None, outcome
    return outcome.product


@pytest.fixture(scope="session")
def reference(good: list[Path], tmp_path_factory: pytest.TempPathFactory) -> Reference:
    """Noise maps of the frames that were not spoilt; most cases spoil the same one."""
    made: dict[tuple[str, ...], Path | None] = {}

    def of(place: Place) -> Path | None:
        key = ((place.folder / "camera.toml").read_text(), *(path.name for path in place.bad))
        if key not in made:
            made[key] = without_bad(place, good, tmp_path_factory.mktemp("without") / "x").product
        return made[key]

    return of


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_bad_input(
    case: Case, good: list[Path], whole: Path, reference: Reference, tmp_path: Path
) -> None:
    outcome, _ = run_case(case, good, tmp_path / "run")
    assert judge(case, outcome) == "", outcome
    if case.same:
        assert outcome.product is not None
        assert same_planes(outcome.product, whole)
    inspect_shows_what_it_can(case, *run_case(case, good, tmp_path / "seen", command="inspect"))
    if case.skipped:
        outcome, place = run_case(case, good, tmp_path / "left", skip=True)
        left_out_is_as_if_it_had_not_been_given(outcome, place, reference(place))


def inspect_shows_what_it_can(case: Case, outcome: Outcome, place: Place) -> None:
    assert outcome.escaped == ""
    assert outcome.written == ()
    if case.skipped:
        assert outcome.exit_code == 1, outcome.text
        assert place.bad[0].name in outcome.text
        assert "not usable" in outcome.text


def left_out_is_as_if_it_had_not_been_given(
    outcome: Outcome, place: Place, expected: Path | None
) -> None:
    assert (outcome.exit_code, outcome.escaped) == (0, "")
    assert f"{len(place.bad)} of 24 frames left out: {place.bad[0].name}: " in outcome.message
    assert outcome.product is not None
    assert expected is not None
    assert same_planes(outcome.product, expected)
    with fits.open(outcome.product) as hdus:
        skipped = unpacked(hdus["SKIPPED"]).data
        assert list(skipped["FILENAME"]) == [place.bad[0].name]
        assert skipped["REASON"][0]
        assert hdus[1].header["NSKIPPED"] == 1
        assert place.bad[0].name not in set(unpacked(hdus["INPUTS"]).data["FILENAME"])


def test_too_many_bad_frames_are_refused_even_so(good: list[Path], tmp_path: Path) -> None:
    case = next(case for case in CASES if case.name == "many_bad")
    outcome, place = run_case(case, good, tmp_path / "run", skip=True)
    assert outcome.exit_code == 1
    assert "3 of 24 frames cannot be used (12.5%)" in outcome.message
    assert outcome.written == ()
    options = ["--skip-bad-frames", "--skip-share", "0.2", "-o", str(tmp_path / "m.fits")]
    camera = ["--camera", str(place.folder / "camera.toml")]
    outcome = invoke(["noisemaps", *place.arguments, *options, *camera], tmp_path)
    assert outcome.exit_code == 0, outcome.lines


def test_six_thousand_files_with_sixty_descriptors(good: list[Path], tmp_path: Path) -> None:
    for number in range(6_000):
        (tmp_path / f"{number:04}.fits").hardlink_to(good[number % 5])
    paths = sorted(tmp_path.iterdir())
    with few_descriptors(64):
        dataset = Dataset(paths)
        image, _, count, _ = mean_combine(dataset, None)
    few, _, _, _ = mean_combine(Dataset(good[:5]), None)
    assert count.max() == 6_000
    assert np.allclose(image, few, rtol=1e-9, atol=1e-9)
