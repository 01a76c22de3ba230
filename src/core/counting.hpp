// The counting estimator: F, C and D from counts and clipped sums, eight pixels at a time.
//
// Each stack gives a pixel the statistics K/n', LO/n' and HI/n' of its n' samples below T2, or, at
// low gain, the mean of its samples below T; their expectations follow from the law of a sample
// (law.hpp), and steps of Gauss and Newton bring F, C and D to the least weighted squares. Weights
// go by the charge of the pool, never by the pixel's own, so that they do not bias it. Hot pixels
// have a charge of their own, and where it is large their plain means are used.
#pragma once

#include "law.hpp"
#include "least_squares.hpp"

namespace emdarks::EMDARKS_LEVEL {

// Up to FEW electrons a frame, K and LO hold all that is known; up to SEVERAL, with HI.
inline constexpr double FEW = 0.5, SEVERAL = 4.0;
// Within a step, lambda is kept in this range.
inline constexpr double LEAST_LAMBDA = -0.5, MOST_LAMBDA = 12.0;
// A plain mean's expectation takes no more terms than this lambda needs.
inline constexpr double MOST_CENSORED = 600.0;

// Three statistics of a stack stand in the places of F, C and D: K, LO and HI.
struct Expected {
    Three mean, by_F, by_lambda;
};

// The mean of x - T of samples x <= T, in the place of K.
EMDARKS_INLINE Expected expected_below(Lanes u, Lanes lambda, const Tail &at, double g) {
    const Lanes share = 1.0 / (1.0 - at.P), mean = (g * lambda - u - at.H) * share;
    return {{mean, 0.0, 0.0},
            {(1.0 - at.P + mean * at.p) * share, 0.0, 0.0},
            {(g - at.dH + mean * at.dP) * share, 0.0, 0.0}};
}

// K, LO and HI of one sample, given x <= T2.
EMDARKS_INLINE Expected expected_counts(Lanes u, double d, Lanes lambda, const Tail &at,
                                        const Tail &end, double g) {
    const Lanes share = 1.0 / (1.0 - end.P);
    const Three mean = {(at.P - end.P) * share, (g * lambda - u - at.H) * share,
                        (at.H - end.H - d * end.P) * share};
    return {mean,
            {(at.p - end.p + mean.F * end.p) * share, (1.0 - at.P + mean.C * end.p) * share,
             (at.P - end.P - d * end.p + mean.D * end.p) * share},
            {(at.dP - end.dP + mean.F * end.dP) * share, (g - at.dH + mean.C * end.dP) * share,
             (at.dH - end.dH - d * end.dP + mean.D * end.dP) * share}};
}

// E min(x - T, 0)^2 of one sample.
EMDARKS_INLINE Lanes squares_below(Lanes u, Lanes lambda, Lanes Q, const Register &k) {
    const Lanes middle = k.g * lambda - u;
    return k.variance(lambda) + middle * middle - Q;
}

EMDARKS_INLINE Symmetric variance_below(Lanes u, Lanes lambda, const SquaredTail &at,
                                        const Register &k) {
    const Lanes share = 1.0 / (1.0 - at.P), mean = (k.g * lambda - u - at.H) * share;
    Symmetric V;
    V.FF = squares_below(u, lambda, at.Q, k) * share - mean * mean;
    return V;
}

EMDARKS_INLINE Symmetric variance_of_counts(Lanes u, double d, Lanes lambda, const SquaredTail &at,
                                            const SquaredTail &end, const Register &k) {
    const Lanes share = 1.0 / (1.0 - end.P);
    const Lanes count = (at.P - end.P) * share, low = (k.g * lambda - u - at.H) * share;
    const Lanes high = (at.H - end.H - d * end.P) * share;
    const Lanes squares = at.Q - end.Q - 2.0 * d * end.H - d * d * end.P;
    Symmetric V;
    V.FF = count * (1.0 - count);
    V.FC = -(count * low);
    V.FD = high * (1.0 - count);
    V.CC = squares_below(u, lambda, at.Q, k) * share - low * low;
    V.CD = -(low * high);
    V.DD = squares * share - high * high;
    return V;
}

// Settings of a stack.
struct CountedStack {
    Register law;
    double commanded, time, T, d, flagged; // d = T2 - T
    bool low;
};

// Which statistics of a stack a pixel has; nothing where all are empty.
struct Modes {
    Mask below, few, several, plain;

    EMDARKS_INLINE Mask counted() const { return below | few | several; }
    EMDARKS_INLINE Lanes number() const {
        return select(below | plain, 1.0, 0.0) + select(few, 2.0, 0.0) + select(several, 3.0, 0.0);
    }
};

EMDARKS_INLINE Modes modes_of(const CountedStack &s, Lanes lambda, Mask there, double noise) {
    const Lanes charge = s.commanded * lambda;
    const Mask few = lambda <= FEW, several = lambda <= SEVERAL;
    const Mask usable = charge + s.commanded * square_root(2.0 * lambda) <= s.flagged;
    const Mask none = 0;
    if (s.low) {
        const Mask below = few | (several & (charge <= noise));
        return {there & below, none, none, there & ~below & usable};
    }
    return {none, there & few, there & ~few & several, there & ~several & usable};
}

// What a pixel has of a stack.
struct Observed {
    Modes modes;
    Lanes n, kept; // samples that are good, and that count
    Three mean;    // of the statistics
    Lanes plain;   // mean of all samples
    Symmetric W, V;
    Tail end; // the law at T2, as the first step of a round finds it: later ones hardly change it
};

template <class Number>
EMDARKS_INLINE Lanes pick_counts(Array2<const Number> planes, Index i, Pixels p) {
    const Number *from = planes.row(i).at(p.at, p.count);
    __builtin_prefetch(reinterpret_cast<const char *>(from) + AHEAD);
    return to_lanes(load(from, p.count));
}

// Inverse of the variances of the statistics that a pixel uses.
EMDARKS_INLINE Symmetric weight_of(Symmetric V, const Modes &modes) {
    const Mask pair = modes.few | modes.several;
    V.FC = select(pair, V.FC, 0.0);
    V.CC = select(pair, V.CC, 1.0);
    V.FD = select(modes.several, V.FD, 0.0);
    V.CD = select(modes.several, V.CD, 0.0);
    V.DD = select(modes.several, V.DD, 1.0);
    V.FF = select(modes.counted(), V.FF, 1.0);
    Symmetric W = inverse(V);
    W.FF = select(modes.counted(), W.FF, 0.0);
    W.CC = select(pair, W.CC, 0.0);
    W.DD = select(modes.several, W.DD, 0.0);
    return W;
}

// Sums of one step over the stacks.
struct Normal {
    Symmetric A, B;
    Three b;
    Lanes chi2 = 0.0, used = 0.0;

    // One number: weight, residual, derivatives.
    EMDARKS_INLINE void add(Lanes w, Lanes variance, Lanes residual, Lanes by_lambda, double time) {
        const Three J = {1.0, by_lambda, by_lambda * time};
        A.add(w, J);
        B.add(w * w * variance, J);
        add_right(w * residual, w * residual * by_lambda, time);
        chi2 += w * residual * residual;
    }
    // Statistics with weights W of n samples each.
    EMDARKS_INLINE void add(Lanes n, const Symmetric &W, const Symmetric &V, const Three &residual,
                            const Expected &e, double time, bool last) {
        const Three wF = W * e.by_F, wl = W * e.by_lambda;
        add_matrix(A, n * dot(e.by_F, wF), n * dot(e.by_F, wl), n * dot(e.by_lambda, wl), time);
        add_right(n * dot(wF, residual), n * dot(wl, residual), time);
        if (!last)
            return;
        const Three vF = V * wF, vl = V * wl;
        add_matrix(B, n * dot(wF, vF), n * dot(wF, vl), n * dot(wl, vl), time);
        chi2 += n * dot(residual, W * residual);
    }

private:
    EMDARKS_INLINE static Lanes dot(const Three &x, const Three &y) {
        return x.F * y.F + x.C * y.C + x.D * y.D;
    }
    EMDARKS_INLINE static void add_matrix(Symmetric &s, Lanes FF, Lanes Fl, Lanes ll, double time) {
        s.FF += FF;
        s.FC += Fl;
        s.FD += Fl * time;
        s.CC += ll;
        s.CD += ll * time;
        s.DD += ll * (time * time);
    }
    EMDARKS_INLINE void add_right(Lanes F, Lanes lambda, double time) {
        b.F += F;
        b.C += lambda;
        b.D += lambda * time;
    }
};

EMDARKS_INLINE Lanes within(Lanes x, double low, double high) {
    return smaller(larger(x, low), high); // low where x is not a number
}

// A' S A for symmetric matrices.
EMDARKS_INLINE Symmetric sandwich(const Symmetric &A, const Symmetric &S) {
    const Three F = A * (S * A.row_F()), C = A * (S * A.row_C()), D = A * (S * A.row_D());
    return {F.F, F.C, F.D, C.C, C.D, D.D};
}

EMDARKS_INLINE void put_matrix(Array2<double> planes, Pixels p, const Symmetric &s) {
    const Lanes *each[] = {&s.FF, &s.FC, &s.FD, &s.CC, &s.CD, &s.DD};
    for (Index k = 0; k < 6; ++k)
        put(planes.row(k), p, *each[k]);
}

// A region's pixels, and the nuisance terms that they share.
class CountingFit {
public:
    CountingFit(const CountingData &data, const CountingTerms &terms, bool dark)
        : d_(data), t_(terms), dark_(dark), stacks_(data.gain.size), observed_(data.gain.size) {
        for (Index i = 0; i < stacks_.size; ++i)
            stacks_[i] = {Register(d_.gain[i], d_.read_noise, d_.electron.row(i).data),
                          d_.commanded[i],
                          dark ? d_.time[i] : 0.0,
                          d_.T[i],
                          d_.T2[i] - d_.T[i],
                          d_.flagged[i],
                          d_.is_low[i]};
        for (Index k = 0; k < 2; ++k)
            follows_ |= t_.follow(dark, k) * t_.spread(dark, k) > 0.0;
    }

    // Charges that go with weights and with errors.
    struct Charges {
        Lanes C, D, error_C, error_D;
    };

    EMDARKS_INLINE Charges charges(Pixels p, Mask hot, const Three &values) const {
        const double C = t_.level(dark_, 0), D = dark_ ? t_.level(dark_, 1) : 0.0;
        Charges c = {C, D, C, D};
        if (dark_)
            c.D = select(hot, larger(values.D, D), D);
        else
            c.C = select(hot, larger(values.C, C), C);
        c.error_C = select(hot, c.C, near_level(p, 0, values.C));
        c.error_D = dark_ ? select(hot, c.D, near_level(p, 1, values.D)) : 0.0;
        return c;
    }

    // Read the sums of a pixel and choose its statistics.
    EMDARKS_INLINE void read(Pixels p, const Charges &c) {
        for (Index i = 0; i < stacks_.size; ++i) {
            const CountedStack &s = stacks_[i];
            Observed &o = observed_[i];
            o.n = counts(d_.n, i, p);
            const Lanes lambda = c.C + s.time * c.D;
            const Lanes above = pick_counts(d_.above, i, p);
            o.kept = o.n - pick_counts(d_.beyond, i, p) - (s.low ? above : Lanes(0.0));
            o.modes = modes_of(s, lambda, o.n > 0.0, d_.nominal_noise);
            const Lanes kept = select(o.kept > 0.0, o.kept, 1.0);
            const Lanes low = pick_counts(d_.low, i, p), high = pick_counts(d_.high, i, p);
            const double *wing = &t_.wings(dark_, 3 * i);
            if (s.low)
                o.mean = {low / kept - t_.slope(dark_, i), 0.0, 0.0};
            else
                o.mean = {above / kept - wing[0], low / kept - wing[1], high / kept - wing[2]};
            o.plain = pick(d_.mean.row(i), p) - t_.mean_shift(dark_, i);
            o.kept = select(o.modes.counted() & (o.kept > 0.0), o.kept, 0.0);
        }
    }

    // One step; the first sets the weights.
    EMDARKS_INLINE Normal step(const Three &values, const Charges &c, bool first, bool last) {
        Normal normal;
        for (Index i = 0; i < stacks_.size; ++i) {
            const CountedStack &s = stacks_[i];
            Observed &o = observed_[i];
            const Lanes lambda = values.C + s.time * values.D;
            if (any(o.modes.counted())) {
                const Expected e = first ? first_expected(s, o, values.F, lambda, c)
                                         : expected(s, o, values.F, lambda);
                const Three residual = {o.mean.F - e.mean.F, o.mean.C - e.mean.C,
                                        o.mean.D - e.mean.D};
                normal.add(o.kept, o.W, o.V, residual, e, s.time, last);
            }
            if (any(o.modes.plain))
                add_plain(normal, s, o, values.F, lambda, c, i);
            normal.used += o.modes.number();
        }
        if (!dark_)
            normal.A.DD = 1.0;
        return normal;
    }

    EMDARKS_INLINE const CountedStack &stack(Index i) const { return stacks_[i]; }
    EMDARKS_INLINE const Observed &observed(Index i) const { return observed_[i]; }

    // Sets the weight of a stack; its residuals.
    EMDARKS_INLINE Three weigh(Index i, const Three &values, const Charges &c) {
        const CountedStack &s = stacks_[i];
        Observed &o = observed_[i];
        const Lanes lambda = values.C + s.time * values.D;
        const Expected e = weighted_expected<1>(s, o, values.F, lambda, c);
        return {o.mean.F - e.mean.F, o.mean.C - e.mean.C, o.mean.D - e.mean.D};
    }

private:
    const CountingData &d_;
    const CountingTerms &t_;
    bool dark_;
    Buffer<CountedStack> stacks_;
    Buffer<Observed> observed_;
    bool follows_ = false;

    // A pixel's C or D, shrunk to the level of the pool as far as its error asks for.
    EMDARKS_INLINE Lanes near_level(Pixels p, Index k, Lanes x) const {
        const double level = t_.level(dark_, k), spread = t_.spread(dark_, k);
        const double follow = t_.follow(dark_, k);
        if (!(follow * spread > 0.0))
            return level;
        const Lanes error2 = pick(d_.error2.row(k), p);
        const Lanes shrunk = level + follow * spread / (spread + error2) * (x - level);
        return larger(shrunk, 0.1 * level);
    }

    EMDARKS_INLINE Expected expected(const CountedStack &s, const Observed &o, Lanes F,
                                     Lanes lambda) const {
        const Lanes u = s.T - F, kept = within(lambda, LEAST_LAMBDA, MOST_LAMBDA);
        const Weights own(kept, s.law);
        const Tail at = law<0>(u, s.law, own, nullptr, nullptr);
        if (s.low)
            return expected_below(u, kept, at, s.law.g);
        return expected_counts(u, s.d, kept, at, o.end, s.law.g);
    }

    // Where errors follow no pixel, their charges are those of the weights.
    EMDARKS_INLINE Expected first_expected(const CountedStack &s, Observed &o, Lanes F,
                                           Lanes lambda, const Charges &c) const {
        return follows_ ? weighted_expected<2>(s, o, F, lambda, c)
                        : weighted_expected<1>(s, o, F, lambda, c);
    }

    template <int count>
    EMDARKS_INLINE Expected weighted_expected(const CountedStack &s, Observed &o, Lanes F,
                                              Lanes lambda, const Charges &c) const {
        const Lanes u = s.T - F, kept = within(lambda, LEAST_LAMBDA, MOST_LAMBDA);
        const Mask counted = o.modes.counted();
        const Lanes charges[] = {select(counted, c.C + s.time * c.D, 0.0),
                                 select(counted, c.error_C + s.time * c.error_D, 0.0)};
        const Weights own(kept, s.law);
        Weights others[count];
        for (int j = 0; j < count; ++j)
            others[j] = Weights(charges[j], s.law);
        SquaredTail at[count] = {}, end[count] = {};
        const Tail tail = law<count>(u, s.law, own, others, at);
        const auto variance = [&](int j) EMDARKS_INLINED {
            return s.low ? variance_below(u, charges[j], at[j], s.law)
                         : variance_of_counts(u, s.d, charges[j], at[j], end[j], s.law);
        };
        Expected e;
        if (s.low) {
            e = expected_below(u, kept, tail, s.law.g);
        } else {
            o.end = far_law<count>(u + s.d, s.law, own, others, end);
            e = expected_counts(u, s.d, kept, tail, o.end, s.law.g);
        }
        o.V = variance(count - 1);
        o.W = weight_of(variance(0), o.modes);
        return e;
    }

    // The mean of all samples below the flagging level A.
    EMDARKS_INLINE void add_plain(Normal &normal, const CountedStack &s, const Observed &o, Lanes F,
                                  Lanes lambda, const Charges &c, Index i) const {
        const double g = s.law.g, A = s.flagged, rays = t_.ray_variance(dark_, i);
        const Lanes for_weight = c.C + s.time * c.D, for_error = c.error_C + s.time * c.error_D;
        Lanes mean = F + g * lambda, by_lambda = g;
        const Lanes uA = A - F;
        const Mask cut = o.modes.plain & (lambda > 0.0) &
                         (uA < g * (lambda + 6.0 * square_root(2.0 * larger(lambda, 0.0)) + 12.0) +
                                   4.0 * s.law.rn);
        if (any(cut)) {
            const Lanes bound = smaller(smaller(lambda, 3.0 * for_weight + 1.0),
                                        MOST_CENSORED / (1.0 - s.law.none));
            const Weights own(select(cut, bound, 0.0), s.law);
            const Tail at = law<0>(select(cut, uA, A), s.law, own, nullptr, nullptr);
            const Lanes share = 1.0 / larger(1.0 - at.P, 1e-6);
            const Lanes below = (mean - at.H - A * at.P) * share;
            const Lanes slope = (g - at.dH - A * at.dP) * share + below * share * at.dP;
            mean = select(cut, below, mean);
            by_lambda = select(cut, larger(slope, 0.05 * g), by_lambda);
        }
        const Lanes weight = o.n / (s.law.variance(for_weight) + rays);
        const Lanes w = select(o.modes.plain, weight, 0.0);
        const Lanes n = select(o.n > 0.0, o.n, 1.0);
        normal.add(w, (s.law.variance(for_error) + rays) / n, o.plain - mean, by_lambda, s.time);
    }
};

// One round of the fit: some steps, and the errors at the last.
inline void counting_sweep(const CountingData &d, Range range, const CountingTerms &terms,
                           const CountingRound &a) {
    CountingFit outside(d, terms, false), inside(d, terms, true);
    over_pixels(d.imaging, range, [&](Pixels p) {
        CountingFit &fit = p.dark ? inside : outside;
        const Lanes group = convert<double>(load(a.group.at(p.at, p.count), p.count));
        if (!any((group != static_cast<double>(UNFITTED)) & p.there()))
            return;
        Three values = {pick(a.values.row(0), p), pick(a.values.row(1), p),
                        pick(a.values.row(2), p)};
        const auto charges = fit.charges(p, group >= static_cast<double>(HOT), values);
        fit.read(p, charges);
        for (Index step = 0; step < a.steps; ++step) {
            const bool last = step == a.steps - 1;
            const Normal normal = fit.step(values, charges, step == 0, last);
            const Inverse solve = inverse(normal.A);
            const Three by = solve * normal.b;
            values += by;
            if (!last)
                continue;
            const Lanes explained = by.F * normal.b.F + by.C * normal.b.C + by.D * normal.b.D;
            const double parameters = p.dark ? 3.0 : 2.0;
            const Lanes dof = normal.used - parameters;
            const auto known = [&](Lanes x) { return select(solve.full, x, NOT_A_NUMBER); };
            put(a.chi2, p, select(dof > 0.0, known((normal.chi2 - explained) / dof), NOT_A_NUMBER));
            Symmetric inverse_normal = solve;
            if (!p.dark)
                inverse_normal.DD = 0.0;
            inverse_normal.FF = known(inverse_normal.FF);
            put_matrix(a.naive, p, inverse_normal);
            put_matrix(a.covariance, p, sandwich(inverse_normal, normal.B));
        }
        put(a.values, p, values);
    });
}

// Sums over the ordinary pixels of each region, from which the nuisance terms follow.
inline void counting_pools(const CountingData &d, Range range, const CountingTerms &terms,
                           const CountingPools &a) {
    CountingFit fits[] = {CountingFit(d, terms, false), CountingFit(d, terms, true)};
    const Index stacks = d.gain.size;
    struct Sums {
        Lanes each[COUNTING_POOLS];
    };
    Buffer<Sums> sums(2 * stacks);
    for (Index i = 0; i < 2 * stacks; ++i)
        sums[i] = {};
    over_pixels(d.imaging, range, [&](Pixels p) {
        CountingFit &fit = fits[p.dark];
        const Lanes group = convert<double>(load(a.group.at(p.at, p.count), p.count));
        const Mask ordinary = (group == (p.dark ? 1.0 : 0.0)) & p.there();
        if (!any(ordinary))
            return;
        const Mask far = ordinary & (convert<double>(load(a.far.at(p.at, p.count), p.count)) > 0.0);
        const Three values = {pick(a.values.row(0), p), pick(a.values.row(1), p),
                              pick(a.values.row(2), p)};
        const auto charges = fit.charges(p, Mask(0), values);
        fit.read(p, charges);
        for (Index i = 0; i < stacks; ++i) {
            const CountedStack &s = fit.stack(i);
            const Lanes lambda = values.C + s.time * values.D;
            const Observed &o = fit.observed(i);
            const Mask there = ordinary & (o.n > 0.0), near = far & (o.n > 0.0);
            Lanes *to = sums[(p.dark ? stacks : 0) + i].each;
            const auto add = [](Lanes &sum, Mask where, Lanes x) { sum += select(where, x, 0.0); };
            add(to[0], there, 1.0);
            add(to[1], there, lambda);
            add(to[2], there, pick(d.mean.row(i), p) - values.F - s.law.g * lambda);
            add(to[3], there & (o.n > 1.0), pick(d.m2.row(i), p));
            add(to[4], there & (o.n > 1.0), o.n - 1.0);
            if (s.low) {
                const Lanes residual = fit.weigh(i, values, charges).F;
                const Lanes w = o.kept * o.W.FF;
                add(to[5], there, w);
                add(to[6], there, w * residual);
                continue;
            }
            add(to[7], near, o.n - pick_counts(d.beyond, i, p));
            add(to[8], near, pick_counts(d.above, i, p));
            add(to[9], near, pick_counts(d.low, i, p));
            add(to[10], near, pick_counts(d.high, i, p));
            add(to[11], near, pick_counts(d.near, i, p));
            add(to[12], near, pick_counts(d.near_above, i, p));
        }
    });
    for (Index i = 0; i < 2 * stacks; ++i)
        for (Index k = 0; k < COUNTING_POOLS; ++k)
            a.out(i, k) = sum(sums[i].each[k]);
}

// Statistics of one sample, their derivatives and variances, for tests and for pooled equations.
inline void counting_statistics(const CountingStatistics &a) {
    const Register k(a.gain, a.read_noise, a.electron.data);
    for (Index i = 0; i < a.u.size; i += WIDTH) {
        const Index count = a.u.size - i < WIDTH ? a.u.size - i : WIDTH;
        const Lanes u = load(a.u.at(i, count), count), lambda = load(a.lambda.at(i, count), count);
        SquaredTail at_u, at_end;
        const Weights own(lambda, k);
        const Tail at = law<1>(u, k, own, &own, &at_u);
        const Tail end = far_law<1>(u + a.distance, k, own, &own, &at_end);
        const bool low = !(a.distance > 0.0);
        const Expected e = low ? expected_below(u, lambda, at, k.g)
                               : expected_counts(u, a.distance, lambda, at, end, k.g);
        const Symmetric V = low ? variance_below(u, lambda, at_u, k)
                                : variance_of_counts(u, a.distance, lambda, at_u, at_end, k);
        const Lanes all[] = {
            at.p,          at.P,     at.H,     at_u.Q,   at.dP,    at.dH,         e.mean.F,
            e.mean.C,      e.mean.D, e.by_F.F, e.by_F.C, e.by_F.D, e.by_lambda.F, e.by_lambda.C,
            e.by_lambda.D, V.FF,     V.FC,     V.FD,     V.CC,     V.CD,          V.DD};
        static_assert(sizeof all / sizeof *all == sizeof COUNTING_STATISTICS / sizeof(char *));
        for (Index j = 0; j < a.out.rows; ++j)
            store(a.out.row(j).at(i, count), all[j], count);
    }
}

} // namespace emdarks::EMDARKS_LEVEL
