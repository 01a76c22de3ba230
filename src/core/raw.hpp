// What the two sweeps over a raw frame take.
//
// The first one learns what needs the whole frame: the bias of its rows, and where cosmic rays are.
// The second makes electrons of the stored numbers while they are added to sums.
#pragma once

#include "stored.hpp"

namespace emdarks {

// Where the bias comes from: one level for all frames, the bias columns of each row, or those of
// all rows together.
enum class BiasFrom : std::uint8_t { level, rows, frame };

struct BiasRule {
    BiasFrom from = BiasFrom::level;
    double level = 0.0;
    Index columns[2] = {0, 0};
    // A row whose bias lies further than so many standard deviations from the median of all rows
    // gets that median.
    double num_stds = 0.0;
    double below = 0.0;                      // stored numbers from here on do not count
    double offset = 0.0, offset_error = 0.0; // DN
};

// The search in rows: thresholds in DN above the bias, sizes in pixels.
struct CosmicRaySearch {
    double threshold = 0.0, plateau = 0.0;
    Index filter = 0, box = 0, tail = 0;
    bool spill = false;         // whether tails run on into the next row
    Array2<const double> discs; // row, column and radius of circles that are not searched
};

struct RawScan {
    FrameBytes frame;
    Area area; // whose rows and pixels count, and which is searched
    BiasRule bias;
    double saturation;             // DN above the bias
    double most_saturated;         // per cent of the area; a frame with more is not searched
    const CosmicRaySearch *search; // or none
    // Of all rows: bias, its error, and whether it was replaced.
    Array1<double> row_bias, row_error;
    Array1<std::uint8_t> repaired;
    // Row and column, in the area, of each start of a cosmic ray.
    Array2<std::int32_t> heads;
};

struct RawScanResult {
    bool ended;            // whether the file ended too early
    Index heads;           // found: more than there is room for, where that was too little
    Index saturated, over; // pixels of the area that reach the saturation, and exceed it
};

// Factors of the nonlinearity table at one gain: linear between counts, constant outside.
struct LinearityCurve {
    Array1<const double> counts; // one more than factors, infinite
    Array1<const double> factors, slopes;
    // The last count that lies before each bucket; those are 1 / scale DN wide.
    Array1<const std::int32_t> starts;
    double scale = 0.0;
    bool even = true; // no bucket holds more than one count

    explicit operator bool() const { return factors.size > 0; }
};

// What makes electrons of the rows of a frame.
struct RowCalibration {
    Array1<const double> bias, error; // DN, per row
    double saturation = 0.0;          // DN above the bias
    bool of_stored = false;           // or the stored number itself
    LinearityCurve linearity;         // or none
    double k_gain = 1.0, k_gain_error = 0.0;
    // Columns from lo to hi of a row are hit by cosmic rays: runs(first[row]) to
    // runs(first[row+1]).
    Array1<const std::int32_t> first;
    Array2<const std::int32_t> runs;
};

// One frame made ready: the area of it.
struct PreparedFrame {
    FrameBytes frame;
    const RowCalibration *calibration;
    Area area;
    Array2<double> data, err;
    Array2<std::uint16_t> dq;
};

} // namespace emdarks
