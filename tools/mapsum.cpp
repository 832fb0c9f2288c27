// mapsum FILE...: prints the SHA-256 of each file as sha256sum does, read through a shared
// read-only mapping.
#include <cerrno>
#include <cstdio>
#include <exception>
#include <string>

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "engine/base/error.h"
#include "engine/io/file_descriptor.h"
#include "tools/sha256.h"

namespace {

std::string map_and_hash(const std::string& path) {
  const mpool::FileDescriptor fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!fd) mpool::raise_system(errno, path, "open");
  struct stat status {};
  if (::fstat(fd.get(), &status) != 0) mpool::raise_system(errno, path, "fstat");
  mpool::tools::Sha256 hash;
  const auto size = static_cast<std::size_t>(status.st_size);
  if (size == 0) return hash.finish();
  void* memory = ::mmap(nullptr, size, PROT_READ, MAP_SHARED, fd.get(), 0);
  if (memory == MAP_FAILED) mpool::raise_system(errno, path, "mmap");
  hash.update(mpool::as_bytes(memory, size));
  if (::munmap(memory, size) != 0) mpool::raise_system(errno, path, "munmap");
  return hash.finish();
}

}  // namespace

int main(int argc, char** argv) {
  try {
    for (int i = 1; i < argc; ++i)
      fmt::print("{}  {}\n", map_and_hash(argv[i]), argv[i]);
  } catch (const std::exception& error) {
    fmt::print(stderr, "mapsum: {}\n", error.what());
    return 1;
  }
  return 0;
}
