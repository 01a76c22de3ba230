// Calibrations of raw frames, as Python holds them.
#pragma once

#include <tuple>

#include "binding.hpp"

namespace emdarks {

// More buckets than this a curve does not get.
inline constexpr Index MOST_BUCKETS = 1 << 13;

struct LinearityArguments {
    LinearityArguments(In<double> counts, In<double> factors);

    In<double> factors;
    std::vector<double> counts, slopes;
    std::vector<std::int32_t> starts;
    LinearityCurve curve;
};

struct CalibrationArguments {
    CalibrationArguments(In<double> bias, In<double> error, std::tuple<double, bool> saturation,
                         std::tuple<double, double> k_gain,
                         std::optional<const LinearityArguments *> linearity,
                         In<std::int32_t> first, In<std::int32_t> runs, Index cols);

    // A frame of another shape has other rows.
    void check(Index rows, Index its_cols) const {
        if (calibration.bias.size != rows || cols != its_cols)
            throw nb::value_error("calibration must have the rows and columns of the frame");
    }
    bool has_errors() const {
        for (Index r = 0; r < calibration.error.size; ++r)
            if (calibration.error[r] != 0.0)
                return true;
        return calibration.k_gain_error != 0.0;
    }

    In<double> bias, error;
    In<std::int32_t> first, runs;
    Index cols;
    RowCalibration calibration;
};

} // namespace emdarks
