#include <bit>
#include <type_traits>

#include "binding.hpp"
#include "fit.hpp"
#include "kernels.hpp"

namespace emdarks {
namespace {

static_assert(std::endian::native == std::endian::little);

Unsigned flags_of(nb::handle object, const char *name, Index pixels) {
    const auto array = given<AnyOut>(object, name, "unsigned integers");
    const Unsigned found = words(array, name);
    if (array.ndim() != 1 || found.cols != pixels)
        bad_shape(name, std::to_string(pixels) + ",");
    return found;
}

FitData fit_data(nb::handle gain, nb::handle time, nb::handle n, nb::handle mean, nb::handle m2,
                 nb::handle err2, nb::handle flags, nb::handle imaging, bool has_c, bool has_d,
                 bool d_everywhere) {
    FitData d = {};
    d.gain = line_of<const double>(gain, "gain");
    const Index stacks = d.gain.size;
    d.time = line_of<const double>(time, "time", stacks);
    d.n = words_of(n, "n", stacks, -1);
    if (d.n.width != 2 && d.n.width != 4)
        throw nb::type_error("n must be uint16 or uint32");
    const Index pixels = d.n.cols;
    d.mean = plane_of<const double>(mean, "mean", stacks, pixels);
    d.m2 = plane_of<const double>(m2, "m2", stacks, pixels);
    if (!err2.is_none())
        d.err2 = plane_of<const double>(err2, "err2", stacks, pixels);
    d.flags = words_of(flags, "flags", stacks, pixels);
    d.imaging = line_of<const bool>(imaging, "imaging", pixels);
    d.has_c = has_c;
    d.has_d = has_d;
    d.d_everywhere = d_everywhere;
    return d;
}

NoiseTables noise_tables(nb::handle v, nb::handle kappa, nb::handle kind, nb::handle floor,
                         nb::handle prior_mean, nb::handle intrinsic, nb::handle onset,
                         nb::handle hot, nb::handle excess) {
    NoiseTables t = {};
    t.v = plane_of<const double>(v, "v", 2, -1);
    t.kappa = line_of<const double>(kappa, "kappa", 2);
    t.kind = line_of<const std::int64_t>(kind, "kind", 2);
    for (Index region = 0; region < 2; ++region)
        if (t.kind[region] < EQUAL || t.kind[region] > SQUARES)
            throw nb::value_error("kind must be EQUAL, COUNTS, POOLED or SQUARES");
    t.floor = plane_of<const double>(floor, "floor", 2, t.v.cols);
    t.prior_mean = plane_of<const double>(prior_mean, "prior_mean", 2, 2);
    t.intrinsic = plane_of<const double>(intrinsic, "intrinsic", 2, 2);
    t.onset = plane_of<const double>(onset, "onset", 2, 2);
    t.hot = line_of<const std::int64_t>(hot, "hot");
    for (Index i = 1; i < t.hot.size; ++i)
        if (t.hot[i] <= t.hot[i - 1])
            throw nb::value_error("hot must ascend");
    t.excess = plane_of<const double>(excess, "excess", 2, t.hot.size);
    return t;
}

// Arguments of one call, checked against the stacks.
struct Call {
    const FitData &d;
    Index pixels = d.n.cols, stacks = d.gain.size;

    Call(Index lo, Index hi, const FitData &data) : d(data) { check_range(lo, hi, pixels); }
    Call(Index lo, Index hi, const FitData &data, const NoiseTables &t) : Call(lo, hi, data) {
        if (t.v.cols != stacks)
            bad_shape("v", "2, " + std::to_string(stacks));
    }
    template <class T> Array1<T> map(nb::handle object, const char *name) const {
        return line_of<T>(object, name, pixels);
    }
    template <class T = double>
    Array2<T> maps(Index count, nb::handle object, const char *name) const {
        return plane_of<T>(object, name, count, pixels);
    }
    Array1<const double> each(nb::handle object, const char *name) const {
        return line_of<const double>(object, name, stacks);
    }
    Unsigned flags(nb::handle object) const { return flags_of(object, "dq", pixels); }
    FitMaps fit_maps(nb::handle values, nb::handle errors, nb::handle correlations, nb::handle chi2,
                     nb::handle r_squared) const {
        return {maps(3, values, "values"), maps(3, errors, "errors"),
                maps(3, correlations, "correlations"), map<double>(chi2, "chi2"),
                map<double>(r_squared, "r_squared")};
    }
    Array2<double> derivatives(nb::handle object) const {
        return plane_of<double>(object, "derivatives", stacks + 1, 3);
    }
    // [region, stack, M2 or degrees of freedom], as [region and stack, M2 or degrees of freedom].
    Array2<double> pools(nb::handle object) const {
        const auto array = given<Out<double>>(object, "out", "float64");
        if (array.ndim() != 3 || array.shape(0) != 2 ||
            static_cast<Index>(array.shape(1)) != stacks || array.shape(2) != 2)
            bad_shape("out", "2, " + std::to_string(stacks) + ", 2");
        return {array.data(), 2 * stacks, 2};
    }
};

} // namespace

void bind_fit(nb::module_ &m) {
    m.attr("PIVOT") = PIVOT;
    m.attr("HOT") = HOT;
    m.attr("UNFITTED") = UNFITTED;
    m.attr("EQUAL") = static_cast<int>(EQUAL);
    m.attr("COUNTS") = static_cast<int>(COUNTS);
    m.attr("POOLED") = static_cast<int>(POOLED);
    m.attr("SQUARES") = static_cast<int>(SQUARES);

    using H = nb::handle;

    nb::class_<FitData>(m, "FitData", R"(Stacks to be fitted, as all kernels of the fit take them.

Parameters
----------
gain, time : ndarray, shape (stacks,)
    EM gain and exposure time.
n : ndarray of uint16 or uint32, shape (stacks, pixels)
    Good samples, fewer than 2^31.
mean, m2 : ndarray, shape (stacks, pixels)
    Their mean, and sum of squared deviations from it.
err2 : ndarray, shape (stacks, pixels), or None
    Sum of squared errors.
flags : ndarray of unsigned integers, shape (stacks, pixels)
    OR of all flags.
imaging : ndarray of bool, shape (pixels,)
    The imaging area, where there is dark current.
has_c, has_d : bool
    Whether C and D are fitted, the latter in the imaging area only; `reference_fit` fits D
    everywhere.
d_everywhere : bool
    Whether D is fitted outside the imaging area, too.)")
        .def(
            "__init__",
            [](FitData *self, H gain, H time, H n, H mean, H m2, H err2, H flags, H imaging,
               bool has_c, bool has_d, bool d_everywhere) {
                new (self) FitData(fit_data(gain, time, n, mean, m2, err2, flags, imaging, has_c,
                                            has_d, d_everywhere));
            },
            "gain"_a, "time"_a, "n"_a, "mean"_a, "m2"_a, "err2"_a.none(), "flags"_a, "imaging"_a,
            "has_c"_a = true, "has_d"_a = true, "d_everywhere"_a = false, nb::keep_alive<1, 2>(),
            nb::keep_alive<1, 3>(), nb::keep_alive<1, 4>(), nb::keep_alive<1, 5>(),
            nb::keep_alive<1, 6>(), nb::keep_alive<1, 7>(), nb::keep_alive<1, 8>(),
            nb::keep_alive<1, 9>());

    nb::class_<NoiseTables>(m, "NoiseTables", R"(Noise outside and inside the imaging area.

Parameters
----------
v : ndarray, shape (2, stacks)
    Variance of a sample.
kappa : ndarray, shape (2,)
    Excess noise.
kind : ndarray of int64, shape (2,)
    Weighting of weights: EQUAL (1), COUNTS (n), POOLED (by v) or SQUARES (n squared).
floor : ndarray, shape (2, stacks)
    Least variance of a pixel.
prior_mean, intrinsic, onset : ndarray, shape (2, 2)
    By region, for C and D: mean, variance of the true values over pixels, and how far a pixel's
    variance follows the pixel.
hot : ndarray of int64, shape (hot pixels,)
    Hot pixels, ascending.
excess : ndarray, shape (2, hot pixels)
    Their C and D above the pool.)")
        .def(
            "__init__",
            [](NoiseTables *self, H v, H kappa, H kind, H floor, H prior_mean, H intrinsic, H onset,
               H hot, H excess) {
                new (self) NoiseTables(
                    noise_tables(v, kappa, kind, floor, prior_mean, intrinsic, onset, hot, excess));
            },
            "v"_a, "kappa"_a, "kind"_a, "floor"_a, "prior_mean"_a, "intrinsic"_a, "onset"_a,
            "hot"_a, "excess"_a, nb::keep_alive<1, 2>(), nb::keep_alive<1, 3>(),
            nb::keep_alive<1, 4>(), nb::keep_alive<1, 5>(), nb::keep_alive<1, 6>(),
            nb::keep_alive<1, 7>(), nb::keep_alive<1, 8>(), nb::keep_alive<1, 9>(),
            nb::keep_alive<1, 10>());

    m.def(
        "design_rank",
        [](H gain, H gain_time) {
            const auto g = line_of<const double>(gain, "gain");
            return kernels().design_rank(g, line_of<const double>(gain_time, "gain_time", g.size));
        },
        "gain"_a, "gain_time"_a, "Whether stacks of these g and g t can tell F, C and D apart.");

    m.def(
        "smallest_variance",
        [](Index lo, Index hi, const FitData &data, H single, H out) {
            const Call call(lo, hi, data);
            const auto alone = call.each(single, "single");
            const auto least = line_of<double>(out, "out", call.stacks);
            unlocked([&] { kernels().smallest_variance(data, {lo, hi}, alone, least); });
        },
        "lo"_a, "hi"_a, "data"_a, "single"_a, "out"_a,
        R"(Smallest positive squared error of the mean of each stack among some pixels.

Parameters
----------
lo, hi, data, single
    As in `reference_fit`.
out : ndarray, shape (stacks,)
    Receives the squared errors; infinite where none is positive.)");

    m.def(
        "reference_fit",
        [](Index lo, Index hi, const FitData &data, H single, H floor, bool weighted, H values,
           H errors, H correlations, H chi2, H r_squared, H residual_variance, H stacks_used, H dq,
           H derivatives) {
            const Call call(lo, hi, data);
            const ReferenceFit fit = {call.each(single, "single"),
                                      call.each(floor, "floor"),
                                      weighted,
                                      call.fit_maps(values, errors, correlations, chi2, r_squared),
                                      call.map<double>(residual_variance, "residual_variance"),
                                      call.map<std::int16_t>(stacks_used, "stacks_used"),
                                      call.flags(dq),
                                      call.derivatives(derivatives)};
            return unlocked([&] { return kernels().reference_fit(data, {lo, hi}, fit); });
        },
        "lo"_a, "hi"_a, "data"_a, "single"_a, "floor"_a, "weighted"_a, "values"_a, "errors"_a,
        "correlations"_a, "chi2"_a, "r_squared"_a, "residual_variance"_a, "stacks_used"_a, "dq"_a,
        "derivatives"_a,
        R"(Fit as the reference does, stacks without good samples left out.

Weights are 1/err_i^2 or 1. The errors are sqrt(s^2 Q_kk) with the unweighted
s^2 = sum r_i^2 / (M - 3) and Q = (X'X)^-1, M and X over the usable stacks.

Parameters
----------
lo, hi : int
    Range of pixels; others stay as they are in all that is received.
data : FitData
    Stacks.
single, floor : ndarray, shape (stacks,)
    Variance that stands in where one sample is good; squared error that stands in for 0.
weighted : bool
    Whether to weight.
values, errors, correlations : ndarray, shape (3, pixels)
    Receive F, C, D; their errors; correlations F-C, F-D, C-D.
chi2, r_squared, residual_variance : ndarray, shape (pixels,)
    Receive reduced chi-square, adjusted R^2 and s^2.
stacks_used, dq : ndarray of int16 and of unsigned integers, shape (pixels,)
    Receive the number of usable stacks, and the flags of unfittable pixels.
derivatives : ndarray, shape (stacks + 1, 3)
    Receives the sums over the imaging area of d(F, C, D)/d(relative gain error), by stack, and
    in the last row the number of pixels.

Returns
-------
int
    Number of pixels with a stack whose error is 0 and whose ``floor`` is NaN.)");

    m.def(
        "survey",
        [](Index lo, Index hi, const FitData &data, H group, H stacks_used, H dq, H out) {
            const Call call(lo, hi, data);
            const Survey found = {call.map<std::int8_t>(group, "group"),
                                  call.map<std::int16_t>(stacks_used, "stacks_used"),
                                  call.flags(dq), call.pools(out)};
            unlocked([&] { kernels().survey(data, {lo, hi}, found); });
        },
        "lo"_a, "hi"_a, "data"_a, "group"_a, "stacks_used"_a, "dq"_a, "out"_a,
        R"(Decide which pixels can be fitted, and add up their scatter.

Parameters
----------
lo, hi : int
    Range of pixels; others stay as they are in all that is received.
data : FitData
    Stacks.
group, stacks_used, dq : ndarray of int8, int16, unsigned integers, shape (pixels,)
    Receive 0 outside and 1 inside the imaging area, UNFITTED where no fit is possible; the usable
    stacks; the flags where no fit is possible.
out : ndarray, shape (2, stacks, 2)
    Receives, outside and inside the imaging area, sum of M2 and of n - 1.)");

    m.def(
        "pool_sweep",
        [](Index lo, Index hi, const FitData &data, H group, H out) {
            const Call call(lo, hi, data);
            const auto groups = call.map<const std::int8_t>(group, "group");
            const auto pools = call.pools(out);
            unlocked([&] { kernels().pool_sweep(data, {lo, hi}, groups, pools); });
        },
        "lo"_a, "hi"_a, "data"_a, "group"_a, "out"_a,
        R"(Sums of M2 and n - 1 over the pixels that are fitted and not hot.

Parameters
----------
group : ndarray of int8, shape (pixels,)
    Groups of the pixels: as `survey` gives them, HOT more where hot.
lo, hi, data, out
    As in `survey`.)");

    m.def(
        "first_sweep",
        [](Index lo, Index hi, const FitData &data, H v0, H values, H scale, H jump) {
            const Call call(lo, hi, data);
            const FirstFit fit = {plane_of<const double>(v0, "v0", 2, call.stacks),
                                  call.maps(3, values, "values"), call.maps(2, scale, "scale"),
                                  call.maps(2, jump, "jump")};
            unlocked([&] { kernels().first_sweep(data, {lo, hi}, fit); });
        },
        "lo"_a, "hi"_a, "data"_a, "v0"_a, "values"_a, "scale"_a, "jump"_a,
        R"(Fit with weights n; how far noise, and one electron, can move C and D of that fit.

Parameters
----------
v0 : ndarray, shape (2, stacks)
    Variances pooled over all pixels, outside and inside the imaging area.
values : ndarray, shape (3, pixels)
    Receives F, C and D; any number where no fit is possible.
scale : ndarray, shape (2, pixels)
    Receives u^2 = sum_i G_ki^2 v0_i / n_i for C and D.
jump : ndarray, shape (2, pixels)
    Receives max_i G_ki g_i / n_i, 0 at least.
lo, hi, data
    As in `survey`.)");

    m.def(
        "second_sweep",
        [](Index lo, Index hi, const FitData &data, H group, const NoiseTables &noise, H values,
           H own, H out) {
            const Call call(lo, hi, data, noise);
            const SecondFit fit = {call.map<const std::int8_t>(group, "group"), noise,
                                   call.maps(3, values, "values"), call.maps(2, own, "own"),
                                   plane_of<double>(out, "out", 2, 2)};
            unlocked([&] { kernels().second_sweep(data, {lo, hi}, fit); });
        },
        "lo"_a, "hi"_a, "data"_a, "group"_a, "noise"_a, "values"_a, "own"_a, "out"_a,
        R"(Fit with the final weights; what is needed to judge the spread over pixels.

Parameters
----------
noise : NoiseTables
    Of it ``v``, ``kappa``, ``kind``, ``hot`` and ``excess`` are used.
values : ndarray, shape (3, pixels)
    F, C, D of the first fit, from which this one starts; receives F, C, D.
own : ndarray, shape (2, pixels)
    Receives, for C and D where they are fitted, the error variance with the pool's v, of pixels
    not hot.
out : ndarray, shape (2, 2)
    Receives, by region, for C and D, the sum over pixels not hot of the derivative of ``own`` to
    the parameter.
lo, hi, data, group
    As in `pool_sweep`.)");

    m.def(
        "final_sweep",
        [](Index lo, Index hi, const FitData &data, H group, const NoiseTables &noise,
           double gain_error, H stacks_used, H values, H errors, H correlations, H chi2,
           H r_squared, H derivatives) {
            const Call call(lo, hi, data, noise);
            const FinalFit fit = {call.map<const std::int8_t>(group, "group"),
                                  noise,
                                  gain_error,
                                  call.map<const std::int16_t>(stacks_used, "stacks_used"),
                                  call.fit_maps(values, errors, correlations, chi2, r_squared),
                                  call.derivatives(derivatives)};
            unlocked([&] { kernels().final_sweep(data, {lo, hi}, fit); });
        },
        "lo"_a, "hi"_a, "data"_a, "group"_a, "noise"_a, "gain_error"_a, "stacks_used"_a, "values"_a,
        "errors"_a, "correlations"_a, "chi2"_a, "r_squared"_a, "derivatives"_a,
        R"(Errors, correlations, chi-square and R^2 of the fit; what errors of the gain do.

Parameters
----------
noise : NoiseTables
    Noise of both regions.
gain_error : float
    Relative 1-sigma error of each stack's gain, independent of each other.
stacks_used : ndarray of int16, shape (pixels,)
    Usable stacks.
values : ndarray, shape (3, pixels)
    F, C, D of `second_sweep`; 0 where no fit is possible.
errors, correlations : ndarray, shape (3, pixels)
    Receive errors and the correlations F-C, F-D, C-D.
chi2, r_squared : ndarray, shape (pixels,)
    Receive the reduced chi-square and the adjusted R^2.
derivatives : ndarray, shape (stacks + 1, 3)
    Receives the sums over the imaging area of d(F, C, D)/d(relative gain error), by stack, and
    in the last row the number of pixels.
lo, hi, data, group
    As in `pool_sweep`.)");
}

} // namespace emdarks
