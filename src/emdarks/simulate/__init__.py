"""Simulated dark frames whose truth is known.

`simulate_campaign` writes a campaign to disk, `simulate_stack` makes frames in memory.
Physics: Poisson electrons (clock-induced charge and dark current), a gain register with
its own excess noise, a fixed pattern of both signs, read noise, and whatever `Effects`
says: cosmic rays, flagged or not, row offsets, full wells.
"""

from emdarks.simulate.campaign import (
    DEFAULT_STACKS,
    Campaign,
    CampaignFiles,
    default_stacks,
    frame_generator,
    load_campaign,
    simulate_campaign,
    write_science_frame,
)
from emdarks.simulate.effects import Effects
from emdarks.simulate.frames import (
    Frame,
    Units,
    science_frame,
    simulate_frame,
    simulate_stack,
    star_field,
)
from emdarks.simulate.headers import StackPlan
from emdarks.simulate.register import STAGES, excess_noise_squared, multiply, stage_probability
from emdarks.simulate.sample import (
    SAMPLE_FRAMES,
    SAMPLE_SEED,
    SAMPLE_STACKS,
    sample_camera,
    write_sample,
)
from emdarks.simulate.truth import Truth, load_truth, make_truth

__all__ = [
    "DEFAULT_STACKS",
    "SAMPLE_FRAMES",
    "SAMPLE_SEED",
    "SAMPLE_STACKS",
    "STAGES",
    "Campaign",
    "CampaignFiles",
    "Effects",
    "Frame",
    "StackPlan",
    "Truth",
    "Units",
    "default_stacks",
    "excess_noise_squared",
    "frame_generator",
    "load_campaign",
    "load_truth",
    "make_truth",
    "multiply",
    "sample_camera",
    "science_frame",
    "simulate_campaign",
    "simulate_frame",
    "simulate_stack",
    "stage_probability",
    "star_field",
    "write_sample",
    "write_science_frame",
]
