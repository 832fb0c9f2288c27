// Reading options out of --help texts.
#pragma once

#include <string>
#include <vector>

namespace mpool::tools {

// The options that a --help text explains ("-h", "--help"), sorted, each once.
std::vector<std::string> dashed_options(const std::string& help);
// Those of them that begin with "--".
std::vector<std::string> long_options(const std::string& help);
// The options that `mpoolfs --help` lists under "Mount options", without "=" and the value, sorted.
std::vector<std::string> mount_options(const std::string& help);

}  // namespace mpool::tools
