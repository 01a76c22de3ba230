"""A plugin of pytest: corgidrp's own tests get our functions in the place of its own.

Two of its mocks write headers that say something else than their frames hold, which its functions
don't look at and ours refuse: electrons of level L1, EM electrons in the unit photoelectron. These
two cards are put right. With EMDARKS_AS_ITS_OWN=1 a traditional dark is as its own: telemetry rows
are 0 in the place of NaN, errors those of a population (estimator="reference"), its class its own.
"""

from __future__ import annotations

import functools
import os
import tempfile
from collections.abc import Callable
from typing import Any

import corgidrp.bad_pixel_calibration
import corgidrp.darks
import corgidrp.data
import corgidrp.l2a_to_l2b
import corgidrp.mocks
import numpy as np

import emdarks

MOCKS = {
    "create_dark_calib_files": {"DATALVL": "L2a"},
    "create_synthesized_master_dark_calib": {"DATALVL": "L2a", "BUNIT": "detected EM electron"},
}


def with_cards(make: Callable[..., Any], cards: dict[str, str]) -> Callable[..., Any]:
    """The same mock, whose frames, and their files, have these cards."""

    @functools.wraps(make)
    def made(*arguments: Any, **options: Any) -> Any:
        dataset = make(*arguments, **options)
        for frame in dataset:
            frame.ext_hdr.update(cards)
            if frame.filename:
                frame.save()
        return dataset

    return made


@functools.wraps(emdarks.build_trad_dark)
def as_its_own(*arguments: Any, **options: Any) -> Any:
    """Our traditional dark with errors as its own, telemetry rows 0, opened by its class."""
    made = emdarks.build_trad_dark(*arguments, estimator="reference", **options)
    for plane in made.data, made.err:
        plane[np.isnan(plane)] = 0
    with tempfile.TemporaryDirectory() as folder:
        made.save(folder, made.filename)
        return corgidrp.data.Dark(f"{folder}/{made.filename}")


def replace() -> None:
    """Put our functions where its modules look for them."""
    for name in "mean_combine", "build_trad_dark", "calibrate_darks_lsq", "build_synthesized_dark":
        setattr(corgidrp.darks, name, getattr(emdarks, name))
    corgidrp.darks.CalDarksLSQException = emdarks.CalDarksLSQException
    for module in corgidrp.bad_pixel_calibration, corgidrp.l2a_to_l2b:
        module.build_synthesized_dark = emdarks.build_synthesized_dark
    if "EMDARKS_AS_ITS_OWN" in os.environ:
        corgidrp.darks.build_trad_dark = as_its_own
    for name, cards in MOCKS.items():
        setattr(corgidrp.mocks, name, with_cards(getattr(corgidrp.mocks, name), cards))


replace()
