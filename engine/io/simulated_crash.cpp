#include "engine/io/simulated_crash.h"

#include <cassert>
#include <cstring>
#include <utility>

#include <fmt/format.h>

namespace mpool {
namespace {

using Kind = SimulatedOperation::Kind;

// Mixes two numbers into one that looks random (the finaliser of SplitMix64).
std::uint64_t mix(std::uint64_t a, std::uint64_t b) {
  std::uint64_t x = a + b * 0x9e3779b97f4a7c15ull;
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ull;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebull;
  return x ^ (x >> 31);
}

SimulatedMedia::SharedPage noise_page() {
  static const SimulatedMedia::SharedPage page = [] {
    auto noise = std::make_shared<SimulatedMedia::Page>();
    for (std::size_t i = 0; i < noise->size(); ++i)
      (*noise)[i] = static_cast<std::byte>(mix(1, i));
    return noise;
  }();
  return page;
}

bool survives(const Survival& survival, std::uint64_t sector) {
  switch (survival.kind) {
    case Survival::Kind::lost:
      return false;
    case Survival::Kind::whole:
      return true;
    case Survival::Kind::prefix:
      return sector < survival.value;
    case Survival::Kind::suffix:
      return sector >= survival.value;
    case Survival::Kind::sectors:
      return (mix(survival.value, sector) & 1) != 0;
  }
  return false;
}

}  // namespace

std::string Survival::to_string() const {
  switch (kind) {
    case Kind::lost:
      return "lost";
    case Kind::whole:
      return "whole";
    case Kind::prefix:
      return fmt::format("first {} sectors", value);
    case Kind::suffix:
      return fmt::format("without first {} sectors", value);
    case Kind::sectors:
      return fmt::format("sectors of seed {}", value);
  }
  return {};
}

MediaSet copy_of(const MediaSet& media) {
  MediaSet copy;
  copy.reserve(media.size());
  for (const auto& one : media)
    copy.push_back(std::make_shared<SimulatedMedia>(*one));
  return copy;
}

CrashImages::CrashImages(const MediaSet& start, std::vector<SimulatedOperation> history,
                         DiscardEffect effect)
    : history_(std::move(history)), effect_(effect), durable_(copy_of(start)) {}

void CrashImages::advance() {
  const SimulatedOperation& operation = history_.at(position_);
  if (operation.kind != Kind::flush) {
    pending_.push_back(position_++);
    return;
  }
  std::vector<std::size_t> others;
  for (const std::size_t index : pending_) {
    if (history_[index].device == operation.device) {
      apply(durable_, history_[index], Survival());
    } else {
      others.push_back(index);
    }
  }
  pending_ = std::move(others);
  ++position_;
}

std::uint64_t CrashImages::pending_sectors(std::size_t index) const {
  const SimulatedOperation& operation = pending(index);
  if (operation.kind == Kind::discard) return 1;
  return operation.length / durable_[operation.device]->sector_size();
}

MediaSet CrashImages::image(std::span<const Survival> survivals) const {
  assert(survivals.size() == pending_.size());
  MediaSet media = copy_of(durable_);
  for (std::size_t i = 0; i < pending_.size(); ++i)
    apply(media, pending(i), survivals[i]);
  return media;
}

MediaSet CrashImages::durable(const MediaSet& start, std::vector<SimulatedOperation> history,
                              DiscardEffect effect) {
  CrashImages images(start, std::move(history), effect);
  while (images.position() < images.size())
    images.advance();
  return std::move(images.durable_);
}

void CrashImages::apply(MediaSet& media, const SimulatedOperation& operation,
                        const Survival& survival) const {
  if (survival.kind == Survival::Kind::lost) return;
  SimulatedMedia& target = *media[operation.device];
  if (operation.kind == Kind::discard) return apply_discard(target, operation);
  if (survival.kind != Survival::Kind::whole) return apply_torn(target, operation, survival);
  for (std::size_t i = 0; i < operation.pages.size(); ++i)
    target.set_page(operation.offset + i * kPageSize, operation.pages[i]);
}

void CrashImages::apply_torn(SimulatedMedia& media, const SimulatedOperation& operation,
                             const Survival& survival) const {
  const std::uint32_t sector_size = media.sector_size();
  AlignedBuffer mixed(kPageSize);
  for (std::size_t i = 0; i < operation.pages.size(); ++i) {
    const std::uint64_t offset = operation.offset + i * kPageSize;
    media.read(offset, mixed.span());
    for (std::size_t at = 0; at < kPageSize; at += sector_size) {
      if (!survives(survival, (i * kPageSize + at) / sector_size)) continue;
      std::memcpy(mixed.data() + at, operation.pages[i]->data() + at, sector_size);
    }
    media.write(offset, mixed.span());
  }
}

void CrashImages::apply_discard(SimulatedMedia& media, const SimulatedOperation& operation) const {
  if (effect_ == DiscardEffect::keeps) return;
  if (effect_ == DiscardEffect::zeros) return media.zero(operation.offset, operation.length);
  for (std::uint64_t at = 0; at < operation.length; at += kPageSize)
    media.set_page(operation.offset + at, noise_page());
}

}  // namespace mpool
