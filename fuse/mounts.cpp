#include "fuse/mounts.h"

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <ranges>
#include <sstream>
#include <system_error>

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

bool lists_device(const std::string& source, std::span<const std::string> device_paths) {
  for (const auto part : std::views::split(source, ',')) {
    const std::string path = resolved(std::string(part.begin(), part.end()));
    if (std::ranges::find(device_paths, path) != device_paths.end()) return true;
  }
  return false;
}

}  // namespace

std::optional<MountEntry> parse_mount_line(std::string_view line) {
  // ID PARENT MAJ:MIN ROOT MOUNTPOINT OPTIONS [OPTIONAL…] - TYPE SOURCE SUPEROPTIONS
  std::istringstream words{std::string(line)};
  std::uint64_t id = 0;
  std::string word, device, mount_point, type, source;
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

std::optional<MountEntry> find_mount(std::span<const MountEntry> mounts,
                                     std::string_view mount_point) {
  const auto reversed = std::views::reverse(mounts);
  const auto found = std::ranges::find(reversed, mount_point, &MountEntry::mount_point);
  if (found == reversed.end()) return std::nullopt;
  return *found;
}

}  // namespace mpoolfs
