#include "fuse/mount_table.h"

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <ranges>
#include <set>
#include <sstream>
#include <system_error>

#include "engine/io/media_lock.h"
#include "engine/pool/path_list.h"

namespace mpoolfs {

namespace {

bool is_octal(char digit) {
  return digit >= '0' && digit <= '7';
}

// Blanks and backslashes are written as \ooo.
std::string unescape(std::string_view text) {
  std::string plain;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const bool escape = text[i] == '\\' && i + 3 < text.size() && is_octal(text[i + 1]) &&
                        is_octal(text[i + 2]) && is_octal(text[i + 3]);
    if (!escape) {
      plain += text[i];
      continue;
    }
    plain +=
        static_cast<char>((text[i + 1] - '0') * 64 + (text[i + 2] - '0') * 8 + (text[i + 3] - '0'));
    i += 3;
  }
  return plain;
}

std::string resolved(const std::string& path) {
  std::error_code error;
  const auto real = std::filesystem::canonical(path, error);
  return error ? path : real.string();
}

// The mount namespace of a process; empty when this process may not read it.
std::string mount_namespace(const std::filesystem::path& process) {
  std::error_code ignored;
  return std::filesystem::read_symlink(process / "ns/mnt", ignored).string();
}

std::string first_line(const std::filesystem::path& path) {
  std::ifstream file(path);
  std::string line;
  std::getline(file, line);
  return line;
}

// The processes in /proc.
std::vector<std::filesystem::path> processes() {
  std::vector<std::filesystem::path> found;
  std::error_code ignored;  // without /proc there are none
  for (std::filesystem::directory_iterator entry("/proc", ignored), end; entry != end;
       entry.increment(ignored)) {
    const std::string name = entry->path().filename();
    if (std::ranges::all_of(name, [](char c) { return c >= '0' && c <= '9'; })) {
      found.push_back(entry->path());
    }
  }
  return found;
}

}  // namespace

bool lists_device(const std::string& source, std::span<const std::string> device_paths) {
  return std::ranges::any_of(mpool::split_paths(source), [&](const std::string& part) {
    return std::ranges::find(device_paths, resolved(part)) != device_paths.end() ||
           mpool::is_media_of(part, device_paths);
  });
}

std::optional<MountEntry> parse_mount_line(std::string_view line) {
  // ID PARENT MAJ:MIN ROOT MOUNTPOINT OPTIONS [OPTIONAL…] - TYPE SOURCE SUPEROPTIONS
  std::istringstream words{std::string(line)};
  std::uint64_t id = 0;
  std::string word;
  std::string device;
  std::string mount_point;
  std::string type;
  std::string source;
  words >> id >> word >> device >> word >> mount_point >> word;
  while (words >> word && word != "-") {
  }
  if (!(words >> type >> source)) return std::nullopt;
  return MountEntry{device, unescape(mount_point), type, unescape(source), id};
}

std::vector<MountEntry> read_mounts(const std::string& table) {
  std::vector<MountEntry> mounts;
  std::ifstream lines(table);
  for (std::string line; std::getline(lines, line);) {
    if (auto entry = parse_mount_line(line)) mounts.push_back(std::move(*entry));
  }
  return mounts;
}

std::optional<MountEntry> find_pool_mount(std::span<const MountEntry> mounts,
                                          std::span<const std::string> names,
                                          std::span<const std::string> device_paths) {
  const auto found = std::ranges::find_if(mounts, [&](const MountEntry& entry) {
    return entry.type == kMountType && (std::ranges::find(names, entry.source) != names.end() ||
                                        lists_device(entry.source, device_paths));
  });
  if (found == mounts.end()) return std::nullopt;
  return *found;
}

std::optional<MountElsewhere> find_pool_mount_elsewhere(std::span<const std::string> names,
                                                        std::span<const std::string> device_paths) {
  std::set<std::string> seen{std::string(), mount_namespace("/proc/self")};
  for (const std::filesystem::path& process : processes()) {
    if (!seen.insert(mount_namespace(process)).second) continue;
    const auto mount = find_pool_mount(read_mounts(process / "mountinfo"), names, device_paths);
    if (!mount) continue;
    return MountElsewhere{.process = std::stoi(process.filename()),
                          .program = first_line(process / "comm"),
                          .mount = *mount};
  }
  return std::nullopt;
}

std::optional<MountEntry> find_mount(std::span<const MountEntry> mounts,
                                     std::string_view mount_point) {
  const auto reversed = std::views::reverse(mounts);
  const auto found = std::ranges::find(reversed, mount_point, &MountEntry::mount_point);
  if (found == reversed.end()) return std::nullopt;
  return *found;
}

}  // namespace mpoolfs
