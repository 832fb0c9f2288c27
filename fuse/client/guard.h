// The border between C++ and C: no exception crosses it.
#pragma once

#include <source_location>
#include <string>
#include <utility>

#include "engine/base/error.h"
#include "fuse/client/api.h"

namespace libmpool {

// A failure with a code for a report.
class ReportedError : public mpool::Error {
 public:
  ReportedError(int code, mpool_rc report_code, std::string subject, std::string detail)
      : Error(code, std::move(subject), std::move(detail)), report_code_(report_code) {}
  mpool_rc report_code() const noexcept { return report_code_; }

 private:
  mpool_rc report_code_;
};

// An error of the errno, with a place in the library.
mpool_err_t make_error(int code, const std::source_location& place) noexcept;

// Translates the exception that is being handled, and describes it in `report` (may be null).
// Failures that are no answer to a wrong call are logged.
mpool_err_t translate_exception(const std::source_location& place,
                                struct mpool_devrpt* report) noexcept;

// Runs the body of a call.
template <typename Body>
mpool_err_t guarded(const Body& body,
                    const std::source_location& place = std::source_location::current()) noexcept {
  try {
    body();
    return 0;
  } catch (...) {
    return translate_exception(place, nullptr);
  }
}

// The same of a call with a report, which is reset first.
template <typename Body>
mpool_err_t guarded(struct mpool_devrpt* report, const Body& body,
                    const std::source_location& place = std::source_location::current()) noexcept {
  if (report != nullptr) mpool_devrpt_init(report);
  try {
    body();
    return 0;
  } catch (...) {
    return translate_exception(place, report);
  }
}

// EINVAL for a null pointer among the arguments of a call.
template <typename... Pointers>
void require(Pointers*... pointers) {
  if ((false || ... || (pointers == nullptr)))
    mpool::raise(EINVAL, "call", "a required pointer is null");
}

}  // namespace libmpool
