"""Stacks: frames of one time, EM gain, k-gain and readout setting, and what they add up to.

Everything that headers can tell is decided here, before a pixel is read: which
frames belong together (`group`), by which factor their numbers become electrons
(`units`), where in the frame (`area`), whether they can be fitted (`campaign`), and what the
public functions have in common (`calibration_inputs`). `store` keeps the moments of finished
stacks, `drift` compares frames in time.
"""

from emdarks.stacks.compatibility import (
    SUBTRACTED_UNIT,
    bias_history,
    bias_text,
    check_frames,
    check_product,
    k_gain_card,
    k_gains_used,
    product_cards,
    refuse_subtracted,
)
from emdarks.stacks.drift import Slope, common_slope, excess_scatter, sequence_times
from emdarks.stacks.group import Stack, check_stack, group_stacks
from emdarks.stacks.regions import check_shape, figure_area, telemetry_slice
from emdarks.stacks.stack_moments import (
    Screening,
    StackStore,
    accumulate_stacks,
    drop_lost,
    jobs_of,
)
from emdarks.stacks.units import refuse_counted, to_detected_electrons, to_em_electrons

__all__ = [
    "SUBTRACTED_UNIT",
    "Screening",
    "Slope",
    "Stack",
    "StackStore",
    "accumulate_stacks",
    "bias_history",
    "bias_text",
    "check_frames",
    "check_product",
    "check_shape",
    "check_stack",
    "common_slope",
    "drop_lost",
    "excess_scatter",
    "figure_area",
    "group_stacks",
    "jobs_of",
    "k_gain_card",
    "k_gains_used",
    "product_cards",
    "refuse_counted",
    "refuse_subtracted",
    "sequence_times",
    "telemetry_slice",
    "to_detected_electrons",
    "to_em_electrons",
]
