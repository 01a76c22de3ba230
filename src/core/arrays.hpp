// Views of arrays that Python owns: a pointer and a shape.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>

#ifdef EMDARKS_CHECKED
// With a check at every access, inlining all of it takes the compiler four times as long.
#define EMDARKS_INLINE inline
#else
#define EMDARKS_INLINE [[gnu::always_inline]] inline
#endif
// The same for lambdas, behind their parameters.
#define EMDARKS_INLINED __attribute__((always_inline))

namespace emdarks {

using Index = std::ptrdiff_t;

#ifdef EMDARKS_CHECKED
// Checked builds stop where a kernel leaves its arrays.
EMDARKS_INLINE void check_bounds(Index i, Index size) {
    if (i < 0 || i >= size) {
        std::fprintf(stderr, "emdarks: index %td of %td\n", i, size);
        std::abort();
    }
}
#else
EMDARKS_INLINE void check_bounds(Index, Index) {}
#endif

// Contiguous elements.
template <class T> struct Array1 {
    T *data = nullptr;
    Index size = 0;

    EMDARKS_INLINE T &operator[](Index i) const {
        check_bounds(i, size);
        return data[i];
    }
    // The elements from lo up to hi.
    EMDARKS_INLINE Array1 part(Index lo, Index hi) const {
        if (lo != hi) {
            check_bounds(lo, size);
            check_bounds(hi - 1, size);
        }
        return {data + lo, hi - lo};
    }
    // The address of `count` elements from i.
    EMDARKS_INLINE T *at(Index i, Index count = 1) const { return part(i, i + count).data; }
    EMDARKS_INLINE explicit operator bool() const { return data != nullptr; }
};

// Contiguous rows of equal length.
template <class T> struct Array2 {
    T *data = nullptr;
    Index rows = 0;
    Index cols = 0;

    EMDARKS_INLINE T &operator()(Index i, Index j) const { return row(i)[j]; }
    EMDARKS_INLINE Array1<T> row(Index i) const {
        check_bounds(i, rows);
        return {data + i * cols, cols};
    }
    EMDARKS_INLINE explicit operator bool() const { return data != nullptr; }
};

} // namespace emdarks
