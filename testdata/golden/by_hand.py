"""Writes by-hand/: headers that NumPy loads but never writes, put together byte by byte. Any Python 3, no NumPy."""

import pathlib
import struct

FOLDER = pathlib.Path(__file__).parent / "by-hand"


def keep(name, content):
    (FOLDER / f"{name}.npy").write_bytes(content)


def preamble(text, version=1, length=None):
    """Magic, version, length and `text` as it is."""
    text = text.encode("utf-8" if version == 3 else "latin-1")
    length = len(text) if length is None else length
    return b"\x93NUMPY" + struct.pack("<BB" + ("H" if version == 1 else "I"), version, 0, length) + text


def padded(text, total, version=1, pad=" "):
    """A header of `total` bytes in all."""
    start = 10 if version == 1 else 12
    return preamble(text + pad * (total - start - len(text) - 1) + "\n", version)


def grown(descr, order, row_shape, rows, total=None):
    """npygrow's own header: the count ends at the first multiple of 16 that leaves it 19 columns."""
    head = "{'descr': %s, 'fortran_order': %s, 'shape': (" % (descr, order == "F")
    tail = ", }"
    others = ", ".join(str(n) for n in row_shape)
    if order == "F" and row_shape:
        head += others + ", "
    shape_end = ")" if order == "F" and row_shape else (", " + others + ")" if row_shape else ",)")
    end = (10 + len(head) + 19 + 15) // 16 * 16
    text = head + str(rows).rjust(end - 10 - len(head)) + shape_end + tail
    total = total or max(128, (10 + len(text) + 1 + 63) // 64 * 64)
    return padded(text, total)


SIX = b"\x01\x00\x02\x00\x03\x00"
TEXT = "{'descr': '<i2', 'fortran_order': False, 'shape': (3,), }"


def spellings():
    """Spellings that other writers use and NumPy loads."""
    for name, text in [
        ("double_quotes", TEXT.replace("'", '"')),
        ("other_key_order", "{'shape': (3,), 'fortran_order': False, 'descr': '<i2'}"),
        ("space_first", TEXT.replace("{", "{ ")),
        ("no_spaces", TEXT.replace(" ", "")),
        ("no_trailing_comma", TEXT.replace(", }", "}")),
        ("blanks_before", "  " + TEXT),
        ("tabs", TEXT.replace(" ", "\t")),
        ("newlines_inside", TEXT.replace(", '", ",\n'")),
        ("left_padded_count", TEXT.replace("(3,", "(        3,")),
        ("unicode_prefix", TEXT.replace("'<i2'", "u'<i2'")),
        ("escapes", TEXT.replace("'<i2'", "'\\x3c\\u0069\\62'")),
        ("right_padded_count", TEXT.replace("(3,", "(3         ,")),
        ("long", TEXT.replace("(3,", "(3L,")),
        ("unsized_order", TEXT.replace("<i2", "i2")),
        ("native_order", TEXT.replace("<i2", "=i2")),
        ("not_applicable_order", TEXT.replace("<i2", "|i2")),
    ]:
        keep("spelling_" + name, padded(text, 128) + SIX)
    for name, descr, data in [("u1_little", "<u1", b"\1\2\3"), ("bool", "?", b"\1\0\1"), ("a5", "a5", b"abcde" * 3)]:
        text = TEXT.replace("<i2", descr)
        keep("descr_" + name, padded(text, 128) + data)
    nested = TEXT.replace("'<i2'", "[('a', [('b', '<i2')])]")
    keep("descr_nested_list", padded(nested, 128) + SIX)
    keep("descr_V2_little", padded(TEXT.replace("<i2", "<V2"), 128) + SIX)


def lengths():
    """Header lengths that NumPy does not write but loads."""
    keep("length_128_newline_padding", padded(TEXT, 128, pad="\n") + SIX)
    keep("length_4096", padded(TEXT, 4096) + SIX)
    keep("length_16_aligned", padded(TEXT, 80) + SIX)
    keep("length_odd", padded(TEXT, 101) + SIX)
    keep("length_no_padding", preamble(TEXT + "\n") + SIX)
    keep("length_no_newline", preamble(TEXT) + SIX)
    keep("length_crlf", preamble(TEXT + "\r\n") + SIX)
    keep("version_2_small", padded(TEXT, 128, 2) + SIX)
    keep("version_3_small", padded(TEXT, 128, 3) + SIX)
    keep("version_3_longest_10000", preamble(TEXT.ljust(9999) + "\n", 3) + SIX)


def own_layout():
    """After this project's own layout, by the words of docs/format.md."""
    keep("npygrow_1d", grown("'<i2'", "C", (), 3) + SIX)
    keep("npygrow_2d", grown("'<i2'", "C", (3,), 1) + SIX)
    keep("npygrow_no_rows", grown("'<f8'", "C", (3,), 0))
    keep("npygrow_fortran", grown("'<i2'", "F", (3,), 1) + SIX)
    keep("npygrow_fortran_1d", grown("'<i2'", "F", (), 3) + SIX)
    keep("npygrow_struct", grown("[('a', '<i2'), ('', '|V1'), ('b', '|u1')]", "C", (), 2) + b"\1\2\3\4" * 2)
    keep("npygrow_length_4224", grown("'<i2'", "C", (), 3, 4224) + SIX)


if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    spellings()
    lengths()
    own_layout()
