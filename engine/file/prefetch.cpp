#include "engine/file/prefetch.h"

#include <algorithm>
#include <exception>
#include <utility>

#include "engine/base/aligned_buffer.h"
#include "engine/io/device.h"

namespace mpool {

// The transfers belong to the ring that prefetches; the store's mutex guards everything else.
struct Prefetch::Slot final : PlannedRead {
  enum class State : std::uint8_t { empty, pending, ready, lent };

  Slot(Store& all, std::size_t which) : store(all), number(which) {}

  ByteSpan buffer() {
    return store.memory_.span(number * store.tunables_.max_size, store.tunables_.max_size);
  }
  ConstByteSpan data() { return buffer().first(error == 0 ? length : 0); }

  bool holds(std::uint64_t of, std::uint64_t at, std::size_t bytes) const {
    return (state == State::pending || state == State::ready) && source_id == of && offset == at &&
           size == bytes;
  }

  void done(int code) noexcept override {
    Prefetch& ring = *std::exchange(fetcher, nullptr);
    --ring.pending_;
    Reader* waiting = nullptr;
    bool same_ring = false;
    {
      const std::lock_guard lock(store.mutex_);
      error = code;
      waiting = reader;
      same_ring = reader_ring == &ring;
      // A reader that requests failed data later meets the error itself.
      state = waiting != nullptr ? State::lent : code == 0 ? State::ready : State::empty;
    }
    if (waiting == nullptr) return;
    if (!same_ring) return waiting->wake();
    deliver();
  }

  // Called on the thread of the reader's ring.
  void deliver() noexcept {
    reader->fetched(data(), error);
    give_back();
  }

  void give_back() noexcept {
    const std::lock_guard lock(store.mutex_);
    reader = nullptr;
    state = State::empty;
  }

  Store& store;
  const std::size_t number;  // in Store::slots_
  State state = State::empty;
  std::uint64_t source_id = 0;
  std::uint64_t offset = 0;         // bytes
  std::size_t size = 0;             // bytes requested
  std::size_t length = 0;           // bytes present
  int error = 0;                    // 0 or an errno, once it is done
  Prefetch* fetcher = nullptr;      // pending: the ring that prefetches
  Reader* reader = nullptr;         // waits for the data
  Prefetch* reader_ring = nullptr;  // the ring of the reader
};

void Prefetch::GiveBack::operator()(Slot* slot) const noexcept {
  slot->give_back();
}

Prefetch::Fetched Prefetch::fetch(ReadSource& source, std::uint64_t offset, std::size_t size,
                                  bool alone, Reader& reader) {
  const Tunables::Prefetch& limits = store_.tunables_;
  if (size < limits.min_size || size > limits.max_size || !is_aligned(size, kPageSize)) return {};
  Fetched answer;
  bool started = false;
  {
    const std::lock_guard lock(store_.mutex_);
    Store::Stream& stream = store_.follow(source.source_id(), offset, size);
    stream.alone = alone ? stream.alone + 1 : 0;
    Slot* const slot = store_.find(source.source_id(), offset, size);
    if (slot != nullptr && slot->state == Slot::State::ready) {
      slot->state = Slot::State::lent;
      answer.state = Fetched::State::ready;
      answer.data = slot->data();
      answer.loan.reset(slot);
    } else if (slot != nullptr && slot->reader == nullptr) {
      slot->reader = &reader;
      slot->reader_ring = this;
      answer.state = Fetched::State::pending;
    }
    // Now, so that the device works while the kernel copies.
    if (stream.alone >= limits.alone)
      started = store_.fetch_next(*this, source, offset + size, size);
  }
  if (started) submit();
  return answer;
}

// A failure of the ring is left to its thread, which meets it again: the caller has its answer, or
// will be called with it.
void Prefetch::submit() noexcept {
  try {
    ring_.submit();
  } catch (const std::exception&) {
  }
}

void Prefetch::collect(Reader& reader) noexcept {
  Slot* slot = nullptr;
  {
    const std::lock_guard lock(store_.mutex_);
    const auto found = std::ranges::find_if(store_.slots_, [&](const auto& candidate) {
      return candidate->reader == &reader && candidate->state == Slot::State::lent;
    });
    slot = found->get();
  }
  slot->deliver();
}

void Prefetch::trim() noexcept {
  const std::lock_guard lock(store_.mutex_);
  std::ranges::fill(store_.streams_, Store::Stream());
  bool used = false;
  for (const auto& slot : store_.slots_) {
    if (slot->state == Slot::State::ready) slot->state = Slot::State::empty;
    used |= slot->state != Slot::State::empty;
  }
  if (!used) store_.memory_.free();
}

Prefetch::Store::Store(std::size_t rings, WriteMemory& budget, const Tunables::Prefetch& tunables)
    : tunables_(tunables), streams_(rings * tunables.streams), memory_(budget) {
  for (std::size_t i = 0; i < rings * tunables.slots(); ++i)
    slots_.push_back(std::make_unique<Slot>(*this, i));
}

Prefetch::Store::~Store() = default;

// The stream that the read continues, or begins.
Prefetch::Store::Stream& Prefetch::Store::follow(std::uint64_t source_id, std::uint64_t offset,
                                                 std::size_t size) {
  Stream* found = nullptr;
  Stream* oldest = streams_.data();
  for (Stream& stream : streams_) {
    if (stream.source_id == source_id && stream.next == offset) found = &stream;
    if (stream.used < oldest->used) oldest = &stream;
  }
  Stream& stream = found != nullptr ? *found : *oldest;
  if (found == nullptr) stream = {.source_id = source_id, .next = 0, .used = 0, .alone = 0};
  stream.next = offset + size;
  stream.used = ++clock_;
  return stream;
}

Prefetch::Slot* Prefetch::Store::find(std::uint64_t source_id, std::uint64_t offset,
                                      std::size_t size) {
  const auto found = std::ranges::find_if(
      slots_, [&](const auto& slot) { return slot->holds(source_id, offset, size); });
  return found == slots_.end() ? nullptr : found->get();
}

// A slot without data, or without data that a followed reader will request.
Prefetch::Slot* Prefetch::Store::free_slot() {
  const auto wanted = [&](const Slot& slot) {
    return std::ranges::any_of(streams_, [&](const Stream& stream) {
      return stream.source_id == slot.source_id && slot.offset >= stream.next &&
             slot.offset - stream.next < tunables_.ahead * slot.size;
    });
  };
  const auto found = std::ranges::find_if(slots_, [&](const auto& slot) {
    return slot->state == Slot::State::empty ||
           (slot->state == Slot::State::ready && !wanted(*slot));
  });
  return found == slots_.end() ? nullptr : found->get();
}

bool Prefetch::Store::fetch_next(Prefetch& fetcher, ReadSource& source, std::uint64_t offset,
                                 std::size_t size) {
  bool started = false;
  for (std::size_t i = 0; i < tunables_.ahead; ++i, offset += size) {
    if (find(source.source_id(), offset, size) != nullptr) continue;
    Slot* const slot = free_slot();
    if (slot == nullptr || !start(fetcher, *slot, source, offset, size)) break;
    started = true;
  }
  return started;
}

// Errors here are not returned: the present request does not depend on this data. A later request
// for it meets the error itself.
bool Prefetch::Store::start(Prefetch& fetcher, Slot& slot, ReadSource& source, std::uint64_t offset,
                            std::size_t size) noexcept {
  slot.state = Slot::State::empty;
  try {
    if (!memory_.allocate(slots_.size() * tunables_.max_size)) return false;
    ReadPlan plan;
    if (!source.plan_read(offset, size, slot.buffer(), plan) || plan.count == 0) return false;
    // A prefetch would only add a copy.
    if (plan.transfers[0].device->properties().in_memory) return false;
    slot.start(fetcher.ring_, plan, slot.buffer());
    slot.length = plan.length;
  } catch (const std::exception&) {
    return false;
  }
  slot.state = Slot::State::pending;
  slot.source_id = source.source_id();
  slot.offset = offset;
  slot.size = size;
  slot.fetcher = &fetcher;
  ++fetcher.pending_;
  return true;
}

}  // namespace mpool
