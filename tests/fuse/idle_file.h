// An open file without functions, for tests that need some of them.
#pragma once

#include <cstddef>
#include <cstdint>

#include "engine/base/bytes.h"
#include "engine/file/open_file.h"

namespace mpoolfs::test {

class IdleFile : public mpool::OpenFile {
 public:
  explicit IdleFile(mpool::InodeNumber inode, mpool::FileKind kind = mpool::FileKind::write_once)
      : inode_(inode), kind_(kind) {}

  mpool::InodeNumber inode() const override { return inode_; }
  mpool::FileKind kind() const override { return kind_; }
  bool cacheable() const override { return false; }
  std::size_t read(std::uint64_t, mpool::ByteSpan) override { return 0; }
  mpool::ReadResult read(mpool::FileIo&, std::uint64_t, std::size_t, mpool::ByteSpan,
                         mpool::FileRead&, mpool::Blocking) override {
    return {};
  }
  void write(std::uint64_t, mpool::ConstByteSpan, bool) override {}
  mpool::IoState write(mpool::FileIo&, std::uint64_t, mpool::ConstByteSpan, bool, mpool::FileWrite&,
                       mpool::Blocking) override {
    return mpool::IoState::would_block;
  }
  void truncate(std::uint64_t) override {}
  void allocate(std::uint64_t, std::uint64_t, mpool::LengthChange) override {}
  void fsync() override {}
  bool flush(mpool::Blocking) override { return true; }
  bool close(mpool::Blocking) noexcept override { return true; }

 private:
  const mpool::InodeNumber inode_;
  const mpool::FileKind kind_;
};

}  // namespace mpoolfs::test
