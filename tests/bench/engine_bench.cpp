// Measures the engine, beside the file system of the directory it is given: medians of interleaved
// repeats, as a table and as JSON.
#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <iostream>
#include <map>

#include <boost/program_options.hpp>
#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "engine/base/error.h"
#include "tests/bench/engine_cases.h"

namespace mpool::bench {
namespace {

using Samples = std::map<std::string, std::vector<double>>;

double median(std::vector<double> values) {
  std::ranges::sort(values);
  const std::size_t middle = values.size() / 2;
  return values.size() % 2 == 1 ? values[middle] : (values[middle - 1] + values[middle]) / 2;
}

// Every repeat begins with a different case.
Samples measure(const Group& group, unsigned repeats) {
  Samples samples;
  for (unsigned repeat = 0; repeat < repeats; ++repeat) {
    for (std::size_t i = 0; i < group.cases.size(); ++i) {
      const Case& one = group.cases[(i + repeat) % group.cases.size()];
      const std::vector<double> values = one.run();
      for (std::size_t row = 0; row < one.rows.size(); ++row)
        samples[one.rows[row]].push_back(values.at(row));
    }
  }
  return samples;
}

std::string number(double value) {
  return value < 1000 ? fmt::format("{:.3g}", value) : fmt::format("{:.0f}", value);
}

nlohmann::json report_rows(const Group& group, const Samples& samples) {
  fmt::print("\n{} ({})\n", group.name, group.unit);
  nlohmann::json rows = nlohmann::json::object();
  for (const Case& one : group.cases) {
    for (const std::string& row : one.rows) {
      const auto& values = samples.at(row);
      const auto [least, most] = std::ranges::minmax(values);
      fmt::print("  {:32} {:>10}   {} .. {}\n", row, number(median(values)), number(least),
                 number(most));
      rows[row] = {{"median", median(values)}, {"samples", values}};
    }
  }
  return rows;
}

nlohmann::json report_bars(const Group& group, const Samples& samples) {
  nlohmann::json bars = nlohmann::json::array();
  for (const Bar& bar : group.bars) {
    const double by = bar.by.empty() ? 1 : median(samples.at(bar.by));
    const double value = median(samples.at(bar.row)) / by;
    const bool met = bar.at_least ? value >= bar.bound : value <= bar.bound;
    const std::string what = bar.by.empty() ? bar.row : bar.row + " / " + bar.by;
    fmt::print("  {:4} {:44} {:>8}, {} {}\n", met ? "OK" : "MISS", what, number(value),
               bar.at_least ? "at least" : "at most", number(bar.bound));
    bars.push_back({{"what", what}, {"value", value}, {"bound", bar.bound}, {"met", met}});
  }
  return bars;
}

// A directory of its own, removed by the destructor.
class WorkDirectory {
 public:
  explicit WorkDirectory(const std::string& parent) {
    std::string name = parent + "/engine-bench-XXXXXX";
    if (::mkdtemp(name.data()) == nullptr) raise_system(errno, name, "mkdtemp");
    path_ = name;
  }
  ~WorkDirectory() {
    std::error_code error;
    std::filesystem::remove_all(path_, error);
    if (error) fmt::print(stderr, "{}: not removed: {}\n", path_.string(), error.message());
  }
  WorkDirectory(const WorkDirectory&) = delete;
  WorkDirectory& operator=(const WorkDirectory&) = delete;

  const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
};

struct Options {
  std::string directory;
  std::string json;
  std::string only;
  double seconds = 1;
  unsigned repeats = 5;
  bool tiny = false;
};

void run(const Options& options) {
  const WorkDirectory work(options.directory);
  const Settings settings{
      .directory = work.path(), .seconds = options.seconds, .tiny = options.tiny};
  const std::map<std::string, Group (*)(const Settings&)> groups = {
      {"commits", commits},
      {"appends", appends},
      {"activation", activations},
      {"space", allocations},
  };
  if (!options.only.empty() && !groups.contains(options.only)) {
    raise(EINVAL, "--only " + options.only, "the groups are activation, appends, commits, space");
  }
  nlohmann::json results = nlohmann::json::object();
  for (const auto& [name, make] : groups) {
    if (!options.only.empty() && options.only != name) continue;
    const Group group = make(settings);
    const Samples samples = measure(group, options.repeats);
    results[name] = {{"unit", group.unit}, {"rows", report_rows(group, samples)}};
    results[name]["bars"] = report_bars(group, samples);
    std::fflush(stdout);
  }
  if (options.json.empty()) return;
  std::ofstream file(options.json);
  file << results.dump(2) << '\n';
  if (!file.flush()) raise(EIO, options.json, "cannot be written");
}

int main_of(int argc, char** argv) {
  namespace po = boost::program_options;
  Options options;
  po::options_description named("Options");
  named.add_options()("help,h", "say this")("json", po::value(&options.json)->value_name("FILE"),
                                            "write all samples there, too")(
      "only", po::value(&options.only)->value_name("GROUP"),
      "activation, appends, commits or space")(
      "repeats", po::value(&options.repeats)->default_value(5), "of each measurement")(
      "seconds", po::value(&options.seconds)->default_value(1), "of each timed run")(
      "tiny", po::bool_switch(&options.tiny), "little data: shows that it works");
  po::options_description all;
  all.add(named).add_options()("directory", po::value(&options.directory)->default_value("."));
  po::positional_options_description positional;
  positional.add("directory", 1);
  try {
    po::variables_map values;
    po::store(po::command_line_parser(argc, argv).options(all).positional(positional).run(),
              values);
    po::notify(values);
    if (values.count("help") != 0 || options.repeats == 0) {
      std::cout << "usage: engine_bench [options] [DIRECTORY]\n\n" << named;
      return values.count("help") != 0 ? 0 : 2;
    }
    run(options);
    return 0;
  } catch (const std::exception& error) {
    fmt::print(stderr, "engine_bench: {}\n", error.what());
    return 1;
  }
}

}  // namespace
}  // namespace mpool::bench

int main(int argc, char** argv) {
  return mpool::bench::main_of(argc, argv);
}
