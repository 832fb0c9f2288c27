// Kernel-native reads as the status file shows them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

namespace mpoolfs {

struct NativeStats {
  std::string state;      // on, waiting (for readers of an earlier mount) or off
  std::string reason;     // why not on
  std::size_t files = 0;  // files that views show, or will once one of them is opened
  std::size_t views = 0;
  std::uint64_t opens = 0;   // opens of committed files so far that the kernel serves
  std::uint64_t served = 0;  // opens that the daemon serves
  // files that the kernel has open or mapped at the moment, or had until recently
  std::size_t kept = 0;
};

}  // namespace mpoolfs
