#include "tests/crash/mounted_pool.h"

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <functional>
#include <mutex>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include <fcntl.h>
#include <sys/ioctl.h>
#include <sys/mman.h>

#include "engine/base/error.h"
#include "engine/names/namespace.h"
#include "fuse/client/mount_backend.h"
#include "fuse/client/mount_directory.h"
#include "fuse/control/control_tree.h"
#include "fuse/control/maps.h"
#include "fuse/control/object_control.h"
#include "fuse/control/object_files.h"
#include "fuse/native/native_reads.h"
#include "fuse/native/reader_watch.h"

namespace mpool::test {
namespace {

using mpoolfs::ControlTree;

NamespaceOptions only_when_told() {
  NamespaceOptions options;
  options.commit_interval = std::chrono::hours(1);
  return options;
}

}  // namespace

// What fuse/serve.cpp makes for programs.
struct MountedPool::Served {
  explicit Served(std::unique_ptr<Pool> of) : pool(std::move(of)) {
    control.add("ctl", std::make_unique<mpoolfs::ObjectControl>(objects, maps));
    control.add("mblock",
                std::make_unique<mpoolfs::ObjectFiles>(objects, *names, ObjectType::mblock));
    control.add("mlog", std::make_unique<mpoolfs::ObjectFiles>(objects, *names, ObjectType::mlog));
    maps.mounted_at(
        control.add("map", std::make_unique<mpoolfs::MapFiles>(maps, mpoolfs::MapFiles::Owner{})));
    objects.on_settle([this] {
      control.settle();
      maps.sweep_removed();
    });
  }

  const std::unique_ptr<Pool> pool;
  const std::unique_ptr<Namespace> names = Namespace::mount(*pool, only_when_told());
  mpoolfs::ReaderWatch readers{pool->clock(), pool->metrics()};
  Reaper reaper{pool->jobs(), {.percent = 100}};
  mpoolfs::NativeReads native{
      *pool,  *names, mpoolfs::ViewDevices(*pool), mpoolfs::NativeChoice::off, false, readers,
      reaper, 0};
  mpoolfs::Maps maps{*names, native, reaper, [](InodeNumber, std::uint64_t, std::uint64_t) {},
                     pool->logger()};
  mpoolfs::ProgramObjects objects{*pool, *names, false};
  ControlTree control{pool->clock().wall_time(), pool->clock()};
  std::mutex mutex;  // guards opened
  std::vector<ControlTree::HandleNumber> opened;
};

namespace {

// As close(2).
void close_file(ControlTree& control, ControlTree::HandleNumber handle) {
  try {
    control.flush(handle);
  } catch (const Error&) {
    // close(2) tells, and the library does not ask; or it was closed before.
  }
  control.close(handle);
}

class ServedFile : public libmpool::MountFile {
 public:
  ServedFile(ControlTree& control, ControlTree::HandleNumber handle, std::uint64_t size)
      : control_(control), handle_(handle), size_(size) {}
  ~ServedFile() override { close_file(control_, handle_); }

  void read(std::uint64_t offset, std::span<const ByteSpan> parts) override {
    for (const ByteSpan part : parts) {
      for (std::size_t done = 0; done < part.size();) {
        const std::string found = control_.read(handle_, offset, part.size() - done);
        if (found.empty()) raise(EIO, "file", "it ends before");
        std::memcpy(part.data() + done, found.data(), found.size());
        done += found.size();
        offset += found.size();
      }
    }
  }
  void write(std::uint64_t offset, std::span<const ConstByteSpan> parts) override {
    for (const ConstByteSpan part : parts) {
      control_.write(handle_, offset, part);
      offset += part.size();
    }
  }
  void ioctl(unsigned long command, void* structure) override {
    const std::size_t size = _IOC_SIZE(command);
    const std::size_t in = (_IOC_DIR(command) & _IOC_WRITE) != 0 ? size : 0;
    const auto out =
        control_.ioctl(handle_, static_cast<unsigned>(command), as_bytes(structure, in),
                       (_IOC_DIR(command) & _IOC_READ) != 0 ? size : 0);
    if (!out.empty()) std::memcpy(structure, out.data(), out.size());
  }
  std::uint64_t size() const override { return size_; }
  // A copy.
  void map(ByteSpan memory) override {
    if (::mprotect(memory.data(), memory.size(), PROT_READ | PROT_WRITE) != 0) {
      raise_system(errno, "map", "mprotect");
    }
    read(0, std::span(&memory, 1));
    ::mprotect(memory.data(), memory.size(), PROT_READ);
  }
  void drop_cached() override {}

 private:
  ControlTree& control_;
  const ControlTree::HandleNumber handle_;
  const std::uint64_t size_;
};

class ServedDirectory : public libmpool::MountDirectory {
 public:
  using NoteOpened = std::function<void(ControlTree::HandleNumber)>;
  ServedDirectory(ControlTree& control, NoteOpened note_opened)
      : control_(control), note_opened_(std::move(note_opened)) {}

  std::unique_ptr<libmpool::MountFile> open(const std::string& name, int flags) override {
    const int access = flags & O_ACCMODE;
    const Attributes found = find(name);
    const auto handle =
        control_.open(found.inode, {.read = access != O_WRONLY, .write = access != O_RDONLY}, {});
    note_opened_(handle);
    return std::make_unique<ServedFile>(control_, handle, found.size);
  }
  std::vector<std::string> list(const std::string& name) override {
    std::vector<std::string> names;
    control_.read_directory(find(name).inode, 0, [&](const DirectoryEntry& entry) {
      names.emplace_back(entry.name);
      return true;
    });
    return names;
  }
  void remove(const char* name) noexcept override {
    try {
      const std::string path = name;
      const std::size_t slash = path.find('/');
      control_.remove(find(path.substr(0, slash)).inode, path.substr(slash + 1));
    } catch (const Error&) {
      // It is gone.
    }
  }

 private:
  // ENOENT. `path`: a name, or two with a slash.
  Attributes find(const std::string& path) const {
    const std::size_t slash = path.find('/');
    auto found = control_.lookup(ControlTree::kDirectory, path.substr(0, slash));
    if (found && slash != std::string::npos) {
      found = control_.lookup(found->inode, path.substr(slash + 1));
    }
    if (!found) raise(ENOENT, path, "no such name");
    return *found;
  }

  ControlTree& control_;
  const NoteOpened note_opened_;
};

}  // namespace

MountedPool::MountedPool(std::unique_ptr<Pool> pool)
    : served_(std::make_unique<Served>(std::move(pool))) {}

MountedPool::~MountedPool() = default;

Pool& MountedPool::pool() const {
  return *served_->pool;
}

std::unique_ptr<libmpool::Backend> MountedPool::open() {
  const auto note_opened = [this](ControlTree::HandleNumber handle) {
    const std::lock_guard lock(served_->mutex);
    served_->opened.push_back(handle);
  };
  return std::make_unique<libmpool::MountBackend>(
      libmpool::MountSession(std::make_unique<ServedDirectory>(served_->control, note_opened)));
}

void MountedPool::kill_programs() {
  std::vector<ControlTree::HandleNumber> opened;
  {
    const std::lock_guard lock(served_->mutex);
    opened.swap(served_->opened);
  }
  for (const ControlTree::HandleNumber handle : opened)
    close_file(served_->control, handle);
}

}  // namespace mpool::test
