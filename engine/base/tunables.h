// The numbers that decide how a pool and its mount behave under load.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>

namespace mpool {

// Handed in by value with ActivateOptions::tunables, never changed afterwards: two pools in one
// process can have different ones. Sizes are in bytes. "Measured" names the workload of tests/bench
// and its results; a number without it was chosen by reasoning.
//
// Not here: what the media or the kernel's interfaces fix, what a mount or pool option sets, bounds
// that decide about correctness (they are beside their proof), and what the kernel lets an
// administrator change for a mount, such as max_background and the read-ahead of its pages.
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
    // A reply of at least this size is submitted at once: the kernel takes long to copy it, other
    // requests must not wait for that, and its reader can go on meanwhile.
    std::size_t large_reply = 64u << 10;
  };

  // Requests in progress: fuse/transport.
  struct Requests {
    // Of a CPU with a thread of its own, from 1; further ones wait in the kernel.
    unsigned entries = 64;
    unsigned entries_elsewhere = 4;  // of other CPUs: offline, or not allowed to the process
    unsigned dev_batch = 8;          // read from /dev/fuse before the ring is served again, from 1
    // A thread without requests for this long frees memory that large ones used.
    std::chrono::milliseconds idle_time{500};
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
    // When max_bytes is reached, room for this part of it is made, so that it lasts for a while;
    // from 1.
    std::size_t relief_divisor = 16;
    std::size_t spare_pieces = 8;  // of WriteMemory::kPieceSize, kept for reuse
  };

  // Small files in packs: engine/file.
  struct Packing {
    // Files of at most this many bytes; 0: none. A mount option sets it, too (mpoolfs(8)).
    std::uint64_t max_size = 256u << 10;
    // And of at most this part of a zone: what is left of a full pack is lost.
    std::uint64_t zone_divisor = 8;
    // Bytes of a pack, rounded up to zones; on a device of less than pack_divisor packs, one zone.
    std::uint64_t capacity = 8u << 20;
    std::uint64_t pack_divisor = 64;
    // The pack that was being filled before a mount is filled further if that part of it is free.
    std::uint64_t reuse_divisor = 8;
    // Packs are looked over this long after content in one became garbage; 0: only by
    // Namespace::repack().
    std::chrono::milliseconds collect_delay{1000};
    std::uint64_t bytes_per_second = 64u << 20;  // moved in the background; 0: no limit
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
    // The log of the tree is compacted ahead of need from a fill level on, in percent of its
    // capacity, with at least this much garbage; not again before that much was written.
    unsigned compact_full = 70;
    unsigned compact_garbage = 20;
    unsigned nearly_full = 93;
    unsigned nearly_full_garbage = 2;
    unsigned compact_written = 5;
    unsigned grow_live = 50;  // a tree that fills more of its log makes it grow
  };

  // What a pool does by itself while it is active (engine/pool/README.md, "Work in the
  // background"). Percentages: how full MDCs are, and how many of their records are garbage.
  struct Maintenance {
    // The MDCs are checked this long after the first change since the last check; 0: only by
    // Pool::maintain().
    std::chrono::milliseconds period{5000};
    unsigned compact_full = 70;     // an MDC is compacted at this fill level or more
    unsigned compact_garbage = 20;  // and with at least this much garbage
    unsigned grow_full = 50;        // MDCs are added when all together exceed this fill level
    unsigned grow_garbage = 20;     // with less garbage
    unsigned grow_by = 16;  // number of MDCs added at a time, while there are fewer than 255
    std::chrono::milliseconds usage_period{60000};  // the same for the free space; 0: never
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

  // Views, by which the kernel reads committed files itself: fuse/native.
  struct Views {
    // Minimum interval between views: files committed meanwhile share one.
    std::chrono::milliseconds interval{50};
    // From this number of files on, their view is made before one of them is opened. Measured: 17
    // to 34 ms for 100,000 files, 0.3 ms for up to some hundreds.
    std::size_t pending_threshold = 1024;
    // From this number on, from 2, views are merged: each costs the kernel about 100 KiB and a loop
    // device.
    std::size_t merge_threshold = 16;
    // No more are made: views with open files stay, merged or not.
    std::size_t max_views = 64;
    std::chrono::milliseconds full_pause{1000};  // before the next attempt
    // The same after a failure; doubled with each one, up to max_doublings times (at most 20).
    std::chrono::milliseconds failure_pause{1000};
    unsigned max_doublings = 6;
    // How long a backing file is kept for the next open, and the interval of checks of files that
    // readers have mapped.
    std::chrono::milliseconds idle_time{100};
    std::chrono::milliseconds mapped_interval{1000};
    // Of checks whether readers of an earlier, killed daemon are still there.
    std::chrono::milliseconds readers_interval{1000};
  };

  Spinning spinning{};
  Submission submission{};
  Requests requests{};
  Placement placement{};
  Writing writing{};
  Packing packing{};
  Prefetch prefetch{};
  WriteBehind write_behind{};
  Journal journal{};
  Maintenance maintenance{};
  Discards discards{};
  Views views{};
};

}  // namespace mpool
