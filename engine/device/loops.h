// Which loop devices are attached to a file.
#pragma once

#include <string>
#include <vector>

namespace mpool {

// The loop devices that are attached to a file, as paths. `path`: of the file, or of one of them.
// Those that may not be opened are among them where the file is still called as it was.
std::vector<std::string> loops_over(const std::string& path);

}  // namespace mpool
