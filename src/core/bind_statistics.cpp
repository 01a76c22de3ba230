#include <nanobind/stl/optional.h>
#include <nanobind/stl/tuple.h>

#include "binding.hpp"
#include "kernels.hpp"

namespace emdarks {
namespace {

using Plane = In<double>;
using Code = nb::dlpack::dtype_code;

// Bytes of a plane of small integers, or of bool.
Array1<const std::int8_t> bytes(const AnyIn &of, const char *name, Index pixels) {
    const auto type = of.dtype();
    if (type.bits != 8 || (type.code != static_cast<std::uint8_t>(Code::Int) &&
                           type.code != static_cast<std::uint8_t>(Code::Bool)))
        throw nb::type_error((std::string(name) + " must be int8 or bool").c_str());
    check_line(of, name, pixels);
    return {static_cast<const std::int8_t *>(of.data()), pixels};
}

Group group(Index lo, Index hi, const std::optional<AnyIn> &of, int member, Index pixels) {
    check_range(lo, hi, pixels);
    Group group;
    group.lo = lo, group.hi = hi, group.member = static_cast<std::int8_t>(member);
    if (group.member != member)
        throw nb::value_error("member must be an int8");
    if (of)
        group.of = bytes(*of, "of", pixels);
    return group;
}

Group group(const std::optional<AnyIn> &of, int member, Index pixels) {
    return group(0, pixels, of, member, pixels);
}

// Counts of good samples, (pixels,) or (stacks, pixels).
template <class Array, class Struct> void counts(const Array &n, Struct &into, std::size_t size) {
    into.n = n.data();
    into.n_width = width(n, "n", "24");
    if (n.size() != size)
        throw nb::value_error("n must have the shape of mean");
}

Estimates estimates(const Plane &x, const Plane &error2, double top) {
    const auto planes = line(x, "x");
    return {planes, line(error2, "error2", planes.size), top};
}

} // namespace

void bind_statistics(nb::module_ &m) {
    m.attr("LEAST") = LEAST;
    m.attr("KEPT") = KEPT;
    m.attr("FEW_SAMPLES") = FEW_SAMPLES;
    m.attr("SAMPLE") = SAMPLE;

    m.def(
        "largest",
        [](Index lo, Index hi, const Plane &x, const AnyIn &of, int member) {
            const auto values = line(x, "x");
            return kernels().largest(group(lo, hi, of, member, values.size), values);
        },
        "lo"_a, "hi"_a, array("x"), array("of"), "member"_a, Unlocked(),
        R"(Largest value of a group of pixels; 0 if none is positive.

Parameters
----------
lo, hi : int
    Range of pixels.
x : ndarray of float64, shape (pixels,)
    The plane.
of : ndarray of int8 or bool, shape (pixels,)
    Group of each pixel; those of others may hold anything.
member : int
    The group.)");

    m.def(
        "weighted_sums",
        [](Index lo, Index hi, const Plane &x, const Plane &error2, const AnyIn &of, int member,
           double top) {
            const auto all = estimates(x, error2, top);
            const auto s = kernels().weighted_sums(group(lo, hi, of, member, all.x.size), all);
            return std::tuple(s.w, s.wx, s.w2, s.w2x, s.count, s.error2);
        },
        "lo"_a, "hi"_a, array("x"), array("error2"), array("of"), "member"_a, "top"_a, Unlocked(),
        R"(Sums of w, w x, w^2, w^2 x, 1 and error^2 over a group, w = top / error^2 or 1 / LEAST.

Parameters
----------
lo, hi, x, of, member
    As in `largest`.
error2 : ndarray of float64, shape (pixels,)
    Squared errors of x.
top : float
    The largest of them; 0: all weights are 1.)");

    m.def(
        "excess_sums",
        [](Index lo, Index hi, const Plane &x, const Plane &error2, const AnyIn &of, int member,
           double top, double centre) {
            const auto all = estimates(x, error2, top);
            const auto s =
                kernels().excess_sums(group(lo, hi, of, member, all.x.size), all, centre);
            return std::tuple(s.w2e, s.w4, s.w4e, s.w4e2);
        },
        "lo"_a, "hi"_a, array("x"), array("error2"), array("of"), "member"_a, "top"_a, "centre"_a,
        Unlocked(),
        R"(Sums of w^2 e, w^4, w^4 e and w^4 e^2 over a group, e = (x - centre)^2 - error^2.

Parameters
----------
lo, hi, x, error2, of, member, top
    As in `weighted_sums`, which has the weights w.
centre : float
    Mean of x.)");

    m.def(
        "product_sum",
        [](Index lo, Index hi, const Plane &x, const std::optional<Plane> &y, double x_0,
           double y_0, const AnyIn &of, int member) {
            const auto first = line(x, "x");
            const auto second = y ? line(*y, "y", first.size) : Array1<const double>{};
            const auto s = kernels().product_sum(group(lo, hi, of, member, first.size), first,
                                                 second, x_0, y_0);
            return std::tuple(s.count, s.sum);
        },
        "lo"_a, "hi"_a, array("x"), optional_array("y"), "x_0"_a, "y_0"_a, array("of"), "member"_a,
        Unlocked(),
        R"(Number of pixels of a group, and the sum of (x - x_0) (y - y_0) over them.

Parameters
----------
lo, hi, of, member
    As in `largest`.
x : ndarray of float64, shape (pixels,)
    A plane.
y : ndarray of float64, shape (pixels,), or None
    Another; None: the sum of x - x_0.
x_0, y_0 : float
    Subtracted from them.)");

    m.def(
        "median",
        [](const Plane &x, const std::optional<AnyIn> &of, int member) {
            const auto values = line(x, "x");
            return kernels().median(group(of, member, values.size), values);
        },
        array("x"), optional_array("of") = nb::none(), "member"_a = 1, Unlocked(),
        R"(Median over a group, exactly, as `numpy.nanmedian` has it; NaN where there is nothing.

A sample tells between which two values the median lies; the others are only counted.

Parameters
----------
x : ndarray of float64, shape (pixels,)
    The plane; NaN does not count.
of : ndarray of int8 or bool, shape (pixels,), or None
    Group of each pixel; None: all belong to it.
member : int
    The group.)");

    m.def(
        "median_deviation",
        [](const Plane &x, const Plane &scale, double middle, const std::optional<AnyIn> &of,
           int member) {
            const auto values = line(x, "x");
            return kernels().median_deviation(group(of, member, values.size), values,
                                              line(scale, "scale", values.size), middle);
        },
        array("x"), array("scale"), "middle"_a, optional_array("of") = nb::none(), "member"_a = 1,
        Unlocked(),
        R"(Median of |x - middle| / u over a group, with u^2 = scale; u = 1 where that is 0.

Parameters
----------
x, of, member
    As in `median`.
scale : ndarray of float64, shape (pixels,)
    Squared units.
middle : float
    Median of x.)");

    m.def(
        "mark_hot",
        [](Index lo, Index hi, const Plane &x, const Plane &scale, const Plane &jump,
           const Plane &limits, const Out<std::int8_t> &of) {
            const auto cols = line(of, "of").size;
            check_range(lo, hi, cols);
            if (limits.ndim() != 3 || limits.shape(0) != 2 || limits.shape(1) != 2 ||
                limits.shape(2) != 3)
                bad_shape("limits", "2, 2, 3");
            kernels().mark_hot({lo,
                                hi,
                                plane(x, "x", 2, cols),
                                plane(scale, "scale", 2, cols),
                                plane(jump, "jump", 2, cols),
                                {reinterpret_cast<const HotLimit *>(limits.data()), 2, 2},
                                line(of, "of")});
        },
        "lo"_a, "hi"_a, array("x"), array("scale"), array("jump"), array("limits"), array("of"),
        Unlocked(), R"(Add 2 to the group of pixels above the limits of their region.

Parameters
----------
lo, hi : int
    Range of pixels.
x, scale, jump : ndarray of float64, shape (2, pixels)
    C and D, u^2 of each, and what one electron moves them; u = 1 where its square is 0.
limits : ndarray of float64, shape (2, 2, 3)
    By region, for C and D: the middle; how many u, and how many jumps, above it.
of : ndarray of int8, shape (pixels,)
    Groups: the region, 0 (C alone is judged) or 1, or -1.)");

    m.def(
        "residual_median",
        [](const AnyIn &n, const Plane &mean, const Plane &values, const Plane &errors, double gain,
           double gain_time, double shift, const std::optional<AnyIn> &of, int member) {
            Residuals a;
            a.mean = line(mean, "mean");
            counts(n, a, mean.size());
            a.values = plane(values, "values", 3, a.mean.size);
            a.errors = plane(errors, "errors", 3, a.mean.size);
            a.gain = gain, a.gain_time = gain_time, a.shift = shift;
            return kernels().residual_median(group(of, member, a.mean.size), a);
        },
        array("n"), array("mean"), array("values"), array("errors"), "gain"_a, "gain_time"_a,
        "shift"_a, optional_array("of") = nb::none(), "member"_a = 1, Unlocked(),
        R"(Median over a group of what the fit leaves of a stack's mean.

Parameters
----------
n : ndarray of uint16 or uint32, shape (pixels,)
    Good samples; pixels without any are left out.
mean : ndarray of float64, shape (pixels,)
    Mean of the stack.
values, errors : ndarray of float64, shape (3, pixels)
    F, C, D and their errors.
gain, gain_time : float
    g, and g t.
shift : float
    How many errors F, C and D are higher than fitted, all together.
of, member
    As in `median`.)");

    m.def(
        "stack_sums",
        [](Index lo, Index hi, const Plane &gain, const Plane &gain_time, const Plane &least,
           const AnyIn &n, const Plane &mean, const std::optional<Plane> &m2, const Plane &values,
           const AnyIn &inside, const Out<std::int16_t> &unreliable, const Out<double> &out) {
            StackSumsOver a;
            a.mean = plane(mean, "mean");
            const auto stacks = a.mean.rows, pixels = a.mean.cols;
            check_range(lo, hi, pixels);
            a.lo = lo, a.hi = hi;
            a.gain = line(gain, "gain", stacks);
            a.gain_time = line(gain_time, "gain_time", stacks);
            a.least = line(least, "least", stacks);
            counts(n, a, mean.size());
            if (m2)
                a.m2 = plane(*m2, "m2", stacks, pixels);
            a.values = plane(values, "values", 3, pixels);
            a.inside = bytes(inside, "inside", pixels);
            a.unreliable = line(unreliable, "unreliable", pixels);
            plane(out, "out", stacks, 5);
            a.out = {reinterpret_cast<StackSums *>(out.data()), stacks};
            kernels().stack_sums(a);
        },
        "lo"_a, "hi"_a, array("gain"), array("gain_time"), array("least"), array("n"),
        array("mean"), optional_array("m2"), array("values"), array("inside"), array("unreliable"),
        array("out"), Unlocked(),
        R"(Sums of every stack over some pixels.

Parameters
----------
lo, hi : int
    Range of pixels.
gain, gain_time : ndarray of float64, shape (stacks,)
    g and g t.
least : ndarray of float64, shape (stacks,)
    Good samples below which a stack is unreliable at a pixel.
n, mean, m2 : ndarray, shape (stacks, pixels)
    Moments: uint16 or uint32; float64; float64 or None.
values : ndarray of float64, shape (3, pixels)
    F, C, D.
inside : ndarray of bool, shape (pixels,)
    Pixels that the last four sums are taken over.
unreliable : ndarray of int16, shape (pixels,)
    Receives the number of stacks that are unreliable.
out : ndarray of float64, shape (stacks, 5)
    Receives the sums of n; of residuals of the mean, where n > 0; of such pixels; of n - 1 there;
    and of M2.)");

    m.def(
        "trimmed_means",
        [](const AnyOut &n, const Out<double> &mean, const Out<double> &top,
           const Out<double> &out) {
            Moments sums;
            sums.mean = line(mean, "mean");
            counts(n, sums, mean.size());
            sums.top = plane(top, "top", sums.mean.size);
            kernels().trimmed_means(sums, line(out, "out", sums.mean.size));
        },
        array("n"), array("mean"), array("top"), array("out"), Unlocked(),
        R"(Mean of each pixel without its largest samples: a quarter of them, or all of ``top``.

Parameters
----------
n, mean : ndarray, shape (pixels,)
    Moments: uint16 or uint32; float64.
top : ndarray of float64, shape (pixels, kept)
    Largest samples, ascending.
out : ndarray of float64, shape (pixels,)
    Receives the means; NaN where no sample is good.)");

    m.def(
        "screen",
        [](const AnyOut &n, const Out<double> &mean, const Out<double> &m2,
           const std::optional<Out<double>> &err2, const AnyOut &flags, const Out<double> &top,
           const Plane &trimmed, double level, double gain, double read_noise, double charge,
           const Out<std::int32_t> &rejected) {
            Screening a;
            a.moments = moments(n, mean, m2, err2, flags, top);
            a.trimmed = line(trimmed, "trimmed", a.moments.mean.size);
            a.rejected = line(rejected, "rejected", a.moments.mean.size);
            a.level = level, a.gain = gain, a.read_noise = read_noise, a.charge = charge;
            kernels().screen(a);
        },
        array("n"), array("mean"), array("m2"), optional_array("err2"), array("flags"),
        array("top"), array("trimmed"), "level"_a, "gain"_a, "read_noise"_a, "charge"_a,
        array("rejected"), Unlocked(),
        R"(Take samples above the ceiling of clean ones out of a stack's sums, in place.

The ceiling is level + 5 rn + g (lambda + 5 sqrt(2 lambda) + 9.2), with the read noise rn, the EM
gain g, and lambda = C + t D nominal, or the pixel's own where that is larger. It is one-sided:
symmetric clipping would cut the skewed tail of the register and bias the charge. Where as many
samples exceed the ceiling as were kept, more may: the stack is left out for that pixel (n = 0) with
the cosmic-ray flag. The part of a rejected sample in ``err2`` is taken to be the pixel's average.

Parameters
----------
n, mean, m2, err2, flags, top : ndarray
    Moments, as in ``merge``.
trimmed : ndarray of float64, shape (pixels,)
    From ``trimmed_means``.
level : float
    Median of the trimmed means.
gain, read_noise, charge : float
    EM gain; electrons; nominal C + t D, electrons.
rejected : ndarray of int32, shape (pixels,)
    Increased by the number of samples taken out.)");

    m.def(
        "level_run",
        [](const AnyIn &data, double bias, const std::optional<Plane> &frame, double saturation,
           const Out<double> &clean, const Out<std::uint16_t> &flags) {
            Levelling a;
            a.clean = line(clean, "clean");
            const Index pixels = a.clean.size;
            check_line(data, "data", pixels);
            const auto type = data.dtype();
            if (type.code != static_cast<std::uint8_t>(Code::Float) ||
                (type.bits != 32 && type.bits != 64))
                throw nb::type_error("data must be float32 or float64");
            a.data = data.data(), a.single = type.bits == 32;
            if (frame)
                a.frame = line(*frame, "frame", pixels);
            a.bias = bias, a.saturation = saturation;
            a.flags = line(flags, "flags", pixels);
            kernels().level_run(a);
        },
        array("data"), "bias"_a, optional_array("frame"), "saturation"_a, array("clean"),
        array("flags"), Unlocked(),
        R"(Subtract a bias level or a bias frame, and flag samples at or above saturation.

Parameters
----------
data : ndarray of float32 or float64, shape (pixels,)
    Numbers as they are stored.
bias : float
    Level of all pixels.
frame : ndarray of float64, shape (pixels,), or None
    Level of each pixel, instead.
saturation : float
    Stored number from which on a sample is saturated.
clean : ndarray of float64, shape (pixels,)
    Receives the numbers without bias; may be ``data``.
flags : ndarray of uint16, shape (pixels,)
    Receives 32 or 0.)");
}

} // namespace emdarks
