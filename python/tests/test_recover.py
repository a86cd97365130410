"""Broken files: what is said of them, what `recover` makes of them, what it must leave alone."""

import io
import zipfile
from contextlib import nullcontext

import numpy as np
import npygrow as ng
import pytest
from support import add, header_len, holds, npy, refused, same, says

ROWS = np.arange(1, 16, dtype="<i2").reshape(5, 3)  # rows of 6 bytes, none of them zero


def made_by(maker, path, rows=ROWS):
    if maker == "ours":
        with ng.Appender(path) as file:
            file.append(rows)
    elif maker == "np.save":
        np.save(path, rows)
    else:
        path.write_bytes(npy(rows, pad=300))
    return path.read_bytes()


@pytest.mark.parametrize("zerofill", [False, True])
@pytest.mark.parametrize("maker", ["ours", "np.save", "padded"])
def test_a_file_cut_at_any_byte_of_its_data(path, maker, zerofill):
    whole = made_by(maker, path)
    start = header_len(path)
    for size in range(start, len(whole)):
        path.write_bytes(whole[:size])
        kept, torn = divmod(size - start, 6)
        assert ng.needs_recovery(path)
        report = ng.inspect(path)
        assert (report.rows, report.rows_on_disk, report.file_size) == (5, kept, size)
        says(report.health, "truncated")
        says(report.advice, "recover")
        for on_tail in ("auto", "keep", "drop", "error"):
            with refused(ng.NeedsRecoveryError, path, "5", str(kept), "recover"):
                ng.Appender(path, on_tail=on_tail)
        done = ng.recover(path, zerofill_incomplete=zerofill)
        rows = kept + (zerofill and torn > 0)
        assert (done.rows_before, done.rows, done.lost) == (5, rows, 5 - rows)
        assert (done.cut, done.filled) == ((0, 6 - torn if torn else 0) if zerofill else (torn, 0))
        expected = np.frombuffer((whole[start:size] + bytes(6))[: 6 * rows], "<i2").reshape(rows, 3)
        holds(path, expected)
        assert path.stat().st_size == start + 6 * rows and not ng.needs_recovery(path)
        ng.append(path, ROWS)
        holds(path, expected, ROWS)


@pytest.mark.parametrize("maker", ["ours", "np.save"])
def test_a_file_cut_inside_its_header_is_no_longer_a_file(path, maker):
    whole = made_by(maker, path)
    for size in range(header_len(path)):
        path.write_bytes(whole[:size])
        for verb in (ng.recover, ng.inspect, ng.open):
            with refused(ng.FormatError, path):
                verb(path)
        if size:
            with refused(ng.FormatError, path):
                ng.Appender(path)


@pytest.mark.parametrize("order", ["C", "F"])
def test_both_orders_grow_along_their_axis(path, order):
    given = np.arange(24, dtype="u1").reshape((6, 4) if order == "C" else (4, 6))
    with ng.Appender(path, order=order) as rows:
        rows.append(given)
    path.write_bytes(path.read_bytes()[:-5])
    assert ng.recover(path).rows == 4
    holds(path, given[:4] if order == "C" else given[:, :4])


@pytest.mark.parametrize("zerofill", [False, True])
@pytest.mark.parametrize("choice, rows, from_tail", [("keep", 7, 2), ("drop", 5, 0)])
def test_rows_behind_the_count(path, choice, rows, from_tail, zerofill):
    whole = made_by("ours", path)
    more = ROWS[:1].tobytes() + bytes(6)
    add(path, more + b"torn")
    says(ng.inspect(path).health, "tail")
    assert ng.needs_recovery(path) and ng.inspect(path).rows == 5 and ng.inspect(path).rows_on_disk == 7
    done = ng.recover(path, zerofill_incomplete=zerofill, tail=choice)
    filled = zerofill and choice == "keep"
    assert (done.rows_before, done.rows) == (5, rows + filled)
    assert done.from_tail == from_tail + filled and done.lost == 0
    assert done.zero_rows == (choice == "keep")
    if choice == "keep":
        says(done, "not verified|unverified")
        assert (done.cut, done.filled) == ((0, 2) if zerofill else (4, 0))
    else:
        assert (done.cut, done.filled) == (16, 0)
    expected = np.frombuffer(whole[128:] + more + b"torn\0\0", "<i2").reshape(-1, 3)[: done.rows]
    holds(path, expected)


@pytest.mark.parametrize("tail", [b"x", b"torn!", ROWS[:2].tobytes(), ROWS[:1].tobytes() + b"tor", bytes(600)])
@pytest.mark.parametrize("maker", ["ours", "np.save"])
@pytest.mark.parametrize("on_tail", ["auto", "keep", "drop", "error"])
def test_on_tail(path, maker, tail, on_tail):
    made_by(maker, path)
    add(path, tail)
    count, torn = divmod(len(tail), 6)
    if on_tail == "error" or (on_tail == "auto" and maker == "np.save"):
        with refused(ng.NeedsRecoveryError, path, str(count), str(len(tail)), "recover|on_tail"):
            ng.Appender(path, on_tail=on_tail)
        return
    keep = count if on_tail == "keep" else 0
    dropped = (0, torn) if on_tail == "keep" else (count, len(tail))
    with pytest.warns(UserWarning, match="rows.npy") if any(dropped) else nullcontext():
        rows = ng.Appender(path, on_tail=on_tail)
    assert (rows.dropped.rows, rows.dropped.bytes) == dropped and bool(rows.dropped) == any(dropped)
    assert len(rows) == 5 + keep
    rows.append(ROWS)
    rows.close()
    holds(path, ROWS, np.frombuffer(tail, "<i2", 3 * keep).reshape(keep, 3), ROWS)


def test_a_clean_file_dropped_nothing(path):
    made_by("ours", path)
    with ng.Appender(path) as rows:
        assert not rows.dropped and (rows.dropped.rows, rows.dropped.bytes) == (0, 0)


@pytest.mark.parametrize("maker", ["ours", "np.save"])
def test_recover_of_a_whole_file_changes_nothing(path, maker):
    before = made_by(maker, path)
    done = ng.recover(path)
    assert done and (done.rows_before, done.rows, done.lost, done.cut, done.filled) == (5, 5, 0, 0, 0)
    assert path.read_bytes() == before


def test_a_tail_of_another_tool(path):
    """Forty bytes that some tools keep behind the data: no row of 64 bytes is in them."""
    given = np.ones((3, 8))
    np.save(path, given)
    add(path, b"\1" * 40)
    with refused(ng.NeedsRecoveryError, path, r"\b0\b", "40"):
        ng.Appender(path)
    done = ng.recover(path)
    assert (done.rows, done.from_tail, done.cut) == (3, 0, 40)
    holds(path, given)


@pytest.mark.parametrize("on_tail", ["auto", "keep", "drop", "error"])
@pytest.mark.parametrize("first", ["ours", "np.save"])
def test_a_sequence_is_named_and_left_alone(path, first, on_tail):
    made_by(first, path)
    second = io.BytesIO()
    np.save(second, np.arange(4.0))
    add(path, second.getvalue())
    says(ng.inspect(path).health, "sequence")
    with refused(ng.NpyError, path, "sequence"):
        ng.Appender(path, on_tail=on_tail)
    for tail in ("keep", "drop"):
        with refused(ng.NpyError, path, "sequence"):
            ng.recover(path, tail=tail)


def test_a_promise_of_rows_with_no_data(path):
    path.write_bytes(npy(np.zeros((113, 2), "f4"), pad=40)[: -113 * 8])
    assert ng.inspect(path).rows_on_disk == 0
    done = ng.recover(path)
    assert (done.rows, done.lost) == (0, 113)
    holds(path, np.zeros((0, 2), "f4"))


@pytest.mark.parametrize("tail", [b"", b"12345"])
def test_rows_of_no_bytes(path, tail):
    np.save(path, np.zeros((4, 0)))
    add(path, tail)
    done = ng.recover(path)
    assert (done.rows, done.cut) == (4, len(tail))
    holds(path, np.zeros((4, 0)))


def test_a_broken_file_without_room_is_mended_all_the_same_or_says_what_to_call(path):
    whole = npy(ROWS)
    path.write_bytes(whole[:-7])
    try:
        assert ng.recover(path).rows == 3
        holds(path, ROWS[:3])
    except ng.NotAppendableError as error:
        says(error, "ensure_appendable", "rows.npy")
        assert path.read_bytes() == whole[:-7]


def archive():
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as zip:
        zip.writestr("a.npy", npy(ROWS))
    return file.getvalue()


LOOKS = {
    "zero": bytes(4096),
    "LFS": b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n",
    "HTML": b"<!DOCTYPE html>\n<html><head><title>404 Not Found</title></head></html>\n",
    "npz|zip": archive(),
    "pickle": b"\x80\x04\x95\x1a\x00\x00\x00\x00\x00\x00\x00}\x94.",
    "gzip": b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x03" + bytes(30),
    "HDF5": b"\x89HDF\r\n\x1a\n" + bytes(40),
    "truncated|cut|ends|short": b"\x93NUM",
}


@pytest.mark.parametrize("look", LOOKS)
def test_what_is_no_npy_is_named_by_what_it_looks_like(path, look):
    path.write_bytes(LOOKS[look])
    for verb in (
        ng.recover,
        ng.inspect,
        ng.open,
        ng.Appender,
        ng.ensure_appendable,
        ng.is_appendable,
        ng.needs_recovery,
    ):
        with refused(ng.FormatError, path, look):
            verb(path)


def test_an_empty_file_is_named_as_empty(path):
    path.touch()
    for verb in (ng.recover, ng.inspect, ng.open):
        with refused(ng.FormatError, path, "empty"):
            verb(path)


@pytest.mark.parametrize(
    "verb", [ng.recover, ng.inspect, ng.open, ng.ensure_appendable, ng.is_appendable, ng.needs_recovery]
)
def test_a_missing_file_is_a_file_not_found(path, verb):
    with refused(FileNotFoundError, path) as caught:
        verb(path)
    assert caught.value.errno == 2 and str(caught.value.filename) == str(path)


def test_the_report_prints_well(path):
    made_by("np.save", path)
    path.write_bytes(path.read_bytes()[:-3])
    done = ng.recover(path)
    says(done, "4", "5", "3")
    assert len(str(done).splitlines()) > 1
    with pytest.raises(AttributeError):
        done.rows = 9
    same(np.load(path), ROWS[:4])
