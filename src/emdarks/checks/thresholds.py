"""From which numbers on a check speaks.

docs/howto_inspect.md and docs/report.md name the same numbers for users, and the first says how
often noise alone crosses them.
"""

from __future__ import annotations

import math

# Numbers of frames and stacks. The number of frames that the makers of a camera recommend
# (1176 for EXCAM) stands in its camera file: `recommended` in the table `[frames]`.

#: Frames of a stack below which its errors are rough: one electron more or less decides.
FEW_FRAMES = 12
#: Stacks below which a single wrong one cannot be found out.
FEW_STACKS = 6
#: Share of the usual number of frames below which a stack is much shorter than the others.
SHORT_STACK = 0.25
#: Frames of a stack that are needed to judge one of them by the others.
FRAMES_TO_COMPARE = 4
#: Frames of a stack that a slope of its own needs.
FRAMES_FOR_SLOPE = 8
#: Share of a grid of gains and times below which what is absent was hardly meant to be there.
GRID_GAPS = 0.1

# Levels and scatters of single frames

#: Standard errors from which on the level or the scatter of a frame is no chance.
ODD_FRAME = 6.0
#: Offset of a level, in units of the scatter within a frame, below which it does no harm.
HARMLESS = 0.02
#: Factor between scatters from which on a frame is far noisier, or quieter, than its stack.
FAR_SCATTER = 1.5
#: Variance that light spread over a thirtieth of the area adds, in squares of its offset.
SPREAD_OF_LIGHT = 30.0
#: Share of the frames of a stack from which on those that are fainter may be the good ones.
SPLIT_STACK = 0.2
#: Standard errors from which on a slope, a mean or a difference of products is no chance.
SIGNIFICANT = 5.0
#: Steps between frames from which on their median is known well enough to be taken off.
MANY_STEPS = 7

#: Read noises from 0 from which on the level of the prescan is a bias, no residue of one.
FAR_FROM_ZERO = 5.0

# Flags, masks, saturation

#: Share of saturated samples, above that of the stack, from which on a frame is saturated.
SATURATED_FRAME = 0.05
#: Share of masked samples from which on a frame is hardly usable.
MASKED_FRAME = 0.3
#: Share of masked samples above which a stack is worth a word.
MASKED_STACK = 0.3
#: Masked samples that a frame without any would be expected to have: chance of none is e^-30.
EXPECTED_FLAGS = 30.0
#: Share of the imaging area up to which spoilt pixels are no reason to wait.
FEW_PIXELS = 0.01
#: Share of the mean of clean samples that a search for cosmic rays may take away.
CUT_CHARGE = 0.01
#: Equal highest samples of a frame below which they say nothing of a ceiling.
SAMPLES_AT_CEILING = 10
#: Scatters above the level that noise alone does not reach.
BEYOND_NOISE = 6.0

# Temperature, degrees

#: From the median of the stack, and the same in robust standard deviations.
EXCURSION, EXCURSION_SIGMAS = 0.5, 6.0
#: Between the coldest and the warmest frame of a campaign.
TEMPERATURE_SPREAD = 1.0

# What headers and camera file say: GAIN_TOLERANCE and GAIN_WARNING stand in stacks/group.py,
# FAR_NOISE in stacks/read_noise.py, since stacks are refused by them, too.

#: Standard errors from which on the EM gain that samples show is not that of the headers. The error
#: has a share that repeated measurements do not lessen.
GAIN_SIGMAS = 3.0
#: Factor by which the errors of two maps may grow because the stacks hardly tell them apart.
ENTANGLED = math.sqrt(5.0)

# Products

#: How far the mean of reduced chi-square may lie from 1.
CHI2_TOLERANCE = 0.1
#: Shares of the pixels without a value from which on they are a warning, and a problem.
MANY_VALUELESS, TOO_MANY_VALUELESS = 0.01, 0.2
#: Shares of bad pixels from which on they are a warning, and a problem.
MANY_BAD, TOO_MANY_BAD = 0.05, 0.5
#: Share of hot pixels that no healthy detector has.
MANY_HOT = 0.05
#: Relative deviation of a stack's read noise and excess noise from those of the others.
READ_NOISE_TOLERANCE, EXCESS_NOISE_TOLERANCE = 0.1, 0.2
#: Relative distance from which on an EM gain of the headers and that of the frames differ.
GAIN_DISAGREES = 0.03
#: Bias offset worth a word, DN.
LARGE_OFFSET = 1.0
#: Share of samples that screening may take out of clean frames.
MUCH_SCREENED = 1e-3
