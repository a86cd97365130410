"""Tables for the terminal, and the same in docs/performance.md and docs/design.md."""

import datetime
import os
import platform
import re
import statistics
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import peers
import plots
from measure import Line

DOCS = Path(__file__).parent.parent / "docs"
PACKAGES = ["npygrow", "npy-append-array", "h5py", "tables", "zarr", "blosc2", "tensorstore", "mmap-ninja", "numpy"]
MARKS = "<!-- small append: written by make bench -->", "<!-- end of small append -->"


@dataclass
class Results:
    setting: str
    lines: list[Line] = field(default_factory=list)
    memory: dict | None = None
    small: tuple | None = None
    chunks: list[Line] = field(default_factory=list)
    gather: list = field(default_factory=list)


# --- Where it was measured -----------------------------------------------------------------------------------------


def setting(folder, rounds):
    load = os.getloadavg()[0]
    return (
        f"{datetime.date.today()}; {processor()}, {os.cpu_count()} cores, {platform.system()} {platform.release()} on "
        f"{platform.machine()}, {file_system(folder)}; Python {platform.python_version()}, {', '.join(map(known, PACKAGES))}; "
        f"{rounds} interleaved rounds; load {load:.2f} when it began"
    )


def known(package):
    try:
        return f"{package} {version(package)}"
    except PackageNotFoundError:
        return f"{package} missing"


def processor():
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or "processor unknown"
    return next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), "processor unknown")


def file_system(folder):
    """The type of the file system that holds `folder`, by the longest mount point above it in /proc/mounts."""
    try:
        mounts = [line.split() for line in Path("/proc/mounts").read_text().splitlines()]
    except OSError:
        return "file system unknown"
    # Blanks in a mount point are written as octal escapes; of two mounts on one point the later one is on top.
    points = [(mount[1].replace("\\040", " "), mount[2]) for mount in mounts]
    above = [(len(point), number, kind) for number, (point, kind) in enumerate(points) if folder.is_relative_to(point)]
    return max(above)[2] if above else "file system unknown"


# --- Tables --------------------------------------------------------------------------------------------------------


def markdown(rows):
    """Rows of cells, the first of them the heading, aligned also for those who read the source."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    rows = [rows[0], tuple("-" * width for width in widths), *rows[1:]]
    return "\n".join("| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths)) + " |" for row in rows)


def duration(ns):
    for size, unit in [(1e3, "ns"), (1e6, "us"), (1e9, "ms")]:
        if abs(ns) < size:
            return f"{ns / size * 1e3:.3g} {unit}"
    return f"{ns / 1e9:.3g} s"


def ratio_text(ratio):
    return f"{ratio:.2f}" if ratio < 10 else f"{ratio:,.0f}"


def table(line):
    """A row for each contender."""
    survives = line.key == "room"
    rows = [("", "time", "ratio", "95 % interval", "a round", "survives meanwhile" if survives else "readers see it")]
    for one in line.contenders:
        ratio, low, high = line.ratio(one.name)
        numbers = ("1", "") if one.name == line.reference else (ratio_text(ratio), f"{ratio_text(low)} to {ratio_text(high)}")
        rows.append((one.name, duration(line.time(one.name)), *numbers, str(line.counts()[one.name]), one.seen))
    parts = [f"### {line.work[0].upper()}{line.work[1:]}", markdown(rows), verdict(line)]
    parts += [f"Left out: {name}: {why}." for name, why in line.cannot.items()]
    return "\n\n".join(part for part in parts if part) + "\n"


def verdict(line):
    """Whether npygrow keeps to the bar that it has."""
    if line.bar is None:
        return ""
    _, low, _ = line.ratio("npygrow")
    return f"Asked of npygrow: at most {line.bar:.2f} times {line.reference}: {'missed' if low > line.bar else 'met'}."


def memory_table(found):
    names = list(next(iter(found.values())))
    rows = [("", *found)]
    rows += [(name, *(f"{cases[name] / 2**20:.1f}" for cases in found.values())) for name in names]
    return f"### Memory over an input of 128 MiB of file bytes, in MiB\n\n{markdown(rows)}\n"


def gather_table(works):
    """A row for each kind of request: npygrow's time, and its ratio to each of the others."""
    rows = [("request", "npygrow", "read", "against", "time", "ratio", "95 % interval", "asked")]
    for work in works:
        own = duration(statistics.median(work.times["npygrow"]))
        for name in work.times:
            if name == "npygrow":
                continue
            ratio, low, high = work.ratio(name)
            asked = work.bar if work.bar and (name == "np.memmap") == ("preadv" not in " ".join(work.times)) else None
            verdict = "" if asked is None else f"{asked:.2f}: {'missed' if low > asked else 'met'}"
            read = f"{work.read['npygrow'] / 2**20:.0f} MiB" if work.read else ""
            interval = f"{ratio_text(low)} to {ratio_text(high)}"
            theirs = duration(statistics.median(work.times[name]))
            rows.append((work.name, own, read, name, theirs, ratio_text(ratio), interval, verdict))
    return f"### Random rows\n\n{markdown(rows)}\n"


def chunks_table(lines):
    """Each of those with chunks: its time with other chunks, of its time with the one used here."""
    used, *others = lines[0].times
    rows = [("", *others)]
    for line in lines:
        three = (map(ratio_text, line.ratio(name)) for name in others)
        rows.append((line.work, *("{} ({} to {})".format(*texts) for texts in three)))
    return f"### Other chunks: time as a multiple of the time with {used}\n\n{markdown(rows)}\n"


def small_table(steps, whole):
    rows = [("step", "ns", "95 % interval", "measured as")]
    rows += [(what, f"{mid:.0f}", f"{low:.0f} to {high:.0f}", how) for what, how, (mid, low, high) in steps]
    calls = ", ".join(f"`{name}` {mid:.0f} ns" for name, (mid, _, _) in whole)
    return f"### The small append, step by step\n\n{markdown(rows)}\n\nWhole calls in the same run: {calls}.\n"


# --- The page ------------------------------------------------------------------------------------------------------


def standing(line):
    """Who is ahead of npygrow, and who level with it, by the interval of the paired ratio."""
    ours = next(one.name for one in line.contenders if one.name in ("npygrow", "npygrow, turns"))
    ahead, level = [], []
    for one in line.contenders:
        ratio, low, high = line.ratio(one.name, to=ours)
        if one.name == ours or low > 1:
            continue
        (ahead if high < 1 else level).append(f"{one.name} ({ratio:.2f})")
    words = [f"faster: {', '.join(ahead)}"] * bool(ahead) + [f"level: {', '.join(level)}"] * bool(level)
    return "; ".join(words) or "nobody"


def against_predecessor(line):
    names = [name for name in line.times if name.startswith("npy-append-array")]
    ours = next(name for name in line.times if name in ("npygrow", "npygrow, turns"))
    return ratio_text(line.ratio(names[0], to=ours)[0]) if names else ""


def summary(lines):
    rows = [("work", "npygrow / limit", "npy-append-array / npygrow", "as fast as npygrow or faster (its time / npygrow's)")]
    for line in lines:
        ours = next(name for name in line.times if name in ("npygrow", "npygrow, turns"))
        rows.append((line.work, ratio_text(line.ratio(ours)[0]), against_predecessor(line), standing(line)))
    return markdown(rows)


READING = (Path(__file__).parent / "reading.md").read_text()


def write(results, method):
    """docs/performance.md, its plots, and the step table of docs/design.md."""
    results.setting += f", {os.getloadavg()[0]:.2f} when it ended (its own included)."
    plots.write(results, DOCS / "plots")
    missing = [f"**{name} is not compared**: {reason}" for name, reason in peers.missing.items()]
    parts = [
        "# Performance",
        " ".join(method.split()) + " Made by `make bench ARGS=--write`.",
        results.setting,
        *missing,
        READING.strip(),
        "## All work at a glance",
        summary(results.lines),
        "![Appending contiguous rows: each one's time as a multiple of a raw write's](plots/append.svg)",
        "![Appending other layouts: each one's time as a multiple of a conversion and a raw write](plots/layouts.svg)",
        "![Memory over the input](plots/memory.svg)",
        "## Each line",
        *[table(line).strip() for line in results.lines],
        memory_table(results.memory).strip(),
        chunks_table(results.chunks).strip(),
        "What the small append is made of stands in [design.md](design.md#a-small-append).",
    ]
    (DOCS / "performance.md").write_text("\n\n".join(parts) + "\n")
    design = DOCS / "design.md"
    text = design.read_text()
    steps = small_table(*results.small).split("\n\n", 1)[1].strip()
    body = f"{MARKS[0]}\n\n{results.setting}\n\n![The steps of a small append](plots/small.svg)\n\n{steps}\n\n{MARKS[1]}"
    pattern = re.compile(re.escape(MARKS[0]) + ".*?" + re.escape(MARKS[1]), re.DOTALL)
    assert pattern.search(text), f"{design} has no {MARKS[0]}"
    design.write_text(pattern.sub(lambda _: body, text))
