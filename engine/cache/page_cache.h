// The page cache of an open file.
#pragma once

#include <cstdint>

namespace mpool {

// The pages of a part of a file that are in memory; `length` 0: to its end. By cachestat(2), or by
// mincore(2) on kernels before 6.5. Errors of these. Any thread; does no I/O.
std::uint64_t resident_pages(int fd, std::uint64_t offset, std::uint64_t length);

// posix_fadvise(2); `length` 0: to the end. Any thread.
void drop_unmapped_pages(int fd, std::uint64_t offset, std::uint64_t length);
// Waits for room in the queue of the device, not for the data.
void read_ahead(int fd, std::uint64_t offset, std::uint64_t length);

}  // namespace mpool
