#include "tools/settings.h"

#include <algorithm>
#include <bit>
#include <cerrno>
#include <charconv>
#include <limits>

#include <fmt/format.h>
#include <grp.h>
#include <pwd.h>

#include "engine/base/error.h"
#include "engine/base/size.h"
#include "tools/command_line.h"
#include "tools/json.h"

namespace mpool::tools {

namespace {

// The valid form of "value" of "key".
[[noreturn]] void refuse_value(std::string_view key, std::string_view value,
                               std::string_view wanted) {
  throw UsageError(fmt::format("{}: \"{}\" is not {}", key, value, wanted));
}

std::uint32_t parse_number(std::string_view key, std::string_view value, int base,
                           std::uint32_t most, std::string_view wanted) {
  std::uint32_t number = 0;
  const char* end = value.data() + value.size();
  const auto [rest, error] = std::from_chars(value.data(), end, number, base);
  if (error != std::errc{} || rest != end || number > most) refuse_value(key, value, wanted);
  return number;
}

unsigned parse_percent(std::string_view key, std::string_view value) {
  return parse_number(key, value, 10, 100, "a percentage from 0 to 100");
}

std::string parse_label(std::string_view key, std::string_view value) {
  if (value.size() > ConfigRecord::kMaxLabelLength) {
    refuse_value(key, value,
                 fmt::format("a text of at most {} bytes", ConfigRecord::kMaxLabelLength));
  }
  return std::string(value);
}

Uuid parse_uuid(std::string_view key, std::string_view value) {
  const auto uuid = Uuid::parse(value);
  if (!uuid) refuse_value(key, value, "a UUID");
  return *uuid;
}

std::uint32_t parse_readahead(std::string_view key, std::string_view value) {
  const auto bytes = parse_size(value);
  if (!bytes || !is_aligned(*bytes, kPageSize) ||
      *bytes / kPageSize > std::numeric_limits<std::uint32_t>::max()) {
    refuse_value(key, value, "a size that is a multiple of 4K");
  }
  return static_cast<std::uint32_t>(*bytes / kPageSize);
}

std::uint32_t parse_map_size(std::string_view key, std::string_view value) {
  const auto bytes = parse_size(value);
  if (!bytes || *bytes < kPageSize || !std::has_single_bit(*bytes)) {
    refuse_value(key, value, "a size that is a power of two and at least 4K");
  }
  return static_cast<std::uint32_t>(std::countr_zero(*bytes));
}

// A size as parse_size() takes it, to the byte: "128K".
std::string exact_size(std::uint64_t bytes) {
  constexpr std::string_view kUnits = "KMGTPE";
  std::string unit;
  for (std::size_t i = 0; i < kUnits.size() && bytes != 0 && bytes % 1024 == 0; ++i) {
    bytes /= 1024;
    unit = kUnits[i];
  }
  return fmt::format("{}{}", bytes, unit);
}

std::uint64_t readahead_of(const ConfigRecord& config) {
  return config.max_readahead_pages * std::uint64_t{kPageSize};
}

// 0 for a size beyond 64 bits.
std::uint64_t map_size_of(const ConfigRecord& config) {
  return config.max_map_shift < 64 ? std::uint64_t{1} << config.max_map_shift : 0;
}

struct Setting {
  std::string_view key;
  std::string_view help;
  std::optional<MediaClass> spare_of = std::nullopt;  // set: the spares of a class, not the config
  void (*parse)(std::string_view key, std::string_view value, SettingChanges& changes);
  std::string (*text)(const ConfigRecord& config) = nullptr;
  Json (*json)(const ConfigRecord& config) = nullptr;
};

template <MediaClass media_class>
void parse_spare(std::string_view key, std::string_view value, SettingChanges& changes) {
  changes.spares[index_of(media_class)] = parse_percent(key, value);
}

constexpr std::array kSettings = {
    Setting{.key = "spare.capacity",
            .help = "percent of the capacity device's zones kept as spares, 0 to 100",
            .spare_of = MediaClass::capacity,
            .parse = parse_spare<MediaClass::capacity>},
    Setting{.key = "spare.staging",
            .help = "the same of the staging device",
            .spare_of = MediaClass::staging,
            .parse = parse_spare<MediaClass::staging>},
    Setting{.key = "uid",
            .help = "owner of the root directory, a number or a user's name",
            .parse = [](auto key, auto value,
                        SettingChanges& changes) { changes.config.uid = parse_user(key, value); },
            .text = [](const ConfigRecord& config) { return std::to_string(config.uid); },
            .json = [](const ConfigRecord& config) { return Json(config.uid); }},
    Setting{.key = "gid",
            .help = "group of the root directory, a number or a group's name",
            .parse = [](auto key, auto value,
                        SettingChanges& changes) { changes.config.gid = parse_group(key, value); },
            .text = [](const ConfigRecord& config) { return std::to_string(config.gid); },
            .json = [](const ConfigRecord& config) { return Json(config.gid); }},
    Setting{.key = "mode",
            .help = "permissions of the root directory, octal",
            .parse = [](auto key, auto value,
                        SettingChanges& changes) { changes.config.mode = parse_mode(key, value); },
            .text = [](const ConfigRecord& config) { return fmt::format("{:04o}", config.mode); },
            .json = [](const ConfigRecord& config) { return Json(config.mode); }},
    Setting{
        .key = "label",
        .help = "a text of at most 63 bytes",
        .parse = [](auto key, auto value,
                    SettingChanges& changes) { changes.config.label = parse_label(key, value); },
        .text = [](const ConfigRecord& config) { return config.label; },
        .json = [](const ConfigRecord& config) { return Json(config.label); }},
    Setting{
        .key = "user_type",
        .help = "a UUID that says what the pool is used for",
        .parse = [](auto key, auto value,
                    SettingChanges& changes) { changes.config.user_type = parse_uuid(key, value); },
        .text = [](const ConfigRecord& config) { return config.user_type.to_string(); },
        .json = [](const ConfigRecord& config) { return Json(config.user_type.to_string()); }},
    Setting{.key = "readahead",
            .help = "greatest readahead of a mapping, a multiple of 4K",
            .parse =
                [](auto key, auto value, SettingChanges& changes) {
                  changes.config.max_readahead_pages = parse_readahead(key, value);
                },
            .text = [](const ConfigRecord& config) { return exact_size(readahead_of(config)); },
            .json = [](const ConfigRecord& config) { return Json(readahead_of(config)); }},
    Setting{.key = "map_size",
            .help = "greatest size of a mapping, a power of two from 4K",
            .parse =
                [](auto key, auto value, SettingChanges& changes) {
                  changes.config.max_map_shift = parse_map_size(key, value);
                },
            .text = [](const ConfigRecord& config) { return exact_size(map_size_of(config)); },
            .json = [](const ConfigRecord& config) { return Json(map_size_of(config)); }},
};

const Setting& find_setting(std::string_view key) {
  const auto found = std::ranges::find(kSettings, key, &Setting::key);
  if (found != kSettings.end()) return *found;
  throw UsageError(
      fmt::format("\"{}\" is no setting; there are {}", key, fmt::join(setting_keys(), ", ")));
}

ConfigRecord recorded_config(const Pool& pool, std::string_view key) {
  ConfigRecord config = pool.config();
  if (config == ConfigRecord{}) {
    raise(ENODATA, "pool " + pool.name(), "{} was never set", key);
  }
  return config;
}

// The number of an account, or the entry of the system's database for the name.
template <typename Find>
std::uint32_t parse_account(std::string_view key, std::string_view value, std::string_view kind,
                            Find find) {
  std::uint32_t number = 0;
  const char* end = value.data() + value.size();
  const auto [rest, error] = std::from_chars(value.data(), end, number);
  // The system uses the greatest one for "no account".
  constexpr std::uint32_t kNone = std::numeric_limits<std::uint32_t>::max();
  if (error == std::errc{} && rest == end && number != kNone) return number;
  const std::optional<std::uint32_t> found = find(std::string(value));
  if (!found) refuse_value(key, value, fmt::format("the number or the name of a {}", kind));
  return *found;
}

}  // namespace

std::uint32_t parse_user(std::string_view key, std::string_view value) {
  return parse_account(key, value, "user", [](const std::string& name) {
    const passwd* user = ::getpwnam(name.c_str());  // NOLINT(concurrency-mt-unsafe): one thread
    return user != nullptr ? std::optional(user->pw_uid) : std::nullopt;
  });
}

std::uint32_t parse_group(std::string_view key, std::string_view value) {
  return parse_account(key, value, "group", [](const std::string& name) {
    const group* found = ::getgrnam(name.c_str());  // NOLINT(concurrency-mt-unsafe): one thread
    return found != nullptr ? std::optional(found->gr_gid) : std::nullopt;
  });
}

std::uint32_t parse_mode(std::string_view key, std::string_view value) {
  return parse_number(key, value, 8, 07777, "an octal number up to 7777");
}

std::vector<std::string_view> setting_keys() {
  std::vector<std::string_view> keys;
  for (const Setting& setting : kSettings)
    keys.push_back(setting.key);
  return keys;
}

std::string describe_settings() {
  std::string lines;
  for (const Setting& setting : kSettings)
    lines += fmt::format("\n  {:<15} {}", setting.key, setting.help);
  return lines;
}

void parse_setting(const std::string& assignment, SettingChanges& changes) {
  const std::size_t equals = assignment.find('=');
  if (equals == std::string::npos) {
    throw UsageError(fmt::format("\"{}\" is not KEY=VALUE", assignment));
  }
  const std::string_view key = std::string_view(assignment).substr(0, equals);
  const std::string_view value = std::string_view(assignment).substr(equals + 1);
  find_setting(key).parse(key, value, changes);
}

std::string setting_text(const Pool& pool, std::string_view key) {
  const Setting& setting = find_setting(key);
  if (setting.spare_of) return std::to_string(pool.class_info(*setting.spare_of).spare_percent);
  return setting.text(recorded_config(pool, key));
}

Json setting_json(const Pool& pool, std::string_view key) {
  const Setting& setting = find_setting(key);
  if (setting.spare_of) return pool.class_info(*setting.spare_of).spare_percent;
  return setting.json(recorded_config(pool, key));
}

bool has_setting(const Pool& pool, std::string_view key) {
  const Setting& setting = find_setting(key);
  return setting.spare_of ? pool.has_class(*setting.spare_of) : pool.config() != ConfigRecord{};
}

}  // namespace mpool::tools
