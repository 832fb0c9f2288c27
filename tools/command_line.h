// Parsing of a sub-command's command line, on Boost.Program_options.
#pragma once

#include <cstdint>
#include <optional>
#include <stdexcept>
#include <string>
#include <vector>

#include <boost/program_options.hpp>

#include "tools/commands.h"

namespace mpool::tools {

// The command line is invalid; what() gives the reason.
class UsageError : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

// The operands of a sub-command: at least `least` and at most `most` of them. `names`: their names
// in messages.
struct Operands {
  std::string names;
  std::size_t least = 0;
  std::size_t most = 0;
};

// One sub-command's options and operands.
class CommandLine {
 public:
  // usage: "mpool create [OPTIONS] NAME DEV". description: a paragraph for --help.
  CommandLine(std::string usage, std::string description, Operands operands);

  // Adds a switch, and an option with a value that --help calls `value_name`.
  void add_switch(const std::string& name, const std::string& help);
  void add_value(const std::string& name, const std::string& value_name, const std::string& help);

  // Parses. False when --help was given; the help was then printed. UsageError for an unknown
  // option, a missing value, too few or too many operands.
  bool parse(Context& context, Arguments arguments);

  bool has(const std::string& name) const { return values_.count(name) != 0; }
  std::optional<std::string> text(const std::string& name) const;
  // A size in bytes ("4G"), greater than 0. UsageError otherwise.
  std::optional<std::uint64_t> size(const std::string& name) const;
  // A decimal number in [least, most]. UsageError otherwise.
  std::optional<unsigned> number(const std::string& name, unsigned least, unsigned most) const;
  const std::vector<std::string>& operands() const { return operand_values_; }

 private:
  void print_help(Context& context) const;
  void check_operands() const;

  std::string usage_;
  std::string description_;
  Operands operands_;
  boost::program_options::options_description options_{"Options"};
  boost::program_options::variables_map values_;
  std::vector<std::string> operand_values_;
};

}  // namespace mpool::tools
