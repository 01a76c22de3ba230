// The law of one sample: Gaussian read noise and the gain of every electron.
//
// x = rn Z + Y, where Y is the sum of n exponentials of mean g and n is a Poisson number of mean
// lambda: Basden, Haniff & Mackay (2003), MNRAS 345, 985; Harpsoe, Andersen & Kjaegaard (2012),
// A&A 537, A50; Hirsch et al. (2013), PLoS ONE 8, e53671. Of n electrons, at a threshold u above
// the level without charge,
//
//     p_n = density at u,  P_n = P(x > u),  H_n = E (x - u)+,  Q_n = E (x - u)+^2,
//
//     p_1 = exp(a^2/2 - a z) Phi(z - a) / g,   a = rn/g, z = u/rn
//     p_{n+1} = ((u - rn^2/g) p_n + rn^2/g p_{n-1}) / (n g)
//     P_n = P_{n-1} + g p_n,  H_n = H_{n-1} + g P_n,  Q_n = Q_{n-1} + 2 g H_n.
//
// For gains below rn/4 the register hardly widens the noise, and p_n(u) = p_1(u - (n - 1) g).
#pragma once

#include "lanes.hpp"

namespace emdarks::EMDARKS_LEVEL {

template <class To, class From> EMDARKS_INLINE To bits_of(From from) {
    To to;
    static_assert(sizeof to == sizeof from);
    __builtin_memcpy(&to, &from, sizeof to);
    return to;
}

template <Index count> EMDARKS_INLINE Lanes polynomial(const double (&c)[count], Lanes x) {
    Lanes y = c[count - 1];
    for (Index i = count - 2; i >= 0; --i)
        y = y * x + c[i];
    return y;
}

// e^x within some 1e-15, x cut to -700..700.
EMDARKS_INLINE Lanes exponential(Lanes x) {
    constexpr double log2_e = 0x1.71547652b82fep+0;
    constexpr double ln2_high = 0x1.62e42fee00000p-1, ln2_low = 0x1.a39ef35793c76p-33;
    // Added to a number, it leaves the nearest whole number in the low bits.
    constexpr double shifter = 0x1.8p52;
    static constexpr double taylor[] = {1.0,
                                        1.0,
                                        1.0 / 2,
                                        1.0 / 6,
                                        1.0 / 24,
                                        1.0 / 120,
                                        1.0 / 720,
                                        1.0 / 5040,
                                        1.0 / 40320,
                                        1.0 / 362880,
                                        1.0 / 3628800,
                                        1.0 / 39916800,
                                        1.0 / 479001600};
    x = smaller(larger(x, -700.0), 700.0);
    const Lanes shifted = x * log2_e + shifter, k = shifted - shifter;
    const Lanes y = polynomial(taylor, (x - k * ln2_high) - k * ln2_low);
    const Mask power =
        Mask::each([](auto word) { return word << 52; }, bits_of<Mask>(shifted) + 1023);
    return y * bits_of<Lanes>(power);
}

// Mills' ratio Q(y) / phi(y) for y >= 0 within 1e-13: a polynomial in (y - k) / (y + k), over
// y + k.
EMDARKS_INLINE Lanes mills(Lanes y) {
    constexpr double k = 4.5;
    static constexpr double c[] = {
        1.9131352239783124,      -1.6048882049020103,     1.11909050252642,
        -0.6345323931951089,     0.27919476605048088,     -0.084902824827772935,
        0.010587026301681263,    0.004383675627281999,    -0.0023004333100821333,
        1.5962688493122629e-05,  0.0002807881566484598,   -3.9855490674394586e-05,
        -3.5540474672844083e-05, 7.8694577185405975e-06,  5.1600526519825246e-06,
        -1.1391920008444521e-06, -7.5806298157905392e-07, 1.0087424529095996e-07,
        7.3741440039994374e-08};
    const Lanes over = 1.0 / (y + k);
    return polynomial(c, (y - k) * over) * over;
}

EMDARKS_INLINE Lanes absolute(Lanes x) { return select(x < 0.0, -x, x); }

// What the law of a stack is made of.
struct Register {
    double g, rn, a, r2; // gain, read noise, rn/g, rn^2/g
    bool recursive;      // whether the recursion holds

    Register(double gain, double read_noise)
        : g(gain), rn(read_noise), a(rn / g), r2(rn * rn / g), recursive(g > rn / 4.0) {}
};

inline constexpr double INVERSE_ROOT_2PI = 0.3989422804014327;

// g p_1 at u, where density = phi(u / rn).
EMDARKS_INLINE Lanes one_electron(Lanes z, Lanes density, const Register &k) {
    const Lanes y = k.a - z, m = density * mills(absolute(y));
    return select(y > 0.0, m, exponential(k.a * (0.5 * k.a - z)) - m);
}

EMDARKS_INLINE Lanes normal_density(Lanes z) {
    return exponential(z * z * -0.5) * INVERSE_ROOT_2PI;
}

// Mixtures over the number of electrons: density, probability and mean excess, and how the latter
// two follow lambda.
struct Tail {
    Lanes p, P, H, dP, dH;
};
// The same for another lambda, with the mean squared excess.
struct SquaredTail {
    Lanes P, H, Q;
};

// Poisson weights, term after term. Terms that do not matter count as 0: how many are taken is up
// to the lane that needs most, and changes no other.
struct Weights {
    Lanes lambda, w, last;

    Weights() = default;
    EMDARKS_INLINE explicit Weights(Lanes mean) : lambda(mean), w(exponential(-mean)) {
        const Lanes size = absolute(mean);
        last = 7.0 + 4.0 * size + 5.0 * square_root(size);
    }
    EMDARKS_INLINE void cut(double n) { w = select(last >= n, w, 0.0); }
    EMDARKS_INLINE void step(double n) { w *= lambda * (1.0 / n); }
};

EMDARKS_INLINE double largest_of(Lanes x) {
    double top = x[0];
    for (Index i = 1; i < WIDTH; ++i)
        top = x[i] > top ? x[i] : top;
    return top;
}

// The law at u for `lambda`, and for `count` others.
template <int count>
EMDARKS_INLINE Tail law(Lanes u, const Register &k, Lanes lambda, const Lanes *others,
                        SquaredTail *squared) {
    const Lanes z = u * (1.0 / k.rn), density = normal_density(z);
    const Lanes half = density * mills(absolute(z));
    // Of n electrons, from n = 0 on.
    Lanes previous = density * (1.0 / k.rn), P = select(z > 0.0, half, 1.0 - half);
    Lanes H = k.rn * density - u * P, Q = (k.rn * k.rn + u * u) * P - u * (k.rn * density);
    Weights own(lambda);
    Tail tail = {own.w * previous, own.w * P, own.w * H, 0.0, 0.0};
    Weights weights[count + 1];
    double last = largest_of(own.last);
    for (int j = 0; j < count; ++j) {
        weights[j] = Weights(others[j]);
        squared[j] = {weights[j].w * P, weights[j].w * H, weights[j].w * Q};
        const double own_last = largest_of(weights[j].last);
        last = own_last > last ? own_last : last;
    }
    Lanes p = one_electron(z, density, k) * (1.0 / k.g);
    for (double n = 1.0; n <= last; n += 1.0) {
        if (!k.recursive && n > 1.0) {
            const Lanes shifted = (u - (n - 1.0) * k.g) * (1.0 / k.rn);
            p = one_electron(shifted, normal_density(shifted), k) * (1.0 / k.g);
        }
        const Lanes gp = k.g * p;
        P += gp;
        const Lanes gP = k.g * P;
        H += gP;
        own.cut(n);
        tail.dP += own.w * gp;
        tail.dH += own.w * gP;
        own.step(n);
        tail.p += own.w * p;
        tail.P += own.w * P;
        tail.H += own.w * H;
        if constexpr (count > 0)
            Q += 2.0 * k.g * H;
        for (int j = 0; j < count; ++j) {
            weights[j].cut(n);
            weights[j].step(n);
            squared[j].P += weights[j].w * P;
            squared[j].H += weights[j].w * H;
            squared[j].Q += weights[j].w * Q;
        }
        const Lanes next = ((u - k.r2) * p + k.r2 * previous) * (1.0 / (n * k.g));
        previous = p;
        p = next;
    }
    return tail;
}

} // namespace emdarks::EMDARKS_LEVEL
