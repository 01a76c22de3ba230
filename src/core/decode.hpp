// From stored numbers to native ones.
#pragma once

#include "kernels.hpp"
#include "lanes.hpp"

namespace emdarks::EMDARKS_LEVEL {

EMDARKS_INLINE std::uint8_t swapped(std::uint8_t word) { return word; }
EMDARKS_INLINE std::uint16_t swapped(std::uint16_t word) { return __builtin_bswap16(word); }
EMDARKS_INLINE std::uint32_t swapped(std::uint32_t word) { return __builtin_bswap32(word); }
EMDARKS_INLINE std::uint64_t swapped(std::uint64_t word) { return __builtin_bswap64(word); }

template <class Word> void to_native(const ToNative &a) {
    auto *words = static_cast<Word *>(a.words);
    const auto flip = static_cast<Word>(a.flip);
    for (Index i = 0; i < a.size; ++i)
        words[i] = static_cast<Word>((a.swap ? swapped(words[i]) : words[i]) ^ flip);
}

inline void to_native_any(const ToNative &a) {
    switch (a.width) {
    case 1:
        return to_native<std::uint8_t>(a);
    case 2:
        return to_native<std::uint16_t>(a);
    case 4:
        return to_native<std::uint32_t>(a);
    default:
        return to_native<std::uint64_t>(a);
    }
}

} // namespace emdarks::EMDARKS_LEVEL
