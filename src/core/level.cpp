// The kernels for one instruction level; this file is compiled once for each.
#include "pooled.hpp"
#include "stream.hpp"

namespace emdarks::EMDARKS_LEVEL {

extern const Kernels table;
const Kernels table = {
    .to_native = to_native,
    .add_band = add_band,
    .merge = merge,
    .design_rank = design_rank,
    .smallest_variance = smallest_variance,
    .reference_fit = reference_fit,
    .survey = survey,
    .pool_sweep = pool_sweep,
    .first_sweep = first_sweep,
    .second_sweep = second_sweep,
    .final_sweep = final_sweep,
};

} // namespace emdarks::EMDARKS_LEVEL
