#include "tools/command_line.h"

#include <charconv>
#include <ostream>
#include <utility>

#include <fmt/format.h>
#include <fmt/ostream.h>

#include "engine/base/size.h"

namespace mpool::tools {

namespace po = boost::program_options;

namespace {

// The hidden option that collects the operands. Its name cannot be typed as an option.
constexpr const char* kOperands = " operands";

}  // namespace

CommandLine::CommandLine(std::string usage, std::string description, Operands operands)
    : usage_(std::move(usage)),
      description_(std::move(description)),
      operands_(std::move(operands)) {}

void CommandLine::add_switch(const std::string& name, const std::string& help) {
  options_.add_options()(name.c_str(), help.c_str());
}

void CommandLine::add_value(const std::string& name, const std::string& value_name,
                            const std::string& help) {
  options_.add_options()(name.c_str(), po::value<std::string>()->value_name(value_name),
                         help.c_str());
}

bool CommandLine::parse(Context& context, Arguments arguments) {
  add_switch("help,h", "show this help and exit");
  po::options_description all;
  all.add(options_).add_options()(kOperands, po::value<std::vector<std::string>>());
  po::positional_options_description positional;
  positional.add(kOperands, -1);
  // The meaning of abbreviated options would change when new options are added.
  const int style = po::command_line_style::unix_style & ~po::command_line_style::allow_guessing;
  try {
    po::store(po::command_line_parser({arguments.begin(), arguments.end()})
                  .options(all)
                  .positional(positional)
                  .style(style)
                  .run(),
              values_);
    po::notify(values_);
  } catch (const po::error& error) {
    throw UsageError(error.what());
  }
  if (has("help")) {
    print_help(context);
    return false;
  }
  if (has(kOperands)) operand_values_ = values_[kOperands].as<std::vector<std::string>>();
  check_operands();
  return true;
}

std::optional<std::string> CommandLine::text(const std::string& name) const {
  if (!has(name)) return std::nullopt;
  return values_[name].as<std::string>();
}

std::optional<std::uint64_t> CommandLine::size(const std::string& name) const {
  const auto given = text(name);
  if (!given) return std::nullopt;
  const auto bytes = parse_size(*given);
  if (!bytes || *bytes == 0) {
    throw UsageError(fmt::format(
        "--{}: \"{}\" is not a size: wanted are bytes, or a number with K, M, G, T or P", name,
        *given));
  }
  return bytes;
}

std::optional<unsigned> CommandLine::number(const std::string& name, unsigned least,
                                            unsigned most) const {
  const auto given = text(name);
  if (!given) return std::nullopt;
  unsigned value = 0;
  const char* end = given->data() + given->size();
  const auto [rest, error] = std::from_chars(given->data(), end, value);
  if (error != std::errc{} || rest != end || value < least || value > most) {
    throw UsageError(
        fmt::format("--{}: \"{}\" is not a number from {} to {}", name, *given, least, most));
  }
  return value;
}

void CommandLine::print_help(Context& context) const {
  fmt::print(context.out, "Usage: {}\n\n{}\n\n", usage_, description_);
  context.out << options_;
}

void CommandLine::check_operands() const {
  for (const std::string& operand : operand_values_) {
    if (operand.empty()) throw UsageError("an empty argument");
  }
  if (operand_values_.size() < operands_.least) {
    throw UsageError(operand_values_.empty()
                         ? fmt::format("missing argument: {}", operands_.names)
                         : fmt::format("too few arguments: wanted are {}", operands_.names));
  }
  if (operand_values_.size() > operands_.most) {
    throw UsageError(fmt::format("unexpected argument \"{}\"", operand_values_[operands_.most]));
  }
}

}  // namespace mpool::tools
