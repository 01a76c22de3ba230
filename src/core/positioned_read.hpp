// Bytes of a frame, from an open file or from memory.
#pragma once

#include <cerrno>
#include <unistd.h>

#include "stored.hpp"

namespace emdarks::EMDARKS_LEVEL {

// Fill a buffer; whether that was possible. A positioned read needs no shared file offset.
inline bool read(int file, void *buffer, Index count, std::int64_t offset) {
    auto *to = static_cast<char *>(buffer);
    if (file == IN_MEMORY) {
        const char *from;
        static_assert(sizeof from == sizeof offset);
        __builtin_memcpy(&from, &offset, sizeof from);
        __builtin_memcpy(to, from, static_cast<std::size_t>(count));
        return true;
    }
    while (count > 0) {
        const auto got = ::pread(file, to, static_cast<std::size_t>(count), offset);
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            return false;
        to += got, offset += got, count -= got;
    }
    return true;
}

// The same of `count` pixels of an image from pixel `lo` on.
inline bool read(const FrameBytes &frame, Index lo, Index count, void *buffer) {
    const Index width = frame.stored.width;
    return read(frame.file, buffer, count * width, frame.offset + lo * width);
}

} // namespace emdarks::EMDARKS_LEVEL
