#include "engine/cache/reaper_settings.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <optional>

#include "engine/base/error.h"

namespace mpool {

namespace {

constexpr unsigned kMinPercent = 5;
constexpr unsigned kMaxPercent = 100;
constexpr std::int64_t kMinTtl = 100;  // microseconds
constexpr std::int64_t kMaxTtl = 3'600'000'000;
constexpr unsigned kMaxDebug = 3;

template <typename Number>
std::optional<Number> number_within(std::string_view text, Number least, Number most) {
  Number value{};
  const auto [rest, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc{} || rest != text.data() + text.size()) return std::nullopt;
  if (value < least || value > most) return std::nullopt;
  return value;
}

std::string get_percent(const ReaperSettings& settings) {
  return std::to_string(settings.percent);
}

bool set_percent(ReaperSettings& settings, std::string_view text) {
  const auto value = number_within(text, 0u, kMaxPercent);
  if (!value || (*value != 0 && *value < kMinPercent)) return false;
  settings.percent = *value;
  return true;
}

std::string get_ttl(const ReaperSettings& settings) {
  return std::to_string(settings.ttl.count());
}

bool set_ttl(ReaperSettings& settings, std::string_view text) {
  const auto value = number_within(text, kMinTtl, kMaxTtl);
  if (value) settings.ttl = std::chrono::microseconds(*value);
  return value.has_value();
}

std::string get_cgroup(const ReaperSettings& settings) {
  return settings.cgroup.empty() ? "-" : settings.cgroup;
}

bool set_cgroup(ReaperSettings& settings, std::string_view text) {
  if (text != "-" && !text.starts_with('/')) return false;
  settings.cgroup = text == "-" ? std::string() : std::string(text);
  return true;
}

std::string get_debug(const ReaperSettings& settings) {
  return std::to_string(settings.debug);
}

bool set_debug(ReaperSettings& settings, std::string_view text) {
  const auto value = number_within(text, 0u, kMaxDebug);
  if (value) settings.debug = *value;
  return value.has_value();
}

constexpr std::array kReaperTunables{
    ReaperTunable{"reap_mempct", "%", "0", "5 to 100 %, or 0", get_percent, set_percent},
    ReaperTunable{"reap_ttl", "us", "10000000", "100 to 3600000000 us", get_ttl, set_ttl},
    ReaperTunable{"reap_cgroup", "path", "-", "an absolute path, or -", get_cgroup, set_cgroup},
    ReaperTunable{"reap_debug", "level", "0", "0 to 3", get_debug, set_debug},
};

}  // namespace

unsigned default_percent(std::uint64_t memory) {
  constexpr std::uint64_t kGib = std::uint64_t{1} << 30;
  if (memory > 256 * kGib) return 90;
  if (memory > 128 * kGib) return 87;
  if (memory > 64 * kGib) return 75;
  if (memory > 32 * kGib) return 60;
  return 40;
}

std::span<const ReaperTunable> reaper_tunables() {
  return kReaperTunables;
}

void apply(ReaperSettings& settings, std::string_view name, std::string_view value) {
  const auto found = std::ranges::find(kReaperTunables, name, &ReaperTunable::name);
  if (found == kReaperTunables.end())
    raise(EINVAL, "tunable " + std::string(name), "there is no such tunable");
  if (!found->set(settings, value))
    raise(EINVAL, "tunable " + std::string(name), "\"{}\" is not {}", value, found->range);
}

}  // namespace mpool
