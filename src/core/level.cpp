// The kernels for one instruction level; this file is compiled once for each.
#include "stream.hpp"

namespace emdarks::EMDARKS_LEVEL {

extern const Kernels table;
const Kernels table = {
    .to_native = to_native,
    .add_band = add_band,
    .merge = merge,
};

} // namespace emdarks::EMDARKS_LEVEL
