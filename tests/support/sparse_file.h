// Reading images of many GiB that are mostly holes.
#pragma once

#include <algorithm>
#include <cerrno>
#include <string>

#include <fcntl.h>
#include <unistd.h>

#include "engine/base/aligned_buffer.h"
#include "engine/base/error.h"
#include "engine/io/file_descriptor.h"

namespace mpool::test {

// Calls visit(offset, bytes) for each page of the file that is not in a hole, in order; the last
// may be short. Returns the length of the file. Errors: of open, lseek and read.
template <typename Visit>
std::uint64_t for_each_page_of_data(const std::string& path, Visit&& visit) {
  const FileDescriptor file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!file) raise_system(errno, path, "open");
  const off_t size = ::lseek(file.get(), 0, SEEK_END);
  if (size < 0) raise_system(errno, path, "lseek");
  AlignedBuffer page(kPageSize);
  off_t at = 0;
  while ((at = ::lseek(file.get(), at, SEEK_DATA)) >= 0) {
    const off_t end = ::lseek(file.get(), at, SEEK_HOLE);
    if (end < 0) raise_system(errno, path, "lseek");
    for (at &= ~static_cast<off_t>(kPageSize - 1); at < end; at += kPageSize) {
      const auto length = static_cast<std::size_t>(std::min<off_t>(size - at, kPageSize));
      if (::pread(file.get(), page.data(), length, at) != static_cast<ssize_t>(length)) {
        raise_system(EIO, path, "read");
      }
      visit(static_cast<std::uint64_t>(at), page.span(0, length));
    }
  }
  if (errno != ENXIO) raise_system(errno, path, "lseek");  // ENXIO: no more data
  return static_cast<std::uint64_t>(size);
}

}  // namespace mpool::test
