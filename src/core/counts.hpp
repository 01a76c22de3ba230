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
    Mask above = 0, beyond = 0; // minus the numbers

    template <class Take>
    EMDARKS_INLINE CountingLanes(const CountingSums &sums, Index p, Index count, Take take)
        : low(take(sums.low.at(p, count))), high(take(sums.high.at(p, count))) {}

    // NaN is in no class: comparisons with it are false.
    EMDARKS_INLINE void add(Lanes x, const CountingSums &sums) {
        const Lanes d = x - sums.T;
        const Mask counts = (d > 0.0) & (x <= sums.T2);
        low += smaller(d, Lanes{});
        high += select(counts, d, Lanes{});
        above += counts;
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
        subtract(sums.above.at(p, count), above);
        subtract(sums.beyond.at(p, count), beyond);
    }
};

// The least number x of its type, as stored, for which x * scale is above a threshold; infinity
// where none is.
template <class Value> Value least_above(double threshold, double scale) {
    const auto above = [&](Value x) { return static_cast<double>(x) * scale > threshold; };
    const auto next = [](Value x, Value to) {
        if constexpr (sizeof(Value) == sizeof(float))
            return __builtin_nextafterf(x, to);
        else
            return __builtin_nextafter(x, to);
    };
    constexpr auto infinity = static_cast<Value>(__builtin_inf());
    auto x = static_cast<Value>(threshold / scale);
    while (x > -infinity && above(x))
        x = next(x, -infinity);
    while (x < infinity && !above(x))
        x = next(x, infinity);
    return x;
}

// Bytes may share memory with anything, and sizes of an object are read again after each is
// written: loops over bytes are functions of their own, for the compiler to see many at a time.

// 1 where a sample is within limits; whether any is.
template <class Value>
bool mark_between(const Value *__restrict values, Value least, Value below,
                  std::uint8_t *__restrict marks, Index size) {
    std::uint8_t any = 0;
    for (Index i = 0; i < size; ++i) {
        marks[i] = (values[i] >= least) & (values[i] < below);
        any |= marks[i];
    }
    return any != 0;
}

// 1 where any of the marks is within CORE_REACH columns; they begin so many columns before.
inline void widen(const std::uint8_t *__restrict marks, std::uint8_t *__restrict wide, Index size) {
    static_assert(CORE_REACH == 2);
    for (Index i = 0; i < size; ++i)
        wide[i] = marks[i] | marks[i + 1] | marks[i + 2] | marks[i + 3] | marks[i + 4];
}

// Whether any of MARKS marks is set.
EMDARKS_INLINE bool any_of(const std::uint8_t *marks) {
    std::uint64_t words[MARKS / 8], any = 0;
    __builtin_memcpy(words, marks, sizeof words);
    for (std::uint64_t word : words)
        any |= word;
    return any != 0;
}

inline void join(std::uint8_t *__restrict marks, const std::uint8_t *__restrict more, Index size) {
    for (Index i = 0; i < size; ++i)
        marks[i] |= more[i];
}

// Count marked samples of two kinds.
template <class Value>
void count_marked(const Value *__restrict values, const std::uint8_t *__restrict marks, Value above,
                  Value beyond, std::uint16_t *__restrict near,
                  std::uint16_t *__restrict near_above, Index size) {
    for (Index i = 0; i < size; ++i) {
        const std::uint8_t counts = marks[i] & (values[i] < beyond);
        near[i] = static_cast<std::uint16_t>(near[i] + counts);
        near_above[i] = static_cast<std::uint16_t>(near_above[i] + (counts & (values[i] >= above)));
    }
}

// The cores of a frame in and beside a run of rows, and the samples near them.
template <class Value> class Cores {
public:
    Cores(const CountingSums &sums, Index cols, const Room &room)
        : sums_(sums), cols_(cols), room_(room) {
        // What lies beside a row is never a core.
        const Array1<std::uint8_t> all[] = {room.cores, room.near};
        for (const auto &marks : all)
            if (wanted())
                __builtin_memset(marks.data, 0, static_cast<std::size_t>(marks.size));
    }

    // Where T3 is infinite, no sample is a core.
    EMDARKS_INLINE bool wanted() const { return sums_ && sums_.T3 < __builtin_inf(); }

    // `row` is the first that is sought in.
    void begin(double scale, Index row) {
        first_ = row;
        core_ = least_above<Value>(sums_.T3, scale);
        above_ = least_above<Value>(sums_.T, scale);
        beyond_ = least_above<Value>(sums_.T2, scale);
    }

    // Find those of a row, samples as stored.
    void find(const Value *values, Index row) {
        bool &has = room_.has_core[row - first_];
        has =
            !sums_.is_telemetry(row) && mark_between(values, core_, static_cast<Value>(HUGE_NUMBER),
                                                     room_.cores.at(CORE_REACH, cols_), cols_);
        if (has)
            widen(room_.cores.at(0, room_.cores.size), near(row), cols_);
    }

    // Count the samples near cores in the rows from `lo` up to `hi`, NaN where they are not good;
    // cores were sought up to row `end`.
    void count_near(const Value *values, Index lo, Index hi, Index end) const {
        for (Index row = lo; row < hi; ++row, values += cols_) {
            if (sums_.is_telemetry(row))
                continue;
            const std::uint8_t *rows[2 * CORE_REACH + 1];
            Index count = 0;
            for (Index other = row - CORE_REACH; other <= row + CORE_REACH; ++other)
                if (other >= first_ && other < end && room_.has_core[other - first_])
                    rows[count++] = near(other);
            if (count > 0)
                count_row(values, row, rows, count);
        }
    }

private:
    const CountingSums &sums_;
    Index cols_;
    const Room &room_;
    Index first_ = 0;
    // The least samples that are a core, above T, and above T2.
    Value core_ = 0, above_ = 0, beyond_ = 0;

    // 1 where a row has a core within reach.
    std::uint8_t *near(Index row) const {
        const Index size = room_.beside.size;
        return room_.near.at((row - first_) * size, size);
    }

    void count_row(const Value *values, Index row, const std::uint8_t *const *rows,
                   Index count) const {
        const Index all = room_.beside.size;
        std::uint8_t *beside = room_.beside.at(0, all);
        __builtin_memcpy(beside, rows[0], static_cast<std::size_t>(all));
        for (Index k = 1; k < count; ++k)
            join(beside, rows[k], all);
        for (Index i = 0; i < cols_; i += MARKS) {
            const Index size = cols_ - i < MARKS ? cols_ - i : MARKS, pixel = row * cols_ + i;
            if (any_of(beside + i))
                count_marked(values + i, beside + i, above_, beyond_, sums_.near.at(pixel, size),
                             sums_.near_above.at(pixel, size), size);
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
