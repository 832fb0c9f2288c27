#include "engine/cache/memory.h"

#include <algorithm>
#include <cerrno>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <string_view>
#include <utility>

#include "engine/base/error.h"

namespace mpool {

namespace {

constexpr const char* kCgroups1 = "/sys/fs/cgroup/memory";
constexpr const char* kCgroups2 = "/sys/fs/cgroup";
// Without a limit v1 shows a number near the greatest.
constexpr std::uint64_t kNoLimit = std::uint64_t{1} << 60;

std::string text_of(const std::string& path) {
  std::ifstream file(path);
  std::stringstream text;
  text << file.rdbuf();
  if (!file) raise(EIO, path, "cannot be read");
  return text.str();
}

bool exists(const std::string& path) {
  std::error_code ignored;
  return std::filesystem::exists(path, ignored);
}

// "max" of v2 is no limit, too.
std::uint64_t number_in(const std::string& path) {
  const std::string text = text_of(path);
  if (text.starts_with("max")) return kNoLimit;
  std::istringstream words(text);
  std::uint64_t value = 0;
  if (!(words >> value)) raise(EIO, path, "has no number");
  return value;
}

// The number behind the word `name` at the beginning of a line.
std::uint64_t field(const std::string& path, const std::string& text, std::string_view name) {
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);) {
    std::istringstream words(line);
    std::string word;
    std::uint64_t value = 0;
    if (words >> word >> value && word == name) return value;
  }
  raise(EIO, path, "has no field {}", name);
}

// The own cgroup in a line of /proc/self/cgroup: "4:memory:/a/b" (v1), "0::/a/b" (v2).
std::string own_path(const std::string& text, std::string_view controller) {
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);) {
    const std::size_t first = line.find(':');
    const std::size_t second = line.find(':', first + 1);
    if (second != std::string::npos &&
        std::string_view(line).substr(first + 1, second - first - 1) == controller)
      return line.substr(second + 1);
  }
  return {};
}

}  // namespace

SystemMemory::SystemMemory(const std::string& cgroup, std::string root) : root_(std::move(root)) {
  if (cgroup.empty()) {
    find_own();
    return;
  }
  cgroup_ = root_ + cgroup;
  v1_ = exists(cgroup_ + "/memory.limit_in_bytes");
  if (!v1_ && !exists(cgroup_ + "/memory.max"))
    raise(ENOENT, cgroup, "is no memory cgroup: it has no memory.max or memory.limit_in_bytes");
}

bool SystemMemory::has_limit(const std::string& path) const {
  const std::string file = path + (v1_ ? "/memory.limit_in_bytes" : "/memory.max");
  return exists(file) && number_in(file) < kNoLimit;
}

void SystemMemory::find_own() {
  const std::string own = root_ + "/proc/self/cgroup";
  if (!exists(own)) return;
  const std::string text = text_of(own);
  const std::string in_v1 = own_path(text, "memory");
  v1_ = !in_v1.empty();
  const std::string top = root_ + (v1_ ? kCgroups1 : kCgroups2);
  std::filesystem::path path = v1_ ? in_v1 : own_path(text, "");
  while (path.has_relative_path()) {
    if (has_limit(top + path.string())) {
      cgroup_ = top + path.string();
      return;
    }
    path = path.parent_path();
  }
}

MemoryInfo SystemMemory::read_machine() const {
  const std::string path = root_ + "/proc/meminfo";
  const std::string text = text_of(path);
  return {.limit = field(path, text, "MemTotal:") * 1024,
          .available = field(path, text, "MemAvailable:") * 1024};
}

std::unique_ptr<MemoryAlarm> SystemMemory::make_alarm(MemoryAlarm::Callback callback) const {
  if (!cgroup_.empty() && v1_) return MemoryAlarm::of_cgroup1(cgroup_, std::move(callback));
  const std::string file =
      cgroup_.empty() ? root_ + "/proc/pressure/memory" : cgroup_ + "/memory.pressure";
  return MemoryAlarm::of_stalls(file, std::move(callback));
}

MemoryInfo SystemMemory::read() {
  if (cgroup_.empty()) return read_machine();
  const std::uint64_t limit = std::min(
      number_in(cgroup_ + (v1_ ? "/memory.limit_in_bytes" : "/memory.max")), read_machine().limit);
  const std::uint64_t used =
      number_in(cgroup_ + (v1_ ? "/memory.usage_in_bytes" : "/memory.current"));
  const std::string path = cgroup_ + "/memory.stat";
  const std::string text = text_of(path);
  const std::string prefix = v1_ ? "total_" : "";
  const std::uint64_t cached =
      field(path, text, prefix + "inactive_file") + field(path, text, prefix + "active_file");
  const std::uint64_t taken = used - std::min(used, cached);
  return {.limit = limit, .available = limit - std::min(limit, taken)};
}

}  // namespace mpool
