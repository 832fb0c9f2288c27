// Shared by tests of errors.
#pragma once

#include <string>

#include <gtest/gtest.h>

#include "engine/base/error.h"

namespace mpool::test {

// The errno of the Error that `call` throws, which must have a subject and a detail; 0 when it
// throws none. `text`: a required part of the message.
template <typename Call>
int error_of(Call&& call, const std::string& text = "") {
  try {
    call();
  } catch (const Error& error) {
    EXPECT_FALSE(error.subject().empty());
    EXPECT_FALSE(error.detail().empty());
    EXPECT_NE(std::string(error.what()).find(text), std::string::npos) << error.what();
    return error.code();
  }
  return 0;
}

}  // namespace mpool::test
