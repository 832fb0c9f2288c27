// Open logs and MDCs that are closed at the end of a scope.
#pragma once

#include <array>
#include <memory>

#include "engine/base/error.h"
#include "engine/client/client_pool.h"

namespace mpool {

// An open of ClientPool::open_log(). A failure of its close is passed over: the owner syncs where
// it matters. Errors of the constructor: those of open_log().
class OpenLog {
 public:
  OpenLog(ClientPool& client, ObjectId id, ClientLog::Options options = {})
      : client_(client), log_(client.open_log(id, options)) {}
  ~OpenLog() {
    try {
      client_.close_log(log_);
    } catch (const Error&) {
      // The open has ended nevertheless.
    }
  }
  OpenLog(const OpenLog&) = delete;
  OpenLog& operator=(const OpenLog&) = delete;
  ClientLog& operator*() const { return *log_; }
  ClientLog* operator->() const { return log_.get(); }

 private:
  ClientPool& client_;
  const std::shared_ptr<ClientLog> log_;
};

// The same of ClientPool::open_mdc().
class OpenMdc {
 public:
  OpenMdc(ClientPool& client, const std::array<ObjectId, 2>& ids)
      : client_(client), mdc_(client.open_mdc(ids[0], ids[1])) {}
  ~OpenMdc() {
    try {
      client_.close_mdc(mdc_);
    } catch (const Error&) {
      // The open has ended nevertheless.
    }
  }
  OpenMdc(const OpenMdc&) = delete;
  OpenMdc& operator=(const OpenMdc&) = delete;
  ClientMdc& operator*() const { return *mdc_; }
  ClientMdc* operator->() const { return mdc_.get(); }

 private:
  ClientPool& client_;
  const std::shared_ptr<ClientMdc> mdc_;
};

}  // namespace mpool
