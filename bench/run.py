"""Times npygrow and its peers side by side, in one run: ratios, not records.

Absolute times say little about another machine, so each figure is a ratio. A round runs every contender of a line once,
on fresh files of one folder, or on the same rows where they read, in an order that changes; what is reported is the median of the rounds' ratios to the
reference, with the 95 % interval of that median from order statistics. A bar is missed only when the whole interval
lies beyond it.

    python bench/run.py [--dir FOLDER] [--only KEY] [--rounds 21] [--quick] [--write]
"""

import argparse
import gc
import itertools
import tempfile
import time
import warnings
from pathlib import Path

import peers
import report
from lines import append, chunks, concat, follow, gather, held, items, memory, ragged, room, small, turns
from measure import QUICK_ROUNDS, ROUNDS, note


def main():
    options = parsed()
    for name, reason in peers.missing.items():
        note(f"\n!!! {name} is NOT compared: {reason}\n")
    warnings.simplefilter("error")  # a warning in a loop would be timed
    gc.disable()
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="npygrow-bench-", dir=options.dir) as folder:
        folder = Path(folder).resolve()
        results = report.Results(report.setting(folder, options.rounds))
        print(f"{results.setting}\n", flush=True)
        for line in all_lines(folder, options):
            note(f"{time.monotonic() - began:4.0f} s  {line.work}")
            line.run(folder, options.rounds)
            results.lines.append(line)
            print(report.table(line), flush=True)
        if options.wants("chunks") and not options.quick:
            note(f"{time.monotonic() - began:4.0f} s  other chunks")
            for line in chunks.lines():
                line.run(folder, options.rounds)
                results.chunks.append(line)
            if results.chunks:
                print(report.chunks_table(results.chunks), flush=True)
        if options.wants("memory") and not options.quick:
            note(f"{time.monotonic() - began:4.0f} s  memory over the input")
            results.memory = memory.measured(folder)
            print(report.memory_table(results.memory), flush=True)
        if options.wants("small"):
            note(f"{time.monotonic() - began:4.0f} s  the small append, step by step")
            results.small = small.measured(folder, max(options.rounds, ROUNDS))
            print(report.small_table(*results.small), flush=True)
        if options.wants("shapes"):
            note(f"{time.monotonic() - began:4.0f} s  requests of every shape")
            size = (gather.QUICK_SIZE if options.quick else gather.SIZE) // 4
            results.shapes = gather.shapes(folder, size, min(options.rounds, QUICK_ROUNDS), options.quick)
            print(report.shapes_table(results.shapes), flush=True)
        if options.wants("held"):
            note(f"{time.monotonic() - began:4.0f} s  held while the disk stalls")
            results.held = held.measured(folder, 1 if options.quick else held.ROUNDS)
            print(report.held_table(results.held), flush=True)
    note(f"{time.monotonic() - began:4.0f} s  done")
    if options.write:
        report.write(results, __doc__.split("\n\n")[1])


def all_lines(folder, options):
    quick = options.quick
    parts = [append.lines(), ragged.lines(), room.lines(), turns.lines()]
    parts += [concat.lines(concat.QUICK_SIZE if quick else concat.SIZE), follow.lines()]
    if any(map(options.wants, gather.KEYS)):  # it makes large files first
        parts.append(gather.lines(folder, gather.QUICK_SIZE if quick else gather.SIZE))
    count, many = (items.QUICK_COUNT, items.QUICK_MANY) if quick else (items.COUNT, items.MANY)
    parts.append(items.lines(folder, count, many, options.wants))
    for line in itertools.chain.from_iterable(parts):
        slow = line.key == "room" or line.key.endswith("-16MiB") and line.key != "append-16MiB"
        if options.wants(line.key) and not (quick and slow):
            yield line


def parsed():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--dir", type=Path, default=Path.cwd(), help="where the files go (default: here)")
    parser.add_argument("--only", default="", help="the lines whose key has this in it: append, 512B, room, gather, ...")
    parser.add_argument("--rounds", type=int, help=f"rounds of each line (default: {ROUNDS}; {QUICK_ROUNDS} with --quick)")
    parser.add_argument("--quick", action="store_true", help="a look in 2 minutes: few rounds, small files; no large layouts, room, chunks, memory")
    parser.add_argument("--write", action="store_true", help="write docs/performance.md, its plots, and the table in docs/design.md")
    options = parser.parse_args()
    options.rounds = options.rounds or (QUICK_ROUNDS if options.quick else ROUNDS)
    if options.write and (options.quick or options.only or options.rounds < ROUNDS):
        parser.error(f"--write keeps whole runs of {ROUNDS} rounds or more: no --quick, no --only")
    if options.rounds < 6:
        parser.error(f"--rounds is {options.rounds}: under 6 there is no 95 % interval")
    options.wants = lambda key: options.only in key
    return options


if __name__ == "__main__":
    main()
