"""Dark frames in, calibration products out.

Each public function is a recipe that reads like its documentation; what it
calls lies in the layers below.
"""

from emdarks.darks.combine import mean_combine
from emdarks.darks.master_dark import build_trad_dark
from emdarks.darks.noise_maps import calibrate_darks_lsq
from emdarks.darks.photon_counted import build_photon_counted_dark
from emdarks.darks.synthesized_dark import build_synthesized_dark
from emdarks.errors import CalDarksLSQException

__all__ = [
    "CalDarksLSQException",
    "build_photon_counted_dark",
    "build_synthesized_dark",
    "build_trad_dark",
    "calibrate_darks_lsq",
    "mean_combine",
]
