// Checks of pools in memory.
#pragma once

#include <algorithm>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "engine/check/check.h"
#include "engine/tree/records.h"
#include "tests/engine/names/support.h"
#include "tests/support/log_edit.h"
#include "tests/support/media_edit.h"

namespace mpool::check {

using test::kZoneSize;
using test::Media;
using test::MemoryDevice;
using test::TestTree;

// The findings of one check.
struct Checked {
  Result result;
  std::vector<Finding> findings;

  bool clean() const { return result.errors == 0 && result.unfinished == 0; }
  // True if a finding contains `text` about a subject whose name contains `where`.
  bool says(Severity severity, const std::string& where, const std::string& text) const {
    return std::ranges::any_of(findings, [&](const Finding& finding) {
      return finding.severity == severity && finding.where.find(where) != std::string::npos &&
             finding.what.find(text) != std::string::npos;
    });
  }
  std::string text() const {
    std::string all;
    for (const Finding& finding : findings) {
      all += fmt::format("{} ({}): {}: {} [{}]\n", to_string(finding.severity),
                         to_string(finding.area), finding.where, finding.what, finding.advice);
    }
    return all;
  }
};

template <typename... SharedMedia>
std::vector<std::unique_ptr<Device>> devices_of(const SharedMedia&... media) {
  std::vector<std::unique_ptr<Device>> devices;
  (devices.push_back(std::make_unique<MemoryDevice>("memory", media)), ...);
  return devices;
}

inline Checked check_media(const std::shared_ptr<Media>& media, bool data = false) {
  std::vector<std::unique_ptr<Device>> devices;
  auto device = std::make_unique<MemoryDevice>("memory", media);
  device->before_write([](std::uint64_t, ConstByteSpan) { ADD_FAILURE() << "check writes"; });
  devices.push_back(std::move(device));
  Checked checked;
  checked.result =
      check(devices, {.data = data,
                      .report = [&](const Finding& found) { checked.findings.push_back(found); },
                      .progress = nullptr});
  return checked;
}

class CheckTest : public ::testing::Test {
 protected:
  CheckTest() : tree_(NamespaceOptions{}) {
    tree_.mkdir("d");
    tree_.put("d/file", test::pattern(200'000));
    tree_.put("small", "text");
    tree_.append("log", "one line\n");
    tree_.names().link(tree_.stat("small").inode, kRootInode, "other name");
    tree_.unmount();
  }

  Checked run(bool data = false) const { return check_media(tree_.media(), data); }
  SimulatedMedia& media() const { return *tree_.media(); }

  // Performs the plan of a check; returns the announced texts.
  std::vector<std::string> repair_it() const {
    const Checked checked = run();
    std::vector<std::string> announced;
    const std::size_t steps = repair(devices_of(tree_.media()), checked.result.plan,
                                     [&](const std::string& text) { announced.push_back(text); });
    EXPECT_EQ(steps, announced.size());
    return announced;
  }
  void expect_repaired() const {
    EXPECT_FALSE(repair_it().empty());
    const Checked after = run();
    EXPECT_TRUE(after.clean()) << after.text();
  }
  void expect_not_repairable() const {
    const Media before = media();
    EXPECT_TRUE(repair_it().empty());
    for (std::uint64_t at = 0; at < before.size(); at += kPageSize)
      ASSERT_EQ(media().page(at), before.page(at)) << at;
  }

  // Replaces the record of an object, which must not be split over two log blocks.
  void forge(const ObjectRecord& old, const ObjectRecord& forged) const {
    const EncodedRecord was = encode_record(old);
    const EncodedRecord is = encode_record(forged);
    std::size_t replaced = 0;
    for (auto at = test::find_bytes(media(), was.span()); at;
         at = test::find_bytes(media(), was.span(), *at + 1)) {
      test::overwrite(media(), *at, is.span());
      ++replaced;
    }
    ASSERT_NE(replaced, 0u);
  }
  std::vector<ObjectRecord> objects() {
    tree_.mount();
    auto objects = tree_.pool().objects();
    tree_.unmount();
    return objects;
  }
  ObjectRecord an_mblock() {
    const auto all = objects();
    return *std::ranges::find_if(all, [](const ObjectRecord& o) { return o.id.is_mblock(); });
  }

  // Passes the CREATE record of a name to `change` and writes the result back.
  void forge_name(std::string_view name, const std::function<void(names::CreateRecord&)>& change) {
    tree_.mount();  // settles the last batch
    tree_.unmount();
    const auto pool = Pool::activate(devices_of(tree_.media()));
    const unsigned active = pool->open_root_mdc()->stats().active;
    const MlogLocation location = pool->mlog_location(*pool->find(root_log_id(active)));
    test::LogRecords records = test::read_log(location);
    std::size_t changed = 0;
    for (auto& bytes : records) {
      auto record = names::decode(bytes);
      auto* create = std::get_if<names::CreateRecord>(&record->body);
      if (create == nullptr || create->name != name) continue;
      change(*create);
      bytes = names::encode_unchecked(*record);
      ++changed;
    }
    ASSERT_EQ(changed, 1u) << name;
    test::write_log(location, records);
  }

  TestTree tree_;
};

}  // namespace mpool::check
