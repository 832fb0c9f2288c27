// Two pools in one process: what one has is not the other's.
#include <memory>

#include <gtest/gtest.h>

#include "engine/file/file_io.h"
#include "tests/engine/names/support.h"

namespace mpool::test {
namespace {

// A small file that is being closed stays in memory where max_deferred has room for it.
bool closes_without_blocking(TestTree& tree) {
  auto file = tree.create("f");
  file->write(0, bytes_of("text"), false);
  const bool closed = file->close(Blocking::forbidden);
  if (!closed) file->close();
  return closed;
}

TEST(TwoPools, KeepTheirOwnTunables) {
  Tunables strict;
  strict.writing.max_deferred = 0;
  strict.prefetch.streams = 7;
  TestTree usual(lazy());
  TestTree other(lazy(), {.tunables = strict});
  EXPECT_TRUE(closes_without_blocking(usual));
  EXPECT_FALSE(closes_without_blocking(other));
  EXPECT_EQ(usual.names().make_io_group(1)->tunables().prefetch.streams,
            Tunables{}.prefetch.streams);
  EXPECT_EQ(other.names().make_io_group(1)->tunables().prefetch.streams, 7u);
}

}  // namespace
}  // namespace mpool::test
