// All kernels of the core: what each takes, and the table that an instruction level fills.
#pragma once

#include "counting_fit.hpp"
#include "fit.hpp"
#include "raw.hpp"

namespace emdarks {

// Words of `width` bytes, which become native ones in place.
struct Words {
    void *data;
    Index size;
    Stored stored;
};

// The sums of a stack. Per pixel, over the good samples x_j (finite, no masking flag) with
// errors s_j: their number n, the mean, M2 = sum (x_j - mean)^2, err2 = sum s_j^2 (none where no
// frame has errors), the OR of all flags (masked samples included; 1 where x_j or s_j is not
// finite), and the largest x_j, ascending (only where samples are screened).
//
// n has 16 or 32 bits, flags have 16, 32 or 64.
struct Moments {
    void *n = nullptr;
    int n_width = 0;
    Array1<double> mean, m2, err2;
    void *flags = nullptr;
    int flags_width = 0;
    Array2<double> top;
};

// The same while frames are added: about the pixel's first good sample K (NaN while there is
// none), sum (x - K) and sum (x - K)^2. That needs no division and loses no digits to a large
// level.
struct OpenSums {
    Array1<std::uint16_t> n; // a block has fewer frames
    Array1<double> first, shifted, squares, err2;
    void *flags = nullptr;
    // n and shifted as they were when the frames of the open plane of `SequenceMeans` began.
    Array1<std::uint16_t> n_before;
    Array1<double> shifted_before;
};

// Means of every `length` frames, a plane each, and the numbers of good samples in them. They are
// differences of the open sums, which they leave as they are.
struct SequenceMeans {
    Array2<float> mean; // (planes, pixels)
    Array2<std::uint8_t> n;
    Index length = 0, first = 0; // frames of a plane; frames added before the batch

    EMDARKS_INLINE explicit operator bool() const { return length > 0; }
    // Frames from number f of the batch on that belong to one plane.
    EMDARKS_INLINE Index left(Index f) const { return length - (first + f) % length; }
};

// How far a core reaches, rows and columns: the samples so near may hold charge of its cosmic ray.
inline constexpr Index CORE_REACH = 2;

// Counts and clipped sums of a stack, by pixel; see counts.hpp.
struct CountingSums {
    Array1<std::uint16_t> above, beyond, near, near_above; // K, R, nc, Kc
    Array1<double> low, high;                              // LO, HI
    double T = 0.0, T2 = 0.0, T3 = 0.0;
    Index telemetry[2] = {0, 0}; // rows without signal, first and last-plus-one

    EMDARKS_INLINE bool is_telemetry(Index row) const {
        return row >= telemetry[0] && row < telemetry[1];
    }
    EMDARKS_INLINE explicit operator bool() const { return static_cast<bool>(above); }
};

// Numbers of good samples x above a threshold T, by pixel; of x + s and x - s, with s the error of
// the sample, where these are asked for.
struct CountsAbove {
    Array1<std::uint16_t> above, plus, minus;
    double T = 0.0;

    EMDARKS_INLINE explicit operator bool() const { return static_cast<bool>(above); }
};

// Bins of the histogram: even ones, then eighths of octaves.
inline constexpr Index LINEAR_BINS = 96, OCTAVE_BINS = 96, ALL_BINS = LINEAR_BINS + OCTAVE_BINS;

// Numbers of good samples by value, in the imaging area and in the rest of the frame without
// telemetry rows.
struct Histogram {
    Array2<std::int64_t> counts; // (2, bins): imaging area, rest
    double start = 0.0, width = 1.0;
    Index every = 1, first = 0; // of how many frames one is used; number of the first of the batch
    bool by_rows = false;       // one row of so many of each frame instead, in turn
    Index area[2] = {0, 0}, telemetry[2] = {0, 0}; // rows

    EMDARKS_INLINE bool uses_any_of(Index frame) const { return by_rows || frame % every == 0; }
    EMDARKS_INLINE bool uses(Index frame, Index row) const {
        return (row < telemetry[0] || row >= telemetry[1]) &&
               (!by_rows || (frame + row) % every == 0);
    }
};

// Figures of one row of one frame, taken while its pixels are in the cache. Rows are added up in
// order afterwards, so that the result does not depend on how a frame was cut into runs.
struct RowFigures {
    double good;         // unmasked samples of the imaging area
    double masked;       // masked samples of the imaging area
    double saturated;    // samples of the imaging area with the saturation flag
    double sum;          // of the good samples
    double squares;      // of the good samples
    double prescan_good; // the same of the reliable prescan columns
    double prescan_sum;
    double content;    // weighted sum of every 31st sample of the row: copies of a frame share it
    double not_finite; // samples of the row that are no numbers, or whose errors are none
    double highest;    // of the good samples of the imaging area; minus infinity if there is none
    double at_highest; // good samples of the imaging area that have this very value
};
inline constexpr const char *ROW_FIGURES[] = {
    "good",        "masked",  "saturated",  "sum",     "squares",   "prescan_good",
    "prescan_sum", "content", "not_finite", "highest", "at_highest"};
static_assert(sizeof(RowFigures) == sizeof(ROW_FIGURES) / sizeof(ROW_FIGURES[0]) * sizeof(double));

// Bytes that are looked at together.
inline constexpr Index MARKS = 64;
// Frames that are read before they are added.
inline constexpr Index GROUP = 4;
// One thread's buffers for a run of pixels, whole rows.
struct Room {
    void *data;                     // a frame's image as stored, if that is not a real number
    void *err;                      // its errors as stored
    void *dq;                       // its flags as stored
    void *values[GROUP];            // images as native real numbers
    void *errors;                   // errors as native real numbers
    Array1<std::uint16_t> bad;      // 1 where a sample of the row does not count
    Array1<std::int32_t> saturated; // columns of the row of a raw frame
    Array1<std::uint8_t> cores;     // 1 where a row has one; CORE_REACH columns more on both sides
    // Rows of bytes, a multiple of MARKS, 0 behind the row: 1 where a row of the run, or
    // beside it, has a core within reach; and those of several rows. Which rows have any.
    Array1<std::uint8_t> near, beside;
    Array1<bool> has_core;
    OpenSums sums; // of the run
};

// A band of rows of every frame of a batch, to be added to open sums.
struct Band {
    // Frames: descriptors; where image, err and dq start (3, frames); factors to the unit of sums.
    Array1<const std::int32_t> files;
    Array2<const std::int64_t> offsets;
    Array1<const double> scales;
    Stored data, err, dq;
    const RowCalibration *const *calibrations; // of each frame where they are raw, or none
    std::uint64_t mask;                        // flags that exclude a sample
    // First and last-plus-one pixel of the band and of a run, columns of a row.
    Index lo, hi, run, cols;
    // Sums of the whole frame, where batches came before or will follow; else those of the room.
    OpenSums sums;
    bool whole;
    bool fresh;  // no batch came before
    bool closed; // none follows: moments are written
    // Columns of the imaging area and of the reliable prescan; figures (frames, rows), or none.
    Index imaging[2], prescan[2];
    Array2<RowFigures> figures;
    Moments moments;
    CountingSums counting;    // or none
    CountsAbove counts_above; // or none
    Histogram histogram;      // or none
    SequenceMeans sequence;   // or none
    Room room;
};

struct BandResult {
    Index failed; // a frame whose file ended too early, or -1
    bool errors;  // whether any error of these frames is not 0
};

struct Merge {
    Moments into, other;
};

// Those of the pixels lo to hi whose entry in `of` is `member`; all of them without `of`.
struct Group {
    Array1<const std::int8_t> of;
    std::int8_t member = 0;
    Index lo = 0, hi = 0;
};

// Weights 1 / error^2 lie within this factor of the smallest.
inline constexpr double LEAST = 1e-6;

// Estimates x of some error, and the largest squared error of their group.
struct Estimates {
    Array1<const double> x, error2;
    double top;
};

// Sums over a group, w = top / error^2.
struct WeightedSums {
    double w, wx, w2, w2x, count, error2;
};
// The same of e = (x - centre)^2 - error^2.
struct ExcessSums {
    double w2e, w4, w4e, w4e2;
};
struct CountedSum {
    double count, sum;
};

// A median goes by a sample of about so many pixels, unless so few belong to the group.
inline constexpr Index SAMPLE = 1 << 14, FEW_SAMPLES = 1 << 10;

// Above `middle` by more than `widths` u and `jumps` electrons a pixel is hot.
struct HotLimit {
    double middle, widths, jumps;
};
struct HotPixels {
    Index lo, hi;
    // C and D, u^2 of each, and what one electron moves them: (2, pixels); limits (region, C or D).
    Array2<const double> x, scale, jump;
    Array2<const HotLimit> limits;
    Array1<std::int8_t> group;
};

// The mean of a stack, and the fit with its errors, (3, pixels).
struct Residuals {
    const void *n;
    int n_width;
    Array1<const double> mean;
    Array2<const double> values, errors;
    double gain, gain_time, shift;
};

struct StackSums {
    double good, residual, seen, dof, scatter;
};
struct StackSumsOver {
    Index lo, hi;
    Array1<const double> gain, gain_time, least;
    const void *n; // (stacks, pixels), as mean and m2; m2 may be none
    int n_width;
    Array2<const double> mean, m2, values;
    Array1<const std::int8_t> inside;
    Array1<std::int16_t> unreliable;
    Array1<StackSums> out;
};

// Largest samples of each pixel that are kept for screening.
inline constexpr Index KEPT = 6;

struct Screening {
    Moments moments;
    Array1<const double> trimmed;
    double level, gain, read_noise, charge;
    Array1<std::int32_t> rejected;
};

// Stored numbers, and the same without bias; flags.
struct Levelling {
    const void *data;
    bool single; // float32, not float64
    double bias;
    Array1<const double> frame; // instead of the bias, or none
    double saturation;
    Array1<double> clean;
    Array1<std::uint16_t> flags;
};

struct Kernels {
    void (*to_native)(const Words &);
    BandResult (*add_band)(const Band &);
    void (*merge)(const Merge &);
    bool (*design_rank)(Array1<const double> gain, Array1<const double> gain_time);
    void (*smallest_variance)(const FitData &, Range, Array1<const double> single,
                              Array1<double> least);
    Index (*reference_fit)(const FitData &, Range, const ReferenceFit &);
    void (*survey)(const FitData &, Range, const Survey &);
    void (*pool_sweep)(const FitData &, Range, Array1<const std::int8_t> group,
                       Array2<double> pools);
    void (*first_sweep)(const FitData &, Range, const FirstFit &);
    void (*second_sweep)(const FitData &, Range, const SecondFit &);
    void (*final_sweep)(const FitData &, Range, const FinalFit &);
    double (*largest)(const Group &, const Array1<const double> &x);
    WeightedSums (*weighted_sums)(const Group &, const Estimates &);
    ExcessSums (*excess_sums)(const Group &, const Estimates &, double centre);
    CountedSum (*product_sum)(const Group &, const Array1<const double> &x,
                              const Array1<const double> &y, double x_0, double y_0);
    double (*median)(const Group &, const Array1<const double> &x);
    double (*median_deviation)(const Group &, const Array1<const double> &x,
                               const Array1<const double> &scale, double middle);
    void (*mark_hot)(const HotPixels &);
    double (*residual_median)(const Group &, const Residuals &);
    void (*stack_sums)(const StackSumsOver &);
    void (*trimmed_means)(const Moments &, const Array1<double> &out);
    void (*screen)(const Screening &);
    void (*level_run)(const Levelling &);
    RawScanResult (*scan_raw)(const RawScan &);
    bool (*prepare_frame)(const PreparedFrame &);
    void (*counting_sweep)(const CountingData &, Range, const CountingTerms &,
                           const CountingRound &);
    void (*counting_pools)(const CountingData &, Range, const CountingTerms &,
                           const CountingPools &);
    void (*counting_statistics)(const CountingStatistics &);
};

// The kernels of the best level that this machine has, or of the one that the user named.
const Kernels &kernels();

} // namespace emdarks
