// All kernels of the core: what each takes, and the table that an instruction level fills.
#pragma once

#include "arrays.hpp"
#include "fit.hpp"

namespace emdarks {

// How numbers of a plane are stored: their type, and what makes native ones of them.
enum class Kind : std::uint8_t { none, real, signed_integer, unsigned_integer };
struct Stored {
    Kind kind = Kind::none;
    int width = 0; // bytes
    bool swap = false;
    std::uint64_t flip = 0; // bits, after swapping
};

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

// Frames that are read before they are added.
inline constexpr Index GROUP = 4;
// In the place of a file descriptor: offsets are addresses.
inline constexpr int IN_MEMORY = -1;

// One thread's buffers for a run of pixels, whole rows.
struct Room {
    void *data;                // a frame's image as stored, if that is not a real number
    void *err;                 // its errors as stored
    void *dq;                  // its flags as stored
    void *values[GROUP];       // images as native real numbers
    void *errors;              // errors as native real numbers
    Array1<std::uint16_t> bad; // 1 where a sample of the row does not count
    OpenSums sums;             // of the run
};

// A band of rows of every frame of a batch, to be added to open sums.
struct Band {
    // Frames: descriptors; where image, err and dq start (3, frames); factors to the unit of sums.
    Array1<const std::int32_t> files;
    Array2<const std::int64_t> offsets;
    Array1<const double> scales;
    Stored data, err, dq;
    std::uint64_t mask; // flags that exclude a sample
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
    Room room;
};

struct BandResult {
    Index failed; // a frame whose file ended too early, or -1
    bool errors;  // whether any error of these frames is not 0
};

struct Merge {
    Moments into, other;
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
};

// The kernels of the best level that this machine has, or of the one that the user named.
const Kernels &kernels();

} // namespace emdarks
