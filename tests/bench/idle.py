"""The cost of a mounted pool without users."""

import os
import time

import cpu
from machine import MIB

IDLE_SECONDS = 10
SETTLE_SECONDS = 1
POOL_SIZE = 1024 * MIB
# The project's bars: no CPU time at all, and this much memory.
MEMORY_BASE = 64 * MIB
MEMORY_FOR_CPU = 20 * MIB


def check(stack, place, settings, chosen):
    """Prints one line for each target; returns 1 when a bar is missed, else 0."""
    limit = MEMORY_BASE + MEMORY_FOR_CPU * os.cpu_count()
    missed = False
    print(f"{'target':16}{'CPU ms':>10}{'ticks ms':>10}{'RSS MiB':>10}{'PSS MiB':>10}{'bar MiB':>10}")
    for target in chosen:
        target.start(stack, place, settings)
        resident, proportional = cpu.memory_bytes(target.daemon.pid)
        time.sleep(SETTLE_SECONDS)
        exact, ticks = cpu.threads_nanoseconds(target.daemon.pid), cpu.process_seconds(target.daemon.pid)
        time.sleep(IDLE_SECONDS)
        exact = (cpu.threads_nanoseconds(target.daemon.pid) - exact) / 1e6
        ticks = (cpu.process_seconds(target.daemon.pid) - ticks) * 1e3
        good = ticks == 0 and resident <= limit
        missed = missed or not good
        print(f"{target.name:16}{exact:10.3f}{ticks:10.0f}{resident / MIB:10.1f}{proportional / MIB:10.1f}"
              f"{limit / MIB:10.0f} {'OK' if good else 'MISS'}")
    return 1 if missed else 0
