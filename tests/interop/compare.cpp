#include "tests/interop/compare.h"

#include <cerrno>

#include <gtest/gtest.h>
#include <openssl/evp.h>

#include "engine/base/error.h"

namespace mpool::interop {
namespace {

using nlohmann::json;

class Sha256 {
 public:
  Sha256() { EVP_DigestInit_ex(context_.get(), EVP_sha256(), nullptr); }
  void update(ConstByteSpan bytes) { EVP_DigestUpdate(context_.get(), bytes.data(), bytes.size()); }
  std::string hex() {
    std::array<unsigned char, EVP_MAX_MD_SIZE> digest{};
    unsigned size = 0;
    EVP_DigestFinal_ex(context_.get(), digest.data(), &size);
    std::string text;
    for (unsigned i = 0; i < size; ++i)
      text += fmt::format("{:02x}", digest[i]);
    return text;
  }

 private:
  struct Free {
    void operator()(EVP_MD_CTX* context) const { EVP_MD_CTX_free(context); }
  };
  std::unique_ptr<EVP_MD_CTX, Free> context_{EVP_MD_CTX_new()};
};

MediaClass class_of(const json& value) {
  return value.at("mclass") == "CAPACITY" ? MediaClass::capacity : MediaClass::staging;
}

ObjectId id_of(const json& value) {
  return ObjectId{std::stoull(value.get<std::string>(), nullptr, 16)};
}

void compare_device(const Pool& pool, const json& expected, Strictness strictness) {
  const MediaClass media_class = class_of(expected);
  SCOPED_TRACE(to_string(media_class));
  ASSERT_TRUE(pool.has_class(media_class));
  const Pool::ClassInfo info = pool.class_info(media_class);
  EXPECT_EQ(expected.at("uuid"), info.params.uuid.to_string());
  EXPECT_EQ(static_cast<unsigned>(info.params.type), expected.at("devtype"));
  EXPECT_EQ(info.params.sector_size(), expected.at("sector_size"));
  EXPECT_EQ(info.params.zone_pages, expected.at("zonepg"));
  EXPECT_EQ(info.params.zone_size(), expected.at("zone_bytes"));
  EXPECT_EQ(info.params.zone_count, expected.at("zonetot"));
  EXPECT_EQ(info.params.device_size, expected.at("devsz"));
  EXPECT_EQ(info.params.features, expected.at("features"));
  EXPECT_EQ(info.spare_percent, expected.at("spare_pct"));
  EXPECT_TRUE(info.online);
  const json& zones = expected.at("zones");
  EXPECT_EQ(info.space.usable, zones.at("usable"));
  EXPECT_EQ(info.space.spare, zones.at("spare"));
  EXPECT_EQ(info.space.free_spare, zones.at("fspare"));
  // Zones freed by recovery may still be pending.
  EXPECT_EQ(info.space.used, zones.at("used"));
  if (strictness == Strictness::exact) {
    EXPECT_EQ(info.space.free_usable, zones.at("fusable"));
  }
}

void compare_config(const Pool& pool, const json& expected) {
  const ConfigRecord config = pool.config();
  EXPECT_EQ(expected.at("oid1"), config.root_log_1.to_string());
  EXPECT_EQ(expected.at("oid2"), config.root_log_2.to_string());
  EXPECT_EQ(config.uid, expected.at("uid"));
  EXPECT_EQ(config.gid, expected.at("gid"));
  EXPECT_EQ(config.mdc_capacity, expected.at("captgt"));
  EXPECT_EQ(config.max_readahead_pages, expected.at("ra_pages_max"));
  EXPECT_EQ(config.max_map_shift, expected.at("vma_size_max"));
  EXPECT_EQ(expected.at("utype"), config.user_type.to_string());
  EXPECT_EQ(expected.at("label"), config.label);
}

std::string digest_of_mdc(const Pool& pool, unsigned slot, std::uint64_t& count) {
  Sha256 sha;
  count = 0;
  pool.read_mdc(slot, [&](ConstByteSpan record) {
    std::array<std::byte, 4> length;
    store_le<std::uint32_t>(length, 0, static_cast<std::uint32_t>(record.size()));
    sha.update(length);
    sha.update(record);
    ++count;
  });
  return sha.hex();
}

void compare_log_stats(const Mlog::Stats& stats, const json& expected) {
  EXPECT_EQ(stats.blocks, expected.at("blocks"));
  EXPECT_EQ(stats.last_flush_set, expected.at("pfsetid"));
  EXPECT_EQ(stats.next_flush_set, expected.at("cfsetid"));
  EXPECT_EQ(stats.has_compaction_start, expected.at("cstart") == 1);
  EXPECT_EQ(stats.has_compaction_end, expected.at("cend") == 1);
}

void compare_mdc(const Pool& pool, const Pool::MdcStats& stats, const json& expected,
                 Strictness strictness) {
  SCOPED_TRACE(fmt::format("MDC{}", stats.slot));
  EXPECT_EQ(stats.slot, expected.at("slot"));
  for (std::size_t i = 0; i < 2; ++i) {
    const json& half = expected.at(i == 0 ? "log1" : "log2");
    EXPECT_EQ(stats.mdc.ids[i], id_of(half.at("objid")));
    EXPECT_EQ(stats.mdc.generations[i], half.at("gen"));
    EXPECT_EQ(stats.capacity,
              half.at("zcnt").get<std::uint64_t>() * pool.zone_size(MediaClass::capacity));
  }
  EXPECT_EQ(stats.mdc.ids[stats.mdc.active], id_of(expected.at("active")));
  EXPECT_EQ(stats.last_uniquifier, expected.at("luniq"));
  EXPECT_EQ(stats.last_checkpoint, id_of(expected.at("lckpt")));
  EXPECT_EQ(stats.records, expected.at("nrec"));
  std::uint64_t count = 0;
  const std::string digest = digest_of_mdc(pool, stats.slot, count);
  EXPECT_EQ(count, expected.at("nrec"));
  if (strictness == Strictness::remade) return;
  compare_log_stats(stats.mdc.log, expected);
  EXPECT_EQ(expected.at("sha256"), digest);
}

void compare_open(const MlogLocation& location, CompactionSemantics semantics,
                  const json& expected) {
  std::string result = "OK";
  try {
    Mlog::open(location, semantics);
  } catch (const Error& error) {
    result = error.code() == ENODATA    ? "ENODATA"
             : error.code() == EMSGSIZE ? "EMSGSIZE"
                                        : error.what();
  }
  EXPECT_EQ(expected, result);
}

void compare_mlog(const Pool& pool, const ObjectRecord& object, const json& expected) {
  const MlogLocation location = pool.mlog_location(object);
  compare_open(location, CompactionSemantics::off, expected.at("open_plain"));
  compare_open(location, CompactionSemantics::on, expected.at("open_csem"));
  const bool plain = expected.at("open_plain") == "OK";
  if (!plain && expected.at("open_csem") != "OK") return;
  const auto mlog =
      Mlog::open(location, plain ? CompactionSemantics::off : CompactionSemantics::on);
  compare_log_stats(mlog->stats(), expected);
  EXPECT_EQ(expected.at("nrec"), mlog->record_count());
  EXPECT_EQ(expected.at("bytes"), mlog->payload_bytes());
  MlogReader reader(*mlog);
  std::uint64_t count = 0;
  EXPECT_EQ(expected.at("sha256"), records_digest(reader, count));
  EXPECT_EQ(expected.at("nrec"), count);
}

void compare_object(const Pool& pool, const ObjectRecord& object, const json& expected,
                    Strictness strictness) {
  SCOPED_TRACE(object.id.to_string());
  EXPECT_EQ(object.id, id_of(expected.at("objid")));
  EXPECT_EQ(object.media_class, class_of(expected));
  EXPECT_EQ(expected.at("zcnt"), object.layout.zone_count);
  EXPECT_EQ(expected.at("gen"), object.generation);
  EXPECT_EQ(pool.find(object.id), object);
  const bool is_mlog = expected.at("type") == "mlog";
  EXPECT_EQ(object.id.is_mlog(), is_mlog);
  if (strictness == Strictness::exact) {
    EXPECT_EQ(expected.at("zaddr"), object.layout.first_zone);
    if (is_mlog) {
      EXPECT_EQ(expected.at("uuid"), object.uuid.to_string());
    }
  }
  if (is_mlog) {
    compare_mlog(pool, object, expected);
  } else {
    EXPECT_EQ(expected.at("mblen"), object.written_length);
    EXPECT_EQ(expected.at("capacity"), pool.capacity_of(object));
    EXPECT_EQ(expected.at("sha256"), mblock_digest(pool, object));
  }
}

void compare_user_mdc(Pool& pool, const json& expected) {
  SCOPED_TRACE("user MDC " + expected.at("oid1").get<std::string>());
  const auto mdc = pool.open_mdc(id_of(expected.at("oid1")), id_of(expected.at("oid2")));
  const Mdc::Stats stats = mdc->stats();
  EXPECT_EQ(stats.ids[stats.active], id_of(expected.at("active")));
  EXPECT_EQ(stats.generations[0], expected.at("gen1"));
  EXPECT_EQ(stats.generations[1], expected.at("gen2"));
  EXPECT_EQ(expected.at("cfsetid"), stats.log.next_flush_set);
  MlogReader reader = mdc->reader();
  std::uint64_t count = 0;
  EXPECT_EQ(expected.at("sha256"), records_digest(reader, count));
  EXPECT_EQ(expected.at("nrec"), count);
}

}  // namespace

std::string mblock_digest(const Pool& pool, const ObjectRecord& mblock) {
  constexpr std::uint64_t kPiece = 1u << 20;
  Sha256 sha;
  AlignedBuffer buffer(kPiece);
  for (std::uint64_t done = 0; done < mblock.written_length; done += kPiece) {
    const std::uint64_t length = std::min(kPiece, mblock.written_length - done);
    pool.device(mblock.media_class)
        .read(pool.offset_of(mblock) + done, buffer.span(0, round_up(length, kPageSize)));
    sha.update(buffer.span(0, length));
  }
  return sha.hex();
}

std::string records_digest(MlogReader& reader, std::uint64_t& count) {
  Sha256 sha;
  count = 0;
  for (std::vector<std::byte> record; reader.next(record); ++count) {
    std::array<std::byte, 4> length;
    store_le<std::uint32_t>(length, 0, static_cast<std::uint32_t>(record.size()));
    sha.update(length);
    sha.update(record);
  }
  return sha.hex();
}

std::unique_ptr<Mlog> open_any(const Pool& pool, const ObjectRecord& mlog) {
  const MlogLocation location = pool.mlog_location(mlog);
  try {
    return Mlog::open(location, CompactionSemantics::off);
  } catch (const Error& error) {
    if (error.code() != ENODATA) throw;
  }
  try {
    return Mlog::open(location, CompactionSemantics::on);
  } catch (const Error& error) {
    if (error.code() != EMSGSIZE) throw;
  }
  return nullptr;
}

std::map<ObjectId, std::string> digests(const Pool& pool) {
  std::map<ObjectId, std::string> found;
  for (const ObjectRecord& object : pool.objects()) {
    if (object.id.is_mblock()) {
      found[object.id] = mblock_digest(pool, object);
    } else if (const auto mlog = open_any(pool, object)) {
      MlogReader reader(*mlog);
      std::uint64_t count = 0;
      found[object.id] = records_digest(reader, count);
    } else {
      found[object.id] = "unfinished compaction";
    }
  }
  return found;
}

void compare_pool(Pool& pool, const json& expected, Strictness strictness) {
  EXPECT_EQ(expected.at("name"), pool.name());
  EXPECT_EQ(expected.at("uuid"), pool.uuid().to_string());
  for (const json& device : expected.at("devices"))
    compare_device(pool, device, strictness);
  EXPECT_EQ(expected.at("devices").size() == 2, pool.has_class(MediaClass::staging));
  compare_config(pool, expected.at("config"));

  const auto mdcs = pool.mdcs();
  ASSERT_EQ(mdcs.size(), expected.at("mdcs").size());
  EXPECT_EQ(mdcs.size() - 1, expected.at("mdc_count"));
  for (std::size_t i = 0; i < mdcs.size(); ++i) {
    compare_mdc(pool, mdcs[i], expected.at("mdcs")[i], strictness);
  }

  const auto objects = pool.objects();
  std::map<ObjectId, const json*> by_id;
  for (const json& object : expected.at("objects"))
    by_id[id_of(object.at("objid"))] = &object;
  ASSERT_EQ(objects.size(), by_id.size());
  for (const ObjectRecord& object : objects) {
    ASSERT_TRUE(by_id.contains(object.id)) << object.id.to_string();
    compare_object(pool, object, *by_id[object.id], strictness);
  }
  for (const json& mdc : expected.at("user_mdcs"))
    compare_user_mdc(pool, mdc);
}

}  // namespace mpool::interop
