#include "tests/crash/explorer.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdlib>
#include <optional>
#include <random>

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "engine/base/error.h"

namespace mpool::test {
namespace {

constexpr Moment kEnd = ~Moment{0} - 1;  // after all operations
// One of this many states is cut again during its recovery and the work after it.
constexpr std::uint64_t kSecondCut = 3;
constexpr std::uint64_t kCleanUp = 4;  // one of this many states is emptied
constexpr std::uint64_t kMaxStatesPerMoment = 40;
constexpr unsigned kMaxFailures = 3;

using Random = std::mt19937_64;
using Survivals = std::vector<Survival>;

Survival torn(const CrashImages& images, std::size_t index, Random& random) {
  const std::uint64_t sectors = images.pending_sectors(index);
  if (sectors < 2) return {Survival::Kind::lost, 0};
  const std::uint64_t cut = 1 + random() % (sectors - 1);
  switch (random() % 3) {
    case 0:
      return {Survival::Kind::prefix, cut};
    case 1:
      return {Survival::Kind::suffix, cut};
    default:
      return {Survival::Kind::sectors, random()};
  }
}

Survivals random_survivals(const CrashImages& images, Random& random) {
  Survivals survivals(images.pending_count());
  for (std::size_t i = 0; i < survivals.size(); ++i) {
    switch (random() % 3) {
      case 0:
        survivals[i].kind = Survival::Kind::lost;
        break;
      case 1:
        break;
      default:
        survivals[i] = torn(images, i, random);
    }
  }
  return survivals;
}

// The survivals to try at the moment of `images`: all, none, all but one each, the last one torn,
// and random choices up to `count`.
std::vector<Survivals> choose_survivals(const CrashImages& images, std::size_t count,
                                        Random& random) {
  const std::size_t pending = images.pending_count();
  std::vector<Survivals> chosen = {Survivals(pending)};
  if (pending == 0) return chosen;
  chosen.emplace_back(pending, Survival{Survival::Kind::lost, 0});
  for (std::size_t i = 0; i < pending && chosen.size() < count; ++i) {
    chosen.emplace_back(pending)[i].kind = Survival::Kind::lost;
  }
  if (chosen.size() < count)
    chosen.emplace_back(pending).back() = torn(images, pending - 1, random);
  while (chosen.size() < count)
    chosen.push_back(random_survivals(images, random));
  return chosen;
}

std::string describe(const CrashImages& images, const Survivals& survivals) {
  std::string text =
      fmt::format("power failure after {} of {} operations", images.position(), images.size());
  for (std::size_t i = 0; i < survivals.size(); ++i) {
    const SimulatedOperation& operation = images.pending(i);
    text +=
        fmt::format("\n  {} of {} bytes at {} on device {}: {}",
                    operation.kind == SimulatedOperation::Kind::write ? "write" : "discard",
                    operation.length, operation.offset, operation.device, survivals[i].to_string());
  }
  return text;
}

// One run of a workload and the checks of its crash states.
class Exploration {
 public:
  Exploration(const Workload& workload, std::uint64_t seed) : workload_(workload), seed_(seed) {}

  // Checks about this many states. Throws the workload's exceptions without a power failure.
  std::uint64_t run(std::uint64_t states);

 private:
  void check_moment(const std::vector<CrashImages>& walkers, const Model& model,
                    std::uint64_t number, std::uint64_t states);
  std::string check_state(MediaSet media, const Model& model, Moment moment, Random& random);
  std::string cut_again(const MediaSet& start, const Machine& machine, const Model& model,
                        Random& random);
  void fail(const std::string& state, const std::string& what);

  const Workload& workload_;
  const std::uint64_t seed_;
  std::uint64_t checked_ = 0;
  unsigned failures_ = 0;
};

std::uint64_t Exploration::run(std::uint64_t states) {
  const MediaSet start = workload_.prepare(seed_);
  Machine machine(copy_of(start), seed_ % 2 == 0);
  Model model(machine.history);
  {
    Machine before(copy_of(start));
    model.start(workload_.open(before)->facts(true));
  }
  {
    const auto session = workload_.open(machine);
    workload_.run(*session, model, seed_, false);
  }
  const auto history = machine.history->operations();
  std::vector<CrashImages> walkers;
  for (const auto effect : {DiscardEffect::zeros, DiscardEffect::keeps, DiscardEffect::random})
    walkers.emplace_back(start, history, effect);
  // Another thread makes the discards: the writes and flushes before a state identify it.
  std::uint64_t number = 0;
  for (std::size_t moment = 0; moment <= history.size() && failures_ < kMaxFailures; ++moment) {
    const std::uint64_t left = states > checked_ ? states - checked_ : 0;
    const std::uint64_t share = left / (history.size() + 1 - moment) + 1;
    check_moment(walkers, model, number, std::min(share, kMaxStatesPerMoment));
    if (moment == history.size()) break;
    if (history[moment].kind != SimulatedOperation::Kind::discard) ++number;
    for (CrashImages& walker : walkers)
      walker.advance();
  }
  return checked_;
}

void Exploration::check_moment(const std::vector<CrashImages>& walkers, const Model& model,
                               std::uint64_t number, std::uint64_t states) {
  // The first states do not depend on the number of states, so that a larger number includes the
  // failed one.
  const std::uint64_t moment_seed = seed_ * 1'000'003 + number * kMaxStatesPerMoment;
  Random choices(moment_seed);
  const std::vector<Survivals> chosen = choose_survivals(walkers.front(), states, choices);
  for (std::size_t i = 0; i < chosen.size(); ++i) {
    const CrashImages& images = walkers[(number + i) % walkers.size()];
    Random random(moment_seed + i);
    const std::string wrong =
        check_state(images.image(chosen[i]), model, images.position(), random);
    if (!wrong.empty()) fail(describe(images, chosen[i]), wrong);
  }
}

std::string Exploration::check_state(MediaSet media, const Model& model, Moment moment,
                                     Random& random) {
  ++checked_;
  const bool second_cut = random() % kSecondCut == 0;
  const bool clean_up = random() % kCleanUp == 0;
  const std::uint64_t work_seed = random();
  const MediaSet start = second_cut ? copy_of(media) : MediaSet();
  Machine machine(std::move(media), random() % 2 == 0);
  Model after(machine.history);
  try {
    {
      const auto session = workload_.open(machine);
      const Facts found = session->facts(true);
      if (std::string wrong = model.mismatch(found, moment); !wrong.empty()) return wrong;
      after.start(found);
      after.inherit_names(model, moment);
      session->work(after, work_seed);
    }
    if (second_cut) {
      if (std::string wrong = cut_again(start, machine, after, random); !wrong.empty()) {
        return wrong;
      }
    }
    const auto session = workload_.open(machine);
    const std::string wrong = after.mismatch(session->facts(true), kEnd);
    if (!wrong.empty()) return "after work, and activated again: " + wrong;
    return clean_up ? session->clean_up() : std::string();
  } catch (const std::exception& error) {
    return error.what();
  }
}

std::string Exploration::cut_again(const MediaSet& start, const Machine& machine,
                                   const Model& model, Random& random) {
  ++checked_;
  const auto effect = static_cast<DiscardEffect>(random() % 3);
  CrashImages images(start, machine.history->operations(), effect);
  const std::size_t moment = random() % (images.size() + 1);
  while (images.position() < moment)
    images.advance();
  const Survivals survivals = random_survivals(images, random);
  std::string wrong;
  try {
    Machine again(images.image(survivals));
    wrong = model.mismatch(workload_.open(again)->facts(true), moment);
  } catch (const std::exception& error) {
    wrong = error.what();
  }
  return wrong.empty() ? wrong
                       : "during recovery or the work after it, second " +
                             describe(images, survivals) + "\n" + wrong;
}

void Exploration::fail(const std::string& state, const std::string& what) {
  ++failures_;
  ADD_FAILURE() << "workload '" << workload_.name() << "', MPOOLFS_TEST_SEED=" << seed_
                << " MPOOLFS_TEST_LONG=1, " << state << "\n"
                << what;
}

// --- faults ---

using Target = SimulatedFaults::Target;

const char* to_string(Target target) {
  switch (target) {
    case Target::read:
      return "read";
    case Target::write:
      return "write";
    case Target::flush:
      return "flush";
    case Target::discard:
      return "discard";
  }
  return "";
}

// One run of a workload on failing devices.
class FaultRun {
 public:
  FaultRun(const Workload& workload, std::uint64_t seed, const MediaSet& start, const Facts& facts,
           const SimulatedFaults::Plan& plan)
      : workload_(workload),
        seed_(seed),
        plan_(plan),
        start_(start),
        machine_(copy_of(start)),
        model_(machine_.history) {
    model_.start(facts);
  }

  // False when nothing failed: the workload has no such operation.
  bool run();

 private:
  std::string work();
  std::string check_live(Session& session);
  std::string check_recovery(Machine machine, const char* when);
  static std::string check_error(const Error& error);

  const Workload& workload_;
  const std::uint64_t seed_;
  const SimulatedFaults::Plan plan_;
  const MediaSet& start_;
  Machine machine_;
  Model model_;
};

bool FaultRun::run() {
  machine_.faults->arm(plan_);
  std::string wrong = work();
  const bool fired = machine_.faults->fired();
  machine_.faults->disarm();
  if (wrong.empty()) {
    wrong = check_recovery(
        Machine(CrashImages::durable(start_, machine_.history->operations(), DiscardEffect::keeps)),
        "without what was not flushed");
  }
  if (wrong.empty()) wrong = check_recovery(std::move(machine_), "with all that was written");
  if (!wrong.empty()) {
    ADD_FAILURE() << "workload '" << workload_.name() << "', MPOOLFS_TEST_SEED=" << seed_ << ", "
                  << to_string(plan_.target) << " " << plan_.number
                  << (plan_.forever ? " and all later ones fail" : " fails") << " with "
                  << errno_text(plan_.code) << ", " << plan_.percent_written << " % of it written\n"
                  << wrong;
  }
  return fired;
}

std::string FaultRun::check_error(const Error& error) {
  if (error.code() <= 0 || error.subject().empty() || error.detail().empty()) {
    return fmt::format("an error that says nothing: {} {}", error.code(), error.what());
  }
  return {};
}

std::string FaultRun::work() {
  std::unique_ptr<Session> session;
  try {
    session = workload_.open(machine_);
    workload_.run(*session, model_, seed_, true);
    return {};
  } catch (const Error& error) {
    if (!machine_.faults->fired()) return fmt::format("failed by itself: {}", error.what());
    if (std::string wrong = check_error(error); !wrong.empty()) return wrong;
  }
  return session == nullptr ? std::string() : check_live(*session);
}

// Durable content must be readable, also from a device that is offline for writing. Changes
// continue where there is room, or fail on such a device. (With two devices some of them may
// continue, as the content of a log is not ordered with changes of the tree: the model does not
// cover that. The same after a write without room: the affected logs accept no more.)
std::string FaultRun::check_live(Session& session) {
  machine_.faults->disarm();
  const bool no_room = plan_.target == Target::write && plan_.code == ENOSPC;
  const bool broken = !no_room && (plan_.target == Target::write || plan_.target == Target::flush);
  std::string wrong;
  try {
    wrong = model_.mismatch(session.facts(false), kEnd);
    if (wrong.empty() && broken && session.online()) wrong = "the device is not offline";
  } catch (const std::exception& error) {
    wrong = error.what();
  }
  try {
    const bool known = !no_room && (!broken || machine_.media.size() == 1);
    if (wrong.empty() && known) session.work(model_, seed_);
  } catch (const Error& error) {
    if (error.code() != (broken ? EIO : ENOSPC)) wrong = error.what();
  }
  return wrong.empty() ? wrong : "while still active: " + wrong;
}

std::string FaultRun::check_recovery(Machine machine, const char* when) {
  try {
    Machine healthy(std::move(machine.media));
    Model after(healthy.history);
    {
      const auto session = workload_.open(healthy);
      const Facts found = session->facts(true);
      if (std::string wrong = model_.mismatch(found, kEnd); !wrong.empty()) {
        return fmt::format("activated again {}: {}", when, wrong);
      }
      after.start(found);
      after.inherit_names(model_, kEnd);
      session->work(after, seed_);
    }
    const auto session = workload_.open(healthy);
    const std::string wrong = after.mismatch(session->facts(true), kEnd);
    return wrong.empty() ? session->clean_up() : wrong;
  } catch (const std::exception& error) {
    return fmt::format("activated again {}: {}", when, error.what());
  }
}

}  // namespace

std::unique_ptr<SimulatedDevice> Machine::device(unsigned number) const {
  return std::make_unique<SimulatedDevice>(
      fmt::format("device{}", number), media.at(number),
      SimulatedDevice::Options{
          .history = history, .number = number, .faults = faults, .discard_zeros = discard_zeros});
}

std::vector<std::unique_ptr<Device>> Machine::devices() const {
  std::vector<std::unique_ptr<Device>> devices;
  for (unsigned i = 0; i < media.size(); ++i)
    devices.push_back(device(i));
  return devices;
}

std::uint64_t base_seed() {
  const char* text = std::getenv("MPOOLFS_TEST_SEED");
  return text == nullptr ? 1 : std::strtoull(text, nullptr, 10);
}

std::uint64_t explore_crashes(const Workload& workload, std::uint64_t states) {
  std::uint64_t checked = 0;
  for (std::uint64_t seed = base_seed(); checked < states; ++seed) {
    Exploration exploration(workload, seed);
    try {
      checked += exploration.run(states - checked);
    } catch (const std::exception& error) {
      ADD_FAILURE() << "workload '" << workload.name() << "', MPOOLFS_TEST_SEED=" << seed
                    << ", without a power failure: " << error.what();
    }
    if (testing::Test::HasFailure()) break;
  }
  return checked;
}

std::uint64_t explore_faults(const Workload& workload) {
  constexpr std::array kTargets = {Target::read, Target::write, Target::flush, Target::discard};
  constexpr std::array kCodes = {EIO, ENOSPC, EIO};
  constexpr std::array kWritten = {0u, 50u, 100u};
  constexpr std::uint64_t kMaxOperations = 100'000;
  const std::uint64_t seed = base_seed();
  const MediaSet start = workload.prepare(seed);
  Machine before(copy_of(start));
  const Facts facts = workload.open(before)->facts(true);
  std::uint64_t runs = 0;
  for (const Target target : kTargets) {
    bool fired = true;
    for (std::uint64_t n = 1; fired && n <= kMaxOperations; ++n, ++runs) {
      const SimulatedFaults::Plan plan{.target = target,
                                       .number = n,
                                       .code = kCodes[n % kCodes.size()],
                                       .forever = n % 2 == 0,
                                       .percent_written = kWritten[n / 2 % kWritten.size()]};
      fired = FaultRun(workload, seed, start, facts, plan).run();
      if (testing::Test::HasFailure()) return runs;
    }
    EXPECT_FALSE(fired) << "operations without end";
  }
  return runs;
}

}  // namespace mpool::test
