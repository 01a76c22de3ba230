#include <memory>
#include <new>

#include <nanobind/stl/optional.h>
#include <nanobind/stl/pair.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/tuple.h>

#include "raw_binding.hpp"

namespace emdarks {
namespace {

using Text = std::optional<std::string>;

} // namespace

Stored parse_stored(const char *name, const std::string &t, std::uint64_t flip, bool integers) {
    const std::string widths = integers ? "1248" : "48";
    const bool good = t.size() == 3 && std::string("<>=|").find(t[0]) != std::string::npos &&
                      std::string(integers ? "ui" : "uif").find(t[1]) != std::string::npos &&
                      (t[1] == 'f' ? t[2] == '4' || t[2] == '8'
                                   : std::string("1248").find(t[2]) != std::string::npos);
    if (!good)
        throw nb::type_error((std::string(name) + ": no stored type " + t).c_str());
    const bool little = std::endian::native == std::endian::little;
    const auto kind = t[1] == 'f'   ? Kind::real
                      : t[1] == 'i' ? Kind::signed_integer
                                    : Kind::unsigned_integer;
    return {kind, t[2] - '0', t[0] == (little ? '>' : '<'), flip};
}

namespace {

Stored parse(const char *name, const Text &text, std::uint64_t flip, bool integers) {
    return text ? parse_stored(name, *text, flip, integers) : Stored{};
}

// Memory for several arrays. They start at different places of the cache's lines: arrays that are
// read together would drive each other out.
class Memory {
public:
    Memory() = default;
    Memory(const Memory &) = delete;
    Memory &operator=(const Memory &) = delete;
    template <class T> T *take(Index count) {
        void *place = std::aligned_alloc(
            64, (static_cast<std::size_t>(count) * sizeof(T) + stagger_ + 127) / 64 * 64);
        if (place == nullptr)
            throw std::bad_alloc();
        all_.emplace_back(place, &std::free);
        auto *start = static_cast<char *>(place) + stagger_;
        stagger_ = (stagger_ + 320) % 4096;
        return reinterpret_cast<T *>(start);
    }
    template <class T> Array1<T> array(Index count) { return {take<T>(count), count}; }

private:
    std::vector<std::unique_ptr<void, decltype(&std::free)>> all_;
    std::size_t stagger_ = 0;
};

OpenSums open_sums(Memory &memory, Index pixels, bool errors) {
    return {memory.array<std::uint16_t>(pixels),
            memory.array<double>(pixels),
            memory.array<double>(pixels),
            memory.array<double>(pixels),
            errors ? memory.array<double>(pixels) : Array1<double>{},
            memory.take<std::uint64_t>(pixels),
            memory.array<std::uint16_t>(pixels),
            memory.array<double>(pixels)};
}

struct WholeSums {
    WholeSums(Index pixels, bool errors)
        : pixels(pixels), sums(open_sums(memory, pixels, errors)) {}
    Index pixels;
    Memory memory;
    OpenSums sums;
};

// What is never touched costs nothing: buffers fit numbers of any type.
struct Rooms {
    Rooms(Index pixels, Index cols) : pixels(pixels), cols(cols) {
        if (pixels < 1 || cols < 1 || pixels % cols != 0)
            throw nb::value_error("pixels must be whole rows of cols pixels");
        const Index beside = 2 * CORE_REACH * cols;
        room.data = memory.take<double>(pixels + beside);
        room.err = memory.take<double>(pixels);
        room.dq = memory.take<double>(pixels);
        for (auto &values : room.values)
            values = memory.take<double>(pixels + beside);
        room.errors = memory.take<double>(cols);
        room.bad = memory.array<std::uint16_t>(cols);
        room.saturated = memory.array<std::int32_t>(cols);
        const Index rows = (pixels + beside) / cols, bytes = (cols + MARKS - 1) / MARKS * MARKS;
        room.cores = memory.array<std::uint8_t>(cols + 2 * CORE_REACH);
        room.near = memory.array<std::uint8_t>(rows * bytes);
        room.beside = memory.array<std::uint8_t>(bytes);
        room.has_core = memory.array<bool>(rows);
        room.sums = open_sums(memory, pixels, true);
    }
    Index pixels, cols;
    Memory memory;
    Room room;
};

// Arrays of Python that counts and clipped sums are written to.
struct BoundCountingSums {
    Out<std::uint16_t> above, beyond, near, near_above;
    Out<double> low, high;
    CountingSums sums;
};

struct BoundCountsAbove {
    Out<std::uint16_t> above;
    std::optional<Out<std::uint16_t>> plus, minus;
    CountsAbove counts;
};

struct BoundHistogram {
    Out<std::int64_t> counts;
    Histogram histogram;
};

struct BoundSequenceMeans {
    Out<float> mean;
    Out<std::uint8_t> n;
    SequenceMeans sequence;
};

struct Frames {
    In<std::int32_t> files;
    In<std::int64_t> offsets;
    In<double> scales;
    Stored data, err, dq;
    std::uint64_t mask;
    nb::object kept; // the list of calibrations
    std::vector<const CalibrationArguments *> calibrations;
};

// Of every frame, where they are raw.
std::vector<const CalibrationArguments *> calibrations_of(const std::optional<nb::list> &given,
                                                          Index frames) {
    std::vector<const CalibrationArguments *> found;
    if (!given)
        return found;
    for (const nb::handle each : *given)
        found.push_back(nb::cast<const CalibrationArguments *>(each));
    if (static_cast<Index>(found.size()) != frames)
        throw nb::value_error("calibrations must be one a frame");
    return found;
}

// What the kernel is told of them.
std::vector<const RowCalibration *> check_calibrations(const Frames &frames, Index rows, Index cols,
                                                       bool has_err2) {
    std::vector<const RowCalibration *> found;
    for (const auto *each : frames.calibrations) {
        each->check(rows, cols);
        if (each->has_errors() && !has_err2)
            throw nb::value_error("err2 is needed where frames have errors");
        found.push_back(&each->calibration);
    }
    return found;
}

void check_offsets(const Frames &frames, Index pixels) {
    const Stored *planes[] = {&frames.data, &frames.err, &frames.dq};
    const auto offsets = plane(frames.offsets, "offsets");
    for (Index k = 0; k < 3; ++k)
        for (Index f = 0; planes[k]->kind != Kind::none && f < offsets.cols; ++f) {
            std::int64_t end;
            if (offsets(k, f) < 0 || __builtin_mul_overflow(pixels, planes[k]->width, &end) ||
                __builtin_add_overflow(offsets(k, f), end, &end))
                throw nb::value_error("offsets must be places of planes in a file or in memory");
        }
}

} // namespace

Moments moments(const AnyOut &n, const Out<double> &mean, const Out<double> &m2,
                const std::optional<Out<double>> &err2, const AnyOut &flags,
                const std::optional<Out<double>> &top) {
    const Index pixels = line(mean, "mean").size;
    Moments found;
    found.n = n.data();
    found.n_width = width(n, "n", "24");
    found.mean = line(mean, "mean");
    found.m2 = line(m2, "m2", pixels);
    if (err2)
        found.err2 = line(*err2, "err2", pixels);
    found.flags = flags.data();
    found.flags_width = width(flags, "flags", "248");
    if (top)
        found.top = plane(*top, "top", pixels);
    if (static_cast<Index>(n.size()) != pixels || static_cast<Index>(flags.size()) != pixels)
        throw nb::value_error("n and flags must have as many pixels as mean");
    return found;
}

namespace {

std::pair<Index, bool> add_band(const Frames &frames, const Rooms &room,
                                const std::optional<const WholeSums *> &sums, Index lo, Index hi,
                                bool fresh, bool closed, std::tuple<Index, Index> imaging,
                                std::tuple<Index, Index> prescan,
                                const std::optional<Out<double>> &figures, const AnyOut &n,
                                const Out<double> &mean, const Out<double> &m2,
                                const std::optional<Out<double>> &err2, const AnyOut &flags,
                                const std::optional<Out<double>> &top,
                                const std::optional<const BoundCountingSums *> &counting,
                                const std::optional<const BoundHistogram *> &histogram,
                                const std::optional<const BoundCountsAbove *> &counts_above,
                                const std::optional<const BoundSequenceMeans *> &sequence) {
    Band band;
    band.files = line(frames.files, "files");
    band.offsets = plane(frames.offsets, "offsets", 3, band.files.size);
    band.scales = line(frames.scales, "scales", band.files.size);
    band.data = frames.data, band.err = frames.err, band.dq = frames.dq;
    band.mask = frames.mask;
    const auto calibrations = check_calibrations(
        frames, static_cast<Index>(mean.size()) / room.cols, room.cols, err2.has_value());
    band.calibrations = calibrations.empty() ? nullptr : calibrations.data();
    band.lo = lo, band.hi = hi, band.run = room.pixels, band.cols = room.cols;
    band.moments = moments(n, mean, m2, err2, flags, top);
    const Index pixels = band.moments.mean.size;
    check_range(lo, hi, pixels);
    if (lo % room.cols != 0 || hi % room.cols != 0 || pixels % room.cols != 0)
        throw nb::value_error("lo and hi must be the first pixels of rows");
    check_offsets(frames, pixels);
    if (frames.err.kind != Kind::none && !err2)
        throw nb::value_error("err2 is needed where frames have errors");
    band.whole = sums.has_value();
    if (!band.whole && !(fresh && closed))
        throw nb::value_error("sums of the whole frame are needed between batches");
    if (band.whole) {
        band.sums = (*sums)->sums;
        if ((*sums)->pixels != pixels || (err2 && !band.sums.err2))
            throw nb::value_error("sums must fit the frame");
    }
    if (top && !band.whole)
        throw nb::value_error("sums of the whole frame are needed for the largest samples");
    if (!err2)
        band.sums.err2 = {};
    band.room = room.room;
    if (!err2)
        band.room.sums.err2 = {};
    band.fresh = fresh, band.closed = closed;
    const auto columns = [&](std::tuple<Index, Index> given, Index *out) {
        out[0] = std::get<0>(given), out[1] = std::get<1>(given);
        check_range(out[0], out[1], room.cols);
    };
    columns(imaging, band.imaging);
    columns(prescan, band.prescan);
    if (figures) {
        const auto rows = static_cast<std::size_t>(pixels / room.cols);
        const auto count = static_cast<std::size_t>(band.files.size);
        const auto &array = *figures;
        if (array.ndim() != 3 || array.shape(0) < count || array.shape(1) != rows ||
            array.shape(2) != std::size(ROW_FIGURES))
            throw nb::value_error("figures must have shape (frames, rows, figures)");
        band.figures = {reinterpret_cast<RowFigures *>(array.data()), band.files.size,
                        static_cast<Index>(rows)};
    }
    if (counting) {
        band.counting = (*counting)->sums;
        if (band.counting.above.size != pixels)
            throw nb::value_error("counting must fit the frame");
    }
    if (counts_above) {
        band.counts_above = (*counts_above)->counts;
        if (band.counts_above.above.size != pixels)
            throw nb::value_error("counts_above must fit the frame");
    }
    if (histogram)
        band.histogram = (*histogram)->histogram;
    if (sequence) {
        band.sequence = (*sequence)->sequence;
        const auto &[means, counts, length, first] = band.sequence;
        if (means.cols != pixels || means.rows * length < first + band.files.size)
            throw nb::value_error("sequence must fit the frame, and have planes for all frames");
    }
    const auto result = kernels().add_band(band);
    return {result.failed, result.errors};
}

} // namespace

void bind_stream(nb::module_ &m) {
    m.attr("IN_MEMORY") = IN_MEMORY;
    nb::list names;
    for (const char *name : ROW_FIGURES)
        names.append(name);
    m.attr("ROW_FIGURES") = nb::tuple(names);
    m.attr("CORE_REACH") = CORE_REACH;
    m.attr("LINEAR_BINS") = LINEAR_BINS;
    m.attr("OCTAVE_BINS") = OCTAVE_BINS;

    nb::class_<Frames>(m, "Frames", R"(A batch of open frames that are laid out alike.

Parameters
----------
files : ndarray of int32, shape (frames,)
    Descriptors, or `IN_MEMORY`: offsets are addresses.
offsets : ndarray of int64, shape (3, frames)
    Where image, err and dq start, bytes.
scales : ndarray of float64, shape (frames,)
    Factor of each frame to the unit of the sums.
stored : tuple of str or None
    Types of image, err and dq as NumPy writes them, such as ``">f4"``; None: no such plane.
flips : tuple of int
    Bits to flip, of integers, after bytes are in order.
mask : int
    Flags that exclude a sample.
calibrations : list of RowCalibration, or None
    Of each frame, where they are raw.)")
        .def(
            "__init__",
            [](Frames *self, In<std::int32_t> files, In<std::int64_t> offsets, In<double> scales,
               std::tuple<Text, Text, Text> stored,
               std::tuple<std::uint64_t, std::uint64_t, std::uint64_t> flips, std::uint64_t mask,
               std::optional<nb::list> calibrations) {
                const auto &[data, err, dq] = stored;
                if (!data)
                    throw nb::type_error("stored: frames must have an image");
                const auto count = line(files, "files").size;
                plane(offsets, "offsets", 3, count);
                line(scales, "scales", count);
                auto each = calibrations_of(calibrations, count);
                new (self) Frames{std::move(files),
                                  std::move(offsets),
                                  std::move(scales),
                                  parse("image", data, std::get<0>(flips), false),
                                  parse("err", err, std::get<1>(flips), false),
                                  parse("dq", dq, std::get<2>(flips), true),
                                  mask,
                                  nb::object(nb::cast(std::move(calibrations))),
                                  std::move(each)};
            },
            array("files"), array("offsets"), array("scales"), "stored"_a, "flips"_a, "mask"_a,
            "calibrations"_a.none() = nb::none());

    nb::class_<WholeSums>(m, "OpenSums", R"(Sums of all pixels of a frame while batches are added.

Parameters
----------
pixels : int
    Of the frame.
has_err : bool
    Whether any frame has errors.)")
        .def(nb::init<Index, bool>(), "pixels"_a, "has_err"_a);

    nb::class_<Rooms>(m, "Room", R"(One thread's buffers.

Parameters
----------
pixels : int
    Pixels of a run: whole rows. They and their sums should fit a core's second cache.
cols : int
    Pixels of a row.)")
        .def(nb::init<Index, Index>(), "pixels"_a, "cols"_a);

    nb::class_<BoundCountingSums>(m, "CountingSums", R"(Where counts and clipped sums go.

Parameters
----------
above : ndarray of uint16, shape (pixels,)
    Samples T < x <= T2.
beyond : ndarray of uint16, shape (pixels,)
    Samples x > T2.
near : ndarray of uint16, shape (pixels,)
    Samples x <= T2 with a core, a finite sample above T3, within two rows and columns.
near_above : ndarray of uint16, shape (pixels,)
    Those of them with x > T.
low, high : ndarray of float64, shape (pixels,)
    Sums of min(x - T, 0) and of max(x - T, 0) over x <= T2.
thresholds : tuple of float
    T, T2 and T3, in the unit of the sums.
telemetry : tuple of int
    First and last-plus-one row without signal: no cores there, and nothing near them.

Raises
------
ValueError
    Shapes differ, or thresholds do not ascend.)")
        .def(
            "__init__",
            [](BoundCountingSums *self, Out<std::uint16_t> above, Out<std::uint16_t> beyond,
               Out<std::uint16_t> near, Out<std::uint16_t> near_above, Out<double> low,
               Out<double> high, std::tuple<double, double, double> thresholds,
               std::tuple<Index, Index> telemetry) {
                CountingSums sums;
                sums.above = line(above, "above");
                const Index pixels = sums.above.size;
                sums.beyond = line(beyond, "beyond", pixels);
                sums.near = line(near, "near", pixels);
                sums.near_above = line(near_above, "near_above", pixels);
                sums.low = line(low, "low", pixels);
                sums.high = line(high, "high", pixels);
                std::tie(sums.T, sums.T2, sums.T3) = thresholds;
                if (!(sums.T < sums.T2 && sums.T2 <= sums.T3))
                    throw nb::value_error("thresholds must ascend");
                std::tie(sums.telemetry[0], sums.telemetry[1]) = telemetry;
                new (self) BoundCountingSums{std::move(above),
                                             std::move(beyond),
                                             std::move(near),
                                             std::move(near_above),
                                             std::move(low),
                                             std::move(high),
                                             sums};
            },
            array("above"), array("beyond"), array("near"), array("near_above"), array("low"),
            array("high"), "thresholds"_a, "telemetry"_a);

    nb::class_<BoundCountsAbove>(m, "CountsAbove",
                                 R"(Where the numbers of samples above a threshold go.

Parameters
----------
above : ndarray of uint16, shape (pixels,)
    Good samples x > T.
plus, minus : ndarray of uint16, shape (pixels,), or None
    Good samples x + s > T and x - s > T, with s the error of the sample; both or none.
threshold : float
    T, in the unit of the sums.

Raises
------
ValueError
    Shapes differ, or only one of plus and minus is given.)")
        .def(
            "__init__",
            [](BoundCountsAbove *self, Out<std::uint16_t> above,
               std::optional<Out<std::uint16_t>> plus, std::optional<Out<std::uint16_t>> minus,
               double threshold) {
                CountsAbove counts;
                counts.above = line(above, "above");
                counts.T = threshold;
                if (plus.has_value() != minus.has_value())
                    throw nb::value_error("plus and minus must be given together");
                if (plus) {
                    counts.plus = line(*plus, "plus", counts.above.size);
                    counts.minus = line(*minus, "minus", counts.above.size);
                }
                new (self)
                    BoundCountsAbove{std::move(above), std::move(plus), std::move(minus), counts};
            },
            array("above"), optional_array("plus"), optional_array("minus"), "threshold"_a);

    nb::class_<BoundHistogram>(m, "Histogram", R"(Where samples are counted by value.

Parameters
----------
counts : ndarray of int64, shape (2, LINEAR_BINS + OCTAVE_BINS)
    Of the imaging area, and of the rest of the frame; counted up.
start, width : float
    Lower edge of the first bin and width of the even ones, in the unit of the sums; bins of an
    eighth of an octave follow. What lies outside is counted in the first or the last bin.
every : int
    One frame, or one row, of so many is used.
first : int
    Number of the first frame of the batch; those with multiples of ``every`` are used.
by_rows : bool
    Of every frame those rows are used whose number, and that of the frame, add up to a multiple
    of ``every``.
area, telemetry : tuple of int
    First and last-plus-one row of the imaging area, and of the rows without signal.

Raises
------
ValueError
    Another shape, a width that is not positive, or ``every`` below 1.)")
        .def(
            "__init__",
            [](BoundHistogram *self, Out<std::int64_t> counts, double start, double width,
               Index every, Index first, bool by_rows, std::tuple<Index, Index> area,
               std::tuple<Index, Index> telemetry) {
                Histogram histogram;
                histogram.counts = plane(counts, "counts", 2, LINEAR_BINS + OCTAVE_BINS);
                if (!(width > 0.0))
                    throw nb::value_error("width must be positive");
                if (every < 1 || first < 0)
                    throw nb::value_error("every must be at least 1, first at least 0");
                histogram.start = start, histogram.width = width;
                histogram.every = every, histogram.first = first, histogram.by_rows = by_rows;
                std::tie(histogram.area[0], histogram.area[1]) = area;
                std::tie(histogram.telemetry[0], histogram.telemetry[1]) = telemetry;
                new (self) BoundHistogram{std::move(counts), histogram};
            },
            array("counts"), "start"_a, "width"_a, "every"_a, "first"_a, "by_rows"_a, "area"_a,
            "telemetry"_a);

    nb::class_<BoundSequenceMeans>(m, "SequenceMeans", R"(Where means of every few frames go.

Parameters
----------
mean : ndarray of float32, shape (planes, pixels)
    Means of the good samples of ``length`` frames each; NaN where there is none. The last plane
    may have fewer frames.
n : ndarray of uint8, shape (planes, pixels)
    Numbers of good samples.
length : int
    Frames of a plane, 1 to 255.
first : int
    Frames that were added to the sums before the batch.

Raises
------
ValueError
    Shapes differ, or ``length`` or ``first`` make no sense.)")
        .def(
            "__init__",
            [](BoundSequenceMeans *self, Out<float> mean, Out<std::uint8_t> n, Index length,
               Index first) {
                SequenceMeans sequence;
                sequence.mean = plane(mean, "mean");
                sequence.n = plane(n, "n", sequence.mean.rows, sequence.mean.cols);
                if (length < 1 || length > 255)
                    throw nb::value_error("length must be 1 to 255");
                if (first < 0)
                    throw nb::value_error("first must be at least 0");
                sequence.length = length, sequence.first = first;
                new (self) BoundSequenceMeans{std::move(mean), std::move(n), sequence};
            },
            array("mean"), array("n"), "length"_a, "first"_a);

    m.def(
        "add_band", add_band, "frames"_a, "room"_a, "sums"_a.none(), "lo"_a, "hi"_a, "fresh"_a,
        "closed"_a, "imaging"_a, "prescan"_a, optional_array("figures"), array("n"), array("mean"),
        array("m2"), optional_array("err2"), array("flags"), optional_array("top"),
        "counting"_a.none() = nb::none(), "histogram"_a.none() = nb::none(),
        "counts_above"_a.none() = nb::none(), "sequence"_a.none() = nb::none(), Unlocked(),
        R"(Add a band of rows of every frame of a batch to open sums; close them if it is the last.

Parameters
----------
frames : Frames
    The batch.
room : Room
    Buffers of this thread.
sums : OpenSums or None
    Where batches came before or will follow, or ``top`` is kept.
lo, hi : int
    First and last-plus-one pixel: whole rows.
fresh, closed : bool
    Whether no batch came before; whether none follows: then the moments are written.
imaging, prescan : tuple of int
    First and last-plus-one column of the imaging area and of the reliable prescan.
figures : ndarray of float64, shape (frames, rows, len(ROW_FIGURES)), or None
    Receives the figures of every row.
n, mean, m2, err2, flags : ndarray, shape (pixels,)
    Receive the moments of the band: uint16 or uint32; float64; float64; float64, all 0 before, or
    None; unsigned integers of 16 bits or more.
top : ndarray of float64, shape (pixels, kept), or None
    The largest samples of each pixel so far, ascending.
counting : CountingSums, optional
    Receive the counts and clipped sums of the band.
histogram : Histogram, optional
    Receives the samples of the band, by value.
counts_above : CountsAbove, optional
    Receives the numbers of samples above a threshold.
sequence : SequenceMeans, optional
    Receives the means of the frames, a plane for every few of them; the last one when no batch
    follows.

Returns
-------
failed : int
    Index of a frame whose file ended too early, or -1.
any_errors : bool
    Whether any error of these frames is not 0.)");

    m.def(
        "merge",
        [](const AnyOut &n, const Out<double> &mean, const Out<double> &m2,
           const std::optional<Out<double>> &err2, const AnyOut &flags,
           const std::optional<Out<double>> &top, const AnyOut &n_b, const Out<double> &mean_b,
           const Out<double> &m2_b, const std::optional<Out<double>> &err2_b, const AnyOut &flags_b,
           const std::optional<Out<double>> &top_b) {
            const Merge merge = {moments(n, mean, m2, err2, flags, top),
                                 moments(n_b, mean_b, m2_b, err2_b, flags_b, top_b)};
            const auto &a = merge.into, &b = merge.other;
            if (a.mean.size != b.mean.size || a.n_width != b.n_width ||
                a.flags_width != b.flags_width || (b.err2 && !a.err2) ||
                (b.top && (!a.top || a.top.cols != b.top.cols)))
                throw nb::value_error("only sums of the same kind can be merged");
            kernels().merge(merge);
        },
        array("n"), array("mean"), array("m2"), optional_array("err2"), array("flags"),
        optional_array("top"), array("n_b"), array("mean_b"), array("m2_b"),
        optional_array("err2_b"), array("flags_b"), optional_array("top_b"), Unlocked(),
        R"(Join closed sums: afterwards the first hold those of both sets of frames.

Chan, Golub & LeVeque (1983), The American Statistician 37, 242, eq. 2.1.

Parameters
----------
n, mean, m2, err2, flags, top : ndarray
    Moments, as in `add_band`; changed in place.
n_b, mean_b, m2_b, err2_b, flags_b, top_b : ndarray
    Moments of other frames.)");
}

} // namespace emdarks
