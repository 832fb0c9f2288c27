// A file on its way from close(2) to its commit.
#pragma once

#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <utility>

#include "tests/engine/names/support.h"

namespace mpool::test {

// A file whose descriptor was closed; its close has not arrived.
class FlushedFile {
 public:
  FlushedFile(TestTree& tree, const std::string& name, const std::string& text)
      : file_(tree.create(name)) {
    file_->write(0, bytes_of(text), false);
    file_->flush();
  }
  ~FlushedFile() { close(); }
  FlushedFile(const FlushedFile&) = delete;
  FlushedFile& operator=(const FlushedFile&) = delete;

  OpenFile* operator->() const { return file_.get(); }
  // The close arrives. As the daemon does: what may block is done by another thread.
  void arrive() {
    const std::lock_guard lock(mutex_);
    if (std::exchange(arrived_, true) || file_->close(Blocking::forbidden)) return;
    closer_ = std::thread([this] { file_->close(); });
  }
  // It arrives, and is done on return.
  void close() {
    arrive();
    if (closer_.joinable()) closer_.join();
  }

 private:
  std::unique_ptr<OpenFile> file_;
  std::mutex mutex_;
  bool arrived_ = false;
  std::thread closer_;
};

}  // namespace mpool::test
