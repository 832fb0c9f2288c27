// Shared by the tests of the mpool command.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "tests/support/temporary_directory.h"

namespace mpool::tools {

using Json = nlohmann::json;

struct Result {
  int status = 0;
  std::string out;
  std::string err;
};

// `mpool ARGUMENTS` without a terminal.
Result mpool_command(const std::vector<std::string>& arguments);
// The same on a terminal with `typed` as input.
Result mpool_on_terminal(const std::vector<std::string>& arguments, const std::string& typed);
// Runs it, expects success and JSON.
Json mpool_json(const std::vector<std::string>& arguments);

void write_bytes(const std::string& path, std::uint64_t offset, const std::string& bytes);
std::string read_bytes(const std::string& path, std::uint64_t offset, std::size_t count);
// A sparse file of zeros.
void make_empty_file(const std::string& path, std::uint64_t size);
// Identifies the content of a file: a SHA-256 of its length and of its non-zero pages with their
// positions. Holes are not read, so a sparse image of many GiB takes no time.
std::string file_digest(const std::string& path);
// Runs a shell command; its output, standard error included. Fails the test when it fails.
std::string shell(const std::string& command);

// A pool made by `mpool create --size 128M … NAME PATH`.
void make_pool(const std::string& name, const std::string& path,
               const std::vector<std::string>& options = {});

inline constexpr std::uint64_t kMiB = 1u << 20;

}  // namespace mpool::tools
