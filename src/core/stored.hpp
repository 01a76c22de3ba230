// How numbers lie in a file or in memory.
#pragma once

#include "arrays.hpp"

namespace emdarks {

// How numbers of a plane are stored: their type, and what makes native ones of them.
enum class Kind : std::uint8_t { none, real, signed_integer, unsigned_integer };
struct Stored {
    Kind kind = Kind::none;
    int width = 0; // bytes
    bool swap = false;
    std::uint64_t flip = 0; // bits, after swapping
};

// In the place of a file descriptor: offsets are addresses.
inline constexpr int IN_MEMORY = -1;

// The image of one frame.
struct FrameBytes {
    int file = IN_MEMORY;
    std::int64_t offset = 0;
    Stored stored;
    Index rows = 0, cols = 0;
};

// First and last-plus-one rows and columns.
struct Area {
    Index row_lo = 0, row_hi = 0, col_lo = 0, col_hi = 0;

    Index rows() const { return row_hi - row_lo; }
    Index cols() const { return col_hi - col_lo; }
    Index size() const { return rows() * cols(); }
};

} // namespace emdarks
