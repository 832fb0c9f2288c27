// The measurements of engine_bench.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <vector>

namespace mpool::bench {

// One measurement: each run gives a value for each row.
struct Case {
  std::vector<std::string> rows;
  std::function<std::vector<double>()> run;
};

// A bar on medians: row / by (1 when empty), at least or at most `bound`.
struct Bar {
  std::string row;
  std::string by;
  bool at_least;
  double bound;
};

// Cases that are run alternately, so that slow changes of the machine affect all of them.
struct Group {
  std::string name;
  std::string unit;
  std::vector<Case> cases;
  std::vector<Bar> bars;
};

struct Settings {
  std::filesystem::path directory;  // exists, empty
  double seconds = 1;               // of each timed run
  bool tiny = false;                // far less data: to test the bench itself
};

// Each creates its data below the directory. Throw Error.
Group commits(const Settings& settings);
Group appends(const Settings& settings);
Group activations(const Settings& settings);
Group allocations(const Settings& settings);

}  // namespace mpool::bench
