// mpool stat: what a mounted pool does, one line for each interval.
#include "tools/stat.h"

#include <cerrno>
#include <charconv>
#include <chrono>
#include <ostream>
#include <thread>

#include <fmt/format.h>

#include "engine/base/error.h"
#include "tools/bounded_read.h"
#include "tools/command_line.h"
#include "tools/commands.h"
#include "tools/json.h"
#include "tools/pool_access.h"
#include "tools/print.h"

namespace mpool::tools {

namespace {

constexpr unsigned kLinesPerHeading = 20;
constexpr unsigned kMaxCount = 1u << 30;
constexpr double kMinInterval = 0.01;
constexpr double kMaxInterval = 86400;
constexpr std::chrono::seconds kStatPatience{5};

double parse_interval(const std::string& text) {
  double value = 0;
  const auto [rest, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc{} || rest != text.data() + text.size() || value < kMinInterval ||
      value > kMaxInterval)
    throw UsageError(fmt::format("\"{}\" is no number of seconds from {} to {}", text, kMinInterval,
                                 kMaxInterval));
  return value;
}

Json read_status(const std::string& path) {
  const auto text = read_within(path, kStatPatience);
  Json status = text ? Json::parse(*text, nullptr, false) : Json();
  if (!status.is_object() || !status.contains("reaper"))
    raise(ENODATA, path, "cannot be read: is a pool mounted there, and does its mpoolfs answer?");
  return status;
}

std::uint64_t sum_of_devices(const Json& status, const char* counter) {
  std::uint64_t sum = 0;
  for (const Json& device : status.at("devices"))
    sum += device.at(counter).get<std::uint64_t>();
  return sum;
}

}  // namespace

Json activity(const Json& before, const Json& after, double seconds) {
  const auto rate = [seconds](std::uint64_t from, std::uint64_t to) {
    return to < from ? 0.0 : static_cast<double>(to - from) / seconds;
  };
  Json line;
  for (const char* counter : {"reads", "read_bytes", "writes", "written_bytes"})
    line[std::string(counter) + "_per_second"] =
        rate(sum_of_devices(before, counter), sum_of_devices(after, counter));
  line["native_opens_per_second"] =
      rate(before.at("native").at("opens"), after.at("native").at("opens"));
  const Json& reaper = after.at("reaper");
  for (const char* counter : {"evicted_pages", "skipped_pages", "over_evicted_pages"})
    line[std::string(counter) + "_per_second"] =
        rate(before.at("reaper").at(counter), reaper.at(counter));
  for (const char* state :
       {"resident_pages", "evicting", "ttl_us", "free_bytes", "low_bytes", "high_bytes"})
    line[state] = reaper.at(state);
  return line;
}

std::string activity_heading() {
  return fmt::format(
      "{:>7} {:>8} {:>7} {:>8} {:>7} {:>8} {:>8} {:>8} {:>8} {:>7} {:>7} {:>7} {:>8} {:>8} {:>8}\n",
      "READ/S", "READMB/S", "WRITE/S", "WRITMB/S", "OPEN/S", "COLD-MB", "WARM-MB", "HOT-MB",
      "PIN-MB", "EVICT/S", "SKIP/S", "BACK/S", "TTL-MS", "FREE-MB", "LOW-MB");
}

std::string activity_line(const Json& line) {
  constexpr double kMegabyte = 1 << 20;
  const auto resident = [&line](const char* advice) {
    return line.at("resident_pages").at(advice).get<double>() * kPageSize / kMegabyte;
  };
  const auto number = [&line](const char* name) { return line.at(name).get<double>(); };
  return fmt::format(
      "{:>7.0f} {:>8.1f} {:>7.0f} {:>8.1f} {:>7.0f} {:>8.1f} {:>8.1f} {:>8.1f} {:>8.1f} {:>7.0f} "
      "{:>7.0f} {:>7.0f} {:>8.1f} {:>8.0f} {:>8.0f}\n",
      number("reads_per_second"), number("read_bytes_per_second") / kMegabyte,
      number("writes_per_second"), number("written_bytes_per_second") / kMegabyte,
      number("native_opens_per_second"), resident("cold"), resident("warm"), resident("hot"),
      resident("pinned"), number("evicted_pages_per_second"), number("skipped_pages_per_second"),
      number("over_evicted_pages_per_second"), number("ttl_us") / 1000,
      number("free_bytes") / kMegabyte, number("low_bytes") / kMegabyte);
}

int run_stat(Context& context, Arguments arguments) {
  CommandLine line(
      "mpool stat [OPTIONS] POOL|MOUNT [INTERVAL]",
      "Shows what a mounted pool does, a line for each INTERVAL (seconds, such as 5 or "
      "0.5) until it is\ninterrupted; without INTERVAL, one line for one second. Reads "
      "of files that the kernel does by\nitself are not counted.",
      {.names = "POOL", .least = 1, .most = 2});
  line.add_value("count", "N", "end after this many lines");
  line.add_switch("json", "print a line of JSON for each interval");
  if (!line.parse(context, arguments)) return kSuccess;
  const bool repeats = line.operands().size() == 2;
  const double interval = repeats ? parse_interval(line.operands()[1]) : 1;
  const unsigned count = line.number("count", 1, kMaxCount).value_or(repeats ? kMaxCount : 1);

  const std::string path =
      mount_point_of(line.operands()[0], "is not mounted") + "/.mpool/status.json";
  using Clock = std::chrono::steady_clock;
  Json before = read_status(path);
  auto begun = Clock::now();
  for (unsigned shown = 0; shown < count && context.out; ++shown) {
    std::this_thread::sleep_until(begun + std::chrono::duration<double>(interval));
    Json after = read_status(path);
    const auto now = Clock::now();
    const Json found = activity(before, after, std::chrono::duration<double>(now - begun).count());
    if (line.has("json")) {
      context.out << to_line(found) << '\n';
    } else {
      if (shown % kLinesPerHeading == 0) context.out << activity_heading();
      context.out << activity_line(found);
    }
    context.out.flush();
    before = std::move(after);
    begun = now;
  }
  return kSuccess;
}

}  // namespace mpool::tools
