// Eight numbers at a time, on the compiler's vector types.
//
// Every instruction level works on eight lanes and combines them in one order, so that results
// have the same bits; the compiler cuts lanes into the registers that there are.
#pragma once

#include "arrays.hpp"

namespace emdarks::EMDARKS_LEVEL {

inline constexpr Index WIDTH = 8;

template <class T> struct VectorOf {
    typedef T type __attribute__((vector_size(WIDTH * sizeof(T))));
};
// WIDTH numbers of type T.
template <class T> using Vector = typename VectorOf<T>::type;

using Lanes = Vector<double>;
// What comparisons of Lanes give: all bits of a lane set, or none.
using Mask = Vector<std::int64_t>;

// Vectors may lie anywhere in memory.
template <class T> EMDARKS_INLINE Vector<T> load(const T *from) {
    Vector<T> v;
    __builtin_memcpy(&v, from, sizeof v);
    return v;
}

template <class T> EMDARKS_INLINE void store(T *to, Vector<T> v) {
    __builtin_memcpy(to, &v, sizeof v);
}

// Of fewer than WIDTH numbers; the other lanes are 0.
template <class T> EMDARKS_INLINE Vector<T> load(const T *from, Index count) {
    Vector<T> v = {};
    __builtin_memcpy(&v, from, static_cast<std::size_t>(count) * sizeof(T));
    return v;
}

template <class T> EMDARKS_INLINE void store(T *to, Vector<T> v, Index count) {
    __builtin_memcpy(to, &v, static_cast<std::size_t>(count) * sizeof(T));
}

template <class To, class From> EMDARKS_INLINE Vector<To> convert(From v) {
    return __builtin_convertvector(v, Vector<To>);
}

// Numbers as Lanes, in the ways that compilers have instructions for. Counts are below 2^31.
EMDARKS_INLINE Lanes to_lanes(Lanes v) { return v; }
EMDARKS_INLINE Lanes to_lanes(Vector<float> v) {
    return Lanes{v[0], v[1], v[2], v[3], v[4], v[5], v[6], v[7]};
}
EMDARKS_INLINE Lanes to_lanes(Vector<std::int32_t> v) { return convert<double>(v); }
EMDARKS_INLINE Lanes to_lanes(Vector<std::uint16_t> v) {
    return convert<double>(convert<std::int32_t>(v));
}
EMDARKS_INLINE Lanes to_lanes(Vector<std::uint32_t> v) {
    return convert<double>(reinterpret_cast<Vector<std::int32_t>>(v));
}

EMDARKS_INLINE Lanes lanes(double x) { return Lanes{} + x; }

EMDARKS_INLINE Lanes select(Mask where, Lanes yes, Lanes no) { return where ? yes : no; }

// What is not a number loses, as in `b if a is NaN`.
EMDARKS_INLINE Lanes larger(Lanes a, Lanes b) { return select(a > b, a, b); }
EMDARKS_INLINE Lanes smaller(Lanes a, Lanes b) { return select(a < b, a, b); }

EMDARKS_INLINE Lanes square_root(Lanes x) {
    Lanes root;
    for (Index i = 0; i < WIDTH; ++i)
        root[i] = __builtin_sqrt(x[i]);
    return root;
}

EMDARKS_INLINE bool any(Mask m) {
    std::int64_t seen = 0;
    for (Index i = 0; i < WIDTH; ++i)
        seen |= m[i];
    return seen != 0;
}

// The first `count` lanes.
EMDARKS_INLINE Mask first(Index count) {
    Mask index = {0, 1, 2, 3, 4, 5, 6, 7};
    return index < static_cast<std::int64_t>(count);
}

// Sum over the lanes, in an order that is part of the result.
EMDARKS_INLINE double sum(Lanes x) {
    return ((x[0] + x[4]) + (x[2] + x[6])) + ((x[1] + x[5]) + (x[3] + x[7]));
}

// Room for numbers while a kernel runs.
template <class T> struct Buffer {
    T *data;
    Index size;

    explicit Buffer(Index count)
        : data(static_cast<T *>(std::aligned_alloc(
              64, (static_cast<std::size_t>(count) * sizeof(T) + 63) / 64 * 64))),
          size(count) {
        if (data == nullptr && count > 0)
            std::abort();
    }
    Buffer(const Buffer &) = delete;
    Buffer &operator=(const Buffer &) = delete;
    ~Buffer() { std::free(data); }

    EMDARKS_INLINE T &operator[](Index i) const {
        check_bounds(i, size);
        return data[i];
    }
    EMDARKS_INLINE Array1<T> all() const { return {data, size}; }
};

} // namespace emdarks::EMDARKS_LEVEL
