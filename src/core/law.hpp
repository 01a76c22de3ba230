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
//
// This is the law of infinitely many stages. What one electron becomes in fewer is a mixture of the
// same sums, of 0 to 4 exponentials, whose weights h_n are received (one_electron.py). Of a
// Poisson number of electrons, the weights of n exponentials are then (Panjer 1981, ASTIN Bulletin
// 12, 22)
//
//     w_0 = exp(lambda (h_0 - 1)),  n w_n = lambda sum_j j h_j w_{n-j},
//
// and what p_n brings to dP/dlambda is g sum_j (h_j + h_{j+1} + ...) w_{n-j}.
//
// The series ends at some n. So that what is left out does not matter, low thresholds take what
// lies below them, P_n - 1, E (u - x)+ and -E (u - x)+^2: the same recursions, from another
// beginning.
#pragma once

#include "lanes.hpp"

namespace emdarks::EMDARKS_LEVEL {

template <class To, class From> EMDARKS_INLINE To bits_of(From from) {
    To to;
    static_assert(sizeof to == sizeof from);
    __builtin_memcpy(&to, &from, sizeof to);
    return to;
}

// Neighbouring terms are joined first (Estrin's scheme): a processor works on several at a time.
template <Index count> EMDARKS_INLINE Lanes polynomial(const double (&c)[count], Lanes x) {
    Lanes terms[(count + 1) / 2];
    for (Index i = 0; i < count / 2; ++i)
        terms[i] = x * c[2 * i + 1] + c[2 * i];
    if constexpr (count % 2 == 1)
        terms[count / 2] = c[count - 1];
    Index left = (count + 1) / 2;
    for (Lanes power = x * x; left > 1; left = (left + 1) / 2, power = power * power)
        for (Index i = 0; 2 * i < left; ++i)
            terms[i] = 2 * i + 1 < left ? terms[2 * i + 1] * power + terms[2 * i] : terms[2 * i];
    return terms[0];
}

// e^x within 1e-12, x cut to -700..700.
EMDARKS_INLINE Lanes exponential(Lanes x) {
    constexpr double log2_e = 0x1.71547652b82fep+0;
    constexpr double ln2_high = 0x1.62e42fee00000p-1, ln2_low = 0x1.a39ef35793c76p-33;
    // Added to a number, it leaves the nearest whole number in the low bits.
    constexpr double shifter = 0x1.8p52;
    static constexpr double taylor[] = {1.0,         1.0,          1.0 / 2,      1.0 / 6,
                                        1.0 / 24,    1.0 / 120,    1.0 / 720,    1.0 / 5040,
                                        1.0 / 40320, 1.0 / 362880, 1.0 / 3628800};
    x = smaller(larger(x, -700.0), 700.0);
    const Lanes shifted = x * log2_e + shifter, k = shifted - shifter;
    const Lanes y = polynomial(taylor, (x - k * ln2_high) - k * ln2_low);
    const Mask power =
        Mask::each([](auto word) { return word << 52; }, bits_of<Mask>(shifted) + 1023);
    return y * bits_of<Lanes>(power);
}

// Mills' ratio Q(y) / phi(y) for y >= 0 within 1e-11: a polynomial in (y - k) / (y + k), over
// y + k.
EMDARKS_INLINE Lanes mills(Lanes y) {
    constexpr double k = 4.0;
    static constexpr double c[] = {
        1.8932190633033956,      -1.5237709107616433,     0.97040955553643926,
        -0.46754096582828392,    0.15139174777777495,     -0.01890041070278458,
        -0.0087221735309773746,  0.0040875986732787752,   0.00033373439505043635,
        -0.00057839088675165759, -3.5840070640863505e-06, 8.6371801487190354e-05,
        1.3529335797385039e-07,  -1.2870641180357208e-05, -2.0414118984724677e-07,
        1.3037180493567079e-06};
    const Lanes over = 1.0 / (y + k);
    return polynomial(c, (y - k) * over) * over;
}

EMDARKS_INLINE Lanes absolute(Lanes x) { return select(x < 0.0, -x, x); }

// What the law of a stack is made of.
struct Register {
    double g, rn, a, r2; // gain, read noise, rn/g, rn^2/g
    bool recursive;      // whether the recursion holds
    double terms;        // of the series, where there is hardly any charge; of low gain each
                         // electron adds little
    double none;         // h_0
    double moments[MOST_EXPONENTIALS], tails[MOST_EXPONENTIALS]; // j h_j, sum_{i >= j} h_i from 1
    double squares;                                              // of one electron, over g^2

    Register(double gain, double read_noise, const double *h)
        : g(gain), rn(read_noise), a(rn / g), r2(rn * rn / g), recursive(g > rn / 4.0),
          terms(!recursive    ? 1.0
                : h[1] == 1.0 ? 3.0
                              : 4.0),
          none(h[0]), squares(0.0) {
        double tail = 0.0;
        for (Index j = MOST_EXPONENTIALS; j > 0; --j) {
            tail += h[j];
            tails[j - 1] = tail;
            moments[j - 1] = static_cast<double>(j) * h[j];
            squares += static_cast<double>(j * (j + 1)) * h[j];
        }
    }

    // Variance of a sample.
    EMDARKS_INLINE Lanes variance(Lanes lambda) const { return rn * rn + squares * g * g * lambda; }
};

inline constexpr double INVERSE_ROOT_2PI = 0.3989422804014327;

// g p_1 at u, where density = phi(u / rn).
EMDARKS_INLINE Lanes one_electron(Lanes z, Lanes density, const Register &k) {
    const Lanes y = k.a - z, m = density * mills(absolute(y));
    const Mask above = y <= 0.0;
    return any(above) ? select(above, exponential(k.a * (0.5 * k.a - z)) - m, m) : m;
}

EMDARKS_INLINE Lanes normal_density(Lanes z) {
    return exponential(z * z * -0.5) * INVERSE_ROOT_2PI;
}

// Mixtures over the number of exponentials: density, probability and mean excess, and how the
// latter two follow lambda.
struct Tail {
    Lanes p, P, H, dP, dH;
};
// The same for another lambda, with the mean squared excess.
struct SquaredTail {
    Lanes P, H, Q;
};

EMDARKS_INLINE double largest_of(Lanes x) {
    double top = x[0];
    for (Index i = 1; i < WIDTH; ++i)
        top = x[i] > top ? x[i] : top;
    return top;
}

// Weights of n exponentials, term after term, up to a number beyond which they do not matter. The
// lane that needs most terms decides how many are taken; to the others, they add 0.
class Weights {
public:
    Lanes w; // of the present n

    Weights() = default;
    EMDARKS_INLINE Weights(Lanes mean, const Register &k)
        : w(exponential(mean * (k.none - 1.0))), k_(&k), lambda_(mean), before_{} {
        const Lanes size = absolute(mean);
        last_ = k.terms + 4.0 * size + 3.5 * square_root(size);
        most_ = largest_of(last_);
    }
    EMDARKS_INLINE double most() const { return most_; }
    EMDARKS_INLINE Lanes lambda() const { return lambda_; }
    // What sum_n w_n P_n gains with lambda at n, over g p_n; before the step to n.
    EMDARKS_INLINE Lanes rise(double n) const { return select(last_ >= n, recent(k_->tails), 0.0); }
    EMDARKS_INLINE void step(double n) {
        const Lanes next = recent(k_->moments) * select(last_ >= n, lambda_ * (1.0 / n), 0.0);
        for (Index j = MOST_EXPONENTIALS - 2; j > 0; --j)
            before_[j] = before_[j - 1];
        before_[0] = w;
        w = next;
    }

private:
    const Register *k_;
    Lanes lambda_, last_, before_[MOST_EXPONENTIALS - 1];
    double most_;

    EMDARKS_INLINE Lanes recent(const double *by) const {
        Lanes sum = w * by[0];
        for (Index j = 1; j < MOST_EXPONENTIALS; ++j)
            sum += before_[j - 1] * by[j];
        return sum;
    }
};

// Of n electrons at a threshold u, from n = 0 on.
struct Electrons {
    Lanes before, p, P, H, Q; // before: the density of n - 1, while p is that of n
};

// No electron, and the density of one.
EMDARKS_INLINE Electrons begin_electrons(Lanes u, const Register &k) {
    const Lanes z = u * (1.0 / k.rn), density = normal_density(z);
    const Lanes half = density * mills(absolute(z)), P = select(z > 0.0, half, 1.0 - half);
    return {density * (1.0 / k.rn), one_electron(z, density, k) * (1.0 / k.g), P,
            k.rn * density - u * P, (k.rn * k.rn + u * u) * P - u * (k.rn * density)};
}

// The same so far out, in read noises, that without electrons nothing is there.
inline constexpr double FAR_OUT = 15.0;
EMDARKS_INLINE Electrons begin_far_electrons(Lanes u, const Register &k) {
    const Lanes z = u * (1.0 / k.rn);
    return {0.0, exponential(k.a * (0.5 * k.a - z)) * (1.0 / k.g), 0.0, 0.0, 0.0};
}

// Thresholds below so many gains are low ones.
inline constexpr double LOW_THRESHOLD = 2.0;

// The law at u for the first of some lambdas, and squares for the others.
template <int count>
EMDARKS_INLINE Tail law_from(Electrons e, Lanes u, const Register &k, Weights own,
                             const Weights *given, SquaredTail *squared) {
    const Lanes below = select(u < LOW_THRESHOLD * k.g, 1.0, 0.0);
    e.P -= below;
    e.H += below * u;
    e.Q -= below * (k.rn * k.rn + u * u);
    Tail tail = {own.w * e.before, own.w * e.P, own.w * e.H, 0.0, 0.0};
    double last = own.most();
    Weights others[count + 1];
    for (int j = 0; j < count; ++j) {
        others[j] = given[j];
        squared[j] = {others[j].w * e.P, others[j].w * e.H, others[j].w * e.Q};
        last = others[j].most() > last ? others[j].most() : last;
    }
    for (double n = 1.0; n <= last; n += 1.0) {
        if (!k.recursive && n > 1.0) {
            const Lanes z = (u - (n - 1.0) * k.g) * (1.0 / k.rn);
            e.p = one_electron(z, normal_density(z), k) * (1.0 / k.g);
        }
        const Lanes gp = k.g * e.p;
        e.P += gp;
        const Lanes gP = k.g * e.P;
        e.H += gP;
        const Lanes rise = own.rise(n);
        tail.dP += rise * gp;
        tail.dH += rise * gP;
        own.step(n);
        tail.p += own.w * e.p;
        tail.P += own.w * e.P;
        tail.H += own.w * e.H;
        if constexpr (count > 0)
            e.Q += 2.0 * k.g * e.H;
        for (int j = 0; j < count; ++j) {
            others[j].step(n);
            squared[j].P += others[j].w * e.P;
            squared[j].H += others[j].w * e.H;
            squared[j].Q += others[j].w * e.Q;
        }
        const double over = 1.0 / (n * k.g);
        const Lanes next = (u - k.r2) * over * e.p + k.r2 * over * e.before;
        e.before = e.p;
        e.p = next;
    }
    tail.P += below;
    tail.H += below * (k.g * own.lambda() - u);
    tail.dH += below * k.g;
    for (int j = 0; j < count; ++j) {
        const Lanes above = k.g * others[j].lambda() - u;
        squared[j].P += below;
        squared[j].H += below * above;
        squared[j].Q += below * (k.variance(others[j].lambda()) + above * above);
    }
    return tail;
}

template <int count>
EMDARKS_INLINE Tail law(Lanes u, const Register &k, const Weights &own, const Weights *others,
                        SquaredTail *squared) {
    return law_from<count>(begin_electrons(u, k), u, k, own, others, squared);
}

// The same where u is most likely far out.
template <int count>
EMDARKS_INLINE Tail far_law(Lanes u, const Register &k, const Weights &own, const Weights *others,
                            SquaredTail *squared) {
    const bool far = k.a < 1.0 && !any(u <= FAR_OUT * k.rn);
    return law_from<count>(far ? begin_far_electrons(u, k) : begin_electrons(u, k), u, k, own,
                           others, squared);
}

} // namespace emdarks::EMDARKS_LEVEL
