// BSD's string functions, for programs that expect them here. Weak: those of libc come first.
#include <cstring>

#include "fuse/client/api.h"

extern "C" {

__attribute__((weak)) size_t strlcpy(char* into, const char* from, size_t size) {
  const size_t length = std::strlen(from);
  if (size != 0) {
    const size_t copied = length < size ? length : size - 1;
    std::memcpy(into, from, copied);
    into[copied] = '\0';
  }
  return length;
}

__attribute__((weak)) size_t strlcat(char* into, const char* from, size_t size) {
  const size_t used = ::strnlen(into, size);
  if (used == size) return size + std::strlen(from);
  return used + strlcpy(into + used, from, size - used);
}

}  // extern "C"
