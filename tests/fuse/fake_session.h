// Sessions of libfuse without a mount, and requests of the kernel's protocol.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <string_view>
#include <vector>

#include <gtest/gtest.h>
#include <linux/fuse.h>

#include "fuse/ops/fuse_api.h"

namespace mpoolfs::test {

struct DestroyFakeSession {
  void operator()(fuse_session* session) const { fuse_session_destroy(session); }
};

inline std::unique_ptr<fuse_session, DestroyFakeSession> make_session(const fuse_lowlevel_ops& ops,
                                                                      void* user_data) {
  char name[] = "test";
  char* argv[] = {name, nullptr};
  fuse_args args = FUSE_ARGS_INIT(1, argv);
  fuse_session* const session = fuse_session_new(&args, &ops, sizeof ops, user_data);
  fuse_opt_free_args(&args);
  EXPECT_NE(session, nullptr);
  return std::unique_ptr<fuse_session, DestroyFakeSession>(session);
}

// A message: header, body, and a name with its final zero where there is one.
class Message {
 public:
  Message(std::uint32_t opcode, std::uint64_t unique, std::uint64_t node) {
    header_.opcode = opcode;
    header_.unique = unique;
    header_.nodeid = node;
    header_.uid = 1000;
    header_.gid = 100;
  }
  template <typename Body>
  Message& with(const Body& body) {
    const auto* const first = reinterpret_cast<const std::byte*>(&body);
    rest_.insert(rest_.end(), first, first + sizeof body);
    return *this;
  }
  Message& named(std::string_view name) {
    for (const char letter : name)
      rest_.push_back(static_cast<std::byte>(letter));
    rest_.push_back(std::byte{0});
    return *this;
  }
  std::vector<std::byte> bytes() const {
    fuse_in_header header = header_;
    header.len = static_cast<std::uint32_t>(sizeof header + rest_.size());
    std::vector<std::byte> all(sizeof header);
    std::memcpy(all.data(), &header, sizeof header);
    all.insert(all.end(), rest_.begin(), rest_.end());
    return all;
  }

 private:
  fuse_in_header header_{};
  std::vector<std::byte> rest_;
};

// The first message of a session.
inline Message init_message(std::uint64_t flags = 0) {
  fuse_init_in init{};
  init.major = FUSE_KERNEL_VERSION;
  init.minor = FUSE_KERNEL_MINOR_VERSION;
  init.max_readahead = 1u << 20;
  init.flags = static_cast<std::uint32_t>(flags) | FUSE_INIT_EXT;
  init.flags2 = static_cast<std::uint32_t>(flags >> 32);
  return Message(FUSE_INIT, 1, 0).with(init);
}

// A reply of the daemon.
struct Answered {
  int error = 0;  // an errno value, positive
  std::uint64_t unique = 0;
  std::vector<std::byte> body;

  explicit Answered(const std::vector<std::byte>& reply = {}) {
    fuse_out_header header{};
    if (reply.size() < sizeof header) return;
    std::memcpy(&header, reply.data(), sizeof header);
    error = -header.error;
    unique = header.unique;
    body.assign(reply.begin() + sizeof header, reply.end());
  }
  template <typename Body>
  Body as() const {
    Body value{};
    EXPECT_GE(body.size(), sizeof value);
    if (body.size() >= sizeof value) std::memcpy(&value, body.data(), sizeof value);
    return value;
  }
};

}  // namespace mpoolfs::test
