#include <algorithm>
#include <array>
#include <cmath>
#include <memory>

#include <nanobind/stl/optional.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/tuple.h>

#include "raw_binding.hpp"

namespace emdarks {
namespace {

using Four = std::tuple<Index, Index, Index, Index>;

FrameBytes frame_bytes(int file, std::int64_t offset, const std::string &stored, std::uint64_t flip,
                       Index rows, Index cols) {
    const FrameBytes frame = {file, offset, parse_stored("image", stored, flip, false), rows, cols};
    std::int64_t end;
    if (rows < 1 || cols < 1 || offset < 0 || __builtin_mul_overflow(rows, cols, &end) ||
        __builtin_mul_overflow(end, frame.stored.width, &end) ||
        __builtin_add_overflow(offset, end, &end))
        throw nb::value_error("offset, rows and cols must be a place in a file or in memory");
    return frame;
}

Area area_of(const Four &given, const FrameBytes &frame) {
    const auto &[row_lo, row_hi, col_lo, col_hi] = given;
    if (row_lo < 0 || row_hi <= row_lo || row_hi > frame.rows || col_lo < 0 || col_hi <= col_lo ||
        col_hi > frame.cols)
        throw nb::value_error("area must be rows and columns of the frame");
    return {row_lo, row_hi, col_lo, col_hi};
}

// Pixels of a row, from lo up to hi.
struct Run {
    Index row, lo, hi;
};

// Which pixels the heads of cosmic rays flag.
class Footprint {
public:
    Footprint(const Area &area, const CosmicRaySearch &search)
        : rows_(area.rows()), cols_(area.cols()), search_(search) {}

    void add(Index row, Index head) {
        const Index box = search_.box, end = head + search_.filter + search_.tail + 1;
        for (Index r = std::max<Index>(row - box, 0); r < std::min(row + box + 1, rows_); ++r)
            put(r, head - box, head + box + 1);
        put(row, head, end);
        if (search_.spill && end > cols_)
            // The first of the pixels that run over is the last one of this row.
            spill(row * cols_ + cols_ - 1, end - cols_);
    }

    // Sorted by rows, those that touch joined: the first run of each row, and columns.
    void join(std::vector<std::int32_t> &first, std::vector<std::array<std::int32_t, 2>> &runs) {
        std::vector<Index> starts(static_cast<std::size_t>(rows_) + 1, 0);
        for (const Run &run : all_)
            ++starts[static_cast<std::size_t>(run.row) + 1];
        for (std::size_t r = 1; r < starts.size(); ++r)
            starts[r] += starts[r - 1];
        std::vector<std::array<std::int32_t, 2>> sorted(all_.size());
        auto next = starts;
        for (const Run &run : all_)
            sorted[static_cast<std::size_t>(next[static_cast<std::size_t>(run.row)]++)] = {
                static_cast<std::int32_t>(run.lo), static_cast<std::int32_t>(run.hi)};
        for (std::size_t r = 0; r + 1 < starts.size(); ++r) {
            first.push_back(static_cast<std::int32_t>(runs.size()));
            join_row(sorted.begin() + starts[r], sorted.begin() + starts[r + 1], runs);
        }
        first.push_back(static_cast<std::int32_t>(runs.size()));
    }

private:
    Index rows_, cols_;
    const CosmicRaySearch &search_;
    std::vector<Run> all_;

    void put(Index row, Index lo, Index hi) {
        lo = std::max<Index>(lo, 0), hi = std::min(hi, cols_);
        if (lo < hi)
            all_.push_back({row, lo, hi});
    }

    void spill(Index pixel, Index count) {
        const Index end = std::min(pixel + count, rows_ * cols_);
        for (; pixel < end; pixel = (pixel / cols_ + 1) * cols_)
            put(pixel / cols_, pixel % cols_, pixel % cols_ + end - pixel);
    }

    template <class Place>
    static void join_row(Place from, Place to, std::vector<std::array<std::int32_t, 2>> &runs) {
        std::sort(from, to);
        const std::size_t start = runs.size();
        for (; from != to; ++from)
            if (runs.size() > start && (*from)[0] <= runs.back()[1])
                runs.back()[1] = std::max(runs.back()[1], (*from)[1]);
            else
                runs.push_back(*from);
    }
};

// What was found in a frame.
struct Found {
    RawScanResult result;
    std::vector<std::int32_t> first;
    std::vector<std::array<std::int32_t, 2>> runs;
    Index flagged = 0;
};

// Runs are in the columns of the whole frame, rows without any included.
void spread(const RawScan &scan, Found &found) {
    std::vector<std::int32_t> first;
    Footprint footprint(scan.area, *scan.search);
    for (Index i = 0; i < found.result.heads; ++i)
        footprint.add(scan.heads(i, 0), scan.heads(i, 1));
    footprint.join(first, found.runs);
    for (Index r = 0; r <= scan.frame.rows; ++r)
        found.first.push_back(first[static_cast<std::size_t>(
            std::clamp<Index>(r - scan.area.row_lo, 0, scan.area.rows()))]);
    for (auto &run : found.runs) {
        found.flagged += run[1] - run[0];
        run[0] += static_cast<std::int32_t>(scan.area.col_lo);
        run[1] += static_cast<std::int32_t>(scan.area.col_lo);
    }
}

// Searches again where heads were more than were thought of.
Found scan_frame(RawScan scan) {
    Found found;
    std::vector<std::int32_t> heads;
    for (Index capacity = 1 << 12;;) {
        heads.resize(static_cast<std::size_t>(2 * capacity));
        scan.heads = {heads.data(), capacity, 2};
        found.result = kernels().scan_raw(scan);
        if (found.result.ended || found.result.heads <= capacity)
            break;
        capacity = found.result.heads;
    }
    if (!found.result.ended && scan.search != nullptr)
        spread(scan, found);
    else
        found.first.assign(static_cast<std::size_t>(scan.frame.rows) + 1, 0);
    return found;
}

// An array that owns a copy of some numbers.
nb::object numbers(const std::int32_t *from, std::vector<std::size_t> shape) {
    std::size_t size = 1;
    for (const auto each : shape)
        size *= each;
    auto *copy = new std::int32_t[size];
    std::copy_n(from, size, copy);
    nb::capsule owner(copy, [](void *p) noexcept { delete[] static_cast<std::int32_t *>(p); });
    return nb::cast(nb::ndarray<nb::numpy, std::int32_t>(copy, shape.size(), shape.data(), owner));
}

struct SearchArguments {
    CosmicRaySearch search;
    std::optional<In<double>> discs;
};

nb::tuple scan_raw(const FrameBytes &frame, const Four &area, const BiasRule &bias,
                   double saturation, double most_saturated,
                   std::optional<const SearchArguments *> search, const Out<double> &row_bias,
                   const Out<double> &row_error, const Out<std::uint8_t> &repaired) {
    RawScan scan;
    scan.frame = frame, scan.area = area_of(area, frame), scan.bias = bias;
    if (bias.columns[1] > frame.cols)
        throw nb::value_error("bias: its columns must be among those of the frame");
    scan.saturation = saturation, scan.most_saturated = most_saturated;
    scan.search = search ? &(*search)->search : nullptr;
    scan.row_bias = line(row_bias, "row_bias", frame.rows);
    scan.row_error = line(row_error, "row_error", frame.rows);
    scan.repaired = line(repaired, "repaired", frame.rows);
    Found found;
    {
        const nb::gil_scoped_release released;
        found = scan_frame(scan);
    }
    const auto count = found.runs.size();
    return nb::make_tuple(!found.result.ended, numbers(found.first.data(), {found.first.size()}),
                          numbers(count > 0 ? found.runs.front().data() : nullptr, {count, 2}),
                          found.result.saturated, found.result.over, found.flagged);
}

BiasRule bias_rule(const std::string &from, double level, std::tuple<Index, Index> columns,
                   double num_stds, double below, double offset, double offset_error) {
    BiasRule rule;
    rule.from = from == "level" ? BiasFrom::level
                : from == "row" ? BiasFrom::rows
                                : BiasFrom::frame;
    if (rule.from == BiasFrom::frame && from != "frame")
        throw nb::value_error("source must be level, row or frame");
    rule.columns[0] = std::get<0>(columns), rule.columns[1] = std::get<1>(columns);
    if (rule.columns[0] < 0 || rule.columns[1] < rule.columns[0] ||
        (rule.from != BiasFrom::level && rule.columns[1] == rule.columns[0]))
        throw nb::value_error("columns must be a range, not empty where bias comes from them");
    rule.level = level, rule.num_stds = num_stds, rule.below = below;
    rule.offset = offset, rule.offset_error = offset_error;
    return rule;
}

SearchArguments search_arguments(double threshold, double plateau,
                                 std::tuple<Index, Index, Index> sizes, bool spill,
                                 std::optional<In<double>> discs) {
    SearchArguments made;
    const auto [filter, box, tail] = sizes;
    for (const Index size : {filter, box, tail})
        if (size < 0 || size > (1 << 24))
            throw nb::value_error("filter, box and tail must be numbers of pixels");
    made.search = {threshold, plateau, filter, box, tail, spill, {}};
    if (discs)
        made.search.discs = plane(*discs, "discs", -1, 3);
    made.discs = std::move(discs);
    return made;
}

} // namespace

LinearityArguments::LinearityArguments(In<double> counts_, In<double> factors_)
    : factors(std::move(factors_)) {
    const auto x = line(counts_, "counts");
    curve.factors = line(factors, "factors", x.size);
    double least = HUGE_VAL;
    for (Index j = 0; j + 1 < x.size; ++j)
        least = std::min(least, x[j + 1] - x[j]);
    if (x.size < 1 || !(least > 0.0) || !std::isfinite(x[0]) || !std::isfinite(x[x.size - 1]))
        throw nb::value_error("counts must be finite numbers that increase");
    counts.assign(x.data, x.data + x.size);
    counts.push_back(HUGE_VAL);
    for (Index j = 0; j + 1 < x.size; ++j)
        slopes.push_back((curve.factors[j + 1] - curve.factors[j]) / (x[j + 1] - x[j]));
    slopes.push_back(0.0);
    // Two buckets for the least distance of counts, unless these are very uneven.
    const double range = x[x.size - 1] - x[0];
    const double wanted = x.size > 1 ? std::ceil(2.0 * range / least) : 1.0;
    curve.scale = range > 0.0 ? std::min(wanted, static_cast<double>(MOST_BUCKETS)) / range : 0.0;
    // The same rounding as in the kernel: a count in an earlier bucket is less than all of a
    // bucket.
    const auto bucket = [&](Index j) {
        return static_cast<std::size_t>((x[j] - x[0]) * curve.scale);
    };
    for (Index j = 1; j < x.size; ++j)
        curve.even = curve.even && bucket(j) > bucket(j - 1);
    Index before = 0;
    for (std::size_t b = 0; b <= bucket(x.size - 1); ++b) {
        while (before + 1 < x.size && bucket(before + 1) < b)
            ++before;
        starts.push_back(static_cast<std::int32_t>(before));
    }
    curve.counts = {counts.data(), x.size + 1};
    curve.slopes = {slopes.data(), x.size};
    curve.starts = {starts.data(), static_cast<Index>(starts.size())};
}

CalibrationArguments::CalibrationArguments(In<double> bias_, In<double> error_,
                                           std::tuple<double, bool> saturation,
                                           std::tuple<double, double> k_gain,
                                           std::optional<const LinearityArguments *> linearity,
                                           In<std::int32_t> first_, In<std::int32_t> runs_,
                                           Index cols_)
    : bias(std::move(bias_)), error(std::move(error_)), first(std::move(first_)),
      runs(std::move(runs_)), cols(cols_) {
    calibration.bias = line(bias, "bias");
    const Index rows = calibration.bias.size;
    calibration.error = line(error, "error", rows);
    calibration.first = line(first, "first", rows + 1);
    calibration.runs = plane(runs, "runs", -1, 2);
    std::tie(calibration.saturation, calibration.of_stored) = saturation;
    std::tie(calibration.k_gain, calibration.k_gain_error) = k_gain;
    if (!(calibration.k_gain > 0.0))
        throw nb::value_error("k_gain must be above 0");
    if (linearity)
        calibration.linearity = (*linearity)->curve;
    const auto &lines = calibration.first;
    bool good = lines[0] == 0 && lines[rows] == calibration.runs.rows;
    for (Index r = 0; r < rows; ++r)
        good = good && lines[r] <= lines[r + 1];
    for (Index i = 0; good && i < calibration.runs.rows; ++i)
        good = calibration.runs(i, 0) >= 0 && calibration.runs(i, 0) <= calibration.runs(i, 1) &&
               calibration.runs(i, 1) <= cols;
    if (!good)
        throw nb::value_error("first and runs must be runs of columns of each row, in order");
}

namespace {

bool prepare_frame(const FrameBytes &frame, const CalibrationArguments &calibration,
                   const Four &area, const Out<double> &data, const std::optional<Out<double>> &err,
                   const Out<std::uint16_t> &dq) {
    PreparedFrame made;
    made.frame = frame, made.calibration = &calibration.calibration;
    made.area = area_of(area, frame);
    calibration.check(frame.rows, frame.cols);
    made.data = plane(data, "data", made.area.rows(), made.area.cols());
    if (err)
        made.err = plane(*err, "err", made.area.rows(), made.area.cols());
    made.dq = plane(dq, "dq", made.area.rows(), made.area.cols());
    return kernels().prepare_frame(made);
}

} // namespace

void bind_raw(nb::module_ &m) {
    nb::class_<FrameBytes>(m, "FrameBytes", R"(Where the image of one frame lies.

Parameters
----------
file : int
    Descriptor, or `IN_MEMORY`: the offset is an address.
offset : int
    Where the image starts, bytes.
stored : str
    Type of the numbers as NumPy writes it, such as ``">u2"``.
flip : int
    Bits to flip, of integers, after bytes are in order.
rows, cols : int
    Shape of the image.)")
        .def(
            "__init__",
            [](FrameBytes *self, int file, std::int64_t offset, const std::string &stored,
               std::uint64_t flip, Index rows, Index cols) {
                new (self) FrameBytes(frame_bytes(file, offset, stored, flip, rows, cols));
            },
            "file"_a, "offset"_a, "stored"_a, "flip"_a, "rows"_a, "cols"_a);

    nb::class_<BiasRule>(m, "BiasRule", R"(Where the bias of a frame comes from.

Parameters
----------
source : {"level", "row", "frame"}
    A level for all rows; the median of the bias columns of each row; that of all rows together.
level : float
    DN.
columns : tuple of int
    First and last-plus-one bias column.
num_stds : float
    A row whose bias lies further than so many standard deviations of all of them from their
    median gets that median.
below : float
    Stored numbers from here on do not count: they are saturated.
offset, offset_error : float
    Subtracted from the bias, and its error, DN.)")
        .def(
            "__init__",
            [](BiasRule *self, const std::string &source, double level,
               std::tuple<Index, Index> columns, double num_stds, double below, double offset,
               double offset_error) {
                new (self) BiasRule(
                    bias_rule(source, level, columns, num_stds, below, offset, offset_error));
            },
            "source"_a, "level"_a, "columns"_a, "num_stds"_a, "below"_a, "offset"_a,
            "offset_error"_a);

    nb::class_<SearchArguments>(m, "CosmicRaySearch", R"(How cosmic rays are searched in rows.

Parameters
----------
threshold, plateau : float
    What the rank filter of a row has to reach, and what belongs to the plateau, DN above the bias.
sizes : tuple of int
    Pixels of filter, box and tail.
spill : bool
    Whether tails run on into the next row.
discs : ndarray of float64, shape (discs, 3), or None
    Row, column and radius of circles that are not searched.)")
        .def(
            "__init__",
            [](SearchArguments *self, double threshold, double plateau,
               std::tuple<Index, Index, Index> sizes, bool spill, std::optional<In<double>> discs) {
                new (self) SearchArguments(
                    search_arguments(threshold, plateau, sizes, spill, std::move(discs)));
            },
            "threshold"_a, "plateau"_a, "sizes"_a, "spill"_a, optional_array("discs"));

    nb::class_<LinearityArguments>(m, "LinearityCurve",
                                   R"(Factors of a nonlinearity table at one gain.

Parameters
----------
counts : ndarray of float64, shape (counts,)
    DN above the bias, increasing.
factors : ndarray of float64, shape (counts,)
    Factors there; linear between, constant outside.)")
        .def(nb::init<In<double>, In<double>>(), array("counts"), array("factors"));

    nb::class_<CalibrationArguments>(m, "RowCalibration",
                                     R"(What makes electrons of the stored numbers of a frame.

Parameters
----------
bias, error : ndarray of float64, shape (rows,)
    Bias of each row and its error, DN.
saturation : tuple of (float, bool)
    From here on a pixel gets the flag 32, DN above the bias; or, if true, the stored number.
k_gain : tuple of float
    Electrons per DN, and its error.
linearity : LinearityCurve or None
    Factors at the frame's gain.
first : ndarray of int32, shape (rows + 1,)
    First run of each row.
runs : ndarray of int32, shape (runs, 2)
    First and last-plus-one columns that get the flag 128.
cols : int
    Columns of the frame.)")
        .def(nb::init<In<double>, In<double>, std::tuple<double, bool>, std::tuple<double, double>,
                      std::optional<const LinearityArguments *>, In<std::int32_t>, In<std::int32_t>,
                      Index>(),
             array("bias"), array("error"), "saturation"_a, "k_gain"_a, "linearity"_a.none(),
             array("first"), array("runs"), "cols"_a, nb::keep_alive<1, 6>());

    m.def("scan_raw", scan_raw, "frame"_a, "area"_a, "bias"_a, "saturation"_a, "most_saturated"_a,
          "search"_a.none(), array("row_bias"), array("row_error"), array("repaired"),
          R"(Learn from a raw frame what needs all of its pixels.

The bias of its rows, saturated pixels, and the pixels that cosmic rays hit, by a search along
rows: each plateau above a threshold flags a box around its first pixel, and a tail behind it.

Parameters
----------
frame : FrameBytes
    The stored numbers.
area : tuple of int
    First and last-plus-one row and column of the part that is searched: only its rows count
    for the repair of the bias.
bias : BiasRule
    Where the bias comes from.
saturation : float
    DN above the bias.
most_saturated : float
    Per cent of the area: a frame with more pixels above the saturation is not searched.
search : CosmicRaySearch or None
    How cosmic rays are searched.
row_bias, row_error : ndarray of float64, shape (rows,)
    Receive the bias of each row, and its error, DN.
repaired : ndarray of uint8, shape (rows,)
    Receives 1 where the bias of a row was replaced.

Returns
-------
whole : bool
    Whether the file was long enough.
first : ndarray of int32, shape (rows + 1,)
    First run of each row.
runs : ndarray of int32, shape (runs, 2)
    First and last-plus-one columns of flagged pixels, in order, apart from each other.
saturated, over : int
    Pixels of the area that reach the saturation, and that exceed it.
flagged : int
    Pixels of all runs.)");

    m.def("prepare_frame", prepare_frame, "frame"_a, "calibration"_a, "area"_a, array("data"),
          optional_array("err"), array("dq"), Unlocked(),
          R"(Electrons, errors and flags of a part of a raw frame.

Parameters
----------
frame : FrameBytes
    The stored numbers.
calibration : RowCalibration
    What makes electrons of them.
area : tuple of int
    First and last-plus-one row and column.
data, err : ndarray of float64, shape (rows, columns) of the area
    Receive electrons and their errors; err may be None.
dq : ndarray of uint16, shape (rows, columns) of the area
    Receives the flags 32 and 128.

Returns
-------
bool
    Whether the file was long enough.)");
}

} // namespace emdarks
