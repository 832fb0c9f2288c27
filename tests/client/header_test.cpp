// The header in C++, behind others.
#include <string>

#include <fcntl.h>
#include <mpool/mpool_devrpt.h>
#include <mpool/mpool_ioctl.h>
#include <sys/mman.h>
#define LAYOUT_ASSERT(condition) static_assert(condition, #condition)
#include "layout.h"

// Calls from C++ link to the C names.
extern "C" int cpp_calls_the_library() {
  char text[64];
  return std::string(mpool_strinfo(0, text, sizeof(text))) == "Success" ? 1 : 0;
}
