#include "engine/cache/page_cache.h"

#include <string>
#include <vector>

#include <fcntl.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include "engine/base/aligned_buffer.h"
#include "engine/base/error.h"
#include "engine/io/file_descriptor.h"
#include "tests/support/temporary_directory.h"

namespace mpool::test {
namespace {

// The directory's file system may keep pages in memory that it cannot drop (tmpfs).
TEST(PageCache, ShowsWhatIsInMemory) {
  constexpr std::uint64_t kPages = 100;
  const TemporaryDirectory directory;
  const FileDescriptor file(::open((directory / "f").c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
  const std::vector<char> bytes(kPages * kPageSize - 100, 'x');
  ASSERT_EQ(::write(file.get(), bytes.data(), bytes.size()), static_cast<ssize_t>(bytes.size()));
  ASSERT_EQ(::fsync(file.get()), 0);
  EXPECT_EQ(resident_pages(file.get(), 0, 0), kPages);
  EXPECT_EQ(resident_pages(file.get(), 10 * kPageSize, 7 * kPageSize), 7u);
  EXPECT_EQ(resident_pages(file.get(), kPages * kPageSize, kPageSize), 0u);
  drop_unmapped_pages(file.get(), 50 * kPageSize, 0);
  read_ahead(file.get(), 0, 0);
  read_ahead(file.get(), kPages * kPageSize, kPageSize);
  EXPECT_GE(resident_pages(file.get(), 0, 0), kPages / 2);
}

TEST(PageCache, TellsOfADescriptorThatIsNotOpen) {
  EXPECT_THROW(resident_pages(-1, 0, 0), Error);
  EXPECT_THROW(drop_unmapped_pages(-1, 0, 0), Error);
  EXPECT_THROW(read_ahead(-1, 0, 0), Error);
}

}  // namespace
}  // namespace mpool::test
