// Bias off and saturated samples flagged, in one pass over a run of pixels.
#pragma once

#include "decode.hpp"

namespace emdarks::EMDARKS_LEVEL {

// The numbers may be replaced in place.
template <class Stored> void level_run(const Levelling &a) {
    const Array1<const Stored> data = {static_cast<const Stored *>(a.data), a.clean.size};
    const Array1<double> clean = a.clean;
    const Array1<std::uint16_t> flags = a.flags;
    const double bias = a.bias, saturation = a.saturation;
    for (Index p = 0; p < data.size; ++p) {
        const double x = static_cast<double>(data[p]);
        flags[p] = static_cast<std::uint16_t>(x >= saturation ? SATURATED : 0);
        clean[p] = x - (a.frame ? a.frame[p] : bias);
    }
}

inline void level_run(const Levelling &a) { a.single ? level_run<float>(a) : level_run<double>(a); }

} // namespace emdarks::EMDARKS_LEVEL
