// The kernels for one instruction level; this file is compiled once for each.
#include "bias.hpp"
#include "counting.hpp"
#include "pooled.hpp"
#include "raw_scan.hpp"
#include "screening.hpp"
#include "statistics.hpp"
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
    .largest = largest,
    .weighted_sums = weighted_sums,
    .excess_sums = excess_sums,
    .product_sum = product_sum,
    .median = median,
    .median_deviation = median_deviation,
    .mark_hot = mark_hot,
    .residual_median = residual_median,
    .stack_sums = stack_sums,
    .trimmed_means = trimmed_means,
    .screen = screen,
    .level_run = level_run,
    .scan_raw = scan_raw,
    .prepare_frame = prepare_frame,
    .counting_sweep = counting_sweep,
    .counting_pools = counting_pools,
    .counting_statistics = counting_statistics,
};

} // namespace emdarks::EMDARKS_LEVEL
