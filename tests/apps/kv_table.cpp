#include "tests/apps/kv_table.h"

#include <algorithm>
#include <cerrno>
#include <utility>

namespace apps {
namespace {

// At the end of the written pages: offset and length of the index, then this.
constexpr std::uint64_t kMagic = 0x314c4241'54564b21;
constexpr std::size_t kFooter = 8 + 4 + 8;
constexpr std::size_t kChecksum = 4;
constexpr std::size_t kMaxWrite = std::size_t{256} << 10;

void encode_entry(Encoder& into, const Entry& entry) {
  into.number(static_cast<std::uint8_t>(entry.value.has_value()));
  into.text(entry.key);
  if (entry.value) into.text(*entry.value);
}

Entry decode_entry(Decoder& from) {
  const bool has_value = from.number<std::uint8_t>() != 0;
  Entry entry;
  entry.key = from.text();
  if (has_value) entry.value = from.text();
  return entry;
}

// Of a block: also of the table that it is in.
std::uint32_t block_checksum(std::uint64_t table, std::string_view content) {
  Encoder owner;
  owner.number(table);
  return checksum(content, checksum(owner.bytes()));
}

std::string sealed(std::uint64_t table, std::string_view content) {
  Encoder block;
  block.number(block_checksum(table, content));
  return block.bytes().append(content);
}

}  // namespace

// --- writing ---

TableBuilder::TableBuilder(const Pool& pool, std::size_t block_bytes)
    : pool_(pool), block_bytes_(block_bytes) {
  mblock_props props{};
  check(mpool_mblock_alloc(pool.get(), MP_MED_CAPACITY, false, &id_, &props), "mpool_mblock_alloc");
  capacity_ = props.mpr_alloc_cap;
}

TableBuilder::~TableBuilder() {
  if (owned_) (void)mpool_mblock_abort(pool_.get(), id_);
}

void TableBuilder::add(const Entry& entry) {
  if (blocks_.empty() && block_.size() == 0) first_key_ = entry.key;
  if (block_.size() == 0) block_key_ = entry.key;
  last_key_ = entry.key;
  encode_entry(block_, entry);
  if (block_.size() >= block_bytes_) end_block();
}

void TableBuilder::end_block() {
  if (block_.size() == 0) return;
  Encoder line;
  line.text(block_key_);
  line.number(std::uint64_t{blocks_.size()});
  line.number(static_cast<std::uint32_t>(block_.size() + kChecksum));
  index_ += line.bytes();
  blocks_ += sealed(id_, block_.bytes());
  block_ = {};
}

std::size_t TableBuilder::size_with(const Entry& entry) const {
  constexpr std::size_t kLine = 4 + 8 + 4 + kChecksum;  // of the index, and the block's checksum
  const std::size_t added = 9 + 2 * entry.key.size() + (entry.value ? entry.value->size() : 0);
  return blocks_.size() + index_.size() + block_.size() + block_key_.size() + added + 2 * kLine +
         kFooter + kChecksum;
}

TableInfo TableBuilder::finish(std::uint32_t level, std::uint64_t last_sequence) {
  end_block();
  const std::string index = sealed(id_, index_);
  Encoder footer;
  footer.number(std::uint64_t{blocks_.size()});
  footer.number(static_cast<std::uint32_t>(index.size()));
  footer.number(kMagic);
  const std::string content = blocks_ + index;
  const Pages pages(content.size() + footer.size());
  if (pages.size() > capacity_) throw CallError(EFBIG, "a table is larger than an mblock");
  content.copy(pages.data(), content.size());
  footer.bytes().copy(pages.data() + pages.size() - footer.size(), footer.size());
  for (std::size_t at = 0; at < pages.size(); at += kMaxWrite) {
    const iovec part{.iov_base = pages.data() + at,
                     .iov_len = std::min(kMaxWrite, pages.size() - at)};
    check(mpool_mblock_write(pool_.get(), id_, &part, 1), "mpool_mblock_write");
  }
  return {.id = id_,
          .level = level,
          .last_sequence = last_sequence,
          .first_key = first_key_,
          .last_key = last_key_};
}

void TableBuilder::commit() {
  check(mpool_mblock_commit(pool_.get(), id_), "mpool_mblock_commit");
  owned_ = false;
}

// --- reading ---

Table::Table(const Pool& pool, TableInfo info) : info_(std::move(info)) {
  mblock_props props{};
  check(mpool_mblock_props_get(pool.get(), info_.id, &props), "mpool_mblock_props_get");
  length_ = props.mpr_write_len;
  if (length_ < kFooter) throw CallError(ENODATA, "a table is too short");
  std::uint64_t id = info_.id;
  check(mpool_mcache_mmap(pool.get(), 1, &id, MPC_VMA_WARM, &map_), "mpool_mcache_mmap");
  base_ = static_cast<const char*>(mpool_mcache_getbase(map_, 0));
  try {
    read_index();
  } catch (...) {
    (void)mpool_mcache_munmap(map_);
    throw;
  }
}

Table::~Table() {
  (void)mpool_mcache_munmap(map_);
}

void Table::read_index() {
  Decoder footer(std::string_view(base_ + length_ - kFooter, kFooter));
  const auto offset = footer.number<std::uint64_t>();
  const auto length = footer.number<std::uint32_t>();
  if (footer.number<std::uint64_t>() != kMagic) throw CallError(ENODATA, "an mblock is no table");
  for (Decoder index(checked(offset, length)); !index.at_end();) {
    Block block;
    block.first_key = index.text();
    block.offset = index.number<std::uint64_t>();
    block.length = index.number<std::uint32_t>();
    blocks_.push_back(std::move(block));
  }
  if (blocks_.empty()) throw CallError(ENODATA, "a table is empty");
}

std::string_view Table::checked(std::uint64_t offset, std::uint32_t length) const {
  if (length < kChecksum || offset > length_ || length > length_ - offset) {
    throw CallError(ENODATA, "a block is outside of its table");
  }
  const std::string_view content(base_ + offset + kChecksum, length - kChecksum);
  Decoder stored(std::string_view(base_ + offset, kChecksum));
  if (stored.number<std::uint32_t>() != block_checksum(info_.id, content)) {
    throw CallError(ENODATA, "the checksum of a block is wrong");
  }
  return content;
}

std::vector<Entry> Table::read_block(std::size_t number) const {
  const Block& block = blocks_.at(number);
  std::vector<Entry> entries;
  for (Decoder decoder(checked(block.offset, block.length)); !decoder.at_end();)
    entries.push_back(decode_entry(decoder));
  return entries;
}

std::size_t Table::block_of(std::string_view key) const {
  const auto after = std::ranges::upper_bound(blocks_, key, {}, &Block::first_key);
  return after == blocks_.begin() ? 0 : static_cast<std::size_t>(after - blocks_.begin()) - 1;
}

std::unique_ptr<Entry> Table::find(std::string_view key) const {
  if (key < info_.first_key || key > info_.last_key) return nullptr;
  std::vector<Entry> entries = read_block(block_of(key));
  const auto found = std::ranges::lower_bound(entries, key, {}, &Entry::key);
  if (found == entries.end() || found->key != key) return nullptr;
  return std::make_unique<Entry>(std::move(*found));
}

class Table::Cursor : public Source {
 public:
  Cursor(const Table& table, std::string_view key)
      : table_(table), block_(table.block_of(key)), entries_(table.read_block(block_)) {
    while (valid() && entry().key < key)
      next();
  }
  bool valid() const override { return at_ < entries_.size(); }
  const Entry& entry() const override { return entries_[at_]; }
  void next() override {
    if (++at_ < entries_.size() || block_ + 1 == table_.blocks_.size()) return;
    entries_ = table_.read_block(++block_);
    at_ = 0;
  }

 private:
  const Table& table_;
  std::size_t block_;
  std::vector<Entry> entries_;
  std::size_t at_ = 0;
};

std::unique_ptr<Source> Table::from(std::string_view key) const {
  return std::make_unique<Cursor>(*this, key);
}

// --- merging ---

Merge::Merge(std::vector<std::unique_ptr<Source>> sources) : sources_(std::move(sources)) {
  choose();
}

void Merge::choose() {
  current_ = nullptr;
  for (const auto& source : sources_) {
    if (!source->valid()) continue;
    if (current_ == nullptr || source->entry().key < current_->entry().key) current_ = source.get();
  }
}

void Merge::next() {
  const std::string key = entry().key;
  for (const auto& source : sources_) {
    if (source->valid() && source->entry().key == key) source->next();
  }
  choose();
}

}  // namespace apps
