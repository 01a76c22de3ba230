// The sums of a stack: update, merge, finalise.
//
// A sample that does not count is NaN when it is added, so that loops know real numbers only, all
// of the same width.
#pragma once

#include "counts.hpp"

namespace emdarks::EMDARKS_LEVEL {

// Start pixels lo to hi with no frame.
template <class Flag>
void reset(const OpenSums &sums, const Array2<double> &top, Index lo, Index hi) {
    auto *flags = static_cast<Flag *>(sums.flags);
    for (Index p = lo; p < hi; ++p) {
        sums.n[p] = 0;
        sums.first[p] = NOT_A_NUMBER;
        sums.shifted[p] = 0.0;
        sums.squares[p] = 0.0;
        flags[p] = 0;
    }
    for (Index p = lo; sums.err2 && p < hi; ++p)
        sums.err2[p] = 0.0;
    if (top)
        for (double *x = &top(lo, 0); x < &top(hi - 1, 0) + top.cols; ++x)
            *x = -__builtin_inf();
}

// Pixels of a run: the first is `base` in the open sums, `pixel` in the frame.
struct RunStart {
    Index base, pixel;
};

// Add `count` pixels of some frames to open sums, frame after frame.
template <bool counted, class Value>
EMDARKS_INLINE void add_lanes(const Value *const *values, const double *scales, Index frames,
                              Index p, RunStart start, Index count, const OpenSums &sums,
                              const CountingSums &counting) {
    const Index base = start.base + p, pixel = start.pixel + p;
    double *const first = sums.first.at(base, count), *const shifted = sums.shifted.at(base, count),
                  *const squares = sums.squares.at(base, count);
    const bool all = count == WIDTH;
    const auto take = [&](const auto *from) { return all ? load(from) : load(from, count); };
    Lanes K = take(first), s = take(shifted), q = take(squares);
    const bool starts = any(K != K);
    std::conditional_t<counted, CountingLanes, Nothing> counts(counting, pixel, count, take);
    for (Index f = 0; f < frames; ++f) {
        const Lanes x = to_lanes(take(values[f] + p)) * scales[f];
        if (starts)
            K = select(K == K, K, x);
        Lanes d = x - K;
        d = select(d == d, d, Lanes{});
        s += d;
        q += d * d;
        if constexpr (counted)
            counts.add(x, counting);
    }
    const auto put = [&](auto *to, const auto &v) { all ? store(to, v) : store(to, v, count); };
    if (starts)
        put(first, K);
    put(shifted, s);
    put(squares, q);
    if constexpr (counted)
        counts.put_into(counting, pixel, count, take, put);
}

// Add the pixels of a run, NaN where they do not count, of some frames; counts and clipped sums,
// too, where these are wanted.
template <bool counted, class Value>
void add_samples(const Value *const *values, const double *scales, Index frames, Index pixels,
                 const OpenSums &sums, const CountingSums &counting, RunStart start) {
    Index p = 0;
    if (frames == GROUP)
        for (; p + WIDTH <= pixels; p += WIDTH)
            add_lanes<counted>(values, scales, GROUP, p, start, WIDTH, sums, counting);
    for (; p + WIDTH <= pixels; p += WIDTH)
        add_lanes<counted>(values, scales, frames, p, start, WIDTH, sums, counting);
    if (p < pixels)
        add_lanes<counted>(values, scales, frames, p, start, pixels - p, sums, counting);
}

// Add the squared errors of the samples that count.
template <class Error, class Value>
void add_errors(const Error *errors, const Value *values, double scale, double *err2, Index size) {
    for (Index p = 0; p < size; ++p) {
        const double error = static_cast<double>(errors[p]) * scale;
        err2[p] += values[p] == values[p] ? error * error : 0.0;
    }
}

// Put a sample into a pixel's ascending list; the smallest falls out.
inline void insert(const Array1<double> &top, double x) {
    Index i = 0;
    for (; i + 1 < top.size && top[i + 1] < x; ++i)
        top[i] = top[i + 1];
    top[i] = x;
}

// Keep the largest samples of each pixel.
template <class Value>
void add_top(const Value *values, double scale, const Array2<double> &top, Index base, Index size) {
    for (Index p = 0; p < size; ++p) {
        const double x = static_cast<double>(values[p]) * scale;
        if (x > top(base + p, 0))
            insert(top.row(base + p), x);
    }
}

// Write the moments of pixels lo to hi from open sums, whose first pixel is `base`.
template <class Count, class Flag>
void finalise(const OpenSums &sums, Index base, Index lo, Index hi, const Moments &out) {
    auto *n = static_cast<Count *>(out.n);
    auto *flags = static_cast<Flag *>(out.flags);
    const auto *seen = static_cast<const Flag *>(sums.flags);
    for (Index p = lo, q = base; p < hi; ++p, ++q) {
        const double count = sums.n[q];
        const double shift = sums.shifted[q] / (count > 1.0 ? count : 1.0);
        const double squares = sums.squares[q] - shift * sums.shifted[q];
        out.mean[p] = count > 0.0 ? sums.first[q] + shift : 0.0;
        out.m2[p] = squares > 0.0 ? squares : 0.0;
    }
    for (Index p = lo, q = base; p < hi; ++p, ++q) {
        n[p] = sums.n[q];
        flags[p] = seen[q];
    }
}

// Join sums of two sets of frames, pixel by pixel: Chan, Golub & LeVeque (1983), The American
// Statistician 37, 242, eq. 2.1.
template <class Count> void merge_counts(const Moments &into, const Moments &other) {
    auto *n = static_cast<Count *>(into.n);
    const auto *n_b = static_cast<const Count *>(other.n);
    for (Index p = 0; p < into.mean.size; ++p) {
        const double a = n[p], b = n_b[p];
        const double share = b / (a + b > 0.0 ? a + b : 1.0);
        const double difference = other.mean[p] - into.mean[p];
        const double mean = into.mean[p] + difference * share;
        const double m2 = into.m2[p] + (other.m2[p] + difference * difference * a * share);
        // A set without samples changes nothing.
        into.mean[p] = b == 0.0 ? into.mean[p] : a == 0.0 ? other.mean[p] : mean;
        into.m2[p] = b == 0.0 ? into.m2[p] : a == 0.0 ? other.m2[p] : m2;
        n[p] = static_cast<Count>(n[p] + n_b[p]);
    }
}

inline void merge(const Merge &a) {
    if (a.into.n_width == 2)
        merge_counts<std::uint16_t>(a.into, a.other);
    else
        merge_counts<std::uint32_t>(a.into, a.other);
    with_word(a.into.flags_width, [&](auto zero) {
        using Flag = decltype(zero);
        auto *flags = static_cast<Flag *>(a.into.flags);
        const auto *more = static_cast<const Flag *>(a.other.flags);
        for (Index p = 0; p < a.into.mean.size; ++p)
            flags[p] = static_cast<Flag>(flags[p] | more[p]);
    });
    for (Index p = 0; a.other.err2 && p < a.into.mean.size; ++p)
        a.into.err2[p] += a.other.err2[p];
    for (Index p = 0; a.other.top && p < a.other.top.rows; ++p)
        for (Index i = 0; i < a.other.top.cols; ++i)
            if (a.other.top(p, i) > a.into.top(p, 0))
                insert(a.into.top.row(p), a.other.top(p, i));
}

} // namespace emdarks::EMDARKS_LEVEL
