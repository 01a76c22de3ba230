// Sweeps of the pooled estimator over the pixels.
//
// Model of the mean of stack i: y_i = F + g_i C + g_i t_i D inside the imaging area,
// F + g_i C outside it; variance of a sample rn^2 + kappa g^2 (C + t D). Stacks of one gain tell
// no C, those of one time no D (has_c, has_d): its column counts as 0. The steps and their reasons
// stand on the method page of the documentation.
#pragma once

#include "least_squares.hpp"

namespace emdarks::EMDARKS_LEVEL {

// Constants of the recipe; the method page gives the reason of each.
inline constexpr double BEYOND_LOW = 3.0, BEYOND_HIGH = 5.0;
inline constexpr double JUMP_LOW = 4.6, JUMP_HIGH = 9.2;
inline constexpr double SHRINKAGE_POWER = 0.4;
inline constexpr double ODD_LOW = 5.0, ODD_RANGE = 3.0;

// Groups of pixels, UNFITTED where there is none.
EMDARKS_INLINE Lanes groups(Array1<const std::int8_t> group, Pixels p) {
    const Lanes read = convert<double>(load(group.at(p.at, p.count), p.count));
    return select(p.there(), read, UNFITTED);
}

// Sums of M2 and of n - 1 over pixels, by region and stack.
struct Pools {
    struct Pool {
        Lanes m2 = 0.0, dof = 0.0;
    };
    Index stacks;
    Buffer<Pool> sums;

    explicit Pools(Index count) : stacks(count), sums(2 * count) {
        for (Index i = 0; i < 2 * count; ++i)
            sums[i] = {};
    }
    EMDARKS_INLINE void add(const FitData &d, Pixels p, Index i, Lanes n, Mask where) {
        const Mask use = where & (n > 1.0);
        Pool &pool = sums[(p.dark ? stacks : 0) + i];
        pool.m2 += select(use, pick(d.m2.row(i), p), 0.0);
        pool.dof += select(use, n - 1.0, 0.0);
    }
    void put(Array2<double> out) const {
        for (Index i = 0; i < 2 * stacks; ++i) {
            out(i, 0) = sum(sums[i].m2);
            out(i, 1) = sum(sums[i].dof);
        }
    }
};

// Which pixels can be fitted, and their scatter.
inline void survey(const FitData &d, Range range, const Survey &a) {
    const Design designs[2] = {Design(d, false), Design(d, true)};
    Buffer<Lanes> n(d.gain.size);
    Pools pools(d.gain.size);
    over_pixels(d.imaging, range, [&](Pixels p) {
        const Design &design = designs[p.dark];
        const Lanes used = read_counts(d, p, n);
        const Mask fitted =
            unweighted(design, n, used).full & (used > static_cast<double>(design.parameters()));
        put(a.stacks_used, p, used);
        put_flags(d, p, fitted, a.dq);
        for (Index j = 0; j < p.count; ++j)
            a.group[p.at + j] = static_cast<std::int8_t>(fitted[j] == 0 ? UNFITTED : p.dark);
        for (Index i = 0; i < d.gain.size; ++i)
            pools.add(d, p, i, n[i], fitted);
    });
    pools.put(a.pools);
}

// The scatter of the pixels that are fitted and not hot.
inline void pool_sweep(const FitData &d, Range range, Array1<const std::int8_t> group,
                       Array2<double> out) {
    Pools pools(d.gain.size);
    over_pixels(d.imaging, range, [&](Pixels p) {
        const Mask cold = groups(group, p) == (p.dark ? 1.0 : 0.0);
        for (Index i = 0; i < d.gain.size; ++i)
            pools.add(d, p, i, counts(d.n, i, p), cold);
    });
    pools.put(out);
}

// Fit with weights n; how far noise (u^2), and one electron, can move C and D of that fit.
inline void first_sweep(const FitData &d, Range range, const FirstFit &a) {
    const Design designs[2] = {Design(d, false), Design(d, true)};
    const Index stacks = d.gain.size;
    Buffer<Lanes> n(stacks);
    over_pixels(d.imaging, range, [&](Pixels p) {
        const Design &design = designs[p.dark];
        Symmetric normal;
        Three right;
        for (Index i = 0; i < stacks; ++i) {
            n[i] = counts(d.n, i, p);
            normal.add(n[i], design.stacks[i]);
            right.add(n[i] * select(n[i] > 0.0, pick(d.mean.row(i), p), 0.0), design.stacks[i]);
        }
        const Inverse solve = design.invert(normal);
        put(a.values, p, solve * right);
        for (Index k = 0; k < 2; ++k) {
            const bool fitted = k == 0 ? design.has_c : design.has_d;
            const Three row = k == 0 ? solve.row_C() : solve.row_D();
            Lanes scale = 0.0, jump = 0.0;
            for (Index i = 0; fitted && i < stacks; ++i) {
                const Lanes each = row.at(design.stacks[i]); // G_ki / n_i
                scale += each * each * n[i] * a.v0(p.dark, i);
                jump = larger(select(n[i] > 0.0, each * d.gain[i], 0.0), jump);
            }
            put(a.scale.row(k), p, scale);
            put(a.jump.row(k), p, jump);
        }
    });
}

// C and D of pixels, or what each has above some level.
struct Charge {
    Lanes C = 0.0, D = 0.0;

    EMDARKS_INLINE Lanes at(double time) const { return C + D * time; }
};

// The noise of one region.
struct Noise {
    // What belongs to a stack: variance of the pool and 1 over it, least variance, what charge adds
    // to it, fourth cumulant per charge and square of one electron's tail (of `OwnScatter`), charge
    // of the pool.
    struct Term {
        double v, precision, floor, slope, fourth, jump2, charge;

        // V_i, method page, eq. 5 (cov).
        EMDARKS_INLINE Lanes variance(Lanes offset) const {
            return larger(v + offset * slope, floor);
        }
    };
    double kappa;
    Weighting kind;
    Array1<const double> prior_mean, intrinsic, onset;
    Buffer<Term> terms;

    Noise(const FitData &d, const NoiseTables &t, bool dark)
        : kappa(t.kappa[dark]), kind(static_cast<Weighting>(t.kind[dark])),
          prior_mean(t.prior_mean.row(dark)), intrinsic(t.intrinsic.row(dark)),
          onset(t.onset.row(dark)), terms(d.gain.size) {
        for (Index i = 0; i < d.gain.size; ++i) {
            const double g2 = d.gain[i] * d.gain[i], electron = JUMP_HIGH * d.gain[i] * kappa * 0.5;
            const double v = t.v(dark, i), precision = v > 0.0 ? 1.0 / v : 0.0;
            const double fourth = 3.0 * kappa * kappa * kappa * g2 * g2;
            const double charge = prior_mean[0] + d.time[i] * prior_mean[1];
            terms[i] = {v,     precision, t.floor(dark, i), kappa * g2, fourth, electron * electron,
                        charge};
        }
    }
};

// The mean of a stack: n, the weight, 1/n (0 where there is no sample), and what input errors add
// to its variance.
struct Mean {
    Lanes n, w, q, s;

    EMDARKS_INLINE Lanes variance(Lanes of_sample) const { return of_sample * q + s; }
};

// What both sweeps of the second fit know of eight pixels.
//
// Weights are equal, n, n^2 or 1 / (v/n + s) with the variance of the pool, method page, eq. 4
// (weights), raised by the noise model where a pixel is hot. Never the pixel's own scatter: it is
// correlated with the pixel's mean, and would bias the fit.
struct Weighted {
    const FitData &d;
    const Design designs[2];
    const Noise noises[2];
    Buffer<Mean> means;

    Weighted(const FitData &data, const NoiseTables &tables)
        : d(data), designs{Design(data, false), Design(data, true)},
          noises{Noise(data, tables, false), Noise(data, tables, true)}, means(data.gain.size),
          tables_(tables) {}

    // Weights of the means; returns the normal matrix.
    EMDARKS_INLINE Symmetric weigh(Pixels p) {
        const Noise &noise = noises[p.dark];
        const Charge hot = excess(p);
        const bool pool_alone = !d.err2 && !any((hot.C > 0.0) | (hot.D > 0.0));
        Symmetric normal;
        for (Index i = 0; i < d.gain.size; ++i) {
            const Setting &x = designs[p.dark].stacks[i];
            Mean &mean = means[i];
            mean.n = counts(d.n, i, p);
            mean.q = select(mean.n > 0.0, 1.0 / select(mean.n > 0.0, mean.n, 1.0), 0.0);
            mean.s = d.err2 ? pick(d.err2.row(i), p) * mean.q * mean.q : 0.0;
            const Noise::Term &of = noise.terms[i];
            if (noise.kind != POOLED)
                mean.w = of_counts(noise.kind, mean.n);
            else if (pool_alone)
                mean.w = mean.n * of.precision;
            else {
                const Lanes more = larger(hot.at(x.time) * of.slope, 0.0);
                const Lanes variance = mean.variance(of.v + more);
                mean.w = select(variance > 0.0, 1.0 / select(variance > 0.0, variance, 1.0), 0.0);
            }
            normal.add(mean.w, x);
        }
        return normal;
    }

private:
    const NoiseTables &tables_;
    Index next_hot_ = 0;

    // Weights that only the number of good samples decides.
    EMDARKS_INLINE static Lanes of_counts(Weighting kind, Lanes n) {
        return kind == EQUAL ? usable(n) : kind == COUNTS ? n : n * n;
    }

    // C and D of hot pixels above the pool, 0 of others.
    EMDARKS_INLINE Charge excess(Pixels p) {
        Charge found;
        const auto &hot = tables_.hot;
        for (; next_hot_ < hot.size && hot[next_hot_] < p.at + p.count; ++next_hot_)
            if (hot[next_hot_] >= p.at) {
                found.C.set(hot[next_hot_] - p.at, tables_.excess(0, next_hot_));
                found.D.set(hot[next_hot_] - p.at, tables_.excess(1, next_hot_));
            }
        return found;
    }
};

// Fit with the final weights; error variances with the pool's, and their slopes, by which the
// spread over pixels is judged.
inline void second_sweep(const FitData &d, Range range, const SecondFit &a) {
    Weighted fit(d, a.noise);
    Charge slopes[2];
    over_pixels(d.imaging, range, [&](Pixels p) {
        const Design &design = fit.designs[p.dark];
        const Noise &noise = fit.noises[p.dark];
        const Inverse solve = design.invert(fit.weigh(p));
        // From the first fit on: little is left to be rounded.
        Three beta = {pick(a.values.row(0), p), pick(a.values.row(1), p), pick(a.values.row(2), p)};
        Three right;
        for (Index i = 0; i < d.gain.size; ++i) {
            const Setting &x = design.stacks[i];
            const Lanes residual = pick(d.mean.row(i), p) - beta.at(x);
            right.add(select(fit.means[i].w > 0.0, fit.means[i].w * residual, 0.0), x);
        }
        beta += solve * right;
        put(a.values, p, beta);
        const Mask cold = groups(a.group, p) == (p.dark ? 1.0 : 0.0);
        for (Index k = design.has_c ? 0 : 1; k < (design.has_d ? 2 : 1); ++k) {
            const Three row = k == 0 ? solve.row_C() : solve.row_D();
            Lanes own = 0.0, slope = 0.0;
            for (Index i = 0; i < d.gain.size; ++i) {
                const Setting &x = design.stacks[i];
                const Mean &mean = fit.means[i];
                const Lanes G = mean.w * row.at(x);
                slope += G * G * mean.q * (noise.terms[i].slope * (k == 0 ? 1.0 : x.time));
                if (noise.kind != POOLED)
                    own += G * G * mean.variance(noise.terms[i].v);
            }
            // Where weights are inverse variances, that is the inverse matrix.
            put(a.own.row(k), p, noise.kind == POOLED ? k == 0 ? row.C : row.D : own);
            (k == 0 ? slopes[p.dark].C : slopes[p.dark].D) += select(cold, slope, 0.0);
        }
    });
    for (Index region = 0; region < 2; ++region) {
        a.slopes(region, 0) = sum(slopes[region].C);
        a.slopes(region, 1) = sum(slopes[region].D);
    }
}

EMDARKS_INLINE Lanes ramp(Lanes u) {
    u = smaller(larger(u, 0.0), 1.0);
    return u * u * (3.0 - 2.0 * u);
}

// An estimate of C or D above its mean over pixels, its error variance, the slope of that, the
// third moment of its error, and what one electron does; variance of true values over pixels, and
// how far a variance follows the pixel.
struct Estimate {
    Lanes x, e2, slope, mu3, jump;
    double intrinsic, onset;

    // How far a pixel's variance follows its own estimate, as an offset of C or D: method page,
    // eq. 6 (shrinkage) and eq. 7 (kappa).
    EMDARKS_INLINE Lanes offset() const {
        const Mask none = (slope <= 0.0) | (e2 <= 0.0) | ((x <= 0.0) & Mask(onset == 0.0 ? -1 : 0));
        const Lanes e2_ = select(none, 1.0, e2), c = select(none, 1.0, slope) / e2_;
        Lanes b = 0.0;
        if (onset > 0.0)
            for (Index j = 0; j < WIDTH; ++j)
                b.set(j, onset * __builtin_pow(intrinsic / (intrinsic + e2_[j]), SHRINKAGE_POWER));
        const Lanes width = square_root(intrinsic + e2_);
        const Lanes near = BEYOND_LOW * width + JUMP_LOW * jump;
        const Lanes far = ramp((x - near) / (BEYOND_HIGH * width + JUMP_HIGH * jump - near));
        // To second order, noise in the reported variance raises the mean square of pulls.
        const Lanes more =
            c * c * (b * b * (intrinsic + 3.0 * e2_) - b * intrinsic) - c * b * mu3 / e2_;
        const Lanes K = 1.0 + larger(more, 0.0) * (1.0 - far);
        return select(none, 0.0, (b + (1.0 - b) * far) * x * K + (K - 1.0) / c);
    }
};

// Variance of a sample where a pixel is noisier than any model of it: then its own scatter counts.
struct OwnScatter {
    const Mean &mean;
    const Noise::Term &of;
    Lanes m2, V, charge;

    // Where that may be: the test of `variance` without its divisions tells the few.
    EMDARKS_INLINE Mask odd() const {
        const Lanes more = mean.n - 1.0, share = 1.0 - mean.q; // n - 1, and (n - 1) / n
        const Lanes away = m2 - V * more - share * of.jump2;
        const Lanes width2 = more * (share * of.fourth * charge + 2.0 * V * V);
        return (more > 0.0) & (V > 0.0) & (away > 0.0) &
               (away * away > 0.999 * ODD_LOW * ODD_LOW * width2);
    }
    EMDARKS_INLINE Lanes variance() const {
        const Lanes more = mean.n - 1.0, f = m2 / (V * more) - 1.0, q_V = mean.q / V;
        const Lanes deviation = square_root(of.fourth * charge / V * q_V + 2.0 / more);
        return V + V * f * ramp(((f - of.jump2 * q_V) / deviation - ODD_LOW) / ODD_RANGE);
    }
};

// The last sweep over eight pixels: variances that follow each, and what becomes of them.
struct Finish {
    Weighted &fit;
    const Design &design;
    const Noise &noise;
    const Inverse &solve;
    const Three &beta;
    Mask hot;
    Charge offset = {};

    // Offsets of C (k = 0) or D at which variances are taken; where they are not 0.
    EMDARKS_INLINE Mask shrink(Index k) {
        const double prior = noise.prior_mean[k], intrinsic = noise.intrinsic[k],
                     onset = noise.onset[k];
        const Three row = k == 0 ? solve.row_C() : solve.row_D();
        Estimate estimate = {
            (k == 0 ? beta.C : beta.D) - prior, 0.0, 0.0, 0.0, 0.0, intrinsic, onset};
        if (onset == 0.0 && noise.kind == POOLED) {
            // Then only what lies far beyond the population is followed: few pixels. The
            // inverse has the error variance, which for hot ones may be too large.
            const Lanes width2 = intrinsic + (k == 0 ? row.C : row.D), x = estimate.x;
            const double least = BEYOND_LOW * BEYOND_LOW * (1.0 - 1e-9);
            if (!any((x > 0.0) & ((x * x > least * width2) | hot)))
                return 0;
        }
        for (Index i = 0; i < fit.means.size; ++i) {
            const Setting &x = design.stacks[i];
            const Mean &mean = fit.means[i];
            const Noise::Term &of = noise.terms[i];
            const Lanes G = mean.w * row.at(x), step = G * mean.q * x.gain;
            const double charge = of.charge > 0.0 ? of.charge : 0.0;
            estimate.e2 += G * G * mean.variance(of.variance(offset.at(x.time)));
            estimate.slope += step * G * (x.gain * noise.kappa * (k == 0 ? 1.0 : x.time));
            estimate.mu3 += step * step * G * (x.gain * 1.5 * noise.kappa * noise.kappa * charge);
            estimate.jump = larger(step * (noise.kappa * 0.5), estimate.jump);
        }
        const Lanes found = larger(estimate.offset(), prior > 0.0 ? -prior : 0.0);
        (k == 0 ? offset.C : offset.D) = found;
        return found != 0.0;
    }
    EMDARKS_INLINE OwnScatter scatter(Pixels p, Index i) const {
        const Noise::Term &of = noise.terms[i];
        const Lanes more = offset.at(design.stacks[i].time);
        return {fit.means[i], of, pick(fit.d.m2.row(i), p), of.variance(more),
                larger(of.charge + more, 0.0)};
    }
    // Sandwich G V G', method page, eq. 5 (cov), with the errors of the gain.
    EMDARKS_INLINE Symmetric covariance(Pixels p, double gain_error) {
        Mask own = hot;
        if (noise.kappa > 0.0) {
            if (design.has_d)
                own |= shrink(1);
            if (design.has_c)
                own |= shrink(0);
        }
        // Where variances are the pool's, and weights their inverse, that is the inverse matrix.
        const bool exact = noise.kind == POOLED && gain_error == 0.0;
        Symmetric inverse = solve;
        if (!design.has_c)
            inverse.CC = 0.0;
        if (!design.has_d)
            inverse.DD = 0.0;
        if (exact && !any(own)) {
            Mask odd = 0;
            for (Index i = 0; i < fit.means.size; ++i)
                odd |= scatter(p, i).odd();
            if (!any(odd))
                return inverse;
        }
        Symmetric sandwich;
        for (Index i = 0; i < fit.means.size; ++i) {
            const Setting &x = design.stacks[i];
            const OwnScatter seen = scatter(p, i);
            const Mask odd = seen.odd();
            Lanes V = seen.V;
            if (any(odd))
                V = select(odd, seen.variance(), V);
            own |= odd;
            const Lanes moved = gain_error * (beta.C * x.g + beta.D * (x.g * x.time));
            sandwich.add(fit.means[i].variance(V) + moved * moved, solve.G(fit.means[i].w, x));
        }
        if (!exact)
            return sandwich;
        const auto both = [&](Lanes a, Lanes b) { return select(own, a, b); };
        return {both(sandwich.FF, inverse.FF), both(sandwich.FC, inverse.FC),
                both(sandwich.FD, inverse.FD), both(sandwich.CC, inverse.CC),
                both(sandwich.CD, inverse.CD), both(sandwich.DD, inverse.DD)};
    }
};

// Reduced chi-square by the pool's variances, adjusted R^2 with the fit's weights.
struct Quality {
    Lanes chi2, r_squared;
};

EMDARKS_INLINE Quality quality(const Weighted &fit, Pixels p, const Three &beta, Lanes used) {
    const Design &design = fit.designs[p.dark];
    const Noise &noise = fit.noises[p.dark];
    // Sums of squares about the weighted mean are those about F, less what the mean is off.
    Lanes weights = 0.0, first = 0.0, all2 = 0.0, residual2 = 0.0, chi2 = 0.0;
    for (Index i = 0; i < fit.means.size; ++i) {
        const Mean &mean = fit.means[i];
        const Setting &x = design.stacks[i];
        const Lanes away = select(mean.n > 0.0, pick(fit.d.mean.row(i), p) - beta.F, 0.0);
        const Lanes residual = away - (beta.C * x.g + beta.D * x.h);
        weights += mean.w;
        first += mean.w * away;
        all2 += mean.w * away * away;
        residual2 += mean.w * residual * residual;
        if (noise.kind != POOLED) {
            const Lanes variance = mean.variance(noise.terms[i].v);
            chi2 += select((mean.n > 0.0) & (variance > 0.0),
                           residual * residual / select(variance > 0.0, variance, 1.0), 0.0);
        }
    }
    const Lanes dof = used - static_cast<double>(design.parameters());
    const Lanes total2 = all2 - first * first / select(weights > 0.0, weights, 1.0);
    const Mask varies = total2 > 0.0;
    const Lanes share = residual2 / select(varies, total2, 1.0) * (used - 1.0) / dof;
    return {(noise.kind == POOLED ? residual2 : chi2) / dof,
            select(varies, 1.0 - share, NOT_A_NUMBER)};
}

// Errors, correlations, chi-square and R^2 of the fit; what errors of the gain do.
inline void final_sweep(const FitData &d, Range range, const FinalFit &a) {
    Weighted fit(d, a.noise);
    GainDerivatives derivatives(d.gain.size);
    over_pixels(d.imaging, range, [&](Pixels p) {
        const Design &design = fit.designs[p.dark];
        const Lanes group = groups(a.group, p);
        const Mask fitted = group >= 0.0;
        const auto known = [&](Lanes x, double other) { return select(fitted, x, other); };
        const auto value = [&](Index k) { return known(pick(a.maps.values.row(k), p), 0.0); };
        const Three beta = {value(0), value(1), value(2)};
        const Inverse solve = design.invert(fit.weigh(p));
        if (p.dark) {
            derivatives.pixels += select(fitted, 1.0, 0.0);
            for (Index i = 0; i < d.gain.size; ++i)
                derivatives.add(i, design.stacks[i], solve.G(fit.means[i].w, design.stacks[i]),
                                beta);
        }
        const std::int16_t *used = a.stacks_used.at(p.at, p.count);
        const auto [chi2, r_squared] = quality(fit, p, beta, convert<double>(load(used, p.count)));
        Finish finish = {fit, design, fit.noises[p.dark], solve, beta, group >= HOT};
        const auto [sigma, r] = errors_of(finish.covariance(p, a.gain_error));
        put(a.maps.values, p, beta);
        put(a.maps.errors, p,
            {known(sigma.F, NOT_A_NUMBER), known(sigma.C, NOT_A_NUMBER),
             known(sigma.D, NOT_A_NUMBER)});
        put(a.maps.correlations, p, {known(r.F, 0.0), known(r.C, 0.0), known(r.D, 0.0)});
        put(a.maps.chi2, p, known(chi2, NOT_A_NUMBER));
        put(a.maps.r_squared, p, known(r_squared, NOT_A_NUMBER));
    });
    derivatives.put(a.derivatives);
}

} // namespace emdarks::EMDARKS_LEVEL
