#include <nanobind/stl/pair.h>

#include "binding.hpp"
#include "kernels.hpp"

namespace emdarks {
namespace {

using H = nb::handle;

CountingData counting_data(H gain, H commanded, H time, H T, H T2, H flagged, H is_low, H electron,
                           std::pair<double, double> read_noise, H n, H mean, H m2, H above,
                           H beyond, H near, H near_above, H low, H high, H imaging, H error2) {
    CountingData d = {};
    d.gain = line_of<const double>(gain, "gain");
    const Index stacks = d.gain.size;
    d.commanded = line_of<const double>(commanded, "commanded", stacks);
    d.time = line_of<const double>(time, "time", stacks);
    d.T = line_of<const double>(T, "T", stacks);
    d.T2 = line_of<const double>(T2, "T2", stacks);
    d.flagged = line_of<const double>(flagged, "flagged", stacks);
    d.is_low = line_of<const bool>(is_low, "is_low", stacks);
    d.electron = plane_of<const double>(electron, "electron", stacks, MOST_EXPONENTIALS + 1);
    d.read_noise = read_noise.first, d.nominal_noise = read_noise.second;
    for (Index i = 0; i < stacks; ++i)
        if (!(d.gain[i] > 0.0 && d.T2[i] > d.T[i]))
            throw nb::value_error("gains must be positive, and T2 above T");
    if (!(d.read_noise > 0.0))
        throw nb::value_error("read_noise must be positive");
    d.n = words_of(n, "n", stacks, -1);
    if (d.n.width != 2 && d.n.width != 4)
        throw nb::type_error("n must be uint16 or uint32");
    const Index pixels = d.n.cols;
    d.mean = plane_of<const double>(mean, "mean", stacks, pixels);
    d.m2 = plane_of<const double>(m2, "m2", stacks, pixels);
    d.above = plane_of<const std::uint16_t>(above, "above", stacks, pixels);
    d.beyond = plane_of<const std::uint16_t>(beyond, "beyond", stacks, pixels);
    d.near = plane_of<const std::uint16_t>(near, "near", stacks, pixels);
    d.near_above = plane_of<const std::uint16_t>(near_above, "near_above", stacks, pixels);
    d.low = plane_of<const float>(low, "low", stacks, pixels);
    d.high = plane_of<const float>(high, "high", stacks, pixels);
    d.imaging = line_of<const bool>(imaging, "imaging", pixels);
    d.error2 = plane_of<const double>(error2, "error2", 2, pixels);
    return d;
}

CountingTerms counting_terms(H level, H spread, H follow, H slope, H mean_shift, H ray_variance,
                             H wings) {
    CountingTerms t = {};
    t.level = plane_of<const double>(level, "level", 2, 2);
    t.spread = plane_of<const double>(spread, "spread", 2, 2);
    t.follow = plane_of<const double>(follow, "follow", 2, 2);
    t.slope = plane_of<const double>(slope, "slope", 2, -1);
    const Index stacks = t.slope.cols;
    t.mean_shift = plane_of<const double>(mean_shift, "mean_shift", 2, stacks);
    t.ray_variance = plane_of<const double>(ray_variance, "ray_variance", 2, stacks);
    t.wings = plane_of<const double>(wings, "wings", 2, 3 * stacks);
    return t;
}

void check_call(Index lo, Index hi, const CountingData &d, const CountingTerms &t) {
    check_range(lo, hi, d.n.cols);
    if (t.slope.cols != d.gain.size)
        bad_shape("slope", "2, " + std::to_string(d.gain.size));
}

} // namespace

void bind_counting(nb::module_ &m) {
    const auto names = [](const auto &all) {
        nb::list found;
        for (const char *name : all)
            found.append(name);
        return nb::tuple(found);
    };
    m.attr("MOST_EXPONENTIALS") = MOST_EXPONENTIALS;
    m.attr("COUNTING_POOLS") = names(COUNTING_POOL_NAMES);
    m.attr("COUNTING_STATISTICS") = names(COUNTING_STATISTICS);

    nb::class_<CountingData>(m, "CountingData", R"(Stacks to be fitted by their counts.

Parameters
----------
gain, commanded : ndarray, shape (stacks,)
    EM gain of the law of a sample, and as commanded, which chooses the statistics.
time : ndarray, shape (stacks,)
    Exposure time.
T, T2 : ndarray, shape (stacks,)
    Thresholds of the sums.
flagged : ndarray, shape (stacks,)
    Lowest level from which on a sample can have been flagged; infinite where none is.
is_low : ndarray of bool, shape (stacks,)
    Stacks of low gain, of which the mean below T is used.
electron : ndarray, shape (stacks, 5)
    Of what one electron becomes: weights of the sums of 0 to 4 exponentials of mean ``gain``; 0, 1,
    0, 0, 0 of a register of infinitely many stages.
read_noise : tuple of float
    Of the law, and nominal.
n : ndarray of uint16 or uint32, shape (stacks, pixels)
    Good samples.
mean, m2 : ndarray, shape (stacks, pixels)
    Their mean, and sum of squared deviations from it.
above, beyond, near, near_above : ndarray of uint16, shape (stacks, pixels)
    See `CountingSums`.
low, high : ndarray of float32, shape (stacks, pixels)
    See `CountingSums`.
imaging : ndarray of bool, shape (pixels,)
    The imaging area, where there is dark current.
error2 : ndarray, shape (2, pixels)
    Squared errors of C and D of the last round; not read where nothing follows them.

Raises
------
TypeError, ValueError
    Another type or shape; gains or read noise that are not positive; T2 not above T.)")
        .def(
            "__init__",
            [](CountingData *self, H gain, H commanded, H time, H T, H T2, H flagged, H is_low,
               H electron, std::pair<double, double> read_noise, H n, H mean, H m2, H above,
               H beyond, H near, H near_above, H low, H high, H imaging, H error2) {
                new (self) CountingData(counting_data(
                    gain, commanded, time, T, T2, flagged, is_low, electron, read_noise, n, mean,
                    m2, above, beyond, near, near_above, low, high, imaging, error2));
            },
            "gain"_a, "commanded"_a, "time"_a, "T"_a, "T2"_a, "flagged"_a, "is_low"_a, "electron"_a,
            "read_noise"_a, "n"_a, "mean"_a, "m2"_a, "above"_a, "beyond"_a, "near"_a,
            "near_above"_a, "low"_a, "high"_a, "imaging"_a, "error2"_a, nb::keep_alive<1, 2>(),
            nb::keep_alive<1, 3>(), nb::keep_alive<1, 4>(), nb::keep_alive<1, 5>(),
            nb::keep_alive<1, 6>(), nb::keep_alive<1, 7>(), nb::keep_alive<1, 8>(),
            nb::keep_alive<1, 9>(), nb::keep_alive<1, 11>(), nb::keep_alive<1, 12>(),
            nb::keep_alive<1, 13>(), nb::keep_alive<1, 14>(), nb::keep_alive<1, 15>(),
            nb::keep_alive<1, 16>(), nb::keep_alive<1, 17>(), nb::keep_alive<1, 18>(),
            nb::keep_alive<1, 19>(), nb::keep_alive<1, 20>(), nb::keep_alive<1, 21>());

    nb::class_<CountingTerms>(m, "CountingTerms", R"(Numbers that the pixels of a region share.

The first row is that of the pixels outside the imaging area, the second that inside.

Parameters
----------
level : ndarray, shape (2, 2)
    C and D of the pool, which weights go by.
spread : ndarray, shape (2, 2)
    Variance of the true C and D over pixels.
follow : ndarray, shape (2, 2)
    How far the variance in the errors follows C and D of the pixel, 0 to 1.
slope : ndarray, shape (2, stacks)
    What rays add to the mean below T of stacks of low gain.
mean_shift : ndarray, shape (2, stacks)
    What rays add to plain means.
ray_variance : ndarray, shape (2, stacks)
    What rays add to the variance of a sample.
wings : ndarray, shape (2, 3 * stacks)
    What rays add to K/n', LO/n' and HI/n', stack after stack.)")
        .def(
            "__init__",
            [](CountingTerms *self, H level, H spread, H follow, H slope, H mean_shift,
               H ray_variance, H wings) {
                new (self) CountingTerms(
                    counting_terms(level, spread, follow, slope, mean_shift, ray_variance, wings));
            },
            "level"_a, "spread"_a, "follow"_a, "slope"_a, "mean_shift"_a, "ray_variance"_a,
            "wings"_a, nb::keep_alive<1, 2>(), nb::keep_alive<1, 3>(), nb::keep_alive<1, 4>(),
            nb::keep_alive<1, 5>(), nb::keep_alive<1, 6>(), nb::keep_alive<1, 7>(),
            nb::keep_alive<1, 8>());

    m.def(
        "counting_sweep",
        [](Index lo, Index hi, const CountingData &data, const CountingTerms &terms, H group,
           Index steps, H values, H naive, H covariance, H chi2) {
            check_call(lo, hi, data, terms);
            const Index pixels = data.n.cols;
            if (steps < 1)
                throw nb::value_error("steps must be at least 1");
            const CountingRound round = {line_of<const std::int8_t>(group, "group", pixels),
                                         steps,
                                         plane_of<double>(values, "values", 3, pixels),
                                         plane_of<double>(naive, "naive", 6, pixels),
                                         plane_of<double>(covariance, "covariance", 6, pixels),
                                         line_of<double>(chi2, "chi2", pixels)};
            unlocked([&] { kernels().counting_sweep(data, {lo, hi}, terms, round); });
        },
        "lo"_a, "hi"_a, "data"_a, "terms"_a, "group"_a, "steps"_a, "values"_a, "naive"_a,
        "covariance"_a, "chi2"_a,
        R"(One round of the counting estimator: some steps of Gauss and Newton, and errors.

Parameters
----------
lo, hi : int
    Range of pixels; others stay as they are in all that is received, and so may UNFITTED ones.
data : CountingData
    Stacks.
terms : CountingTerms
    What the pixels of a region share.
group : ndarray of int8, shape (pixels,)
    0 outside and 1 inside the imaging area, HOT more where hot, UNFITTED.
steps : int
    How many.
values : ndarray, shape (3, pixels)
    F, C and D to start from; receive the new ones. D stays outside the imaging area.
naive : ndarray, shape (6, pixels)
    Receives the inverse of the normal matrix, FF, FC, FD, CC, CD, DD: the covariance if all
    pixels were alike; FF is NaN where the stacks of a pixel cannot tell the parameters apart.
covariance : ndarray, shape (6, pixels)
    Receives the covariance, with variances that follow the pixel.
chi2 : ndarray, shape (pixels,)
    Receives the reduced chi-square.)");

    m.def(
        "counting_pools",
        [](Index lo, Index hi, const CountingData &data, const CountingTerms &terms, H group, H far,
           H values, H out) {
            check_call(lo, hi, data, terms);
            const Index pixels = data.n.cols;
            const CountingPools pools = {
                line_of<const std::int8_t>(group, "group", pixels),
                line_of<const std::int8_t>(far, "far", pixels),
                plane_of<const double>(values, "values", 3, pixels),
                plane_of<double>(out, "out", 2 * data.gain.size, COUNTING_POOLS)};
            unlocked([&] { kernels().counting_pools(data, {lo, hi}, terms, pools); });
        },
        "lo"_a, "hi"_a, "data"_a, "terms"_a, "group"_a, "far"_a, "values"_a, "out"_a,
        R"(Sums over the pixels that are fitted and not hot, for the terms that they share.

Parameters
----------
lo, hi, data, terms, group, values
    As in `counting_sweep`.
far : ndarray of int8, shape (pixels,)
    1 where no hot pixel is near: those that the sums from ``kept`` on are taken over.
out : ndarray, shape (2 * stacks, len(COUNTING_POOLS))
    Receives the sums by stack, outside, then inside the imaging area: pixels with samples; their
    lambda; their mean less F + g lambda; M2 and n - 1; at low gain the weight of the mean below T
    and weight times its residual; else samples below T2, K, LO, HI, nc and Kc.)");

    m.def(
        "counting_statistics",
        [](H u, H charge, double distance, double gain, double read_noise, H electron, H out) {
            const auto at = line_of<const double>(u, "u");
            if (!(gain > 0.0 && read_noise > 0.0))
                throw nb::value_error("gain and read_noise must be positive");
            const CountingStatistics wanted = {
                at,
                line_of<const double>(charge, "charge", at.size),
                distance,
                gain,
                read_noise,
                line_of<const double>(electron, "electron", MOST_EXPONENTIALS + 1),
                plane_of<double>(out, "out", std::size(COUNTING_STATISTICS), at.size)};
            unlocked([&] { kernels().counting_statistics(wanted); });
        },
        "u"_a, "charge"_a, "distance"_a, "gain"_a, "read_noise"_a, "electron"_a, "out"_a,
        R"(The law of a sample at thresholds u, and the expected statistics.

Parameters
----------
u : ndarray, shape (points,)
    Thresholds less the level F.
charge : ndarray, shape (points,)
    Mean number of electrons, lambda.
distance : float
    T2 - T; 0: statistics of samples below T.
gain, read_noise : float
    Of the law.
electron : ndarray, shape (5,)
    See `CountingData`.
out : ndarray, shape (len(COUNTING_STATISTICS), points)
    Receives density p, P(x > u), E(x - u)+, E(x - u)+^2, derivatives of the second and third to
    lambda; expectations of K, LO and HI of one sample below T2 (or of the mean of x - T below T, in
    the place of K); their derivatives to F and to lambda; their variances and covariances.)");
}

} // namespace emdarks
