// Which instruction level this process uses.
#include "dispatch.hpp"

#include <cstdlib>
#include <stdexcept>

#include "kernels.hpp"

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

struct Level {
    const char *name;
    bool there;
    const Kernels *table;
};

std::vector<Level> all_levels() {
    return {
#ifdef EMDARKS_X86_64_LEVELS
        {"v4", static_cast<bool>(__builtin_cpu_supports("x86-64-v4")), &v4::table},
        {"v3", static_cast<bool>(__builtin_cpu_supports("x86-64-v3")), &v3::table},
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
