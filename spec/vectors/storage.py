#!/usr/bin/env python3
"""Writes the vectors of chunk-tree, inclusion, consistency, tile, inventory, audit and erasure.

This is a second implementation of those formats, made from spec/ with Python's standard library
alone, so that the vectors do not merely repeat what the Rust code says. Run it from anywhere:

    python3 spec/vectors/storage.py           # writes the files
    python3 spec/vectors/storage.py --check   # fails when a file on disk differs
"""

import hashlib
import json
import pathlib
import sys

HERE = pathlib.Path(__file__).resolve().parent
LEAF = 1024
CHUNK_MAX = 1 << 20
HOLE = bytes(32)
FILES = {}


def case(topic, name, description, expect, **fields):
    FILES[f"{topic}/{name}.json"] = {"description": description, "expect": expect, **fields}


def sha(*parts):
    return hashlib.sha256(b"".join(parts)).digest()


def be(value, size):
    return value.to_bytes(size, "big")


# --- The tree of RFC 6962, as its text defines it: split at the largest power of two below n ---


def leaf_hash(data):
    return sha(b"\x00", data)


def node_hash(left, right):
    return sha(b"\x01", left, right)


def split(count):
    at = 1
    while at * 2 < count:
        at *= 2
    return at


def root(leaves):
    if not leaves:
        return sha()
    if len(leaves) == 1:
        return leaves[0]
    at = split(len(leaves))
    return node_hash(root(leaves[:at]), root(leaves[at:]))


def path(leaves, index):
    if len(leaves) == 1:
        return []
    at = split(len(leaves))
    if index < at:
        return path(leaves[:at], index) + [root(leaves[at:])]
    return path(leaves[at:], index - at) + [root(leaves[:at])]


def leaves_of(data):
    return [data[at : at + LEAF] for at in range(0, len(data), LEAF)]


def chunk_id(data):
    return root([leaf_hash(leaf) for leaf in leaves_of(data)])


def pattern(length):
    """Leaf number (4 bytes), then the place in the leaf modulo 256: no two leaves are equal."""
    leaves = -(-length // LEAF)
    body = bytes(at % 256 for at in range(4, LEAF))
    return b"".join(be(leaf, 4) + body for leaf in range(leaves))[:length]


def chunk_tree():
    topic = "chunk-tree"
    for length, what in [
        (1, "one byte"),
        (1023, "one leaf, a byte short"),
        (1024, "one whole leaf: the id is its leaf hash"),
        (1025, "a second leaf of one byte"),
        (2048, "two whole leaves"),
        (3 * 1024, "three leaves: the third moves up once"),
        (5 * 1024 + 1, "six leaves, the last of one byte"),
        (7 * 1024, "seven leaves"),
        (300 * 1024 + 17, "301 leaves"),
        (CHUNK_MAX - 1, "1,024 leaves, the last a byte short"),
        (CHUNK_MAX, "the largest chunk"),
    ]:
        case(topic, f"ok-{length}", f"{what} ({length} bytes)", "ok",
             pattern_len=str(length), id=chunk_id(pattern(length)).hex())
    case(topic, "ok-literal", "bytes given as they are", "ok",
         bytes=b"commonhold".hex(), id=leaf_hash(b"commonhold").hex())

    three = [leaf_hash(leaf) for leaf in leaves_of(pattern(3072))]

    def wrong(name, description, claimed, length=3072):
        case(topic, f"bad-{name}", description, "wrong-id", pattern_len=str(length), id=claimed.hex())

    wrong("duplicated-last", "the lone leaf was paired with itself",
          node_hash(node_hash(three[0], three[1]), node_hash(three[2], three[2])))
    wrong("no-prefixes", "leaves and nodes were hashed without their prefix bytes",
          sha(sha(sha(pattern(3072)[:1024]), sha(pattern(3072)[1024:2048])),
              sha(pattern(3072)[2048:])))
    wrong("reordered", "leaves 0 and 1 have changed places",
          node_hash(node_hash(three[1], three[0]), three[2]))
    wrong("split-in-the-middle", "the tree was split at 1 of 3 leaves",
          node_hash(three[0], node_hash(three[1], three[2])))
    wrong("padded-last", "the last leaf was filled up with zero bytes",
          chunk_id(pattern(1500) + bytes(548)), 1500)
    wrong("flat-hash", "the id is the SHA-256 of the whole chunk", sha(pattern(3072)))
    case(topic, "bad-empty", "no bytes are no chunk", "not-a-chunk",
         bytes="", id=sha().hex())
    case(topic, "bad-too-long", "a byte more than 1 MiB", "not-a-chunk",
         pattern_len=str(CHUNK_MAX + 1), id=chunk_id(pattern(CHUNK_MAX + 1)).hex())


def inclusion():
    topic = "inclusion"

    def add(name, description, expect, top, size, index, leaf, hashes):
        case(topic, name, description, expect, root=top.hex(), size=str(size),
             index=str(index), leaf=leaf.hex(), path=[h.hex() for h in hashes])

    def tree(size):
        leaves = [leaf_hash(be(n, 8)) for n in range(size)]
        return leaves, root(leaves)

    for size, index in [(1, 0), (2, 0), (2, 1), (3, 2), (5, 4), (6, 5), (7, 0), (7, 3), (7, 6),
                        (8, 5), (100, 99), (255, 254), (300, 0), (300, 256), (300, 299)]:
        leaves, top = tree(size)
        add(f"ok-{index}-of-{size}", f"leaf {index} of {size}", "ok",
            top, size, index, leaves[index], path(leaves, index))

    leaves, top = tree(7)
    good = path(leaves, 3)
    other, other_top = tree(8)

    def bad(name, description, expect, **change):
        fields = {"top": top, "size": 7, "index": 3, "leaf": leaves[3], "hashes": good, **change}
        add(f"bad-{name}", description, expect, **fields)

    bad("index", "the path of leaf 3 for index 2", "root", index=2)
    bad("index-is-size", "index 7 in a tree of 7", "out-of-range", index=7)
    bad("index-huge", "an index that would wrap around", "out-of-range", index=3 + (1 << 63))
    bad("size-0", "no leaf is in an empty tree", "out-of-range",
        size=0, index=0, top=sha(), hashes=[])
    bad("size-too-small", "leaf 3 of 4 would have two hashes", "length", size=4)
    add("ok-6-of-7-as-3-of-4", "leaf 6 of 7 has the path of leaf 3 of 4: a path alone does not "
        "fix the size, which must come from something signed", "ok", top, 4, 3, leaves[6],
        path(leaves, 6))
    bad("size-too-large", "a tree of 9 would have one hash more", "length", size=9)
    bad("size-1", "sold as the only leaf", "length", size=1, index=0)
    bad("path-empty", "no path", "length", hashes=[])
    bad("path-short", "the last hash is missing", "length", hashes=good[:-1])
    bad("path-long", "a surplus hash at the end", "length", hashes=good + [leaves[0]])
    bad("path-long-front", "a surplus hash at the beginning", "length", hashes=[leaves[0]] + good)
    bad("path-reordered", "the first two hashes have changed places", "root",
        hashes=[good[1], good[0], good[2]])
    bad("path-duplicate", "the first hash stands twice", "root",
        hashes=[good[0], good[0], good[2]])
    bad("path-flipped", "one bit of the second hash differs", "root",
        hashes=[good[0], bytes([good[1][0] ^ 1]) + good[1][1:], good[2]])
    bad("leaf", "another leaf", "root", leaf=leaves[2])
    bad("root", "the root of the tree with one leaf more", "root", top=other_top)
    bad("node-as-leaf", "the parent of leaves 2 and 3 sold as a leaf", "length",
        index=1, leaf=node_hash(leaves[2], leaves[3]), hashes=good[1:])
    five, five_top = tree(5)
    bad("rs-merkle-out-of-range", "rs_merkle 1.5 accepts leaf 4 of 5 as leaf 1 of 1",
        "out-of-range", top=five_top, size=1, index=1, leaf=five[4], hashes=path(five, 4))
    bad("rs-merkle-odd-index", "rs_merkle 1.5 accepts leaf 4 of 5 as leaf 7 of 1",
        "out-of-range", top=five_top, size=1, index=7, leaf=five[4], hashes=path(five, 4))
    bad("rs-merkle-surplus", "rs_merkle 1.5 ignores hashes beyond the path", "length",
        top=other_top, size=8, index=2, leaf=other[2], hashes=path(other, 2) + [other[0]] * 2)

    # One fault in each, for leaves on the left, in the middle and at the edge of trees of several shapes.
    for size, index in [(1, 0), (7, 3), (8, 0), (6, 5), (300, 299)]:
        leaves, top = tree(size)
        good = path(leaves, index)
        faults = [(f"root-{name}", f"{what} as the root", {"top": value})
                  for name, what, value in [("random", "some hash", sha(b"some hash")),
                                            ("empty", "the root of nothing", sha()), ("zeros", "zeros", bytes(32))]]
        faults += [(f"leaf-{name}", f"{what} as the leaf", {"leaf": value})
                   for name, what, value in [("random", "some hash", sha(b"some hash")), ("zeros", "zeros", bytes(32)),
                                             ("empty", "the hash of an empty leaf", leaf_hash(b""))]]
        faults += [(f"index-{value}", "another index", {"index": value})
                   for value in sorted({index - 1, index + 1, index ^ 2, size}) if value >= 0]
        faults += [(f"size-{value}", "another size", {"size": value})
                   for value in sorted({0, size // 2, size - 1, size + 1, size * 2} - {size})]
        for name, what, surplus in [("empty-root", "the root of nothing", sha()), ("root", "the root", top),
                                    ("leaf", "the leaf", leaves[index]), ("zeros", "zeros", bytes(32))]:
            faults += [(f"{name}-behind", f"{what} behind the path", {"hashes": good + [surplus]}),
                       (f"{name}-in-front", f"{what} before the path", {"hashes": [surplus] + good})]
        for at in range(len(good)):
            flipped = good[at][:31] + bytes([good[at][31] ^ 1])
            faults += [(f"flipped-{at}", f"one bit of hash {at} differs", {"hashes": good[:at] + [flipped] + good[at + 1:]}),
                       (f"removed-{at}", f"hash {at} is missing", {"hashes": good[:at] + good[at + 1:]}),
                       (f"twice-{at}", f"hash {at} stands twice", {"hashes": good[:at + 1] + good[at:]})]
        if len(good) > 1:
            faults += [("swapped", "the last two hashes have changed places",
                        {"hashes": good[:-2] + [good[-1], good[-2]]}),
                       ("emptied", "no path", {"hashes": []})]
        for name, what, change in faults:
            fields = {"top": top, "size": size, "index": index, "leaf": leaves[index], "hashes": good, **change}
            found = climb(fields["top"], fields["size"], fields["index"], fields["leaf"], fields["hashes"])
            # A path alone does not fix the size (see ok-6-of-7-as-3-of-4).
            assert found != "ok" or name.startswith("size-"), (size, index, name)
            verdict = "ok" if found == "ok" else "bad"
            add(f"{verdict}-{index}-of-{size}-{name}", f"leaf {index} of {size}: {what}", found, **fields)


def climb(top, size, index, leaf, hashes):
    """What a verifier has to say: from the top down, as RFC 6962 defines PATH."""
    if index >= size:
        return "out-of-range"

    def needed(at, count):
        if count == 1:
            return 0
        middle = split(count)
        return 1 + (needed(at, middle) if at < middle else needed(at - middle, count - middle))

    def up(at, count, rest):
        if count == 1:
            return leaf
        middle = split(count)
        if at < middle:
            return node_hash(up(at, middle, rest[:-1]), rest[-1])
        return node_hash(rest[-1], up(at - middle, count - middle, rest[:-1]))

    if len(hashes) != needed(index, size):
        return "length"
    return "ok" if up(index, size, list(hashes)) == top else "root"


# --- Inventory ---


def entry(offset, length, chunk):
    return {"offset": offset, "len": length, "chunk": chunk}


def entry_bytes(e):
    return be(e["offset"], 8) + be(e["len"], 4) + (e["chunk"] or HOLE)


def entry_leaves(entries):
    return [leaf_hash(entry_bytes(e)) for e in entries]


def lay_out(chunks):
    """(length, id or None) pairs, laid end to end."""
    entries, offset = [], 0
    for length, chunk in chunks:
        entries.append(entry(offset, length, chunk))
        offset += length
    return entries


def span_of(entries):
    return sum(e["len"] for e in entries)


def entries_json(entries):
    return [{"offset": str(e["offset"]), "len": str(e["len"]),
             "chunk": e["chunk"].hex() if e["chunk"] else None} for e in entries]


def inventory():
    topic = "inventory"

    def ident(n):
        return sha(be(n, 4))

    def ok(name, description, entries):
        held = [e for e in entries if e["chunk"]]
        case(topic, f"ok-{name}", description, "ok", entries=entries_json(entries),
             leaves=[entry_bytes(e).hex() for e in entries],
             root=root(entry_leaves(entries)).hex(), span=str(span_of(entries)),
             held_bytes=str(span_of(held)), held_chunks=str(len(held)))

    def bad(name, description, expect, entries):
        case(topic, f"bad-{name}", description, expect, entries=entries)

    ok("empty", "no entries: the root of the empty tree", [])
    ok("one", "one chunk of one byte", lay_out([(1, ident(1))]))
    ok("three", "three chunks of different lengths",
       lay_out([(100, ident(1)), (CHUNK_MAX, ident(2)), (64, ident(3))]))
    ok("hole", "the second of three chunks was removed",
       lay_out([(100, ident(1)), (CHUNK_MAX, None), (64, ident(3))]))
    ok("only-holes", "everything was removed; the span stays", lay_out([(5, None), (7, None)]))
    ok("same-twice", "the same chunk at two entries counts twice",
       lay_out([(64, ident(1)), (64, ident(1))]))
    ok("eleven", "eleven entries, every third a hole",
       lay_out([(64 * (n + 1), None if n % 3 == 2 else ident(n)) for n in range(11)]))

    one = {"offset": "0", "len": "10", "chunk": ident(1).hex()}
    bad("first-offset", "the first entry must begin at 0", "gap", [{**one, "offset": "1"}])
    bad("gap", "a byte belongs to no entry", "gap", [one, {**one, "offset": "11"}])
    bad("overlap", "a byte belongs to two entries", "gap", [one, {**one, "offset": "9"}])
    bad("reordered", "two entries have changed places", "gap",
        [{**one, "offset": "10"}, one])
    bad("duplicate", "the same entry twice", "gap", [one, one])
    bad("length-0", "a chunk has at least one byte", "chunk-length", [{**one, "len": "0"}])
    bad("length-too-long", "a chunk has at most 1 MiB", "chunk-length",
        [{**one, "len": str(CHUNK_MAX + 1)}])
    bad("zero-id", "32 zero bytes stand for a hole and are not an id", "chunk-id",
        [{**one, "chunk": HOLE.hex()}])


# --- Audit ---

SAMPLES = 64


def seed_of(c):
    beacon = b"\x00" if c["beacon"] is None else b"\x01" + c["beacon"]
    return sha(b"commonhold/v1/audit-seed", c["contract"], c["inventory_root"],
               be(c["revision"], 8), be(c["epoch"], 8), c["nonce"], beacon)


def positions_of(c):
    if c["span"] == 0:
        return []
    seed, found = seed_of(c), []
    for part in range(SAMPLES):
        low, high = part * c["span"] // SAMPLES, (part + 1) * c["span"] // SAMPLES
        if low == high:
            found.append(min(low, c["span"] - 1))
        else:
            draw = sha(b"commonhold/v1/audit-position", seed, be(part, 4))[:16]
            found.append(low + int.from_bytes(draw, "big") % (high - low))
    return found


def cbor_head(major, value):
    for size, info in [(1, 24), (2, 25), (4, 26), (8, 27)]:
        if value < 24:
            return bytes([major << 5 | value])
        if value < 1 << 8 * size:
            return bytes([major << 5 | info]) + be(value, size)
    raise ValueError(value)


def cbor(value):
    if value is None:
        return b"\xf6"
    if isinstance(value, int):
        return cbor_head(0, value)
    if isinstance(value, bytes):
        return cbor_head(2, len(value)) + value
    return cbor_head(4, len(value)) + b"".join(cbor(item) for item in value)


def challenge_cbor(c):
    fields = [c["contract"], c["revision"], c["inventory_root"], c["entries"], c["span"],
              c["epoch"], c["nonce"]]
    return fields if c["beacon"] is None else fields + [c["beacon"]]


def proof_cbor(samples):
    return [[[s["index"],
              [s["entry"]["offset"], s["entry"]["len"], s["entry"]["chunk"]],
              b"".join(s["path"]), s["shown"]] for s in samples]]


HOLE_SHOWN, LOST_SHOWN = [0, []], [2, []]


def leaf_shown(data, hashes):
    return [1, [data, b"".join(hashes)]]


def prove(c, entries, chunks):
    hashes, samples = entry_leaves(entries), []
    for position in positions_of(c):
        index = next(i for i, e in enumerate(entries)
                     if e["offset"] <= position < e["offset"] + e["len"])
        e = entries[index]
        shown = HOLE_SHOWN
        if e["chunk"]:
            leaves = leaves_of(chunks[e["chunk"]])
            at = (position - e["offset"]) // LEAF
            shown = leaf_shown(leaves[at], path([leaf_hash(leaf) for leaf in leaves], at))
        samples.append({"index": index, "entry": dict(e), "path": path(hashes, index),
                        "shown": shown})
    return samples


def challenge_json(c):
    return {"contract": c["contract"].hex(), "revision": str(c["revision"]),
            "inventory_root": c["inventory_root"].hex(), "entries": str(c["entries"]),
            "span": str(c["span"]), "epoch": str(c["epoch"]), "nonce": c["nonce"].hex(),
            "beacon": c["beacon"].hex() if c["beacon"] else None}


def challenge_for(entries, **change):
    return {"contract": sha(b"contract"), "revision": 3, "entries": len(entries),
            "inventory_root": root(entry_leaves(entries)), "span": span_of(entries), "epoch": 9,
            "nonce": sha(b"nonce"), "beacon": None, **change}


def audit():
    topic = "audit"
    base = challenge_for([])
    for name, description, change in [
        ("empty", "a span of 0 draws nothing", {}),
        ("span-1", "one byte is drawn 64 times", {"span": 1}),
        ("span-63", "one part of 64 is empty", {"span": 63}),
        ("span-64", "one byte in each part", {"span": 64}),
        ("span-65", "one part has two bytes", {"span": 65}),
        ("gib", "a span of 1 GiB", {"span": 1 << 30}),
        ("huge", "the largest span; span x 64 needs more than 64 bits", {"span": (1 << 64) - 1}),
        ("beacon", "with a beacon value", {"span": 1 << 30, "beacon": sha(b"beacon")}),
        ("beacon-zeros", "32 zero bytes differ from no beacon",
         {"span": 1 << 30, "beacon": bytes(32)}),
        ("revision", "another revision draws other positions", {"span": 1 << 30, "revision": 4}),
        ("epoch", "another epoch draws other positions", {"span": 1 << 30, "epoch": 10}),
    ]:
        c = {**base, **change}
        case(topic, f"positions-{name}", description, "positions", challenge=challenge_json(c),
             challenge_cbor=cbor(challenge_cbor(c)).hex(), seed=seed_of(c).hex(),
             commitment=sha(b"commonhold/v1/audit-nonce", c["contract"], be(c["epoch"], 8),
                            c["nonce"]).hex(),
             positions=[str(p) for p in positions_of(c)])

    # Small chunks, so that the files stay small: 11 entries, of which 2 and 7 are holes.
    small = Audited([19 + n for n in range(11)], holes=(2, 7))
    hole = next(i for i, s in enumerate(small.honest) if s["shown"] == HOLE_SHOWN)
    held = next(i for i, s in enumerate(small.honest) if s["entry"]["len"] == 29)
    # One chunk of two leaves among chunks of one.
    deep = Audited([1030] + [128] * 40, holes=())
    _, (leaf, leaf_path) = deep.honest[0]["shown"]

    def at(place, **change):
        def apply(samples):
            samples[place].update(change)
        return apply

    def entry_at(place, **change):
        def apply(samples):
            samples[place]["entry"].update(change)
        return apply

    def swap(samples):
        samples[3], samples[60] = samples[60], samples[3]

    def duplicate(samples):
        samples[60] = samples[3]

    small.add("ok-small", "an honest proof with holes", "verified")
    deep.add("ok-two-leaves", "an honest proof with a chunk of two leaves", "verified")
    for name, description, of, place, shown in [
        ("said", "the provider says that a chunk is lost", small, held, LOST_SHOWN),
        ("empty-leaf", "a leaf without bytes", small, held, leaf_shown(b"", [])),
        ("flipped", "one bit of a leaf differs", deep, 0,
         leaf_shown(bytes([leaf[0] ^ 1]) + leaf[1:], [leaf_path])),
        ("short", "a leaf is a byte short", deep, 0, leaf_shown(leaf[:-1], [leaf_path])),
        ("no-path", "a leaf of a chunk with two leaves comes without a path", deep, 0,
         leaf_shown(leaf, [])),
        ("surplus-hash", "a chunk path has a hash too many", deep, 0,
         leaf_shown(leaf, [leaf_path, leaf_path])),
        ("node-as-leaf", "the 64 bytes below the chunk id sold as its only leaf", deep, 0,
         leaf_shown(leaf_hash(leaf) + leaf_path, [])),
    ]:
        of.add(f"lost-{name}", description, "verified", at(place, shown=shown), lost=place)

    for name, description, expect, change in [
        ("index", "the entry is said to stand elsewhere", "inventory",
         at(20, index=small.honest[20]["index"] - 1)),
        ("index-range", "an index outside the inventory", "inventory", at(20, index=11)),
        ("entry-id", "an entry with another chunk", "inventory",
         entry_at(20, chunk=sha(b"another"))),
        ("entry-hole", "a chunk turned into a hole", "inventory",
         lambda s: (entry_at(held, chunk=None)(s), at(held, shown=HOLE_SHOWN)(s))),
        ("entry-length", "an entry made a byte longer", "inventory",
         entry_at(20, len=small.honest[20]["entry"]["len"] + 1)),
        ("path-surplus", "an inventory path with a hash too many", "inventory",
         at(20, path=small.honest[20]["path"] + [bytes(32)])),
        ("path-short", "an inventory path with a hash too few", "inventory",
         at(20, path=small.honest[20]["path"][:-1])),
        ("path-empty", "no inventory path", "inventory", at(20, path=[])),
        ("path-reordered", "the hashes of an inventory path in reverse", "inventory",
         at(20, path=small.honest[20]["path"][::-1])),
        ("reordered", "two samples have changed places", "inventory", swap),
        ("duplicate", "one sample stands in the place of another", "inventory", duplicate),
        ("count-63", "a sample is missing", "count", lambda s: s.pop()),
        ("count-0", "no samples", "count", lambda s: s.clear()),
        ("count-65", "a sample too many is not even decoded", "malformed",
         lambda s: s.append(s[-1])),
        ("shape-hole", "a held chunk shown as a hole", "shape", at(held, shown=HOLE_SHOWN)),
        ("shape-leaf", "a leaf shown for a hole", "shape",
         at(hole, shown=small.honest[held]["shown"])),
        ("shape-lost", "a hole said to be lost", "shape", at(hole, shown=LOST_SHOWN)),
        ("leaf-too-long", "a leaf of 1,025 bytes is not even decoded", "malformed",
         at(held, shown=leaf_shown(bytes(1025), []))),
        ("entry-zero-id", "an entry whose chunk id is 32 zero bytes is not even decoded",
         "malformed", entry_at(hole, chunk=HOLE)),
    ]:
        small.add(f"bad-{name}", description, expect, change)
    for name, description, over in [
        ("root", "the inventory root of another revision",
         {"inventory_root": sha(b"another root")}),
        ("size", "an inventory with another number of entries", {"entries": 40}),
        ("replay-nonce", "the proof of another nonce", {"nonce": sha(b"later")}),
        ("replay-epoch", "the proof of another epoch", {"epoch": 10}),
    ]:
        small.add(f"bad-{name}", description, "inventory", **over)


class Audited:
    """An inventory with its chunks, a challenge, and the honest proof, to be changed."""

    def __init__(self, lengths, holes):
        data = [sha(be(n, 4))[:8] + pattern(length)[8:] for n, length in enumerate(lengths)]
        self.entries = lay_out([(len(d), None if n in holes else chunk_id(d))
                                for n, d in enumerate(data)])
        self.challenge = challenge_for(self.entries)
        self.honest = prove(self.challenge, self.entries, {chunk_id(d): d for d in data})

    def add(self, name, description, expect, change=lambda samples: None, lost=None, **over):
        challenge = {**self.challenge, **over}
        samples = [dict(s, entry=dict(s["entry"])) for s in self.honest]
        change(samples)
        proof, fields = proof_cbor(samples), {}
        if expect != "malformed":
            fields["evidence"] = sha(b"commonhold/v1/audit-evidence",
                                     cbor([challenge_cbor(challenge), proof])).hex()
        if expect == "verified":
            holes = sum(s["shown"] == HOLE_SHOWN for s in samples)
            chunks = [] if lost is None else [samples[lost]["entry"]["chunk"].hex()]
            fields.update(leaves=str(SAMPLES - holes - len(chunks)), holes=str(holes), lost=chunks)
        case("audit", name, description, expect, challenge=challenge_json(challenge),
             proof=cbor(proof).hex(), **fields)


# --- Erasure coding ---

CANTOR = [0x0001, 0xACCA, 0x3C0E, 0x163E, 0xC582, 0xED2E, 0x914C, 0x4012,
          0x6C98, 0x10D8, 0x6A72, 0xB900, 0xFDB8, 0xFB34, 0xFF38, 0x991E]


def to_field(symbol):
    value = 0
    for bit, basis in enumerate(CANTOR):
        if symbol >> bit & 1:
            value ^= basis
    return value


FIELD = [to_field(symbol) for symbol in range(1 << 16)]
SYMBOL = [0] * (1 << 16)
for _symbol, _value in enumerate(FIELD):
    SYMBOL[_value] = _symbol
EXP, LOG = [0] * (1 << 17), [0] * (1 << 16)
_power = 1
for _at in range(65535):
    EXP[_at] = EXP[_at + 65535] = _power
    LOG[_power] = _at
    _power <<= 1
    if _power >> 16:
        _power ^= 0x1002D


def mul(a, b):
    """The product of two symbols."""
    if a == 0 or b == 0:
        return 0
    return SYMBOL[EXP[LOG[FIELD[a]] + LOG[FIELD[b]]]]


def div(a, b):
    return 0 if a == 0 else SYMBOL[EXP[LOG[FIELD[a]] - LOG[FIELD[b]] + 65535]]


def weights(points, target):
    """What each point contributes at `target` to the polynomial through all of them."""
    found = []
    for point in points:
        weight = 1
        for other in points:
            if other != point:
                weight = mul(weight, div(target ^ other, point ^ other))
        found.append(weight)
    return found


def pow2(count):
    size = 1
    while size < count:
        size *= 2
    return size


def symbols(chunk):
    found = []
    for block in range(0, len(chunk), 64):
        found += [chunk[block + at] | chunk[block + 32 + at] << 8 for at in range(32)]
    return found


def unsymbols(values):
    chunk = bytearray()
    for block in range(0, len(values), 32):
        part = values[block : block + 32]
        chunk += bytes(v & 255 for v in part) + bytes(v >> 8 for v in part)
    return bytes(chunk)


def encode(k, n, segment):
    length = -(-(-(-len(segment) // k)) // 64) * 64
    data = [segment[i * length : (i + 1) * length].ljust(length, b"\0") for i in range(k)]
    count = n - k
    if count == 0 or k == 1:
        return data + data[:1] * count
    columns = [symbols(chunk) for chunk in data]
    if pow2(count) > pow2(k):
        width, first, places = pow2(k), 0, [pow2(k) + j for j in range(count)]
    else:
        width, first, places = pow2(count), pow2(count), list(range(count))
    parity = []
    for place in places:
        total = [0] * (length // 2)
        for block in range(0, k, width):
            factors = weights([first + block + at for at in range(width)], place)
            for at in range(width):
                if block + at < k:
                    for where, value in enumerate(columns[block + at]):
                        total[where] ^= mul(factors[at], value)
        parity.append(unsymbols(total))
    return data + parity


def erasure():
    topic = "erasure"
    for k, n, length in [(2, 6, 1), (2, 6, 128), (2, 6, 200), (3, 5, 1000), (5, 8, 321),
                         (10, 30, 640), (20, 60, 1281), (20, 25, 1300), (33, 64, 2112),
                         (7, 8, 449), (1, 3, 100), (4, 4, 256), (1, 1, 64)]:
        segment = b"".join(sha(be(at, 4)) for at in range(-(-length // 32)))[:length]
        chunks = encode(k, n, segment)
        case(topic, f"ok-{k}-of-{n}-{length}", f"{length} bytes, {k} of {n}", "ok", k=str(k),
             n=str(n), segment=segment.hex(), chunk_len=str(len(chunks[0])),
             chunks=[chunk.hex() for chunk in chunks])

    for k, n in [(0, 1), (3, 2), (1, 65), (65, 65)]:
        case(topic, f"bad-bounds-{k}-of-{n}", f"{k} of {n} is not a code", "bounds",
             k=str(k), n=str(n), segment_len="64", given=[])
    a, b, c, _ = encode(2, 4, pattern(100))

    def bad(name, description, expect, given, length=100):
        case(topic, f"bad-{name}", description, expect, k="2", n="4", segment_len=str(length),
             given=[{"index": str(i), "bytes": chunk.hex()} for i, chunk in given])

    bad("segment-empty", "a segment of no bytes", "segment-length", [(0, a), (1, b)], 0)
    bad("segment-too-long", "a segment of more than k MiB", "segment-length",
        [(0, a), (1, b)], (2 << 20) + 1)
    bad("too-few", "one chunk of two", "too-few", [(1, b)])
    bad("none", "no chunks", "too-few", [])
    bad("duplicate", "the same chunk twice", "foreign", [(2, c), (2, c)])
    bad("index", "index 4 of 4 chunks", "foreign", [(0, a), (4, b)])
    bad("short", "a chunk a byte short", "foreign", [(0, a), (1, b[:-1])])
    bad("long", "a chunk of two blocks where one is expected", "foreign", [(0, a), (1, b + b)])
    bad("surplus", "a third chunk that does not belong here", "foreign",
        [(0, a), (1, b), (2, b"")])


def subproof(leaves, old, whole):
    """PROOF and SUBPROOF of RFC 6962, section 2.1.2, word for word."""
    count = len(leaves)
    if old == count:
        return [] if whole else [root(leaves)]
    at = split(count)
    if old <= at:
        return subproof(leaves[:at], old, whole) + [root(leaves[at:])]
    return subproof(leaves[at:], old - at, False) + [root(leaves[:at])]


def consistency():
    topic = "consistency"
    leaves = [leaf_hash(be(n, 8)) for n in range(300)]

    def add(name, description, expect, old, new, old_root, new_root, proof):
        case(topic, name, description, expect, old_size=str(old), new_size=str(new),
             old_root=old_root.hex(), new_root=new_root.hex(), proof=[h.hex() for h in proof])

    def good(old, new):
        proof = subproof(leaves[:new], old, True) if 0 < old < new else []
        return old, new, root(leaves[:old]), root(leaves[:new]), proof

    for old, new in [(0, 0), (0, 5), (1, 1), (1, 2), (1, 7), (2, 3), (3, 4), (3, 7), (4, 7), (6, 7), (6, 8),
                     (7, 8), (8, 8), (100, 101), (128, 256), (255, 300), (256, 300), (257, 300), (299, 300)]:
        add(f"ok-{old}-to-{new}", f"a log of {new} continues one of {old}", "ok", *good(old, new))

    for old, new in [(6, 8), (4, 7), (255, 300)]:
        _, _, old_root, new_root, proof = good(old, new)

        def bad(name, description, expect, **change):
            fields = {"old": old, "new": new, "old_root": old_root, "new_root": new_root, "proof": proof, **change}
            add(f"bad-{old}-to-{new}-{name}", description, expect, **fields)

        lead = "new-root" if old & (old - 1) == 0 else "old-root"
        bad("shrunk", "the sizes have changed places", "shrunk", old=new, new=old)
        bad("old-root", "another older root", "old-root" if lead == "old-root" else "new-root", old_root=sha(b"x"))
        bad("new-root", "another newer root", "new-root", new_root=sha(b"x"))
        bad("roots-swapped", "the roots have changed places", lead, old_root=new_root, new_root=old_root)
        bad("empty", "no proof", "length", proof=[])
        bad("short", "the last hash is missing", "length", proof=proof[:-1])
        bad("short-front", "the first hash is missing", "length", proof=proof[1:])
        bad("long", "a surplus hash at the end", "length", proof=proof + [sha()])
        bad("long-front", "a surplus hash at the beginning", "length", proof=[sha()] + proof)
        bad("root-in-front", "the older root before the proof", "length", proof=[old_root] + proof)
        bad("root-behind", "the newer root behind the proof", "length", proof=proof + [new_root])
        for at in range(len(proof)):
            flipped = bytes([proof[at][0] ^ 0x80]) + proof[at][1:]
            # A sibling on the right of the older tree is in the newer one alone.
            only_new = proof[at] not in set(subproof_left(leaves[:old]))
            bad(f"flipped-{at}", f"one bit of hash {at} differs", "new-root" if only_new else "old-root",
                proof=proof[:at] + [flipped] + proof[at + 1:])
        if len(proof) > 1:
            bad("reordered", "the first two hashes have changed places", lead,
                proof=[proof[1], proof[0]] + proof[2:])
    # One fault in each, for pairs of sizes of several shapes.
    for old, new in [(1, 2), (2, 3), (3, 4), (5, 8), (8, 9), (128, 300)]:
        _, _, old_root, new_root, proof = good(old, new)
        faults = [(f"old-size-{value}", "another older size", {"old": value})
                  for value in sorted({0, old - 1, old + 1, old ^ 2, new} - {old})]
        faults += [(f"new-size-{value}", "another newer size", {"new": value})
                   for value in sorted({0, new // 2, new - 1, new + 1, new * 2} - {new})]
        for side in ("old", "new"):
            faults += [(f"{side}-root-{name}", f"{what} as the {side}er root", {f"{side}_root": value})
                       for name, what, value in [("empty", "the root of nothing", sha()), ("zeros", "zeros", bytes(32)),
                                                 ("random", "some hash", sha(b"some hash"))]]
        faults += [("roots-swapped", "the roots have changed places", {"old_root": new_root, "new_root": old_root}),
                   ("roots-equal", "the newer root twice", {"old_root": new_root}),
                   ("roots-equal-no-proof", "the newer root twice, and no proof", {"old_root": new_root, "proof": []}),
                   ("no-proof", "no proof", {"proof": []})]
        for name, what, surplus in [("empty-root", "the root of nothing", sha()), ("old-root", "the older root", old_root),
                                    ("new-root", "the newer root", new_root), ("zeros", "zeros", bytes(32))]:
            faults += [(f"{name}-behind", f"{what} behind the proof", {"proof": proof + [surplus]}),
                       (f"{name}-in-front", f"{what} before the proof", {"proof": [surplus] + proof})]
        for at in range(len(proof)):
            flipped = proof[at][:31] + bytes([proof[at][31] ^ 1])
            faults += [(f"flipped-{at}", f"one bit of hash {at} differs", {"proof": proof[:at] + [flipped] + proof[at + 1:]}),
                       (f"removed-{at}", f"hash {at} is missing", {"proof": proof[:at] + proof[at + 1:]}),
                       (f"twice-{at}", f"hash {at} stands twice", {"proof": proof[:at + 1] + proof[at:]})]
        if len(proof) > 1:
            faults.append(("swapped", "the last two hashes have changed places",
                           {"proof": proof[:-2] + [proof[-1], proof[-2]]}))
        for name, what, change in faults:
            fields = {"old": old, "new": new, "old_root": old_root, "new_root": new_root, "proof": proof, **change}
            found = continues(**fields)
            # A proof alone does not fix the sizes, which come from signed heads.
            assert found != "ok" or "size" in name, (old, new, name)
            verdict = "ok" if found == "ok" else "bad"
            add(f"{verdict}-{old}-to-{new}-{name}", f"{old} to {new}: {what}", found, **fields)
    for size in [0, 1, 8]:
        _, _, top, _, _ = good(size, size)
        for name, change in {"surplus": {"proof": [top]}, "other-old": {"old_root": sha(b"x")},
                             "other-new": {"new_root": sha(b"x")},
                             "both-other": {"old_root": sha(b"x"), "new_root": sha(b"x")}}.items():
            fields = {"old": size, "new": size, "old_root": top, "new_root": top, "proof": [], **change}
            found = continues(**fields)
            if found != "ok":
                add(f"bad-{size}-to-{size}-{name}", f"{size} to {size}: {name}", found, **fields)
    _, _, six, eight, proof = good(6, 8)
    add("bad-size-old", "the proof of 6 for 5", "length", 5, 8, six, eight, proof)
    add("bad-size-new", "the proof to 8 for 9", "length", 6, 9, six, eight, proof)
    add("bad-equal-surplus", "equal sizes need no proof", "length", 8, 8, eight, eight, [eight])
    add("bad-equal-roots", "equal sizes with two roots", "old-root", 8, 8, six, eight, [])
    add("bad-from-nothing-surplus", "from nothing there is no proof", "length", 0, 8, sha(), eight, [eight])
    add("bad-from-nothing-root", "the root of nothing is not this", "old-root", 0, 8, six, eight, [])
    add("bad-forked", "two trees of 6 and 8 that differ in entry 2", "old-root", 6, 8,
        root(leaves[:2] + [sha(b"x")] + leaves[3:6]), eight, proof)


def continues(old, new, old_root, new_root, proof):
    """What a verifier has to say: from the top down, as RFC 6962 defines PROOF."""
    if old > new:
        return "shrunk"

    def needed(at, count, whole):
        if at == count:
            return 0 if whole else 1
        middle = split(count)
        return 1 + (needed(at, middle, whole) if at <= middle else needed(at - middle, count - middle, False))

    if len(proof) != (needed(old, new, True) if old > 0 else 0):
        return "length"
    if old in (0, new):
        leads_to = sha() if old == 0 else new_root
        return "ok" if old_root == leads_to else "old-root"

    def both(at, count, whole, rest):
        if at == count:
            return (old_root, old_root) if whole else (rest[-1], rest[-1])
        middle = split(count)
        if at <= middle:
            older, newer = both(at, middle, whole, rest[:-1])
            return older, node_hash(newer, rest[-1])
        older, newer = both(at - middle, count - middle, False, rest[:-1])
        return node_hash(rest[-1], older), node_hash(rest[-1], newer)

    older, newer = both(old, new, True, list(proof))
    return "old-root" if older != old_root else "new-root" if newer != new_root else "ok"


def subproof_left(leaves):
    """The roots of all subtrees that a tree is cut into."""
    if len(leaves) <= 1:
        return leaves
    at = split(len(leaves))
    return [root(leaves)] + subproof_left(leaves[:at]) + subproof_left(leaves[at:])


def tiles():
    topic = "tile"

    def path(level, index, width):
        digits = str(index)
        digits = digits.zfill(-(-len(digits) // 3) * 3)
        parts = [digits[at:at + 3] for at in range(0, len(digits), 3)]
        name = "/".join(["x" + part for part in parts[:-1]] + parts[-1:])
        return f"tile/{level}/{name}" + (f".p/{width}" if width < 256 else "")

    for level, index, width in [(0, 0, 256), (0, 0, 1), (0, 5, 255), (0, 999, 256), (0, 1000, 256), ("entries", 0, 7),
                                ("entries", 1234067, 256), ("entries", 1234067, 8), (1, 16, 17), (7, 0, 1),
                                (0, 2**56 - 2, 256)]:
        name = path(level, index, width)
        case(topic, "ok-" + name.replace("/", "-"), "a tile and its path", "ok",
             path=name, level=str(level), index=str(index), width=str(width))
    for name, text in {
        "empty": "", "tile": "tile", "level": "tile/8/000", "level-zero": "tile/00/000", "level-plus": "tile/+1/000",
        "short": "tile/0/0", "long": "tile/0/0000", "no-x": "tile/0/001/234", "x-last": "tile/0/x001",
        "x-zero": "tile/0/x000/234", "width-0": "tile/0/000.p/0", "width-256": "tile/0/000.p/256",
        "width-zero": "tile/0/000.p/01", "width-plus": "tile/0/000.p/+1", "no-width": "tile/0/000.p/",
        "twice": "tile/0/000.p/1.p/1", "slash": "/tile/0/000", "dots": "tile/0/../000", "huge": "tile/0/" + "x999/" * 9 + "999",
        "data": "tile/data/000", "case": "tile/Entries/000", "space": "tile/0/000 ", "digit": "tile/0/x00１/234",
    }.items():
        case(topic, f"bad-{name}", "not the path of a tile", "refused", path=text)
    # Which tiles a log of a size has.
    for size in [0, 1, 255, 256, 257, 70000]:
        names = []
        for level in ["entries", 0, 1, 2]:
            count = size if level == "entries" else size // 256**level
            names += [path(level, n, 256) for n in range(count // 256)]
            names += [path(level, count // 256, count % 256)] if count % 256 else []
        case(topic, f"log-of-{size}", f"the tiles of a log of {size}", "list", size=str(size), count=str(len(names)),
             names=sha("\n".join(names).encode()).hex(), last=names[-1] if names else "")


def main():
    for topic in (chunk_tree, inclusion, consistency, tiles, inventory, audit, erasure):
        topic()
    differ = []
    for name, fields in FILES.items():
        file, text = HERE / name, json.dumps(fields, indent=2) + "\n"
        if "--check" in sys.argv:
            if not file.exists() or file.read_text() != text:
                differ.append(name)
        else:
            file.parent.mkdir(exist_ok=True)
            file.write_text(text)
    for folder in {name.split("/")[0] for name in FILES}:
        for file in (HERE / folder).glob("*.json"):
            if f"{folder}/{file.name}" not in FILES:
                differ.append(f"{folder}/{file.name} (not written here)")
    if differ:
        sys.exit("differs: " + ", ".join(differ))
    print(len(FILES), "vectors")


main()
