// What the fits take.
#pragma once

#include "arrays.hpp"

namespace emdarks {

// Smallest pivot, of 1, at which columns scaled to unit length still count as independent: the
// design may come within 1e-4 of rank 2.
inline constexpr double PIVOT = 1e-8;

// Groups of pixels: 0 outside and 1 inside the imaging area, HOT more where hot.
inline constexpr int HOT = 2, UNFITTED = -1;

// Weights of the means: 1, n, the inverse of the pool's variance, n squared.
enum Weighting : std::int64_t { EQUAL, COUNTS, POOLED, SQUARES };

// Planes of unsigned integers of 1, 2, 4 or 8 bytes.
struct Unsigned {
    char *data = nullptr;
    Index rows = 0, cols = 0;
    int width = 0;

    EMDARKS_INLINE char *at(Index i, Index p, Index count = 1) const {
        check_bounds(i, rows);
        check_bounds(p, cols);
        check_bounds(p + count - 1, cols);
        return data + (i * cols + p) * width;
    }
    // Native words begin with their low bytes.
    EMDARKS_INLINE std::uint64_t get(Index i, Index p) const {
        std::uint64_t word = 0;
        __builtin_memcpy(&word, at(i, p), static_cast<std::size_t>(width));
        return word;
    }
    EMDARKS_INLINE void set(Index i, Index p, std::uint64_t word) const {
        __builtin_memcpy(at(i, p), &word, static_cast<std::size_t>(width));
    }
};

// Stacks to be fitted: settings and moments, by stack and pixel; err2 may be missing.
struct FitData {
    Array1<const double> gain, time;
    Unsigned n, flags;
    Array2<const double> mean, m2, err2;
    Array1<const bool> imaging;
    // Whether C and D are fitted; D in the imaging area, or everywhere.
    bool has_c, has_d, d_everywhere;
};

// Pixels from lo up to hi.
struct Range {
    Index lo, hi;
};

// Maps of F, C and D; of each pair; quality.
struct FitMaps {
    Array2<double> values, errors, correlations;
    Array1<double> chi2, r_squared;
};

struct ReferenceFit {
    Array1<const double> single, floor;
    bool weighted;
    FitMaps maps;
    Array1<double> residual_variance;
    Array1<std::int16_t> stacks_used;
    Unsigned dq;
    Array2<double> derivatives;
};

struct Survey {
    Array1<std::int8_t> group;
    Array1<std::int16_t> stacks_used;
    Unsigned dq;
    Array2<double> pools;
};

// Noise by region, and by stack or by C and D; charge of hot pixels above the pool.
struct NoiseTables {
    Array2<const double> v;
    Array1<const double> kappa;
    Array1<const std::int64_t> kind;
    Array2<const double> floor, prior_mean, intrinsic, onset;
    Array1<const std::int64_t> hot;
    Array2<const double> excess;
};

struct FirstFit {
    Array2<const double> v0;
    Array2<double> values, scale, jump;
};

struct SecondFit {
    Array1<const std::int8_t> group;
    const NoiseTables &noise;
    Array2<double> values, own, slopes;
};

struct FinalFit {
    Array1<const std::int8_t> group;
    const NoiseTables &noise;
    double gain_error;
    Array1<const std::int16_t> stacks_used;
    FitMaps maps;
    Array2<double> derivatives;
};

} // namespace emdarks
