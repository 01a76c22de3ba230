// What the counting estimator takes.
#pragma once

#include "fit.hpp"

namespace emdarks {

// What one electron becomes is a mixture of sums of up to so many exponentials.
inline constexpr Index MOST_EXPONENTIALS = 4;

// Stacks with their counts and clipped sums; gains as the law has them and as they were commanded,
// read noise likewise; levels from which on samples may be flagged.
struct CountingData {
    Array1<const double> gain, commanded, time, T, T2, flagged;
    Array1<const bool> is_low;
    Array2<const double> electron;
    double read_noise, nominal_noise;
    Unsigned n;
    Array2<const double> mean, m2;
    Array2<const std::uint16_t> above, beyond, near, near_above;
    Array2<const float> low, high;
    Array1<const bool> imaging;
    Array2<const double> error2; // of C and D, from the last round
};

// Numbers that the pixels of a region share, the rest of the frame first, then the imaging area:
// C and D, the variance of their true values, and how far errors follow the pixel, (2, 2); by
// stack, (2, stacks): charge of rays below T, what rays add to plain means, and to their variance;
// wings of K, LO and HI, (2, 3 stacks).
struct CountingTerms {
    Array2<const double> level, spread, follow;
    Array2<const double> slope, mean_shift, ray_variance, wings;
};

struct CountingRound {
    Array1<const std::int8_t> group;
    Index steps;
    Array2<double> values, naive, covariance;
    Array1<double> chi2;
};

inline constexpr const char *COUNTING_POOL_NAMES[] = {
    "pixels", "charge", "excess", "m2",   "dof",  "weight",    "residual",
    "kept",   "above",  "low",    "high", "near", "near_above"};
inline constexpr Index COUNTING_POOLS =
    sizeof(COUNTING_POOL_NAMES) / sizeof(COUNTING_POOL_NAMES[0]);

struct CountingPools {
    Array1<const std::int8_t> group, far;
    Array2<const double> values;
    Array2<double> out;
};

inline constexpr const char *COUNTING_STATISTICS[] = {
    "p",    "P",   "H",    "Q",    "dP",   "dH",   "K",    "LO",   "HI",   "K_F", "LO_F",
    "HI_F", "K_l", "LO_l", "HI_l", "V_KK", "V_KL", "V_KH", "V_LL", "V_LH", "V_HH"};

struct CountingStatistics {
    Array1<const double> u, lambda;
    double distance, gain, read_noise;
    Array1<const double> electron;
    Array2<double> out;
};

} // namespace emdarks
