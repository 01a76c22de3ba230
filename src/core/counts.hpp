// Counts and clipped sums of a stack, which the counting estimator needs beside the moments, and
// the histogram of its samples.
//
// Per pixel, over the good samples x with thresholds T < T2 < T3:
//
//     K  = number of T < x <= T2          LO = sum of min(x - T, 0) over x <= T2
//     R  = number of x > T2               HI = sum of max(x - T, 0) over x <= T2
//     nc = number of x <= T2 with a core within CORE_REACH rows and columns of the same frame
//     Kc = those of nc with x > T
//
// A core is any finite sample above T3, flagged or not. All are sums over frames: what a run of
// rows adds depends on the frames alone, since cores are also sought in the rows beside the run.
#pragma once

#include "decode.hpp"

namespace emdarks::EMDARKS_LEVEL {

inline void reset(const CountingSums &sums, Index lo, Index hi) {
    for (Index p = lo; p < hi; ++p) {
        sums.above[p] = sums.beyond[p] = sums.near[p] = sums.near_above[p] = 0;
        sums.low[p] = sums.high[p] = 0.0;
    }
}

// In the place of CountingLanes where nothing is counted.
struct Nothing {
    template <class... Any> EMDARKS_INLINE explicit Nothing(const Any &...) {}
};

// Counts and clipped sums of some pixels while frames are added.
struct CountingLanes {
    Lanes low, high;
    Mask above = 0, beyond = 0; // minus the numbers

    template <class Take>
    EMDARKS_INLINE CountingLanes(const CountingSums &sums, Index p, Index count, Take take)
        : low(take(sums.low.at(p, count))), high(take(sums.high.at(p, count))) {}

    // NaN is in no class.
    EMDARKS_INLINE void add(Lanes x, const CountingSums &sums) {
        const Lanes d = x - sums.T;
        const Mask kept = x <= sums.T2, positive = x > sums.T, above_T2 = x > sums.T2;
        low += select(kept & ~positive, d, Lanes{});
        high += select(kept & positive, d, Lanes{});
        above += kept & positive;
        beyond += above_T2;
    }
    template <class Take, class Put>
    EMDARKS_INLINE void put_into(const CountingSums &sums, Index p, Index count, Take take,
                                 Put put) {
        put(sums.low.at(p, count), low);
        put(sums.high.at(p, count), high);
        const auto subtract = [&](std::uint16_t *to, Mask minus) {
            put(to, take(to) - convert<std::uint16_t>(minus));
        };
        subtract(sums.above.at(p, count), above);
        subtract(sums.beyond.at(p, count), beyond);
    }
};

// The cores of a frame in and beside a run of rows, and the samples near them.
template <class Value> class Cores {
public:
    Cores(const CountingSums &sums, Index cols, const Room &room)
        : sums_(sums), cols_(cols), room_(room) {}

    void begin(double scale) {
        count_ = 0;
        scale_ = scale;
        // No sample below this is a core; rounding of the type included.
        const double limit = sums_.T3 / scale;
        least_ = static_cast<Value>(limit - 1e-6 * (limit < 0.0 ? -limit : limit));
    }

    // Find those of a row, samples as stored.
    void find(const Value *values, Index row) {
        if (sums_.is_telemetry(row))
            return;
        std::uint32_t candidates = 0;
        for (Index i = 0; i < cols_; ++i)
            candidates += values[i] >= least_;
        for (Index i = 0; candidates != 0 && i < cols_; ++i) {
            const double x = values[i];
            if (x * scale_ > sums_.T3 && x < HUGE_NUMBER)
                room_.cores[count_++] = row * cols_ + i;
        }
    }

    // Count the samples near cores in the rows from `first` up to `last`, NaN where they are not
    // good.
    void count_near(const Value *values, Index first, Index last) const {
        Index begin = 0;
        for (Index row = first; row < last && begin < count_; ++row) {
            while (begin < count_ && room_.cores[begin] < (row - CORE_REACH) * cols_)
                ++begin;
            Index end = begin;
            while (end < count_ && room_.cores[end] < (row + CORE_REACH + 1) * cols_)
                ++end;
            if (end > begin && !sums_.is_telemetry(row))
                count_row(values + (row - first) * cols_, row, begin, end);
        }
    }

private:
    const CountingSums &sums_;
    Index cols_;
    const Room &room_;
    double scale_ = 1.0;
    Value least_ = 0;
    Index count_ = 0;

    void count_row(const Value *values, Index row, Index begin, Index end) const {
        std::uint8_t *seen = room_.seen.at(0, cols_);
        __builtin_memset(seen, 0, static_cast<std::size_t>(cols_));
        for (Index k = begin; k < end; ++k) {
            const Index core = room_.cores[k] % cols_;
            const Index lo = core < CORE_REACH ? 0 : core - CORE_REACH;
            const Index hi = core + CORE_REACH < cols_ ? core + CORE_REACH + 1 : cols_;
            for (Index i = lo; i < hi; ++i) {
                const double x = static_cast<double>(values[i]) * scale_;
                if (seen[i] != 0 || !(x <= sums_.T2))
                    continue;
                seen[i] = 1;
                sums_.near[row * cols_ + i]++;
                sums_.near_above[row * cols_ + i] += x > sums_.T;
            }
        }
    }
};

// 2^(j/8).
inline constexpr double EIGHTHS[] = {0x1p+0,
                                     0x1.172b83c7d517bp+0,
                                     0x1.306fe0a31b715p+0,
                                     0x1.4bfdad5362a27p+0,
                                     0x1.6a09e667f3bcdp+0,
                                     0x1.8ace5422aa0dbp+0,
                                     0x1.ae89f995ad3adp+0,
                                     0x1.d5818dcfba487p+0};

// The bin of a sample that lies z widths above the start: even bins, then bins of an eighth of an
// octave; what lies outside is in the first or the last.
inline Index bin_of(double z) {
    constexpr double even = LINEAR_BINS;
    if (z < even)
        return z > 0.0 ? static_cast<Index>(z) : 0;
    const double octaves = z / even;
    std::int64_t bits;
    __builtin_memcpy(&bits, &octaves, sizeof bits);
    const Index exponent = static_cast<Index>(bits >> 52) - 1023;
    if (exponent >= OCTAVE_BINS / 8)
        return LINEAR_BINS + OCTAVE_BINS - 1;
    bits = (bits & ((std::int64_t{1} << 52) - 1)) | (std::int64_t{1023} << 52);
    double mantissa;
    __builtin_memcpy(&mantissa, &bits, sizeof mantissa);
    Index eighth = 0;
    while (eighth < 7 && mantissa >= EIGHTHS[eighth + 1])
        ++eighth;
    return LINEAR_BINS + 8 * exponent + eighth;
}

template <class Value>
void add_to_histogram(const Value *values, Index size, double scale, const Histogram &histogram,
                      Index region) {
    const double per_width = 1.0 / histogram.width;
    std::int64_t *counts = histogram.counts.row(region).at(0, LINEAR_BINS + OCTAVE_BINS);
    for (Index i = 0; i < size; ++i) {
        const double x = static_cast<double>(values[i]) * scale;
        if (x == x)
            ++counts[bin_of((x - histogram.start) * per_width)];
    }
}

} // namespace emdarks::EMDARKS_LEVEL
