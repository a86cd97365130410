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
from lines.gather import SLOWER
from lines.held import CONTENDERS, STALLS
from measure import Line

DOCS = Path(__file__).parent.parent / "docs"
PACKAGES = ["npygrow", "npy-append-array", "h5py", "tables", "zarr", "blosc2", "tensorstore", "mmap-ninja", "pyarrow", "pylance", "numpy"]
MARKS = "<!-- small append: written by make bench -->", "<!-- end of small append -->"


@dataclass
class Results:
    setting: str
    lines: list[Line] = field(default_factory=list)
    memory: dict | None = None
    small: tuple | None = None
    chunks: list[Line] = field(default_factory=list)
    shapes: dict | None = None
    held: dict | None = None


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


SEEN = {
    "room": "survives meanwhile",
    "concat": "survives meanwhile",
    "gather-cold": "read from the disk",
    "gather-cold-32": "read from the disk",
    "ragged-gather-cold": "read from the disk",
}
"""What the last column of a line says, where it is not when readers see the rows."""


def table(line):
    """A row for each contender."""
    seen = (SEEN.get(line.key, "readers see it"),) if any(one.seen for one in line.contenders) else ()
    rows = [("", "time", "ratio", "95 % interval", "a round", *seen)]
    for one in line.contenders:
        ratio, low, high = line.ratio(one.name)
        numbers = ("1", "") if one.name == line.reference else (ratio_text(ratio), f"{ratio_text(low)} to {ratio_text(high)}")
        cells = one.name, duration(line.time(one.name)), *numbers, str(line.counts()[one.name])
        rows.append((*cells, one.seen) if seen else cells)
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


def shapes_table(found):
    """A row for each size of request, a column for each kind, on either mapping."""
    parts, slower = ["### Requests of every shape: npygrow's time as a multiple of np.memmap's"], []
    for mapping, cells in found.items():
        rows = [(f"on a {mapping} mapping", *next(iter(cells.values())))]
        for (row_size, number), kinds in cells.items():
            name = f"{number:,} rows of {size_text(row_size)}"
            rows.append((name, *("{} ({} to {})".format(*map(ratio_text, three)) for three in kinds.values())))
            slower += [f"{name}, {kind}" for kind, three in kinds.items() if mapping == "touched" and three[1] > SLOWER]
        parts.append(markdown(rows))
    parts.append(f"Asked of each on a touched mapping: at most {SLOWER:.2f}: {'missed by ' + '; '.join(slower) if slower else 'met'}.")
    return "\n\n".join(parts) + "\n"


def size_text(size):
    return next(f"{size >> bits} {unit}" for bits, unit in [(20, "MiB"), (10, "KiB"), (0, "bytes")] if size >> bits)


def held_table(found):
    """The longest append of each run, where the disk could be stalled here."""
    rows = [("the disk", *CONTENDERS)]
    for kind, times in found.items():
        if not isinstance(times, str):
            cells = (f"{duration(statistics.median(one))} ({duration(min(one))} to {duration(max(one))})" for one in times.values())
            rows.append((STALLS[kind], *cells))
    cannot = [f"Not measured here: {STALLS[kind]}: {reason}." for kind, reason in found.items() if isinstance(reason, str)]
    title = "### The longest append while the disk stalls: median (least to most) of the runs"
    return "\n\n".join([title, *[markdown(rows)] * (len(rows) > 1), *cannot]) + "\n"


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


def reads(line):
    return any(word in ("concat", "follow", "open", "gather") for word in line.key.split("-"))


def reading_summary(lines):
    rows = [("work", "npygrow's time is", "as fast as npygrow or faster (its time / npygrow's)")]
    for line in lines:
        rows.append((line.work, f"{ratio_text(line.ratio('npygrow')[0])} of {line.reference}", standing(line)))
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
        summary([line for line in results.lines if not reads(line)]),
        reading_summary([line for line in results.lines if reads(line)]),
        "![Appending contiguous rows: each one's time as a multiple of a raw write's](plots/append.svg)",
        "![Appending other layouts: each one's time as a multiple of a conversion and a raw write](plots/layouts.svg)",
        "![Memory over the input](plots/memory.svg)",
        "![Random rows: each one's time as a multiple of what 8 threads of preadv take](plots/gather.svg)",
        "![Items of different length: each one's time as a multiple of NumPy's on the two mapped files](plots/items.svg)",
        *["![The longest append while the disk stalls](plots/held.svg)"] * plots.was_held(results),
        "## Each line",
        *[table(line).strip() for line in results.lines],
        shapes_table(results.shapes).strip(),
        held_table(results.held).strip(),
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
