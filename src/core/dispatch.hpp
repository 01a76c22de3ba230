// Which instruction level this process uses.
#pragma once

#include <string>
#include <vector>

namespace emdarks {

// Names of the levels that this machine has, best first.
std::vector<std::string> levels();
// The one that is used.
std::string level();

} // namespace emdarks
