#include "tests/crash/model.h"

#include <utility>

namespace mpool::test {

void Model::start(const Facts& facts) {
  for (const auto& [fact, value] : facts)
    facts_[fact] = {{.value = value, .begun = 0, .durable = 0}};
}

void Model::begin_at(Moment moment, const std::string& fact, std::optional<std::string> value) {
  facts_[fact].push_back({.value = std::move(value), .begun = moment});
}

void Model::durable(const std::string& fact) {
  facts_.at(fact).back().durable = now();
}

void Model::reserve(const std::string& fact) {
  facts_[fact].push_back({.value = std::nullopt, .begun = now(), .durable = now()});
}

bool Model::used(const std::string& fact, Moment moment) const {
  const auto found = facts_.find(fact);
  return found != facts_.end() && found->second.front().begun <= moment;
}

void Model::inherit_names(const Model& other, Moment moment) {
  for (const auto& [fact, versions] : other.facts_) {
    if (versions.front().begun > moment) continue;
    auto& own = facts_[fact];
    if (own.empty()) own.push_back({.value = std::nullopt, .begun = 0, .durable = 0});
  }
}

std::string Model::mismatch_of(const std::string& fact, const Versions& versions,
                               const std::string* found, Moment moment) {
  std::size_t first = 0;
  bool any_durable = false;
  for (std::size_t i = 0; i < versions.size(); ++i) {
    if (versions[i].durable > moment) continue;
    first = i;
    any_durable = true;
  }
  const auto is_found = [found](const std::optional<std::string>& value) {
    return found == nullptr ? !value : value == *found;
  };
  std::string expected;
  const auto describe = [&expected](const std::optional<std::string>& value) {
    expected += "\n  " + value.value_or("nothing");
  };
  if (!any_durable) {
    if (is_found(std::nullopt)) return {};
    describe(std::nullopt);
  }
  for (std::size_t i = first; i < versions.size(); ++i) {
    const bool possible = (any_durable && i == first) || versions[i].begun < moment;
    if (!possible) continue;
    if (is_found(versions[i].value)) return {};
    describe(versions[i].value);
  }
  return fact + ": found\n  " + (found == nullptr ? "nothing" : *found) + "\nexpected (one of)" +
         expected;
}

std::string Model::mismatch(const Facts& found, Moment moment) const {
  for (const auto& [fact, value] : found) {
    const auto known = facts_.find(fact);
    if (known == facts_.end()) return fact + ": found\n  " + value + "\nwhich never was there";
    if (auto wrong = mismatch_of(fact, known->second, &value, moment); !wrong.empty()) return wrong;
  }
  for (const auto& [fact, versions] : facts_) {
    if (found.contains(fact)) continue;
    if (auto wrong = mismatch_of(fact, versions, nullptr, moment); !wrong.empty()) return wrong;
  }
  return {};
}

}  // namespace mpool::test
