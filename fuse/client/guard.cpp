#include "fuse/client/guard.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <new>
#include <string_view>
#include <system_error>

#include "fuse/client/log.h"

namespace libmpool {

namespace {

// Sources with calls: an error holds the index of one.
constexpr std::array<std::string_view, 9> kSources{"?",          "admin.cpp",     "devrpt.cpp",
                                                   "handle.cpp", "map_calls.cpp", "mblock.cpp",
                                                   "mdc.cpp",    "mlog.cpp",      "pool.cpp"};

constexpr unsigned kLineShift = 32;
constexpr unsigned kSourceShift = 48;
constexpr mpool_err_t kErrnoMask = 0x7fffffff;

std::size_t index_of_source(std::string_view path) {
  const std::string_view name = path.substr(path.rfind('/') + 1);
  const auto found = std::ranges::find(kSources, name);
  return found == kSources.end() ? 0 : static_cast<std::size_t>(found - kSources.begin());
}

mpool_rc usual_report_code(int code) {
  switch (code) {
    case EIO:
      return MPCTL_RC_DEVRW;
    case ENOMEM:
      return MPOOL_RC_ENOMEM;
    case EBUSY:
      return MPOOL_RC_STAT;
    case EINVAL:
    case ENOSPC:
      return MPOOL_RC_PARM;
    default:
      return MPOOL_RC_OPEN;
  }
}

// A failure of the machine or of the media, not of the call.
bool is_worth_a_message(int code) {
  return code == EIO || code == ENODATA || code == ENOTRECOVERABLE || code == EBADMSG ||
         code == EPROTO;
}

void log_failure(int code, const char* text) {
  if (is_worth_a_message(code)) library_logger().error("{}", text);
}

int code_of(const std::error_code& error) {
  const bool is_errno =
      error.category() == std::generic_category() || error.category() == std::system_category();
  return is_errno && error.value() > 0 ? error.value() : EPROTO;
}

}  // namespace

mpool_err_t make_error(int code, const std::source_location& place) noexcept {
  const auto line = static_cast<std::uint16_t>(place.line());
  const auto source = static_cast<std::uint64_t>(index_of_source(place.file_name()));
  return static_cast<mpool_err_t>(source << kSourceShift |
                                  static_cast<std::uint64_t>(line) << kLineShift |
                                  static_cast<std::uint64_t>(code));
}

mpool_err_t translate_exception(const std::source_location& place,
                                struct mpool_devrpt* report) noexcept {
  try {
    try {
      throw;
    } catch (const ReportedError& error) {
      log_failure(error.code(), error.what());
      mpool_devrpt(report, error.report_code(), -1, "%s", error.subject().c_str());
      return make_error(error.code(), place);
    } catch (const mpool::Error& error) {
      log_failure(error.code(), error.what());
      mpool_devrpt(report, usual_report_code(error.code()), -1, "%s", error.subject().c_str());
      return make_error(error.code(), place);
    } catch (const std::bad_alloc&) {
      mpool_devrpt(report, MPOOL_RC_ENOMEM, -1, nullptr);
      return make_error(ENOMEM, place);
    } catch (const std::system_error& error) {
      const int code = code_of(error.code());
      log_failure(code, error.what());
      mpool_devrpt(report, usual_report_code(code), -1, "%s", error.what());
      return make_error(code, place);
    } catch (const std::exception& error) {
      log_failure(EPROTO, error.what());
      mpool_devrpt(report, MPOOL_RC_ERRMSG, -1, "%s", error.what());
      return make_error(EPROTO, place);
    }
  } catch (...) {
    return make_error(EPROTO, place);
  }
}

}  // namespace libmpool

int mpool_errno(mpool_err_t err) {
  return static_cast<int>(err & libmpool::kErrnoMask);
}

char* mpool_strerror(mpool_err_t err, char* buf, size_t size) {
  if (buf == nullptr || size == 0) return buf;
  std::array<char, 256> memory;
  const char* const text =
      err == 0 ? "Success" : ::strerror_r(mpool_errno(err), memory.data(), memory.size());
  std::snprintf(buf, size, "%s", text);
  return buf;
}

char* mpool_strinfo(mpool_err_t err, char* buf, size_t size) {
  if (buf == nullptr || size == 0) return buf;
  if (err == 0) return mpool_strerror(err, buf, size);
  const auto bits = static_cast<std::uint64_t>(err);
  const std::size_t source = bits >> libmpool::kSourceShift;
  const auto line = static_cast<std::uint16_t>(bits >> libmpool::kLineShift);
  std::array<char, 256> text;
  mpool_strerror(err, text.data(), text.size());
  const std::string_view name = libmpool::kSources[source < libmpool::kSources.size() ? source : 0];
  std::snprintf(buf, size, "client/%s:%u: %s", name.data(), line, text.data());
  return buf;
}
