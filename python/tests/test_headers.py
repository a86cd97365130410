"""Headers that NumPy would read otherwise: none that is not in one table, with its reason.

NumPy's own header reader is the oracle, on mutations of every file under testdata, on headers made by a grammar, and on
whatever NumPy's writers write. NPYGROW_HEADERS says how many of each kind (3,000).
"""

import io
import os
import random
import re
import struct
import warnings
from collections import Counter
from math import prod
from pathlib import Path

import npygrow as ng
import numpy as np
import pytest
from numpy.lib import format as npy_format

try:
    from numpy.lib._format_impl import _read_array_header, _write_array_header
except ImportError:  # before NumPy 2.3
    from numpy.lib.format import _read_array_header, _write_array_header

COUNT = int(os.environ.get("NPYGROW_HEADERS", "3000"))
TESTDATA = Path(__file__).parents[2] / "testdata"
LIMIT = 10_000

# The only differences, here and nowhere else; docs/format.md has them in words. Who refuses what the other reads | what it
# is | why | a pattern of the header's text | one of our error. What `npygrow` refuses, no writer of NumPy's ever wrote.
LITERALS = (
    r"""(?<!\w)[bBrRfF]['"]|'''|\"\"\"|['"]\s*['"]|#|\+|-0|\d_|\b0[\dxXoObB]"""  # prefixes, quotes, joined, comments, numbers
    r"""|\\[^nrtx'"uU0-7]|\\[uUx]"""  # escapes
)
DIFFERENCES = [
    ("numpy", "wrapped integers", "open_memmap of NumPy 2 writes them", r"\b(u?int\d*|u?int[cp]|u?long(long)?)\(", ""),
    ("numpy", "Python 2's long integers", "NumPy reads them in versions 1 and 2 alone", r"\dL", ""),
    ("numpy", "a dict set in by blanks", "Python's rule for a line, not the format's", r"^\s*[\r\n\f][ \t\f]", ""),
    ("npygrow", "names of np.dtype's", "'int16', 'i2,i4', 'f', no steps of a unit", "", "NumPy type such as `<f8`"),
    ("npygrow", "a subarray for the whole dtype", "its axes belong in the shape", r"\(", "NumPy type such as '<f8'"),
    ("npygrow", "titles that are no text", "NumPy writes no such name", "", "descr: expected a field"),
    ("npygrow", "a key twice", "Python keeps the last: the file says two things", "", "once, found it twice"),
    ("npygrow", "counts that are none", "negative, 2**63 and more, True", r"-|\d{19}|True", "shape: exp|subarray's shape"),
    ("npygrow", "Python objects", "their data is a pickle", "O", "Python objects"),
    ("npygrow", "past 2**63 bytes or 64 axes", "NumPy refuses it later", "", r"pass(es)? \d+ bytes|at most \d+ axes"),
    ("npygrow", "more of Python's literals", "raw, joined, hexadecimal: nobody writes them", LITERALS, "expected"),
]
# What only some versions of NumPy do.
if tuple(map(int, np.__version__.split(".")[:2])) >= (2, 5):
    DIFFERENCES.append(("numpy", "a5 for S5", "NumPy dropped it in 2.5, old files have it", r"""['"][<>|=]?a\d""", ""))
with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    if np.dtype([("a", "i2", 1)])["a"].shape == ():
        DIFFERENCES.append(("neither", "1 for the axes (1,)", "NumPy 1 takes it for no subarray", r",\s*\(?1\)?,?\s*[)\]]", ""))


def reference(data):
    """What NumPy says: (shape, order, dtype), or the exception."""
    file = io.BytesIO(data)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            version = npy_format.read_magic(file)
            shape, fortran_order, dtype = _read_array_header(file, version, max_header_size=LIMIT)
            hash(dtype), repr(dtype)  # some dtypes that np.dtype makes break here
    except Exception as error:  # SyntaxError, MemoryError, RecursionError: anything is a refusal
        return error
    return shape, "F" if fortran_order else "C", dtype


def ours(path, data):
    path.unlink(missing_ok=True)  # some file systems flush a file that is overwritten
    path.write_bytes(data)
    try:
        report = ng.inspect(path)
    except (ng.NpyError, OSError) as error:
        return error
    return report.shape, report.order, report.dtype


def text_of(data):
    return data[10 if data[6:7] == b"\x01" else 12 :].decode("latin1")


def known(refuser, data, error=""):
    """The row of the table that explains why `refuser` alone refuses."""
    for who, what, _, text, words in DIFFERENCES:
        if who == refuser and re.search(text, text_of(data)) and re.search(words, str(error), re.DOTALL):
            return what
    return None


def judge(path, data, seen):
    """Both read the same, or refuse, or the table says why one of them does."""
    found, expected = ours(path, data), reference(data)
    if isinstance(found, Exception) and isinstance(expected, Exception):
        seen["refused"] += 1
    elif isinstance(found, Exception):
        why = known("npygrow", data, found)
        assert why, f"NumPy reads {expected}, refused: {found}\n{data[:400]!r}"
        seen[why] += 1
    elif isinstance(expected, Exception):
        why = known("numpy", data)
        assert why, f"NumPy refuses what is read as {found}: {expected!r}\n{data[:400]!r}"
        seen[why] += 1
    elif found != expected:
        why = known("neither", data)
        assert why, f"NumPy reads {expected}, found {found}\n{data[:400]!r}"
        seen[why] += 1
    else:
        assert found[2].descr == expected[2].descr and found[2].str == expected[2].str
        seen["agreed"] += 1


def header(text, version=1):
    body = text.encode("utf8" if version == 3 else "latin1", "replace")
    return b"\x93NUMPY" + bytes([version, 0]) + struct.pack("<H" if version == 1 else "<I", len(body)) + body


# Mutations ----------------------------------------------------------------------------------------------------------

TOKENS = re.compile(r"'[^']*'|\"[^\"]*\"|\w+|\s+|.", re.DOTALL)
WORDS = (
    "( ) [ ] { } , : ' \" - + . 0 1 2 3 7 10 00 1_0 0x3 1e3 3.0 3L 2147483648 9223372036854775807 18446744073709551616 True False"
    " None np.int64(3) int(3) b'x' u'x' '<f8' '>i4' '|u1' '<U3' '|S0' '|S5' '|V4' '<V2' '|O' '<M8[ns]' '<m8[25s]' '<M8' '?' 'f2'"
    " '=f8' '<c32' '<f16' '<f12' 'a5' '|b1' '' 'x' 'descr' 'fortran_order' 'shape' \\ \\n \\x41 \\u0416 ü \t \n \r \x0c \x00 #"
).split(" ") + [" ", "  ", ""]


def mutated(text, chance):
    tokens = TOKENS.findall(text)
    for _ in range(chance.randrange(1, 4)):
        at = chance.randrange(len(tokens) + 1)
        what = chance.randrange(6)
        if what == 0:
            tokens[at:at] = [chance.choice(WORDS)]
        elif what == 1 and at < len(tokens):
            tokens[at] = chance.choice(WORDS)
        elif what == 2:
            del tokens[at : at + chance.randrange(1, 3)]
        elif what == 3 and tokens:
            start = chance.randrange(len(tokens))
            tokens[at:at] = tokens[start : start + chance.randrange(1, 8)]
        elif what == 4 and at < len(tokens) and tokens[at]:
            i = chance.randrange(len(tokens[at]))
            tokens[at] = tokens[at][:i] + chr(chance.randrange(256)) + tokens[at][i + 1 :]
        elif tokens:
            other = chance.randrange(len(tokens))
            at = min(at, len(tokens) - 1)
            tokens[at], tokens[other] = tokens[other], tokens[at]
    return "".join(tokens)


def headers_on_disk():
    for file in sorted(TESTDATA.glob("*/**/*.npy")):
        data = file.read_bytes()
        if data[:6] == b"\x93NUMPY" and len(data) > 12 and data[6] in (1, 2, 3):
            start = 10 if data[6] == 1 else 12
            size = int.from_bytes(data[8:start], "little")
            if 0 < size <= 2000:
                yield data[6], data[start : start + size].decode("utf8" if data[6] == 3 else "latin1", "replace")


def test_numpy_reads_the_same_in_mutated_headers(path):
    chance, seen = random.Random(7), Counter()
    seeds = list(headers_on_disk())
    assert len(seeds) > 100
    for version, text in seeds:
        judge(path, header(text, version), seen)
    for _ in range(COUNT):
        version, text = chance.choice(seeds)
        text = mutated(text, chance)
        judge(path, header(text[:20_000], chance.choice([version, 1, 2, 3])), seen)
    print(dict(seen))
    assert seen["agreed"] > COUNT // 20, seen


# A grammar ----------------------------------------------------------------------------------------------------------


def an_int(chance, values=(0, 1, 2, 3, 7, 10, 64, 65, 1000, 2**31 - 1, 2**31, 2**32, 2**62, 2**63 - 1, 2**63, 2**64)):
    n = chance.choice(values[: chance.choice([6] * 8 + [len(values)])])
    return chance.choice([str(n)] * 60 + [f"{n}L", f"-{n}", f"np.int64({n})", f"({n})", f"0{n}", f"{n}.0", f"+{n}", "True"])


def a_string(text, chance):
    quote = chance.choice("''''\"")
    text = text.replace("\\", "\\\\").replace(quote, "\\" + quote)
    if chance.random() < 0.05:
        text = "".join(f"\\x{ord(c):02x}" if ord(c) < 256 and chance.random() < 0.5 else c for c in text)
    return chance.choice([""] * 60 + ["u", "U", "b", "r"]) + quote + text + quote


def a_scalar(chance):
    mark = chance.choice(["<", ">", "|", "=", "", "<", ">"])
    if chance.random() < 0.8:
        return a_string(mark + chance.choice("b1 i1 i2 i4 i8 u1 u8 f2 f4 f8 f16 c8 c32 S0 S7 S U5 V3 M8[ns] m8[25s] M8 ?".split()), chance)
    kind = chance.choice("biufcSUVMmaO?fiuSUV")
    size = chance.choice(["", "0", "1", "2", "3", "4", "8", "08", "12", "16", "24", "32", "100", "2147483647", "536870911", "536870912"])
    unit = ""
    if kind in "Mm":
        size = chance.choice(["8", "8", "8", "8", "4", ""])
        steps = chance.choice(["", "", "1", "25", "0", "2147483647", "2147483648"])
        unit = chance.choice(["", f"[{steps}{chance.choice('Y M W D h m s ms us ns ps fs as generic B'.split())}]"])
    return a_string(mark + kind + size + unit, chance)


def a_space(chance):
    return chance.choice(["", " ", " ", "  ", "\t", "\n ", "\r\n", "\x0c"] if chance.random() < 0.05 else [" "])


def a_sequence(items, chance, brackets="()"):
    comma = "," if len(items) == 1 and brackets == "()" and chance.random() < 0.98 else chance.choice(["", "", ",", ", "])
    return brackets[0] + f",{a_space(chance)}".join(items) + (comma if items else "") + brackets[1]


def a_descr(chance, depth=0):
    if depth > 3 or chance.random() < (0.5 if depth == 0 else 0.85):
        return a_scalar(chance)
    fields = []
    for i in range(chance.randrange(0, 4)):
        name = chance.choice([f"f{i}", f"f{i}", f"f{i}", "f0", "", "é", "}", "a b", "it's", "\u0416"])
        name = a_string(name, chance)
        if chance.random() < 0.15:
            name = a_sequence([a_string(chance.choice([f"t{i}", "", "f0"]), chance), name], chance)
        parts = [name, a_descr(chance, depth + 1)]
        if chance.random() < 0.25:
            axes = [an_int(chance, (0, 1, 2, 3, 2, 3, 64, 2**31)) for _ in range(chance.randrange(0, 4))]
            parts.append(chance.choice([a_sequence(axes, chance), an_int(chance, (0, 1, 2, 3, 2, 3, 64, 2**31))]))
        fields.append(a_sequence(parts, chance, chance.choice(["()"] * 9 + ["[]"])))
    descr = a_sequence(fields, chance, chance.choice(["[]"] * 15 + ["()"]))
    return a_sequence([descr, a_sequence([an_int(chance)], chance)], chance) if chance.random() < 0.05 else descr


def a_header(chance):
    axes = [an_int(chance) for _ in range(chance.choice([0, 1, 1, 2, 2, 3, 4, 33, 64, 65]))]
    entries = [
        ("descr", a_descr(chance)),
        ("fortran_order", chance.choice(["False", "True"] * 20 + ["None", "0", "1", "false"])),
        ("shape", a_sequence(axes, chance, chance.choice(["()"] * 15 + ["[]"]))),
    ]
    if chance.random() < 0.2:
        chance.shuffle(entries)
    if chance.random() < 0.05:
        entries.append(chance.choice([*entries, ("extra", "1")]))
    text = f",{a_space(chance)}".join(f"{a_string(key, chance)}:{a_space(chance)}{value}" for key, value in entries)
    end = chance.choice(["\n", "\n", "\n", "", " ", "\r\n", "\n\n", "\x00", "\t\n"])
    start = chance.choice([""] * 20 + [" ", "\t", "\n", "\n ", "\x0c", "\r"])
    return f"{start}{{{text}{chance.choice(['', ', ', ','])}}}{' ' * chance.randrange(0, 70)}{end}"


def test_numpy_reads_the_same_in_headers_by_grammar(path):
    chance, seen = random.Random(11), Counter()
    for _ in range(COUNT):
        judge(path, header(a_header(chance), chance.choice([1, 1, 2, 3])), seen)
    print(dict(seen))
    assert seen["agreed"] > COUNT // 10, seen


def test_every_difference_is_one(path):
    """A row that no header needs would hide a fault."""
    seen, chance = Counter(), random.Random(5)
    for version, text in headers_on_disk():
        judge(path, header(text, version), seen)
    for _ in range(1000):
        judge(path, header(a_header(chance), chance.choice([1, 3])), seen)
    assert {what for _, what, *_ in DIFFERENCES} <= seen.keys(), seen


# What NumPy's writers write -----------------------------------------------------------------------------------------


def a_dtype(chance, depth=0):
    """Any dtype that NumPy stores without pickle."""
    if depth > 2 or chance.random() < 0.6:
        name = chance.choice(
            "? i1 u1 i2 u4 i8 f2 f4 f8 g F D G S0 S7 U0 U5 V3 M8 M8[ns] M8[25s] m8 m8[7D] m8[as]".split()
        )
        return np.dtype(name).newbyteorder(chance.choice("<>="))
    names = chance.sample(["a", "b", "long name", "it's", "}", "é", "Ж", "f(0)", "\n", "x" * 40], chance.randrange(1, 5))
    fields = []
    for i, name in enumerate(names):
        shape = chance.choice([(), (), (), (2,), (2, 3), (0,), (1,)])
        base = a_dtype(chance, depth + 1)
        shape = () if base.itemsize == 0 else shape  # np.dtype knows no such subarray
        name = (f"title {i}", name) if chance.random() < 0.2 else name
        fields.append((name, base, shape) if shape else (name, base))
    made = np.dtype(fields, align=chance.random() < 0.4)
    if chance.random() < 0.2:
        made = np.dtype({
            "names": list(made.names),
            "formats": [made[name] for name in made.names],
            "offsets": [made.fields[name][1] + 3 for name in made.names],
            "itemsize": made.itemsize + 9,
        })
    return made


def written(dtype, shape, fortran_order, version):
    file = io.BytesIO()
    descr = npy_format.dtype_to_descr(dtype)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        _write_array_header(file, {"descr": descr, "fortran_order": fortran_order, "shape": shape}, version)
    return file.getvalue()


def test_what_numpy_writes_is_accepted(path):
    chance = random.Random(13)
    done = Counter()
    for _ in range(COUNT):
        dtype = a_dtype(chance)
        shape = tuple(chance.choice([0, 1, 2, 3, 1000, 10**12]) for _ in range(chance.choice([0, 1, 1, 2, 3, 32])))
        while dtype.itemsize * prod(n or 1 for n in shape) >= 2**63:
            shape = shape[1:]
        try:
            data = written(dtype, shape, chance.random() < 0.3, chance.choice([None, None, (1, 0), (2, 0), (3, 0)]))
        except (UnicodeEncodeError, ValueError):
            done["NumPy refuses to write it"] += 1
            continue
        found, expected = ours(path, data), reference(data)
        if isinstance(expected, Exception):
            # Void of no bytes and the like: written, and not read.
            done["NumPy cannot read it back"] += 1
            continue
        assert not isinstance(found, Exception), f"{found}\n{data!r}"
        assert found == expected, f"NumPy reads {expected}, found {found}\n{data!r}"
        done["agreed"] += 1
    print(dict(done))
    assert done["agreed"] > COUNT * 0.8, done


IN_THE_WILD = """
'|u1' '<u1' '=f8' '>c16' '|b1' '?' '<f2' '<f16' '<c32' '|S0' '<U12' '|V7' '<M8[ns]' '<m8[25s]' '<M8' '<V2'
""".split() + [
    "[('a', '<i4'), ('', '|V4'), ('b', '<f8', (2, 3))]",
    "[('a', [('b', '|u1'), ('c', '>U2')], (3,)), ('d', '<M8[25s]')]",
    "[(('title', 'name'), '<i2')]",
    "[('}', '<i2'), (')', '<i4')]",
]


@pytest.mark.parametrize("version", [1, 2, 3])
@pytest.mark.parametrize("descr", IN_THE_WILD)
def test_spellings_in_the_wild_are_read_as_numpy_does(path, descr, version):
    for text in (
        f"{{'descr': {descr}, 'fortran_order': False, 'shape': (3, 2), }}",
        f"{{'shape':(3,2),'fortran_order':True,'descr':{descr}}}\n",
        f"{{ 'descr': {descr}, 'shape': (3, 2), 'fortran_order': False}}      \n",
        f'{{"fortran_order": False, "descr": {descr}, "shape": (3, 2)}}',
    ):
        found, expected = ours(path, header(text, version)), reference(header(text, version))
        assert found == expected, f"{text}: NumPy reads {expected}, found {found}"


def test_python_2_and_wrapped_integers_are_read(path):
    for shape in ("(3L, 2L)", "(np.int64(3), np.int64(2))"):
        text = f"{{'descr': '<f8', 'fortran_order': False, 'shape': {shape}, }}"
        assert ours(path, header(text))[0] == (3, 2)


def test_objects_are_refused_though_numpy_knows_their_header(path):
    data = header("{'descr': '|O', 'fortran_order': False, 'shape': (3,), }")
    assert reference(data)[2] == object
    assert isinstance(ours(path, data), ng.FormatError)
