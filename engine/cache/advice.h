// How long pages of a map or file should stay in memory (engine/cache/README.md, "Advice").
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>

namespace mpool {

// In ascending order of the time that unused pages stay. Written as the names: "cold".
enum class Advice : std::uint8_t { cold, warm, hot, pinned };
inline constexpr std::size_t kAdviceCount = 4;
std::string_view to_string(Advice advice);
std::optional<Advice> parse_advice(std::string_view text);

// The advice of a tracked file. It is read after set() can reach the file: what another thread sets
// meanwhile is newer, and init() leaves it.
//
// Threads: all functions may be called at the same time.
class FileAdvice {
 public:
  // Cold until one of the following is called.
  Advice get() const noexcept {
    const int value = value_.load(std::memory_order_relaxed);
    return value == kUnknown ? Advice::cold : static_cast<Advice>(value);
  }
  bool is_known() const noexcept { return value_.load(std::memory_order_relaxed) != kUnknown; }
  // The advice that was read; no effect once there is one.
  void init(Advice advice) noexcept {
    int unknown = kUnknown;
    value_.compare_exchange_strong(unknown, static_cast<int>(advice));
  }
  void set(Advice advice) noexcept { value_ = static_cast<int>(advice); }

 private:
  static constexpr int kUnknown = -1;
  std::atomic<int> value_ = kUnknown;
};

}  // namespace mpool
