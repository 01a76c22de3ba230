// Eight numbers at a time, on the compiler's vector types.
//
// Every instruction level works on eight lanes and combines them in one order, so that results
// have the same bits. Lanes are cut by hand into the registers that a level has: GCC compares and
// selects wider vectors number by number.
#pragma once

#include <type_traits>

#include "arrays.hpp"

namespace emdarks::EMDARKS_LEVEL {

inline constexpr double NOT_A_NUMBER = __builtin_nan("");

inline constexpr Index WIDTH = 8;
#if defined(__AVX512F__)
inline constexpr Index REGISTER = 8;
#elif defined(__AVX2__)
inline constexpr Index REGISTER = 4;
#else
inline constexpr Index REGISTER = 2;
#endif

template <class T, Index N> struct Plain {
    typedef T type __attribute__((vector_size(N * sizeof(T))));
};

// N numbers of 8 bytes: one register, or two halves.
template <class T, Index N> struct Some {
    using Part = std::conditional_t<N == REGISTER, typename Plain<T, N>::type, Some<T, N / 2>>;
    struct Whole {
        Part all;
    };
    struct Halves {
        Part low, high;
    };
    std::conditional_t<N == REGISTER, Whole, Halves> parts;

    Some() = default;
    EMDARKS_INLINE Some(T x) {
        if constexpr (N == REGISTER)
            parts.all = Part{} + x;
        else
            parts = {Part(x), Part(x)};
    }

    // The same done to each register.
    template <class Do, class... Others>
    EMDARKS_INLINE static Some each(Do what, const Others &...others) {
        Some result;
        if constexpr (N == REGISTER)
            result.parts.all = (Part)what(others.parts.all...);
        else {
            result.parts.low = Part::each(what, others.parts.low...);
            result.parts.high = Part::each(what, others.parts.high...);
        }
        return result;
    }

    EMDARKS_INLINE static Some from(const T *place) {
        Some result;
        if constexpr (N == REGISTER)
            __builtin_memcpy(&result.parts.all, place, sizeof(Part));
        else
            result.parts = {Part::from(place), Part::from(place + N / 2)};
        return result;
    }
    EMDARKS_INLINE void to(T *place) const {
        if constexpr (N == REGISTER)
            __builtin_memcpy(place, &parts.all, sizeof(Part));
        else {
            parts.low.to(place);
            parts.high.to(place + N / 2);
        }
    }
    EMDARKS_INLINE T operator[](Index i) const {
        T one;
        __builtin_memcpy(&one, reinterpret_cast<const char *>(this) + i * Index{sizeof(T)},
                         sizeof(T));
        return one;
    }
    EMDARKS_INLINE void set(Index i, T one) {
        __builtin_memcpy(reinterpret_cast<char *>(this) + i * Index{sizeof(T)}, &one, sizeof(T));
    }

#define EMDARKS_OPERATOR(op, Result)                                                               \
    EMDARKS_INLINE friend Some<Result, N> operator op(Some a, Some b) {                            \
        return Some<Result, N>::each([](auto x, auto y) { return x op y; }, a, b);                 \
    }
    EMDARKS_OPERATOR(+, T)
    EMDARKS_OPERATOR(-, T)
    EMDARKS_OPERATOR(*, T)
    EMDARKS_OPERATOR(/, T)
    EMDARKS_OPERATOR(&, T)
    EMDARKS_OPERATOR(|, T)
    EMDARKS_OPERATOR(<, std::int64_t)
    EMDARKS_OPERATOR(>, std::int64_t)
    EMDARKS_OPERATOR(<=, std::int64_t)
    EMDARKS_OPERATOR(>=, std::int64_t)
    EMDARKS_OPERATOR(==, std::int64_t)
    EMDARKS_OPERATOR(!=, std::int64_t)
#undef EMDARKS_OPERATOR
    EMDARKS_INLINE friend Some operator-(Some a) {
        return each([](auto x) { return -x; }, a);
    }
    EMDARKS_INLINE friend Some operator~(Some a) {
        return each([](auto x) { return ~x; }, a);
    }
    EMDARKS_INLINE Some &operator+=(Some b) { return *this = *this + b; }
    EMDARKS_INLINE Some &operator-=(Some b) { return *this = *this - b; }
    EMDARKS_INLINE Some &operator*=(Some b) { return *this = *this * b; }
    EMDARKS_INLINE Some &operator/=(Some b) { return *this = *this / b; }
    EMDARKS_INLINE Some &operator&=(Some b) { return *this = *this & b; }
    EMDARKS_INLINE Some &operator|=(Some b) { return *this = *this | b; }
};

using Lanes = Some<double, WIDTH>;
// What comparisons of Lanes give: all bits of a lane set, or none.
using Mask = Some<std::int64_t, WIDTH>;

// WIDTH numbers of type T: Lanes of doubles, a Mask of int64, the compiler's vector of others.
template <class T> struct VectorOf {
    using type = typename Plain<T, WIDTH>::type;
};
template <> struct VectorOf<double> {
    using type = Lanes;
};
template <> struct VectorOf<std::int64_t> {
    using type = Mask;
};
template <class T> using Vector = typename VectorOf<T>::type;

// Vectors may lie anywhere in memory.
template <class T> EMDARKS_INLINE Vector<T> load(const T *from) {
    if constexpr (std::is_same_v<T, double>)
        return Lanes::from(from);
    else {
        Vector<T> v;
        __builtin_memcpy(&v, from, sizeof v);
        return v;
    }
}

template <class T> EMDARKS_INLINE void store(T *to, std::type_identity_t<Vector<T>> v) {
    if constexpr (std::is_same_v<T, double>)
        v.to(to);
    else
        __builtin_memcpy(to, &v, sizeof v);
}

// Of WIDTH numbers or fewer; the other lanes are 0.
template <class T> EMDARKS_INLINE Vector<T> load(const T *from, Index count) {
    if (__builtin_expect(count == WIDTH, true))
        return load(from);
    Vector<T> v{};
    __builtin_memcpy(&v, from, static_cast<std::size_t>(count) * sizeof(T));
    return v;
}

template <class T>
EMDARKS_INLINE void store(T *to, std::type_identity_t<Vector<T>> v, Index count) {
    if (__builtin_expect(count == WIDTH, true))
        return store(to, v);
    __builtin_memcpy(to, &v, static_cast<std::size_t>(count) * sizeof(T));
}

// The registers of a wide vector of the compiler, and back.
template <class T, Index N> EMDARKS_INLINE Some<T, N> cut(typename Plain<T, N>::type v) {
    Some<T, N> result;
    if constexpr (N == REGISTER)
        result.parts.all = v;
    else if constexpr (N == 8)
        result.parts = {cut<T, 4>(__builtin_shufflevector(v, v, 0, 1, 2, 3)),
                        cut<T, 4>(__builtin_shufflevector(v, v, 4, 5, 6, 7))};
    else
        result.parts = {cut<T, 2>(__builtin_shufflevector(v, v, 0, 1)),
                        cut<T, 2>(__builtin_shufflevector(v, v, 2, 3))};
    return result;
}
template <class T> EMDARKS_INLINE T join(T v) { return v; }
template <class T> EMDARKS_INLINE auto join(Some<T, WIDTH> v) {
    typename Plain<T, WIDTH>::type all;
    __builtin_memcpy(&all, &v, sizeof all);
    return all;
}

// Small integers become double by way of int32, for which there are instructions.
template <class To, class From> EMDARKS_INLINE Vector<To> convert(From v) {
    if constexpr (std::is_same_v<To, double> && sizeof v < WIDTH * sizeof(std::int32_t))
        return convert<double>(convert<std::int32_t>(v));
    const auto to = __builtin_convertvector(join(v), typename Plain<To, WIDTH>::type);
    if constexpr (sizeof(To) == 8 && std::is_signed_v<To>)
        return cut<To, WIDTH>(to);
    else
        return to;
}

// Numbers as Lanes, in the ways that GCC has instructions for. Counts are below 2^31.
EMDARKS_INLINE Lanes to_lanes(Lanes v) { return v; }
EMDARKS_INLINE Lanes to_lanes(Vector<float> v) {
    return cut<double, WIDTH>(
        typename Plain<double, WIDTH>::type{v[0], v[1], v[2], v[3], v[4], v[5], v[6], v[7]});
}
EMDARKS_INLINE Lanes to_lanes(Vector<std::int32_t> v) { return convert<double>(v); }
EMDARKS_INLINE Lanes to_lanes(Vector<std::uint16_t> v) { return convert<double>(v); }
EMDARKS_INLINE Lanes to_lanes(Vector<std::uint32_t> v) {
    return to_lanes(reinterpret_cast<Vector<std::int32_t>>(v));
}

EMDARKS_INLINE Lanes lanes(double x) { return {x}; }

EMDARKS_INLINE Lanes select(Mask where, Lanes yes, Lanes no) {
    return Lanes::each([](auto m, auto y, auto n) { return m ? y : n; }, where, yes, no);
}

// What is not a number loses, as in `b if a is NaN`.
EMDARKS_INLINE Lanes larger(Lanes a, Lanes b) { return select(a > b, a, b); }
EMDARKS_INLINE Lanes smaller(Lanes a, Lanes b) { return select(a < b, a, b); }

EMDARKS_INLINE Lanes square_root(Lanes x) {
    return Lanes::each(
        [](auto v) {
            for (Index i = 0; i < REGISTER; ++i)
                v[i] = __builtin_sqrt(v[i]);
            return v;
        },
        x);
}

template <class Bits> EMDARKS_INLINE bool any(const Bits &m) {
    decltype(m[0] | m[0]) seen = 0;
    for (Index i = 0; i < WIDTH; ++i)
        seen |= m[i];
    return seen != 0;
}

// Masks are folded in halves: that takes few instructions, one lane after the other many.
EMDARKS_INLINE std::int64_t folded(typename Plain<std::int64_t, 2>::type v) { return v[0] | v[1]; }
#if defined(__AVX2__)
EMDARKS_INLINE std::int64_t folded(typename Plain<std::int64_t, 4>::type v) {
    return folded(__builtin_shufflevector(v, v, 0, 1) | __builtin_shufflevector(v, v, 2, 3));
}
#endif
#if defined(__AVX512F__)
EMDARKS_INLINE std::int64_t folded(typename Plain<std::int64_t, 8>::type v) {
    return folded(__builtin_shufflevector(v, v, 0, 1, 2, 3) |
                  __builtin_shufflevector(v, v, 4, 5, 6, 7));
}
#endif
template <Index N> EMDARKS_INLINE std::int64_t folded(Some<std::int64_t, N> m) {
    if constexpr (N == REGISTER)
        return folded(m.parts.all);
    else
        return folded(m.parts.low | m.parts.high);
}
EMDARKS_INLINE bool any(const Mask &m) { return folded(m) != 0; }

// The first `count` lanes.
EMDARKS_INLINE Mask first(Index count) {
    static constexpr double index[WIDTH] = {0, 1, 2, 3, 4, 5, 6, 7};
    return load(index) < static_cast<double>(count);
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
