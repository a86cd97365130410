"""Small plots as SVG, readable on light and dark pages: dots with their intervals, and one bar of steps."""

import math
import statistics
from html import escape

from lines.held import STALLS

STYLE = """<style>
text{font:11px system-ui,sans-serif;fill:#57606a}.title{font-weight:600;fill:#24292f}.mine{font-weight:600;fill:#bc4c00}
.grid{stroke:#d0d7de;stroke-width:1}.one{stroke:#8c959f;stroke-width:1}
.dot{fill:#57606a;stroke:#57606a}.ours{fill:#bc4c00;stroke:#bc4c00}line.dot,line.ours{stroke-width:2;stroke-linecap:round}
@media(prefers-color-scheme:dark){text{fill:#9ba3ac}.title{fill:#e6edf3}.mine{fill:#ff9d57}.grid{stroke:#30363d}
.one{stroke:#6e7681}.dot{fill:#9ba3ac;stroke:#9ba3ac}.ours{fill:#ff9d57;stroke:#ff9d57}}
</style>"""
ROW, LABELS, PANEL, GAP, TOP = 18, 160, 150, 30, 46


def dots(title, panels):
    """A panel for each heading: name -> (middle, low, high), on one logarithmic scale; the fullest panel names the rows."""
    names = list(max(panels.values(), key=len))
    every = [value for cases in panels.values() for three in cases.values() for value in three if value > 0]
    first, last = math.floor(math.log10(min(every))), math.ceil(math.log10(max(every)))
    width, height = LABELS + len(panels) * (PANEL + GAP), TOP + ROW * len(names) + 24
    out = [f'<text class="title" x="0" y="13">{escape(title)}</text>']
    for row, name in enumerate(names):
        own = ' class="mine"' if is_ours(name) else ""
        out.append(f'<text{own} x="{LABELS - 8}" y="{TOP + ROW * row + 13}" text-anchor="end">{escape(name)}</text>')
    for number, (heading, cases) in enumerate(panels.items()):
        left = LABELS + number * (PANEL + GAP)

        def x(value, left=left):
            share = (math.log10(max(value, 10**first)) - first) / (last - first)
            return round(left + share * PANEL, 1)

        out.append(f'<text class="title" x="{left}" y="{TOP - 12}">{escape(heading)}</text>')
        for power in range(first, last + 1):
            at, kind = x(10**power), "one" if power == 0 else "grid"
            out.append(f'<line class="{kind}" x1="{at}" x2="{at}" y1="{TOP - 4}" y2="{height - 22}"/>')
            if (last - power) % (2 if last - first > 4 else 1) == 0:
                out.append(f'<text x="{at}" y="{height - 8}" text-anchor="middle">{tick(power)}</text>')
        for row, name in enumerate(names):
            if name in cases:
                y, kind = TOP + ROW * row + 9, "ours" if is_ours(name) else "dot"
                middle, low, high = map(x, cases[name])
                out.append(f'<line class="{kind}" x1="{low}" x2="{high}" y1="{y}" y2="{y}"/>')
                out.append(f'<circle class="{kind}" cx="{middle}" cy="{y}" r="3.5"/>')
    return framed(title, width + 10, height, out)


def bars(title, steps):
    """name -> (middle, low, high), from zero, with the numbers beside."""
    label, width, scale = 300, 800, 330 / max(high for _, _, high in steps.values())
    out = [f'<text class="title" x="0" y="13">{escape(title)}</text>']
    for row, (name, (middle, low, high)) in enumerate(steps.items()):
        y = 28 + 20 * row
        out.append(f'<text x="{label - 8}" y="{y + 11}" text-anchor="end">{escape(name)}</text>')
        out.append(f'<rect class="ours" stroke="none" x="{label}" y="{y + 2}" width="{max(middle, 0) * scale:.1f}" height="11" rx="2"/>')
        end = label + max(high, 0) * scale + 8
        out.append(f'<text x="{end:.1f}" y="{y + 11}">{middle:.0f} ns ({low:.0f} to {high:.0f})</text>')
    return framed(title, width, 36 + 20 * len(steps), out)


def framed(title, width, height, out):
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" role="img">'
    return "\n".join([head, f"<title>{escape(title)}</title>", STYLE, *out, "</svg>"]) + "\n"


def is_ours(name):
    return name.startswith("npygrow")


def tick(power):
    return f"{10.0**power:g}" if power < 3 else f"10{'⁰¹²³⁴⁵⁶⁷⁸⁹'[power]}"


def was_held(results):
    """Whether the disk could be stalled there in any way."""
    return any(isinstance(times, dict) for times in results.held.values())


def in_ms(times):
    return {name: (statistics.median(one) / 1e6, min(one) / 1e6, max(one) / 1e6) for name, one in times.items()}


def write(results, folder):
    folder.mkdir(exist_ok=True)
    lines = {line.key: line for line in results.lines}

    def ratios(keys):
        return {heading: {name: lines[key].ratio(name) for name in lines[key].times} for key, heading in keys.items()}

    sizes = {"append-8B": "8 bytes", "append-512B": "512 bytes", "append-16KiB": "16 KiB", "append-16MiB": "16 MiB"}
    layouts = {
        "fortran-16MiB": "Fortran",
        "fortran-from-c-16MiB": "Fortran, from C",
        "c-from-fortran-16MiB": "C, from Fortran",
        "strided-16MiB": "strided",
        "cast-16MiB": "cast",
    }
    mebibytes = {
        heading: {name: (max(1, size / 2**20),) * 3 for name, size in cases.items()}
        for heading, cases in results.memory.items()
    }
    random = {
        "gather-cold": "4,096 rows, disk",
        "gather-cold-32": "32 rows, disk",
        "gather-fresh": "4,096, just opened",
        "gather-touched": "4,096, read before",
    }
    threads = {
        heading: {name: lines[key].ratio(name, to="8 threads of preadv") for name in lines[key].times}
        for key, heading in random.items()
    }
    items = {
        "ragged-open": "open",
        "ragged-open-first": "open, the first item",
        "ragged-gather-cold": "4,096 items, disk",
        "ragged-gather-fresh": "4,096, just opened",
        "ragged-gather-touched": "4,096, read before",
    }
    apart = {
        heading: {name: lines[key].ratio(name, to="np.memmap, both files") for name in lines[key].times}
        for key, heading in items.items()
    }
    pages = {
        "append": dots("Time of one append, as a multiple of a raw write", ratios(sizes)),
        "layouts": dots("Time of an append of 16 MiB, as a multiple of NumPy's conversion and a raw write", ratios(layouts)),
        "memory": dots("Memory over an input of 128 MiB of file bytes, in MiB (left edge: 1 or less)", mebibytes),
        "gather": dots("Time of random rows of 4 KiB, as a multiple of what 8 threads of preadv take", threads),
        "items": dots("Time with items of different length, as a multiple of NumPy's on the two mapped files", apart),
        "small": bars("Where a small append's time goes", {what: three for what, _, three in results.small[0]}),
    }
    stalled = {STALLS[kind]: in_ms(times) for kind, times in results.held.items() if isinstance(times, dict)}
    if was_held(results):
        pages["held"] = dots("The longest append while the disk stalls, in ms: median, least and most", stalled)
    for name, page in pages.items():
        (folder / f"{name}.svg").write_text(page)
