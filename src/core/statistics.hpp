// Sums and medians over the pixels of a group, and numbers about a finished fit.
#pragma once

#include "decode.hpp"

namespace emdarks::EMDARKS_LEVEL {

// Of `count` pixels from p: which belong to the group.
EMDARKS_INLINE Mask members(const Group &group, Index p, Index count) {
    Mask here = first(count);
    if (group.of)
        here &= convert<std::int64_t>(load(group.of.at(p, count), count) == group.member);
    return here;
}

// Calls `use(p, count, here)` for all pixels of the range, WIDTH at a time.
template <class Use> EMDARKS_INLINE void each(const Group &group, Use use) {
    Index p = group.lo;
    for (; p + WIDTH <= group.hi; p += WIDTH)
        use(p, WIDTH, members(group, p, WIDTH));
    if (p < group.hi)
        use(p, group.hi - p, members(group, p, group.hi - p));
}

// Numbers of a plane, 0 outside the group: what lies there may be anything.
EMDARKS_INLINE Lanes take(const Array1<const double> &x, Index p, Index count, Mask here) {
    return select(here, load(x.at(p, count), count), Lanes{});
}

inline double largest(const Group &group, const Array1<const double> &x) {
    Lanes top = {};
    each(group, [&](Index p, Index count, Mask here)
                    EMDARKS_INLINED { top = larger(take(x, p, count, here), top); });
    double result = 0.0;
    for (Index i = 0; i < WIDTH; ++i)
        result = top[i] > result ? top[i] : result;
    return result;
}

// Weights top / error^2 of estimates, but none above 1 / LEAST; all 1 where top is 0.
EMDARKS_INLINE Lanes weights(Lanes error2, double top, Mask here) {
    const Lanes share = top > 0.0 ? larger(error2 * (1.0 / top), lanes(LEAST)) : lanes(1.0);
    return select(here, 1.0 / share, Lanes{});
}

inline WeightedSums weighted_sums(const Group &group, const Estimates &a) {
    Lanes w_sum = {}, wx = {}, w2 = {}, w2x = {}, count = {}, error2_sum = {};
    each(group, [&](Index p, Index number, Mask here) EMDARKS_INLINED {
        const Lanes x = take(a.x, p, number, here), error2 = take(a.error2, p, number, here);
        const Lanes w = weights(error2, a.top, here);
        w_sum += w;
        wx += w * x;
        w2 += w * w;
        w2x += w * w * x;
        count += select(here, lanes(1.0), Lanes{});
        error2_sum += error2;
    });
    return {sum(w_sum), sum(wx), sum(w2), sum(w2x), sum(count), sum(error2_sum)};
}

inline ExcessSums excess_sums(const Group &group, const Estimates &a, double centre) {
    Lanes we = {}, w2 = {}, w2e = {}, w2e2 = {};
    each(group, [&](Index p, Index number, Mask here) EMDARKS_INLINED {
        const Lanes away = select(here, load(a.x.at(p, number), number) - centre, Lanes{});
        const Lanes error2 = take(a.error2, p, number, here);
        const Lanes excess = away * away - error2;
        const Lanes root = weights(error2, a.top, here), w = root * root;
        we += w * excess;
        w2 += w * w;
        w2e += w * w * excess;
        w2e2 += w * w * excess * excess;
    });
    return {sum(we), sum(w2), sum(w2e), sum(w2e2)};
}

inline CountedSum product_sum(const Group &group, const Array1<const double> &x,
                              const Array1<const double> &y, double x_0, double y_0) {
    Lanes count = {}, total = {};
    each(group, [&](Index p, Index number, Mask here) EMDARKS_INLINED {
        Lanes value = load(x.at(p, number), number) - x_0;
        if (y)
            value *= load(y.at(p, number), number) - y_0;
        count += select(here, lanes(1.0), Lanes{});
        total += select(here, value, Lanes{});
    });
    return {sum(count), sum(total)};
}

EMDARKS_INLINE Index total(Mask counts) {
    Index result = 0;
    for (Index i = 0; i < WIDTH; ++i)
        result += counts[i];
    return result;
}

// Moves the k-th smallest to its place; no smaller one stands behind it, no larger one before.
inline double nth(const Array1<double> &x, Index k) {
    Index lo = 0, hi = x.size - 1;
    while (lo < hi) {
        // The middle one of three is a fair pivot of ordered numbers, too.
        const double a = x[lo], b = x[lo + (hi - lo) / 2], c = x[hi];
        const double pivot = a < b ? (b < c ? b : a < c ? c : a) : (a < c ? a : b < c ? c : b);
        Index i = lo, j = hi;
        while (i <= j) {
            while (x[i] < pivot)
                ++i;
            while (pivot < x[j])
                --j;
            if (i <= j) {
                const double swapped = x[i];
                x[i++] = x[j];
                x[j--] = swapped;
            }
        }
        if (k <= j)
            hi = j;
        else if (k >= i)
            lo = i;
        else
            break;
    }
    return x[k];
}

// Pixels whose number lies between two, those below, and all that have one.
struct Counts {
    Index inside, below, all;
};

// Copies the numbers from low to high. Whole vectors are written: the last one may reach WIDTH
// places beyond what is found.
template <class Values>
Counts between(const Group &group, const Values &values, double low, double high, double *found) {
    Mask below = {}, all = {};
    double *next = found;
    each(group, [&](Index p, Index number, Mask here) EMDARKS_INLINED {
        if (!any(here))
            return;
        const Lanes x = select(here, values(p, number), lanes(NOT_A_NUMBER));
        below -= x < low;
        all -= x == x;
        const Mask kept = (x >= low) & (x <= high);
        for (Index i = 0; i < WIDTH; ++i) { // no branches: they would be mispredicted
            *next = x[i];
            next -= kept[i];
        }
    });
    return {next - found, total(below), total(all)};
}

// Numbers of some pixels of the group, WIDTH neighbours each time. The step is an odd number of
// them, so as not to keep in step with columns.
template <class Values> Index sample(const Group &group, const Values &values, double *found) {
    const Index step = ((group.hi - group.lo) / SAMPLE | 1) * WIDTH;
    Index size = 0;
    for (Index lo = group.lo; lo < group.hi; lo += step) {
        const Index hi = lo + WIDTH < group.hi ? lo + WIDTH : group.hi;
        const double all = __builtin_inf();
        size += between({group.of, group.member, lo, hi}, values, -all, all, found + size).inside;
    }
    return size;
}

// Median of what `values(p, count)` gives over a group; what is not a number does not count.
template <class Values> double median_of(const Group &group, const Values &values) {
    const Buffer<double> found(group.hi - group.lo + WIDTH);
    const auto look = [&](double low, double high) {
        return between(group, values, low, high, found.data);
    };
    Counts seen = {};
    // A sample tells where the median lies: six standard errors about its own. Others are counted.
    const Index size = sample(group, values, found.data);
    if (size >= FEW_SAMPLES) {
        const auto some = found.all().part(0, size);
        const auto reach = static_cast<Index>(3.0 * __builtin_sqrt(static_cast<double>(size)));
        const double low = nth(some, size / 2 - reach);
        seen = look(low, nth(some, size / 2 + reach));
    }
    if ((seen.all - 1) / 2 < seen.below || seen.all / 2 >= seen.below + seen.inside)
        seen = look(-__builtin_inf(), __builtin_inf());
    if (seen.all == 0)
        return NOT_A_NUMBER;
    const auto some = found.all().part(0, seen.inside);
    const Index lower = (seen.all - 1) / 2 - seen.below, upper = seen.all / 2 - seen.below;
    const double x = nth(some, lower);
    return upper == lower ? x : (x + nth(some, upper)) / 2.0;
}

inline double median(const Group &group, const Array1<const double> &x) {
    return median_of(group, [&](Index p, Index count) { return load(x.at(p, count), count); });
}

// u, with u^2 = scale; 1 where that is 0.
EMDARKS_INLINE Lanes unit(Lanes scale) {
    const Lanes u = square_root(scale);
    return select(u > 0.0, u, lanes(1.0));
}

inline double median_deviation(const Group &group, const Array1<const double> &x,
                               const Array1<const double> &scale, double middle) {
    return median_of(group, [&](Index p, Index count) {
        const Lanes away = load(x.at(p, count), count) - middle;
        return select(away < 0.0, -away, away) / unit(load(scale.at(p, count), count));
    });
}

// C is judged everywhere, D in region 1.
inline void mark_hot(const HotPixels &a) {
    each({{}, 0, a.lo, a.hi}, [&](Index p, Index count, Mask) EMDARKS_INLINED {
        auto *const of = a.group.at(p, count);
        const auto group = load(of, count);
        Mask hot = {};
        for (Index region = 0; region < 2; ++region)
            for (Index k = 0; k <= region; ++k) {
                const auto plane = [&](const Array2<const double> &x) {
                    return load(x.row(k).at(p, count), count);
                };
                const HotLimit &limit = a.limits(region, k);
                const Lanes most =
                    limit.widths * unit(plane(a.scale)) + limit.jumps * plane(a.jump);
                hot |= convert<std::int64_t>(group == static_cast<std::int8_t>(region)) &
                       (plane(a.x) - limit.middle > most);
            }
        if (any(hot))
            store(of, group - 2 * convert<std::int8_t>(hot), count);
    });
}

// Residuals of a stack's mean, F, C and D `shift` errors higher than fitted; NaN without samples.
template <class Count> double residual_median(const Group &group, const Residuals &a) {
    const auto *n = static_cast<const Count *>(a.n);
    return median_of(group, [&](Index p, Index count) {
        const auto model = [&](const Array2<const double> &maps) {
            const auto plane = [&](Index k) { return load(maps.row(k).at(p, count), count); };
            return plane(0) + a.gain * plane(1) + a.gain_time * plane(2);
        };
        Lanes residual = load(a.mean.at(p, count), count) - model(a.values);
        if (a.shift != 0.0)
            residual -= a.shift * model(a.errors);
        return select(to_lanes(load(n + p, count)) > 0.0, residual, lanes(NOT_A_NUMBER));
    });
}

inline double residual_median(const Group &group, const Residuals &a) {
    return a.n_width == 2 ? residual_median<std::uint16_t>(group, a)
                          : residual_median<std::uint32_t>(group, a);
}

// Sums of one stack over a run of pixels.
template <class Count>
void stack_sums(const StackSumsOver &a, Index i, Index lo, Index hi, StackSums &out) {
    const auto *n = static_cast<const Count *>(a.n) + i * a.mean.cols;
    const double gain = a.gain[i], gain_time = a.gain_time[i];
    Lanes good = {}, residual = {}, seen = {}, dof = {}, scatter = {};
    const auto plane = [](const auto &x, Index row, Index p, Index count) {
        return load(x.row(row).at(p, count), count);
    };
    const auto least = static_cast<Count>(a.least[i]);
    for (Index p = lo; p < hi; ++p)
        a.unreliable[p] = static_cast<std::int16_t>(a.unreliable[p] + (n[p] < least));
    each({a.inside, 1, lo, hi}, [&](Index p, Index number, Mask inside) EMDARKS_INLINED {
        const Lanes count = to_lanes(load(n + p, number));
        good += count;
        if (!any(inside))
            return;
        const Mask here = inside & (count > 0.0);
        const Lanes fitted = plane(a.values, 0, p, number) + gain * plane(a.values, 1, p, number) +
                             gain_time * plane(a.values, 2, p, number);
        residual += select(here, plane(a.mean, i, p, number) - fitted, Lanes{});
        seen += select(here, lanes(1.0), Lanes{});
        dof += select(here, count - 1.0, Lanes{});
        if (a.m2)
            scatter += select(inside, plane(a.m2, i, p, number), Lanes{});
    });
    out.good += sum(good);
    out.residual += sum(residual);
    out.seen += sum(seen);
    out.dof += sum(dof);
    out.scatter += sum(scatter);
}

// A run of pixels stays in the first cache while the stacks pass.
inline void stack_sums(const StackSumsOver &a) {
    constexpr Index run = 1024;
    for (Index i = 0; i < a.mean.rows; ++i)
        a.out[i] = {};
    for (Index lo = a.lo; lo < a.hi; lo += run) {
        const Index hi = lo + run < a.hi ? lo + run : a.hi;
        for (Index p = lo; p < hi; ++p)
            a.unreliable[p] = 0;
        for (Index i = 0; i < a.mean.rows; ++i)
            if (a.n_width == 2)
                stack_sums<std::uint16_t>(a, i, lo, hi, a.out[i]);
            else
                stack_sums<std::uint32_t>(a, i, lo, hi, a.out[i]);
    }
}

} // namespace emdarks::EMDARKS_LEVEL
