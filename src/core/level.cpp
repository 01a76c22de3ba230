// The kernels for one instruction level; this file is compiled once for each.
#include "decode.hpp"

namespace emdarks::EMDARKS_LEVEL {

extern const Kernels table;
const Kernels table = {
    .to_native = to_native_any,
};

} // namespace emdarks::EMDARKS_LEVEL
