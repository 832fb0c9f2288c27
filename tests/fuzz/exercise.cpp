#include "tests/fuzz/exercise.h"

#include <algorithm>
#include <functional>

#include "engine/base/error.h"
#include "engine/check/check.h"
#include "engine/names/namespace.h"
#include "tests/support/async_io.h"

namespace mpool::fuzz {
namespace {

constexpr std::size_t kMaxEntries = 2000;

// Calls it; the Error it ended with, or empty.
std::string attempt(const std::function<void()>& step) {
  try {
    step();
    return {};
  } catch (const Error& error) {
    return error.what();
  }
}

// Visits everything below a directory, and reads from files at both ends: the size of a damaged
// inode may be anything.
class Walk {
 public:
  explicit Walk(Namespace& names) : names_(names) {}

  void directory(InodeNumber number) {
    std::vector<InodeNumber> children;
    std::vector<std::string> child_names;
    attempt([&] {
      names_.read_directory(number, 0, [&](const DirectoryEntry& entry) {
        children.push_back(entry.inode);
        child_names.emplace_back(entry.name);
        return ++entries_ < kMaxEntries;
      });
    });
    for (std::size_t i = 0; i < children.size() && entries_ < kMaxEntries; ++i) {
      attempt([&] { names_.lookup(number, child_names[i]); });
      inode(children[i]);
    }
  }

 private:
  void inode(InodeNumber number) {
    Attributes attributes;
    if (!attempt([&] { attributes = names_.attributes(number); }).empty()) return;
    attempt([&] {
      for (const std::string& name : names_.list_xattrs(number))
        attempt([&] { names_.get_xattr(number, name); });
    });
    if (attributes.kind == FileKind::directory) {
      directory(number);
    } else if (attributes.kind == FileKind::symlink) {
      attempt([&] { names_.read_symlink(number); });
    } else {
      attempt([&] { read(number, attributes.size); });
    }
  }

  void read(InodeNumber number, std::uint64_t size) {
    const auto file = names_.open(number, {.read = true});
    AlignedBuffer buffer(16 * kPageSize);
    attempt([&] { file->read(0, buffer.span()); });
    attempt([&] { file->read(size > 100 ? size - 100 : 0, buffer.span()); });
    attempt([&] { test::read_async(*file, 0, buffer.size()); });
    file->close();
  }

  Namespace& names_;
  std::size_t entries_ = 0;
};

void change(Namespace& names) {
  const auto text = as_bytes("fuzz", 4);
  attempt([&] {
    auto file = names.create(kRootInode, "new", 0644, {}, {.write = true}).second;
    attempt([&] { file->write(0, text, false); });
    attempt([&] { file->fsync(); });
    file->close();
  });
  attempt([&] {
    auto file =
        names.create(kRootInode, "new log", 0644, {}, {.write = true, .append = true}).second;
    attempt([&] { file->write(0, text, true); });
    attempt([&] { file->fsync(); });
    file->close();
  });
  attempt([&] { names.rename(kRootInode, "new", kRootInode, "file 3", RenameMode::replace); });
  attempt([&] { names.unlink(kRootInode, "file 7"); });
  attempt([&] { names.unlink(kRootInode, "first"); });
  attempt([&] { names.sync(); });
}

// The error of its end: empty when the pool was activated and mounted.
std::string use(const MediaSet& media, Tally& tally) {
  std::unique_ptr<Pool> pool;
  const std::string failure = attempt([&] { pool = Pool::activate(open_media(media)); });
  if (!failure.empty()) return failure;
  ++tally.activated;
  for (const Pool::MdcStats& mdc : pool->mdcs())
    attempt([&] { pool->read_mdc(mdc.slot, [](ConstByteSpan) {}); });
  attempt([&] { pool->allocate(ObjectType::mblock, 0, {}); });
  return attempt([&] {
    const auto names = Namespace::mount(*pool, {});
    ++tally.mounted;
    Walk(*names).directory(kRootInode);
    change(*names);
  });
}

struct Verdict {
  check::Result result;
  std::string failure;
  std::string findings;
};

Verdict check_it(const std::vector<std::unique_ptr<Device>>& devices) {
  Verdict verdict;
  const check::Options options{.data = true,
                               .report =
                                   [&](const check::Finding& finding) {
                                     verdict.findings +=
                                         fmt::format("\n  {}: {}", finding.where, finding.what);
                                   },
                               .progress = nullptr};
  verdict.failure = attempt([&] { verdict.result = check::check(devices, options); });
  return verdict;
}

}  // namespace

std::string exercise(const MediaSet& media, Tally& tally) {
  ++tally.pools;
  const auto devices = open_media(media);
  const Verdict before = check_it(devices);
  for (const auto& device : devices) {
    if (device->counters().writes != 0) return "check wrote to the media";
  }
  MediaSet repaired;
  for (const auto& one : media)
    repaired.push_back(std::make_shared<SimulatedMedia>(*one));
  const std::string failure = use(media, tally);
  const bool errors = before.result.errors != 0 || !before.failure.empty();
  if (errors) ++tally.with_errors;
  if (!failure.empty() && !errors) return "using the pool failed without a finding: " + failure;

  const auto to_repair = open_media(repaired);
  const std::string repair =
      attempt([&] { check::repair(to_repair, before.result.plan, [](const std::string&) {}); });
  if (!repair.empty()) return fmt::format("repair failed: {}{}", repair, before.findings);
  const Verdict after = check_it(to_repair);
  if (before.failure.empty() && after.result.errors > before.result.errors) {
    return fmt::format("repair made {} errors of {}:{}\nbefore:{}", after.result.errors,
                       before.result.errors, after.findings, before.findings);
  }
  return {};
}

}  // namespace mpool::fuzz
