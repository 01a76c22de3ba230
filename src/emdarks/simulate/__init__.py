"""Simulated dark frames whose truth is known.

`simulate_campaign` writes a campaign to disk, `simulate_stack` makes frames in memory.
Physics: Poisson electrons (clock-induced charge and dark current), a gain register with
its own excess noise, a fixed pattern of both signs, read noise, and whatever `Effects`
says: cosmic rays, flagged or not, row offsets, full wells. Frames are those of level 2a of the
Roman Coronagraph, or raw (level 1): with bias, nonlinear, in the numbers of the converter.

Cosmic rays (``Effects.rays``) come at a rate per area and time and fall evenly on the imaging
area. The charge of one follows Landau's law, cut at 20,000 electrons, of mean 2300; it spreads
over 1 to 3 x 3 pixels, 4 % of it in wings around them. Where it fills the register in two samples
of a row or more, a tail of late charge follows.
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
    rays_in_frame,
    science_frame,
    simulate_frame,
    simulate_raw_frame,
    simulate_stack,
    star_field,
)
from emdarks.simulate.headers import StackPlan
from emdarks.simulate.level_1 import RawFrame, invented_linearity
from emdarks.simulate.rays import MEAN_CHARGE, TAILS, Rays, expected_hits
from emdarks.simulate.register import STAGES, excess_noise_squared, multiply, stage_probability
from emdarks.simulate.sample import (
    SAMPLE_FRAMES,
    SAMPLE_SEED,
    SAMPLE_STACKS,
    sample_camera,
    write_sample,
)
from emdarks.simulate.truth import Drift, Level, Truth, load_truth, make_truth

__all__ = [
    "DEFAULT_STACKS",
    "MEAN_CHARGE",
    "SAMPLE_FRAMES",
    "SAMPLE_SEED",
    "SAMPLE_STACKS",
    "STAGES",
    "TAILS",
    "Campaign",
    "CampaignFiles",
    "Drift",
    "Effects",
    "Frame",
    "Level",
    "RawFrame",
    "Rays",
    "StackPlan",
    "Truth",
    "Units",
    "default_stacks",
    "excess_noise_squared",
    "expected_hits",
    "frame_generator",
    "invented_linearity",
    "load_campaign",
    "load_truth",
    "make_truth",
    "multiply",
    "rays_in_frame",
    "sample_camera",
    "science_frame",
    "simulate_campaign",
    "simulate_frame",
    "simulate_raw_frame",
    "simulate_stack",
    "stage_probability",
    "star_field",
    "write_sample",
    "write_science_frame",
]
