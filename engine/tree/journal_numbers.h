// The numbers of the journal (mpoolfs(8), "METRICS").
#pragma once

#include "engine/base/metrics.h"

namespace mpool::names {

// References into the metrics, which must outlive it. Threads: as the numbers.
struct JournalNumbers {
  explicit JournalNumbers(Metrics& metrics)
      : batches(metrics.counter("mpoolfs_journal_batches_total",
                                "Batches of changes of the tree that are durable")),
        changes(metrics.counter("mpoolfs_journal_changes_total",
                                "Changes of the tree that are durable")),
        records(metrics.counter("mpoolfs_journal_records_total",
                                "Records written to the log of the names by batches")),
        compactions(metrics.counter("mpoolfs_root_mdc_compactions_total",
                                    "Compactions of the log of the names")),
        durations(metrics.histogram("mpoolfs_journal_batch_duration_seconds",
                                    "Time that writing a batch took")) {}

  Counter& batches;
  Counter& changes;
  Counter& records;
  Counter& compactions;
  LatencyHistogram& durations;
};

}  // namespace mpool::names
