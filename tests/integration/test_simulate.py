"""The simulator against theory, and its files against what reads them.

Tolerances follow from the statistics: sums over independent pixels are compared in units
of their standard error, at 4.5 sigma (once in 150,000 by chance; the seeds are fixed).
"""

from __future__ import annotations

import gzip
import math
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from astropy.io import fits

from emdarks import simulate
from emdarks.cameras import Unit, load_camera, read_record
from emdarks.detector import region_slices
from emdarks.dq import DQ
from emdarks.errors import InputError
from emdarks.fits import scan_file
from emdarks.fits.layout import open_whole, read_plane
from emdarks.simulate import Effects
from loops import for_each

SIGMAS = 4.5
STAGES = simulate.STAGES
CAMERA = simulate.sample_camera()
CLEAN = Effects.none()


def generator(*key):
    return np.random.default_rng([31, *key])


@pytest.fixture(scope="module")
def truth():
    return simulate.make_truth(CAMERA, 5)


@pytest.fixture(scope="module")
def warm_truth():
    """With so many hot pixels (a tenth) that the spread of their squares is known."""
    return simulate.make_truth(CAMERA, 5, hot_share=0.1)


# ---------------------------------------------------------------- the gain register


def exact_probabilities(gain, entered, length):
    """P(out = 0, 1, ...) of the 604-stage register, from its generating function.

    One stage has f(z) = z (1 - p + p z); 604 of them are f nested 604 times, n electrons
    its n-th power (Harris, chapter I). On the roots of unity that is a Fourier transform.
    """
    p = gain ** (1 / STAGES) - 1
    z = np.exp(-2j * np.pi * np.arange(length // 2 + 1) / length)
    for _ in range(STAGES):
        z = z * (1 - p + p * z)
    return np.fft.irfft(z**entered, length)


def law_probabilities(gain, entered, length):
    """The same of the law that `multiply` draws from: z^n (1 + s (1 - z))^-r."""
    p = gain ** (1 / STAGES) - 1
    s = gain * (1 - p) / (1 + p) - 1
    z = np.exp(-2j * np.pi * np.arange(length // 2 + 1) / length)
    return np.fft.irfft(z**entered * (1 + s * (1 - z)) ** (-entered * (gain - 1) / s), length)


def register_lengths(gain):
    """Beyond 60 times the gain nothing is left of 5 electrons."""
    return 1 << math.ceil(math.log2(max(64, 60 * gain)))


def moments(probabilities):
    x = np.arange(probabilities.size)
    mean = (x * probabilities).sum()
    return mean, ((x - mean) ** 2 * probabilities).sum()


def distance(sample, cumulative):
    """Kolmogorov and Smirnov's, between whole-numbered samples and a distribution."""
    counts = np.bincount(sample, minlength=cumulative.size)[: cumulative.size]
    return np.abs(np.cumsum(counts) / sample.size - cumulative).max()


@pytest.mark.parametrize(("gain", "entered"), [(2, 5), (50, 2), (1000, 1)])
def test_exact_register_is_what_stage_by_stage_simulation_gives(gain, entered):
    rng = generator(1, gain)
    out = np.full(20_000, entered)
    for _ in range(STAGES):
        out = out + rng.binomial(out, gain ** (1 / STAGES) - 1)
    cumulative = np.cumsum(exact_probabilities(gain, entered, register_lengths(gain)))
    assert distance(out, cumulative) < 2.0 / math.sqrt(out.size)  # by chance: 1 in 1500


@for_each("gain, limit", [(1.05, 1e-4), (2, 1e-4), (50, 7e-4), (1000, 12e-4)])
@for_each("entered", [1, 2, 5])
def test_law_of_the_register_is_close_to_the_exact_one(gain, limit, entered):
    length = register_lengths(gain)
    exact = exact_probabilities(gain, entered, length)
    law = law_probabilities(gain, entered, length)
    assert np.abs(np.cumsum(exact - law)).max() < limit
    assert moments(law) == pytest.approx(moments(exact), rel=1e-6)
    mean, variance = moments(exact)
    assert mean == pytest.approx(entered * gain, rel=1e-8)
    excess = simulate.excess_noise_squared(gain)
    assert variance == pytest.approx(entered * gain**2 * (excess - 1), rel=1e-6)
    for share in (1e-2, 1e-4):
        # Tail beyond the exact quantile; steps of low gains make it less than `share`.
        quantile = np.searchsorted(np.cumsum(exact), 1 - share)
        assert law[quantile:].sum() == pytest.approx(exact[quantile:].sum(), rel=0.06)


@for_each("gain", [1.05, 2, 50, 1000])
@for_each("entered", [1, 2, 5])
def test_multiply_draws_from_the_exact_distribution(gain, entered):
    drawn = simulate.multiply(np.full(200_000, entered), gain, generator(2, entered))
    exact = exact_probabilities(gain, entered, register_lengths(gain))
    assert drawn.min() >= entered
    assert distance(drawn, np.cumsum(exact)) < 2.0 / math.sqrt(drawn.size) + 0.0012
    mean, variance = moments(exact)
    assert abs(drawn.mean() - mean) < SIGMAS * math.sqrt(variance / drawn.size)
    squares = (drawn - mean) ** 2
    assert abs(squares.mean() - variance) < SIGMAS * squares.std() / math.sqrt(drawn.size)
    for share in (1e-2, 1e-3):
        quantile = np.searchsorted(np.cumsum(exact), 1 - share)
        expected = exact[quantile:].sum() * drawn.size
        # Beyond chance, the law's tail is up to 3 % too heavy there.
        assert abs((drawn >= quantile).sum() - expected) < (
            SIGMAS * math.sqrt(expected) + 0.03 * expected
        )


def test_register_at_gain_one_does_nothing():
    entered = generator(3).poisson(2.0, (7, 11))
    np.testing.assert_array_equal(simulate.multiply(entered, 1.0, generator(4)), entered)
    assert simulate.excess_noise_squared(1.0) == 1.0


def test_excess_noise_of_the_register():
    found = [simulate.excess_noise_squared(gain) for gain in (2, 50, 1000, 5000)]
    assert found == pytest.approx([1.4989, 1.9674, 1.9763, 1.9718], abs=1e-4)
    # With many stages of small gain each, the limit of the textbooks: 2 - 1 / g.
    assert simulate.excess_noise_squared(1000, 10**7) == pytest.approx(1.999, abs=1e-5)


@pytest.mark.parametrize("gain", [0.0, 0.99, -3.0, math.inf, math.nan])
def test_impossible_gains_are_refused(truth, gain):
    with pytest.raises(InputError, match="EM gain"):
        simulate.multiply(np.ones(3, int), gain, generator(5))
    with pytest.raises(InputError, match="EM gain"):
        simulate.simulate_frame(truth, gain, 2.0, generator(5))


# ---------------------------------------------------------------- stacks against theory


def groups(truth):
    """Pixels that share a kind: one law of noise for each, roughly."""
    area = truth.imaging_area
    hot = truth.dark_current >= 0.01
    return {
        "ordinary": area & ~hot,
        "hot": area & hot,
        "prescan and overscan": ~area & ~truth.telemetry,
    }


def theory(truth, gain, time):
    """F + g (C + t D) and rn^2 + x g^2 (C + t D), from the maps and the exact register.

    x, the excess noise, comes from the generating function of one electron, not from the
    package: its variance is (x - 1) g^2.
    """
    electrons = truth.clock_induced_charge + time * truth.dark_current.astype(float)
    if gain == 1:
        excess = 1.0
    else:
        excess = 1 + moments(exact_probabilities(gain, 1, register_lengths(gain)))[1] / gain**2
    mean = truth.fixed_pattern + gain * electrons
    return mean, truth.read_noise**2 + excess * gain**2 * electrons


@pytest.mark.parametrize("gain", [1.0, 2.0, 1000.0])
def test_truth_knows_the_theory(truth, gain):
    mean, variance = theory(truth, gain, 59.0)
    np.testing.assert_allclose(truth.mean(gain, 59.0), mean, rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(truth.variance(gain, 59.0), variance, rtol=1e-6)


def pulls_of_stack(truth, gain, time, frames, key):
    """Per group: pulls of the mean and of the variance, and the variance's relative error."""
    data, dq = simulate.simulate_stack(
        truth, gain, time, frames, generator(6, key), effects=CLEAN, units="e"
    )
    assert not dq.any()
    mean, variance = theory(truth, gain, time)
    offset = data.mean(0, dtype=np.float64) - mean
    # About the true mean, so that every sample counts by itself.
    ratio = ((data - mean) ** 2).mean(0) / variance
    found = {}
    for name, mask in groups(truth).items():
        count = mask.sum()
        error = math.sqrt((variance[mask] / frames).sum())
        spread = ratio[mask].std(ddof=1) / math.sqrt(count)
        off = ratio[mask].mean() - 1
        found[name] = (offset[mask].sum() / error, off / spread, off)
    return found


@pytest.mark.parametrize(
    ("gain", "time", "frames"),
    [(1.0, 97.0, 401), (50.0, 13.0, 401), (1000.0, 59.0, 1001), (5000.0, 101.0, 1001)],
)
def test_stack_has_mean_and_variance_of_theory(warm_truth, gain, time, frames):
    """F + g (C + t D) and rn^2 + x g^2 (C + t D), with EXCAM's figures.

    x is the excess noise of the register itself: 1 at gain 1, 1.967 at 50, 1.976 at 1000,
    1.972 at 5000, where the textbooks have 2.
    """
    found = pulls_of_stack(warm_truth, gain, time, frames, int(gain))
    for name, (mean, variance, _) in found.items():
        assert abs(mean) < SIGMAS, name
        assert abs(variance) < SIGMAS, name


@pytest.mark.parametrize("gain", [1.0, 2.0, 10.0, 50.0, 1000.0])
def test_excess_noise_shows_where_read_noise_does_not_hide_it(warm_truth, gain):
    """A detector without read noise and pattern: the variance is x g^2 (C + t D) alone."""
    quiet = replace(
        warm_truth,
        read_noise=1e-3,
        clock_induced_charge=40 * warm_truth.clock_induced_charge,
        dark_current=10 * warm_truth.dark_current,
        fixed_pattern=0 * warm_truth.fixed_pattern,
    )
    found = pulls_of_stack(quiet, gain, 53.0, 2401, int(gain))
    for name, (mean, variance, _) in found.items():
        assert abs(mean) < SIGMAS, name
        assert abs(variance) < SIGMAS, name
    # The standard error is 0.002: enough to tell the register's 1.976 from 2 at gain 1000,
    # which is 0.012 more; at gain 2 the textbooks' 2 would be 0.33 more than its 1.499.
    assert abs(found["ordinary"][2]) < 0.0095


def test_stack_follows_the_maps_pixel_by_pixel(truth):
    gain, time, frames = 1000.0, 59.0, 601
    data, _ = simulate.simulate_stack(truth, gain, time, frames, generator(7), effects=CLEAN)
    assert data.dtype == np.float32
    assert data.shape == (frames, 40, 62)
    mean, variance = theory(truth, gain, time)
    pull = (data.mean(0, dtype=np.float64) - mean) / np.sqrt(variance / frames)
    good = ~truth.telemetry
    count = good.sum()
    assert abs((pull[good] ** 2).mean() - 1) < SIGMAS * math.sqrt(2.2 / count)
    # Neighbours know nothing of each other: along rows, along columns, from frame to frame.
    for a, b in ((pull[:-1, :-1], pull[:-1, 1:]), (pull[:-2], pull[1:-1])):
        assert abs((a * b).mean()) < SIGMAS / math.sqrt(a.size)
    each = ((data - mean) / np.sqrt(variance))[:, good]
    steps = each[:-1] * each[1:]
    assert abs(steps.mean()) < SIGMAS / math.sqrt(steps.size)


def test_truth_is_made_as_said():
    truth = simulate.make_truth("excam-small", 11)
    area, rest = truth.imaging_area, ~truth.imaging_area & ~truth.telemetry
    camera = load_camera("excam-small")
    for values in (truth.fixed_pattern, truth.clock_induced_charge, truth.dark_current):
        assert values.dtype == np.float32
        assert values.shape == truth.shape == (120, 220)
        assert not values[truth.telemetry].any()
    assert truth.telemetry.sum() == 220
    pattern = truth.fixed_pattern[~truth.telemetry]
    assert pattern.min() < -15
    assert pattern.max() > 15
    assert pattern.std() == pytest.approx(12, rel=0.15)
    charge = truth.clock_induced_charge
    for mask in (area, rest):
        assert charge[mask].mean() == pytest.approx(0.0088, rel=0.01)
        assert charge[mask].std() == pytest.approx(0.00088, rel=0.05)
    assert not truth.dark_current[rest].any()
    dark = truth.dark_current[area]
    hot = dark >= 0.0099
    assert hot.mean() == pytest.approx(0.01, abs=0.0005)
    assert dark[hot].max() < 1
    # Gamma of shape 4: relative scatter 1/2, skewness 1.
    ordinary = dark[~hot] / camera.noise.dark_current
    assert ordinary.mean() == pytest.approx(1, rel=0.02)
    assert ordinary.std() == pytest.approx(0.5, rel=0.03)
    assert ((ordinary - 1) ** 3).mean() / 0.5**3 == pytest.approx(1, abs=0.2)
    assert (truth.read_noise, truth.k_gain) == (camera.noise.read_noise, camera.noise.k_gain)


# ---------------------------------------------------------------- seeds


def test_seeds_reproduce(truth):
    again, other = simulate.make_truth(CAMERA, 5), simulate.make_truth(CAMERA, 6)
    for name in ("fixed_pattern", "clock_induced_charge", "dark_current"):
        np.testing.assert_array_equal(getattr(truth, name), getattr(again, name))
        assert (getattr(truth, name) != getattr(other, name)).mean() > 0.4
    frames = [
        simulate.simulate_frame(truth, 200.0, 7.0, simulate.frame_generator(*key))
        for key in ((5, 1, 2), (5, 1, 2), (5, 2, 1), (6, 1, 2), (5, 1, 3))
    ]
    np.testing.assert_array_equal(frames[0].data, frames[1].data)
    np.testing.assert_array_equal(frames[0].dq, frames[1].dq)
    for frame in frames[2:]:
        assert (frame.data != frames[0].data).mean() > 0.99


@pytest.mark.parametrize("seed", [-1, 2**63])
def test_seeds_that_a_header_cannot_hold_are_refused(seed):
    with pytest.raises(InputError, match="seed"):
        simulate.make_truth(CAMERA, seed)


def test_longer_stack_begins_with_the_shorter_one(truth):
    short = simulate.simulate_stack(truth, 200.0, 7.0, 2, generator(8))
    long = simulate.simulate_stack(truth, 200.0, 7.0, 5, generator(8))
    for a, b in zip(short, long, strict=True):
        np.testing.assert_array_equal(a, b[:2])


def read(path):
    with fits.open(path) as hdus:
        return hdus[1].data.astype(np.float32), hdus["ERR"].data.copy(), hdus["DQ"].data.copy()


def test_frame_depends_on_nothing_but_its_key(tmp_path):
    plan = [(200.0, 7.0, 3), (1.0, 2.0, 2)]
    one = simulate.simulate_campaign(tmp_path / "one", CAMERA, seed=9, stacks=plan)
    more = [(200.0, 7.0, 4), (1.0, 2.0, 3), (50.0, 3.0, 1)]
    two = simulate.simulate_campaign(tmp_path / "two", CAMERA, seed=9, stacks=more, threads=3)
    for i, j in zip((0, 1, 2, 3, 4), (0, 1, 2, 4, 5), strict=True):
        for a, b in zip(read(one.paths[i]), read(two.paths[j]), strict=True):
            np.testing.assert_array_equal(a, b)
    # In memory, by itself, in any order: the same numbers.
    for stack, frame, i in ((1, 1, 4), (0, 2, 2)):
        gain, time, _ = plan[stack]
        rng = simulate.frame_generator(9, stack, frame)
        alone = simulate.simulate_frame(one.truth, gain, time, rng, units="DN")
        data, _, dq = read(one.paths[i])
        np.testing.assert_array_equal(alone.data, data)
        np.testing.assert_array_equal(alone.dq, dq)


# ---------------------------------------------------------------- effects


def test_flagged_cosmic_rays_have_their_share(truth):
    frames, time = 60, 100.0
    rays, dq = simulate.simulate_stack(truth, 50.0, time, frames, generator(10))
    clean, _ = simulate.simulate_stack(truth, 50.0, time, frames, generator(10), effects=CLEAN)
    good = ~truth.telemetry
    assert np.isin(dq, (0, DQ.COSMIC_RAY)).all()
    share, count = 0.003 + 0.0005 * time, frames * good.sum()
    found = (dq[:, good] != 0).mean()
    assert abs(found - share) < SIGMAS * math.sqrt(share * (1 - share) / count)
    # The frames differ where it is flagged, and only there.
    hit = dq != 0
    np.testing.assert_array_equal(rays[~hit], clean[~hit])
    charge = rays[hit] - clean[hit]
    assert charge.min() > 4990
    assert charge.max() < 50010
    assert abs(charge.mean() - 27500) < SIGMAS * 45000 / math.sqrt(12 * charge.size)


def test_unflagged_cosmic_rays_have_their_share_and_no_flag(truth):
    frames, share = 60, 0.02
    effects = Effects(unflagged=share)
    rays, dq = simulate.simulate_stack(truth, 50.0, 3.0, frames, generator(11), effects=effects)
    known, flags = simulate.simulate_stack(truth, 50.0, 3.0, frames, generator(11))
    np.testing.assert_array_equal(dq, flags)
    good = ~truth.telemetry
    hit = (rays != known)[:, good]
    assert abs(hit.mean() - share) < SIGMAS * math.sqrt(share * (1 - share) / hit.size)


def test_effects_do_not_disturb_each_other(truth):
    unflagged = replace(CLEAN, unflagged=0.02)
    key = (truth, 50.0, 100.0)
    clean, ray, flagged, both = (
        simulate.simulate_frame(*key, generator(22), effects=effects)
        for effects in (CLEAN, unflagged, Effects(), Effects(unflagged=0.02))
    )
    known = flagged.dq != 0
    assert known.any()
    np.testing.assert_array_equal(both.dq, flagged.dq)
    np.testing.assert_array_equal(both.data[~known], ray.data[~known])
    assert (ray.data != clean.data)[~known].any()


def test_row_bias_is_one_number_a_row(truth):
    effects = replace(CLEAN, row_bias=30.0)
    key = {"gain": 50.0, "exposure_time": 3.0, "frames": 41}
    rows, _ = simulate.simulate_stack(truth, **key, rng=generator(12), effects=effects)
    clean, _ = simulate.simulate_stack(truth, **key, rng=generator(12), effects=CLEAN)
    offset = (rows - clean)[:, ~truth.telemetry[:, 0], :]
    np.testing.assert_allclose(offset, offset[:, :, :1].repeat(62, 2), atol=0.02)
    each = offset[:, :, 0]
    assert abs(each.mean()) < SIGMAS * 30 / math.sqrt(each.size)
    assert each.std() == pytest.approx(30, rel=SIGMAS / math.sqrt(2 * each.size))


def test_saturation_cuts_and_flags(truth):
    bright = replace(truth, dark_current=truth.dark_current + np.float32(1.0))
    effects = replace(CLEAN, saturation=True)
    args = (bright, 2000.0, 50.0, 3)
    data, dq = simulate.simulate_stack(*args, generator(13), effects=effects)
    free, none = simulate.simulate_stack(*args, generator(13), effects=CLEAN)
    full = dq == DQ.SATURATED
    assert 0 < full[:, ~truth.telemetry].mean() < 1
    assert not none.any()
    np.testing.assert_array_equal(data[~full], free[~full])
    well = CAMERA.noise.full_well_register
    assert np.abs(data[full] - well).max() < 6 * truth.read_noise + 100
    assert free[full].min() > well - 6 * truth.read_noise - 100


def test_full_well_of_the_image_area_holds_before_the_register(truth):
    rows, cols = region_slices(CAMERA.arrtype, "image", CAMERA.regions)
    effects = replace(CLEAN, saturation=True)
    frame = simulate.science_frame(truth, 1.0, 1.0, 2e5, generator(14), effects=effects)
    image = frame.data[rows, cols]
    assert (frame.dq[rows, cols] == DQ.SATURATED).all()
    assert np.abs(image - CAMERA.noise.full_well_image).max() < 6 * truth.read_noise + 100
    outside = frame.dq.copy()
    outside[rows, cols] = 0
    assert not outside.any()


def test_camera_without_full_well_saturates_never(truth):
    noise = replace(CAMERA.noise, full_well_image=math.inf, full_well_register=math.inf)
    endless = replace(truth, camera=replace(CAMERA, noise=noise))
    effects = replace(CLEAN, saturation=True)
    frame = simulate.simulate_frame(endless, 5000.0, 100.0, generator(15), effects=effects)
    assert not frame.dq.any()


@pytest.mark.parametrize(
    "wrong", [{"flagged": -0.1}, {"unflagged": 1.1}, {"row_bias": math.nan}, {"err": math.inf}]
)
def test_impossible_effects_are_refused(wrong):
    with pytest.raises(InputError, match=next(iter(wrong)) + "|share"):
        Effects(**wrong)


def test_telemetry_rows_hold_nonsense_without_flags():
    camera = replace(CAMERA, telemetry_rows=(-3, None))
    truth = simulate.make_truth(camera, 5)
    assert truth.telemetry.sum() == 3 * 62
    for units, word in (("DN", 1.0), ("e", truth.k_gain)):
        frame = simulate.simulate_frame(truth, 50.0, 100.0, generator(16), units=units)
        words = frame.data[-3:] / word
        np.testing.assert_allclose(words, words.round(), rtol=1e-6)
        assert words.min() >= 0
        assert words.max() < 2**14
        assert words.std() > 4000
        assert not frame.dq[-3:].any()


def test_camera_without_telemetry_has_pixels_in_every_row():
    truth = simulate.make_truth(replace(CAMERA, telemetry_rows=(None, None)), 5)
    assert not truth.telemetry.any()
    assert truth.clock_induced_charge.all()
    frame = simulate.simulate_frame(truth, 1.0, 2.0, generator(17), effects=CLEAN)
    assert np.abs(frame.data[-1]).max() < 7 * truth.read_noise


def test_dn_are_electrons_over_k_gain(truth):
    electrons = simulate.simulate_frame(truth, 50.0, 3.0, generator(18), units="e")
    numbers = simulate.simulate_frame(truth, 50.0, 3.0, generator(18), units="DN")
    np.testing.assert_allclose(numbers.data * truth.k_gain, electrons.data, rtol=1e-6)
    np.testing.assert_array_equal(numbers.dq, electrons.dq)
    assert numbers.data.dtype == electrons.data.dtype == np.float32
    assert numbers.dq.dtype == electrons.dq.dtype == np.uint16
    with pytest.raises(InputError, match="units"):
        simulate.simulate_frame(truth, 50.0, 3.0, generator(18), units="ADU")


@pytest.mark.parametrize("time", [-1.0, math.nan, math.inf])
def test_impossible_exposure_times_are_refused(truth, time):
    with pytest.raises(InputError, match="exposure time"):
        simulate.simulate_frame(truth, 50.0, time, generator(19))


# ---------------------------------------------------------------- science frames


def test_science_frame_minus_its_dark_is_the_scene(truth):
    gain, time = 1000.0, 59.0
    scene = simulate.star_field(CAMERA, generator(20), stars=3)
    rows, cols = region_slices(CAMERA.arrtype, "image", CAMERA.regions)
    assert scene.shape == (32, 29)
    assert scene.min() >= 0.01
    frames = [
        simulate.science_frame(truth, gain, time, scene, generator(20, i), effects=CLEAN).data
        for i in range(150)
    ]
    light = (np.mean(frames, axis=0, dtype=np.float64) - truth.mean(gain, time)) / gain
    excess = simulate.excess_noise_squared(gain)
    variance = truth.variance(gain, time) / gain**2
    variance[rows, cols] += excess * scene
    error = np.sqrt(variance / len(frames))
    difference = light.copy()
    difference[rows, cols] -= scene
    good = ~truth.telemetry
    pull = difference[good] / error[good]
    assert abs(pull.mean()) < SIGMAS / math.sqrt(pull.size)
    assert pull.std() == pytest.approx(1, abs=0.08)
    assert light[rows, cols].max() > 1


@pytest.mark.parametrize(
    ("scene", "why"),
    [(np.ones((29, 32)), "shape"), (-1.0, "negative"), (math.nan, "non-finite"), ([1.0], "shape")],
)
def test_scenes_that_do_not_fit_are_refused(truth, scene, why):
    with pytest.raises(InputError, match=why):
        simulate.science_frame(truth, 50.0, 3.0, scene, generator(21))


def test_science_frame_on_disk(tmp_path, truth):
    paths = [
        simulate.write_science_frame(tmp_path, truth, 1000, 60, 0.5, number=i) for i in range(2)
    ]
    assert len(set(paths)) == 2
    layout = scan_file(paths[0])
    record = read_record(CAMERA, layout.path, layout.shape, (layout.image.cards, layout.primary))
    assert (record.exposure_time, record.em_gain, record.unit) == (60.0, 1000.0, Unit.DN)
    assert layout.primary["VISTYPE"] == "CGIVST_TDD_OBS"
    assert not np.array_equal(read(paths[0])[0], read(paths[1])[0])


# ---------------------------------------------------------------- files


@pytest.fixture(scope="module")
def campaign(tmp_path_factory):
    folder = tmp_path_factory.mktemp("simulated") / "new" / "campaign"
    return simulate.simulate_campaign(folder, CAMERA, frames=3, seed=2**62 + 1)


@pytest.mark.parametrize(("units", "unit"), [("DN", Unit.DN), ("e", Unit.EM_ELECTRON)])
def test_headers_say_what_the_camera_asks(tmp_path, units, unit):
    stacks = [(200.0, 7.0, 3), (1, 0, 2)]
    files = simulate.simulate_campaign(tmp_path, CAMERA, seed=1, units=units, stacks=stacks)
    records = []
    for path in files.paths:
        layout = scan_file(path)
        assert layout.shape == (40, 62)
        assert layout.image.dtype == layout.err.dtype == ">f4"
        assert (layout.dq.dtype, layout.dq.bzero) == (">i2", 32768.0)
        assert layout.err.shape == (1, 40, 62)
        records.append(
            read_record(CAMERA, layout.path, layout.shape, (layout.image.cards, layout.primary))
        )
        assert layout.image.cards["CAMERA"] == "excam-sample"
        assert layout.image.cards["DATALVL"] == "L2a"
        assert layout.primary["VISTYPE"] == "CGIVST_CAL_DRK"
        assert layout.primary["FILENAME"] == path.name
    assert [record.em_gain for record in records] == [200, 200, 200, 1, 1]
    assert [record.commanded_gain for record in records] == [200, 200, 200, 1, 1]
    assert [record.exposure_time for record in records] == [7, 7, 7, 0, 0]
    assert {record.k_gain for record in records} == {8.7}
    assert {record.unit for record in records} == {unit}
    starts = [record.start for record in records]
    assert all(a < b for a, b in pairwise(starts))
    assert np.ptp([record.temperature for record in records]) < 1
    seconds = np.diff(starts) * 86400
    np.testing.assert_allclose(seconds, [17, 17, 17, 10], atol=0.01)


def test_keywords_are_those_of_the_golden_frames(campaign, golden_frame_keywords):
    layout = scan_file(campaign.paths[4])
    planes = (layout.primary, layout.image.cards, layout.err.cards, layout.dq.cards)
    for ours, theirs in zip(planes, golden_frame_keywords, strict=True):
        assert theirs <= set(ours)
        # Frames of its third version have no SCTSRT and SCTEND; those of the fifth have.
        assert set(ours) - theirs <= {"CAMERA", "CHECKSUM", "DATASUM", "SCTSRT", "SCTEND"}


@pytest.fixture(scope="module")
def golden_frame_keywords():
    """Keywords of a frame that the reference's own writer made."""
    primary = """SIMPLE BITPIX NAXIS EXTEND VISITID CDMSVERS FSWDVERS MOCK TELESCOP INSTRUME
        DETECTOR ORIGIN FILETIME DATAVERS PROGNUM EXECNUM CAMPAIGN SEGMENT OBSNUM VISNUM CPGSFILE
        AUXFILE VISTYPE TARGET RA DEC EQUINOX RAPM DECPM PSFREF OPGAIN PHTCNT FRAMET PA_V3 PA_APER
        SVB_1 SVB_2 SVB_3 ROLL PITCH YAW FILENAME OBSNAME WBJ_1 WBJ_2 WBJ_3"""
    image = """XTENSION BITPIX NAXIS NAXIS1 NAXIS2 PCOUNT GCOUNT BUNIT ARRTYPE FRMTYPE ISHOWFSC
        ISACQ SPBAL ISFLAT SATSPOTS STATUS HVCBIAS OPMODE EXPTIME EMGAIN_C UNITYG EMGAINA1 EMGAINA2
        EMGAINA3 EMGAINA4 EMGAINA5 GAINTCAL EXCAMT EMGAIN_A KGAINPAR BLNKTIME BLNKCYC EXPCYC
        OVEREXP NOVEREXP ISPC PROXET FCMLOOP FCMPOS FSMINNER FSMLOS FSMPRFL FSMRSTR FSMSG1 FSMSG2
        FSMSG3 FSMX FSMY EACQ_ROW EACQ_COL SB_FP_DX SB_FP_DY SB_FS_DX SB_FS_DY DMZLOOP 1SVALID
        Z2AVG Z2RES Z2VAR Z3AVG Z3RES Z3VAR 10SVALID Z4AVG Z4RES Z5AVG Z5RES Z6AVG Z6RES Z7AVG
        Z7RES Z8AVG Z8RES Z9AVG Z9RES Z10AVG Z10RES Z11AVG Z11RES Z12AVG Z13AVG Z14AVG DATETIME
        FTIMEUTC MJDSRT MJDEND FILE0 DATALVL MISSING DESMEAR CTI_CORR IS_BAD RECIPE DRPVERSN
        DRPCTIME FWC_PP_E FWC_EM_E SAT_DN"""
    parts = ("_H", "_V", "NAME", "SP_H", "SP_V")
    wheels = ("SPAM", "FPAM", "LSAM", "FSAM", "CFAM", "DPAM")
    structure = "XTENSION BITPIX NAXIS NAXIS1 NAXIS2 PCOUNT GCOUNT EXTNAME"
    return (
        set(primary.split()),
        set(image.split()) | {wheel + part for wheel in wheels for part in parts},
        set(f"{structure} NAXIS3 TRK_ERRS LAYER_1".split()),
        set(f"{structure} BSCALE BZERO".split()),
    )


def test_file_names_are_unique_and_in_order_of_time(campaign):
    names = [path.name for path in campaign.paths]
    assert names[0] == "cgi_0200001001001001001_20260101t0000000_l2a.fits"
    assert len(set(names)) == 18
    assert names == sorted(names)
    assert len(names[0]) == len(names[-1])
    found = {path.name for path in campaign.truth_path.parent.iterdir()}
    assert found == {*names, "truth.fits", "campaign.toml"}


def test_names_of_a_very_large_campaign_are_unique():
    stacks = (simulate.StackPlan(1.0, 0.0, 1200), simulate.StackPlan(5000.0, 0.05, 1200))
    plan = simulate.Campaign(stacks, CAMERA, 0, "DN", CLEAN)
    names = [facts.filename for facts in plan.facts()]
    assert len(set(names)) == 2400
    assert names == sorted(names)
    assert plan.duration == pytest.approx(2400 * 10 + 60)


def test_err_plane_is_zero_or_as_given(tmp_path, campaign):
    assert not read(campaign.paths[0])[1].any()
    for units, expected in (("DN", 5.0), ("e", 43.5)):
        files = simulate.simulate_campaign(
            tmp_path / units, CAMERA, 1, units=units, stacks=[(1, 2)], effects=Effects(err=43.5)
        )
        np.testing.assert_allclose(read(files.paths[0])[1], expected, rtol=1e-6)


def test_truth_on_disk_is_the_truth_and_no_frame(campaign):
    with fits.open(campaign.truth_path) as hdus:
        assert [hdu.name for hdu in hdus] == ["PRIMARY", "FPN", "CIC", "DC"]
        assert hdus[0].header["DATATYPE"] == hdus[1].header["DATATYPE"] == "Truth"
        header = hdus[1].header
        facts = [header[key] for key in ("CAMERA", "RN", "KGAINPAR", "SIMSEED")]
        assert facts == ["excam-sample", 165.0, 8.7, 2**62 + 1]
    again = simulate.load_truth(campaign.truth_path, CAMERA)
    assert again.camera is CAMERA
    for name in ("fixed_pattern", "clock_induced_charge", "dark_current"):
        np.testing.assert_array_equal(getattr(again, name), getattr(campaign.truth, name))
    for name in ("read_noise", "k_gain", "seed", "stages"):
        assert getattr(again, name) == getattr(campaign.truth, name)
    with pytest.raises(InputError, match="is not the truth"):
        simulate.load_truth(campaign.paths[0])


def test_truth_names_its_camera(tmp_path):
    simulate.make_truth("excam-small", 1).save(tmp_path / "truth.fits")
    assert simulate.load_truth(tmp_path / "truth.fits").camera.name == "excam-small"


def test_description_on_disk_makes_the_campaign_again(tmp_path, campaign):
    again = simulate.load_campaign(campaign.plan_path.parent, CAMERA)
    assert again == campaign.campaign
    assert [facts.filename for facts in again.facts()] == [path.name for path in campaign.paths]
    odd = Effects(0.001, 2e-05, 0.5, 1 / 3, True, 7.0)
    name = 'a "quoted" \\ camera'
    files = simulate.simulate_campaign(
        tmp_path, replace(CAMERA, name="odd"), 1, stacks=[(1.5, 1e-7)], effects=odd
    )
    assert simulate.load_campaign(tmp_path, files.campaign.camera) == files.campaign
    quoted = replace(files.campaign, camera=replace(CAMERA, name=name))
    (tmp_path / "campaign.toml").write_text(quoted.to_toml())
    with pytest.raises(InputError, match="quoted"):
        simulate.load_campaign(tmp_path)


def test_default_campaign_is_well_conditioned():
    gain, time = np.array(simulate.DEFAULT_STACKS).T
    assert len(gain) >= 6
    noise = CAMERA.noise
    electrons = noise.clock_induced_charge + time * noise.dark_current
    weight = 1 / (noise.read_noise**2 + 2 * gain**2 * electrons)
    model = np.stack([np.ones_like(gain), gain, gain * time], axis=1)
    covariance = np.linalg.inv(model.T @ (weight[:, None] * model))
    sigma = np.sqrt(np.diag(covariance))
    correlation = covariance / np.outer(sigma, sigma)
    assert np.abs(correlation - np.eye(3)).max() < 0.75
    # With any one stack left out, too, it can be fitted.
    for left_out in range(len(gain)):
        rest = np.delete(model / np.abs(model).max(0), left_out, axis=0)
        assert np.linalg.matrix_rank(rest, tol=1e-3) == 3


# ---------------------------------------------------------------- folders


def test_folder_with_anything_in_it_is_left_alone(tmp_path):
    mine = tmp_path / "cgi_0200001001001001001_20260101t0000000_l2a.fits"
    mine.write_text("mine")
    for overwrite in (False, True):
        with pytest.raises(InputError, match="folder"):
            simulate.simulate_campaign(tmp_path, CAMERA, 1, overwrite=overwrite)
    assert [path.name for path in tmp_path.iterdir()] == [mine.name]
    assert mine.read_text() == "mine"


def test_overwriting_replaces_the_earlier_campaign_and_nothing_else(tmp_path):
    simulate.simulate_campaign(tmp_path, CAMERA, seed=1, stacks=[(1, 2, 3), (50, 7, 1)])
    note = tmp_path / "cgi_note.txt"
    note.write_text("mine")
    with pytest.raises(InputError, match="not empty"):
        simulate.simulate_campaign(tmp_path, CAMERA, seed=2, stacks=[(1, 2, 2)])
    files = simulate.simulate_campaign(tmp_path, CAMERA, seed=2, stacks=[(1, 2, 2)], overwrite=True)
    expected = {*files.paths, files.truth_path, files.plan_path, note}
    assert set(tmp_path.iterdir()) == expected
    assert simulate.load_truth(files.truth_path, CAMERA).seed == 2


def test_campaign_folder_that_is_a_file(tmp_path):
    (tmp_path / "file").write_text("mine")
    with pytest.raises(InputError, match="folder"):
        simulate.simulate_campaign(tmp_path / "file", CAMERA, 1)


def test_damaged_description_is_refused(tmp_path):
    (tmp_path / "campaign.toml").write_text("stacks = 1")
    with pytest.raises(InputError, match=r"campaign\.toml"):
        simulate.simulate_campaign(tmp_path, CAMERA, 1, overwrite=True)


@for_each(
    "wrong, why",
    [
        ({"stacks": [(0.5, 2)]}, "gain"),
        ({"stacks": [(1, -2)]}, "0 s"),
        ({"stacks": [(1,)]}, "exposure time"),
        ({"stacks": []}, "at least one"),
        ({"frames": 0}, "frames is 0; it must be an integer from 1"),
        ({"units": "ADU"}, "units"),
        ({"seed": -1}, "seed"),
        ({"camera": "nonesuch"}, "nonesuch"),
    ],
)
def test_wrong_campaigns_are_refused_before_anything_is_written(tmp_path, wrong, why):
    folder = tmp_path / "campaign"
    with pytest.raises(InputError, match=why):
        simulate.simulate_campaign(folder, **({"camera": CAMERA} | wrong))
    assert not folder.exists()


def test_progress_and_an_end_in_the_middle(tmp_path):
    seen = []

    def progress(done, total):
        seen.append((done, total))
        if done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        simulate.simulate_campaign(tmp_path, CAMERA, 30, stacks=[(1, 2)], progress=progress)
    assert seen == [(1, 30), (2, 30)]
    assert 2 <= len(list(tmp_path.glob("cgi_*"))) <= 30
    assert not list(tmp_path.glob(".*.emdarks-part"))
    # What is there can be overwritten.
    files = simulate.simulate_campaign(tmp_path, CAMERA, 1, stacks=[(1, 2)], overwrite=True)
    assert len(list(tmp_path.glob("cgi_*"))) == len(files.paths) == 1


# ---------------------------------------------------------------- the sample


def test_sample_is_small_and_the_same_every_time(tmp_path):
    plain = simulate.write_sample(tmp_path / "plain")
    packed = simulate.write_sample(tmp_path / "packed", compress=True)
    assert len(plain.paths) == 24
    assert sum(path.stat().st_size for path in (tmp_path / "packed").iterdir()) < 400_000
    for a, b in zip(plain.paths, packed.paths, strict=True):
        layout = scan_file(b)
        with open_whole(layout) as hdus:
            np.testing.assert_array_equal(read_plane(hdus, layout.image), read(a)[0])
        with gzip.open(b) as file:
            assert len(file.read()) == a.stat().st_size
    np.testing.assert_array_equal(
        simulate.load_truth(packed.truth_path, CAMERA).dark_current, plain.truth.dark_current
    )
    again = simulate.write_sample(tmp_path / "plain", overwrite=True)
    assert again.paths == plain.paths
