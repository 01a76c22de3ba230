// The second sweep over a raw frame: electrons and flags of its rows.
#pragma once

#include "decode.hpp"
#include "positioned_read.hpp"

namespace emdarks::EMDARKS_LEVEL {

// The factor of the nonlinearity table, above its first count.
inline double factor_at(const LinearityCurve &curve, double x) {
    const Index last = curve.counts.size - 1;
    if (!(x < curve.counts[last]))
        return curve.factors[last];
    const auto bucket = static_cast<Index>((x - curve.counts[0]) * curve.scale);
    const Index buckets = curve.starts.size;
    Index j = curve.starts[bucket < buckets ? bucket : buckets - 1];
    while (x >= curve.counts[j + 1])
        ++j;
    return curve.slopes[j] * (x - curve.counts[j]) + curve.factors[j];
}

// Electrons of a row: k y with y = x f(x), x = stored number - bias. `take` gives stored numbers,
// some at a time. `saturated` receives the columns that reach the saturation; how many do.
template <class Take>
EMDARKS_INLINE Index electrons(const RowCalibration &c, Index row, Take take, double *values,
                               const Array1<std::int32_t> &saturated, Index cols) {
    const double bias = c.bias[row], k = c.k_gain, saturation = c.saturation;
    const bool linear = !c.linearity;
    // Up to the table's first count the factor is the same.
    const double low = linear ? __builtin_inf() : c.linearity.counts[0];
    const double low_factor = linear ? 1.0 : c.linearity.factors[0];
    const double notable = low < saturation ? low : saturation;
    Index count = 0;
    const auto one = [&](Index p, Lanes x, Index number) {
        Lanes y = x * low_factor;
        if (any(x >= notable))
            for (Index i = 0; i < number; ++i) {
                if (x[i] >= saturation)
                    saturated[count++] = static_cast<std::int32_t>(p + i);
                if (x[i] > low)
                    y.set(i, x[i] * factor_at(c.linearity, x[i]));
            }
        store(values + p, y * k, number);
    };
    constexpr Index parts = 4;
    Index p = 0;
    for (; p + parts * WIDTH <= cols; p += parts * WIDTH) {
        Lanes x[parts];
        Mask high = {};
        for (Index i = 0; i < parts; ++i) {
            x[i] = take(p + i * WIDTH, WIDTH) - bias;
            high |= x[i] >= notable;
        }
        if (any(high))
            for (Index i = 0; i < parts; ++i)
                one(p + i * WIDTH, x[i], WIDTH);
        else
            for (Index i = 0; i < parts; ++i)
                store(values + p + i * WIDTH, x[i] * low_factor * k);
    }
    for (; p < cols; p += WIDTH) {
        const Index number = cols - p < WIDTH ? cols - p : WIDTH;
        one(p, take(p, number) - bias, number);
    }
    return count;
}

// The same from stored numbers; `values` and they may not overlap.
inline Index electrons_of_row(const RowCalibration &c, Index row, const void *from,
                              const Stored &stored, double *values,
                              const Array1<std::int32_t> &saturated, Index cols) {
    if (stored.kind == Kind::unsigned_integer && stored.width == 2) {
        const auto *words = static_cast<const std::uint16_t *>(from);
        const auto flip = static_cast<std::uint16_t>(stored.flip);
        const auto take = [&](auto order) {
            const auto numbers = [&](Index p, Index number) EMDARKS_INLINED {
                return to_lanes(order(load(words + p, number)) ^ flip);
            };
            return electrons(c, row, numbers, values, saturated, cols);
        };
        using Words = Vector<std::uint16_t>;
        return stored.swap ? take([](Words w) EMDARKS_INLINED { return (w << 8) | (w >> 8); })
                           : take([](Words w) EMDARKS_INLINED { return w; });
    }
    load_numbers(from, stored, values, cols);
    const auto numbers = [&](Index p, Index number)
                             EMDARKS_INLINED { return load(values + p, number); };
    return electrons(c, row, numbers, values, saturated, cols);
}

// Squares of the two parts of the errors of a row, in units of (scale electrons)^2: that of its
// bias, and that of the k-gain for a value of 1.
struct RowErrors {
    double bias, gain;

    RowErrors(const RowCalibration &c, Index row, double scale) {
        const double a = c.k_gain * c.error[row] * scale, b = c.k_gain_error / c.k_gain * scale;
        bias = a * a, gain = b * b;
    }
    EMDARKS_INLINE explicit operator bool() const { return bias != 0.0 || gain != 0.0; }
    template <class T> EMDARKS_INLINE T square(T value) const {
        return (value * value) * gain + bias;
    }
};

// Calls `mark` with each column of a row that cosmic rays hit.
template <class Mark> EMDARKS_INLINE void each_hit(const RowCalibration &c, Index row, Mark mark) {
    for (Index i = c.first[row]; i < c.first[row + 1]; ++i)
        for (Index p = c.runs(i, 0); p < c.runs(i, 1); ++p)
            mark(p);
}

// Electrons, errors and flags of an area of a frame; whether its file was long enough.
inline bool prepare_frame(const PreparedFrame &a) {
    const RowCalibration &c = *a.calibration;
    const Area &area = a.area;
    const Index cols = a.frame.cols;
    Buffer<char> bytes(cols * a.frame.stored.width);
    Buffer<double> values(cols);
    Buffer<std::int32_t> saturated(cols);
    for (Index row = area.row_lo; row < area.row_hi; ++row) {
        if (!read(a.frame, row * cols, cols, bytes.data))
            return false;
        const Index count = electrons_of_row(c, row, bytes.data, a.frame.stored, values.data,
                                             saturated.all(), cols);
        const auto data = a.data.row(row - area.row_lo);
        const auto dq = a.dq.row(row - area.row_lo);
        for (Index p = 0; p < area.cols(); ++p) {
            data[p] = values[area.col_lo + p];
            dq[p] = 0;
        }
        const auto mark = [&](Index p, unsigned flag) {
            if (p >= area.col_lo && p < area.col_hi)
                dq[p - area.col_lo] = static_cast<std::uint16_t>(dq[p - area.col_lo] | flag);
        };
        for (Index i = 0; i < count; ++i)
            mark(saturated[i], SATURATED);
        each_hit(c, row, [&](Index p) { mark(p, COSMIC_RAY); });
        const RowErrors errors(c, row, 1.0);
        for (Index p = 0; a.err && p < area.cols(); ++p)
            a.err(row - area.row_lo, p) = __builtin_sqrt(errors.square(data[p]));
    }
    return true;
}

} // namespace emdarks::EMDARKS_LEVEL
