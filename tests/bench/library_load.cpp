// What a program on objects does, with libmpool or with files (tests/bench/README.md, "The
// library"). Prints JSON.
//   library_load STORE commits THREADS COUNT   makes mblocks (files) of 4 KiB durable, deletes them
//   library_load STORE appends async|sync THREADS BYTES SECONDS   each thread to its mlog (file)
//   library_load STORE make BYTES              mblocks (files) of 1 MiB; prints their names, a line
//                                              for each
//   library_load STORE read direct|mapped|warm SECONDS NAMES   of values of 1 to 4 KiB; warm: from
//                                              maps whose pages have all been read before
//   library_load STORE maps COUNT NAMES        maps of 32 of them, held until the input ends
// STORE: pool:NAME or files:DIRECTORY. NAMES: a file with what `make` has printed.
#include <atomic>
#include <cerrno>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <future>
#include <iostream>
#include <memory>
#include <numeric>
#include <random>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/mman.h>
#include <unistd.h>

#include "tests/apps/calls.h"

namespace {

using Clock = std::chrono::steady_clock;
using Names = std::vector<std::string>;

constexpr std::size_t kPage = 4096;
constexpr std::size_t kPiece = std::size_t{1} << 20;      // of the data
constexpr std::uint64_t kLogs = std::uint64_t{64} << 20;  // capacity of all logs
constexpr std::size_t kShortest = 1024;                   // of a value
constexpr std::size_t kMembers = 32;                      // of a map

double since(Clock::time_point begin) {
  return std::chrono::duration<double>(Clock::now() - begin).count();
}

[[noreturn]] void fail(const std::string& what) {
  throw std::runtime_error(fmt::format("{}: {}", what, std::strerror(errno)));
}

// Not that of the engine: this is a program on the public header, which excludes it.
class File {
 public:
  File() = default;
  File(const std::string& path, int flags)
      : descriptor_(::open(path.c_str(), flags | O_CLOEXEC, 0644)) {
    if (descriptor_ < 0) fail(path);
  }
  ~File() {
    if (is_open()) ::close(descriptor_);
  }
  File(File&& other) noexcept : descriptor_(std::exchange(other.descriptor_, -1)) {}
  File& operator=(File&& other) noexcept {
    std::swap(descriptor_, other.descriptor_);
    return *this;
  }
  bool is_open() const { return descriptor_ >= 0; }
  int get() const { return descriptor_; }

 private:
  int descriptor_ = -1;
};

// An mlog or a file. Its end deletes it. Used by one thread.
class Log {
 public:
  virtual ~Log() = default;
  // False: it has no room.
  virtual bool append(const std::string& record, bool durable) = 0;
};

// Objects of a pool, or files of a directory.
//
// Threads: add() may be called by several at the same time, the others by one.
class Store {
 public:
  virtual ~Store() = default;
  // A new object with this content; it is durable on return.
  virtual std::string add(const apps::Pages& content) = 0;
  virtual void remove(const std::string& name) = 0;
  virtual std::unique_ptr<Log> make_log(std::uint64_t capacity) = 0;
  // A page of an object, by direct I/O.
  virtual void read(std::size_t object, std::uint64_t offset, apps::Pages& into) = 0;
  // The objects that read() and map() know by their place in the list.
  virtual void open(const Names& names) = 0;
  // Maps objects until the end of the process. The address of each, pages without read-ahead.
  virtual std::vector<const char*> map(std::size_t first, std::size_t count) = 0;
};

class PoolLog : public Log {
 public:
  PoolLog(struct mpool* pool, std::uint64_t capacity) : pool_(pool) {
    mlog_capacity wanted{};
    wanted.lcp_captgt = capacity;
    apps::check(mpool_mlog_alloc(pool_, MP_MED_CAPACITY, &wanted, &id_, nullptr), "mlog_alloc");
    apps::check(mpool_mlog_commit(pool_, id_), "mlog_commit");
    std::uint64_t generation = 0;
    apps::check(mpool_mlog_open(pool_, id_, 0, &generation, &log_), "mlog_open");
  }
  ~PoolLog() override {
    (void)mpool_mlog_close(log_);
    (void)mpool_mlog_delete(pool_, id_);
  }
  PoolLog(const PoolLog&) = delete;
  PoolLog& operator=(const PoolLog&) = delete;
  bool append(const std::string& record, bool durable) override {
    iovec part{.iov_base = const_cast<char*>(record.data()), .iov_len = record.size()};
    const mpool_err_t error = mpool_mlog_append(log_, &part, record.size(), durable ? 1 : 0);
    if (mpool_errno(error) == EFBIG) return false;
    apps::check(error, "append");
    return true;
  }

 private:
  struct mpool* pool_;
  std::uint64_t id_ = 0;
  mpool_mlog* log_ = nullptr;
};

class FileLog : public Log {
 public:
  explicit FileLog(std::string path)
      : path_(std::move(path)), file_(path_, O_WRONLY | O_CREAT | O_EXCL | O_APPEND) {}
  ~FileLog() override { ::unlink(path_.c_str()); }
  FileLog(const FileLog&) = delete;
  FileLog& operator=(const FileLog&) = delete;
  bool append(const std::string& record, bool durable) override {
    const auto length = static_cast<ssize_t>(record.size());
    if (::write(file_.get(), record.data(), record.size()) != length) fail(path_);
    if (durable && ::fdatasync(file_.get()) != 0) fail(path_);
    return true;
  }

 private:
  const std::string path_;
  const File file_;
};

class PoolStore : public Store {
 public:
  explicit PoolStore(const std::string& pool) : pool_(pool) {}
  ~PoolStore() override {
    for (mpool_mcache_map* map : maps_)
      (void)mpool_mcache_munmap(map);
  }
  PoolStore(const PoolStore&) = delete;
  PoolStore& operator=(const PoolStore&) = delete;

  std::string add(const apps::Pages& content) override {
    std::uint64_t id = 0;
    apps::check(mpool_mblock_alloc(pool_.get(), MP_MED_CAPACITY, false, &id, nullptr), "alloc");
    const iovec part{.iov_base = content.data(), .iov_len = content.size()};
    apps::check(mpool_mblock_write(pool_.get(), id, &part, 1), "write");
    apps::check(mpool_mblock_commit(pool_.get(), id), "commit");
    return std::to_string(id);
  }
  void remove(const std::string& name) override {
    apps::check(mpool_mblock_delete(pool_.get(), id_of(name)), "delete");
  }
  std::unique_ptr<Log> make_log(std::uint64_t capacity) override {
    return std::make_unique<PoolLog>(pool_.get(), capacity);
  }
  void open(const Names& names) override {
    for (const std::string& name : names)
      ids_.push_back(id_of(name));
  }
  void read(std::size_t object, std::uint64_t offset, apps::Pages& into) override {
    const iovec part{.iov_base = into.data(), .iov_len = into.size()};
    apps::check(mpool_mblock_read(pool_.get(), ids_[object], &part, 1, static_cast<off_t>(offset)),
                "read");
  }
  std::vector<const char*> map(std::size_t first, std::size_t count) override {
    mpool_mcache_map* map = nullptr;
    apps::check(mpool_mcache_mmap(pool_.get(), count, &ids_[first], MPC_VMA_WARM, &map), "mmap");
    maps_.push_back(map);
    std::vector<const char*> bases;
    for (std::uint32_t i = 0; i < count; ++i)
      bases.push_back(static_cast<const char*>(mpool_mcache_getbase(map, i)));
    return bases;
  }

 private:
  static std::uint64_t id_of(const std::string& name) { return std::stoull(name); }

  const apps::Pool pool_;
  std::vector<std::uint64_t> ids_;
  std::vector<mpool_mcache_map*> maps_;
};

class FileStore : public Store {
 public:
  explicit FileStore(std::string directory) : directory_(std::move(directory)) {}

  std::string add(const apps::Pages& content) override {
    std::string name = path_of(fmt::format("object{}-{}", ::getpid(), ++added_));
    const File file(name, O_WRONLY | O_CREAT | O_EXCL | O_DIRECT);
    if (::write(file.get(), content.data(), content.size()) !=
        static_cast<ssize_t>(content.size())) {
      fail(name);
    }
    if (::fsync(file.get()) != 0) fail(name);
    return name;
  }
  void remove(const std::string& name) override {
    if (::unlink(name.c_str()) != 0) fail(name);
  }
  std::unique_ptr<Log> make_log(std::uint64_t) override {
    return std::make_unique<FileLog>(path_of(fmt::format("log{}-{}", ::getpid(), ++added_)));
  }
  void open(const Names& names) override { names_ = names; }
  void read(std::size_t object, std::uint64_t offset, apps::Pages& into) override {
    if (direct_.empty()) {
      for (const std::string& name : names_)
        direct_.emplace_back(name, O_RDONLY | O_DIRECT);
    }
    if (::pread(direct_[object].get(), into.data(), into.size(), static_cast<off_t>(offset)) !=
        static_cast<ssize_t>(into.size())) {
      fail(names_[object]);
    }
  }
  std::vector<const char*> map(std::size_t first, std::size_t count) override {
    std::vector<const char*> bases;
    for (std::size_t i = first; i < first + count; ++i) {
      const File file(names_[i], O_RDONLY);
      void* base = ::mmap(nullptr, kPiece, PROT_READ, MAP_SHARED, file.get(), 0);
      if (base == MAP_FAILED || ::madvise(base, kPiece, MADV_RANDOM) != 0) fail(names_[i]);
      bases.push_back(static_cast<const char*>(base));
    }
    return bases;
  }

 private:
  std::string path_of(const std::string& name) const { return directory_ + "/" + name; }

  const std::string directory_;
  std::atomic<std::uint64_t> added_ = 0;
  Names names_;
  std::vector<File> direct_;
};

apps::Pages random_pages(std::size_t length, std::uint64_t seed) {
  apps::Pages pages(length);
  std::mt19937_64 random(seed);
  for (std::size_t at = 0; at < length; at += sizeof(std::uint64_t)) {
    const std::uint64_t word = random();
    std::memcpy(pages.data() + at, &word, sizeof word);
  }
  return pages;
}

void print_rate(std::uint64_t count, double seconds) {
  fmt::print("{{\"rate\": {:.1f}}}\n", static_cast<double>(count) / seconds);
}

// What `work` returns in each of the threads, which it is given the number of.
template <typename Work>
auto in_threads(unsigned threads, const Work& work) {
  using Result = decltype(work(0u));
  std::vector<std::future<Result>> running;
  for (unsigned thread = 0; thread < threads; ++thread)
    running.push_back(std::async(std::launch::async, work, thread));
  std::vector<Result> results;
  for (auto& each : running)
    results.push_back(each.get());
  return results;
}

void commits(Store& store, unsigned threads, unsigned count) {
  const apps::Pages content = random_pages(kPage, 1);
  const auto begin = Clock::now();
  const auto names = in_threads(threads, [&](unsigned) {
    Names own;
    for (unsigned i = 0; i < count / threads; ++i)
      own.push_back(store.add(content));
    return own;
  });
  print_rate(std::uint64_t{count / threads} * threads, since(begin));
  for (const Names& each : names) {
    for (const std::string& name : each)
      store.remove(name);
  }
}

void appends(Store& store, bool durable, unsigned threads, std::size_t length, double seconds) {
  const std::string record(length, 'r');
  std::vector<std::unique_ptr<Log>> logs;
  for (unsigned thread = 0; thread < threads; ++thread) {
    logs.push_back(store.make_log(kLogs / threads));
    logs.back()->append(record, true);
  }
  const auto begin = Clock::now();
  const auto done = in_threads(threads, [&](unsigned thread) {
    std::uint64_t count = 0;
    // The clock is looked at once in a while: it takes a part of the time of an append.
    const std::uint64_t batch = durable ? 1 : 64;
    for (bool room = true; room && since(begin) < seconds;) {
      for (std::uint64_t i = 0; room && i < batch; ++i) {
        room = logs[thread]->append(record, durable);
        if (room) ++count;
      }
    }
    return count;
  });
  print_rate(std::accumulate(done.begin(), done.end(), std::uint64_t{0}), since(begin));
}

void make(Store& store, std::uint64_t size) {
  for (std::uint64_t i = 0; i < size / kPiece; ++i)
    fmt::print("{}\n", store.add(random_pages(kPiece, i + 1)));
}

enum class From { device, maps, warm_maps };

void read_values(Store& store, From from, double seconds, std::size_t objects) {
  const bool mapped = from != From::device;
  std::vector<const char*> bases;
  for (std::size_t first = 0; mapped && first < objects; first += kMembers) {
    const auto more = store.map(first, std::min(kMembers, objects - first));
    bases.insert(bases.end(), more.begin(), more.end());
  }
  apps::Pages value(kPage);
  for (std::size_t i = 0; from == From::warm_maps && i < objects; ++i) {
    for (std::size_t offset = 0; offset < kPiece; offset += kPage)
      std::memcpy(value.data(), bases[i] + offset, kPage);
  }
  std::mt19937_64 random(1);
  std::uint64_t done = 0;
  const auto begin = Clock::now();
  for (; since(begin) < seconds; ++done) {
    const std::size_t object = random() % objects;
    const std::uint64_t offset = random() % (kPiece / kPage) * kPage;
    const std::size_t length = kShortest + random() % (kPage - kShortest + 1);
    if (mapped) {
      std::memcpy(value.data(), bases[object] + offset, length);
    } else {
      store.read(object, offset, value);
    }
    asm volatile("" : : "r"(value.data()) : "memory");
  }
  print_rate(done, since(begin));
}

void make_maps(Store& store, unsigned count, std::size_t objects) {
  const auto begin = Clock::now();
  for (unsigned i = 0; i < count; ++i)
    store.map(i * kMembers % objects, kMembers);
  fmt::print("{{\"rate\": {:.1f}}}\n", count / since(begin));
  std::fflush(stdout);
  std::cin.ignore(1);
}

Names names_in(const char* path) {
  std::ifstream file(path);
  Names names;
  for (std::string name; std::getline(file, name);)
    names.push_back(name);
  if (names.size() < kMembers || names.size() % kMembers != 0) {
    throw std::runtime_error(fmt::format("{}: {} names, not whole maps", path, names.size()));
  }
  return names;
}

std::unique_ptr<Store> open_store(std::string_view where) {
  const std::size_t colon = where.find(':');
  const std::string name(where.substr(colon + 1));
  if (where.starts_with("pool:")) return std::make_unique<PoolStore>(name);
  if (where.starts_with("files:")) return std::make_unique<FileStore>(name);
  throw std::runtime_error(fmt::format("{}: not pool:NAME or files:DIRECTORY", where));
}

bool run(const std::vector<std::string>& words) {
  if (words.size() < 3) return false;
  const auto store = open_store(words[0]);
  const std::string& command = words[1];
  const auto number = [&](std::size_t at) {
    return static_cast<unsigned>(std::stoul(words.at(at)));
  };
  if (command == "commits" && words.size() == 4) {
    commits(*store, number(2), number(3));
  } else if (command == "appends" && words.size() == 6) {
    appends(*store, words[2] == "sync", number(3), number(4), std::stod(words[5]));
  } else if (command == "make" && words.size() == 3) {
    make(*store, std::stoull(words[2]));
  } else if (command == "read" && words.size() == 5) {
    const Names names = names_in(words[4].c_str());
    store->open(names);
    const From from = words[2] == "direct" ? From::device
                      : words[2] == "warm" ? From::warm_maps
                                           : From::maps;
    read_values(*store, from, std::stod(words[3]), names.size());
  } else if (command == "maps" && words.size() == 4) {
    const Names names = names_in(words[3].c_str());
    store->open(names);
    make_maps(*store, number(2), names.size());
  } else {
    return false;
  }
  return true;
}

}  // namespace

int main(int count, char** words) try {
  if (run({words + 1, words + count})) return 0;
  fmt::print(stderr, "library_load STORE commits|appends|make|read|maps ...: see its head\n");
  return 2;
} catch (const std::exception& error) {
  fmt::print(stderr, "library_load: {}\n", error.what());
  return 1;
}
