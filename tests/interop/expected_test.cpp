// Every reference pool activates with exactly the content of its manifest, or fails as expected.
#include <cerrno>
#include <set>

#include <gtest/gtest.h>

#include "engine/base/error.h"
#include "tests/interop/compare.h"
#include "tests/interop/refpool.h"
#include "tests/support/reference_pools.h"

namespace mpool::interop {
namespace {

// Damaged superblocks, where the manifest shows the result of the first implementation: mpoolfs
// recovers the content before the damage.
const std::set<std::string> kRecovered = {"f22-sb0-badmagic", "f23-sb0-badcksum1",
                                          "f24-sb0-badcksum2", "f25-sb1-badmagic"};
const std::set<std::string> kNotActivated = {"f27-sb0-mdc0uuid-flipped"};
// Interrupted creation: the activation makes parts of the pool.
const std::set<std::string> kRemade = {"f14-create-half-mdc3", "f15-create-mdc3-nopairerase",
                                       "f17-create-half-root"};

// Errno of an activation that must fail.
int activation_error(const RefPool& reference, std::string& message) {
  try {
    Pool::activate(reference.overlays(), {.mdc_count = reference.mdc_count()});
  } catch (const Error& error) {
    message = error.what();
    return error.code();
  }
  return 0;
}

TEST(RefPools, AreThere) {
  EXPECT_GE(refpool_names().size(), 32u) << "none or not all found in " << test::reference_pools();
}

class Expected : public testing::TestWithParam<std::string> {};

TEST_P(Expected, ActivatesAsTheManifestSays) {
  const RefPool reference(GetParam());
  const bool recovered = kRecovered.contains(GetParam());
  if (kNotActivated.contains(GetParam()) ||
      (!recovered && reference.expected().at("activate").at("rc") != 0)) {
    std::string message;
    const int code = activation_error(reference, message);
    EXPECT_EQ(code, kNotActivated.contains(GetParam())
                        ? EBADMSG
                        : -reference.expected().at("activate").at("rc").get<int>())
        << message;
    EXPECT_FALSE(message.empty());
    EXPECT_EQ(reference.writes(), 0u);
    return;
  }

  const auto pool = Pool::activate(reference.overlays(), {.mdc_count = reference.mdc_count()});
  const bool quiet = recovered || reference.expected().at("activate").at("writes") == 0;
  EXPECT_EQ(reference.writes() == 0, quiet);

  if (recovered) {
    const auto& before = reference.manifest().at("live_before_the_end");
    EXPECT_EQ(before.at("name"), pool->name());
    EXPECT_EQ(before.at("uuid"), pool->uuid().to_string());
    EXPECT_EQ(before.at("mdc_count"), pool->mdcs().size() - 1);
    EXPECT_EQ(before.at("objects").size(), pool->objects().size());
    EXPECT_EQ(before.at("config").at("label"), pool->config().label);
    EXPECT_EQ(pool->class_info(MediaClass::capacity).space.used,
              before.at("devices")[0].at("zones").at("used"));
    return;
  }
  compare_pool(*pool, reference.expected().at("pool"),
               kRemade.contains(GetParam()) ? Strictness::remade : Strictness::exact);
}

INSTANTIATE_TEST_SUITE_P(RefPools, Expected, testing::ValuesIn(refpool_names()),
                         [](const auto& test) { return test_name(test); });
GTEST_ALLOW_UNINSTANTIATED_PARAMETERIZED_TEST(Expected);

TEST(RefPoolVariants, StagingDeviceMissing) {
  const RefPool reference("d-twoclass");
  try {
    Pool::activate(reference.overlays(1));
    FAIL() << "activated without the staging device";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ENODEV) << error.what();
  }
  const auto pool = Pool::activate(reference.overlays(1), {.force = true});
  EXPECT_FALSE(pool->has_class(MediaClass::staging));
  const auto& found =
      reference.manifest().at("variants").at("capacity_device_only_force").at("found");
  EXPECT_EQ(pool->mdcs().size() - 1, found.at("mdc_count"));
  EXPECT_EQ(found.at("config").at("label"), pool->config().label);
  for (const ObjectRecord& object : pool->objects()) {
    if (object.media_class == MediaClass::staging) {
      EXPECT_THROW(pool->device(object.media_class), Error);
      EXPECT_THROW(pool->offset_of(object), Error);
    } else {
      EXPECT_NO_THROW(pool->offset_of(object));
    }
  }
}

TEST(RefPoolVariants, CapacityDeviceMissing) {
  const RefPool reference("d-twoclass");
  auto devices = reference.overlays();
  devices.erase(devices.begin());
  try {
    Pool::activate(std::move(devices));
    FAIL() << "activated without the capacity device";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ENODEV) << error.what();
  }
}

TEST(RefPoolVariants, DevicesInReverseOrder) {
  const RefPool reference("d-twoclass");
  auto devices = reference.overlays();
  std::swap(devices[0], devices[1]);
  const auto pool = Pool::activate(std::move(devices));
  compare_pool(*pool, reference.expected().at("pool"), Strictness::exact);
}

TEST(RefPoolVariants, StagingAddedHalfwayIsIgnoredWhenNotGiven) {
  const RefPool reference("f19-driveadd-no-mcconfig");
  const auto pool = Pool::activate(reference.overlays(1));
  const auto& found = reference.manifest().at("variants").at("capacity_device_only").at("found");
  EXPECT_EQ(pool->mdcs().size() - 1, found.at("mdc_count"));
  EXPECT_EQ(pool->objects().size(),
            found.at("n_mblocks").get<std::size_t>() + found.at("n_mlogs").get<std::size_t>());
}

// The pool keeps the number of MDCs of its creation, regardless of the default.
TEST(RefPoolVariants, CompleteCreationIsLeftAlone) {
  const RefPool reference("e1-compacted");
  const auto pool = Pool::activate(reference.overlays());
  EXPECT_EQ(reference.writes(), 0u);
  compare_pool(*pool, reference.expected().at("pool"), Strictness::exact);
}

}  // namespace
}  // namespace mpool::interop
