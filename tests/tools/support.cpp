#include "tests/tools/support.h"

#include <algorithm>
#include <array>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <sstream>

#include <gtest/gtest.h>

#include "tests/support/sparse_file.h"
#include "tools/commands.h"
#include "tools/sha256.h"

namespace mpool::tools {

namespace {

Result run(const std::vector<std::string>& arguments, const std::string& typed, bool terminal) {
  std::istringstream in(typed);
  std::ostringstream out;
  std::ostringstream err;
  Context context{
      .in = in, .out = out, .err = err, .in_is_terminal = terminal, .err_is_terminal = terminal};
  const int status = run_mpool(context, arguments);
  return {.status = status, .out = out.str(), .err = err.str()};
}

}  // namespace

Result mpool_command(const std::vector<std::string>& arguments) {
  return run(arguments, "", false);
}

Result mpool_on_terminal(const std::vector<std::string>& arguments, const std::string& typed) {
  return run(arguments, typed, true);
}

Json mpool_json(const std::vector<std::string>& arguments) {
  const Result result = mpool_command(arguments);
  EXPECT_EQ(result.status, kSuccess) << result.err;
  return Json::parse(result.out);
}

void write_bytes(const std::string& path, std::uint64_t offset, const std::string& bytes) {
  std::fstream file(path, std::ios::binary | std::ios::in | std::ios::out);
  file.seekp(static_cast<std::streamoff>(offset));
  file.write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
  ASSERT_TRUE(file.flush()) << path;
}

std::string read_bytes(const std::string& path, std::uint64_t offset, std::size_t count) {
  std::ifstream file(path, std::ios::binary);
  std::string bytes(count, '\0');
  file.seekg(static_cast<std::streamoff>(offset));
  file.read(bytes.data(), static_cast<std::streamsize>(count));
  EXPECT_TRUE(file) << path;
  return bytes;
}

void make_empty_file(const std::string& path, std::uint64_t size) {
  ASSERT_TRUE(std::ofstream(path, std::ios::binary)) << path;
  std::filesystem::resize_file(path, size);
}

std::string file_digest(const std::string& path) {
  Sha256 hash;
  const auto add_number = [&](std::uint64_t number) {
    hash.update(as_bytes(&number, sizeof(number)));
  };
  const auto add_page = [&](std::uint64_t offset, ConstByteSpan page) {
    // Zeros are the same as a hole.
    if (std::ranges::all_of(page, [](std::byte byte) { return byte == std::byte{}; })) return;
    add_number(offset);
    hash.update(page);
  };
  add_number(test::for_each_page_of_data(path, add_page));
  return hash.finish();
}

std::string shell(const std::string& command) {
  const std::string line = "PATH=$PATH:/usr/sbin:/sbin; { " + command + "; } 2>&1";
  FILE* pipe = ::popen(line.c_str(), "r");
  if (pipe == nullptr) {
    ADD_FAILURE() << "popen: " << command;
    return {};
  }
  std::string output;
  std::array<char, 4096> chunk{};
  for (std::size_t count = 0; (count = std::fread(chunk.data(), 1, chunk.size(), pipe)) != 0;) {
    output.append(chunk.data(), count);
  }
  EXPECT_EQ(::pclose(pipe), 0) << command << '\n' << output;
  return output;
}

void make_pool(const std::string& name, const std::string& path,
               const std::vector<std::string>& options) {
  std::vector<std::string> arguments{"create", "--size", "128M", name, path};
  arguments.insert(arguments.end(), options.begin(), options.end());
  const Result result = mpool_command(arguments);
  ASSERT_EQ(result.status, kSuccess) << result.err;
}

}  // namespace mpool::tools
