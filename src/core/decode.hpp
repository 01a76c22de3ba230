// From stored numbers to native ones: bytes in order, and what cannot be used made NaN.
#pragma once

#include "kernels.hpp"
#include "lanes.hpp"

namespace emdarks::EMDARKS_LEVEL {

// From here on (10^12) a number counts as not finite: no camera counts so far, and one such sample
// would spoil the pooled noise of its stack.
inline constexpr double HUGE_NUMBER = 0x1p40;

// Flags of a sample.
inline constexpr unsigned SATURATED = 32, COSMIC_RAY = 128;

template <int width> struct WordOf;
template <> struct WordOf<1> {
    using type = std::uint8_t;
};
template <> struct WordOf<2> {
    using type = std::uint16_t;
};
template <> struct WordOf<4> {
    using type = std::uint32_t;
};
template <> struct WordOf<8> {
    using type = std::uint64_t;
};
// The unsigned integer that has as many bytes as T.
template <class T> using Word = typename WordOf<sizeof(T)>::type;

EMDARKS_INLINE std::uint8_t swapped(std::uint8_t word) { return word; }
EMDARKS_INLINE std::uint16_t swapped(std::uint16_t word) { return __builtin_bswap16(word); }
EMDARKS_INLINE std::uint32_t swapped(std::uint32_t word) { return __builtin_bswap32(word); }
EMDARKS_INLINE std::uint64_t swapped(std::uint64_t word) { return __builtin_bswap64(word); }

// Calls `use` with a number of the unsigned type that has `width` bytes.
template <class Use> EMDARKS_INLINE auto with_word(int width, Use use) {
    switch (width) {
    case 1:
        return use(std::uint8_t{});
    case 2:
        return use(std::uint16_t{});
    case 4:
        return use(std::uint32_t{});
    default:
        return use(std::uint64_t{});
    }
}

// The same for the types of integers.
template <class Use> EMDARKS_INLINE auto with_integer(const Stored &stored, Use use) {
    return with_word(stored.width, [&](auto word) {
        using Unsigned = decltype(word);
        if (stored.kind == Kind::unsigned_integer)
            return use(Unsigned{});
        if constexpr (sizeof(Unsigned) == 1)
            return use(std::int8_t{});
        else if constexpr (sizeof(Unsigned) == 2)
            return use(std::int16_t{});
        else if constexpr (sizeof(Unsigned) == 4)
            return use(std::int32_t{});
        else
            return use(std::int64_t{});
    });
}

inline void to_native(const Words &a) {
    with_word(a.stored.width, [&](auto zero) {
        using T = decltype(zero);
        auto *words = static_cast<T *>(a.data);
        const auto flip = static_cast<T>(a.stored.flip);
        const bool swap = a.stored.swap;
        for (Index i = 0; i < a.size; ++i)
            words[i] = static_cast<T>((swap ? swapped(words[i]) : words[i]) ^ flip);
    });
}

// Exponents of numbers from which on they are huge, infinite or not a number.
template <class Real> struct Exponent;
template <> struct Exponent<float> {
    static constexpr std::uint32_t mask = 0x7F800000, huge = (127u + 40u) << 23;
};
template <> struct Exponent<double> {
    static constexpr std::uint64_t mask = 0x7FFull << 52, huge = (1023ull + 40ull) << 52;
};

// Real numbers become native ones in place. Whether all are known to be finite and not huge.
template <class Real> bool load_reals(Real *values, Index size, bool swap) {
    using T = Word<Real>;
    T worst = 0;
    const auto take = [&](auto order) {
        for (Index p = 0; p < size; ++p) {
            T word;
            __builtin_memcpy(&word, values + p, sizeof word);
            word = order(word);
            __builtin_memcpy(values + p, &word, sizeof word);
            const T exponent = word & Exponent<Real>::mask;
            worst = exponent > worst ? exponent : worst;
        }
    };
    if (swap)
        take([](T word) { return swapped(word); });
    else
        take([](T word) { return word; });
    return worst < Exponent<Real>::huge;
}

// Integers become real numbers. Only those of 8 bytes may be larger than a camera counts.
inline bool load_integers(const void *from, const Stored &stored, double *values, Index size) {
    with_integer(stored, [&](auto zero) {
        using Integer = decltype(zero);
        const auto *words = static_cast<const Word<Integer> *>(from);
        const auto flip = static_cast<Word<Integer>>(stored.flip);
        for (Index p = 0; p < size; ++p) {
            const auto word = stored.swap ? swapped(words[p]) : words[p];
            values[p] =
                static_cast<double>(static_cast<Integer>(static_cast<Word<Integer>>(word ^ flip)));
        }
    });
    return stored.width < 8;
}

// Real numbers from any stored type.
inline void load_numbers(const void *from, const Stored &stored, double *values, Index size) {
    if (stored.kind != Kind::real) {
        load_integers(from, stored, values, size);
        return;
    }
    with_word(stored.width, [&](auto zero) {
        using T = decltype(zero);
        if constexpr (sizeof(T) >= sizeof(float)) {
            using Real = std::conditional_t<sizeof(T) == sizeof(float), float, double>;
            const auto *words = static_cast<const char *>(from);
            for (Index p = 0; p < size; ++p) {
                T word;
                __builtin_memcpy(&word, words + p * Index{sizeof word}, sizeof word);
                word = stored.swap ? swapped(word) : word;
                Real number;
                __builtin_memcpy(&number, &word, sizeof number);
                values[p] = static_cast<double>(number);
            }
        }
    });
}

// Whether all bits of some bytes are 0.
inline bool all_zero(const void *from, Index bytes) {
    const auto *each = static_cast<const std::uint8_t *>(from);
    std::uint64_t seen = 0;
    Index i = 0;
    for (; i + 8 <= bytes; i += 8) {
        std::uint64_t word;
        __builtin_memcpy(&word, each + i, sizeof word);
        seen |= word;
    }
    for (; i < bytes; ++i)
        seen |= each[i];
    return seen == 0;
}

} // namespace emdarks::EMDARKS_LEVEL
