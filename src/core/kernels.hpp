// All kernels of the core: what each takes, and the table that an instruction level fills.
#pragma once

#include "arrays.hpp"

namespace emdarks {

// Stored numbers become native ones: bytes swapped, then bits flipped.
struct ToNative {
    void *words;
    Index size;
    int width;
    bool swap;
    std::uint64_t flip;
};

struct Kernels {
    void (*to_native)(const ToNative &);
};

// The kernels of the best level that this machine has, or of the one that the user named.
const Kernels &kernels();

} // namespace emdarks
