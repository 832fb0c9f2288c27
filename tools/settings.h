// The settings of a pool as `mpool get` and `mpool set` name them: mpool(8), "SETTINGS".
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <nlohmann/json.hpp>

#include "engine/pool/pool.h"

namespace mpool::tools {

struct SettingChanges {
  Pool::Settings config;
  std::array<std::optional<unsigned>, kMediaClassCount> spares;  // percent, by class
};

// In display order.
std::vector<std::string_view> setting_keys();
// A line for each key, for --help.
std::string describe_settings();

// Parses "KEY=VALUE". UsageError for an unknown key or an invalid value.
void parse_setting(const std::string& assignment, SettingChanges& changes);

// Parse the owner and the permissions of a root directory: the number or the name of a user or
// group, an octal number. `key`: the name of the value in messages. UsageError for anything else.
// Not thread-safe (getpwnam(3)).
std::uint32_t parse_user(std::string_view key, std::string_view value);
std::uint32_t parse_group(std::string_view key, std::string_view value);
std::uint32_t parse_mode(std::string_view key, std::string_view value);

// A setting's value: as argument of `mpool set`, and as JSON (a number or a string). UsageError for
// an unknown key; ENODEV, ENODATA when the pool has no such setting (see has_setting).
std::string setting_text(const Pool& pool, std::string_view key);
nlohmann::ordered_json setting_json(const Pool& pool, std::string_view key);
// False for the spares of a missing class, and for settings never recorded.
bool has_setting(const Pool& pool, std::string_view key);

}  // namespace mpool::tools
