// How arrays of Python reach the kernels: types by nanobind, shapes here.
#pragma once

#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>

#include <bit>
#include <optional>
#include <string>
#include <vector>

#include "kernels.hpp"

namespace emdarks {

namespace nb = nanobind;
using namespace nb::literals;

// Arrays that a kernel reads, and that it writes.
template <class T> using In = nb::ndarray<const T, nb::c_contig, nb::device::cpu>;
template <class T> using Out = nb::ndarray<T, nb::c_contig, nb::device::cpu>;
// Of any type: the kernel is chosen by it.
using AnyIn = nb::ndarray<nb::ro, nb::c_contig, nb::device::cpu>;
using AnyOut = nb::ndarray<nb::c_contig, nb::device::cpu>;

// An argument that is an array: taken as it is or refused. nanobind would pass a converted copy of
// others, and what a kernel writes to a copy is lost.
inline auto array(const char *name) { return nb::arg(name).noconvert(); }
inline auto optional_array(const char *name) { return nb::arg(name).noconvert().none(); }

using Unlocked = nb::call_guard<nb::gil_scoped_release>;

[[noreturn]] inline void bad_shape(const char *name, const std::string &wanted) {
    throw nb::value_error((std::string(name) + " must have shape (" + wanted + ")").c_str());
}

// One line of `size` elements; any number of them where size is -1.
template <class Array> Index check_line(const Array &array, const char *name, Index size = -1) {
    const auto there = static_cast<Index>(array.ndim() == 1 ? array.shape(0) : 0);
    if (array.ndim() != 1 || (size >= 0 && there != size))
        bad_shape(name, size < 0 ? "any," : std::to_string(size) + ",");
    return there;
}

template <class Array> auto line(const Array &array, const char *name, Index size = -1) {
    const Index there = check_line(array, name, size);
    return Array1<std::remove_pointer_t<decltype(array.data())>>{array.data(), there};
}

template <class Array>
auto plane(const Array &array, const char *name, Index rows = -1, Index cols = -1) {
    const bool two = array.ndim() == 2;
    const auto r = static_cast<Index>(two ? array.shape(0) : 0);
    const auto c = static_cast<Index>(two ? array.shape(1) : 0);
    if (!two || (rows >= 0 && r != rows) || (cols >= 0 && c != cols))
        bad_shape(name, (rows < 0 ? "any" : std::to_string(rows)) + ", " +
                            (cols < 0 ? "any" : std::to_string(cols)));
    return Array2<std::remove_pointer_t<decltype(array.data())>>{array.data(), r, c};
}

// Arrays among arguments that are many: taken as they are, and kept alive by the caller.
template <class T> const char *name_of() {
    using Plain = std::remove_const_t<T>;
    if constexpr (std::is_same_v<Plain, double>)
        return "float64";
    else if constexpr (std::is_same_v<Plain, float>)
        return "float32";
    else if constexpr (std::is_same_v<Plain, bool>)
        return "bool";
    else if constexpr (std::is_same_v<Plain, std::uint16_t>)
        return "uint16";
    else
        return sizeof(T) == 1 ? "int8" : sizeof(T) == 2 ? "int16" : "int64";
}

template <class Array> Array given(nb::handle object, const char *name, const std::string &wanted) {
    Array array;
    if (!nb::try_cast(object, array, false))
        throw nb::type_error(
            (std::string(name) + " must be a C-contiguous array of " + wanted).c_str());
    return array;
}

// Arrays of Python, of the types and shapes that they must have. The caller keeps them alive.
template <class T> Array1<T> line_of(nb::handle object, const char *name, Index size = -1) {
    return line(given<nb::ndarray<T, nb::c_contig, nb::device::cpu>>(object, name, name_of<T>()),
                name, size);
}

template <class T> Array2<T> plane_of(nb::handle object, const char *name, Index rows, Index cols) {
    return plane(given<nb::ndarray<T, nb::c_contig, nb::device::cpu>>(object, name, name_of<T>()),
                 name, rows, cols);
}

template <class Array> Unsigned words(const Array &array, const char *name) {
    if (array.dtype().code != static_cast<std::uint8_t>(nb::dlpack::dtype_code::UInt))
        throw nb::type_error((std::string(name) + " must be unsigned integers").c_str());
    const bool two = array.ndim() == 2;
    return {const_cast<char *>(static_cast<const char *>(array.data())),
            two ? static_cast<Index>(array.shape(0)) : 1,
            static_cast<Index>(array.ndim() > 0 ? array.shape(array.ndim() - 1) : 0),
            array.dtype().bits / 8};
}

inline Unsigned words_of(nb::handle object, const char *name, Index rows, Index cols) {
    const auto array = given<AnyIn>(object, name, "unsigned integers");
    const Unsigned found = words(array, name);
    if (array.ndim() != 2 || found.rows != rows || (cols >= 0 && found.cols != cols))
        bad_shape(name, std::to_string(rows) + ", " + (cols < 0 ? "any" : std::to_string(cols)));
    return found;
}

// Run a kernel without the lock of the interpreter.
template <class Do> auto unlocked(Do kernel) {
    nb::gil_scoped_release release;
    return kernel();
}

// Pixels from lo up to hi must be among those of a plane.
inline void check_range(Index lo, Index hi, Index pixels) {
    if (lo < 0 || hi < lo || hi > pixels)
        throw nb::value_error("lo and hi must be a range of the pixels");
}

// Bytes of unsigned integers, one of `widths`.
template <class Array> int width(const Array &array, const char *name, const char *widths) {
    const int bytes = array.dtype().bits / 8;
    if (array.dtype().code != static_cast<std::uint8_t>(nb::dlpack::dtype_code::UInt) ||
        std::string(widths).find(static_cast<char>('0' + bytes)) == std::string::npos)
        throw nb::type_error(
            (std::string(name) + " must be unsigned integers of " + widths[0] + " bytes or more")
                .c_str());
    return bytes;
}

// The sums of a stack.
Moments moments(const AnyOut &n, const Out<double> &mean, const Out<double> &m2,
                const std::optional<Out<double>> &err2, const AnyOut &flags,
                const std::optional<Out<double>> &top);

// Of a type as NumPy writes it: byte order, kind, bytes.
Stored parse_stored(const char *name, const std::string &type, std::uint64_t flip, bool integers);

void bind_decode(nb::module_ &m);
void bind_statistics(nb::module_ &m);
void bind_stream(nb::module_ &m);
void bind_raw(nb::module_ &m);
void bind_fit(nb::module_ &m);
void bind_counting(nb::module_ &m);

} // namespace emdarks
