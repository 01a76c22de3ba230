"""Planning a dark campaign: what errors it will give, and how to share its time.

`predict` foretells the errors of F, C and D, and of synthesised darks, for given stacks;
`share_budget` says how many frames to take of each pair of EM gain and exposure time.
Both speak of a pixel of the imaging area with the camera's typical noise; hand them
other figures for others, such as a hot pixel's dark current.
"""

from emdarks.planning.allocation import Suggestion, share_budget
from emdarks.planning.design import PlannedStack, Readout
from emdarks.planning.prediction import DarkPrediction, Prediction, predict

__all__ = [
    "DarkPrediction",
    "PlannedStack",
    "Prediction",
    "Readout",
    "Suggestion",
    "predict",
    "share_budget",
]
