// The first sweep over a raw frame: the bias of its rows, saturated pixels, cosmic rays.
//
// The frame is read once, some rows at a time: of each row its bias and its highest number are
// kept. Then the rows are known whose highest number lies far enough above their bias to be
// searched, and these alone are read again.
#pragma once

#include "decode.hpp"
#include "positioned_read.hpp"

namespace emdarks::EMDARKS_LEVEL {

// Bytes that are read at a time.
inline constexpr Index SCAN_BYTES = 1 << 16;

// Numbers that are ordered as integers: so medians come from counts.
template <class Key> Index count_up_to(const Key *keys, Index size, Key most) {
    constexpr Index piece = 1 << 14; // so many can be counted in a Key
    Index total = 0;
    for (Index at = 0; at < size; at += piece) {
        const Index end = at + piece < size ? at + piece : size;
        Key count = 0;
        for (Index i = at; i < end; ++i)
            count = static_cast<Key>(count + (keys[i] <= most));
        total += count;
    }
    return total;
}

// The k-th smallest, from 0, by bisection.
template <class Key> Key kth_smallest(const Key *keys, Index size, Index k) {
    Key lo = keys[0], hi = keys[0];
    for (Index i = 1; i < size; ++i) {
        lo = keys[i] < lo ? keys[i] : lo;
        hi = keys[i] > hi ? keys[i] : hi;
    }
    while (lo < hi) {
        const auto middle = static_cast<Key>((lo & hi) + ((lo ^ hi) >> 1));
        if (count_up_to(keys, size, middle) > k)
            hi = middle;
        else
            lo = static_cast<Key>(middle + 1);
    }
    return lo;
}

// Integers of 2 bytes are their own keys, signed ones with their sign turned over.
struct ShortKeys {
    using Key = std::uint16_t;
    double shift; // a key less this is the number

    EMDARKS_INLINE double number(Key key) const { return key - shift; }
};

// Real numbers have their bits as keys, those of negative ones turned over.
struct RealKeys {
    using Key = std::int64_t;

    EMDARKS_INLINE static Key turned(Key bits) {
        return bits ^ static_cast<Key>(static_cast<std::uint64_t>(bits >> 63) >> 1);
    }
    EMDARKS_INLINE static Key key(double x) {
        Key bits;
        __builtin_memcpy(&bits, &x, sizeof bits);
        return turned(bits);
    }
    EMDARKS_INLINE double number(Key key) const {
        const Key bits = turned(key);
        double x;
        __builtin_memcpy(&x, &bits, sizeof x);
        return x;
    }
};

// The median: of an even count the mean of the two in the middle.
template <class Keys> double median_of(const Keys &as, const typename Keys::Key *keys, Index size) {
    using Key = typename Keys::Key;
    const Key low = kth_smallest(keys, size, (size - 1) / 2);
    if (size % 2 == 1 || count_up_to(keys, size, low) > size / 2)
        return as.number(low);
    bool found = false;
    Key high = low;
    for (Index i = 0; i < size; ++i)
        if (keys[i] > low && (!found || keys[i] < high))
            high = keys[i], found = true;
    return (as.number(low) + as.number(high)) / 2.0;
}

// Standard deviation of the population; differences are taken from a number amid the others.
inline double deviation(const double *x, Index size, double amid) {
    Lanes sums = {}, squares = {};
    for (Index p = 0; p < size; p += WIDTH) {
        const Index count = size - p < WIDTH ? size - p : WIDTH;
        const Lanes d = select(first(count), load(x + p, count) - amid, Lanes{});
        sums += d;
        squares += d * d;
    }
    const auto n = static_cast<double>(size);
    const double shift = sum(sums) / n, variance = sum(squares) / n - shift * shift;
    return variance > 0.0 ? __builtin_sqrt(variance) : 0.0;
}

// Starts of cosmic rays in a row: every plateau in which the rank filter of the row reaches the
// threshold, from its first pixel on.
class RowSearch {
public:
    RowSearch(const CosmicRaySearch &search, const double *x, Index cols)
        : search_(search), x_(x), cols_(cols), size_(search.filter + 1), before_(size_ / 2) {}

    // Calls `found` with the columns, ascending.
    template <class Found> void each(Found found) {
        Index next = 0;
        for (Index p = 0; p < cols_; p += WIDTH) {
            const Index count = cols_ - p < WIDTH ? cols_ - p : WIDTH;
            if (!any(load(x_ + p, count) >= search_.threshold))
                continue;
            for (Index i = p; i < p + count; ++i)
                if (x_[i] >= search_.threshold)
                    next = look_around(i, next, found);
        }
    }

private:
    const CosmicRaySearch &search_;
    const double *x_;
    Index cols_, size_, before_;
    Index latest_ = -1, walked_ = -1; // a start, and the pixel from which the walk led to it

    EMDARKS_INLINE double at(Index i) const {
        return x_[i < 0 ? 0 : i >= cols_ ? cols_ - 1 : i]; // the first and the last are repeated
    }

    // Windows that hold pixel `hit`, from pixel `next` on. The first one that was not looked at.
    template <class Found> Index look_around(Index hit, Index next, Found found) {
        const Index lo = hit + before_ - size_ + 1, end = hit + before_ + 1;
        for (Index i = lo > next ? lo : next; i < end && i < cols_; ++i) {
            if (!reaches(i))
                continue;
            const Index head = start(i);
            if (head != latest_ && head < cols_)
                found(head);
            latest_ = head, walked_ = i;
        }
        return end > next ? end : next;
    }

    // Whether the element of rank size / 2 (from 0, ascending) of the window around i does: for an
    // even size the upper one of the two in the middle.
    bool reaches(Index i) const {
        Index high = 0;
        for (Index j = i - before_; j < i - before_ + size_; ++j)
            high += at(j) >= search_.threshold;
        return high >= size_ - size_ / 2;
    }

    // Where the plateau begins that pixel i belongs to; the next pixel, if it belongs to none. The
    // walk ends where an earlier one began.
    Index start(Index i) const {
        Index h = i;
        while (h > 0 && x_[h] >= search_.plateau) {
            if (h == walked_)
                return latest_;
            --h;
        }
        return x_[h] >= search_.plateau ? h : h + 1;
    }
};

template <class Keys> class Scanner {
    using Key = typename Keys::Key;

public:
    Scanner(const RawScan &scan, Keys keys)
        : a_(scan), as_(keys), bias_cols_(scan.bias.columns[1] - scan.bias.columns[0]),
          step_(SCAN_BYTES / (scan.frame.cols * scan.frame.stored.width) + 1),
          bytes_(step_ * scan.frame.cols * scan.frame.stored.width), row_(scan.frame.cols),
          keys_(room()), samples_(keys_.size > scan.frame.rows ? keys_.size : scan.frame.rows),
          tops_(scan.frame.rows) {}

    RawScanResult scan() {
        RawScanResult result = {false, 0, 0, 0};
        if (!learn_rows())
            return {true, 0, 0, 0};
        finish_bias();
        double least = a_.saturation;
        if (a_.search != nullptr && a_.search->threshold < least)
            least = a_.search->threshold;
        for (Index r = a_.area.row_lo; r < a_.area.row_hi; ++r)
            if (tops_[r] - a_.row_bias[r] >= least && !search_row(r, result))
                return {true, 0, 0, 0};
        if (is_over(result))
            result.heads = 0;
        return result;
    }

private:
    const RawScan &a_;
    Keys as_;
    Index bias_cols_, step_; // rows that are read at a time
    Buffer<char> bytes_;
    Buffer<double> row_;
    Buffer<Key> keys_;       // of the bias columns
    Buffer<double> samples_; // the same as numbers; later the biases of rows
    Buffer<double> tops_;    // the highest number of each row in the area
    Index collected_ = 0;    // keys of all rows together

    bool is_over(const RawScanResult &result) const {
        return 100.0 * static_cast<double>(result.over) / static_cast<double>(a_.area.size()) >
               a_.most_saturated;
    }

    // Keys of a row, or of the bias columns of all rows.
    Index room() const {
        const Index cols = a_.frame.cols;
        return a_.bias.from == BiasFrom::frame ? a_.area.rows() * bias_cols_ + cols : cols;
    }

    bool learn_rows() {
        const Index cols = a_.frame.cols, rows = a_.frame.rows;
        for (Index lo = 0; lo < rows; lo += step_) {
            const Index hi = lo + step_ < rows ? lo + step_ : rows;
            if (!read(a_.frame, lo * cols, (hi - lo) * cols, bytes_.data))
                return false;
            for (Index r = lo; r < hi; ++r)
                learn_row(r, bytes_.data + (r - lo) * cols * a_.frame.stored.width);
        }
        return true;
    }

    void learn_row(Index r, const char *stored) {
        // Of the whole frame, keys are kept behind each other.
        Key *keys = keys_.data + (a_.bias.from == BiasFrom::frame ? collected_ : 0);
        const Index lo = a_.bias.columns[0];
        Index count = bias_cols_;
        if constexpr (sizeof(Key) == 2) {
            load_keys(stored, keys);
            Key top = 0;
            for (Index p = a_.area.col_lo; p < a_.area.col_hi; ++p)
                top = keys[p] > top ? keys[p] : top;
            tops_[r] = as_.number(top);
            const bool all = a_.bias.below == __builtin_inf();
            for (Index i = 0; all && i < bias_cols_; ++i)
                keys[i] = keys[lo + i];
            count = all ? bias_cols_ : 0;
            for (Index i = 0; !all && i < bias_cols_; ++i)
                if (as_.number(keys[lo + i]) < a_.bias.below)
                    keys[count++] = keys[lo + i];
        } else {
            load_numbers(stored, a_.frame.stored, row_.data, a_.frame.cols);
            double top = -__builtin_inf();
            for (Index p = a_.area.col_lo; p < a_.area.col_hi; ++p)
                top = row_[p] > top ? row_[p] : top;
            tops_[r] = top;
            count = 0;
            for (Index p = lo; p < lo + bias_cols_; ++p)
                if (row_[p] - row_[p] == 0.0 && row_[p] < a_.bias.below)
                    keys[count++] = RealKeys::key(row_[p]);
        }
        if (a_.bias.from == BiasFrom::rows)
            measure(keys, count, a_.row_bias[r], a_.row_error[r]);
        else if (r >= a_.area.row_lo && r < a_.area.row_hi)
            collected_ += a_.bias.from == BiasFrom::frame ? count : 0;
    }

    void load_keys(const char *stored, Key *keys) const {
        const auto *words = reinterpret_cast<const std::uint16_t *>(stored);
        const bool is_signed = a_.frame.stored.kind == Kind::signed_integer;
        const auto flip =
            static_cast<std::uint16_t>(a_.frame.stored.flip ^ (is_signed ? 0x8000u : 0u));
        const Index cols = a_.frame.cols;
        const auto take = [&](auto order) {
            for (Index p = 0; p < cols; ++p) {
                std::uint16_t word;
                __builtin_memcpy(&word, words + p, sizeof word);
                keys[p] = static_cast<Key>(order(word) ^ flip);
            }
        };
        if (a_.frame.stored.swap)
            take([](std::uint16_t word) { return swapped(word); });
        else
            take([](std::uint16_t word) { return word; });
    }

    // Median of some keys, and the error of their mean; not a number without any.
    void measure(const Key *keys, Index count, double &bias, double &error) const {
        bias = error = NOT_A_NUMBER;
        if (count == 0)
            return;
        bias = median_of(as_, keys, count);
        for (Index i = 0; i < count; ++i)
            samples_[i] = as_.number(keys[i]);
        error = deviation(samples_.data, count, bias) / __builtin_sqrt(static_cast<double>(count));
    }

    void finish_bias() {
        const BiasRule &rule = a_.bias;
        double level = rule.level, level_error = 0.0;
        if (rule.from == BiasFrom::frame)
            measure(keys_.data, collected_, level, level_error);
        for (Index r = 0; r < a_.frame.rows; ++r) {
            if (rule.from != BiasFrom::rows)
                a_.row_bias[r] = level, a_.row_error[r] = level_error;
            a_.repaired[r] = 0;
        }
        if (rule.from == BiasFrom::rows)
            repair();
        for (Index r = 0; r < a_.frame.rows; ++r) {
            const double error = a_.row_error[r];
            a_.row_bias[r] -= rule.offset;
            a_.row_error[r] = __builtin_sqrt(error * error + rule.offset_error * rule.offset_error);
        }
    }

    // Rows whose bias is far from that of the others get the median of all rows of the area,
    // outliers included.
    void repair() {
        Buffer<RealKeys::Key> keys(a_.area.rows());
        Index count = 0;
        for (Index r = a_.area.row_lo; r < a_.area.row_hi; ++r)
            if (a_.row_bias[r] == a_.row_bias[r]) {
                samples_[count] = a_.row_bias[r];
                keys[count++] = RealKeys::key(a_.row_bias[r]);
            }
        if (count == 0)
            return;
        const double middle = median_of(RealKeys{}, keys.data, count);
        const double most = a_.bias.num_stds * deviation(samples_.data, count, middle);
        for (Index r = 0; r < a_.frame.rows; ++r)
            if (__builtin_fabs(a_.row_bias[r] - middle) > most)
                a_.row_bias[r] = middle, a_.repaired[r] = 1;
    }

    // Read the row of the area again, count and search it; whether that was possible.
    bool search_row(Index r, RawScanResult &result) {
        const Index cols = a_.area.cols();
        if (!read(a_.frame, r * a_.frame.cols + a_.area.col_lo, cols, bytes_.data))
            return false;
        double *x = row_.data;
        load_numbers(bytes_.data, a_.frame.stored, x, cols);
        const double bias = a_.row_bias[r], saturation = a_.saturation;
        Index saturated = 0, over = 0;
        for (Index p = 0; p < cols; ++p) {
            x[p] -= bias;
            saturated += x[p] >= saturation;
            over += x[p] > saturation;
        }
        result.saturated += saturated, result.over += over;
        if (a_.search == nullptr || is_over(result))
            return true;
        exempt(r, x);
        const auto row = static_cast<std::int32_t>(r - a_.area.row_lo);
        RowSearch(*a_.search, x, cols).each([&](Index head) {
            if (result.heads < a_.heads.rows) {
                a_.heads(result.heads, 0) = row;
                a_.heads(result.heads, 1) = static_cast<std::int32_t>(head);
            }
            ++result.heads;
        });
        return true;
    }

    // Within the discs nothing is searched.
    void exempt(Index r, double *x) const {
        const Array2<const double> discs = a_.search->discs;
        for (Index d = 0; d < discs.rows; ++d) {
            const double dy = static_cast<double>(r) - discs(d, 0), radius = discs(d, 2);
            for (Index p = 0; p < a_.area.cols(); ++p) {
                const double dx = static_cast<double>(p + a_.area.col_lo) - discs(d, 1);
                if (dx * dx + dy * dy < radius * radius)
                    x[p] = 0.0;
            }
        }
    }
};

inline RawScanResult scan_raw(const RawScan &a) {
    const Stored &stored = a.frame.stored;
    if (stored.kind != Kind::real && stored.width == 2)
        return Scanner<ShortKeys>(a, {stored.kind == Kind::signed_integer ? 32768.0 : 0.0}).scan();
    return Scanner<RealKeys>(a, {}).scan();
}

} // namespace emdarks::EMDARKS_LEVEL
