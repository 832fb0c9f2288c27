#include "fuse/control/provider.h"

#include <cerrno>
#include <utility>

#include "engine/base/error.h"

namespace mpoolfs {

namespace {

class OpenText : public ControlFile {
 public:
  OpenText(std::string text, const TextFile::Command& command)
      : text_(std::move(text)), command_(command) {}

  std::string read(std::uint64_t offset, std::size_t size) override {
    return offset < text_.size() ? text_.substr(offset, size) : std::string();
  }

  // Until the first line that fails.
  void write(std::uint64_t, mpool::ConstByteSpan data) override {
    std::string_view rest(reinterpret_cast<const char*>(data.data()), data.size());
    while (!rest.empty()) {
      const std::size_t length = rest.find('\n');
      const std::string_view line = rest.substr(0, length);
      if (!line.empty()) command_(line);
      rest.remove_prefix(length == std::string_view::npos ? rest.size() : length + 1);
    }
  }

 private:
  const std::string text_;
  const TextFile::Command& command_;
};

}  // namespace

std::string ControlFile::read(std::uint64_t, std::size_t) {
  mpool::raise(EPERM, "read", "the file cannot be read");
}

void ControlFile::write(std::uint64_t, mpool::ConstByteSpan) {
  mpool::raise(EPERM, "write", "the file cannot be written");
}

std::vector<std::byte> ControlFile::ioctl(unsigned command, mpool::ConstByteSpan) {
  mpool::raise(ENOTTY, "ioctl", "{:#x} is not known", command);
}

void ControlProvider::remove(std::string_view name) {
  mpool::raise(EPERM, std::string(name), "it cannot be removed");
}

TextFile::TextFile(Generator generate, Command command)
    : generate_(std::move(generate)), command_(std::move(command)) {}

ControlProvider::Info TextFile::describe(Node) const {
  return {.mode = command_ ? 0644u : 0444u};
}

std::unique_ptr<ControlFile> TextFile::open(Node, const mpool::OpenIntent& intent) {
  return std::make_unique<OpenText>(intent.read ? generate_() : std::string(), command_);
}

}  // namespace mpoolfs
