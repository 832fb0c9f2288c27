// The file `.mpool/ctl`: objects of programs by ioctls (fuse/client/include/mpool/ioctl.h).
#pragma once

#include <cerrno>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <unordered_set>

#include "engine/base/error.h"
#include "engine/client/client_pool.h"
#include "engine/names/namespace.h"
#include "fuse/control/maps.h"
#include "fuse/control/provider.h"

namespace mpoolfs {

// The objects of a mounted pool as programs may change them.
//
// Threads: all functions may be called at the same time. mutex_ is a leaf.
class ProgramObjects {
 public:
  // The pool and the names must outlive it. No change is possible with `read_only`.
  ProgramObjects(mpool::Pool& pool, mpool::Namespace& names, bool read_only)
      : client_(pool), names_(names), read_only_(read_only) {}

  mpool::ClientPool& client() { return client_; }
  const mpool::ClientPool& client() const { return client_; }
  mpool::Namespace& names() { return names_; }
  // True for a committed object that belongs to the tree, or may.
  bool is_of_tree(mpool::ObjectId id) const;
  void check_writable() const;                      // EROFS
  void check_changeable(mpool::ObjectId id) const;  // or EPERM for an object of the tree
  // The object was committed by a program.
  void add(mpool::ObjectId id);
  bool holds_tree() const { return !names_.foreign(); }

  // Changes how a session uses the pool, as MPOOL_IOC_USE. EBUSY.
  void use(std::uint32_t& present, std::uint32_t wanted);

  // Before the first session; the callbacks are called without locks, by any thread that may block:
  // to wait until files whose last close(2) has returned are closed, and after a change of
  // settings.
  void on_settle(std::function<void()> callback) { settle_ = std::move(callback); }
  void on_settings(std::function<void()> callback) { on_settings_ = std::move(callback); }
  void settings_changed() const {
    if (on_settings_) on_settings_();
  }
  // Tries once more, after files are closed whose last close(2) has returned.
  template <typename Call>
  void retry_when_busy(const Call& call) const {
    try {
      return call();
    } catch (const mpool::Error& error) {
      if (error.code() != EBUSY) throw;
    }
    settle();
    call();
  }
  void settle() const {
    if (settle_) settle_();
  }

 private:
  mpool::ClientPool client_;
  mpool::Namespace& names_;
  const bool read_only_;
  mutable std::mutex mutex_;
  std::unordered_set<mpool::ObjectId> committed_;  // since the mount
  unsigned users_ = 0;                             // sessions that use the pool
  bool exclusive_ = false;
  std::function<void()> settle_;
  std::function<void()> on_settings_;
};

// The provider of `ctl`. Each opening is a session: what it did not commit is aborted, and what it
// opened is closed, with it.
class ObjectControl : public ControlProvider {
 public:
  // Both must outlive it.
  ObjectControl(ProgramObjects& objects, Maps& maps);

  Info describe(Node node) const override;
  std::unique_ptr<ControlFile> open(Node node, const mpool::OpenIntent& intent) override;
  std::unique_ptr<ControlFile> open_for(const Caller& caller, Node node,
                                        const mpool::OpenIntent& intent) override;

 private:
  ProgramObjects& objects_;
  Maps& maps_;
  const std::uint32_t uid_;
  const std::uint32_t gid_;
};

}  // namespace mpoolfs
