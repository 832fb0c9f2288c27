"""The table, and the same as JSON."""

import dataclasses
import json
import statistics

import targets


@dataclasses.dataclass
class Cell:
    """The repeats of one workload on one target. error: the reason why repeats are missing."""

    samples: list = dataclasses.field(default_factory=list)
    error: str | None = None

    @property
    def median(self):
        return self._median("rate")

    @property
    def machine_us(self):
        return self._median("machine_us")

    @property
    def daemon_us(self):
        return self._median("daemon_us")

    @property
    def spread(self):
        rates = [sample.rate for sample in self.samples]
        return (min(rates), max(rates)) if rates else None

    @property
    def reads(self):
        return self._median("reads")

    def _median(self, field):
        values = [getattr(sample, field) for sample in self.samples]
        values = [value for value in values if value is not None]
        # After an error there is no result: the values before it are fewer than five repeats.
        return statistics.median(values) if values and self.error is None else None


class Results:
    def __init__(self, workloads, chosen, base, on):
        self.workloads = workloads
        self.targets = chosen
        self._base = base
        self._on = on
        self.cells = {(workload.name, target.name): Cell() for workload in workloads for target in chosen}

    def cell(self, workload, target):
        return self.cells.get((workload.name, target))

    def base_of(self, workload):
        if self._base:
            return self._base
        return "ext4" if workload.needs_files else "raw"

    def ratio(self, workload, target, base):
        mine, other = self.cell(workload, target), self.cell(workload, base)
        if mine is None or other is None or mine.median is None or not other.median:
            return None
        return mine.median / other.median

    def bar(self, workload, target):
        """(least, aim) if the project has a bar for this workload and target on this kind of
        device."""
        if target == targets.JUDGED:
            return workload.memory_bar if self._on == "memory" else workload.bar
        if target == targets.JUDGED_NATIVE and self._on != "memory":
            return workload.native_bar
        return None

    def verdict(self, workload, target):
        """Against the raw device or ext4: OK or MISS; None without a bar or a result."""
        bar = self.bar(workload, target)
        ratio = self.ratio(workload, target, "raw" if target == targets.JUDGED else "ext4")
        if bar is None or ratio is None:
            return None
        return "OK" if ratio >= bar[0] else "MISS"

    def faster_peers(self, workload):
        """Other FUSE file systems that are not slower than the judged target."""
        return [peer for peer in targets.PEERS
                if (ratio := self.ratio(workload, targets.JUDGED, peer)) is not None and ratio <= 1]


HEADINGS = ("workload", "target", "median", "unit", "ratio", "min..max", "sys µs", "daemon µs", "READs", "bar")


def _number(value, digits=3):
    if value is None:
        return "-"
    return f"{value:,.0f}" if value >= 10 ** (digits - 1) else f"{value:.{digits}g}"


def _row(results, workload, target):
    cell = results.cell(workload, target.name)
    if cell.error is not None:
        return [target.name, "error", workload.unit, "-", "-", "-", "-", "-", ""]
    if not cell.samples:
        return [target.name, "n/a", workload.unit, "-", "-", "-", "-", "-", ""]
    ratio = results.ratio(workload, target.name, results.base_of(workload))
    low, high = cell.spread
    bar = ""
    if verdict := results.verdict(workload, target.name):
        least, aim = results.bar(workload, target.name)
        bar = f"{least:.2f}/{aim:.2f} {verdict}"
    return [target.name, _number(cell.median), workload.unit, "-" if ratio is None else f"{ratio:.2f}",
            f"{_number(low)}..{_number(high)}", _number(cell.machine_us), _number(cell.daemon_us),
            "-" if cell.reads is None else f"{cell.reads:,.0f}", bar]


def table(results):
    rows = [list(HEADINGS)]
    for workload in results.workloads:
        for number, target in enumerate(results.targets):
            rows.append([workload.name if number == 0 else ""] + _row(results, workload, target))
    widths = [max(len(row[i]) for row in rows) for i in range(len(HEADINGS))]
    left = {0, 1, 3, 9}
    lines = ["|".join(row[i].ljust(widths[i]) if i in left else row[i].rjust(widths[i])
                      for i in range(len(row))).rstrip() for row in rows]
    lines.insert(1, "|".join("-" * width for width in widths))
    return "\n".join(lines)


def summary(results):
    """The table compared with the project's bars, in words."""
    lines = []
    for target in (targets.JUDGED, targets.JUDGED_NATIVE):
        verdicts = {workload.name: results.verdict(workload, target) for workload in results.workloads}
        missed = [name for name, verdict in verdicts.items() if verdict == "MISS"]
        judged = sum(verdict is not None for verdict in verdicts.values())
        if judged:
            lines.append(f"{target}: {judged - len(missed)} of {judged} bars reached"
                         + (f"; missed: {', '.join(missed)}" if missed else ""))
    slower = [f"{workload.name} ({', '.join(peers)})" for workload in results.workloads
              if (peers := results.faster_peers(workload))]
    compared = any(results.ratio(workload, targets.JUDGED, peer) is not None
                   for workload in results.workloads for peer in targets.PEERS)
    if compared:
        text = "faster than the other FUSE file systems in every line"
        if slower:
            text = f"not faster than other FUSE file systems in: {', '.join(slower)}"
        lines.append(f"{targets.JUDGED} is {text}")
    for workload in results.workloads:
        for target in results.targets:
            cell = results.cell(workload, target.name)
            if cell.error is not None:
                lines.append(f"error: {workload.name} on {target.name}: {cell.error}")
    return "\n".join(lines)


def write_json(path, results, conditions):
    """conditions: the requested measurements and the machine; any JSON."""
    rows = []
    for workload in results.workloads:
        for target in results.targets:
            cell = results.cell(workload, target.name)
            spread = cell.spread
            base = results.base_of(workload)
            rows.append({
                "workload": workload.name,
                "what": workload.what,
                "target": target.name,
                "unit": workload.unit,
                "median": cell.median,
                "min": spread[0] if spread else None,
                "max": spread[1] if spread else None,
                "base": base,
                "ratio": results.ratio(workload, target.name, base),
                "machine_us": cell.machine_us,
                "daemon_us": cell.daemon_us,
                "reads": cell.reads,
                "bar": results.bar(workload, target.name),
                "verdict": results.verdict(workload, target.name),
                "samples": [dataclasses.asdict(sample) for sample in cell.samples],
                "error": cell.error,
            })
    with open(path, "w", encoding="utf-8") as file:
        json.dump({"conditions": conditions, "rows": rows}, file, indent=2)
        file.write("\n")


def write_samples(path, samples, facts):
    path.write_text(json.dumps({"conditions": facts, "samples": samples}, indent=2) + "\n", encoding="utf-8")
