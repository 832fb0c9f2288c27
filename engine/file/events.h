// The callbacks of a Namespace (Namespace::on_...).
#pragma once

#include <functional>
#include <mutex>
#include <span>
#include <string>
#include <utility>

#include "engine/tree/attributes.h"

namespace mpool::names {

// Threads: all functions may be called at the same time. mutex_ is a leaf, held while `removed` is
// called; catch_up_mutex_ is held during a catch_up(), which may block: it is taken with the
// journal's barrier, or with no other lock.
class Events {
 public:
  using CreateFailed =
      std::function<void(InodeNumber parent, const std::string& name, InodeNumber inode)>;
  using OfInode = std::function<void(InodeNumber inode)>;
  using Durable = std::function<void(std::span<const InodeNumber> inodes)>;

  void on_create_failed(CreateFailed callback) { set(create_failed_, callback); }
  void on_committed(OfInode callback) { set(committed_, callback); }
  void on_durable(Durable callback) { set(durable_, callback); }
  void on_removed(OfInode callback) { set(removed_, callback); }
  void on_no_room(std::function<void()> callback) { set(no_room_, callback); }
  void on_catch_up(std::function<void()> callback) {
    const std::lock_guard lock(catch_up_mutex_);
    catch_up_ = std::move(callback);
  }

  void create_failed(InodeNumber parent, const std::string& name, InodeNumber inode) {
    call(create_failed_, parent, name, inode);
  }
  void committed(InodeNumber inode) { call(committed_, inode); }
  void durable(std::span<const InodeNumber> inodes) { call(durable_, inodes); }
  void no_room() { call(no_room_); }
  void removed(InodeNumber inode) {
    const std::lock_guard lock(mutex_);
    if (removed_) removed_(inode);
  }
  void catch_up() {
    const std::lock_guard lock(catch_up_mutex_);
    if (catch_up_) catch_up_();
  }

 private:
  template <typename Callback>
  void set(Callback& callback, Callback& next) {
    const std::lock_guard lock(mutex_);
    callback = std::move(next);
  }
  template <typename Callback, typename... Arguments>
  void call(const Callback& callback, const Arguments&... arguments) {
    std::unique_lock lock(mutex_);
    const Callback present = callback;
    lock.unlock();
    if (present) present(arguments...);
  }

  std::mutex mutex_;
  CreateFailed create_failed_;
  OfInode committed_;
  Durable durable_;
  OfInode removed_;
  std::function<void()> no_room_;
  std::mutex catch_up_mutex_;
  std::function<void()> catch_up_;
};

}  // namespace mpool::names
