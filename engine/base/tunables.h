// The numbers that decide how a pool and its mount behave under load.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>

namespace mpool {

// Handed in by value with ActivateOptions::tunables, never changed afterwards: two pools in one
// process can have different ones. Sizes are in bytes. "Measured" names the workload of tests/bench
// and its results; a number without it was chosen by reasoning.
struct Tunables {
  // Polling for completions instead of sleeping. A sleeping core takes longer to wake than a fast
  // device to complete; for a slow device polling wastes CPU time.
  struct Spinning {
    // Longest poll before sleeping; 0: none. A disk of a virtual machine takes 50 to 100 us for a
    // page.
    std::chrono::microseconds max_time{150};
    // With more requests in flight one completes soon anyway, and the CPU is better used by the
    // reader of completed requests.
    unsigned max_transfers = 2;
    // Number of polls in vain, from the best case, after which polling stops; a success makes up
    // for two.
    int max_credit = 32;
    // Once stopped, one of this many polls is tried, from 1.
    unsigned probe_every = 64;
    // The same for a yield of the CPU while polling, which counts as in vain when it takes longer
    // than short_yield: a driver's thread needs less to pass a request on. Measured: random reads
    // of 4 KiB at depth 1 on a loop device: without the yield 0.69 of the device, with it 0.83.
    unsigned yield_probe_every = 1024;
    std::chrono::microseconds short_yield{50};
  };

  // Submissions to the kernel are made in groups of this size, from 1: the device works on the
  // first group, and readers on their results, while the next is prepared. Larger groups need fewer
  // system calls, but delay all requests.
  struct Submission {
    unsigned reads = 2;  // measured: random reads at depth 32
    // No caller waits for writes as readers do: each is answered before it completes, or is one of
    // many. Measured: random write-once 4 KiB at depth 32: groups of 2, 6, 10, 16 for all requests
    // make 65,000, 78,000, 82,000, 72,000 writes a second; 8 for writes alone 95,000.
    unsigned writes = 8;
    // Completions without a device: no work overlaps, so fewer system calls are the only gain.
    // Measured: random reads in memory, two jobs at depth 32: 2 make 290,000, 32 make 455,000 reads
    // a second.
    unsigned posted = 32;
  };

  // On which CPU a thread that serves requests runs: Reactor (fuse/runtime).
  struct Placement {
    unsigned rounds = 16;  // completions per round are averaged over about this many, from 1
    // Bytes that take about as long to copy as a completion to handle.
    std::size_t copied_per_completion = 16u << 10;
    // The load is high above the first number of completions per round, until it falls below the
    // second.
    unsigned high_load = 4;
    unsigned low_load = 2;
  };

  // Written data that stays in memory: WriteMemory and ContentWriter.
  struct Writing {
    std::size_t max_bytes = 128u << 20;    // of all files being written
    std::size_t max_per_file = 16u << 20;  // of one of them; a single write may exceed it
    std::size_t direct_size = 128u << 10;  // page-aligned writes from this size on are not held
    std::size_t defer_size = 64u << 10;    // the end of a closed file, until its commit
    std::size_t max_deferred = 16u << 20;  // of all closed files
    std::size_t write_out_threshold = 4u << 20;  // of all closed files: the journal writes at once
    // After a seal, this many bytes before the first written page get room in its mblock, too:
    // neighbouring pages written a little later, by other threads, then need no mblock of their
    // own.
    std::uint64_t lead = 4u << 20;
  };

  // Prefetch for sequential O_DIRECT readers, for each ring: engine/file.
  struct Prefetch {
    std::size_t streams = 2;  // readers that are followed
    // Reads ahead of the reader. Measured: sequential reads at depth 1: 1.1 of the raw device.
    std::size_t ahead = 3;
    // Number of consecutive reads that were alone before prefetch starts: with several reads in
    // flight the device is busy anyway, and the first of a group is alone, too. Measured:
    // sequential reads at depth 4: prefetch took a fifth.
    unsigned alone = 2;
    // Sizes of reads that are followed: prefetching smaller ones costs more than it gains.
    std::size_t min_size = 64u << 10;
    std::size_t max_size = 1u << 20;
    // Reads in progress or kept; one of them has its data in use by the caller.
    std::size_t slots() const { return streams * ahead + 1; }
  };

  // Writes that are done before they are on the device, for each ring: engine/file.
  struct WriteBehind {
    std::size_t slots = 8;  // transfers in progress; 0: none is done early
    // While the device is also read: each read waits for the writes queued before it. Measured:
    // random reads at depth 8 beside a writer at full speed: 4,993 reads a second with 8 slots,
    // 11,566 with 1.
    std::size_t slots_beside_readers = 1;
    std::size_t max_size = 1u << 20;
  };

  // Batches of changes of the named tree. The limits bound the delay of threads that wait for the
  // first change of a batch.
  struct Journal {
    std::size_t max_batch_bytes = 1u << 20;
    std::size_t max_batch_changes = 1024;
    // Of a batch that found no room, when no caller asks for it.
    std::chrono::milliseconds retry_interval{1000};
  };

  // Discards of freed zones: DiscardQueue.
  struct Discards {
    std::uint64_t bytes_per_second = 4ull << 30;  // 0: no limit
    // Of one request: the unit of the rate limit and of the wait at the end of the queue.
    std::uint64_t max_size = 256u << 20;
    // At the end of an activation, discards of what is left may begin for this long.
    std::chrono::milliseconds ending_time{3000};
    // Maximum wait of an allocation without room for zones being discarded.
    std::chrono::milliseconds allocation_wait{10000};
  };

  Spinning spinning{};
  Submission submission{};
  Placement placement{};
  Writing writing{};
  Prefetch prefetch{};
  WriteBehind write_behind{};
  Journal journal{};
  Discards discards{};
};

}  // namespace mpool
