// From open files to sums in one call: read, swap, accumulate.
//
// A band of rows is worked through run by run, a run being a few rows. Of each run, some frames are
// read into buffers that stay in a core's cache, and added while they are there; the sums of the
// run stay there, too, until all frames are in. So each byte crosses main memory once. Frames are
// descriptors or addresses here, and byte offsets; what they mean is the caller's business.
#pragma once

#include "moments.hpp"
#include "positioned_read.hpp"
#include "raw_rows.hpp"

namespace emdarks::EMDARKS_LEVEL {

// Samples that are good, or have one value.
template <class Value> Index count_good(const Value *values, Index size) {
    std::uint32_t count = 0;
    for (Index p = 0; p < size; ++p)
        count += values[p] == values[p];
    return count;
}

template <class Value> Index count_equal(const Value *values, Index size, Value wanted) {
    std::uint32_t count = 0;
    for (Index p = 0; p < size; ++p)
        count += values[p] == wanted;
    return count;
}

// Take the flags of a row into the sums; `bad` receives 1 where a sample is excluded.
template <class Word, class Flag, class Order>
void add_flags(const Word *__restrict stored, Order order, Word flip, Word mask,
               Flag *__restrict flags, std::uint16_t *__restrict n, std::uint16_t *__restrict bad,
               Index cols) {
    for (Index p = 0; p < cols; ++p) {
        const auto flag = static_cast<Word>(order(stored[p]) ^ flip);
        const auto excluded = static_cast<std::uint16_t>((flag & mask) != 0);
        flags[p] = static_cast<Flag>(flags[p] | static_cast<Flag>(flag));
        n[p] = static_cast<std::uint16_t>(n[p] + 1 - excluded);
        bad[p] = excluded;
    }
}

template <class Value>
void mask_samples(Value *__restrict values, const std::uint16_t *__restrict bad, Index cols) {
    for (Index p = 0; p < cols; ++p)
        values[p] = bad[p] != 0 ? static_cast<Value>(NOT_A_NUMBER) : values[p];
}

struct Sums {
    double sum, squares, highest;
};

// Sum, and if wanted sum of squares and highest, of the good samples of a piece of a row. 32 lanes
// are added up in order.
template <bool all_three, class Value> Sums sum_row(const Value *values, Index size, double scale) {
    constexpr Index parts = 4;
    Lanes sums[parts] = {}, squares[parts] = {}, highest[parts];
    for (auto &each : highest)
        each = lanes(-__builtin_inf());
    Index p = 0;
    for (; p + parts * WIDTH <= size; p += parts * WIDTH)
        for (Index k = 0; k < parts; ++k) {
            const Lanes v = to_lanes(load(values + p + k * WIDTH)), x = v * scale;
            const Lanes good = select(x == x, x, Lanes{});
            sums[k] += good;
            if constexpr (all_three) {
                squares[k] += good * good;
                highest[k] = larger(v, highest[k]);
            }
        }
    Sums all = {0.0, 0.0, -__builtin_inf()};
    for (Index k = 0; k < parts; ++k)
        for (Index i = 0; i < WIDTH; ++i) {
            all.sum += sums[k][i];
            all.squares += squares[k][i];
            all.highest = highest[k][i] > all.highest ? highest[k][i] : all.highest;
        }
    for (; p < size; ++p) {
        const double v = values[p], x = v * scale;
        if (x == x) {
            all.sum += x;
            all.squares += x * x;
            all.highest = v > all.highest ? v : all.highest;
        }
    }
    return all;
}

// Weighted sum of every 31st sample of a row, enough to tell frames of noise apart.
template <class Value> double fingerprint(const Value *values, Index size) {
    constexpr Index stride = 31, parts = 4;
    double content[parts] = {};
    for (Index i = 0, k = 0; i < size; i += stride, k = (k + 1) % parts) {
        const double x = values[i];
        content[k] += x - x == 0.0 ? x * (static_cast<double>(i) + 1.0) : 0.0;
    }
    return (content[0] + content[1]) + (content[2] + content[3]);
}

// Adds a band; images are numbers of type Value, flags of type Flag.
template <class Value, class Flag> class Stream {
public:
    explicit Stream(const Band &band)
        : a_(band), room_(band.room), sums_(band.whole ? band.sums : band.room.sums),
          flags_(static_cast<Flag *>(sums_.flags)), cores_(band.counting, band.cols, band.room) {}

    BandResult add() {
        BandResult result = {-1, false};
        for (Index lo = a_.lo; lo < a_.hi; lo += a_.run) {
            const Index hi = lo + a_.run < a_.hi ? lo + a_.run : a_.hi, base = a_.whole ? lo : 0;
            if (a_.fresh)
                reset<Flag>(sums_, a_.moments.top, base, base + hi - lo);
            if (a_.fresh && a_.counting)
                reset(a_.counting, lo, hi);
            if (a_.fresh && a_.counts_above)
                reset(a_.counts_above, lo, hi);
            if (a_.fresh && a_.sequence)
                begin_plane(base, hi - lo);
            const auto run = add_run(lo, hi, base);
            if (run.failed >= 0)
                return run;
            result.errors |= run.errors;
            if (a_.histogram.counts)
                counted_.flush_into(a_.histogram);
            if (a_.closed) {
                const Index frames = a_.files.size;
                if (a_.sequence && a_.sequence.left(frames) < a_.sequence.length)
                    end_plane(frames, lo, hi, base);
                close(lo, hi, base, run.errors);
            }
        }
        return result;
    }

private:
    const Band &a_;
    const Room &room_;
    const OpenSums &sums_;
    Flag *flags_;
    Cores<Value> cores_;
    RunHistogram counted_;
    // The image as stored, where the rows of the run begin.
    const void *stored_ = nullptr;

    BandResult add_run(Index lo, Index hi, Index base) {
        const Index frames = a_.files.size;
        bool errors = false;
        for (Index first = 0, count; first < frames; first += count) {
            count = frames - first < GROUP ? frames - first : GROUP;
            if (a_.sequence && a_.sequence.left(first) < count)
                count = a_.sequence.left(first);
            const Value *values[GROUP] = {};
            for (Index g = 0; g < count; ++g) {
                Value *to = read_frame(first + g, lo, hi, g);
                if (to == nullptr)
                    return {first + g, false};
                for (Index at = 0; at < hi - lo; at += a_.cols)
                    errors |= prepare_row(first + g, lo + at, at, base + at, to + at);
                count_frame(first + g, lo, hi, to);
                values[g] = to;
            }
            const RunStart start = {base, lo};
            if (a_.counting)
                add_samples<true>(values, &a_.scales[first], count, hi - lo, sums_, a_.counting,
                                  start);
            else
                add_samples<false>(values, &a_.scales[first], count, hi - lo, sums_, a_.counting,
                                   start);
            if (a_.sequence && a_.sequence.left(first) == count)
                end_plane(first + count, lo, hi, base);
        }
        return {-1, errors};
    }

    // No frame of a plane of means has been added.
    void begin_plane(Index base, Index pixels) {
        for (Index p = base; p < base + pixels; ++p) {
            sums_.n_before[p] = 0;
            sums_.shifted_before[p] = 0.0;
        }
    }

    // Write the plane of means that the last of so many frames of the batch belongs to.
    void end_plane(Index frames, Index lo, Index hi, Index base) {
        const Index plane = (a_.sequence.first + frames - 1) / a_.sequence.length, pixels = hi - lo;
        float *__restrict mean = a_.sequence.mean.row(plane).at(lo, pixels);
        std::uint8_t *__restrict n = a_.sequence.n.row(plane).at(lo, pixels);
        const std::uint16_t *__restrict all = sums_.n.at(base, pixels);
        const double *__restrict first = sums_.first.at(base, pixels);
        const double *__restrict sum = sums_.shifted.at(base, pixels);
        std::uint16_t *__restrict n_before = sums_.n_before.at(base, pixels);
        double *__restrict sum_before = sums_.shifted_before.at(base, pixels);
        for (Index p = 0; p < pixels; ++p) {
            const std::int32_t count = all[p] - n_before[p];
            // Without a sample this is 0 / 0: no number.
            mean[p] = static_cast<float>(first[p] + (sum[p] - sum_before[p]) / count);
            n[p] = static_cast<std::uint8_t>(count);
            n_before[p] = all[p];
            sum_before[p] = sum[p];
        }
    }

    bool read_plane(Index f, Index plane, const Stored &stored, Index lo, Index hi, void *to) {
        if (stored.kind == Kind::none)
            return true;
        return read(a_.files[f], to, (hi - lo) * stored.width,
                    a_.offsets(plane, f) + lo * stored.width);
    }

    // Read a run of a frame; where its numbers begin, null where that was not possible. Where
    // cores are sought, the image is read with the rows beside the run.
    Value *read_frame(Index f, Index lo, Index hi, Index g) {
        const Index reach = cores_.wanted() ? CORE_REACH * a_.cols : 0;
        const Index before = lo < reach ? lo : reach, end = a_.moments.mean.size;
        const Index behind = hi + reach < end ? reach : end - hi;
        auto *values = static_cast<Value *>(room_.values[g]);
        void *image = a_.data.kind == Kind::real && !a_.calibrations ? values : room_.data;
        if (!read_plane(f, 0, a_.data, lo - before, hi + behind, image) ||
            !read_plane(f, 1, a_.err, lo, hi, room_.err) ||
            !read_plane(f, 2, a_.dq, lo, hi, room_.dq))
            return nullptr;
        values += before;
        stored_ = after(room_.data, before * a_.data.width);
        if (cores_.wanted()) {
            cores_.begin(a_.scales[f], (lo - before) / a_.cols);
            for (Index at = -before; at < 0; at += a_.cols)
                find_beside(f, lo, at, values + at);
        }
        return values;
    }

    // Cores of a row beside the run.
    void find_beside(Index f, Index lo, Index at, Value *values) {
        Index saturated = 0;
        const Index row = (lo + at) / a_.cols;
        load_row(f, row, at, values, saturated);
        cores_.find(values, row);
    }

    // Count what a frame has near cores, and its samples by value, once its rows are prepared.
    void count_frame(Index f, Index lo, Index hi, Value *values) {
        if (cores_.wanted()) {
            const Index reach = CORE_REACH * a_.cols, all = a_.moments.mean.size;
            const Index end = hi + reach < all ? hi + reach : all;
            for (Index at = hi - lo; lo + at < end; at += a_.cols)
                find_beside(f, lo, at, values + at);
            cores_.count_near(values, lo / a_.cols, hi / a_.cols, end / a_.cols);
        }
        if (a_.histogram.counts && a_.histogram.uses_any_of(a_.histogram.first + f))
            for (Index at = 0; at < hi - lo; at += a_.cols)
                add_row_to_histogram(f, (lo + at) / a_.cols, values + at);
    }

    void add_row_to_histogram(Index f, Index row, const Value *values) {
        const Histogram &h = a_.histogram;
        if (!h.uses(h.first + f, row))
            return;
        const bool inside = row >= h.area[0] && row < h.area[1];
        const Index lo = inside ? a_.imaging[0] : 0, hi = inside ? a_.imaging[1] : 0;
        counted_.add(values, lo, a_.scales[f], h, 1);
        counted_.add(values + lo, hi - lo, a_.scales[f], h, 0);
        counted_.add(values + hi, a_.cols - hi, a_.scales[f], h, 1);
    }

    static const void *after(const void *from, Index bytes) {
        return static_cast<const char *>(from) + bytes;
    }

    // Make native numbers of a row of the image, electrons if it is raw. Whether all are finite and
    // not huge; how many are saturated.
    bool load_row(Index f, Index row, Index at, Value *values, Index &saturated) {
        if constexpr (sizeof(Value) == sizeof(double)) {
            const void *stored = after(stored_, at * a_.data.width);
            if (a_.calibrations) {
                const RowCalibration &raw = *a_.calibrations[f];
                saturated =
                    electrons_of_row(raw, row, stored, a_.data, values, room_.saturated, a_.cols);
                return a_.data.kind != Kind::real && a_.data.width < 8 &&
                       raw.bias[row] == raw.bias[row];
            }
            if (a_.data.kind != Kind::real)
                return load_integers(stored, a_.data, values, a_.cols);
        }
        return load_reals(values, a_.cols, a_.data.swap);
    }

    // Make numbers of a row of frame f, NaN where a sample does not count, and add everything but
    // the samples themselves. `pixel` is its first pixel, `at` that in the buffers, `base` that in
    // the sums. Whether any error is not 0.
    bool prepare_row(Index f, Index pixel, Index at, Index base, Value *values) {
        const Index cols = a_.cols;
        Index saturated = 0;
        const RowCalibration *const raw = a_.calibrations ? a_.calibrations[f] : nullptr;
        const bool finite = load_row(f, pixel / cols, at, values, saturated);
        if (cores_.wanted())
            cores_.find(values, pixel / cols);
        const double content = fingerprint(values, cols);
        const std::uint64_t seen = load_flags(at, base);
        bool clean = seen == 0;
        Index not_finite = 0;
        if (!finite)
            not_finite += blank(values, values, base, -HUGE_NUMBER, clean);
        if (seen != 0)
            mask_samples(values, room_.bad.at(0, cols), cols);
        if (raw != nullptr)
            mark_raw(*raw, pixel / cols, saturated, base, values, clean);
        bool errors = false;
        if (a_.err.kind != Kind::none) {
            const void *stored = after(room_.err, at * a_.err.width);
            errors = !all_zero(stored, cols * a_.err.width);
            if (errors && a_.err.kind == Kind::real && a_.err.width == 4)
                not_finite += take_errors<float>(f, stored, base, values, clean);
            else if (errors)
                not_finite += take_errors<double>(f, stored, base, values, clean);
        }
        if (a_.counts_above)
            count_row_above(f, pixel, values, errors);
        if (raw != nullptr)
            errors |= add_raw_errors(*raw, pixel / cols, a_.scales[f], values, base);
        if (a_.figures)
            take_figures(f, pixel / cols, values, count_saturated(at, seen, saturated), clean,
                         content, not_finite);
        if (a_.moments.top)
            add_top(values, a_.scales[f], a_.moments.top, base, cols);
        return errors;
    }

    // Count the samples of a row above the threshold. `stored`: any stored error of the row is not
    // 0.
    void count_row_above(Index f, Index pixel, const Value *values, bool stored) const {
        const RowCalibration *const raw = a_.calibrations ? a_.calibrations[f] : nullptr;
        const double scale = a_.scales[f], error_scale = scale * (raw ? raw->k_gain : 1.0);
        const bool single = a_.err.kind == Kind::real && a_.err.width == 4;
        const auto stored_error = [&](Index p, Index size) EMDARKS_INLINED {
            const auto *from = room_.errors;
            return error_scale * (single
                                      ? to_lanes(load(static_cast<const float *>(from) + p, size))
                                      : load(static_cast<const double *>(from) + p, size));
        };
        count_above(values, scale, a_.counts_above, pixel, a_.cols,
                    [&](Index p, Index size, Lanes value) EMDARKS_INLINED {
                        const Lanes own = stored ? stored_error(p, size) : Lanes{};
                        if (raw == nullptr)
                            return own;
                        const RowErrors more(*raw, pixel / a_.cols, scale);
                        return square_root(own * own + more.square(value));
                    });
    }

    // Flag saturated samples of a row of a raw frame, and those that cosmic rays hit.
    void mark_raw(const RowCalibration &raw, Index row, Index saturated, Index base, Value *values,
                  bool &clean) {
        if (saturated == 0 && raw.first[row] == raw.first[row + 1])
            return;
        none_bad(clean);
        const auto mark = [&](Index p, unsigned flag) EMDARKS_INLINED {
            flags_[base + p] = static_cast<Flag>(flags_[base + p] | flag);
            if ((flag & a_.mask) == 0)
                return;
            exclude(p, base);
            values[p] = static_cast<Value>(NOT_A_NUMBER);
        };
        for (Index i = 0; i < saturated; ++i)
            mark(room_.saturated[i], SATURATED);
        each_hit(raw, row, [&](Index p) EMDARKS_INLINED { mark(p, COSMIC_RAY); });
    }

    // Add the squared errors of a row of a raw frame; whether there are any.
    bool add_raw_errors(const RowCalibration &raw, Index row, double scale, const Value *values,
                        Index base) {
        const RowErrors errors(raw, row, scale);
        if (!errors || !sums_.err2)
            return false;
        double *err2 = sums_.err2.at(base, a_.cols);
        for (Index p = 0; p < a_.cols; p += WIDTH) {
            const Index count = a_.cols - p < WIDTH ? a_.cols - p : WIDTH;
            const Lanes v = to_lanes(load(values + p, count));
            const Lanes more = select(v == v, errors.square(v), Lanes{});
            store(err2 + p, load(err2 + p, count) + more, count);
        }
        return true;
    }

    // Take the flags of a row into the sums; the OR of all. Fills `bad` if that is not 0.
    std::uint64_t load_flags(Index at, Index base) {
        const Index cols = a_.cols;
        std::uint16_t *n = sums_.n.at(base, cols);
        std::uint64_t all = 0;
        if (a_.dq.kind != Kind::none)
            with_word(a_.dq.width, [&](auto zero) {
                using T = decltype(zero);
                const auto *stored = static_cast<const T *>(after(room_.dq, at * a_.dq.width));
                const auto flip = static_cast<T>(a_.dq.flip), mask = static_cast<T>(a_.mask);
                const T none = a_.dq.swap ? swapped(flip) : flip;
                T seen = 0;
                for (Index p = 0; p < cols; ++p)
                    seen = static_cast<T>(seen | (stored[p] ^ none));
                all = a_.dq.swap ? swapped(seen) : seen;
                const auto take = [&](auto order) {
                    add_flags(stored, order, flip, mask, flags_ + base, n, room_.bad.at(0, cols),
                              cols);
                };
                if (seen != 0 && a_.dq.swap)
                    take([](T word) { return swapped(word); });
                else if (seen != 0)
                    take([](T word) { return word; });
            });
        if (all == 0)
            for (Index p = 0; p < cols; ++p)
                n[p] = static_cast<std::uint16_t>(n[p] + 1);
        return all;
    }

    // Samples become NaN, with flag 1, where a number (themselves, or their error) is not finite,
    // too large to be true or below `least`. How many.
    template <class Number>
    Index blank(const Number *numbers, Value *values, Index base, double least, bool &clean) {
        none_bad(clean);
        Index count = 0;
        for (Index p = 0; p < a_.cols; ++p) {
            const double x = numbers[p];
            if (x >= least && x < HUGE_NUMBER)
                continue;
            ++count;
            flags_[base + p] |= 1;
            values[p] = static_cast<Value>(NOT_A_NUMBER);
            exclude(p, base);
        }
        return count;
    }

    // From here on `bad` holds for this row.
    EMDARKS_INLINE void none_bad(bool &clean) {
        if (clean)
            __builtin_memset(room_.bad.at(0, a_.cols), 0,
                             static_cast<std::size_t>(a_.cols) * sizeof(std::uint16_t));
        clean = false;
    }

    EMDARKS_INLINE void exclude(Index p, Index base) {
        if (room_.bad[p] == 0) {
            room_.bad[p] = 1;
            --sums_.n[base + p];
        }
    }

    // Add the errors of a row; those that cannot be true exclude their samples. How many.
    template <class Error>
    Index take_errors(Index f, const void *stored, Index base, Value *values, bool &clean) {
        const Index cols = a_.cols;
        auto *errors = static_cast<Error *>(room_.errors);
        bool finite = false;
        if constexpr (sizeof(Error) == sizeof(double))
            if (a_.err.kind != Kind::real)
                finite = load_integers(stored, a_.err, errors, cols);
        if (a_.err.kind == Kind::real) {
            __builtin_memcpy(errors, stored, static_cast<std::size_t>(cols) * sizeof(Error));
            finite = load_reals(errors, cols, a_.err.swap);
        }
        bool negative = false;
        for (Index p = 0; p < cols; ++p)
            negative |= errors[p] < 0;
        const Index wrong = finite && !negative ? 0 : blank(errors, values, base, 0.0, clean);
        const double scale = a_.scales[f] * (a_.calibrations ? a_.calibrations[f]->k_gain : 1.0);
        add_errors(errors, values, scale, sums_.err2.at(base, cols), cols);
        return wrong;
    }

    // Saturated samples of the imaging area in a row: by their stored flags, whose OR is `seen`, or
    // by their own numbers.
    Index count_saturated(Index at, std::uint64_t seen, Index by_number) {
        const auto inside = [&](Index p) { return p >= a_.imaging[0] && p < a_.imaging[1]; };
        Index count = 0;
        for (Index i = 0; i < by_number; ++i)
            count += inside(room_.saturated[i]);
        if ((seen & SATURATED) == 0)
            return count;
        with_word(a_.dq.width, [&](auto zero) {
            using T = decltype(zero);
            const auto *stored = static_cast<const T *>(after(room_.dq, at * a_.dq.width));
            const auto flagged = [&](Index p) -> Index {
                const T word = a_.dq.swap ? swapped(stored[p]) : stored[p];
                return ((word ^ a_.dq.flip) & SATURATED) != 0;
            };
            for (Index p = a_.imaging[0]; p < a_.imaging[1]; ++p)
                count += flagged(p);
            for (Index i = 0; i < by_number; ++i) // not twice
                count -= inside(room_.saturated[i]) ? flagged(room_.saturated[i]) : 0;
        });
        return count;
    }

    void take_figures(Index f, Index row, const Value *values, Index saturated, bool clean,
                      double content, Index not_finite) {
        const double scale = a_.scales[f];
        const auto *area = values + a_.imaging[0], *prescan = values + a_.prescan[0];
        const Index size = a_.imaging[1] - a_.imaging[0],
                    prescan_size = a_.prescan[1] - a_.prescan[0];
        const Index good = clean ? size : count_good(area, size);
        const Sums sums = sum_row<true>(area, size, scale);
        const auto highest = static_cast<Value>(sums.highest);
        a_.figures(f, row) = {
            .good = static_cast<double>(good),
            .masked = static_cast<double>(size - good),
            .saturated = static_cast<double>(saturated),
            .sum = sums.sum,
            .squares = sums.squares,
            .prescan_good =
                static_cast<double>(clean ? prescan_size : count_good(prescan, prescan_size)),
            .prescan_sum = sum_row<false>(prescan, prescan_size, scale).sum,
            .content = content,
            .not_finite = static_cast<double>(not_finite),
            .highest = sums.highest * scale,
            .at_highest = static_cast<double>(good > 0 ? count_equal(area, size, highest) : 0),
        };
    }

    void close(Index lo, Index hi, Index base, bool errors) {
        if (a_.moments.n_width == 2)
            finalise<std::uint16_t, Flag>(sums_, base, lo, hi, a_.moments);
        else
            finalise<std::uint32_t, Flag>(sums_, base, lo, hi, a_.moments);
        // Memory that holds zeros only is not touched.
        if (a_.moments.err2 && (errors || a_.whole))
            for (Index p = lo, q = base; p < hi; ++p, ++q)
                a_.moments.err2[p] = sums_.err2[q];
    }
};

template <class Value> BandResult add_band_of(const Band &a) {
    switch (a.moments.flags_width) {
    case 2:
        return Stream<Value, std::uint16_t>(a).add();
    case 4:
        return Stream<Value, std::uint32_t>(a).add();
    default:
        return Stream<Value, std::uint64_t>(a).add();
    }
}

inline BandResult add_band(const Band &a) {
    const bool single = a.data.kind == Kind::real && a.data.width == 4 && !a.calibrations;
    return single ? add_band_of<float>(a) : add_band_of<double>(a);
}

} // namespace emdarks::EMDARKS_LEVEL
