#include "fuse/options.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace mpoolfs {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

Options parse(const std::vector<std::string>& arguments, bool helper = false) {
  return parse_options(arguments, helper);
}

std::string usage_error(const std::vector<std::string>& arguments, bool helper = false) {
  try {
    parse(arguments, helper);
  } catch (const UsageError& error) {
    return error.what();
  }
  return "accepted";
}

TEST(Options, Plain) {
  const Options options = parse({"tank", "/mnt"});
  EXPECT_EQ(options.pool, "tank");
  EXPECT_EQ(options.mount_point, "/mnt");
  EXPECT_FALSE(options.foreground);
  EXPECT_FALSE(options.debug);
  EXPECT_FALSE(options.read_only);
  EXPECT_FALSE(options.sync);
  EXPECT_FALSE(options.force);
  EXPECT_FALSE(options.fake);
  EXPECT_FALSE(options.allow_other);
  EXPECT_FALSE(options.uid);
  EXPECT_FALSE(options.gid);
  EXPECT_TRUE(options.mount_flags.empty());
  EXPECT_FALSE(options.remount);
  EXPECT_EQ(options.transport, TransportChoice::automatic);
  EXPECT_EQ(options.workers, 32u);
}

TEST(Options, Switches) {
  EXPECT_TRUE(parse({"-f", "a", "b"}).foreground);
  EXPECT_TRUE(parse({"a", "b", "--foreground"}).foreground);
  const Options debug = parse({"-d", "a", "b"});
  EXPECT_TRUE(debug.debug);
  EXPECT_TRUE(debug.foreground);
  EXPECT_TRUE(parse({"--help"}).help);
  EXPECT_TRUE(parse({"-V"}).version);
}

TEST(Options, MountOptions) {
  const Options options =
      parse({"-o", "ro,sync,uid=12", "a", "-o", "gid=34,force,allow_other,nosuid,noatime", "b"});
  EXPECT_TRUE(options.read_only);
  EXPECT_TRUE(options.sync);
  EXPECT_TRUE(options.force);
  EXPECT_EQ(options.allow_other, true);
  EXPECT_EQ(options.uid, 12u);
  EXPECT_EQ(options.gid, 34u);
  EXPECT_THAT(options.mount_flags, ElementsAre("ro", "nosuid", "noatime"));
}

TEST(Options, LastOfReadOnlyAndReadWriteCounts) {
  EXPECT_FALSE(parse({"-o", "ro,rw", "a", "b"}).read_only);
  EXPECT_TRUE(parse({"-o", "rw,ro", "a", "b"}).read_only);
}

TEST(Options, OptionsOfFstabAreAccepted) {
  const Options options =
      parse({"a", "b", "-o",
             "defaults,,noauto,user,user=me,_netdev,nofail,x-systemd.automount,X-a=b,"
             "comment=c,relatime,nostrictatime,lazytime,silent,errors=remount-ro,user_xattr,"
             "default_permissions,discard,loop,loop=/dev/loop3,nomand,owner,group"});
  EXPECT_TRUE(options.mount_flags.empty());
  EXPECT_FALSE(options.read_only);
}

TEST(Options, WhatCannotBeKeptIsRefused) {
  EXPECT_THAT(usage_error({"-o", "strictatime", "a", "b"}), HasSubstr("reading does not change"));
  EXPECT_THAT(usage_error({"-o", "errors=continue", "a", "b"}), HasSubstr("not written to"));
  EXPECT_THAT(usage_error({"-o", "errors=panic", "a", "b"}), HasSubstr("not written to"));
  EXPECT_THAT(usage_error({"-o", "errors=what", "a", "b"}), HasSubstr("unknown"));
}

TEST(Options, DirsyncIsSyncAndTheLastOfTwoCounts) {
  EXPECT_TRUE(parse({"-o", "dirsync", "a", "b"}).sync);
  EXPECT_FALSE(parse({"-o", "sync,async", "a", "b"}).sync);
  EXPECT_TRUE(parse({"-o", "async,sync", "a", "b"}).sync);
}

TEST(Options, Sloppy) {
  EXPECT_THAT(usage_error({"a", "b", "-o", "fast"}, true), HasSubstr("\"fast\""));
  EXPECT_EQ(usage_error({"a", "b", "-s", "-o", "fast,speed=9"}, true), "accepted");
  EXPECT_THAT(usage_error({"a", "b", "-s", "-o", "workers=x"}, true), HasSubstr("workers"));
  EXPECT_NE(usage_error({"a", "b", "-s", "-o", "ro"}), "accepted");
}

TEST(Options, OffsetsAreForMount8Alone) {
  EXPECT_EQ(usage_error({"a", "b", "-o", "loop,offset=4096,sizelimit=1"}, true), "accepted");
  EXPECT_THAT(usage_error({"a", "b", "-o", "offset=4096"}), HasSubstr("offset"));
}

TEST(Options, Remount) {
  const Options options = parse({"a", "b", "-o", "rw,nosuid,user_id=0,group_id=0,remount,ro"});
  EXPECT_TRUE(options.remount);
  EXPECT_THAT(options.mount_flags, ElementsAre("rw", "nosuid", "ro"));
  EXPECT_THAT(usage_error({"-o", "user_id=0", "a", "b"}), HasSubstr("user_id"));
}

TEST(Options, UnknownMountOptions) {
  EXPECT_THAT(usage_error({"-o", "fast", "a", "b"}), HasSubstr("\"fast\""));
  EXPECT_THAT(usage_error({"-o", "speed=9", "a", "b"}), HasSubstr("\"speed=9\""));
  EXPECT_THAT(usage_error({"-o", "ro=1", "a", "b"}), HasSubstr("\"ro=1\""));
}

TEST(Options, IdsAreNumbers) {
  for (const char* bad :
       {"uid=", "uid=x", "uid=-1", "uid=1x", "uid=4294967295", "uid=4294967296"}) {
    EXPECT_THAT(usage_error({"-o", bad, "a", "b"}), HasSubstr("not a number")) << bad;
  }
  EXPECT_EQ(parse({"-o", "gid=4294967294", "a", "b"}).gid, 4294967294u);
}

TEST(Options, Transport) {
  EXPECT_EQ(parse({"-o", "transport=uring", "a", "b"}).transport, TransportChoice::uring);
  EXPECT_EQ(parse({"-o", "transport=dev", "a", "b"}).transport, TransportChoice::dev);
  EXPECT_EQ(parse({"-o", "transport=dev,ro,transport=auto", "a", "b"}).transport,
            TransportChoice::automatic);
  EXPECT_EQ(parse({"a", "b", "-o", "transport=uring"}, true).transport, TransportChoice::uring);
  for (const char* bad : {"transport=", "transport=Uring", "transport=automatic", "transport=1"}) {
    EXPECT_THAT(usage_error({"-o", bad, "a", "b"}),
                AllOf(HasSubstr("option transport:"), HasSubstr("auto, uring and dev")))
        << bad;
  }
  EXPECT_THAT(usage_error({"-o", "transport", "a", "b"}), HasSubstr("\"transport\""));
}

TEST(Options, Native) {
  EXPECT_EQ(parse({"a", "b"}).native, NativeChoice::automatic);
  EXPECT_EQ(parse({"-o", "native=on", "a", "b"}).native, NativeChoice::on);
  EXPECT_EQ(parse({"-o", "native=off", "a", "b"}).native, NativeChoice::off);
  EXPECT_EQ(parse({"-o", "native=on,ro,native=auto", "a", "b"}).native, NativeChoice::automatic);
  EXPECT_EQ(parse({"a", "b", "-o", "native=on"}, true).native, NativeChoice::on);
  for (const char* bad : {"native=", "native=On", "native=automatic", "native=1"}) {
    EXPECT_THAT(usage_error({"-o", bad, "a", "b"}),
                AllOf(HasSubstr("option native:"), HasSubstr("auto, on and off")))
        << bad;
  }
  EXPECT_THAT(usage_error({"-o", "native", "a", "b"}), HasSubstr("\"native\""));
}

TEST(Options, PackMax) {
  EXPECT_EQ(parse({"a", "b"}).pack_max, std::nullopt);
  EXPECT_EQ(parse({"-o", "pack_max=0", "a", "b"}).pack_max, 0u);
  EXPECT_EQ(parse({"-o", "pack_max=64K", "a", "b"}).pack_max, 64u << 10);
  for (const char* bad : {"pack_max=", "pack_max=x", "pack_max=-1"}) {
    EXPECT_THAT(usage_error({"-o", bad, "a", "b"}), HasSubstr("option pack_max:")) << bad;
  }
}

TEST(Options, Workers) {
  EXPECT_EQ(parse({"-o", "workers=1", "a", "b"}).workers, 1u);
  EXPECT_EQ(parse({"-o", "workers=256", "a", "b"}).workers, 256u);
  for (const char* bad :
       {"workers=", "workers=0", "workers=257", "workers=-1", "workers=4x", "workers=4294967297"}) {
    EXPECT_THAT(usage_error({"-o", bad, "a", "b"}),
                AllOf(HasSubstr("option workers:"), HasSubstr("1 to 256")))
        << bad;
  }
}

TEST(Options, ReaperOptionsAreTunables) {
  const Options options = parse({"-o", "reap_mempct=50,reap_ttl=1000", "a", "b"});
  EXPECT_EQ(options.reaper.percent, 50u);
  EXPECT_EQ(options.reaper.ttl, std::chrono::milliseconds(1));
  EXPECT_EQ(parse({"-o", "reap_cgroup=/c,reap_debug=2", "a", "b"}).reaper.cgroup, "/c");
  EXPECT_EQ(usage_error({"-o", "reap_mempct=4", "a", "b"}),
            "mount option reap_mempct: \"4\" is not 5 to 100 %, or 0");
}

TEST(Options, Operands) {
  EXPECT_THAT(usage_error({}), HasSubstr("POOL"));
  EXPECT_THAT(usage_error({"", "b"}), HasSubstr("POOL"));
  EXPECT_THAT(usage_error({"a"}), HasSubstr("MOUNTPOINT"));
  EXPECT_THAT(usage_error({"a", "b", "c"}), HasSubstr("\"c\""));
  EXPECT_THAT(usage_error({"a", "b", "--nonsense"}), HasSubstr("nonsense"));
  EXPECT_NE(usage_error({"a", "b", "-o"}), "accepted");
  EXPECT_NE(usage_error({"a", "b", "--foregr"}), "accepted");
}

TEST(Options, Helper) {
  const Options options = parse({"a", "b", "-s", "-n", "-v", "-t", "mpoolfs", "-o", "rw"}, true);
  EXPECT_FALSE(options.fake);
  EXPECT_FALSE(options.foreground);
  EXPECT_TRUE(parse({"a", "b", "-f"}, true).fake);
  EXPECT_THAT(options.mount_flags, ElementsAre("suid", "dev", "exec", "atime", "symfollow", "rw"));
  EXPECT_NE(usage_error({"a", "b", "-n"}), "accepted");
  EXPECT_NE(usage_error({"a", "b", "-d"}, true), "accepted");
}

TEST(Options, HelpNamesEveryOption) {
  const std::string help = help_text();
  for (const char* word :
       {"-o", "-f", "-d", "-h", "-V", "ro", "sync", "force", "allow_other", "uid", "gid",
        "transport=auto|uring|dev", "native=auto|on|off", "workers=", "POOL", "MOUNTPOINT"}) {
    EXPECT_THAT(help, HasSubstr(word));
  }
}

}  // namespace
}  // namespace mpoolfs
