#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include "binding.hpp"
#include "dispatch.hpp"

NB_MODULE(_core, m) {
    // Executors that live as long as the process hold rooms: that is no leak.
    nanobind::set_leak_warnings(false);
    m.doc() = "Compiled loops over arrays: no files by name, no headers, no logging.";
    m.attr("levels") = nanobind::cast(emdarks::levels());
    m.attr("level") = emdarks::level();
    m.attr("sources") = EMDARKS_SOURCES;
    emdarks::bind_decode(m);
    emdarks::bind_statistics(m);
    emdarks::bind_stream(m);
    emdarks::bind_raw(m);
    emdarks::bind_fit(m);
    emdarks::bind_counting(m);
}
