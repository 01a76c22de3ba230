#include "binding.hpp"
#include "kernels.hpp"

namespace emdarks {

void bind_decode(nb::module_ &m) {
    m.def(
        "to_native",
        [](const AnyOut &words, std::uint64_t flip) {
            if (words.dtype().code != static_cast<std::uint8_t>(nb::dlpack::dtype_code::UInt))
                throw nb::type_error("words must be unsigned integers");
            const Stored stored = {Kind::unsigned_integer, words.dtype().bits / 8, true, flip};
            kernels().to_native({words.data(), static_cast<Index>(words.size()), stored});
        },
        array("words"), "flip"_a = 0, Unlocked(),
        R"(Swap the bytes of unsigned integers in place, then XOR each with ``flip``.

The XOR with the top bit turns FITS's offset integers (BZERO = 2^15 for uint16, 2^31 for
uint32) into the unsigned numbers that they stand for.

Parameters
----------
words : ndarray of unsigned integers, any shape, C order
    Changed in place.
flip : int
    Bits to flip afterwards.)");
}

} // namespace emdarks
