// Which instruction level this process uses.
#include "dispatch.hpp"

#include <cstdlib>
#include <stdexcept>

#include "kernels.hpp"

#ifdef EMDARKS_X86_64_LEVELS
#include <cpuid.h>
#endif

namespace emdarks {

namespace baseline {
extern const Kernels table;
}
#ifdef EMDARKS_X86_64_LEVELS
namespace v3 {
extern const Kernels table;
}
namespace v4 {
extern const Kernels table;
}
#endif

namespace {

#ifdef EMDARKS_X86_64_LEVELS
// The processor is asked, and the registers that the system saves when it switches threads: where
// Zig compiles, __builtin_cpu_supports knows of nothing.
struct Cpuid {
    unsigned a = 0, b = 0, c = 0, d = 0;

    explicit Cpuid(unsigned leaf) { __get_cpuid_count(leaf, 0, &a, &b, &c, &d); }
};

bool has(unsigned word, unsigned bits) { return (word & bits) == bits; }

bool system_saves(unsigned registers) {
    unsigned low, high;
    __asm__("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    return has(low, registers);
}

bool x86_64_v3() {
    constexpr unsigned vector_registers = 0x6;
    constexpr unsigned count_leading_zeros = 1u << 5; // compilers differ in its name
    const Cpuid basic(1), structured(7), extended(0x80000001);
    return has(basic.c, bit_SSE3 | bit_SSSE3 | bit_SSE4_1 | bit_SSE4_2 | bit_POPCNT |
                            bit_CMPXCHG16B | bit_FMA | bit_MOVBE | bit_F16C | bit_AVX |
                            bit_OSXSAVE) &&
           has(structured.b, bit_AVX2 | bit_BMI | bit_BMI2) &&
           has(extended.c, bit_LAHF_LM | count_leading_zeros) && system_saves(vector_registers);
}

bool x86_64_v4() {
    constexpr unsigned wide_vector_registers = 0xe0;
    return x86_64_v3() && system_saves(wide_vector_registers) &&
           has(Cpuid(7).b, bit_AVX512F | bit_AVX512BW | bit_AVX512CD | bit_AVX512DQ | bit_AVX512VL);
}
#endif

struct Level {
    const char *name;
    bool there;
    const Kernels *table;
};

std::vector<Level> all_levels() {
    return {
#ifdef EMDARKS_X86_64_LEVELS
        {"v4", x86_64_v4(), &v4::table},
        {"v3", x86_64_v3(), &v3::table},
#endif
        {"baseline", true, &baseline::table},
    };
}

Level chosen() {
    const char *wanted = std::getenv("EMDARKS_CPU_LEVEL");
    const bool any = wanted == nullptr || *wanted == '\0';
    for (const auto &level : all_levels())
        if (level.there && (any || std::string(wanted) == level.name))
            return level;
    std::string names;
    for (const auto &name : levels())
        names += (names.empty() ? "" : ", ") + name;
    throw std::runtime_error("EMDARKS_CPU_LEVEL=" + std::string(wanted) + ": this machine has " +
                             names);
}

const Level &current() {
    static const Level level = chosen();
    return level;
}

} // namespace

std::vector<std::string> levels() {
    std::vector<std::string> names;
    for (const auto &level : all_levels())
        if (level.there)
            names.emplace_back(level.name);
    return names;
}

std::string level() { return current().name; }

const Kernels &kernels() { return *current().table; }

} // namespace emdarks
