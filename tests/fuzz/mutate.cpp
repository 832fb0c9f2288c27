#include "tests/fuzz/mutate.h"

#include <algorithm>
#include <array>
#include <functional>

#include "engine/base/crc32c.h"
#include "engine/base/error.h"
#include "engine/format/log_block.h"
#include "engine/format/superblock.h"
#include "tests/support/log_edit.h"
#include "tests/support/media_edit.h"

namespace mpool::fuzz {
namespace {

constexpr std::size_t kSuperblockUsed = 288;

class Mutator {
 public:
  Mutator(const Image& image, const MediaSet& media, Random& random)
      : image_(image), media_(media), random_(random) {}

  std::string run() {
    for (std::size_t count = 1 + pick(4); count > 0; --count) {
      switch (pick(8)) {
        case 0:
          superblock();
          break;
        case 1:
          log_block();
          break;
        case 2:
          chunk();
          break;
        case 3:
          page();
          break;
        default:
          records();
          break;
      }
    }
    return done_;
  }

 private:
  std::size_t pick(std::size_t below) { return random_() % below; }
  bool coin() { return pick(2) == 0; }
  template <typename T>
  const T& one_of(const std::vector<T>& all) {
    return all[pick(all.size())];
  }
  void note(const std::string& what) { done_ += (done_.empty() ? "" : ", ") + what; }

  void bytes(ByteSpan of);
  void superblock();
  void log_block();
  void chunk();
  void page();
  void records();
  void change_records(test::LogRecords& records, bool names);
  static void fix_checksum(std::vector<std::byte>& name_record);

  const Image& image_;
  const MediaSet& media_;
  Random& random_;
  std::string done_;
};

// Changes some bytes: bits, whole integers with values that are often wrong, or noise.
void Mutator::bytes(ByteSpan of) {
  if (of.empty()) return;
  constexpr std::array<std::uint64_t, 10> kValues = {
      0, 1, 2, 0x7f, 0xff, 0x7fff, 0xffff, 0x7fffffff, 0xffffffff, 0x7fffffffffffffff};
  const std::size_t at = pick(of.size());
  switch (pick(4)) {
    case 0:
      of[at] ^= static_cast<std::byte>(1u << pick(8));
      break;
    case 1:
      of[at] = static_cast<std::byte>(random_());
      break;
    case 2: {
      std::array<std::byte, 8> value;
      store_le<std::uint64_t>(value, 0, coin() ? kValues[pick(kValues.size())] : ~std::uint64_t{0});
      const std::size_t length = std::min(std::size_t{1} << pick(4), of.size() - at);
      std::copy_n(value.begin(), length, of.begin() + static_cast<std::ptrdiff_t>(at));
      break;
    }
    case 3: {
      // A neighbouring value: one more or one less.
      const auto value = std::to_integer<unsigned>(of[at]);
      of[at] = static_cast<std::byte>(coin() ? value + 1 : value - 1);
      break;
    }
  }
}

void Mutator::superblock() {
  SimulatedMedia& media = *one_of(media_);
  const std::size_t copy = pick(2);
  const bool both = coin();
  const bool repaired = coin();
  AlignedBuffer block(kSuperblockSize);
  media.read(kSuperblockOffsets[copy], block.span());
  const ByteSpan used = block.span(0, kSuperblockUsed);
  // The fields that lead to other structures: device parameters and the location of MDC0.
  for (std::size_t count = 1 + pick(3); count > 0; --count)
    bytes(coin() ? used : used.subspan(72));
  if (repaired) {
    const auto checksum = [&](std::size_t from, std::size_t to, std::size_t at) {
      store_le<std::uint32_t>(block.span(), at, crc32c(block.span(from, to - from)));
    };
    checksum(0, 62, 62);
    checksum(72, 120, 120);
    checksum(128, kSuperblockUsed, 124);
  }
  media.write(kSuperblockOffsets[copy], block.span());
  if (both) media.write(kSuperblockOffsets[1 - copy], block.span());
  note(fmt::format("superblock {}{}{}", both ? "copies" : fmt::format("copy {}", copy), "",
                   repaired ? " with right checksums" : ""));
}

// A block that is likely to be in use: one of the first few.
void Mutator::log_block() {
  const LogInImage& log = one_of(image_.logs);
  SimulatedMedia& media = *media_[log.device];
  const std::uint64_t blocks =
      std::min<std::uint64_t>(log.location.capacity / log.location.sector_size, 8);
  const std::uint64_t at = log.location.offset + pick(blocks) * log.location.sector_size;
  AlignedBuffer page(kPageSize);
  media.read(round_down(at, kPageSize), page.span());
  const ByteSpan block = page.span(at % kPageSize, log.location.sector_size);
  bytes(coin() ? block.first(LogBlockHeader::kSize) : block);
  media.write(round_down(at, kPageSize), page.span());
  note(fmt::format("block of {}", log.location.name));
}

// The descriptor of a chunk in a first block.
void Mutator::chunk() {
  const LogInImage& log = one_of(image_.logs);
  SimulatedMedia& media = *media_[log.device];
  AlignedBuffer page(kPageSize);
  media.read(log.location.offset, page.span());
  const ByteSpan block = page.span(0, log.location.sector_size);
  std::size_t at = LogBlockHeader::kSize;
  for (std::size_t skip = pick(6); skip > 0; --skip) {
    const auto header = ChunkHeader::load(block, at);
    if (!header || at + 2 * ChunkHeader::kSize + header->chunk_length > block.size()) break;
    at += ChunkHeader::kSize + header->chunk_length;
  }
  if (at + ChunkHeader::kSize > block.size()) return;
  bytes(block.subspan(at, ChunkHeader::kSize));
  media.write(log.location.offset, page.span());
  note(fmt::format("chunk of {}", log.location.name));
}

// A page of a log: lost, noise, or content of another place.
void Mutator::page() {
  const LogInImage& log = one_of(image_.logs);
  const LogInImage& other = one_of(image_.logs);
  SimulatedMedia& media = *media_[log.device];
  AlignedBuffer page = AlignedBuffer::zeroed(kPageSize);
  const std::uint64_t pages = std::min<std::uint64_t>(log.location.capacity / kPageSize, 4);
  switch (pick(3)) {
    case 0:
      break;
    case 1:
      for (std::byte& byte : page.span())
        byte = static_cast<std::byte>(random_());
      break;
    case 2:
      media_[other.device]->read(other.location.offset, page.span());
      break;
  }
  media.write(log.location.offset + pick(pages) * kPageSize, page.span());
  note(fmt::format("page of {}", log.location.name));
}

void Mutator::fix_checksum(std::vector<std::byte>& name_record) {
  constexpr std::size_t kChecksumAt = 4;
  if (name_record.size() < kChecksumAt + 4) return;
  store_le<std::uint32_t>(name_record, kChecksumAt, 0);
  store_le<std::uint32_t>(name_record, kChecksumAt, crc32c(name_record));
}

void Mutator::change_records(test::LogRecords& records, bool names) {
  if (records.empty()) return;
  const std::size_t at = pick(records.size());
  const auto where = records.begin() + static_cast<std::ptrdiff_t>(at);
  switch (pick(8)) {
    case 0:
      records.erase(where);
      break;
    case 1:
      records.insert(where, std::vector<std::byte>(*where));
      break;
    case 2:
      std::swap(records[at], records[pick(records.size())]);
      break;
    case 3:
      records[at].resize(pick(2 * records[at].size() + 2));
      if (names) fix_checksum(records[at]);
      break;
    default:
      bytes(records[at]);
      if (names && pick(8) != 0) fix_checksum(records[at]);
      break;
  }
}

// Records of a log, decoded from it, changed, and written as a valid log.
void Mutator::records() {
  const LogInImage& log = one_of(image_.logs);
  SimulatedDevice device("device", media_[log.device]);
  MlogLocation location = log.location;
  location.device = &device;
  try {
    test::LogRecords records = test::read_log(location);
    for (std::size_t count = 1 + pick(3); count > 0; --count)
      change_records(records, log.kind == LogInImage::Kind::root);
    test::write_log(location, records);
    note(fmt::format("records of {}", location.name));
  } catch (const Error&) {
    // Another mutation has damaged the log, or it has no compaction semantics: nothing to change.
    note(fmt::format("no records of {}", location.name));
  }
}

}  // namespace

std::string mutate(const Image& image, const MediaSet& media, Random& random) {
  return Mutator(image, media, random).run();
}

}  // namespace mpool::fuzz
