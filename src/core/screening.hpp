// Screening of unflagged cosmic rays, from the largest samples of each pixel.
//
// One-sided: only samples above a ceiling that clean samples of the register do not reach are taken
// out of the sums again (method page, eq. 9 (ceiling)),
//
//     ceiling = level + 5 rn + g (lambda + 5 sqrt(2 lambda) + 9.2),
//
// with the stack's level, the read noise rn, the EM gain g, and lambda = C + t D nominal, or the
// pixel's own where that is larger. Symmetric clipping and medians would cut the skewed tail of the
// register and bias the charge.
#pragma once

#include "decode.hpp"

namespace emdarks::EMDARKS_LEVEL {

// The ceiling: read noises, standard deviations of the charge, and the tail of one electron's gain
// (9.2 = ln 1e4) above the level of clean samples.
inline constexpr double CEILING_READ_NOISES = 5.0, CEILING_DEVIATIONS = 5.0, CEILING_TAIL = 9.2;

// A trimmed mean of skewed samples lies below the mean: by a third where lambda is 0.5.
inline constexpr double UNTRIM = 1.5;

// How many of the largest of n samples a pixel's own level is taken without.
inline Index set_aside(Index n, Index kept) {
    const Index quarter = n / 4 > 1 ? n / 4 : 1, most = kept < n - 1 ? kept : n - 1;
    return quarter < most ? quarter : most;
}

template <class Count> void trimmed_means(const Moments &a, const Array1<double> &out) {
    const Array1<const Count> n = {static_cast<const Count *>(a.n), a.mean.size};
    for (Index p = 0; p < n.size; ++p) {
        if (n[p] == 0) {
            out[p] = NOT_A_NUMBER;
            continue;
        }
        const Index aside = set_aside(n[p], a.top.cols);
        double total = a.mean[p] * n[p];
        for (Index i = a.top.cols - aside; i < a.top.cols; ++i)
            total -= a.top(p, i);
        out[p] = total / static_cast<double>(n[p] - aside);
    }
}

inline void trimmed_means(const Moments &a, const Array1<double> &out) {
    a.n_width == 2 ? trimmed_means<std::uint16_t>(a, out) : trimmed_means<std::uint32_t>(a, out);
}

// Takes samples above the ceiling out of the sums. The part of one in err2 is taken to be the
// pixel's average.
template <class Count, class Flag> void screen(const Screening &a) {
    const Moments &m = a.moments;
    const Array1<Count> n = {static_cast<Count *>(m.n), m.mean.size};
    const Array1<Flag> flags = {static_cast<Flag *>(m.flags), n.size};
    const Index kept = m.top.cols;
    const auto ceiling_of = [&](double lambda) {
        return a.level + CEILING_READ_NOISES * a.read_noise +
               a.gain * (lambda + CEILING_DEVIATIONS * __builtin_sqrt(2.0 * lambda) + CEILING_TAIL);
    };
    const double least = ceiling_of(a.charge);
    for (Index p = 0; p < n.size; ++p) {
        if (n[p] < 2 || !(m.top(p, kept - 1) > least)) // a lone sample is all there is
            continue;
        const double excess = a.trimmed[p] - a.level;
        const double ceiling =
            ceiling_of(a.charge + UNTRIM * (excess > 0.0 ? excess : 0.0) / a.gain);
        Count good = n[p];
        double mean = m.mean[p], m2 = m.m2[p];
        Index out = 0;
        for (; out < kept && good > 1 && m.top(p, kept - 1 - out) > ceiling; ++out) {
            const double x = m.top(p, kept - 1 - out), difference = x - mean;
            --good;
            mean -= difference / good;
            m2 -= difference * (x - mean);
        }
        if (out == 0)
            continue;
        a.rejected[p] += static_cast<std::int32_t>(out);
        flags[p] = static_cast<Flag>(flags[p] | COSMIC_RAY);
        // Where as many samples exceed the ceiling as were kept, more may.
        if (out == kept && n[p] > kept) {
            n[p] = 0;
            continue;
        }
        if (m.err2)
            m.err2[p] *= static_cast<double>(good) / n[p];
        n[p] = good, m.mean[p] = mean, m.m2[p] = m2 > 0.0 ? m2 : 0.0;
    }
}

inline void screen(const Screening &a) {
    with_word(a.moments.flags_width, [&](auto zero) {
        using Flag = decltype(zero);
        a.moments.n_width == 2 ? screen<std::uint16_t, Flag>(a) : screen<std::uint32_t, Flag>(a);
    });
}

} // namespace emdarks::EMDARKS_LEVEL
