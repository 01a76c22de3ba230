// Counts and clipped sums of a stack, which the counting estimator needs beside the moments, and
// the histogram of its samples; and the counts above one threshold, for photon counting.
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

inline void reset(const CountsAbove &counts, Index lo, Index hi) {
    for (Index p = lo; p < hi; ++p)
        counts.above[p] = 0;
    for (Index p = lo; counts.plus && p < hi; ++p)
        counts.plus[p] = counts.minus[p] = 0;
}

// Count the samples of a row above the threshold, NaN where they are not good. `error_of` gives the
// errors of some from pixel p on.
template <class Value, class Error>
void count_above(const Value *values, double scale, const CountsAbove &counts, Index pixel,
                 Index cols, Error error_of) {
    for (Index p = 0; p < cols; p += WIDTH) {
        const Index size = cols - p < WIDTH ? cols - p : WIDTH;
        const Lanes stored = to_lanes(load(values + p, size)), x = stored * scale;
        const auto add = [&](const Array1<std::uint16_t> &to, Lanes sample) {
            std::uint16_t *at = to.at(pixel + p, size);
            const Mask above = sample > counts.T; // -1 where it is
            store(at, load(at, size) - convert<std::uint16_t>(above), size);
        };
        add(counts.above, x);
        if (counts.plus) {
            const Lanes error = error_of(p, size, stored);
            add(counts.plus, x + error);
            add(counts.minus, x - error);
        }
    }
}

// In the place of CountingLanes where nothing is counted.
struct Nothing {
    template <class... Any> EMDARKS_INLINE explicit Nothing(const Any &...) {}
};

// Counts and clipped sums of some pixels while frames are added.
struct CountingLanes {
    Lanes low, high;
    Mask above = 0, beyond = 0; // minus the numbers of x > T and of x > T2

    template <class Take>
    EMDARKS_INLINE CountingLanes(const CountingSums &sums, Index p, Index count, Take take)
        : low(take(sums.low.at(p, count))), high(take(sums.high.at(p, count))) {}

    // NaN is in no class: comparisons with it are false.
    EMDARKS_INLINE void add(Lanes x, const CountingSums &sums) {
        const Lanes d = x - sums.T;
        low += smaller(d, Lanes{});
        high += select(x <= sums.T2, larger(d, Lanes{}), Lanes{});
        above += x > sums.T;
        beyond += x > sums.T2;
    }
    template <class Take, class Put>
    EMDARKS_INLINE void put_into(const CountingSums &sums, Index p, Index count, Take take,
                                 Put put) {
        put(sums.low.at(p, count), low);
        put(sums.high.at(p, count), high);
        const auto subtract = [&](std::uint16_t *to, Mask minus) {
            put(to, take(to) - convert<std::uint16_t>(minus));
        };
        subtract(sums.above.at(p, count), above - beyond);
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
        constexpr Index chunk = 32;
        Index i = 0;
        for (; i + chunk <= cols_; i += chunk)
            if (may_have_core<chunk>(values + i))
                find_in(values, row, i, i + chunk);
        find_in(values, row, i, cols_);
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

    template <Index size> bool may_have_core(const Value *values) const {
        Word<Value> candidates = 0;
        for (Index i = 0; i < size; ++i)
            candidates |= values[i] >= least_;
        return candidates != 0;
    }

    void find_in(const Value *values, Index row, Index lo, Index hi) {
        for (Index i = lo; i < hi; ++i) {
            const double x = values[i];
            if (x * scale_ > sums_.T3 && x < HUGE_NUMBER)
                room_.cores[count_++] = row * cols_ + i;
        }
    }

    void count_row(const Value *values, Index row, Index begin, Index end) const {
        std::uint8_t *seen = room_.seen.at(0, cols_);
        std::uint16_t *near = sums_.near.at(row * cols_, cols_);
        std::uint16_t *near_above = sums_.near_above.at(row * cols_, cols_);
        const double scale = scale_, T = sums_.T, T2 = sums_.T2;
        __builtin_memset(seen, 0, static_cast<std::size_t>(cols_));
        for (Index k = begin; k < end; ++k) {
            const Index core = room_.cores[k] % cols_;
            const Index lo = core < CORE_REACH ? 0 : core - CORE_REACH;
            const Index hi = core + CORE_REACH < cols_ ? core + CORE_REACH + 1 : cols_;
            for (Index i = lo; i < hi; ++i) {
                const double x = static_cast<double>(values[i]) * scale;
                const bool counts = (seen[i] == 0) & (x <= T2);
                seen[i] = 1;
                near[i] = static_cast<std::uint16_t>(near[i] + counts);
                near_above[i] = static_cast<std::uint16_t>(near_above[i] + (counts & (x > T)));
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

// The bins of samples that lie z widths above the start: even bins, then bins of an eighth of an
// octave; what lies outside is in the first or the last. NaN is in a bin of its own, behind all.
EMDARKS_INLINE Mask bins_of(Lanes z) {
    constexpr double even = LINEAR_BINS, octaves = OCTAVE_BINS / 8;
    constexpr std::int64_t exponent = std::int64_t{1} << 52, one = exponent * 1023;
    const Mask is_even = z < even;
    const Mask number = convert<std::int64_t>(select(is_even & (z > 0.0), z, 0.0));
    // Most samples hold noise alone.
    if (!any(~is_even))
        return number;
    Lanes ratio = smaller(larger(z, even) * (1.0 / even), __builtin_exp2(octaves - 1) * EIGHTHS[7]);
    Mask bits;
    __builtin_memcpy(&bits, &ratio, sizeof bits);
    const Mask mantissa = (bits & (exponent - 1)) | one;
    __builtin_memcpy(&ratio, &mantissa, sizeof ratio);
    Mask bin = Mask::each([](auto x) { return (x >> 52) * 8; }, bits - one) + LINEAR_BINS;
    for (Index k = 1; k < 8; ++k)
        bin -= ratio >= EIGHTHS[k];
    bin = (number & is_even) | (bin & ~is_even);
    const Mask good = z == z;
    return (bin & good) | (Mask(ALL_BINS) & ~good);
}

// The histogram of a run of rows, before it is added to that of the band.
class RunHistogram {
public:
    template <class Value>
    void add(const Value *values, Index size, double scale, const Histogram &histogram,
             Index region) {
        std::int32_t bins[BINNED];
        const double per_width = 1.0 / histogram.width;
        for (Index i = 0; i < size; i += BINNED) {
            const Index some = size - i < BINNED ? size - i : BINNED;
            for (Index k = 0; k < some; k += WIDTH) {
                const Index count = some - k < WIDTH ? some - k : WIDTH;
                const Lanes x = to_lanes(load(values + i + k, count)) * scale;
                store(bins + k, convert<std::int32_t>(bins_of((x - histogram.start) * per_width)));
            }
            auto &tables = tables_[region];
            Index k = 0;
            for (; k + TABLES <= some; k += TABLES)
                for (Index table = 0; table < TABLES; ++table)
                    ++tables[table][bins[k + table]];
            for (; k < some; ++k)
                ++tables[0][bins[k]];
        }
    }

    // Add all to the histogram, and begin anew.
    void flush_into(const Histogram &histogram) {
        for (Index region = 0; region < 2; ++region) {
            std::int64_t *counts = histogram.counts.row(region).at(0, ALL_BINS);
            for (Index k = 0; k < ALL_BINS; ++k)
                for (Index table = 0; table < TABLES; ++table)
                    counts[k] += tables_[region][table][k];
        }
        __builtin_memset(tables_, 0, sizeof tables_);
    }

private:
    // Counts are spread over so many tables: equal samples in a row do not wait for each other.
    // Bins are found for so many samples before they are counted.
    static constexpr Index TABLES = 4, BINNED = 256;
    std::uint32_t tables_[2][TABLES][ALL_BINS + 1] = {};
};

} // namespace emdarks::EMDARKS_LEVEL
