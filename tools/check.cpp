// mpool check: finds faults of a pool without activating it, and repairs what can be repaired
// safely.
#include "engine/check/check.h"

#include <algorithm>
#include <limits>
#include <ostream>

#include <fmt/format.h>

#include "tools/claim.h"
#include "tools/command_line.h"
#include "tools/commands.h"
#include "tools/json.h"
#include "tools/pool_access.h"
#include "tools/print.h"
#include "tools/progress.h"

namespace mpool::tools {

namespace {

using Devices = std::vector<std::unique_ptr<Device>>;

Json to_json(const check::Finding& finding) {
  return {{"severity", check::to_string(finding.severity)},
          {"area", check::to_string(finding.area)},
          {"where", finding.where},
          {"what", finding.what},
          {"advice", finding.advice},
          {"repairable", finding.repairable}};
}

// One run of the checker: prints findings as they arrive, or collects them for JSON.
class Run {
 public:
  Run(Context& context, bool json)
      : context_(context), json_(json), progress_(context, "mpool check") {}

  check::Result check(const Devices& devices, bool data) {
    const check::Options options{
        .data = data,
        .report = [this](const check::Finding& finding) { report(finding); },
        .progress = [this](std::string_view step, std::uint64_t done,
                           std::uint64_t total) { progress_.show(done, total, step); }};
    check::Result result = check::check(devices, options);
    progress_.clear();
    return result;
  }
  const Json& findings() const { return findings_; }

 private:
  void report(const check::Finding& finding) {
    if (json_) {
      findings_.push_back(to_json(finding));
      return;
    }
    progress_.clear();
    print_escaped(context_.out, "{}: {}: {}\n    {}\n", finding.where,
                  check::to_string(finding.severity), finding.what, finding.advice);
  }

  Context& context_;
  const bool json_;
  Progress progress_;
  Json findings_ = Json::array();
};

std::string summary(const check::Result& result) {
  std::string text =
      result.pool_name.empty()
          ? std::string("No pool was found")
          : fmt::format("Pool {} (UUID {}), {} mblocks, {} mlogs, {} names", result.pool_name,
                        result.pool_uuid.to_string(), result.mblocks, result.mlogs, result.names);
  if (result.errors == 0 && result.unfinished == 0) return text + ": clean";
  return text + fmt::format(": {} errors, {} unfinished steps", result.errors, result.unfinished);
}

// The sum of the statuses that apply, as fsck(8).
int status_of(const check::Result& last, std::size_t repairs) {
  return (repairs != 0 ? kCorrected : kSuccess) | (last.errors != 0 ? kErrorsLeft : kSuccess);
}

void print_result(Context& context, const std::vector<std::string>& paths, const Run& run,
                  const check::Result& result, const std::vector<std::string>& repairs,
                  const Run& after) {
  Json json = {{"pool", nullptr}, {"devices", paths}};
  if (!result.pool_name.empty()) {
    json["pool"] = {{"name", result.pool_name}, {"uuid", result.pool_uuid.to_string()}};
  }
  json["objects"] = {{"mblocks", result.mblocks}, {"mlogs", result.mlogs}};
  json["names"] = result.names;
  json["errors"] = result.errors;
  json["unfinished"] = result.unfinished;
  json["findings"] = run.findings();
  json["repairs"] = repairs;
  json["left"] = repairs.empty() ? run.findings() : after.findings();
  print_json(context.out, json);
}

std::vector<std::string> resolve_all(const std::vector<std::string>& operands) {
  std::vector<std::string> paths;
  for (const std::string& operand : operands) {
    for (std::string& path : resolve(operand)) {
      // Each of two named devices finds the other one.
      const bool known = std::ranges::any_of(
          paths, [&](const std::string& other) { return same_file(path, other); });
      if (!known) paths.push_back(std::move(path));
    }
  }
  return paths;
}

}  // namespace

int run_check(Context& context, Arguments arguments) {
  CommandLine line(
      "mpool check [OPTIONS] POOL|DEV...",
      "Checks POOL (a name, UUID=…, or device paths joined with ','), or the pool on the devices "
      "or\nfiles DEV, also when it is too damaged to be activated. The pool must not be mounted.\n"
      "Without --repair nothing is written.",
      {.names = "POOL or DEV", .least = 1, .most = std::numeric_limits<std::size_t>::max()});
  line.add_switch("repair",
                  "restore damaged superblock copies and finish what a crash interrupted");
  line.add_switch("data", "read every mblock, too, to find what cannot be read");
  line.add_switch("json", "print JSON");
  if (!line.parse(context, arguments)) return kSuccess;

  const bool json = line.has("json");
  const bool data = line.has("data");
  const std::vector<std::string> paths = resolve_all(line.operands());
  const Devices devices =
      open_idle_devices(paths, line.has("repair") ? OpenMode::activate : OpenMode::inspect);
  Run run(context, json);
  Run after(context, json);
  check::Result result = run.check(devices, data);
  std::vector<std::string> repairs;
  if (line.has("repair")) {
    if (!json && !result.plan.obstacle.empty()) {
      print_escaped(context.out, "{}\n", result.plan.obstacle);
    }
    check::repair(devices, result.plan, [&](const std::string& step) {
      if (!json) print_escaped(context.out, "Repairing: {}\n", step);
      context.out.flush();
      repairs.push_back(step);
    });
    if (!repairs.empty()) result = after.check(devices, data);
  }
  if (json) {
    print_result(context, paths, run, result, repairs, after);
  } else {
    print_escaped(context.out, "{}\n", summary(result));
  }
  return status_of(result, repairs.size());
}

}  // namespace mpool::tools
