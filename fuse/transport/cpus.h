// The CPUs of the machine.
#pragma once

#include <string_view>
#include <vector>

namespace mpoolfs {

// Parses a list of numbers in the kernel's notation: "0-3,8". Stops at the first invalid part.
std::vector<unsigned> parse_cpu_list(std::string_view text);

// CPUs that exist or may be added while the system runs; the kernel's FUSE has a queue for each.
// Never empty.
std::vector<unsigned> possible_cpus();

// CPUs that this thread may run on. Never empty.
std::vector<unsigned> allowed_cpus();

}  // namespace mpoolfs
