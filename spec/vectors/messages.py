#!/usr/bin/env python3
"""Writes the vectors of note, statement, record, wire and plugin.

This is a second implementation of those formats, made from spec/ with Python's standard library
alone, so that the vectors do not merely repeat what the Rust code says. Ed25519 is written out
after RFC 8032; it is slow and leaks its keys through timing, which is no harm for test keys. Run
it from anywhere:

    python3 spec/vectors/messages.py           # writes the files
    python3 spec/vectors/messages.py --check   # fails when a file on disk differs
"""

import base64
import hashlib
import json
import pathlib
import sys

HERE = pathlib.Path(__file__).resolve().parent
TOPICS = ("note", "statement", "record", "wire", "plugin")
FILES = {}


def case(topic, name, description, expect, **fields):
    assert f"{topic}/{name}" not in FILES, name
    FILES[f"{topic}/{name}"] = {"description": description, "expect": expect, **fields}


def sha(*parts):
    return hashlib.sha256(b"".join(parts)).digest()


# --- Ed25519, RFC 8032 section 5.1 ---

P = 2**255 - 19
L = 2**252 + 27742317777372353535851937790883648493
D = -121665 * pow(121666, P - 2, P) % P


def point_add(p, q):
    a, b = (p[1] - p[0]) * (q[1] - q[0]) % P, (p[1] + p[0]) * (q[1] + q[0]) % P
    c, d = 2 * p[3] * q[3] * D % P, 2 * p[2] * q[2] % P
    e, f, g, h = b - a, d - c, d + c, b + a
    return (e * f % P, g * h % P, f * g % P, e * h % P)


def point_mul(scalar, point):
    out = (0, 1, 1, 0)
    while scalar:
        if scalar & 1:
            out = point_add(out, point)
        point = point_add(point, point)
        scalar >>= 1
    return out


def recover_x(y, sign):
    x2 = (y * y - 1) * pow(D * y * y + 1, P - 2, P) % P
    x = pow(x2, (P + 3) // 8, P)
    if (x * x - x2) % P:
        x = x * pow(2, (P - 1) // 4, P) % P
    return P - x if x & 1 != sign else x


BASE_Y = 4 * pow(5, P - 2, P) % P
BASE_X = recover_x(BASE_Y, 0)
BASE = (BASE_X, BASE_Y, 1, BASE_X * BASE_Y % P)


def compress(point):
    z = pow(point[2], P - 2, P)
    x, y = point[0] * z % P, point[1] * z % P
    return (y | (x & 1) << 255).to_bytes(32, "little")


def number(data):
    return int.from_bytes(data, "little")


class Key:
    """A key pair from a seed of 32 bytes."""

    def __init__(self, seed):
        digest = hashlib.sha512(seed).digest()
        self.seed = seed
        self.scalar = number(digest[:32]) & ((1 << 254) - 8) | 1 << 254
        self.prefix = digest[32:]
        self.public = compress(point_mul(self.scalar, BASE))

    def sign(self, message):
        r = number(hashlib.sha512(self.prefix + message).digest()) % L
        start = compress(point_mul(r, BASE))
        k = number(hashlib.sha512(start + self.public + message).digest()) % L
        return start + ((r + k * self.scalar) % L).to_bytes(32, "little")


def malleable(signature):
    """The same signature with L added to its second half: some verifiers accept it."""
    return signature[:32] + (number(signature[32:]) + L).to_bytes(32, "little")


OWNER = Key(sha(b"owner"))
PROVIDER = Key(sha(b"provider"))
STRANGER = Key(sha(b"stranger"))
NODE = Key(sha(b"node"))
OTHER_NODE = Key(sha(b"other node"))


# --- Texts of ids ---


def peer_id(public):
    data = bytes.fromhex("002408011220") + public
    alphabet = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
    value, out = int.from_bytes(data, "big"), ""
    while value:
        value, digit = divmod(value, 58)
        out = alphabet[digit] + out
    return "1" * (len(data) - len(data.lstrip(b"\0"))) + out


# --- Signed notes ---


def name_of(public):
    return "commonhold/party/" + public.hex()


def key_id(name, public):
    return sha(name.encode(), b"\n\x01", public)[:4]


def verifier_key(public):
    name = name_of(public)
    return f"{name}+{key_id(name, public).hex()}+{base64.b64encode(bytes([1]) + public).decode()}"


def raw_line(name, blob):
    return b"\xe2\x80\x94 " + name.encode() + b" " + base64.b64encode(blob) + b"\n"


def line(key, text):
    name = name_of(key.public)
    return raw_line(name, key_id(name, key.public) + key.sign(text))


def note(text, *keys):
    return text + b"\n" + b"".join(sorted(line(key, text) for key in keys))


def signatures_of(whole):
    out = []
    for entry in whole[whole.rindex(b"\n\n") + 2 :].decode().splitlines():
        name, blob = entry[2:].split(" ")
        blob = base64.b64decode(blob)
        out.append({"name": name, "key_id": blob[:4].hex(), "signature": blob[4:].hex()})
    return out


def good_note(name, description, whole, signed_by):
    text = whole[: whole.rindex(b"\n\n") + 1]
    case(
        "note",
        f"ok-{name}",
        description,
        "ok",
        note=whole.hex(),
        text=text.decode(),
        text_hash=sha(text).hex(),
        signatures=signatures_of(whole),
        parties=[
            {
                "party": key.public.hex(),
                "verifier_key": verifier_key(key.public),
                "signed": "yes" if key in signed_by else "no",
            }
            for key in (OWNER, PROVIDER, STRANGER)
        ],
    )


def bad_note(name, description, expect, whole):
    case("note", f"bad-{name}", description, expect, note=whole.hex())


def notes():
    text = b"a text\nof two lines\n"
    both = note(text, OWNER, PROVIDER)
    good_note("one", "one signature", note(text, OWNER), [OWNER])
    good_note("both", "two signatures, ordered by name", both, [OWNER, PROVIDER])
    good_note("empty-line", "a text with an empty line", note(b"a\n\nb\n", OWNER), [OWNER])
    good_note("ends-empty", "a text that ends with an empty line", note(b"a\n\n", OWNER), [OWNER])
    good_note("newline", "the shortest text", note(b"\n", OWNER), [OWNER])
    inner = note(text, OWNER)
    good_note(
        "nested", "a text that is a signed note itself: only the outer signature counts", note(inner, PROVIDER), [PROVIDER]
    )
    good_note("unicode", "text beyond ASCII", note("Zürich — 雪\n".encode(), PROVIDER), [PROVIDER])
    good_note(
        "other-text",
        "attack: the owner's signature of another text",
        text + b"\n" + line(OWNER, b"another text\n"),
        [],
    )
    name = name_of(OWNER.public)
    good_note(
        "wrong-key",
        "attack: the owner's name and key id, a stranger's signature",
        text + b"\n" + raw_line(name, key_id(name, OWNER.public) + STRANGER.sign(text)),
        [],
    )
    good_note(
        "wrong-key-id",
        "attack: the owner's signature under another key id, so of an unknown key",
        text + b"\n" + raw_line(name, bytes(4) + OWNER.sign(text)),
        [],
    )
    good_note(
        "malleable",
        "attack: the owner's signature with the group order added, which strict verification refuses",
        text + b"\n" + raw_line(name, key_id(name, OWNER.public) + malleable(OWNER.sign(text))),
        [],
    )
    good_note(
        "short-signature",
        "a signature of 63 bytes is of no known kind",
        text + b"\n" + raw_line(name, key_id(name, OWNER.public) + OWNER.sign(text)[:63]),
        [],
    )
    foreign = b"".join(sorted([raw_line("example.com/witness", bytes(76)), line(OWNER, text)]))
    good_note("foreign", "a line of a kind that is not known here", text + b"\n" + foreign, [OWNER])
    sixteen = [raw_line(f"w{number:02}", bytes(68)) for number in range(15)]
    good_note("sixteen", "16 signatures", text + b"\n" + line(OWNER, text) + b"".join(sixteen), [OWNER])

    one = line(OWNER, text)
    bad_note("empty", "no bytes", "no-signatures", b"")
    bad_note("text-only", "no signature block", "no-signatures", text)
    bad_note("no-lines", "an empty line and nothing after it", "end", text + b"\n")
    bad_note("no-text", "no text, not even a newline", "no-signatures", b"\n" + one)
    bad_note("unterminated", "no newline at the end", "end", both[:-1])
    bad_note("trailing", "an empty line at the end", "end", both + b"\n")
    bad_note("trailing-text", "text after the signatures", "dash", both + b"x\n")
    bad_note("utf-8", "bytes that are not UTF-8", "utf-8", note(b"a\xff\n", OWNER))
    bad_note("surrogate", "an encoded surrogate is not UTF-8", "utf-8", note(b"a\xed\xa0\x80\n", OWNER))
    for value in (0, 9, 13, 0x1B, 0x7F):
        bad_note(f"control-{value:02x}", f"control character {value:#04x}", "control", note(bytes([97, value, 10]), OWNER))
    bad_note("control-name", "a control character in a name", "control", text + b"\n" + raw_line("a\x1bb", bytes(68)))
    bad_note("crlf", "lines that end with CR LF", "control", both.replace(b"\n", b"\r\n"))
    bad_note("hyphen", "a hyphen in the place of the dash", "dash", text + b"\n" + one.replace(b"\xe2\x80\x94", b"-"))
    bad_note("no-space", "no space after the dash", "dash", text + b"\n" + one.replace(b"\x94 ", b"\x94", 1))
    bad_note("name-only", "a name without a signature", "name-only", text + b"\n" + b"\xe2\x80\x94 name\n")
    bad_note("name-empty", "an empty name", "name", text + b"\n" + raw_line("", bytes(68)))
    bad_note("name-plus", "a plus in a name", "name", text + b"\n" + raw_line("a+b", bytes(68)))
    bad_note("name-space", "a space of Unicode in a name", "name", text + b"\n" + raw_line("a\u00a0b", bytes(68)))
    padded = one[:-1]
    bad_note("base64-digit", "a character that is not base64", "base64", text + b"\n" + padded[:-8] + b"!" + padded[-7:] + b"\n")
    bad_note("base64-space", "a space after the signature", "base64", text + b"\n" + padded + b" \n")
    bad_note("base64-unpadded", "base64 without its padding", "base64", text + b"\n" + padded.rstrip(b"=") + b"\n")
    # 68 bytes leave 4 unused bits in the last digit; they must be 0.
    alphabet = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
    last = alphabet.index(padded[-2:-1])
    assert padded.endswith(b"=") and not padded.endswith(b"==") and last % 4 == 0
    loose = padded[:-2] + alphabet[last + 1 : last + 2] + b"="
    bad_note("base64-loose", "unused bits that are not zero", "base64", text + b"\n" + loose + b"\n")
    bad_note("base64-url", "the URL alphabet", "base64", text + b"\n" + raw_line("a", b"\xff" * 68).replace(b"/", b"_"))
    bad_note("only-key-id", "a key id without a signature", "short", text + b"\n" + raw_line("a", bytes(4)))
    bad_note("short-blob", "less than a key id", "short", text + b"\n" + raw_line("a", bytes(3)))
    bad_note("twice", "the same line twice", "order", text + b"\n" + one + one)
    again = raw_line(name, key_id(name, OWNER.public) + bytes(64))
    bad_note("same-key", "two signatures of one key", "order", text + b"\n" + one + again)
    lines = sorted([line(OWNER, text), line(PROVIDER, text)], reverse=True)
    bad_note("unordered", "signatures out of order", "order", text + b"\n" + b"".join(lines))
    seventeen = b"".join(raw_line(f"w{number:02}", bytes(68)) for number in range(17))
    bad_note("seventeen", "17 signatures", "too-many", text + b"\n" + seventeen)
    room = 16384 - len(note(b"\n", OWNER))
    good_note("longest", "16,384 bytes", note(b"x" * room + b"\n", OWNER), [OWNER])
    bad_note("too-long", "16,385 bytes", "too-long", note(b"x" * (room + 1) + b"\n", OWNER))


# --- Statements ---

CONTRACT = {
    "owner": OWNER.public.hex(),
    "provider": PROVIDER.public.hex(),
    "node": peer_id(NODE.public),
    "salt": sha(b"salt")[:16].hex(),
    "storage_microcredits_per_gib_month": "1000000",
    "egress_microcredits_per_gib": "100000",
    "audit_microcredits": "100",
    "bytes_max": "107374182400",
    "starts": "1750000000",
    "ends": "1781536000",
    "audit_interval_seconds": "86400",
    "grace_seconds": "14400",
    "hold_microcredits": "0",
}


def text_of(kind, fields):
    return f"commonhold/{kind}/v1\n" + "".join(f"{name}: {value}\n" for name, value in fields.items())


CONTRACT_ID = sha(text_of("contract", CONTRACT).encode()).hex()
REVISION = {
    "contract": CONTRACT_ID,
    "sequence": "3",
    "inventory_root": sha(b"inventory").hex(),
    "entries": "12",
    "span": "12582912",
    "held_bytes": "10485760",
    "held_chunks": "10",
    "time": "1750003600",
}


def amount(prices, byte_seconds, egress, audits):
    storage = byte_seconds * prices[0] // (2**30 * 2592000)
    due = storage + egress * prices[1] // 2**30 + audits * prices[2]
    return str(due) if due < 2**63 else None


RECEIPT = {
    "contract": CONTRACT_ID,
    "sequence": "2",
    "until": "1750086400",
    "byte_seconds": str(10485760 * 82800),
    "egress_bytes": "5242880",
    "audits_passed": "7",
    "audits_failed": "1",
    "owed_microcredits": amount((1000000, 100000, 100), 10485760 * 82800, 5242880, 7),
    "evidence": sha(b"evidence").hex(),
    "owner_node": CONTRACT["node"],
    "owner_ledger_size": "41",
    "owner_ledger_root": sha(b"owner's ledger").hex(),
    "provider_ledger_size": "1207",
    "provider_ledger_root": sha(b"provider's ledger").hex(),
}
NONCE = sha(b"nonce")
INTENT = {
    "contract": CONTRACT_ID,
    "epoch": "8",
    "revision": "3",
    "commitment": sha(b"commonhold/v1/audit-nonce", bytes.fromhex(CONTRACT_ID), (8).to_bytes(8, "big"), NONCE).hex(),
    "time": "1750086000",
}
RECORD = {
    "contract": CONTRACT_ID,
    "epoch": "8",
    "revision": "3",
    "nonce": NONCE.hex(),
    "outcome": "passed",
    "leaves": "60",
    "lost_chunks": "0",
    "evidence": sha(b"evidence").hex(),
    "time": "1750086002",
}
PAYMENT = {
    "payer": CONTRACT["owner"],
    "payee": CONTRACT["provider"],
    "sequence": "3",
    "paid_microcredits": "25000000",
    "reference": sha(b"invoice").hex(),
    "time": "1750090000",
}
GUARANTOR = sha(b"guarantor").hex()
TRUST = {
    "guarantor": GUARANTOR,
    "creditor": CONTRACT["provider"],
    "debtor": CONTRACT["owner"],
    "sequence": "1",
    "limit_microcredits": "5000000",
    "ends": "1781536000",
}
CLAIM = {
    "contract": CONTRACT_ID,
    "sequence": "3",
    "revision": "3",
    "until": "1750172800",
    "byte_seconds": str(10485760 * 169200),
    "egress_bytes": "5242880",
    "audits_passed": "7",
    "owed_microcredits": amount((1000000, 100000, 100), 10485760 * 169200, 5242880, 7),
    "time": "1750172800",
}
KINDS = {
    "contract": CONTRACT,
    "revision": REVISION,
    "receipt": RECEIPT,
    "audit-intent": INTENT,
    "audit-record": RECORD,
    "payment": PAYMENT,
    "trust": TRUST,
    "claim": CLAIM,
}
SECONDS_MAX = "253402300799"
U64_MAX = str(2**64 - 1)


def good_statement(name, description, kind, **changes):
    fields = {**KINDS[kind], **changes}
    text = text_of(kind, fields)
    more = {"contract_id": sha(text.encode()).hex()} if kind == "contract" else {}
    case("statement", f"ok-{name}", description, "ok", form="statement", text=text, kind=kind, fields=fields, **more)


def bad_text(name, description, line, text):
    case("statement", f"bad-{name}", description, "refused", form="statement", text=text, line=str(line))


def bad_statement(name, description, kind, field, value, at=None):
    """One value changed; the line of `at` is refused, which is the changed one unless it is given."""
    fields = {**KINDS[kind], field: value}
    line = list(fields).index(at or field) + 2
    bad_text(name, description, line, text_of(kind, fields))


def statements():
    for kind in KINDS:
        good_statement(kind, f"a {kind}", kind)
    good_statement(
        "contract-largest",
        "a contract with every number at its most",
        "contract",
        **{name: str(2**63 - 1) for name in CONTRACT if "microcredits" in name},
        bytes_max=U64_MAX,
        starts=str(int(SECONDS_MAX) - 1),
        ends=SECONDS_MAX,
        audit_interval_seconds=SECONDS_MAX,
        grace_seconds=SECONDS_MAX,
    )
    good_statement(
        "contract-smallest",
        "a contract with every number at its least",
        "contract",
        **{name: "0" for name in CONTRACT if "microcredits" in name},
        bytes_max="1",
        starts="0",
        ends="1",
        audit_interval_seconds="1",
        grace_seconds="0",
    )
    good_statement(
        "revision-empty",
        "the first revision, of an inventory of holes",
        "revision",
        sequence="1",
        held_bytes="0",
        held_chunks="0",
    )
    good_statement("revision-full", "an inventory without holes", "revision", held_bytes="12582912", held_chunks="12")
    good_statement("receipt-largest", "128 bits of byte-seconds", "receipt", byte_seconds=str(2**128 - 1), owed_microcredits=str(2**63 - 1))
    for outcome, leaves, lost in (
        ("wrong-bytes", "63", "1"),
        ("wrong-bytes", "0", "0"),
        ("no-answer", "0", "0"),
        ("offline", "0", "0"),
        ("quarantined", "0", "0"),
    ):
        good_statement(
            f"audit-{outcome}-{lost}",
            f"an audit that ended with {outcome}",
            "audit-record",
            outcome=outcome,
            leaves=leaves,
            lost_chunks=lost,
        )

    # What no number may look like, wherever it stands.
    for name, value in {
        "zero-first": "03",
        "plus": "+3",
        "minus": "-3",
        "space-before": " 3",
        "space-after": "3 ",
        "hex": "0x3",
        "point": "3.0",
        "exponent": "3e0",
        "separator": "3_0",
        "fullwidth": "３",
        "none": "",
        "too-large": str(2**64),
        "huge": "9" * 60,
    }.items():
        bad_statement(f"number-{name}", f"the sequence {value!r}", "revision", "sequence", value)
    bad_statement("number-128", "byte-seconds beyond 128 bits", "receipt", "byte_seconds", str(2**128))
    bad_statement("number-32", "leaves beyond 32 bits", "audit-record", "leaves", str(2**32))
    root = REVISION["inventory_root"]
    for name, value in {"upper": root.upper(), "short": root[2:], "long": root + "00", "odd": root[1:], "prefix": "0x" + root[2:]}.items():
        bad_statement(f"hash-{name}", f"a hash written {name}", "revision", "inventory_root", value)
        bad_statement(f"id-{name}", f"an id written {name}", "revision", "contract", value)
    bad_statement("salt-32", "a salt of 32 bytes", "contract", "salt", root)
    bad_statement("node-hex", "a node in hexadecimal", "contract", "node", NODE.public.hex())
    bad_statement("node-cid", "a node as a CID", "contract", "node", "bafzaajaiaejcb")
    bad_statement("node-digit", "a digit that base58 has not", "contract", "node", CONTRACT["node"][:-1] + "0")
    bad_statement("owner-peer-id", "an owner as a peer id", "contract", "owner", CONTRACT["node"])
    bad_statement("contract-ends", "a contract that ends when it starts", "contract", "ends", CONTRACT["starts"])
    bad_statement("contract-ends-late", "an end after the year 9999", "contract", "ends", str(int(SECONDS_MAX) + 1))
    bad_statement("contract-bytes", "a contract of no bytes", "contract", "bytes_max", "0")
    bad_statement("contract-interval", "audits without time between them", "contract", "audit_interval_seconds", "0")
    bad_statement("contract-price", "a price of 2^63", "contract", "audit_microcredits", str(2**63))
    bad_statement("contract-hold", "2^63 held back", "contract", "hold_microcredits", str(2**63))
    bad_statement("revision-0", "a revision before the first", "revision", "sequence", "0")
    bad_statement("revision-bytes", "more bytes held than spanned", "revision", "held_bytes", "12582913")
    bad_statement("revision-chunks", "more chunks held than entries", "revision", "held_chunks", "13")
    bad_statement("revision-time", "a time after the year 9999", "revision", "time", str(int(SECONDS_MAX) + 1))
    bad_statement("receipt-0", "a receipt before the first", "receipt", "sequence", "0")
    bad_statement("receipt-amount", "an amount of 2^63", "receipt", "owed_microcredits", str(2**63))
    bad_statement("receipt-negative", "a negative amount", "receipt", "owed_microcredits", "-1")
    bad_statement("intent-revision-0", "an audit of no revision", "audit-intent", "revision", "0")
    bad_statement("record-revision-0", "an audit of no revision", "audit-record", "revision", "0")
    bad_statement("record-outcome", "an outcome that is not known", "audit-record", "outcome", "excused")
    bad_statement("record-outcome-case", "an outcome in capitals", "audit-record", "outcome", "Passed")
    bad_statement("record-passed-lost", "passed with a lost chunk", "audit-record", "lost_chunks", "1")
    bad_statement("record-leaves", "65 leaves", "audit-record", "leaves", "65")
    bad_statement("record-offline-leaves", "offline, and leaves shown", "audit-record", "outcome", "offline", at="leaves")

    bad_statement("payment-0", "a payment before the first", "payment", "sequence", "0")
    bad_statement("payment-self", "a payment to oneself", "payment", "payee", PAYMENT["payer"])
    bad_statement("payment-amount", "2^63 paid", "payment", "paid_microcredits", str(2**63))
    bad_statement("payment-time", "a time after the year 9999", "payment", "time", str(int(SECONDS_MAX) + 1))
    bad_statement("trust-0", "a trust line before the first", "trust", "sequence", "0")
    bad_statement("trust-self", "a guarantor that answers to itself", "trust", "creditor", TRUST["guarantor"])
    bad_statement("trust-own-debt", "a guarantor of its own debt", "trust", "debtor", TRUST["guarantor"])
    bad_statement("trust-creditor-debt", "a creditor that owes itself", "trust", "debtor", TRUST["creditor"])
    bad_statement("trust-limit", "a limit of 2^63", "trust", "limit_microcredits", str(2**63))
    bad_statement("claim-0", "a claim of no receipt", "claim", "sequence", "0")
    bad_statement("claim-revision-0", "a claim about nothing held", "claim", "revision", "0")
    bad_statement("claim-future", "time that had not passed", "claim", "until", str(int(CLAIM["time"]) + 1))
    bad_statement("claim-amount", "a claim of 2^63", "claim", "owed_microcredits", str(2**63))

    good = text_of("revision", REVISION)
    rows = good.splitlines(keepends=True)
    bad_text("empty", "no text", 1, "")
    bad_text("newline", "only a newline", 1, "\n")
    bad_text("kind", "a kind that is not known", 1, text_of("invoice", REVISION))
    bad_text("version", "a version that is not known", 1, good.replace("/v1", "/v2"))
    bad_text("kind-space", "a space after the kind", 1, good.replace("/v1", "/v1 "))
    bad_text("other-kind", "a revision's fields under another kind", 3, good.replace("revision/v1", "receipt/v1").replace("sequence", "sequenz"))
    bad_text("missing", "a field is missing", 4, "".join(rows[:3] + rows[4:]))
    bad_text("swapped", "two fields are swapped", 3, "".join(rows[:2] + [rows[3], rows[2]] + rows[4:]))
    bad_text("twice", "a field is there twice", 4, "".join(rows[:3] + rows[2:]))
    bad_text("surplus", "a field that is not known", 10, good + "memo: none\n")
    bad_text("unterminated", "no newline at the end", 10, good[:-1])
    bad_text("empty-line", "an empty line at the end", 10, good + "\n")
    bad_text("empty-line-inside", "an empty line between fields", 3, "".join(rows[:2] + ["\n"] + rows[2:]))
    bad_text("crlf", "lines that end with CR LF", 1, good.replace("\n", "\r\n"))
    bad_text("no-space", "no space after a colon", 3, good.replace("sequence: ", "sequence:"))
    bad_text("two-spaces", "two spaces after a colon", 3, good.replace("sequence: ", "sequence:  "))
    bad_text("name-case", "a field's name in capitals", 3, good.replace("sequence", "Sequence"))
    bad_text("byte-order-mark", "a byte order mark", 1, "\ufeff" + good)
    bad_text("too-long", "more than 4,096 bytes", 1, good + "x" * 4096)

    amounts()
    checkpoints()


def amounts():
    month = 2**30 * 2592000
    default = (1000000, 100000, 100)
    top = 2**64 - 1
    cases = {
        "zero": (default, 0, 0, 0),
        "one-of-each": (default, month, 2**30, 1),
        "below-one": (default, month // 1000000, 10737, 0),
        "just-one": (default, -(-month // 1000000), 10738, 0),
        "parts-rounded-apart": ((1, 1, 0), month - 1, 2**30 - 1, 0),
        "large": (default, 2**40 * 315360000, 2**45, 36500),
        "largest": ((0, 0, 1), 0, 0, 2**63 - 1),
        "audits-too-large": ((0, 0, 1), 0, 0, 2**63),
        "egress-too-large": ((0, top, 0), 0, 2**29, 0),
        "egress-largest": ((0, top, 0), 0, 2**29 - 1, 0),
        "sum-too-large": ((0, 2**30, 1), 0, 2**62, 2**62),
        "storage-too-large": ((1, 0, 0), month * 2**63, 0, 0),
        "storage-largest": ((1, 0, 0), month * 2**63 - 1, 0, 0),
        "storage-beyond-128-bits": ((2, 0, 0), 2**127, 0, 0),
        "everything-too-large": ((top, top, top), 2**128 - 1, top, top),
        "free": ((0, 0, 0), 2**128 - 1, top, top),
    }
    for name, (prices, byte_seconds, egress, audits) in cases.items():
        due = amount(prices, byte_seconds, egress, audits)
        case(
            "statement",
            f"amount-{name}",
            f"what is due: {name.replace('-', ' ')}",
            "ok" if due is not None else "refused",
            form="amount",
            storage_microcredits_per_gib_month=str(prices[0]),
            egress_microcredits_per_gib=str(prices[1]),
            audit_microcredits=str(prices[2]),
            byte_seconds=str(byte_seconds),
            egress_bytes=str(egress),
            audits_passed=str(audits),
            **({"amount": due} if due is not None else {}),
        )


def checkpoints():
    origin, root = "commonhold/ledger/" + peer_id(NODE.public), sha(b"ledger")
    encoded = base64.b64encode(root).decode()

    def good(name, description, origin, size, root):
        text = f"{origin}\n{size}\n{base64.b64encode(root).decode()}\n"
        case("statement", f"checkpoint-ok-{name}", description, "ok", form="checkpoint", text=text, origin=origin, size=str(size), root=root.hex())

    def bad(name, description, line, text):
        case("statement", f"checkpoint-bad-{name}", description, "refused", form="checkpoint", text=text, line=str(line))

    good("some", "a ledger's head", origin, 41, root)
    good("empty", "an empty ledger", origin, 0, sha())
    good("largest", "the largest size", origin, 2**64 - 1, root)
    good("origin-words", "an origin with spaces", "Anna's ledger", 1, root)
    bad("origin", "no origin", 1, f"\n41\n{encoded}\n")
    bad("origin-control", "a control character in the origin", 1, f"a\x1bb\n41\n{encoded}\n")
    bad("size-zero-first", "a size with a leading zero", 2, f"{origin}\n041\n{encoded}\n")
    bad("size-plus", "a size with a plus", 2, f"{origin}\n+41\n{encoded}\n")
    bad("size-too-large", "a size beyond 64 bits", 2, f"{origin}\n{2**64}\n{encoded}\n")
    bad("root-short", "a root of 31 bytes", 3, f"{origin}\n41\n{base64.b64encode(root[1:]).decode()}\n")
    bad("root-hex", "a root in hexadecimal", 3, f"{origin}\n41\n{root.hex()}\n")
    bad("root-unpadded", "a root without padding", 3, f"{origin}\n41\n{encoded.rstrip('=')}\n")
    bad("extension", "an extension line", 4, f"{origin}\n41\n{encoded}\nextension\n")
    bad("unterminated", "no newline at the end", 4, f"{origin}\n41\n{encoded}")
    bad("empty-line", "an empty line at the end", 4, f"{origin}\n41\n{encoded}\n\n")
    bad("short", "two lines", 3, f"{origin}\n41\n")
    bad("too-long", "more than 4,096 bytes", 1, f"{'x' * 4096}\n41\n{encoded}\n")


# --- CBOR, RFC 8949: shortest forms, stated lengths ---


def head(major, value):
    for size, mark in ((1, 24), (2, 25), (4, 26), (8, 27)):
        if value < 24:
            return bytes([major << 5 | value])
        if value < 1 << 8 * size:
            return bytes([major << 5 | mark]) + value.to_bytes(size, "big")
    raise ValueError(value)


def cbor(value):
    if value is None:
        return b"\xf6"
    if isinstance(value, int):
        return head(0, value)
    if isinstance(value, bytes):
        return head(2, len(value)) + value
    if isinstance(value, str):
        return head(3, len(value.encode())) + value.encode()
    return head(4, len(value)) + b"".join(cbor(element) for element in value)


# --- Records ---

NOW = 1750000000
NODE_FIELDS = {
    "node": NODE.public.hex(),
    "party": PROVIDER.public.hex(),
    "sequence": "1750000000123",
    "expires": str(NOW + 86400),
    "addresses": [
        "/ip4/203.0.113.7/udp/4101/quic-v1",
        "/ip6/2001:db8::7/tcp/4101",
    ],
    "offer": ["1099511627776", "1000000", "100000", "100", "31536000"],
}


def node_body(fields):
    offer = fields["offer"]
    body = [
        bytes.fromhex(fields["node"]),
        bytes.fromhex(fields["party"]),
        int(fields["sequence"]),
        int(fields["expires"]),
        fields["addresses"],
    ]
    if offer:
        free, storage, egress, audit, term = map(int, offer[:5])
        body.append([free, [storage, egress, audit], term, *offer[5:]])
    return body


NODE_DOMAIN = b"commonhold/v1/node-record-signature"


def node_record(body, party=PROVIDER, node=NODE, kind=1, domain=NODE_DOMAIN):
    signed = bytes([kind]) + body
    return signed + party.sign(domain + signed) + node.sign(domain + signed)


def node_key(public):
    return sha(b"commonhold/v1/node-record", public)


def head_key(public):
    return sha(b"commonhold/v1/drive-head", public)


def drive_head(sequence, key=OWNER, kind=2, sealed=None):
    sealed = sealed if sealed is not None else sha(b"salt") + b"\xc5" * 80
    unsigned = bytes([kind]) + key.public + sequence.to_bytes(8, "big") + sha(b"previous") + sealed
    return unsigned + key.sign(b"commonhold/v1/drive-head-signature" + unsigned)


def link_key(public):
    return sha(b"commonhold/v1/link", public)


def link_record(sequence, key=OWNER, expires=0, state=b"\1", sealed=bytes(80)):
    place = cbor([[[2, 3], 100, bytes(96), bytes(96)], 32])
    after = b"\0" + len(place).to_bytes(2, "big") + place + bytes(32) + len(sealed).to_bytes(2, "big") + sealed
    unsigned = b"\4" + key.public + sequence.to_bytes(8, "big") + expires.to_bytes(8, "big") + state
    unsigned += after if state == b"\1" else b""
    return unsigned + key.sign(b"commonhold/v1/link-signature" + unsigned)


def records():
    own = node_key(NODE.public)

    def good(name, description, now=NOW, **changes):
        fields = {**NODE_FIELDS, **changes}
        value = node_record(cbor(node_body(fields)))
        case(
            "record",
            f"ok-{name}",
            description,
            "ok",
            key=own.hex(),
            value=value.hex(),
            now=str(now),
            sequence=fields["sequence"],
            record={name: value for name, value in fields.items() if value is not None},
            party_seed=PROVIDER.seed.hex(),
        )

    def bad(name, description, expect, value, key=own, now=NOW):
        case("record", f"bad-{name}", description, expect, key=key.hex(), value=value.hex(), now=str(now))

    good("provider", "a provider's record")
    good("no-offer", "the record of a node that lends nothing", offer=None)
    good("no-address", "a node that nobody can dial", addresses=[])
    good("addresses", "16 addresses of 256 characters", addresses=["/dns/" + f"{n:02}" + "x" * 249 for n in range(16)])
    good("last-second", "one second before it expires", now=NOW + 86399)
    good("longest", "valid for 7 days", expires=str(NOW + 7 * 86400))
    good("largest", "the largest numbers", sequence=U64_MAX, offer=[U64_MAX] * 5)
    good("region", "a provider that says where it is", offer=[*NODE_FIELDS["offer"], "DE"])

    body = node_body(NODE_FIELDS)
    whole = node_record(cbor(body))
    bad("expired", "attack 35: a record at the second at which it expires", "expired", whole, now=NOW + 86400)
    bad("expired-long-ago", "attack 35: an old record", "expired", whole, now=NOW + 10**7)
    bad("too-far", "valid for 7 days and a second", "expired", whole, now=NOW + 86400 - 7 * 86400 - 1)
    far = node_body({**NODE_FIELDS, "expires": U64_MAX})
    bad("never-expires", "attack 35: a record that never expires", "expired", node_record(cbor(far)))
    bad("other-key", "attack 35: under another node's key", "key", whole, key=node_key(OTHER_NODE.public))
    bad("head-key", "attack 35: under the key of a head of the same public key", "key", whole, key=head_key(NODE.public))
    bad("short-key", "under a key that was cut", "key", whole, key=own[:31])
    bad("other-party", "attack 35: signed by another party", "signature", node_record(cbor(body), party=STRANGER))
    bad("other-node", "attack 35: signed by another node", "signature", node_record(cbor(body), node=OTHER_NODE))
    bad("swapped", "the two signatures swapped", "signature", whole[:-128] + whole[-64:] + whole[-128:-64])
    bad("no-domain", "signed without the domain", "signature", node_record(cbor(body), domain=b""))
    bad("party-malleable", "a malleable party signature", "signature", whole[:-128] + malleable(whole[-128:-64]) + whole[-64:])
    bad("node-malleable", "a malleable node signature", "signature", whole[:-64] + malleable(whole[-64:]))
    weak = node_body({**NODE_FIELDS, "party": (b"\x01" + bytes(31)).hex()})
    signed = b"\x01" + cbor(weak)
    forged = signed + b"\x01" + bytes(63) + NODE.sign(NODE_DOMAIN + signed)
    bad("weak-party", "attack 35: a party key of small order, for which a signature fits every message", "signature", forged)
    changed = node_body({**NODE_FIELDS, "sequence": "1750000000124"})
    bad("sequence-raised", "attack 35: the sequence raised after signing", "signature", b"\x01" + cbor(changed) + whole[-128:])
    bad("empty", "no bytes", "shape", b"")
    bad("kind-0", "kind 0", "shape", node_record(cbor(body), kind=0))
    bad("kind-2", "a node record as a head", "shape", node_record(cbor(body), kind=2)[:152])
    bad("kind-3", "a kind that is not known", "shape", node_record(cbor(body), kind=3))
    bad("only-signatures", "no body", "shape", whole[:1] + whole[-128:])
    bad("cut", "cut by a byte", "shape", whole[:-1])
    bad("surplus", "a byte after the body, signed", "shape", node_record(cbor(body) + b"\x00"))
    bad("field-surplus", "a field that is not known, signed", "shape", node_record(cbor(body + [0])))
    bad("offer-null", "an offer of null, which has to be left out", "shape", node_record(cbor(body[:5] + [None])))
    offered = body[5]
    for name, description, region in (
        ("lower", "a region in small letters", "de"),
        ("long", "a region of three letters", "DEU"),
        ("short", "a region of one letter", "D"),
        ("empty", "a region of no letters", ""),
        ("digit", "a region with a digit", "D1"),
        ("control", "a region that steers a terminal", "\x1b["),
        ("utf-8", "a region of two bytes that are one letter", "Ä"),
        ("bytes", "a region as a byte string", b"DE"),
        ("number", "a region as a number", 256 * 68 + 69),
        ("null", "a region of null, which has to be left out", None),
    ):
        bad(f"region-{name}", description, "shape", node_record(cbor(body[:5] + [[*offered, region]])))
    bad("offer-surplus", "a field behind the region, signed", "shape", node_record(cbor(body[:5] + [[*offered, "DE", 0]])))
    bad("no-addresses", "no list of addresses", "shape", node_record(cbor(body[:4])))
    bad("long-number", "a number that is not in its shortest form", "shape", node_record(cbor(body[:2]).replace(b"\x82", b"\x85", 1) + b"\x18\x01" + cbor(body[3]) + cbor([])))
    bad("indefinite", "an array of unstated length", "shape", node_record(b"\x9f" + b"".join(map(cbor, body)) + b"\xff"))
    bad("map", "a map", "shape", node_record(b"\xa1" + cbor(0) + cbor(body[0])))
    bad("node-31", "a node of 31 bytes", "shape", node_record(cbor([body[0][1:]] + body[1:])))
    bad("addresses-17", "17 addresses", "shape", node_record(cbor(body[:4] + [["/ip4/203.0.113.7"] * 17])))
    bad("addresses-many", "a count of addresses that nothing follows", "shape", node_record(cbor(body[:4]).replace(b"\x84", b"\x85", 1) + b"\x9b\x7f" + b"\xff" * 7))
    bad("address-257", "an address of 257 characters", "shape", node_record(cbor(body[:4] + [["/" + "x" * 256]])))
    bad("address-empty", "an empty address", "shape", node_record(cbor(body[:4] + [[""]])))
    bad("address-control", "an address that steers a terminal", "shape", node_record(cbor(body[:4] + [["/dns/\x1b[2J"]])))
    bad("address-utf-8", "an address that is not ASCII", "shape", node_record(cbor(body[:4] + [["/dns/zürich"]])))
    bad("address-bytes", "an address as a byte string", "shape", node_record(cbor(body[:4] + [[b"/ip4"]])))
    bad("too-long", "attack 35: 8,193 bytes", "shape", b"\x01" + bytes(8192))

    def good_head(name, description, **changes):
        value = drive_head(**{"sequence": 7, **changes})
        sequence = str(int.from_bytes(value[33:41], "big"))
        case("record", f"ok-head-{name}", description, "ok", key=head_key(OWNER.public).hex(), value=value.hex(), now=str(NOW), sequence=sequence)

    good_head("some", "a drive's head; heads do not expire")
    good_head("first", "the first", sequence=1)
    good_head("last", "the largest sequence", sequence=2**64 - 1)
    good_head("longest", "8,192 bytes", sealed=bytes(8192 - 73 - 64))
    own = head_key(OWNER.public)
    some = drive_head(7)
    bad("head-other-key", "attack 35: under another drive's key", "key", some, key=head_key(PROVIDER.public))
    bad("head-node-key", "attack 35: under the key of a node of the same public key", "key", some, key=node_key(OWNER.public))
    bad("head-sequence", "attack 35: the sequence raised after signing", "signature", some[:40] + b"\x08" + some[41:], key=own)
    bad("head-forged", "attack 35: signed by a stranger", "signature", some[:-64] + drive_head(7, key=STRANGER)[-64:], key=own)
    bad("head-0", "a head before the first", "shape", drive_head(0), key=own)
    bad("head-short", "no room for what is sealed", "shape", drive_head(7, sealed=bytes(51)), key=own)
    bad("head-too-long", "attack 35: 8,193 bytes", "shape", drive_head(7, sealed=bytes(8193 - 73 - 64)), key=own)
    bad("head-as-node", "a head as a node record", "shape", drive_head(7, kind=1), key=own)

    def good_link(name, description, value):
        sequence = str(int.from_bytes(value[33:41], "big"))
        case("record", f"ok-link-{name}", description, "ok", key=link_key(OWNER.public).hex(), value=value.hex(), now=str(NOW), sequence=sequence)

    good_link("open", "a link's record that never expires; what it seals is not looked at", link_record(7))
    good_link("expires", "a link's record in its last second", link_record(7, expires=NOW + 1))
    good_link("far", "a link's record may be valid for more than 7 days", link_record(7, expires=2**64 - 1))
    good_link("revoked", "a link that was revoked", link_record(2**64 - 1, state=b"\0"))
    good_link("longest", "8,192 bytes", link_record(7, sealed=bytes(8192 - len(link_record(7, sealed=b"")))))
    own, some = link_key(OWNER.public), link_record(7)
    bad("link-expired", "attack 35: a link's record at the second at which it expires", "expired", link_record(7, expires=NOW), key=own)
    bad("link-revoked-expired", "attack 35: a revoked record with an end that has come", "expired", link_record(7, expires=1, state=b"\0"), key=own)
    bad("link-other-key", "attack 35: under another link's key", "key", some, key=link_key(STRANGER.public))
    bad("link-head-key", "attack 35: under the key of a drive of the same public key", "key", some, key=head_key(OWNER.public))
    bad("link-sequence", "attack 35: the sequence raised after signing", "signature", some[:40] + b"\x08" + some[41:], key=own)
    bad("link-forged", "attack 35: signed by a stranger", "signature", some[:-64] + link_record(7, key=STRANGER)[-64:], key=own)
    bad("link-reopened", "attack 22: a revoked record made an open one", "signature", some[:-64] + link_record(7, state=b"\0")[-64:], key=own)
    bad("link-0", "a record before the first", "shape", link_record(0), key=own)
    bad("link-state", "a state that is not known", "shape", link_record(7, state=b"\2"), key=own)
    bad("link-surplus", "a byte after the signature", "shape", some + b"\0", key=own)
    bad("link-too-long", "attack 35: 8,193 bytes", "shape", link_record(7, sealed=bytes(8193 - len(link_record(7, sealed=b"")))), key=own)
    bad("link-as-head", "a link's record as a head", "key", drive_head(7), key=own)


# --- Messages ---

CHUNK = sha(b"chunk")
ID = bytes.fromhex(CONTRACT_ID)


def wire_case(name, description, expect, direction, parts, **fields):
    """Bodies are given as parts (hex, how many times), so that a long one stays readable."""
    body = [{"hex": part.hex(), "times": str(times)} for part, times in parts]
    case("wire", f"{direction}-{name}", description, expect, direction=direction, body=body, **fields)


def good_message(name, description, direction, number, elements, **fields):
    wire_case(f"ok-{name}", description, "ok", direction, [(cbor([number, elements]), 1)], message={"type": name.split("_")[0], **fields})


def long_bytes(number, before, count, after=b""):
    """[number, [before…, count bytes of a5, after]] as parts."""
    start = cbor([number, []])[:-1] + head(4, len(before) + 1 + len(after)) + b"".join(map(cbor, before)) + head(2, count)
    return [(start, 1), (b"\xa5", count), *([(b"".join(map(cbor, after)), 1)] if after else [])]


def long_list(number, before, element, count, after=()):
    start = cbor([number, []])[:-1] + head(4, len(before) + 1 + len(after)) + b"".join(map(cbor, before)) + head(4, count)
    return [(start, 1), (cbor(element), count), *([(b"".join(map(cbor, after)), 1)] if after else [])]


def messages():
    requests()
    responses()
    for direction, good in (("request", cbor([2, [ID]])), ("response", cbor([1, [b"note"]]))):

        def bad(name, description, body, direction=direction):
            wire_case(f"bad-{name}", description, "refused", direction, [(body, 1)])

        bad("empty", "no bytes", b"")
        bad("cut", "cut by a byte", good[:-1])
        bad("surplus", "attack 37: junk after a valid message", good + b"\x00")
        bad("twice", "two messages", good + good)
        bad("number", "a number of a message that is not known", cbor([99, []]))
        bad("not-an-array", "a byte string", cbor(good))
        bad("field-missing", "a field is missing", cbor([2 if direction == "request" else 1, []]))
        bad("field-surplus", "a field that is not known", good[:2] + b"\x82" + good[3:] + b"\x00")
        bad("indefinite-fields", "fields of unstated length", good[:2] + b"\x9f" + good[3:] + b"\xff")
        bad("indefinite", "an array of unstated length", b"\x9f" + good[1:] + b"\xff")
        bad("long-number", "a number that is not in its shortest form", good[:1] + b"\x18" + good[1:])
        long_length = b"\x59" + len(good[5:] if direction == "request" else b"note").to_bytes(2, "big")
        bad("long-length", "a length that is not in its shortest form", good[:3] + long_length + good[-(32 if direction == "request" else 4) :])
        bad("tagged", "a tag before the message", b"\xc1" + good)
        bad("null", "null", b"\xf6")
        bad("deep", "attack 37: arrays within arrays", b"\x81" * 4096)
        bad("claims-much", "attack 37: a length that nothing follows", good[:3] + b"\x5b\x7f" + b"\xff" * 7)
    for direction in ("request", "response"):
        wire_case("bad-too-long", "attack 37: more than the largest body", "refused", direction, [(b"\x00", 2**20 + 4097)])


def requests():
    text = text_of("revision", REVISION).encode()
    signed = note(text, OWNER)

    def good(name, description, number, elements, **fields):
        good_message(name, description, "request", number, elements, **fields)

    def bad(name, description, parts):
        wire_case(f"bad-{name}", description, "refused", "request", parts)

    good("hello", "show your record", 0, [])
    good("open-contract", "a contract note", 1, [b"any note"], note=b"any note".hex())
    good("contract-state", "a contract's last notes", 2, [ID], contract=ID.hex())
    good("inventory-page", "a page", 3, [ID, 4096], contract=ID.hex(), **{"from": "4096"})
    good("inventory-page_last", "the last index there can be", 3, [ID, 2**64 - 1], contract=ID.hex(), **{"from": U64_MAX})
    good("put-chunk", "a chunk", 4, [ID, CHUNK, b"some bytes"], contract=ID.hex(), chunk=CHUNK.hex(), bytes=b"some bytes".hex())
    adds, removes = [[CHUNK, 1], [sha(CHUNK), 2**20]], [0, 24, 65536, 2**64 - 1]
    named = [{"chunk": chunk.hex(), "len": str(count)} for chunk, count in adds]
    good("commit", "a revision and its changes", 5, [signed, adds, removes], note=signed.hex(), adds=named, removes=list(map(str, removes)))
    good("commit_empty", "a revision without changes", 5, [signed, [], []], note=signed.hex(), adds=[], removes=[])
    good("get-chunk", "a chunk that a contract pays for", 6, [CHUNK, ID], chunk=CHUNK.hex(), contract=ID.hex())
    good("get-chunk_gift", "a chunk that nobody pays for", 6, [CHUNK], chunk=CHUNK.hex(), contract=None)
    root, beacon = sha(b"inventory"), sha(b"beacon")
    challenge = [ID, 3, root, 12, 12582912, 8, NONCE]
    named = {
        "contract": ID.hex(), "revision": "3", "inventory_root": root.hex(), "entries": "12",
        "span": "12582912", "epoch": "8", "nonce": NONCE.hex(),
    }
    good("audit", "a challenge", 7, [challenge], challenge={**named, "beacon": None})
    good("audit_beacon", "a challenge with a beacon", 7, [challenge + [beacon]], challenge={**named, "beacon": beacon.hex()})
    evidence, ledger = sha(b"evidence"), sha(b"owner's ledger")
    good(
        "draw-receipt", "a request for a receipt", 8, [ID, 5242880, 7, 1, evidence, 41, ledger],
        contract=ID.hex(), egress_bytes="5242880", audits_passed="7", audits_failed="1",
        evidence=evidence.hex(), owner_size="41", owner_root=ledger.hex(),
    )  # fmt: skip
    good("settle-receipt", "a countersigned receipt", 9, [b"any note"], note=b"any note".hex())
    signature = OWNER.sign(b"commonhold/v1/list-contracts" + NODE.public + OTHER_NODE.public)
    good(
        "list-contracts", "an owner's contracts; signed for one asking and one answering node", 10, [OWNER.public, signature],
        owner=OWNER.public.hex(), signature=signature.hex(), asking=NODE.public.hex(), answering=OTHER_NODE.public.hex(),
    )  # fmt: skip
    rotten = [CHUNK, sha(CHUNK)]
    good("damaged", "chunks that rotted", 11, [ID, rotten], contract=ID.hex(), chunks=[chunk.hex() for chunk in rotten])
    wire_case("ok-most-damaged", "1,024 chunks that rotted", "ok", "request", long_list(11, [ID], CHUNK, 1024))
    bad("damaged-too-many", "1,025 chunks that rotted", long_list(11, [ID], CHUNK, 1025))
    bad("damaged-none", "no chunk that rotted", [(cbor([11, [ID, []]]), 1)])

    good("cosign", "a head to be cosigned", 12, [b"any note", 41, ID + CHUNK], checkpoint=b"any note".hex(), old="41", proof=[ID.hex(), CHUNK.hex()])
    good("cosign_first", "a head that was never seen", 12, [b"any note", 0, b""], checkpoint=b"any note".hex(), old="0", proof=[])
    good("consistency", "a proof between two heads", 13, [41, 1207], old="41", new="1207")
    good("countersign", "a payment's note", 14, [b"any note"], note=b"any note".hex())
    bad("cosign-33", "a proof of 33 bytes", [(cbor([12, [b"any note", 41, ID + b"x"]]), 1)])
    bad("cosign-65", "a proof of 65 hashes", [(cbor([12, [b"any note", 41, ID * 65]]), 1)])
    good("audit-result", "what an audit found", 15, [b"an intent", b"a record"], intent=b"an intent".hex(), record=b"a record".hex())
    for name, number, after in (("cosign", 12, [1, b""]), ("countersign", 14, []), ("audit-result", 15, [b"a record"])):
        bad(f"{name}-note-too-long", "a note of a byte above 16 KiB", long_bytes(number, [], 16385, after))
    bad("audit-result-record-too-long", "a record of a byte above 16 KiB", long_bytes(15, [b"an intent"], 16385, []))
    bad("audit-result-alone", "an intent without a record", [(cbor([15, [b"an intent"]]), 1)])
    wanted = [OWNER.public, 2**40, 15552000]
    good("quote", "what a contract would cost", 16, wanted, owner=OWNER.public.hex(), bytes=str(2**40), seconds="15552000")
    good("quote_largest", "the largest numbers", 16, [OWNER.public, 2**64 - 1, 2**64 - 1], owner=OWNER.public.hex(), bytes=U64_MAX, seconds=U64_MAX)
    bad("quote-owner-31", "an owner of 31 bytes", [(cbor([16, [OWNER.public[1:], *wanted[1:]]]), 1)])
    bad("quote-no-term", "a quote without a term", [(cbor([16, wanted[:2]]), 1)])
    probed = [CHUNK, sha(CHUNK)]
    drawn = int.from_bytes(sha(b"commonhold/v1/probe", NONCE, CHUNK)[:8], "big")
    leaves = [{"len": str(count), "leaf": str(drawn % -(-count // 1024))} for count in (1, 1024, 1025, 3000, 100_000, 2**20 - 1, 2**20)]
    good("probe", "leaves of two chunks, and which leaf of the first by its length", 17, [NONCE, probed], nonce=NONCE.hex(), chunks=[chunk.hex() for chunk in probed], leaves=leaves)
    wire_case("ok-most-probed", "256 chunks to be probed", "ok", "request", long_list(17, [NONCE], CHUNK, 256))
    bad("probe-too-many", "257 chunks to be probed", long_list(17, [NONCE], CHUNK, 257))
    bad("probe-none", "no chunk to be probed", [(cbor([17, [NONCE, []]]), 1)])
    bad("probe-nonce-31", "a nonce of 31 bytes", [(cbor([17, [NONCE[1:], probed]]), 1)])
    bad("probe-chunk-31", "a chunk id of 31 bytes", [(cbor([17, [NONCE, [CHUNK[1:]]]]), 1)])
    bad("probe-no-chunks", "a nonce alone", [(cbor([17, [NONCE]]), 1)])
    bad("probe-surplus", "a field too many", [(cbor([17, [NONCE, probed, 0]]), 1)])
    bad("quote-surplus", "a quote for one more number", [(cbor([16, [*wanted, 0]]), 1)])
    wire_case("ok-longest-chunk", "a chunk of 1 MiB", "ok", "request", long_bytes(4, [ID, CHUNK], 2**20))
    wire_case("ok-longest-note", "a note of 16 KiB", "ok", "request", long_bytes(1, [], 16384))
    wire_case("ok-most-adds", "4,096 additions", "ok", "request", long_list(5, [signed], [CHUNK, 5], 4096, ([],)))
    wire_case("ok-most-removes", "4,096 removals", "ok", "request", long_list(5, [signed, []], 7, 4096))
    bad("chunk-too-long", "a chunk of a byte above 1 MiB", long_bytes(4, [ID, CHUNK], 2**20 + 1))
    bad("chunk-empty", "an empty chunk", [(cbor([4, [ID, CHUNK, b""]]), 1)])
    bad("chunk-as-text", "a chunk as a text", [(cbor([4, [ID, CHUNK, "text"]]), 1)])
    bad("chunk-id-31", "a chunk id of 31 bytes", [(cbor([6, [CHUNK[1:], ID]]), 1)])
    bad("chunk-id-33", "a chunk id of 33 bytes", [(cbor([6, [CHUNK + b"\x00", ID]]), 1)])
    bad("gift-null", "null in the place of a contract that has to be left out", [(cbor([6, [CHUNK, None]]), 1)])
    for name, number, after in (("open", 1, []), ("settle", 9, []), ("commit", 5, [[], []])):
        bad(f"{name}-note-too-long", "a note of a byte above 16 KiB", long_bytes(number, [], 16385, after))
    bad("adds-too-many", "4,097 additions", long_list(5, [signed], [CHUNK, 5], 4097, ([],)))
    bad("removes-too-many", "4,097 removals", long_list(5, [signed, []], 7, 4097))
    bad("add-empty", "an addition of an empty chunk", [(cbor([5, [signed, [[CHUNK, 0]], []]]), 1)])
    bad("add-too-long", "an addition of a byte above 1 MiB", [(cbor([5, [signed, [[CHUNK, 2**20 + 1]], []]]), 1)])
    bad("add-32-bits", "an addition beyond 32 bits", [(cbor([5, [signed, [[CHUNK, 2**32]], []]]), 1)])
    bad("remove-negative", "a negative index", [(cbor([5, [signed, []]])[:2] + b"\x83" + cbor(signed) + b"\x80\x81\x20", 1)])
    bad("beacon-null", "null in the place of a beacon that has to be left out", [(cbor([7, [challenge + [None]]]), 1)])
    bad("signature-63", "a signature of 63 bytes", [(cbor([10, [OWNER.public, signature[1:]]]), 1)])


def responses():
    def good(name, description, number, elements, **fields):
        good_message(name, description, "response", number, elements, **fields)

    def bad(name, description, parts):
        wire_case(f"bad-{name}", description, "refused", "response", parts)

    value = node_record(cbor(node_body(NODE_FIELDS)))
    good("record", "a node record", 0, [value], record=value.hex())
    good("note", "a note", 1, [b"any note"], note=b"any note".hex())
    good("contract-state", "the three last notes", 2, [b"a", b"b", b"c"], contract="61", revision="62", receipt="63")
    good("contract-state_new", "a contract without revision and receipt", 2, [b"a", b"", b""], contract="61", revision="", receipt="")
    entries = [[0, 2**20, CHUNK], [2**20, 5, None]]
    named = [
        {"offset": "0", "len": str(2**20), "chunk": CHUNK.hex()},
        {"offset": str(2**20), "len": "5", "chunk": None},
    ]
    good("inventory-page", "an entry and a hole", 3, [entries], entries=named)
    good("inventory-page_empty", "no more entries", 3, [[]], entries=[])
    good("done", "it is done", 4, [])
    good("chunk", "a chunk", 5, [b"some bytes"], bytes=b"some bytes".hex())
    entry, path = [0, 1024, CHUNK], CHUNK + NONCE
    shown = [[0, []], [1, [b"leaf", path]], [2, []]]
    named = [
        {"kind": "hole"},
        {"kind": "leaf", "bytes": b"leaf".hex(), "path": [CHUNK.hex(), NONCE.hex()]},
        {"kind": "lost"},
    ]
    samples = [[number, entry, NONCE, part] for number, part in enumerate(shown)]
    good(
        "proof", "a hole, a leaf and a lost chunk", 6, [[samples]],
        samples=[
            {
                "index": str(number), "entry": {"offset": "0", "len": "1024", "chunk": CHUNK.hex()},
                "inventory_path": [NONCE.hex()], "shown": part,
            }
            for number, part in enumerate(named)
        ],
    )  # fmt: skip
    good("proof_empty", "a proof over nothing", 6, [[[]]], samples=[])
    good("contracts", "two contracts", 7, [[ID, CHUNK]], contracts=[ID.hex(), CHUNK.hex()])
    reasons = (
        "other", "invalid", "unknown", "full", "over-contract", "terms", "forbidden", "damaged",
        "quarantined", "busy", "conflict", "clock", "credit",
    )  # fmt: skip
    for code, reason in enumerate(reasons):
        good(f"refused_{reason}", f"refused: {reason}", 8, [code, "Zürich, why"], reason=reason, message="Zürich, why")

    good("cosigned", "a cosigned head", 9, [41, b"any note"], size="41", checkpoint=b"any note".hex())
    good("cosigned_elsewhere", "the proof has to begin at 41", 9, [41, b""], size="41", checkpoint="")
    good("consistency", "two hashes", 10, [ID + CHUNK], proof=[ID.hex(), CHUNK.hex()])
    quoted = [[1000000, 100000, 100], 1750000060]
    good("quote", "three prices and until when", 11, quoted, storage="1000000", egress="100000", audit="100", valid_until="1750000060")
    good("quote_largest", "the largest numbers", 11, [[2**64 - 1] * 3, 2**64 - 1], storage=U64_MAX, egress=U64_MAX, audit=U64_MAX, valid_until=U64_MAX)
    bad("quote-two-prices", "two prices", [(cbor([11, [quoted[0][:2], quoted[1]]]), 1)])
    bad("quote-four-prices", "four prices", [(cbor([11, [[*quoted[0], 0], quoted[1]]]), 1)])
    bad("quote-no-end", "prices without an end", [(cbor([11, quoted[:1]]), 1)])
    bad("quote-null", "a price of null", [(cbor([11, [[1, None, 1], quoted[1]]]), 1)])
    named = [
        {"kind": "leaf", "bytes": b"leaf".hex(), "path": [CHUNK.hex(), NONCE.hex()]},
        {"kind": "none"},
        {"kind": "leaf", "bytes": "00", "path": []},
    ]
    good("probed", "a leaf with its path, a chunk that is not held, and the leaf of a chunk of one byte", 12, [[[b"leaf", path], None, [b"\0", b""]]], shown=named)
    leaf = [b"\xa5" * 1024, CHUNK * 10]
    wire_case("ok-most-shown", "the largest answer to a probe", "ok", "response", long_list(12, [], leaf, 256))
    bad("probed-too-many", "257 leaves", long_list(12, [], [b"leaf", b""], 257))
    bad("probed-nothing", "an answer for no chunk", [(cbor([12, [[]]]), 1)])
    bad("probed-leaf-empty", "a leaf without bytes", [(cbor([12, [[[b"", path]]]]), 1)])
    bad("probed-leaf-1025", "a leaf of 1,025 bytes", [(cbor([12, [[[b"\xa5" * 1025, path]]]]), 1)])
    bad("probed-path-33", "a path of 33 bytes", [(cbor([12, [[[b"leaf", CHUNK + b"x"]]]]), 1)])
    bad("probed-path-11", "a path of 11 hashes", [(cbor([12, [[[b"leaf", CHUNK * 11]]]]), 1)])
    bad("probed-alone", "a leaf without a path", [(cbor([12, [[[b"leaf"]]]]), 1)])
    bad("probed-surplus", "a leaf with something more", [(cbor([12, [[[b"leaf", path, 0]]]]), 1)])
    bad("probed-undefined", "undefined instead of null", [(cbor([12, [[None]]])[:-1] + b"\xf7", 1)])
    bad("probed-hole", "an empty array instead of null", [(cbor([12, [[[]]]]), 1)])
    bad("consistency-65", "a proof of 65 hashes", [(cbor([10, [ID * 65]]), 1)])
    bad("cosigned-note-too-long", "a note of a byte above 16 KiB", long_bytes(9, [41], 16385, []))

    later = {"message": {"type": "refused", "reason": "other", "message": "why"}}
    for name, description, elements in (
        ("code-13", "the next code, of a later version", [13, "why"]),
        ("code-max", "the largest code, of a later version", [2**32 - 1, "why"]),
        ("field", "a field of a later version", [0, "why", [1, [2, "x"]]]),
    ):
        wire_case(f"later-{name}", f"a refusal with {description}", "ok", "response", [(cbor([8, elements]), 1)], **later)
    wire_case("ok-longest-chunk", "a chunk of 1 MiB", "ok", "response", long_bytes(5, [], 2**20))
    wire_case("ok-longest-record", "a record of 8 KiB", "ok", "response", long_bytes(0, [], 8192))
    wire_case("ok-most-entries", "4,096 entries", "ok", "response", long_list(3, [], [2**40, 5, CHUNK], 4096))
    wire_case("ok-most-contracts", "4,096 contracts", "ok", "response", long_list(7, [], ID, 4096))
    most = cbor([8, [0]])[:2] + b"\x82\x00" + head(3, 256)
    wire_case("ok-longest-message", "an explanation of 256 bytes", "ok", "response", [(most, 1), (b"x", 256)])
    sample = [2**64 - 1, [2**63, 2**20, CHUNK], CHUNK * 64, [1, [b"\xa5" * 1024, CHUNK * 10]]]
    proof = (cbor([6, []])[:-1] + b"\x81\x81" + head(4, 64), 1)
    wire_case("ok-largest-proof", "64 samples with long paths", "ok", "response", [proof, (cbor(sample), 64)])

    bad("chunk-too-long", "a chunk of a byte above 1 MiB", long_bytes(5, [], 2**20 + 1))
    bad("chunk-empty", "an empty chunk", [(cbor([5, [b""]]), 1)])
    bad("record-too-long", "a record of a byte above 8 KiB", long_bytes(0, [], 8193))
    bad("note-too-long", "a note of a byte above 16 KiB", long_bytes(1, [], 16385))
    for position in range(3):
        before, after = [b""] * position, [b""] * (2 - position)
        bad(f"state-{position}-too-long", "a note of a byte above 16 KiB", long_bytes(2, before, 16385, after))
    bad("entries-too-many", "4,097 entries", long_list(3, [], [2**40, 5, CHUNK], 4097))
    bad("entries-flood", "attack 37: many small entries", long_list(3, [], [0, 1, None], 130000))
    bad("contracts-too-many", "4,097 contracts", long_list(7, [], ID, 4097))
    bad("entry-empty", "an entry of no bytes", [(cbor([3, [[[0, 0, CHUNK]]]]), 1)])
    bad("entry-zero-id", "an entry whose id stands for a hole", [(cbor([3, [[[0, 5, bytes(32)]]]]), 1)])
    bad("samples-65", "65 samples", [(proof[0][:-2] + head(4, 65), 1), (cbor([0, entry, b"", [0, []]]), 65)])
    bad("leaf-1025", "a leaf of 1,025 bytes", [(cbor([6, [[[[0, entry, b"", [1, [bytes(1025), b""]]]]]]]), 1)])
    bad("path-33", "a path of 33 bytes", [(cbor([6, [[[[0, entry, bytes(33), [0, []]]]]]]), 1)])
    bad("path-65", "a path of 65 hashes", [(cbor([6, [[[[0, entry, bytes(65 * 32), [0, []]]]]]]), 1)])
    bad("shown-3", "a way of showing that is not known", [(cbor([6, [[[[0, entry, b"", [3, []]]]]]]), 1)])
    bad("done-with-more", "done, with a field", [(cbor([4, [0]]), 1)])
    bad("message-257", "an explanation of 257 bytes", [(cbor([8, [0, "x" * 257]]), 1)])
    bad("message-control", "an explanation that steers a terminal", [(cbor([8, [0, "\x1b[2J"]]), 1)])
    bad("message-newline", "an explanation of two lines", [(cbor([8, [0, "a\nb"]]), 1)])
    bad("message-c1", "a control character beyond ASCII", [(cbor([8, [0, "a\u009bb"]]), 1)])
    bad("message-utf-8", "an explanation that is not UTF-8", [(cbor([8, [0]])[:2] + b"\x82\x00\x61\xff", 1)])
    bad("refused-surplus", "junk after a refusal", [(cbor([8, [0, "why"]]) + b"\x00", 1)])
    bad("code-33-bits", "a code beyond 32 bits", [(cbor([8, [2**32, "why"]]), 1)])


# --- Plugins (spec/plugins.md) ---

COMPONENT = b"\0asm\x0d\0\x01\0" + b"\0\xc8\x01\x04name" + bytes(195)
MANIFEST = {
    "name": "spread",
    "version": "1.0.0",
    "kind": "placement",
    "api": "0.1.0",
    "capabilities": "config state",
    "about": "Never two chunks of a segment in one region",
    "component": sha(COMPONENT).hex(),
    "size": str(len(COMPONENT)),
    "author": OWNER.public.hex(),
}


def manifest(**changes):
    rows = "".join(f"{name}: {value}\n" for name, value in (MANIFEST | changes).items())
    return ("commonhold/policy-manifest/v1\n" + rows).encode()


def leb128(value):
    out = b""
    while True:
        value, low = value >> 7, value & 0x7F
        out += bytes([low | (0x80 if value else 0)])
        if not value:
            return out


def section(contents, name=b"commonhold:policy"):
    body = leb128(len(name)) + name + contents
    return b"\0" + leb128(len(body)) + body


def plugin(text, *keys, component=COMPONENT):
    return component + section(note(text, *keys) if keys else text)


def plugins():
    def good(name, description, file, **changes):
        fields = {key: (MANIFEST | changes)[key] for key in MANIFEST}
        case("plugin", f"good-{name}", description, "ok", file=file.hex(), manifest=fields)

    def bad(name, description, expect, file):
        case("plugin", f"bad-{name}", description, expect, file=file.hex())

    good("signed", "signed by its author", plugin(manifest(), OWNER))
    good("unsigned", "signed by nobody", plugin(manifest(author="none"), component=COMPONENT), author="none")
    good("two-signatures", "signed by a second party too", plugin(manifest(), OWNER, STRANGER))
    bare = COMPONENT[:8]
    empty = {"component": sha(bare).hex(), "size": "8", "capabilities": "none", "about": "none", "author": "none"}
    good("empty", "a component without sections", plugin(manifest(**empty), component=bare), **empty)
    for kind in ("transport", "pricing"):
        good(kind, f"a policy for {kind}", plugin(manifest(kind=kind), OWNER), kind=kind)
    signed = plugin(manifest(), OWNER)
    bad("no-manifest", "a component without a manifest", "no-manifest", COMPONENT)
    bad("behind", "a section behind the manifest", "no-manifest", signed + section(b"", b"name"))
    bad("twice", "two manifests", "no-manifest", signed + section(note(manifest(), OWNER)))
    bad("core", "a core module", "component", b"\0asm\x01\0\0\0" + signed[8:])
    bad("other-file", "not WebAssembly", "component", b"\x7fELF" + signed[4:])
    bad("cut", "cut off within the manifest", "component", signed[:-1])
    bad("cut-header", "cut off within the header", "component", signed[:7])
    bad("length-33-bits", "a section length beyond 32 bits", "component", COMPONENT + b"\0\xff\xff\xff\xff\x1f")
    bad("length-6-bytes", "a section length of six bytes", "component", COMPONENT + b"\0\x80\x80\x80\x80\x80\0")
    bad("changed", "one bit of the code changed", "changed", bytes([*signed[:20], signed[20] ^ 1, *signed[21:]]))
    bad("size", "another size", "changed", plugin(manifest(size=str(len(COMPONENT) + 1)), OWNER))
    bad("stranger", "signed by somebody else", "signature", plugin(manifest(), STRANGER))
    bad("not-signed", "names an author that has not signed", "signature", plugin(manifest()))
    forged = note(manifest(), OWNER).replace(b"1.0.0", b"1.0.1")
    bad("forged", "the manifest changed after it was signed", "signature", COMPONENT + section(forged))
    for name, changes in {
        "name-empty": {"name": ""},
        "name-upper": {"name": "Spread"},
        "name-path": {"name": "../spread"},
        "name-digit": {"name": "1spread"},
        "name-41": {"name": "s" * 41},
        "version-two": {"version": "1.0"},
        "version-zero": {"version": "1.00.0"},
        "version-word": {"version": "1.0.0-rc1"},
        "kind": {"kind": "routing"},
        "api": {"api": "v1"},
        "capability": {"capabilities": "config network"},
        "capabilities-order": {"capabilities": "state config"},
        "capabilities-twice": {"capabilities": "config config"},
        "about-121": {"about": "x" * 121},
        "about-control": {"about": "a\x1b[2J"},
        "component-upper": {"component": sha(COMPONENT).hex().upper()},
        "size-plus": {"size": f"+{len(COMPONENT)}"},
        "author-short": {"author": "00"},
    }.items():
        bad(f"manifest-{name}", f"the manifest has {changes}", "manifest", plugin(manifest(**{"author": "none"} | changes)))
    bad("manifest-surplus", "a line too many", "manifest", plugin(manifest(author="none") + b"more: 1\n"))
    bad("manifest-utf-8", "a manifest that is not UTF-8", "manifest", COMPONENT + section(b"\xff"))
    bad("manifest-empty", "an empty manifest", "manifest", COMPONENT + section(b""))


def main():
    notes()
    statements()
    records()
    messages()
    plugins()
    found = {
        str(path.relative_to(HERE).with_suffix(""))
        for topic in TOPICS
        for path in (HERE / topic).glob("*.json")
    }
    if "--check" in sys.argv:
        wrong = sorted(found ^ set(FILES))
        for name, content in FILES.items():
            if name in found and json.loads((HERE / f"{name}.json").read_text()) != content:
                wrong.append(name)
        sys.exit(f"these differ: {wrong}" if wrong else 0)
    for name in found - set(FILES):
        (HERE / f"{name}.json").unlink()
    for name, content in FILES.items():
        path = HERE / f"{name}.json"
        path.parent.mkdir(exist_ok=True)
        path.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n")


main()
