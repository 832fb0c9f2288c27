#include "engine/io/simulated_device.h"

#include <cstring>
#include <utility>

#include "engine/base/error.h"

namespace mpool {
namespace {

using Kind = SimulatedOperation::Kind;
using Target = SimulatedFaults::Target;

SimulatedMedia::SharedPage zero_page() {
  static const auto page = std::make_shared<const SimulatedMedia::Page>();
  return page;
}

SimulatedMedia::SharedPage page_of(const std::byte* from) {
  auto page = std::make_shared_for_overwrite<SimulatedMedia::Page>();
  std::memcpy(page->data(), from, kPageSize);
  return page;
}

DeviceProperties properties_of(const SimulatedMedia& media) {
  DeviceProperties properties;
  properties.size = media.size();
  properties.logical_sector_size = media.sector_size();
  properties.physical_sector_size = media.sector_size();
  properties.discard_granularity = kPageSize;
  return properties;
}

}  // namespace

SimulatedMedia::SimulatedMedia(std::uint64_t size, std::uint32_t sector_size, std::byte fill)
    : size_(size), sector_size_(sector_size), fill_(fill) {}

SimulatedMedia::SimulatedMedia(const SimulatedMedia& other)
    : size_(other.size()), sector_size_(other.sector_size_), fill_(other.fill_) {
  const std::lock_guard lock(other.mutex_);
  leaves_ = other.leaves_;
}

const SimulatedMedia::SharedPage* SimulatedMedia::find(std::uint64_t page_number) const {
  const auto leaf = leaves_.find(page_number / kLeafPages);
  return leaf == leaves_.end() ? nullptr : &(*leaf->second)[page_number % kLeafPages];
}

void SimulatedMedia::copy_page(std::uint64_t page_number, std::byte* into) const {
  const SharedPage* page = find(page_number);
  if (page != nullptr && *page != nullptr) {
    std::memcpy(into, (*page)->data(), kPageSize);
  } else {
    std::memset(into, static_cast<int>(fill_), kPageSize);
  }
}

void SimulatedMedia::put(std::uint64_t page_number, SharedPage page) {
  auto& leaf = leaves_[page_number / kLeafPages];
  if (leaf == nullptr) {
    leaf = std::make_shared<Leaf>();
  } else if (leaf.use_count() > 1) {
    leaf = std::make_shared<Leaf>(*leaf);
  }
  (*leaf)[page_number % kLeafPages] = std::move(page);
}

void SimulatedMedia::read(std::uint64_t offset, ByteSpan into) const {
  const std::lock_guard lock(mutex_);
  for (std::size_t done = 0; done < into.size(); done += kPageSize) {
    copy_page((offset + done) / kPageSize, into.data() + done);
  }
}

void SimulatedMedia::write(std::uint64_t offset, ConstByteSpan from) {
  const std::lock_guard lock(mutex_);
  for (std::size_t done = 0; done < from.size(); done += kPageSize) {
    put((offset + done) / kPageSize, page_of(from.data() + done));
  }
}

void SimulatedMedia::zero(std::uint64_t offset, std::uint64_t length) {
  const std::lock_guard lock(mutex_);
  for (std::uint64_t page = offset / kPageSize; page < (offset + length) / kPageSize; ++page) {
    if (fill_ != std::byte{0}) {
      put(page, zero_page());
    } else if (const SharedPage* found = find(page); found != nullptr && *found != nullptr) {
      put(page, nullptr);
    }
  }
}

SimulatedMedia::SharedPage SimulatedMedia::page(std::uint64_t offset) const {
  const std::lock_guard lock(mutex_);
  const SharedPage* page = find(offset / kPageSize);
  return page == nullptr ? nullptr : *page;
}

void SimulatedMedia::set_page(std::uint64_t offset, SharedPage page) {
  const std::lock_guard lock(mutex_);
  put(offset / kPageSize, std::move(page));
}

void SimulatedHistory::add(SimulatedOperation operation) {
  const std::lock_guard lock(mutex_);
  operations_.push_back(std::move(operation));
}

std::size_t SimulatedHistory::size() const {
  const std::lock_guard lock(mutex_);
  return operations_.size();
}

std::vector<SimulatedOperation> SimulatedHistory::operations() const {
  const std::lock_guard lock(mutex_);
  return operations_;
}

void SimulatedFaults::arm(const Plan& plan) {
  const std::lock_guard lock(mutex_);
  plan_ = plan;
  seen_ = 0;
  fired_ = false;
}

void SimulatedFaults::disarm() {
  const std::lock_guard lock(mutex_);
  plan_.reset();
}

bool SimulatedFaults::fired() const {
  const std::lock_guard lock(mutex_);
  return fired_;
}

std::optional<SimulatedFaults::Plan> SimulatedFaults::next(Target target) {
  const std::lock_guard lock(mutex_);
  if (!plan_ || plan_->target != target) return std::nullopt;
  ++seen_;
  if (seen_ != plan_->number && (!plan_->forever || seen_ < plan_->number)) return std::nullopt;
  fired_ = true;
  return plan_;
}

SimulatedDevice::SimulatedDevice(std::string name, std::shared_ptr<SimulatedMedia> media,
                                 Options options)
    : Device(std::move(name), properties_of(*media)),
      media_(std::move(media)),
      options_(std::move(options)) {}

void SimulatedDevice::fail_if_planned(Target target, const char* what) {
  if (options_.faults == nullptr) return;
  if (const auto plan = options_.faults->next(target)) raise_system(plan->code, name(), what);
}

void SimulatedDevice::read_impl(std::uint64_t offset, ByteSpan into) {
  fail_if_planned(Target::read, "read");
  media_->read(offset, into);
}

void SimulatedDevice::apply_write(std::uint64_t offset, ConstByteSpan from) {
  if (options_.history == nullptr) return media_->write(offset, from);
  SimulatedOperation operation{Kind::write, options_.number, offset, from.size(), {}};
  operation.pages.reserve(from.size() / kPageSize);
  for (std::size_t done = 0; done < from.size(); done += kPageSize) {
    operation.pages.push_back(page_of(from.data() + done));
    media_->set_page(offset + done, operation.pages.back());
  }
  options_.history->add(std::move(operation));
}

void SimulatedDevice::write_impl(std::uint64_t offset, ConstByteSpan from) {
  if (before_write_) before_write_(offset, from);
  const auto plan = options_.faults ? options_.faults->next(Target::write) : std::nullopt;
  if (plan) {
    const std::size_t sectors = from.size() / media_->sector_size();
    const std::size_t written = sectors * plan->percent_written / 100 * media_->sector_size();
    AlignedBuffer mixed(from.size());
    media_->read(offset, mixed.span());
    std::memcpy(mixed.data(), from.data(), written);
    apply_write(offset, mixed.span());
    raise_system(plan->code, name(), "write");
  }
  apply_write(offset, from);
  if (after_write_) after_write_();
}

void SimulatedDevice::flush_impl() {
  fail_if_planned(Target::flush, "flush");
  if (options_.history != nullptr) {
    options_.history->add({Kind::flush, options_.number, 0, 0, {}});
  }
}

void SimulatedDevice::discard_impl(std::uint64_t offset, std::uint64_t length) {
  fail_if_planned(Target::discard, "discard");
  if (options_.discard_zeros) media_->zero(offset, length);
  if (options_.history != nullptr) {
    options_.history->add({Kind::discard, options_.number, offset, length, {}});
  }
}

}  // namespace mpool
