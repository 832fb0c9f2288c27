#include "engine/check/report.h"

namespace mpool::check {

std::string_view to_string(Severity severity) {
  switch (severity) {
    case Severity::note:
      return "note";
    case Severity::unfinished:
      return "unfinished step";
    case Severity::error:
      return "error";
  }
  return {};
}

std::string_view to_string(Area area) {
  switch (area) {
    case Area::superblocks:
      return "superblocks";
    case Area::metadata:
      return "metadata";
    case Area::tree:
      return "tree";
    case Area::content:
      return "content";
  }
  return {};
}

void Report::add(const Finding& finding) {
  const auto area = static_cast<std::size_t>(finding.area);
  switch (finding.severity) {
    case Severity::note:
      ++result_.notes;
      break;
    case Severity::unfinished:
      ++result_.unfinished;
      break;
    case Severity::error:
      ++result_.errors;
      if (finding.repairable) {
        ++result_.repairable_errors;
      } else {
        ++errors_[area];
      }
      break;
  }
  if (told_[area] == kMaxPerArea) {
    ++held_back_[area];
    return;
  }
  ++told_[area];
  if (options_.report) options_.report(finding);
}

void Report::error(Area area, std::string where, std::string what, std::string advice) {
  add({.severity = Severity::error,
       .area = area,
       .where = std::move(where),
       .what = std::move(what),
       .advice = std::move(advice)});
}

void Report::note(Area area, std::string where, std::string what, std::string advice) {
  add({.severity = Severity::note,
       .area = area,
       .where = std::move(where),
       .what = std::move(what),
       .advice = std::move(advice)});
}

void Report::unfinished(Area area, std::string where, std::string what, std::string step) {
  auto& steps = area == Area::tree ? result_.plan.mount : result_.plan.activation;
  steps.push_back(fmt::format("{}: {}", where, step));
  add({.severity = Severity::unfinished,
       .area = area,
       .repairable = true,
       .where = std::move(where),
       .what = std::move(what),
       .advice = fmt::format("the next {} does it: {}", area == Area::tree ? "mount" : "activation",
                             step)});
}

void Report::close() {
  for (std::size_t area = 0; area < kAreas; ++area) {
    if (held_back_[area] == 0 || !options_.report) continue;
    options_.report({.severity = Severity::note,
                     .area = static_cast<Area>(area),
                     .where = std::string(to_string(static_cast<Area>(area))),
                     .what = fmt::format("{} more findings of this kind are counted, not shown",
                                         held_back_[area]),
                     .advice = "see the ones shown first"});
  }
}

}  // namespace mpool::check
