// A program that makes the calls of the C library, one after the other, on a pool that has a log
// and a pair (tests/crash/client_session.h).
#pragma once

#include <string>

#include "tests/crash/client_session.h"
#include "tests/crash/library_session.h"

namespace mpool::test {

class CallsSession : public Session {
 public:
  static constexpr std::uint64_t kZone = 16u << 10;

  CallsSession(Machine& machine, Way way) : pool_(machine, way) {}
  // Makes the log and the pair.
  void prepare();

  Facts facts(bool settled) override;
  void work(Model& model, std::uint64_t seed) override { change(model, seed, 2); }
  bool online() const override { return all_online(pool_.pool()); }
  std::string clean_up() override;
  // Changes of all kinds, that many times.
  void change(Model& model, std::uint64_t seed, unsigned rounds);

 private:
  class Work;
  LibraryPool pool_;
};

}  // namespace mpool::test
