#include "engine/pool/mdc_slot.h"

#include <algorithm>
#include <cerrno>

#include "engine/base/error.h"
#include "engine/format/log_block.h"
#include "engine/io/overlay_device.h"

namespace mpool {
namespace {

// Part of an MDC that is kept free of live records, so that a compaction always gains room for many
// changes.
constexpr std::uint64_t kHeadroomDivisor = 16;
// Room for the checkpoint record that starts a compacted MDC.
constexpr std::uint64_t kCheckpointBytes = 16 + ChunkHeader::kSize;

}  // namespace

MdcSlot::MdcSlot(unsigned slot, std::string pool, Preamble preamble, Counter& compactions)
    : slot_(slot),
      name_(fmt::format("MDC{} of pool {}", slot, pool)),
      preamble_(std::move(preamble)),
      compactions_(compactions),
      next_uniquifier_(ObjectId::kCheckpointInterval),
      checkpoint_(slot) {}

void MdcSlot::attach(std::unique_ptr<Mdc> mdc, std::uint32_t sector_size) {
  mdc_ = std::move(mdc);
  // A record split at the end of a block costs another descriptor.
  const std::uint64_t block_payload = sector_size - LogBlockHeader::kSize - ChunkHeader::kSize;
  const std::uint64_t payload = mdc_->capacity() / sector_size * block_payload;
  const std::uint64_t reserved = payload / kHeadroomDivisor + kCheckpointBytes;
  payload_limit_ = payload > reserved ? payload - reserved : 0;
}

void MdcSlot::attach_nothing() {
  constexpr std::uint32_t kSectorSize = kPageSize;
  nothing_ = std::make_unique<OverlayDevice>("nothing", 2 * kPageSize, kSectorSize);
  std::array<Mdc::Half, 2> halves;
  for (unsigned i = 0; i < 2; ++i) {
    halves[i].location = {.device = nothing_.get(),
                          .offset = i * kPageSize,
                          .capacity = kPageSize,
                          .sector_size = kSectorSize,
                          .uuid = Uuid::random(),
                          .name = name_};
  }
  attach(Mdc::open(name_, halves, [](ObjectId, std::uint64_t) {}), kSectorSize);
}

void MdcSlot::load(const std::function<void(ConstByteSpan)>& apply) {
  std::uint64_t count = 0;
  MlogReader reader = mdc_->reader();
  std::vector<std::byte> record;
  while (reader.next(record)) {
    apply(record);
    ++count;
  }
  records_ = count;
}

MdcSlot::Pending MdcSlot::log(const MetadataRecord& record) {
  const EncodedRecord encoded = encode_record(record);
  try {
    const Mdc::Ticket ticket = mdc_->append(encoded.span());
    records_.fetch_add(1, std::memory_order_relaxed);
    return ticket;
  } catch (const Error& error) {
    if (error.code() != EFBIG) throw;
  }
  compact();
  return std::nullopt;
}

void MdcSlot::wait(std::span<const Change> changes) {
  std::vector<Mdc::Point> points;
  for (const auto& [slot, pending] : changes) {
    if (pending) points.push_back({slot->mdc_.get(), *pending});
  }
  Mdc::sync(points);
}

bool MdcSlot::is_worth_compacting_locked(unsigned full, unsigned garbage) const {
  const std::uint64_t records = records_;
  const std::uint64_t superfluous = records - std::min(records, live_records());
  return mdc_->used() * 100 >= mdc_->capacity() * full && superfluous != 0 &&
         superfluous * 100 >= records * garbage;
}

bool MdcSlot::compact_if(unsigned full, unsigned garbage) {
  const auto updates = lock_updates();
  if (!is_worth_compacting_locked(full, garbage)) return false;
  compact();
  return true;
}

std::vector<MetadataRecord> MdcSlot::preamble() const {
  if (preamble_) return preamble_();
  return {CheckpointRecord{checkpoint()}};
}

void MdcSlot::compact() {
  const std::vector<MetadataRecord> first = preamble();
  const std::vector<ObjectRecord> live = table_.live();
  try {
    mdc_->compact([&](const Mdc::Append& append) {
      for (const MetadataRecord& record : first)
        append(encode_record(record).span());
      for (const ObjectRecord& object : live)
        append(encode_record(object).span());
    });
  } catch (const Error& error) {
    if (error.code() != EFBIG) throw;
    raise(ENOSPC, name_, "no room for the records of {} objects in {} bytes", live.size(),
          mdc_->capacity());
  }
  records_ = first.size() + live.size();
  compactions_.add();
}

ObjectId MdcSlot::next_id(ObjectType type) {
  const std::lock_guard ids(ids_);
  const std::uint64_t uniquifier = next_uniquifier_;
  if (uniquifier > ObjectId::kMaxUniquifier) raise(ENOSPC, name_, "all object ids are used up");
  const auto id = ObjectId::make(uniquifier, type, static_cast<std::uint8_t>(slot_));
  if (uniquifier % ObjectId::kCheckpointInterval == 0) {
    Pending pending;
    {
      const auto updates = lock_updates();
      const std::uint64_t previous = checkpoint_.exchange(id.value);
      try {
        pending = log(CheckpointRecord{id});
      } catch (...) {
        checkpoint_ = previous;
        throw;
      }
    }
    wait(pending);
  }
  next_uniquifier_ = uniquifier + 1;
  return id;
}

void MdcSlot::set_checkpoint(ObjectId id) {
  checkpoint_ = id.value;
  next_uniquifier_ = id.uniquifier() + ObjectId::kCheckpointInterval;
}

bool MdcSlot::was_handed_out(ObjectId id) const {
  return id.uniquifier() >= first_uniquifier() && id.uniquifier() < next_uniquifier_;
}

std::uint64_t MdcSlot::room() const {
  const std::uint64_t taken = table_.record_bytes();
  return payload_limit_ > taken ? payload_limit_ - taken : 0;
}

Pool::MdcStats MdcSlot::stats() const {
  const auto updates = lock_updates();
  return {.slot = slot_,
          .mdc = mdc_->stats(),
          .last_uniquifier = next_uniquifier_ - 1,
          .last_checkpoint = checkpoint(),
          .capacity = mdc_->capacity(),
          .used = mdc_->used(),
          .records = records_,
          .live_records = live_records()};
}

void MdcSlot::read(const std::function<void(ConstByteSpan)>& record) const {
  const auto updates = lock_updates();
  MlogReader reader = mdc_->reader();
  std::vector<std::byte> bytes;
  while (reader.next(bytes))
    record(bytes);
}

}  // namespace mpool
