#!/usr/bin/env python3
"""Writes the vectors of drive and head: manifests, pages, histories, heads.

Like sealed.py, whose cryptography it uses, this is made from spec/ and not from the Rust code:

    python3 spec/vectors/drives.py           # writes the files
    python3 spec/vectors/drives.py --check   # fails when a file on disk differs
"""

from sealed import L, Gcm, Key, Raw, be, case, cbor, flip, hkdf, number, padded_len, sealed_len, sha, write

# --- spec/manifest.md and spec/drive.md: objects as they are in JSON, and their encodings ---


def segment(name, k=2, n=3, length=1000):
    ids = [sha(b"chunk", name, be(at, 1)).hex() for at in range(n)]
    holders = [sha(b"holder", name, be(at, 1)).hex() for at in range(n)]
    return {"k": str(k), "n": str(n), "len": str(length), "chunks": ids, "holders": holders}


def reference(name, length, *extents):
    return {"id": sha(b"id", name)[:16].hex(), "key": sha(b"key", name).hex(),
            "commitment": sha(b"commitment", name).hex(), "len": str(length),
            "extents": [",".join(map(str, extent)) for extent in extents]}


def segment_items(it):
    """A segment that stands alone, with its holders."""
    joined = [b"".join(map(bytes.fromhex, it[field])) for field in ("chunks", "holders")]
    return [[int(it["k"]), int(it["n"])], int(it["len"]), *joined]


def segment_id(it):
    return sha(b"commonhold/v1/segment", be(int(it["k"]), 1), be(int(it["n"]), 1), be(int(it["len"]), 4),
               *map(bytes.fromhex, it["chunks"]))


def table_items(table):
    """A table: its holders in the order of first use, then segments that name them by their places."""
    nodes = list(dict.fromkeys(node for it in table for node in it["holders"]))
    places = {node: be(at, 2) for at, node in enumerate(nodes)}
    return [bytes.fromhex("".join(nodes)), [
        [*segment_items(it)[:3], b"".join(places[node] for node in it["holders"])] for it in table]]


def reference_items(it):
    return [*(bytes.fromhex(it[field]) for field in ("id", "key", "commitment")), int(it["len"]),
            [[int(part) for part in extent.split(",")] for extent in it["extents"]]]


def totals_items(it):
    return [int(it[field]) for field in ("entries", "files", "bytes")]


def tree_items(it):
    return [[reference_items(it["page"])] if "page" in it else [], *totals_items(it)]


def content_items(it):
    if "inline" in it:
        return [0, bytes.fromhex(it["inline"])]
    if "direct" in it:
        return [1, reference_items(it["direct"])]
    return [2, reference_items(it["manifest"]), int(it["len"])]


def attributes_items(it):
    return [[pair["key"], pair["value"]] for pair in it["attributes"]]


def history_ref_items(it):
    if "history" not in it:
        return []
    history = it["history"]
    return [reference_items(history["object"]), int(history["versions"]), int(history["bytes"])]


def entry_items(it):
    start = [it["name"], int(it["modified_ms"])]
    if "folder" in it:
        return start + [1, *tree_items(it["folder"]), attributes_items(it)]
    return start + [0, it["executable"] == "yes", int(it["stored_ms"]), content_items(it), attributes_items(it),
                    history_ref_items(it)]


def page_ref_items(it):
    return [it["first"], reference_items(it["page"]), *totals_items(it)]


def page_items(it):
    items = [entry_items(entry) for entry in it["entries"]] if "entries" in it else [
        page_ref_items(page) for page in it["pages"]]
    return [int(it["level"]), table_items(it["table"]), items]


def version_items(it):
    return [int(it["stored_ms"]), int(it["modified_ms"]), it["executable"] == "yes", content_items(it),
            attributes_items(it)]


def history_items(it):
    return [table_items(it["table"]), [version_items(version) for version in it["versions"]]]


def manifest_items(it):
    return [table_items(it["table"]), [reference_items(part) for part in it["parts"]]]


def head_items(it):
    return [table_items(it["table"]), *(tree_items(it[tree]) for tree in ("files", "bin", "shares")),
            int(it["written_ms"]), [[bytes.fromhex(it["device"]), int(it["sequence"])] for it in it["writers"]]]


ITEMS = {"page": page_items, "manifest": manifest_items, "history": history_items, "head": head_items}


def encoding(items):
    return b"\x02" + cbor(items)


def attributes(*pairs):
    return [{"key": key, "value": value} for key, value in pairs]


def inline(name, data=b"", modified=0, executable="no", stored=1, **fields):
    return {"name": name, "modified_ms": str(modified), "executable": executable, "stored_ms": str(stored),
            "inline": data.hex(), "attributes": [], **fields}


def direct(name, it, **fields):
    entry = inline(name, modified=1, **fields)
    del entry["inline"]
    return entry | {"direct": it}


def by_manifest(name, it, length):
    entry = inline(name, modified=1)
    del entry["inline"]
    return entry | {"manifest": it, "len": str(length)}


def tree(page=None, entries=0, files=0, size=0):
    out = {"entries": str(entries), "files": str(files), "bytes": str(size)}
    return {"page": page, **out} if page else out


def folder_entry(name, it, **fields):
    return {"name": name, "modified_ms": "1", "folder": it, "attributes": [], **fields}


def version(stored, **content):
    entry = inline("", stored=stored) | content
    del entry["name"]
    if len(content) and "inline" not in content:
        del entry["inline"]
    return entry


def page_below(first, it, entries=1, files=1, size=0):
    return {"first": first, "page": it, "entries": str(entries), "files": str(files), "bytes": str(size)}


def good_object(of, name, description, value):
    case("drive", f"ok-{of}-{name}", description, "ok", of=of, value=value, encoded=encoding(ITEMS[of](value)).hex(),
         segments=[segment_id(it).hex() for it in value["table"]])


def bad_object(of, name, description, data):
    case("drive", f"bad-{of}-{name}", description, "refused", of=of, encoded=data.hex())


def drive():
    a, b = segment(b"a"), segment(b"b", 1, 1, 70)
    manifest = {"table": [a], "parts": [reference(b"file", 5, (0, 0, 21))]}
    page = {"level": "0", "table": [a, b], "entries": [
        direct("direct", reference(b"1", 5, (0, 0, 21)), attributes=attributes(("content-type", "text/plain"), ("etag", "0" * 32))),
        folder_entry("folder", tree(reference(b"2", 6, (1, 0, 22)), 3, 2**40, 2**64 - 1), attributes=attributes(("a", ""))),
        folder_entry("folder without entries", tree()),
        by_manifest("manifest", reference(b"3", 7, (0, 21, 23)), 2**40),
        inline("\u00fcnline", b"x", history={"object": reference(b"h", 5, (1, 22, 21)), "versions": "3", "bytes": "99"})]}
    inner = {"level": "1", "table": [a, b], "pages": [
        page_below("a", reference(b"p1", 100, (0, 0, sealed_len(100))), 200, 190, 2**63),
        page_below("a ", reference(b"p2", 5, (1, 0, 21)))]}
    history = {"table": [a], "versions": [
        version(2**64 - 1, direct=reference(b"v1", 5, (0, 0, 21)), attributes=attributes(("etag", "x"))),
        version(3, manifest=reference(b"v2", 7, (0, 21, 23)), len=str(2**40)),
        version(2, inline=b"old".hex(), modified_ms="-1", executable="yes"),
        version(0)]}
    head = {"table": [a], "files": tree(reference(b"root", 100, (0, 0, sealed_len(100))), 2, 5, 1000), "bin": tree(),
            "shares": tree(), "written_ms": "1750000000000",
            "writers": [writer(3, 1)]}
    good = {"manifest": manifest, "page": page, "history": history, "head": head}
    for of, name, data in (("manifest", "one", "one part"), ("page", "mixed", "each kind of entry and content"),
                           ("history", "mixed", "versions of each kind, the newest first"), ("head", "one", "a folder of files")):
        good_object(of, name, data, good[of])
    manifests(a, b, manifest)
    pages(a, b, page, inner)
    histories(a, history)
    head_contents(a, b, head)
    good["inner"] = inner
    for kind, value in good.items():
        of = "page" if kind == "inner" else kind
        data = encoding(ITEMS[of](value))
        prefix = "" if kind == of else f"{kind}-"
        bad_object(of, f"{prefix}empty", "no bytes", b"")
        bad_object(of, f"{prefix}version-1", "attack 13: version 1, which had other fields", b"\1" + data[1:])
        bad_object(of, f"{prefix}version-3", "a version that is not known", b"\3" + data[1:])
        bad_object(of, f"{prefix}no-version", "the version byte is missing", data[1:])
        bad_object(of, f"{prefix}cut", "the last byte is missing", data[:-1])
        bad_object(of, f"{prefix}trailing", "a byte too many", data + b"\0")
        bad_object(of, f"{prefix}twice", "two objects", data + data[1:])
        for other in {"manifest", "page", "history", "head"} - {of}:
            bad_object(other, f"is-{kind}", f"attack 16: a valid object of another kind: {kind}", data)


def manifests(a, b, manifest):
    rest = sealed_len(4_000_000) - 2**21
    good_object("manifest", "long", "a full segment of 2 of 6 and one that is not full", {
        "table": [segment(b"l", 2, 6, 2**21), segment(b"m", 2, 6, rest)],
        "parts": [reference(b"long", 4_000_000, (0, 0, 2**21), (1, 0, rest))]})
    good_object("manifest", "cut", "an object cut between segments, in the order of its extents", {
        "table": [a, b], "parts": [reference(b"cut", 60, (1, 69, 1), (0, 0, 74), (1, 0, 1))]})
    good_object("manifest", "empty-file", "a file of no bytes: the extent has the tag alone", {
        "table": [b], "parts": [reference(b"none", 0, (0, 54, 16))]})
    good_object("manifest", "largest-code", "the largest code of ours: 20 of 60", {
        "table": [segment(b"wide", 20, 60, 20 * 2**20)], "parts": [reference(b"w", 1, (0, 20 * 2**20 - 17, 17))]})
    good_object("manifest", "parts", "a file of three parts, one of them empty", {"table": [a, b], "parts": [
        reference(b"p1", 5, (0, 0, 21)), reference(b"p2", 0, (1, 0, 16)), reference(b"p3", 6, (0, 21, 22))]})
    shared = segment(b"s") | {"holders": [a["holders"][2], a["holders"][0], a["holders"][2]]}
    good_object("manifest", "holders", "two segments with holders in common, each of which stands there once", {
        "table": [a, shared], "parts": [reference(b"p", 60, (0, 0, 70), (1, 0, 6))]})

    def with_table(name, description, table, length, *extents):
        value = {"table": table, "parts": [reference(b"file", length, *extents)]}
        bad_object("manifest", name, description, encoding(manifest_items(value)))

    with_table("outside-table", "an extent in a segment that is not there", [a], 5, (1, 0, 21))
    with_table("unused-segment", "a segment that nothing lies in", [a, b], 5, (0, 0, 21))
    with_table("segment-twice", "a segment stands in the table twice", [a, a], 60, (0, 0, 70), (1, 0, 6))
    other_holders = segment(b"a") | {"holders": segment(b"z")["holders"]}
    with_table("segment-twice-holders", "a segment stands there twice, with other holders",
               [a, other_holders], 60, (0, 0, 70), (1, 0, 6))
    with_table("empty-extent", "an extent of no bytes", [a], 5, (0, 0, 0), (0, 0, 21))
    with_table("past-end", "an extent ends a byte past its segment", [b], 5, (0, 50, 21))
    with_table("overflow", "offset and length add up to more than 32 bits", [a], 5, (0, 2**32 - 1, 21))
    with_table("no-extents", "no extents for an empty file", [], 0)
    with_table("too-few-bytes", "extents one byte short of the sealed length", [a], 5, (0, 0, 20))
    with_table("too-many-bytes", "extents one byte above the sealed length", [a], 5, (0, 0, 22))
    with_table("unpadded", "extents for a length without padding", [a], 9, (0, 0, 25))
    with_table("huge-len", "attack 25: a length whose sealed length is above 64 bits", [a], 2**64 - 1, (0, 0, 21))
    with_table("segment-empty", "a segment of no bytes", [segment(b"a", length=0)], 5, (0, 0, 21))
    with_table("segment-too-long", "a segment longer than k MiB", [segment(b"a", length=2 * 2**20 + 1)], 5, (0, 0, 21))
    with_table("code-0", "a code of 0 of 3", [segment(b"a", k=0)], 5, (0, 0, 21))
    with_table("code-65", "a code of 65 chunks", [segment(b"a", n=65)], 5, (0, 0, 21))
    with_table("code-reversed", "a code of 4 of 3", [segment(b"a", k=4)], 5, (0, 0, 21))
    with_table("chunk-missing", "a chunk id too few", [a | {"chunks": a["chunks"][:2]}], 5, (0, 0, 21))
    with_table("holder-surplus", "a holder too many", [a | {"holders": a["holders"] * 2}], 5, (0, 0, 21))

    (nodes, segments), parts = manifest_items(manifest)
    ref, (code, length, chunks, places) = parts[0], segments[0]

    def raw(name, description, table, parts):
        bad_object("manifest", name, description, b"\x02" + b"\x82" + cbor(table) + cbor(parts))

    def raw_table(name, description, nodes, segments):
        raw(name, description, [nodes, segments], parts)

    def raw_places(name, description, nodes, *places):
        raw_table(name, description, nodes, [[code, length, chunks, b"".join(be(at, 2) for at in places)]])

    one, two, three = nodes[:32], nodes[32:64], nodes[64:]
    raw_places("holder-unused", "a holder that holds nothing", nodes + sha(b"another"), 0, 1, 2)
    raw_places("holder-unused-2", "a holder in the middle that holds nothing", nodes, 0, 2, 0)
    raw_places("holder-order", "holders that are not in the order of first use", two + one + three, 1, 0, 2)
    raw_places("holder-twice", "a holder stands there twice", one + two + one, 0, 1, 2)
    raw_places("holder-outside", "a place that is not there", nodes, 0, 1, 3)
    raw_places("holder-outside-2", "attack 25: the highest place", nodes, 0, 1, 65_535)
    raw_places("holders-none", "no holders", b"", 0, 0, 0)
    raw_places("holders-half", "half a holder", nodes + bytes(16), 0, 1, 2)
    raw_places("place-missing", "a place too few", one + two, 0, 1)
    raw_places("place-surplus", "a place too many", nodes, 0, 1, 2, 2)
    raw_table("place-1", "places of one byte", nodes, [[code, length, chunks, b"\0\1\2"]])
    raw_table("segment-5", "a segment of five fields", nodes, [[code, length, chunks, places, 0]])
    raw_table("holders-list", "holders as a list", [one, two, three], segments)
    raw("table-old", "a table as it was in version 1: segments with whole ids", [segment_items(segment(b"a"))], parts)
    raw("table-3", "a table of three parts", [nodes, segments, 0], parts)
    raw("no-parts", "a file of no parts", [b"", []], [])
    raw("part-bare", "a reference in place of a list of parts", [nodes, segments], ref)
    raw("indefinite", "a list of unstated length", [nodes, Raw(b"\x9f" + cbor(segments[0]) + b"\xff")], parts)
    raw("indefinite-parts", "parts of unstated length", [nodes, segments], Raw(b"\x9f" + cbor(ref) + b"\xff"))
    start = b"\x81\x85" + b"".join(map(cbor, ref[:3]))
    table = [nodes, segments]
    raw("long-integer", "an integer that is not in its shortest form", table, Raw(start + b"\x18\x05" + cbor(ref[4])))
    raw("long-length", "a length that is not in its shortest form", table, Raw(b"\x81\x98\x05" + cbor(ref)[1:]))
    raw("tagged", "a tag", table, Raw(b"\x81\xc1" + cbor(ref)))
    raw("float", "a floating-point number", table, Raw(start + b"\xf9\x45\x00" + cbor(ref[4])))
    raw("map", "a map in place of an array", table, Raw(b"\xa0"))
    raw("null", "a null in place of parts", table, Raw(b"\xf6"))
    raw("text-for-bytes", "a text in place of a byte string", table, [["x" * 16, *ref[1:]]])
    raw("negative", "a negative length", table, [[*ref[:3], -5, ref[4]]])
    raw("id-15", "an id of 15 bytes", table, [[ref[0][:15], *ref[1:]]])
    raw("key-33", "a key of 33 bytes", table, [[ref[0], ref[1] + b"\0", *ref[2:]]])
    raw("key-none", "no key", table, [[ref[0], b"", *ref[2:]]])
    raw("reference-6", "a reference of six fields", table, [[*ref, 0]])
    raw("extent-2", "an extent of two fields", table, [[*ref[:4], [[0, 0]]]])
    raw("extent-33-bits", "an offset beyond 32 bits", table, [[*ref[:4], [[0, 2**32, 21]]]])
    raw("declared-table", "attack 25: a table that claims 2^64 - 1 segments", [nodes, Raw(b"\x9b" + b"\xff" * 8)], parts)
    raw("declared-holders", "attack 25: holders that claim 2^63 bytes", Raw(b"\x82\x5b\x80" + bytes(7)), parts)
    raw("declared-parts", "attack 25: 2^40 parts are claimed", table, Raw(b"\x9b" + be(2**40, 8)))
    raw("declared-extents", "attack 25: a list that claims 2^32 extents", table,
        Raw(b"\x81\x85" + b"".join(map(cbor, ref[:4])) + b"\x9b" + be(2**32, 8)))
    raw("declared-bytes", "attack 25: a byte string that claims 2^63 bytes", table, Raw(b"\x81\x85\x5b\x80" + bytes(7)))
    bad_object("manifest", "nested", "attack 25: arrays within arrays, ten thousand deep", b"\x02" + b"\x81" * 10_000)


def pages(a, b, page, inner):
    good_object("page", "inner", "pages below a page", inner)
    good_object("page", "inner-12", "the highest level", inner | {"level": "12"})
    good_object("page", "inline", "files in their entries", {"level": "0", "table": [], "entries": [
        inline("a"), inline("b", b"hello", -1, stored=0), inline("c", b"#!/bin/sh\n", 1_750_000_000_123, "yes", 2**64 - 1),
        inline("d", bytes(4096), -(2**63)), inline("e", b"", 2**63 - 1)]})
    good_object("page", "names", "names in the order of their bytes", {"level": "0", "table": [], "entries": [
        inline(name) for name in sorted(
            ["-", "...", " ", "A", "B", "a", "a ", "a.b", "aa", "con", "e\u0301", "\u00e9", "\u65e5\u672c", "\U0001f4be",
             "x" * 255, "back\\slash"], key=str.encode)]})
    good_object("page", "shared", "two objects in one stretch: nothing forbids it", {"level": "0", "table": [b], "entries": [
        direct("a", reference(b"1", 5, (0, 0, 21))), direct("b", reference(b"1", 5, (0, 0, 21)))]})
    most = [(f"{at:02}" + "k" * 126, "") for at in range(63)] + [("z" * 128, "")]
    assert sum(len(key) for key, _ in most) == 8192
    good_object("page", "attributes-most", "64 attributes of 8,192 bytes, with keys of 128", {
        "level": "0", "table": [], "entries": [inline("a", attributes=attributes(*most))]})
    good_object("page", "attributes", "attributes in the order of the bytes of their keys", {
        "level": "0", "table": [], "entries": [
            inline("a", attributes=attributes(("A", "1"), ("a", ""), ("a b", "\n\0"), ("aa", "x" * 8000), ("\u00e9", "\u65e5")))]})
    good_object("page", "bin", "an entry as it is in the bin", {"level": "0", "table": [], "entries": [
        inline("1750000000000-0a1b2c3d", b"x", attributes=attributes(("path", "/photos/a.jpg")))]})

    def bad(name, description, entries, table=()):
        bad_object("page", name, description, encoding([0, table_items(table), [
            entry if isinstance(entry, (Raw, list)) else entry_items(entry) for entry in entries]]))

    ref = reference_items(reference(b"3", 7, (0, 0, 23)))
    bad("none", "no entries: an empty folder has no page", [])
    bad("unsorted", "entries out of order", [inline("b"), inline("a")])
    bad("duplicate", "attack 24: a name stands there twice", [inline("a", b"1"), inline("a", b"2")])
    bad("duplicate-folder", "attack 24: a file and a folder of one name", [inline("a"), folder_entry("a", tree())])
    bad("order-utf-16", "ordered by UTF-16 and not by bytes", [inline("\U0001f4be"), inline("\uff01")])
    bad("order-case", "ordered without regard to case", [inline("a"), inline("B")])
    bad("inline-4097", "4,097 bytes in an entry", [inline("a", bytes(4097))])
    bad("node-2", "a kind of entry that is not known", [["a", 0, 2, False, 1, [0, b""], [], []]])
    bad("content-3", "a kind of content that is not known", [["a", 0, 0, False, 1, [3, b""], [], []]])
    bad("content-long", "an inline file with a length", [["a", 0, 0, False, 1, [0, b"", 0], [], []]])
    bad("content-short", "a manifest without the file's length", [["a", 0, 0, False, 1, [2, ref], [], []]], [a])
    bad("file-7", "a file without a history field", [["a", 0, 0, False, 1, [0, b""], []]])
    bad("file-5", "a file as it was in version 1", [["a", 0, 0, False, [0, b""]]])
    bad("folder-4", "a folder as it was in version 1", [["a", 0, 1, ref]], [a])
    bad("folder-7", "a folder without attributes", [["a", 0, 1, [], 0, 0, 0]])
    bad("folder-two-pages", "a folder with two pages", [["a", 0, 1, [ref, ref], 2, 0, 0, []]], [a])
    bad("folder-bare", "a page that is not in an array", [["a", 0, 1, ref, 1, 0, 0, []]], [a])
    bad("folder-no-page", "a folder without a page that has entries", [["a", 0, 1, [], 1, 0, 0, []]])
    bad("folder-no-page-bytes", "a folder without a page that has bytes", [["a", 0, 1, [], 0, 0, 1, []]])
    bad("folder-no-entries", "a folder with a page that has no entries", [["a", 0, 1, [ref], 0, 0, 0, []]], [a])
    bad("folder-flag", "a folder with a flag among its numbers", [["a", 0, 1, [ref], True, 0, 0, []]], [a])
    bad("flag-number", "a number in place of a truth value", [["a", 0, 0, 0, 1, [0, b""], [], []]])
    bad("stored-negative", "a version before 1970", [["a", 0, 0, False, -1, [0, b""], [], []]])
    bad("history-2", "a history of two fields", [["a", 0, 0, False, 1, [0, b""], [], [ref, 1]]], [a])
    bad("history-0-versions", "a history of no versions", [["a", 0, 0, False, 1, [0, b""], [], [ref, 0, 0]]], [a])
    bad("history-outside", "a history in a segment that is not there", [["a", 0, 0, False, 1, [0, b""], [], [ref, 1, 0]]])
    bad("name-bytes", "a name of bytes", [[b"a", 0, 0, False, 1, [0, b""], [], []]])
    bad("name-utf-8", "a name that is not UTF-8", [Raw(b"\x88\x61\xff\x00\x00\xf4\x01\x82\x00\x40\x80\x80")])
    bad("time-text", "a time of text", [["a", "0", 0, False, 1, [0, b""], [], []]])
    bad("time-65-bits", "a time beyond 64 bits", [["a", -(2**63) - 1, 0, False, 1, [0, b""], [], []]])
    bad("unused-segment", "a segment that nothing lies in", [inline("a")], [a])
    bad("no-table", "a reference without a table", [direct("a", reference(b"1", 5, (0, 0, 21)))])
    bad_object("page", "declared-entries", "attack 25: 2^40 entries are claimed", b"\x02\x83\0\x82\x40\x80\x9b" + be(2**40, 8))

    def bad_attributes(name, description, *pairs):
        bad(f"attributes-{name}", description, [["a", 0, 0, False, 1, [0, b""], list(map(list, pairs)), []]])

    bad_attributes("unsorted", "attributes out of order", ("b", ""), ("a", ""))
    bad_attributes("twice", "a key stands there twice", ("a", "1"), ("a", "2"))
    bad_attributes("65", "65 attributes", *((f"{at:02}", "") for at in range(65)))
    bad_attributes("key-empty", "an empty key", ("", "x"))
    bad_attributes("key-129", "a key of 129 bytes", ("x" * 129, ""))
    bad_attributes("8193", "8,193 bytes of keys and values", ("a", "x" * 8192))
    bad_attributes("8193-keys", "8,193 bytes, by keys", *most[:-1], ("z" * 128, "x"))
    bad_attributes("bytes", "a value of bytes", ("a", b"x"))
    bad_attributes("3", "an attribute of three fields", ("a", "x", "y"))
    bad("attributes-map", "attributes as a map", [["a", 0, 0, False, 1, [0, b""], Raw(b"\xa1\x61a\x61x"), []]])
    bad("attributes-declared", "attack 25: 2^64 - 1 attributes are claimed",
        [["a", 0, 0, False, 1, [0, b""], Raw(b"\x9b" + b"\xff" * 8), []]])
    bad("attributes-folder", "a folder's attributes out of order", [["a", 0, 1, [], 0, 0, 0, [["b", ""], ["a", ""]]]])

    names = {
        "empty": "", "dot": ".", "dot-dot": "..", "slash": "a/b", "slash-only": "/", "escape": "../x",
        "nul": "a\0", "newline": "a\nb", "escape-code": "\x1b[2J", "delete": "\x7f", "c1": "\u0085",
        "rlo": "exe.\u202egpj", "lre": "\u202a", "lri": "\u2066a", "pdi": "a\u2069", "lrm": "\u200e", "rlm": "a\u200fb",
        "alm": "\u061c", "256": "x" * 256, "256-wide": "\u65e5" * 85 + "xy",
    }
    for name, value in names.items():
        bad(f"name-{name}", "attack 24: a name that is refused", [inline(value)])

    def bad_inner(name, description, below, level=1, table=(a, b)):
        bad_object("page", f"inner-{name}", description, encoding([level, table_items(table), below]))

    first, second = page_items(inner)[2]
    bad_inner("none", "a page of no pages", [], table=())
    bad_inner("unsorted", "pages out of order", [["b", *first[1:]], ["a", *second[1:]]])
    bad_inner("first-twice", "two pages with one lower bound", [first, [first[0], *second[1:]]])
    bad_inner("level-0", "pages at the level of entries", [first, second], level=0)
    bad_inner("level-13", "attack 25: a level above the highest", [first, second], level=13)
    bad_inner("level-text", "a level of text", [first, second], level="1")
    bad_inner("level-256", "a level beyond 8 bits", [first, second], level=257)
    bad_inner("entries", "entries at level 1", page_items(page)[2])
    bad_inner("first-empty", "an empty lower bound", [["", *first[1:]], second])
    bad_inner("first-slash", "attack 24: a lower bound that is no name", [["A/", *first[1:]], second])
    bad_inner("first-bytes", "a lower bound of bytes", [[b"a", *first[1:]], second])
    bad_inner("entries-0", "a page below that has no entries", [first, [*second[:2], 0, 0, 0]])
    bad_inner("short", "a page without its bytes", [first, second[:4]])
    bad_inner("negative", "a negative number of bytes", [first, [*second[:4], -1]])
    bad_inner("unused-segment", "a segment that nothing lies in", [first])
    bad_inner("declared", "attack 25: 2^40 pages are claimed", Raw(b"\x9b" + be(2**40, 8)))


def histories(a, history):
    good_object("history", "one", "one version, in its entry", {"table": [], "versions": [version(1)]})

    def bad(name, description, versions, table=()):
        bad_object("history", name, description, encoding([table_items(table), versions]))

    one = version_items(version(1))
    two = version_items(version(2))
    bad("none", "no versions", [])
    bad("ascending", "the oldest version first", [one, two])
    bad("equal", "two versions of one number", [one, one])
    bad("version-4", "a version without attributes", [one[:4]])
    bad("version-6", "a version with a history", [[*one, []]])
    bad("stored-negative", "a version before 1970", [[-1, *one[1:]]])
    bad("inline-4097", "4,097 bytes in a version", [[*one[:3], [0, bytes(4097)], []]])
    bad("attributes", "a version's attributes out of order", [[*one[:4], [["b", ""], ["a", ""]]]])
    bad("unused-segment", "a segment that nothing lies in", [one], [a])
    bad("outside-table", "an extent in a segment that is not there", history_items(history)[1])
    bad("declared", "attack 25: 2^40 versions are claimed", Raw(b"\x9b" + be(2**40, 8)))


def writer(device, sequence):
    return {"device": be(device, 8).hex(), "sequence": str(sequence)}


def head_contents(a, b, head):
    good_object("head", "empty", "a drive of nothing", {
        "table": [], "files": tree(), "bin": tree(), "shares": tree(), "written_ms": "0", "writers": []})
    good_object("head", "three", "three trees in shared segments", {
        "table": [a, b], "files": tree(reference(b"root", 100, (0, 0, sealed_len(100))), 2, 5, 1000),
        "bin": tree(reference(b"bin", 5, (1, 0, 21)), 1, 1, 9), "shares": tree(reference(b"shares", 5, (0, 500, 21)), 7, 7, 0),
        "written_ms": "1750000000000", "writers": [writer(1, 7), writer(2, 2**64 - 1)]})
    good_object("head", "writers", "as many devices as there may be", head | {
        "writers": [writer(device, device + 1) for device in range(32)]})
    good_object("head", "before-1970", "a clock before 1970", head | {"written_ms": "-62135596800000"})
    table, files, bin_, shares, written, writers = head_items(head)
    empty = [b"", []]

    def bad(name, description, items):
        bad_object("head", name, description, encoding(items))

    bad("time-missing", "no time", [table, files, bin_, shares, writers])
    bad("tree-missing", "two trees", [table, files, bin_, written, writers])
    bad("tree-surplus", "four trees", [table, files, bin_, shares, shares, written, writers])
    bad("old", "a head as it was in version 1", [table, files[0][0], written])
    bad("tree-3", "a tree of three fields", [table, files, bin_[:3], shares, written, writers])
    bad("root-inline", "a root of bytes", [empty, [[b"root"], 1, 1, 1], bin_, shares, 0, writers])
    bad("no-page", "a tree without a page that has entries", [table, files, [[], 1, 0, 0], shares, written, writers])
    bad("no-entries", "a tree with a page that has no entries", [table, [files[0], 0, 0, 0], bin_, shares, written, writers])
    bad("two-pages", "a tree with two pages", [table, [files[0] * 2, *files[1:]], bin_, shares, written, writers])
    bad("unused-segment", "a segment that nothing lies in", [table, bin_, bin_, shares, written, writers])
    bad("outside-table", "a tree in a segment that is not there", [empty, files, bin_, shares, written, writers])

    def devices(name, description, of):
        bad(name, description, [table, files, bin_, shares, written, of])

    bad("writers-missing", "no devices", [table, files, bin_, shares, written])
    devices("writers-order", "devices out of order", [[be(2, 8), 1], [be(1, 8), 1]])
    devices("writers-twice", "a device twice", [[be(1, 8), 1], [be(1, 8), 2]])
    devices("writers-zero", "a device that has written no head", [[be(1, 8), 0]])
    devices("writers-short", "a device of seven bytes", [[be(1, 7), 1]])
    devices("writers-many", "one device too many", [[be(device, 8), 1] for device in range(33)])


# --- spec/drive.md, section 5: heads ---

ROOM = 8192 - 1 - 32 - 8 - 32 - 32 - 16 - 64


class Drive:
    def __init__(self, root):
        self.root = root
        self.key = Key(hkdf(root, b"", b"drive-signing"))
        self.sealing = hkdf(root, b"", b"drive-sealing")

    def sealed(self, sequence, previous, salt, plain, drive=None, context=b"\x01\x01\x04"):
        gcm = Gcm(hkdf(self.sealing, salt, b"head-key"))
        aad = context + (drive or self.key.public) + be(sequence, 8) + previous
        return salt + gcm.seal(bytes(12), aad, plain)

    def record(self, sequence, previous, sealed, kind=2, drive=None, domain=b"drive-head-signature"):
        unsigned = be(kind, 1) + (drive or self.key.public) + be(sequence, 8) + previous + sealed
        return unsigned + self.key.sign(b"commonhold/v1/" + domain + unsigned)


def plain_of(content):
    plain = be(len(content), 4) + content
    return plain + bytes(min(padded_len(len(plain)), ROOM) - len(plain))


def root_of(segments, last_n=6):
    table = [segment(be(at, 1), 2, last_n if at + 1 == segments else 6) for at in range(segments)]
    rest = sealed_len(600) - (segments - 1)
    extents = [(0, 0, rest)] + [(at, 0, 1) for at in range(1, segments)]
    root = tree(reference(b"root", 600, *extents), 3, 3, 100)
    return {"table": table, "files": root, "bin": tree(), "shares": tree(), "written_ms": "1750000000000",
            "writers": [writer(3, 1)]}


def heads():
    topic = "head"
    own, other = Drive(sha(b"owner's root")), Drive(sha(b"other root"))
    content = encoding(head_items(root_of(1)))
    salt, zeros = sha(b"salt"), bytes(32)
    first = own.record(1, zeros, own.sealed(1, zeros, salt, plain_of(content)))

    def good(name, description, sequence, previous, salt, content):
        record = own.record(sequence, previous, own.sealed(sequence, previous, salt, plain_of(content)))
        assert len(record) <= 8192
        case(topic, f"ok-{name}", description, "ok", root=own.root.hex(), sequence=str(sequence),
             previous=previous.hex(), salt=salt.hex(), content=content.hex(), record=record.hex(), hash=sha(record).hex())

    good("first", "the first head", 1, zeros, salt, content)
    good("second", "the head after it", 2, sha(first), sha(b"salt 2"), content)
    good("last", "the highest sequence", 2**64 - 1, sha(b"previous"), salt, content)
    most = max((encoding(head_items(root_of(count, n))) for count in range(16, 20) for n in range(2, 13)),
               key=lambda content: len(content) if 4 + len(content) < ROOM else 0)
    assert padded_len(4 + len(most)) > ROOM > 4 + len(most)
    good("unpadded", "a head that has no room for all of its padding", 3, sha(b"previous"), salt, most)

    def bad(name, description, expect, record, by=own):
        case(topic, f"bad-{name}", description, expect, root=by.root.hex(), record=record.hex())

    bad("empty", "no bytes", "shape", b"")
    bad("short", "a byte shorter than the shortest head", "shape", first[:73] + bytes(51) + first[-64:])
    bad("kind", "the kind of a node record, signed", "shape",
        own.record(1, zeros, first[73:-64], kind=1))
    bad("sequence-0", "sequence 0, signed", "shape", own.record(0, zeros, first[73:-64]))
    bad("too-large", "8,193 bytes", "too-large", first + bytes(8193 - len(first)))
    for name, at in (("drive", 1), ("sequence", 40), ("previous", 41), ("salt", 73), ("sealed", 110),
                     ("tag", len(first) - 65), ("signature-r", len(first) - 64), ("signature-s", len(first) - 33)):
        bad(f"bit-{name}", f"attack 1: a bit is flipped: {name}", "signature", flip(first, at, 1))
    bad("cut", "the last byte is missing", "signature", first[:-1])
    bad("longer", "a byte is appended", "signature", first + b"\0")
    s = (number(first[-32:]) + L).to_bytes(32, "little")
    bad("malleable", "the group order is added to S", "signature", first[:-32] + s)
    bad("domain", "signed under the name of another kind of message", "signature",
        own.record(1, zeros, first[73:-64], domain=b"drive-head"))
    bad("unsigned-domain", "signed under no name", "signature", first[:-64] + own.key.sign(first[:-64]))
    bad("party", "signed by another drive's key", "signature", other.record(1, zeros, first[73:-64], drive=own.key.public))

    bad("other-drive", "a good head of another drive", "sealed", first, by=other)
    bad("taken-over", "attack 2: the sealed part of this drive under another drive's name", "sealed",
        other.record(1, zeros, first[73:-64]), by=own)
    bad("taken-over-2", "attack 2: the same, opened by the drive that it names", "sealed",
        other.record(1, zeros, first[73:-64]), by=other)
    bad("replayed", "attack 11: an old sealed part under a higher sequence", "sealed", own.record(2, zeros, first[73:-64]))
    bad("re-parented", "attack 11: a sealed part after another head", "sealed",
        own.record(1, sha(b"previous"), first[73:-64]))

    def sealed(name, description, plain, **context):
        bad(name, description, "sealed", own.record(1, zeros, own.sealed(1, zeros, salt, plain, **context)))

    sealed("version", "attack 13: another version in the context", plain_of(content), context=b"\x02\x01\x04")
    sealed("suite", "attack 13: another suite in the context", plain_of(content), context=b"\x01\x00\x04")
    sealed("object-kind", "attack 16: sealed as a folder", plain_of(content), context=b"\x01\x01\x03")
    sealed("padding", "padding that is not zeros", plain_of(content)[:-1] + b"\1")
    sealed("unpadded", "no padding", be(len(content), 4) + content)
    sealed("more-padding", "more padding than there should be", plain_of(content) + b"\0")
    sealed("length", "a length beyond the end", be(2**32 - 1, 4) + plain_of(content)[4:])
    sealed("length-0", "no content", bytes(4))
    sealed("content", "content that is no head content", plain_of(encoding([[], []])))
    sealed("content-trailing", "a byte after the content", plain_of(content + b"\0"))


def main():
    drive()
    heads()
    write(("drive", "head"))


if __name__ == "__main__":
    main()
