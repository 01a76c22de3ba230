// The second sweep over a raw frame: electrons and flags of its rows.
#pragma once

#include "decode.hpp"
#include "positioned_read.hpp"

namespace emdarks::EMDARKS_LEVEL {

// The factor of the nonlinearity table at x.
EMDARKS_INLINE double factor_at(const LinearityCurve &curve, double x) {
    const double lowest = curve.counts[0], highest = curve.counts[curve.factors.size - 1];
    x = x > lowest ? x : lowest;
    x = x < highest ? x : highest;
    Index j = curve.starts[static_cast<std::int32_t>((x - lowest) * curve.scale)];
    if (curve.even)
        j += x >= curve.counts[j + 1];
    else
        while (x >= curve.counts[j + 1])
            ++j;
    return curve.slopes[j] * (x - curve.counts[j]) + curve.factors[j];
}

// Electrons of a row: k y with y = x f(x), x = stored number - bias. `take` gives stored numbers,
// some at a time. `saturated` receives the columns that reach the saturation; how many do.
template <class Take>
EMDARKS_INLINE Index electrons(const RowCalibration &c, Index row, Take take, double *values,
                               const Array1<std::int32_t> &saturated, Index cols) {
    constexpr Index parts = 4, block = parts * WIDTH;
    // A row without bias is no number, but its saturated pixels are known.
    const bool blind = c.of_stored && c.bias[row] != c.bias[row];
    const double bias = blind ? 0.0 : c.bias[row], k = blind ? NOT_A_NUMBER : c.k_gain;
    const double saturation = c.of_stored ? c.saturation - bias : c.saturation;
    const bool linear = !c.linearity;
    // Up to the table's first count the factor is the same: most pixels of dark frames need no
    // more.
    const double low = linear ? __builtin_inf() : c.linearity.counts[0];
    const double low_factor = linear ? 1.0 : c.linearity.factors[0];
    const double notable = low < saturation ? low : saturation;
    Index count = 0;
    // Pixels from p on, of which some lie far up: one by one.
    const auto one_by_one = [&](Index p, Index number, const Lanes *x) {
        double each[block], made[block];
        for (Index i = 0; i < parts; ++i)
            store(each + i * WIDTH, x[i]);
        for (Index i = 0; i < number; ++i)
            made[i] = each[i] * (linear ? 1.0 : factor_at(c.linearity, each[i])) * k;
        for (Index i = 0; i < number; ++i)
            if (each[i] >= saturation)
                saturated[count++] = static_cast<std::int32_t>(p + i);
        __builtin_memcpy(values + p, made, static_cast<std::size_t>(number) * sizeof(double));
    };
    Lanes x[parts];
    Index p = 0;
    for (; p + block <= cols; p += block) {
        Mask high = {};
        for (Index i = 0; i < parts; ++i) {
            x[i] = take(p + i * WIDTH, WIDTH) - bias;
            high |= x[i] >= notable;
        }
        if (any(high))
            one_by_one(p, block, x);
        else
            for (Index i = 0; i < parts; ++i)
                store(values + p + i * WIDTH, x[i] * low_factor * k);
    }
    for (Index i = 0; i < parts; ++i) {
        const Index left = cols - p - i * WIDTH;
        x[i] = left > 0 ? take(p + i * WIDTH, left < WIDTH ? left : WIDTH) - bias : Lanes{};
    }
    one_by_one(p, cols - p, x);
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
