// Objects by a key, as long as something else uses them.
#pragma once

#include <algorithm>
#include <cstddef>
#include <memory>
#include <unordered_map>

namespace mpool {

// Not thread-safe: the owner has a lock. An object may end at any time, also without it.
template <typename Key, typename Object>
class WeakTable {
 public:
  // That of the key; empty, or expired, when there is none. Valid until the next call.
  std::weak_ptr<Object>& operator[](const Key& key) {
    if (objects_.size() >= forget_at_) forget_ended();
    return objects_[key];
  }
  std::shared_ptr<Object> find(const Key& key) const {  // null: none
    const auto found = objects_.find(key);
    return found == objects_.end() ? nullptr : found->second.lock();
  }
  std::size_t size() const { return objects_.size(); }  // with some of the ended ones

 private:
  static constexpr std::size_t kMinForgetAt = 64;

  void forget_ended() {
    std::erase_if(objects_, [](const auto& entry) { return entry.second.expired(); });
    forget_at_ = std::max(kMinForgetAt, objects_.size() * 2);
  }

  std::unordered_map<Key, std::weak_ptr<Object>> objects_;
  std::size_t forget_at_ = kMinForgetAt;  // number of objects
};

}  // namespace mpool
