// The three-parameter weighted fit, eight pixels at a time.
//
// Model of the mean of stack i at a pixel, method page, eq. 1 (model):
// y_i = F + g_i C + g_i t_i D. The fit is a linear map, beta = sum_i G_i y_i, with
// G_i = w_i (X'WX)^-1 x_i. Sums over pixels are taken lane by lane, then over the lanes: in an
// order that the band of pixels alone decides.
#pragma once

#include "fit.hpp"
#include "lanes.hpp"

namespace emdarks::EMDARKS_LEVEL {

// A stack: its row 1, g, h = g t of the design, 0 where nothing belongs to a column.
struct Setting {
    double g, h, gain, time;
};

// Something of each of F, C and D.
struct Three {
    Lanes F = 0.0, C = 0.0, D = 0.0;

    // F + g C + h D.
    EMDARKS_INLINE Lanes at(const Setting &x) const { return F + C * x.g + D * x.h; }
    EMDARKS_INLINE void operator+=(const Three &other) {
        F += other.F;
        C += other.C;
        D += other.D;
    }
    // Add w (1, g, h).
    EMDARKS_INLINE void add(Lanes w, const Setting &x) {
        F += w;
        C += w * x.g;
        D += w * x.h;
    }
};

struct Symmetric {
    Lanes FF = 0.0, FC = 0.0, FD = 0.0, CC = 0.0, CD = 0.0, DD = 0.0;

    EMDARKS_INLINE Three row_F() const { return {FF, FC, FD}; }
    EMDARKS_INLINE Three row_C() const { return {FC, CC, CD}; }
    EMDARKS_INLINE Three row_D() const { return {FD, CD, DD}; }

    // Add w x x'.
    EMDARKS_INLINE void add(Lanes w, const Setting &x) {
        const Lanes g = w * x.g, h = w * x.h;
        FF += w;
        FC += g;
        FD += h;
        CC += g * x.g;
        CD += g * x.h;
        DD += h * x.h;
    }
    EMDARKS_INLINE void add(Lanes w, const Three &x) {
        const Lanes F = x.F * w, C = x.C * w, D = x.D * w;
        FF += F * x.F;
        FC += F * x.C;
        FD += F * x.D;
        CC += C * x.C;
        CD += C * x.D;
        DD += D * x.D;
    }
    EMDARKS_INLINE Three operator*(const Three &x) const {
        return {FF * x.F + FC * x.C + FD * x.D, FC * x.F + CC * x.C + CD * x.D,
                FD * x.F + CD * x.C + DD * x.D};
    }
    // G_i: how the parameters follow the mean of a stack, where this is (X'WX)^-1.
    EMDARKS_INLINE Three G(Lanes w, const Setting &x) const {
        return {w * row_F().at(x), w * row_C().at(x), w * row_D().at(x)};
    }
};

struct Inverse : Symmetric {
    Mask full = 0;
};

// Inverse of a normal matrix; zeros where its rank is below 3.
//
// Products are taken with the diagonal divided out, since the condition of the matrix (up to
// 1e11) is almost all scaling.
EMDARKS_INLINE Inverse inverse(const Symmetric &s) {
    const Mask positive = (s.FF > 0.0) & (s.CC > 0.0) & (s.DD > 0.0);
    Lanes u = 1.0 / select(positive, s.FF, 1.0);
    Lanes v = 1.0 / select(positive, s.CC, 1.0);
    Lanes w = 1.0 / select(positive, s.DD, 1.0);
    const Lanes bu = s.FC * u, bv = s.FC * v, cu = s.FD * u;
    const Lanes cw = s.FD * w, ev = s.CD * v, ew = s.CD * w;
    const Lanes pivot = 1.0 - bu * bv;
    const Lanes determinant = 1.0 + 2.0 * bu * ev * cw - bu * bv - cu * cw - ev * ew;
    const Mask full = positive & (pivot > PIVOT) & (determinant > PIVOT * pivot);
    const Lanes r = select(full, 1.0 / select(full, determinant, 1.0), 0.0);
    u *= r;
    v *= r;
    w *= r;
    return {{(1.0 - ev * ew) * u, (cw * ev - bv) * u, (bv * ew - cw) * u, (1.0 - cu * cw) * v,
             (bu * cw - ew) * v, pivot * w},
            full};
}

inline bool design_rank(Array1<const double> gain, Array1<const double> gain_time) {
    Symmetric normal;
    for (Index i = 0; i < gain.size; ++i)
        normal.add(1.0, Setting{gain[i], gain_time[i], 0.0, 0.0});
    return any(inverse(normal).full);
}

// The stacks as a region sees them: the design, and its inverse where a pixel can use all.
struct Design {
    Buffer<Setting> stacks;
    bool has_c, has_d;
    Inverse all;

    Design(const FitData &d, bool dark)
        : stacks(d.gain.size), has_c(d.has_c), has_d(d.has_d && (dark || d.d_everywhere)) {
        Symmetric normal;
        for (Index i = 0; i < d.gain.size; ++i) {
            stacks[i] = {has_c ? d.gain[i] : 0.0, has_d ? d.gain[i] * d.time[i] : 0.0, d.gain[i],
                         d.time[i]};
            normal.add(1.0, stacks[i]);
        }
        all = invert(normal);
    }
    // Where there is no C or D, its place in the normal matrix is that of a unit matrix.
    EMDARKS_INLINE Inverse invert(Symmetric normal) const {
        if (!has_c)
            normal.CC = 1.0;
        if (!has_d)
            normal.DD = 1.0;
        return inverse(normal);
    }
    int parameters() const { return 1 + has_c + has_d; }
};

// Up to eight neighbours, all inside or all outside the imaging area.
struct Pixels {
    Index at, count;
    bool dark;

    EMDARKS_INLINE Mask there() const { return first(count); }
};

// So many bytes ahead are asked for: processors follow fewer rows by themselves than stacks have.
inline constexpr Index AHEAD = 512;

template <class Double> EMDARKS_INLINE Lanes pick(Array1<Double> plane, Pixels p) {
    const double *from = plane.at(p.at, p.count);
    __builtin_prefetch(reinterpret_cast<const char *>(from) + AHEAD);
    return load(from, p.count);
}

EMDARKS_INLINE void put(Array1<double> plane, Pixels p, Lanes x) {
    store(plane.at(p.at, p.count), x, p.count);
}

EMDARKS_INLINE void put(Array2<double> planes, Pixels p, const Three &x) {
    put(planes.row(0), p, x.F);
    put(planes.row(1), p, x.C);
    put(planes.row(2), p, x.D);
}

EMDARKS_INLINE void put(Array1<std::int16_t> plane, Pixels p, Lanes x) {
    store(plane.at(p.at, p.count), convert<std::int16_t>(x), p.count);
}

// Numbers of good samples, 16 or 32 bits wide and below 2^31; 0 where there is no pixel.
EMDARKS_INLINE Lanes counts(const Unsigned &n, Index i, Pixels p) {
    const char *from = n.at(i, p.at, p.count);
    __builtin_prefetch(from + AHEAD / 8 * n.width);
    if (n.width == 2)
        return convert<double>(load(reinterpret_cast<const std::uint16_t *>(from), p.count));
    return convert<double>(load(reinterpret_cast<const std::int32_t *>(from), p.count));
}

// Groups of pixels that are alike, in order.
template <class Do>
EMDARKS_INLINE void over_pixels(Array1<const bool> imaging, Range range, Do what) {
    for (Index p = range.lo; p < range.hi;) {
        const bool dark = imaging[p];
        Index end = p + 1;
        while (end < range.hi && end < p + WIDTH && imaging[end] == dark)
            ++end;
        what(Pixels{p, end - p, dark});
        p = end;
    }
}

// The flags of the stacks that pixels cannot use where they are not fitted, 1 where these have
// none; 0 where they are.
inline void put_flags(const FitData &d, Pixels p, Mask fitted, const Unsigned &dq) {
    for (Index j = 0; j < p.count; ++j) {
        std::uint64_t flags = 0;
        if (fitted[j] == 0) {
            for (Index i = 0; i < d.gain.size; ++i)
                if (d.n.get(i, p.at + j) == 0)
                    flags |= d.flags.get(i, p.at + j);
            flags = flags != 0 ? flags : 1;
        }
        dq.set(0, p.at + j, flags);
    }
}

EMDARKS_INLINE Lanes usable(Lanes n) { return select(n > 0.0, 1.0, 0.0); }

// Read the numbers of good samples by stack; returns how many stacks can be used.
EMDARKS_INLINE Lanes read_counts(const FitData &d, Pixels p, const Buffer<Lanes> &n) {
    Lanes used = 0.0;
    for (Index i = 0; i < d.gain.size; ++i) {
        n[i] = counts(d.n, i, p);
        used += usable(n[i]);
    }
    return used;
}

// (X'X)^-1 over the stacks that each pixel can use: most can use all.
EMDARKS_INLINE Inverse unweighted(const Design &design, const Buffer<Lanes> &n, Lanes used) {
    if (!any(used < static_cast<double>(n.size)))
        return design.all;
    Symmetric normal;
    for (Index i = 0; i < n.size; ++i)
        normal.add(usable(n[i]), design.stacks[i]);
    return design.invert(normal);
}

struct Errors {
    Three sigma, correlation;
};

// Errors, and correlations F-C, F-D, C-D: 0 where an error is 0.
EMDARKS_INLINE Errors errors_of(const Symmetric &covariance) {
    const Three sigma = {square_root(covariance.FF), square_root(covariance.CC),
                         square_root(covariance.DD)};
    const auto correlation = [](Lanes both, Lanes product) {
        return select(product > 0.0, both / select(product > 0.0, product, 1.0), 0.0);
    };
    return {sigma,
            {correlation(covariance.FC, sigma.F * sigma.C),
             correlation(covariance.FD, sigma.F * sigma.D),
             correlation(covariance.CD, sigma.C * sigma.D)}};
}

// What a too large gain does, method page, eq. 8 (gain): sums of -G_i g_i (C + t_i D) over the
// imaging area, and the number of its pixels.
struct GainDerivatives {
    Buffer<Three> sums;
    Lanes pixels = 0.0;

    explicit GainDerivatives(Index stacks) : sums(stacks) {
        for (Index i = 0; i < stacks; ++i)
            sums[i] = {};
    }
    EMDARKS_INLINE void add(Index i, const Setting &x, const Three &G, const Three &beta) {
        const Lanes moved = -(beta.C * x.g + beta.D * x.h);
        sums[i] += {G.F * moved, G.C * moved, G.D * moved};
    }
    void put(Array2<double> out) const {
        for (Index i = 0; i < sums.size; ++i) {
            out(i, 0) = sum(sums[i].F);
            out(i, 1) = sum(sums[i].C);
            out(i, 2) = sum(sums[i].D);
        }
        for (Index k = 0; k < 3; ++k)
            out(sums.size, k) = sum(pixels);
    }
};

// n^2 err^2 of a stack's mean, method page, eq. 10 (referr): n sum(s^2) + M2, with another stack's
// variance in the place of M2 where one sample is good.
EMDARKS_INLINE Lanes squared_error(const FitData &d, Index i, Pixels p, Lanes n, double single) {
    const Lanes scatter = select(n == 1.0, single, pick(d.m2.row(i), p));
    return d.err2 ? pick(d.err2.row(i), p) * n + scatter : scatter;
}

// Smallest positive squared error of the mean of each stack; infinite where none is positive.
inline void smallest_variance(const FitData &d, Range range, Array1<const double> single,
                              Array1<double> least) {
    for (Index i = 0; i < d.gain.size; ++i) {
        Lanes smallest = __builtin_inf();
        for (Index p = range.lo; p < range.hi; p += WIDTH) {
            const Pixels here = {p, range.hi - p < WIDTH ? range.hi - p : WIDTH, false};
            const Lanes n = counts(d.n, i, here);
            const Lanes total = squared_error(d, i, here, n, single[i]);
            const Mask positive = (n > 0.0) & (total > 0.0);
            smallest = smaller(select(positive, total / (n * n), __builtin_inf()), smallest);
        }
        least[i] = smallest[0];
        for (Index j = 1; j < WIDTH; ++j)
            least[i] = smallest[j] < least[i] ? smallest[j] : least[i];
    }
}

// Fit as the reference does; returns the number of pixels with a stack whose error is 0 and whose
// stand-in for that is not a number.
inline Index reference_fit(const FitData &d, Range range, const ReferenceFit &a) {
    struct Mean {
        Lanes y, weight, precision;
    };
    const Design design(d, true);
    const Index stacks = d.gain.size;
    Buffer<Lanes> n(stacks);
    Buffer<Mean> means(stacks);
    GainDerivatives derivatives(stacks);
    Lanes unknown = 0.0;

    over_pixels(d.imaging, range, [&](Pixels p) {
        const Lanes used = read_counts(d, p, n);
        const Inverse plain = unweighted(design, n, used);
        Symmetric normal;
        Three right;
        Lanes total = 0.0;
        for (Index i = 0; i < stacks; ++i) {
            Lanes error2 = squared_error(d, i, p, n[i], a.single[i]);
            error2 = select(error2 > 0.0, error2, n[i] * n[i] * a.floor[i]);
            const Lanes precision = n[i] * n[i] / select(n[i] > 0.0, error2, 1.0);
            const Lanes w = a.weighted ? precision : usable(n[i]);
            const Lanes y = select(n[i] > 0.0, pick(d.mean.row(i), p), 0.0);
            means[i] = {y, w, precision};
            normal.add(w, design.stacks[i]);
            right.add(w * y, design.stacks[i]);
            total += y;
        }
        const Inverse weighted = design.invert(normal);
        Three beta = weighted * right;

        // A second round removes what rounding left in the first; the sums do not feel it.
        const Lanes centre = total / used;
        Lanes residual2 = 0.0, explained2 = 0.0, chi2 = 0.0;
        right = {};
        for (Index i = 0; i < stacks; ++i) {
            const Lanes fitted = beta.at(design.stacks[i]);
            const Lanes residual = select(n[i] > 0.0, means[i].y - fitted, 0.0);
            const Lanes explained = select(n[i] > 0.0, centre - fitted, 0.0);
            right.add(means[i].weight * residual, design.stacks[i]);
            residual2 += residual * residual;
            explained2 += explained * explained;
            chi2 += means[i].precision * (residual * residual);
        }
        beta += weighted * right;
        unknown += select(chi2 != chi2, 1.0, 0.0);

        const Mask fitted = (used >= 4.0) & plain.full & weighted.full;
        const Lanes dof = used - 3.0, all2 = residual2 + explained2;
        const Lanes share = residual2 / select(all2 > 0.0, all2, 1.0) * (used - 1.0) / dof;
        const auto known = [&](Lanes x, double other) { return select(fitted, x, other); };
        beta = {known(beta.F, 0.0), known(beta.C, 0.0), known(beta.D, 0.0)};
        const Lanes s2 = residual2 / dof;
        const auto [sigma, r] = errors_of(plain);
        const Lanes s = known(square_root(s2), NOT_A_NUMBER);
        put(a.maps.values, p, beta);
        put(a.maps.errors, p, {sigma.F * s, sigma.C * s, sigma.D * s});
        put(a.maps.correlations, p, {known(r.F, 0.0), known(r.C, 0.0), known(r.D, 0.0)});
        put(a.maps.chi2, p, known(chi2 / dof, NOT_A_NUMBER));
        put(a.maps.r_squared, p,
            known(select(all2 > 0.0, 1.0 - share, NOT_A_NUMBER), NOT_A_NUMBER));
        put(a.residual_variance, p, known(s2, NOT_A_NUMBER));
        put(a.stacks_used, p, used);
        put_flags(d, p, fitted, a.dq);
        if (p.dark) {
            derivatives.pixels += select(fitted, 1.0, 0.0);
            for (Index i = 0; i < stacks; ++i)
                derivatives.add(i, design.stacks[i], weighted.G(means[i].weight, design.stacks[i]),
                                beta);
        }
    });
    derivatives.put(a.derivatives);
    return static_cast<Index>(sum(unknown));
}

} // namespace emdarks::EMDARKS_LEVEL
