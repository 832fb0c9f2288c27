// An open file without functions, for tests that need some of them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>

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
  mpool::ReadResult read(std::uint64_t, std::size_t, mpool::ByteSpan,
                         std::optional<mpool::OnRing<mpool::FileRead>>,
                         mpool::Blocking blocking) override {
    return {done_or_would_block(blocking), {}};
  }
  mpool::IoState write(std::uint64_t, mpool::ConstByteSpan, bool,
                       std::optional<mpool::OnRing<mpool::FileWrite>>,
                       mpool::Blocking blocking) override {
    return done_or_would_block(blocking);
  }
  void truncate(std::uint64_t) override {}
  void allocate(std::uint64_t, std::uint64_t, mpool::LengthChange) override {}
  std::optional<std::uint64_t> seek(std::uint64_t, mpool::SeekFor) override { return {}; }
  void fsync() override {}
  bool flush(mpool::Blocking) override { return true; }
  bool close(mpool::Blocking) noexcept override { return true; }

 private:
  static mpool::IoState done_or_would_block(mpool::Blocking blocking) {
    return blocking == mpool::Blocking::allowed ? mpool::IoState::done
                                                : mpool::IoState::would_block;
  }

  const mpool::InodeNumber inode_;
  const mpool::FileKind kind_;
};

}  // namespace mpoolfs::test
