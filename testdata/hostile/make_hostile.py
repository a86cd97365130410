"""Writes the hostile files: truncated, lying, huge, nested, or no .npy at all. Each is a few hundred bytes; what is huge
is so by what the header says.

    python make_hostile.py          (any Python 3, no NumPy) writes *.npy and README.md beside this script

Each file has the kind of answer it deserves: a kind of error, or the health of a file that can be inspected. Two kinds
with a bar between them: either is right, because Python's own literal parser takes the text and a stricter one need not.
"""

import gzip
import io
import pathlib
import pickle
import struct
import zipfile

HERE = pathlib.Path(__file__).parent
FILES = {}
MAGIC = b"\x93NUMPY"
TEXT = "{'descr': '<i2', 'fortran_order': False, 'shape': (3,), }"
SIX = b"\x01\x00\x02\x00\x03\x00"


def file(name, kind, remark, content):
    assert name not in FILES, name
    FILES[name] = (kind, remark, content)


def preamble(text, version=(1, 0), length=None):
    text = text if isinstance(text, bytes) else text.encode("latin-1")
    length = len(text) if length is None else length
    return MAGIC + bytes(version) + struct.pack("<H" if version == (1, 0) else "<I", length) + text


def padded(text, version=(1, 0)):
    """A header padded as NumPy does, 64-aligned and closed by a newline."""
    text = text if isinstance(text, bytes) else text.encode("latin-1")
    start = 10 if version == (1, 0) else 12
    return preamble(text + b" " * (-(start + len(text) + 1) % 64) + b"\n", version)


def shaped(shape, descr="'<i2'", order="False"):
    return f"{{'descr': {descr}, 'fortran_order': {order}, 'shape': {shape}, }}"


def not_npy():
    add = lambda name, remark, content: file("not_" + name, "NotNpy", remark, content)
    add("empty", "0 bytes", b"")
    add("one_byte", "1 byte of no magic", b"x")
    add("zeros", "zero-filled: allocated, never written", bytes(256))
    add("zeros_short", "fewer zeros than a magic has", bytes(5))
    oid = "sha256:4d7a214614ab2935c943f9e0ff69d22eadbb8f32b1258daaa5e2ca24d17e2393"
    lfs = f"version https://git-lfs.github.com/spec/v1\noid {oid}\nsize 12345\n"
    add("lfs_pointer", "git-LFS pointer: the file was never fetched", lfs.encode())
    add("html", "an error page saved under the name", b"<!DOCTYPE html>\n<html><body>404 Not Found</body></html>\n")
    add("html_plain", "the same, no doctype, blanks first", b"\n  <html><head><title>Sign in</title></head></html>\n")
    add("xml", "an object store's error", b'<?xml version="1.0"?><Error><Code>AccessDenied</Code></Error>')
    add("json", "an error as JSON", b'{"error": "not found"}\n')
    add("csv", "text", b"a,b,c\n1,2,3\n")
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as z:
        z.writestr(zipfile.ZipInfo("a.npy", (1980, 1, 1, 0, 0, 0)), padded(TEXT) + SIX)
    add("npz", "an .npz", archive.getvalue())
    add("npz_empty", "an .npz of no members", b"PK\5\6" + bytes(18))
    for protocol in (0, 2, 4):
        add(f"pickle_{protocol}", f"a pickle, protocol {protocol}", pickle.dumps([1.5, "a"], protocol))
    add("gzip", "gzip of an .npy", b"\x1f\x8b\x08" + gzip.compress(padded(TEXT) + SIX, mtime=0)[3:])
    add("hdf5", "HDF5", b"\x89HDF\r\n\x1a\n" + bytes(56))
    add("png", "a picture", b"\x89PNG\r\n\x1a\n" + bytes(56))
    add("utf_8_mangled", "the magic read as latin-1 and written as UTF-8", (padded(TEXT)).decode("latin-1").encode())
    add("utf_8_replaced", "the magic's first byte replaced by U+FFFD", b"\xef\xbf\xbd" + padded(TEXT)[1:] + SIX)
    add("bom_first", "a byte order mark before the magic", b"\xef\xbb\xbf" + padded(TEXT) + SIX)
    add("magic_later", "an .npy that starts at byte 1", b"\n" + padded(TEXT) + SIX)
    add("magic_lower_case", "magic in lower case", b"\x93numpy" + padded(TEXT)[6:] + SIX)


def truncated_headers():
    whole, long = padded(TEXT) + SIX, padded(TEXT, (2, 0)) + SIX
    add = lambda name, kind, remark, content: file("cut_" + name, kind, remark, content)
    add("in_magic_1", "NotNpy|Malformed", "1 byte of the magic", whole[:1])
    add("in_magic_5", "NotNpy|Malformed", "5 bytes of the magic", whole[:5])
    add("after_magic", "Malformed|NotNpy", "the magic only", whole[:6])
    add("in_version", "Malformed|NotNpy", "half a version", whole[:7])
    add("after_version", "Malformed", "magic and version only", whole[:8])
    add("in_length", "Malformed", "half a length field", whole[:9])
    add("after_length", "Malformed", "no byte of the text", whole[:10])
    add("v2_in_length", "Malformed", "half a length field, version 2.0", long[:10])
    add("v2_after_length", "Malformed", "no byte of the text, version 2.0", long[:12])
    add("in_text", "Malformed", "in the middle of the dict", whole[:40])
    add("in_padding", "Malformed", "in the padding: the dict is whole", whole[:100])
    add("before_newline", "Malformed", "one byte short of the header", whole[:127])


def versions():
    for v in [(0, 0), (0, 1), (1, 1), (2, 1), (3, 1), (4, 0), (255, 255)]:
        content = MAGIC + bytes(v) + padded(TEXT)[8:] + SIX
        file("version_%d_%d" % v, "Unsupported|Malformed", "a version that no NumPy wrote", content)


def lengths():
    add = lambda name, kind, remark, content: file("length_" + name, kind, remark, content)
    add("0", "Malformed", "a header of no text", preamble("", length=0) + SIX)
    add("over_the_file", "Malformed", "one byte more than the file holds", preamble(TEXT + "\n", length=len(TEXT) + 2))
    add("65535", "OverLimit|Malformed", "the most that version 1.0 can say", preamble(TEXT, length=65535))
    add("10001_lying", "OverLimit|Malformed", "one over the limit, in a short file", preamble(TEXT, length=10001))
    add("10000_lying", "Malformed", "just within the limit, in a short file", preamble(TEXT, length=10000))
    add("4_gib", "OverLimit", "12 bytes that ask for 4 GiB", preamble("", (2, 0), 2**32 - 1))
    add("4_gib_v3", "OverLimit", "the same in version 3.0", preamble("", (3, 0), 2**32 - 1))
    add("4_gib_with_text", "OverLimit", "4 GiB said of a small good text", preamble(TEXT + "\n", (2, 0), 2**32 - 1) + SIX)
    add("2_gib", "OverLimit", "negative where the length is read as signed", preamble(TEXT, (2, 0), 2**31))
    add("cuts_the_dict", "Malformed", "ends inside the dict", preamble(TEXT + "\n", length=len(TEXT) - 2) + SIX)
    add("cuts_a_string", "Malformed", "ends inside a string", preamble(TEXT + "\n", length=13) + SIX)
    add("eats_data", "Malformed", "reaches into the data", preamble(TEXT + "\n", length=len(TEXT) + 4) + b"\x93\0\1\2")
    add("version_1_read_as_2", "Malformed|OverLimit", "version 2.0 with a 2-byte length", MAGIC + b"\2" + padded(TEXT)[7:] + SIX)


def texts():
    add = lambda name, kind, remark, text: file("text_" + name, kind, remark, padded(text) + SIX)
    add("blank", "Malformed", "nothing but padding", "")
    add("list", "Malformed", "a list", "['<i2', False, (3,)]")
    add("tuple", "Malformed", "a tuple", "('<i2', False, (3,))")
    add("set", "Malformed", "a set", "{'descr'}")
    add("string", "Malformed", "a string", "'<i2'")
    add("empty_dict", "Malformed", "an empty dict", "{}")
    add("json", "Malformed", "JSON", '{"descr": "<i2", "fortran_order": false, "shape": [3]}')
    add("call", "Malformed", "code instead of a literal", "__import__('os').system('true')")
    add("dict_call", "Malformed", "dict(...)", "dict(descr='<i2', fortran_order=False, shape=(3,))")
    add("call_inside", "Malformed", "code as a value", shaped("(len('abc'),)"))
    add("sum_inside", "Malformed", "arithmetic as a value", shaped("(1+2,)"))
    add("comprehension", "Malformed", "a comprehension", shaped("tuple(3 for _ in 'a')"))
    add("unpacking", "Malformed", "unpacking", "{**" + TEXT + "}")
    add("f_string", "Malformed", "an f-string", shaped("(3,)", "f'<i2'"))
    add("raw_string", "Malformed|Clean", "a raw string", shaped("(3,)", "r'<i2'"))
    add("triple_quotes", "Malformed|Clean", "triple quotes", shaped("(3,)", "'''<i2'''"))
    add("implicit_concatenation", "Malformed|Clean", "two strings that Python joins", shaped("(3,)", "'<' 'i2'"))
    add("comment", "Malformed|Clean", "a comment after the dict", TEXT + " # saved by hand")
    add("two_dicts", "Malformed", "two dicts", TEXT + " " + TEXT)
    add("after_the_dict", "Malformed", "words after the dict", TEXT + " and more")
    add("comma_after", "Malformed", "a comma after the dict makes it a tuple", TEXT + ",")
    add("parentheses", "Malformed|Clean", "the dict in parentheses", "(" + TEXT + ")")
    add("nul_padding", "Malformed|Clean", "padded with NUL", TEXT + "\0" * 8)
    add("nul_first", "Malformed", "NUL before the dict", "\0" + TEXT)
    add("nul_inside", "Malformed", "NUL between key and value", TEXT.replace("': ", "':\0", 1))
    add("nul_in_string", "Malformed", "NUL inside the descr", TEXT.replace("<i2", "<i2\0"))
    add("unterminated_string", "Malformed", "no closing quote", TEXT[:14])
    add("newline_in_string", "Malformed", "a line break inside a string", TEXT.replace("<i2", "<\ni2"))
    add("unterminated_dict", "Malformed", "no closing brace", TEXT[:-1])
    add("unterminated_tuple", "Malformed", "no closing parenthesis", TEXT.replace("),", ","))
    add("mismatched", "Malformed", "( closed by ]", TEXT.replace("),", "],"))
    add("missing_colon", "Malformed", "no colon", TEXT.replace("'descr':", "'descr'"))
    add("missing_comma", "Malformed", "no comma between two entries", TEXT.replace("False, ", "False "))
    add("two_commas", "Malformed", "two commas", TEXT.replace("False,", "False,,"))
    add("leading_comma", "Malformed", "a comma first", TEXT.replace("{", "{,"))
    add("bad_escape_hex", "Malformed", "\\x without digits", shaped("(3,)", "'\\xzz'"))
    add("bad_escape_unicode", "Malformed", "past the last code point", shaped("(3,)", "'\\UFFFFFFFF'"))
    add("surrogate", "Malformed|Unsupported", "half a surrogate pair as a name", shaped("(3,)", "[('\\ud800', '<i2')]"))
    add("high_bytes", "Malformed", "no text at all", bytes(range(128, 180)))
    add = lambda name, remark, content: file("text_" + name, "Malformed", remark, content + SIX)
    add("latin_1_in_v3", "latin-1 in version 3.0", padded(shaped("(3,)", "[('\xe9', '<i2')]"), (3, 0)))
    add("bad_utf_8", "version 3.0 with a byte of no UTF-8", padded(shaped("(3,)", "[('\xff', '<i2')]"), (3, 0)))
    add("utf_8_cut", "a UTF-8 sequence cut by the header's end", preamble(TEXT.encode() + b"\xe6\xb0", (3, 0)))


def nesting():
    add = lambda name, kind, remark, text: file("nested_" + name, kind, remark, padded(text) + SIX)
    add("100", "Malformed|OverLimit", "100 lists in one another", shaped("(3,)", "[" * 100 + "]" * 100))
    add("250_unclosed", "Malformed|OverLimit", "250 parentheses, none closed", "(" * 250)
    add("250_dicts", "Malformed|OverLimit", "250 braces, none closed", "{" * 250)
    add("250_in_shape", "Malformed|OverLimit", "a shape 125 deep", shaped("(" * 125 + "3" + ",)" * 125))
    add("minus", "Malformed", "200 minus signs", shaped("(" + "-" * 200 + "3,)"))
    deep = "'<i2'"
    for _ in range(40):
        deep = f"[('a',{deep})]"
    add("structs_40", "OverLimit|Malformed|Clean", "40 structs in one another", shaped("(3,)", deep))
    wide = "[" + "0," * 150 + "]"
    add("wide", "Malformed|OverLimit", "150 numbers for a descr", shaped("(3,)", wide))


def keys():
    add = lambda name, kind, remark, text: file("keys_" + name, kind, remark, padded(text) + SIX)
    descr, order, shape = "'descr': '<i2'", "'fortran_order': False", "'shape': (3,)"
    add("no_descr", "Malformed", "descr is missing", f"{{{order}, {shape}}}")
    add("no_fortran_order", "Malformed", "fortran_order is missing", f"{{{descr}, {shape}}}")
    add("no_shape", "Malformed", "shape is missing", f"{{{descr}, {order}}}")
    add("descr_twice", "Malformed", "descr twice: Python keeps the last", f"{{'descr': '<f8', {descr}, {order}, {shape}}}")
    add("fortran_order_twice", "Malformed", "fortran_order twice", f"{{{descr}, 'fortran_order': True, {order}, {shape}}}")
    add("shape_twice", "Malformed", "shape twice", f"{{{descr}, {order}, 'shape': (9,), {shape}}}")
    add("extra", "Malformed", "a key of another tool", f"{{{descr}, {order}, {shape}, 'unit': 'm'}}")
    add("misspelt", "Malformed", "dtype instead of descr", f"{{'dtype': '<i2', {order}, {shape}}}")
    add("case", "Malformed", "Shape instead of shape", f"{{{descr}, {order}, 'Shape': (3,)}}")
    add("bytes", "Malformed", "a key of bytes", f"{{b{descr}, {order}, {shape}}}")
    add("number", "Malformed", "a number as a key", f"{{0: '<i2', {order}, {shape}}}")
    add("name", "Malformed", "keys without quotes", "{descr: '<i2', fortran_order: False, shape: (3,)}")
    add("list", "Malformed", "a list as a key", f"{{[]: 0, {descr}, {order}, {shape}}}")


def shapes():
    add = lambda name, kind, remark, shape: file("shape_" + name, kind, remark, padded(shaped(shape)) + SIX)
    add("int", "Malformed", "10", "10")
    add("list", "Malformed", "[6]", "[6]")
    add("parentheses", "Malformed", "(6): no tuple", "(6)")
    add("array_inside", "Malformed", "(100, array(100))", "(100, array(100))")
    add("negative", "Malformed", "-1", "(-1,)")
    add("negative_second", "Malformed", "-3 columns", "(2, -3)")
    add("two_negatives", "Malformed", "-1 x -3: their product is 3", "(-1, -3)")
    add("float", "Malformed", "3.0", "(3.0,)")
    add("exponent", "Malformed", "1e3", "(1e3,)")
    add("bool", "Malformed|Truncated|Tail|Clean", "True, which Python counts as 1", "(True,)")
    add("none", "Malformed", "None", "None")
    add("ellipsis", "Malformed", "...", "(...,)")
    add("string", "Malformed", "'(3,)'", "'(3,)'")
    add("tuple_inside", "Malformed", "((3,),)", "((3,),)")
    add("hex", "Malformed|Clean", "0x3", "(0x3,)")
    add("octal", "Malformed|Clean", "0o3", "(0o3,)")
    add("underscore", "Malformed|Truncated", "1_0", "(1_0,)")
    add("leading_zeros", "Malformed", "007: octal in Python 2, an error in 3", "(007,)")
    add("plus", "Malformed|Clean", "+3", "(+3,)")
    add("int_call", "Malformed|Clean", "int(3)", "(int(3),)")
    add("np_float", "Malformed", "np.float64(3.0)", "(np.float64(3.0),)")
    add("np_negative", "Malformed", "np.int64(-3)", "(np.int64(-3),)")
    add("np_open", "Malformed", "np.int64( unclosed", "(np.int64(3,)")
    add("lower_case_l", "Malformed", "3l", "(3l,)")
    add("33d", "Clean", "33 dimensions: over NumPy 1's limit, within 2's", "(" + "1, " * 32 + "3)")
    add("65d", "OverLimit|Malformed", "65 dimensions", "(" + "1, " * 64 + "3)")


def huge():
    add = lambda name, kind, remark, *text: file("huge_" + name, kind, remark, padded(shaped(*text)) + SIX)
    add("2_63", "OverLimit|Malformed", "2^63: over every signed count", f"({2**63},)")
    add("2_64", "OverLimit|Malformed", "2^64: 0 where it wraps", f"({2**64},)")
    add("100_digits", "OverLimit|Malformed", "a hundred digits", "(" + "9" * 100 + ",)")
    add("wraps_to_3", "OverLimit|Malformed", "2^64 + 3: 3 where it wraps", f"({2**64 + 3},)")
    add("product_wraps_to_0", "OverLimit|Malformed", "2^32 x 2^32", f"({2**32}, {2**32})")
    factor = 2**40 + 19
    other = pow(factor, -1, 2**64) * 3 % 2**64
    add("product_wraps_to_3", "OverLimit|Malformed", "two factors whose product wraps to 3", f"({factor}, {other})")
    add("bytes_wrap", "OverLimit|Malformed", "2^62 rows of 4 bytes: 0 bytes where it wraps", f"({2**62},)", "'<i4'")
    add("rows_of_no_columns", "OverLimit|Malformed|Tail", "2^40 x 2^40 x 0", f"({2**40}, {2**40}, 0)")
    add("columns_of_no_rows", "OverLimit|Malformed|Tail", "0 rows of 2^40 x 2^40", f"(0, {2**40}, {2**40})")
    add("zero_size_rows", "Tail", "10^15 rows of no bytes", f"({10**15}, 0)")
    add("S0_rows", "Tail", "10^15 elements of no bytes", f"({10**15},)", "'|S0'")
    add("terabytes", "Truncated", "10^12 rows in 6 bytes", f"({10**12},)")
    add("16_digits", "Truncated|OverLimit", "the most rows that a count may have", f"({10**16 - 1},)")
    add("17_digits", "OverLimit|Truncated", "more rows than a count may have", f"({10**16},)")
    add("itemsize", "OverLimit|Malformed", "elements of 2^31 bytes", "(3,)", f"'|S{2**31}'")
    add("itemsize_wraps", "OverLimit|Malformed", "2^62 code points: 0 bytes where it wraps", "(3,)", f"'<U{2**62}'")
    add("itemsize_digits", "OverLimit|Malformed", "thirty digits", "(3,)", "'|V" + "9" * 30 + "'")
    add("subarray", "OverLimit|Malformed", "a subarray of 2^31 elements", "(3,)", f"[('a', '<i2', ({2**31},))]")
    add("subarray_wraps", "OverLimit|Malformed", "a subarray of 2^32 x 2^32", "(3,)", f"[('a', '<i2', ({2**32}, {2**32}))]")
    thirds = "[" + ", ".join(f"('{name}', '|V{2**30}')" for name in "abc") + "]"
    add("struct_wraps", "OverLimit|Malformed", "three fields of 2^30 bytes", "(3,)", thirds)


def orders():
    for name, value in [("false", "false"), ("string", "'False'"), ("0", "0"), ("none", "None"), ("c", "'C'")]:
        file("order_" + name, "Malformed", f"fortran_order is {value}", padded(shaped("(3,)", order=value)) + SIX)


def descrs():
    add = lambda name, kind, remark, descr: file("descr_" + name, kind, remark, padded(shaped("(3,)", descr)) + SIX)
    wrong, either = "Malformed|Unsupported", "Malformed|Unsupported|Clean"
    add("class_bytes", wrong, "a Python class", "<class 'bytes'>")
    add("class_bytes_text", wrong, "its text", "\"<class 'bytes'>\"")
    add("dtype_call", wrong, "code", "dtype('int16')")
    add("dtype_call_text", wrong, "its text", "\"dtype('int16')\"")
    add("control_22", wrong, "a type number: NumPy takes it for a duration", "'|\x16'")
    add("control_22_escaped", wrong, "the same, escaped", "'|\\x16'")
    add("empty", wrong, "an empty string", "''")
    add("order_only", wrong, "a byte order only", "'<'")
    add("blank_first", wrong, "a blank first", "' <i2'")
    add("blank_after", wrong, "a blank after", "'<i2 '")
    add("newline", wrong, "a line break", "'<i2\\n'")
    add("twice_ordered", wrong, "two byte orders", "'<>i2'")
    add("f3", wrong, "a float of 3 bytes", "'<f3'")
    add("i16", wrong, "an integer of 16 bytes", "'<i16'")
    add("i0", wrong, "an integer of no bytes", "'<i0'")
    add("b2", wrong, "a bool of 2 bytes", "'|b2'")
    add("c4", wrong, "a complex of 4 bytes", "'<c4'")
    add("negative", wrong, "a negative size", "'|S-1'")
    add("unknown", wrong, "a type that is none", "'<y2'")
    add("string_dtype", wrong, "NumPy 2's StringDType, as its own text", "'|T16'")
    add("no_size", either, "no size: NumPy takes 4", "'<i'")
    add("name", either, "a type's name, which np.dtype takes", "'int16'")
    add("list_in_text", either, "np.dtype's own comma text", "'i2,i4'")
    add("superscript", wrong, "a digit that is not ASCII", "'<i\xb2'")
    add("unit_unknown", wrong, "a unit that is none", "'<M8[xs]'")
    add("unit_zero", wrong + "|Truncated", "a multiple of 0, which NumPy takes", "'<M8[0s]'")
    add("unit_negative", wrong, "a negative multiple", "'<M8[-1s]'")
    add("unit_unclosed", wrong, "no closing bracket", "'<M8[ns'")
    add("unit_huge", "Malformed|Unsupported|OverLimit", "a multiple of 20 digits", "'<M8[99999999999999999999s]'")
    add("unit_divided", either, "half a second", "'<M8[s/2]'")
    add("unit_on_float", wrong, "a unit on a float", "'<f8[s]'")
    add("unit_after", wrong, "text after the unit", "'<M8[s]x'")
    add("M4", wrong, "a date of 4 bytes", "'<M4[s]'")
    add("none", wrong, "None", "None")
    add("number", wrong, "a number", "5")
    add("bytes", either, "bytes", "b'<i2'")
    add("dict", wrong, "np.dtype's dict form", "{'names': ['a'], 'formats': ['<i2']}")
    add("tuple", either, "a subarray for the whole dtype", "('<i2', (2,))")
    add("list", wrong, "a list of no pairs", "['<i2']")
    add("no_fields", "Malformed|Unsupported|Tail", "no fields: elements of no bytes", "[]")


def structs():
    add = lambda name, kind, remark, descr: file("struct_" + name, kind, remark, padded(shaped("(3,)", descr)) + SIX)
    wrong = "Malformed|Unsupported"
    add("same_names", wrong, "one name twice", "[('a', '<u1'), ('a', '<u1')]")
    add("same_titles", wrong, "one title twice", "[(('t', 'a'), '<u1'), (('t', 'b'), '<u1')]")
    add("title_is_a_name", wrong, "a title that is another field's name", "[(('b', 'a'), '<u1'), ('b', '<u1')]")
    add("title_is_its_name", wrong, "a title that is its own name", "[(('a', 'a'), '<i2')]")
    add("same_names_nested", wrong, "one name twice, one level down", "[('a', [('b', '<u1'), ('b', '<u1')])]")
    add("no_format", wrong, "a name only", "[('a',)]")
    add("four_parts", wrong, "four parts", "[('a', '<i2', (1,), 9)]")
    add("empty_field", wrong, "an empty tuple", "[()]")
    add("list_field", wrong + "|Clean", "a list for a field", "[['a', '<i2']]")
    add("name_number", wrong, "a number as a name", "[(1, '<i2')]")
    add("name_none", wrong, "None as a name", "[(None, '<i2')]")
    add("name_bytes", wrong + "|Clean", "bytes as a name", "[(b'a', '<i2')]")
    add("name_empty", wrong + "|Clean", "no name, and no padding either", "[('', '<i2')]")
    add("title_alone", wrong, "a title and no name", "[(('t',), '<i2')]")
    add("title_number", wrong + "|Clean", "a number as a title", "[((1, 'a'), '<i2')]")
    add("title_three", wrong, "three names", "[(('t', 'a', 'b'), '<i2')]")
    add("subarray_negative", wrong, "a subarray of -1", "[('a', '<i2', (-1,))]")
    add("subarray_list", wrong + "|Clean", "a list for a subarray", "[('a', '<i2', [1])]")
    add("subarray_number", wrong + "|Clean", "a number for a subarray", "[('a', '<i2', 1)]")
    add("subarray_text", wrong, "text for a subarray", "[('a', '<i2', 'x')]")
    add("only_padding", wrong + "|Clean", "padding and no field", "[('', '|V2')]")
    add("bad_inside", wrong, "a type that is none, in a field", "[('a', '<y2')]")


def objects():
    data = pickle.dumps([1, "a", None], 2)
    add = lambda name, remark, descr: file("object_" + name, "Unsupported", remark, padded(shaped("(3,)", descr)) + data)
    add("plain", "an object array: its data is a pickle", "'|O'")
    add("sized", "the same, sized", "'|O8'")
    add("field", "an object in a field", "[('a', '<i2'), ('b', '|O')]")
    add("nested", "an object two levels down", "[('a', [('b', '|O')])]")
    add("subarray", "objects in a subarray", "[('a', '|O', (2,))]")


def data():
    add = lambda name, kind, remark, shape, data, *text: file("data_" + name, kind, remark, padded(shaped(shape, *text)) + data)
    add("none", "Truncated", "113 rows, 0 bytes", "(113, 7)", b"", "'<f8'")
    add("rows_missing", "Truncated", "5 rows counted, 3 held", "(5,)", SIX)
    add("torn", "Truncated", "3 rows counted, 2 and a half held", "(3,)", SIX[:5])
    add("torn_first", "Truncated", "not one whole row", "(3,)", SIX[:1])
    add("torn_fortran", "Truncated", "a torn column", "(2, 3)", SIX + SIX[:5], "'<i2'", "True")
    add("0d_none", "Truncated|Malformed|NeedsRecovery", "0-d without its element", "()", b"")
    add("0d_torn", "Truncated|Malformed|NeedsRecovery", "half an element", "()", SIX[:1])
    add("0d_tail", "Tail", "0-d and four bytes more", "()", SIX)
    add("tail_rows", "Tail", "one row counted, three held", "(1,)", SIX)
    add("tail_torn", "Tail", "half a row more", "(2,)", SIX[:5])
    add("tail_fortran", "Tail", "one column more", "(2, 1)", SIX + SIX[:2], "'<i2'", "True")
    add("tail_newline", "Tail", "a newline added by an editor", "(3,)", SIX + b"\n")
    add("tail_zeros", "Tail", "64 zero bytes", "(3,)", SIX + bytes(64))
    add("tail_of_no_rows", "Tail", "0 rows counted, three held", "(0,)", SIX)
    add("tail_of_n_by_0", "Tail", "rows of no bytes, then bytes", "(3, 0)", SIX)
    add("tail_of_S0", "Tail", "elements of no bytes, then bytes", "(3,)", SIX, "'|S0'")
    second = padded(TEXT) + SIX
    add("sequence", "Sequence", "two np.save in one file", "(3,)", SIX + second)
    add("sequence_after_no_rows", "Sequence", "the same, the first of no rows", "(0,)", second)
    add("sequence_after_0_size", "Sequence", "the same, the first of rows of no bytes", "(3, 0)", second)
    add("sequence_cut", "Sequence", "the second ends within its version", "(3,)", SIX + second[:7])
    add("magic_half", "Tail", "five bytes of a magic after the rows", "(3,)", SIX + second[:5])
    add("magic_in_a_row", "Tail", "a magic inside the tail, not first", "(1,)", SIX + second)
    add("truncated_sequence", "Truncated|Sequence", "a magic where a row should be", "(9,)", SIX + MAGIC)


def collect():
    groups = [not_npy, truncated_headers, versions, lengths, texts, nesting, keys, shapes, huge, orders, descrs]
    for group in groups + [structs, objects, data]:
        group()
    return FILES


if __name__ == "__main__":
    for old in HERE.glob("*.npy"):
        old.unlink()
    rows = []
    for name, (kind, remark, content) in collect().items():
        assert len(content) <= 1024, (name, len(content))
        (HERE / f"{name}.npy").write_bytes(content)
        rows.append(f"| {name} | {kind.replace('|', ' or ')} | {remark.replace('|', chr(92) + '|')} |")
    readme = HERE / "README.md"
    words = readme.read_text().split("|---|")[0]
    readme.write_text(words + "|---|---|---|\n" + "\n".join(rows) + "\n")
    print(len(FILES), "files")
