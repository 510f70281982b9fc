#!/usr/bin/env python3
"""Writes the vectors of link: keys, URLs, records, cover lists, drop boxes (spec/links.md).

Like sealed.py, whose cryptography it uses, this is made from spec/ and not from the Rust code. X25519
is written out after RFC 7748, PBKDF2 is the standard library's.

    python3 spec/vectors/links.py           # writes the files
    python3 spec/vectors/links.py --check   # fails when a file on disk differs
"""

import base64
import hashlib

from drives import reference, reference_items, segment, segment_items
from sealed import L, P, PLAIN_MAX, Gcm, Key, Raw, be, case, cbor, flip, hkdf, number, sealed_len, sha, text, write

NOW = 1_800_000_000


# --- X25519, RFC 7748 section 5 ---


def x25519(private, public):
    k = number(private) & ((1 << 254) - 8) | 1 << 254
    x1 = number(public) & ((1 << 255) - 1)
    x2, z2, x3, z3, swap = 1, 0, x1, 1, 0
    for at in range(254, -1, -1):
        bit = k >> at & 1
        if swap ^ bit:
            x2, x3, z2, z3 = x3, x2, z3, z2
        swap = bit
        a, b, c, d = x2 + z2, x2 - z2, x3 + z3, x3 - z3
        aa, bb, da, cb = a * a % P, b * b % P, d * a % P, c * b % P
        e = aa - bb
        x3, z3 = (da + cb) ** 2 % P, x1 * (da - cb) ** 2 % P
        x2, z2 = aa * bb % P, e * (aa + 121665 * e) % P
    if swap:
        x2, z2 = x3, z3
    return (x2 * pow(z2, P - 2, P) % P).to_bytes(32, "little")


BASE_POINT = be(9, 1) + bytes(31)
# RFC 7748, section 5.2: after one iteration.
assert x25519(BASE_POINT, BASE_POINT).hex() == "422c8e7a6227d7bca1350b3e2bb7279f7897b87bb6854b783c60e80311ae3079"


# --- Keys and URLs ---


def base64url(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


class Link:
    def __init__(self, name):
        self.root, self.seed = sha(b"root of ", name), sha(b"share ", name)[:16]
        self.key = Key(hkdf(self.root, self.seed, b"link-signing"))
        self.id = self.key.public
        self.secret = hkdf(self.root, self.seed, b"link-secret")
        self.drop_private = hkdf(self.root, self.seed, b"link-drop")
        self.drop_public = x25519(self.drop_private, BASE_POINT)

    def of(self):
        return {"root_secret": self.root.hex(), "share_seed": self.seed.hex()}


LINK, OTHER = Link(b"link"), Link(b"other")
PASSWORD, PASSWORD_SALT = "pässword", sha(b"password salt")[:16]
PASSWORDS = {}


def password_key(password=PASSWORD, iterations=600_000, salt=PASSWORD_SALT):
    wanted = (password, iterations, salt)
    if wanted not in PASSWORDS:
        PASSWORDS[wanted] = hashlib.pbkdf2_hmac("sha256", password.encode(), salt, iterations)
    return PASSWORDS[wanted]


def keys():
    for at, link in enumerate((LINK, OTHER)):
        case("link", f"ok-keys-{at}", "the keys of a link", "ok", of="keys", **link.of(), signing_seed=link.key.seed.hex(),
             id=link.id.hex(), secret=link.secret.hex(), drop_private=link.drop_private.hex(),
             drop_public=link.drop_public.hex())
    for name, password, iterations in (("least", "x", 600_000), ("writers", PASSWORD, 1_000_000), ("longest", "x" * 1024, 600_000)):
        case("link", f"ok-password-{name}", "a password made into a key", "ok", of="password", password=password,
             iterations=str(iterations), salt=PASSWORD_SALT.hex(), key=password_key(password, iterations).hex())
    for name, password, iterations in (
            ("empty", "", 600_000), ("1025", "é" * 512 + "x", 600_000), ("weak", "x", 599_999), ("costly", "x", 10_000_001)):
        case("link", f"bad-password-{name}", "attacks 13 and 25: a password or a cost out of bounds", "refused", of="password",
             password=password, iterations=str(iterations), salt=PASSWORD_SALT.hex())

    ident, secret = base64url(LINK.id), base64url(LINK.secret)

    def good(name, description, base=None):
        start = {} if base is None else {"base": base}
        case("link", f"ok-url-{name}", description, "ok", of="url", text=(f"{base}/s/" if base else "") + f"{ident}#{secret}",
             id=LINK.id.hex(), secret=LINK.secret.hex(), **start)

    good("https", "a link", "https://node.example")
    good("http", "a link to a node of one's own", "http://127.0.0.1:7200")
    good("ipv6", "a gateway by its address", "https://[2001:db8::1]:8443")
    good("path", "a gateway below a path", "https://example.org/files/s")
    good("short", "without a gateway")

    def bad(name, description, text):
        case("link", f"bad-url-{name}", description, "refused", of="url", text=text)

    whole = f"https://node.example/s/{ident}#{secret}"
    bad("empty", "nothing", "")
    bad("no-secret", "no fragment", whole.split("#")[0])
    bad("secret-empty", "an empty fragment", whole.split("#")[0] + "#")
    bad("id-empty", "no id", f"https://node.example/s/#{secret}")
    bad("secret-42", "a letter too few", whole[:-1])
    bad("secret-44", "a letter too many", whole + "A")
    bad("secret-padded", "base64 with its padding", whole + "=")
    bad("secret-bits", "a last letter with bits that are not used", whole[:-1] + chr(ord(whole[-1]) + 1))
    bad("secret-standard", "letters of base64 that URLs do not have", whole[:-2] + "+/")
    bad("two-fragments", "two # signs", whole + "#" + secret)
    bad("query", "a query", whole.replace("#", "?x=1#"))
    bad("slash-behind", "a slash behind the id", whole.replace("#", "/#"))
    bad("page", "another page", whole.replace("/s/", "/t/"))
    bad("slash-twice", "a gateway with a slash at its end", whole.replace("/s/", "//s/"))
    bad("scheme", "a scheme that is not of the web", whole.replace("https", "ftp"))
    bad("scheme-capital", "a scheme in capitals", whole.replace("https", "HTTPS"))
    bad("no-scheme", "a host alone", whole.replace("https://", ""))
    bad("no-host", "no host", whole.replace("node.example", ""))
    bad("port-alone", "a port alone", whole.replace("node.example", ":80"))
    bad("user", "a name before the host, which hides it", whole.replace("node", "node.example@other"))
    bad("base-query", "a query before the page", whole.replace("/s/", "?a=/s/"))
    bad("space", "a space at the end", whole + " ")
    bad("newline", "a line break within", whole.replace("node", "no\nde"))
    bad("unicode", "a host that is not ASCII", whole.replace("node", "n\u00f6de"))
    bad("long", "2,049 bytes", whole.replace("example", "x" * (2049 - len(whole) + 7)))


# --- Records ---


def place(cover=64, **fields):
    return {"segment": segment(b"link", 2, 6, 1000) | fields, "cover_len": str(cover)}


def place_items(it):
    return [segment_items(it["segment"]), int(it["cover_len"])]


def root_at(offset, length=100):
    return reference(b"shared", length, (0, offset, sealed_len(length)))


CONTENT = {"root": root_at(64), "written_ms": "1750000000000"}


def content_items(it):
    return [[reference_items(it["root"])] if "root" in it else [], bytes.fromhex(it.get("drop", "")), int(it["written_ms"])]


def encoded(it):
    return b"\1" + cbor(content_items(it))


def padded(content):
    plain = be(len(content), 4) + content
    return plain + bytes(-len(plain) % 64)


def sealed_part(plain, link=LINK, sequence=1, expires=0, salt=sha(b"salt"), key=b"", context=b"\1\1\6", secret=None):
    gcm = Gcm(hkdf((secret or link.secret) + key, link.id + salt, b"link-record"))
    return gcm.seal(bytes(12), context + link.id + be(sequence, 8) + be(expires, 8), plain)


def opened(where, sealed, salt=sha(b"salt"), iterations=None, password=None):
    """What an open record has after its state."""
    if password is None:
        password = b"\0" if iterations is None else b"\1" + be(iterations, 4) + PASSWORD_SALT
    where = where if isinstance(where, bytes) else cbor(place_items(where))
    return password + be(len(where), 2) + where + salt + be(len(sealed), 2) + sealed


def record(after=None, link=LINK, sequence=1, expires=0, state=None, kind=4, domain=b"link-signature", signer=None):
    state = be(0 if after is None else 1, 1) if state is None else state
    unsigned = be(kind, 1) + link.id + be(sequence, 8) + be(expires, 8) + state + (after or b"")
    return unsigned + (signer or link).key.sign(b"commonhold/v1/" + domain + unsigned)


def dht_key(link):
    return sha(b"commonhold/v1/link", link.id)


def of_record(name, description, expect, value, key=None, now=NOW, secret=LINK.secret, **fields):
    case("link", name, description, expect, of="record", key=(key or dht_key(LINK)).hex(), now=str(now),
         secret=secret.hex(), record=value.hex(), **fields)


def records():
    def good(name, description, sequence=1, expires=0, where=None, content=None, password=None, iterations=600_000):
        where, content = where or place(), content or CONTENT
        key = b"" if password is None else password_key(password, iterations)
        sealed = sealed_part(padded(encoded(content)), sequence=sequence, expires=expires, key=key)
        value = record(opened(where, sealed, iterations=iterations if key else None), sequence=sequence, expires=expires)
        assert len(value) <= 8192
        fields = {} if password is None else {"password": password, "iterations": str(iterations), "password_salt": PASSWORD_SALT.hex()}
        of_record(f"ok-record-{name}", description, "ok", value, sequence=str(sequence), expires=str(expires), place=where,
                  salt=sha(b"salt").hex(), content=content, encoded=encoded(content).hex(), **LINK.of(), **fields)

    good("file", "a link that never ends")
    good("expires", "a link that ends in a second", 7, NOW + 1)
    good("last", "the highest sequence and the latest end", 2**64 - 1, 2**64 - 1)
    good("password", "attack 21: a link with a password", password=PASSWORD)
    good("no-cover", "all of it in the link segment", where=place(0), content={**CONTENT, "root": root_at(0)})
    good("exact", "a root up to the end of its segment", where=place(64, len=str(64 + sealed_len(100))))
    cut = reference(b"shared", 100, (0, 900, 100), (0, 64, sealed_len(100) - 100))
    good("cut", "a root in two pieces", content={**CONTENT, "root": cut})
    good("drop", "a drop box, with an empty folder that has its name", content={**CONTENT, "drop": LINK.drop_public.hex()})
    good("drop-alone", "a drop box without a name", content={"drop": LINK.drop_public.hex(), "written_ms": "-1"})
    good("largest-code", "the largest code", where=place(64, **segment(b"wide", 20, 60, 20 * 2**20)))
    most = 524_288 * 32
    good("largest-cover", "the longest cover list", where=place(most, **segment(b"wide", 20, 60, 20 * 2**20)),
         content={**CONTENT, "root": root_at(most)})
    of_record("ok-record-revoked", "a link that was revoked", "revoked", record(sequence=9), sequence="9", **LINK.of())

    sealed = sealed_part(padded(encoded(CONTENT)))
    after = opened(place(), sealed)
    whole = record(after)

    def bad(name, description, expect, value, **fields):
        of_record(f"bad-record-{name}", description, expect, value, **fields)

    ended = record(opened(place(), sealed_part(padded(encoded(CONTENT)), expires=NOW)), expires=NOW)
    bad("expired", "attack 35: at the second at which it ends", "expired", ended)
    bad("expired-long-ago", "attack 35: long after its end", "expired", ended, now=NOW + 10**8)
    bad("revoked-expired", "a revoked record that has an end, after it", "expired", record(expires=NOW))
    bad("key", "attack 35: under the key of another link", "key", whole, key=dht_key(OTHER))
    bad("key-id", "attack 35: under the link's id itself", "key", whole, key=LINK.id)
    bad("too-large", "8,193 bytes", "too-large", whole + bytes(8193 - len(whole)))
    bad("empty", "no bytes", "shape", b"")
    bad("cut-state", "nothing after the state", "shape", whole[:50])
    bad("cut", "the last byte is missing", "shape", whole[:-1])
    bad("longer", "a byte after the signature", "shape", whole + b"\0")
    bad("revoked-longer", "a byte after the signature of a revoked record", "shape", record(sequence=9) + b"\0")
    bad("revoked-surplus", "a revoked record that says what an open one says, signed", "shape", record(after, state=b"\0"))
    bad("kind", "the kind of a ledger head, signed", "shape", record(after, kind=3))
    bad("kind-5", "a kind that is not known, signed", "shape", record(after, kind=5))
    bad("sequence-0", "sequence 0, signed", "shape", record(after, sequence=0))
    bad("revoked-sequence-0", "sequence 0 of a revoked record, signed", "shape", record(sequence=0))
    bad("state", "a state that is not known, signed", "shape", record(after, state=b"\2"))
    bad("password-kind", "a kind of password that is not known", "shape", record(opened(place(), sealed, password=b"\2")))
    for name, iterations in (("weak", 599_999), ("weakest", 0), ("costly", 10_000_001), ("costliest", 2**32 - 1)):
        bad(f"password-{name}", "attacks 13 and 25: a cost out of bounds", "shape", record(opened(place(), sealed, iterations=iterations)))
    bad("sealed-length", "a sealed part that claims more than there is", "shape",
        record(after[: -len(sealed) - 2] + be(len(sealed) + 65, 2) + sealed))
    bad("sealed-shorter", "a sealed part that claims less than there is", "shape",
        record(after[: -len(sealed) - 2] + be(len(sealed) - 1, 2) + sealed))
    bad("sealed-15", "a sealed part shorter than a tag", "shape", record(opened(place(), sealed[:15])))

    def bad_place(name, description, where):
        bad(f"place-{name}", description, "shape", record(opened(where, sealed)))

    items = place_items(place())
    bad_place("empty", "no place", b"")
    bad_place("trailing", "a byte after the place", cbor(items) + b"\0")
    bad_place("3", "a place of three fields", cbor([*items, 0]))
    bad_place("1", "no length", cbor(items[:1]))
    bad_place("long-integer", "an integer that is not in its shortest form", b"\x82" + cbor(items[0]) + b"\x19\x00\x40")
    bad_place("33-bits", "a length beyond 32 bits", cbor([items[0], 2**32]))
    bad_place("negative", "a negative length", cbor([items[0], -1]))
    bad_place("segment-empty", "a segment of no bytes", place(0, len="0"))
    bad_place("segment-long", "a segment longer than k MiB", place(64, len=str(2 * 2**20 + 1)))
    bad_place("code", "a code of 0 of 6", place(64, k="0"))
    bad_place("holders", "a holder too few", place(64, holders=segment(b"link", 2, 5)["holders"]))
    bad_place("cover-half", "a cover list that is not whole ids", place(65))
    bad_place("cover-past-end", "a cover list longer than its segment", place(1024))
    bad_place("cover-too-long", "attack 25: a cover list of more than 16 MiB",
              place(524_288 * 32 + 32, **segment(b"wide", 20, 60, 20 * 2**20)))

    for name, at in (("id", 1), ("sequence", 40), ("expires", 41), ("salt", len(whole) - 64 - len(sealed) - 3),
                     ("sealed", len(whole) - 100), ("signature-r", len(whole) - 64), ("signature-s", len(whole) - 33)):
        bad(f"bit-{name}", f"attack 1: a bit is flipped: {name}", "signature", flip(whole, at, 1),
            **({"key": sha(b"commonhold/v1/link", flip(LINK.id, 0, 1))} if name == "id" else {}))
    bad("revoked-bit", "attack 1: an open link made a revoked one", "signature", whole[:49] + b"\0" + whole[-64:])
    bad("malleable", "the group order is added to S", "signature", whole[:-32] + (number(whole[-32:]) + L).to_bytes(32, "little"))
    bad("domain", "signed under the name of another kind of message", "signature", record(after, domain=b"drive-head-signature"))
    bad("no-domain", "signed under no name", "signature", whole[:-64] + LINK.key.sign(whole[:-64]))
    bad("other-signer", "attack 6: signed by another link's key", "signature", record(after, signer=OTHER))

    bad("secret", "attack 21: another link's secret", "sealed", whole, secret=OTHER.secret)
    bad("secret-bit", "a bit of the secret is wrong", "sealed", whole, secret=flip(LINK.secret, 31))
    with_password = record(opened(place(), sealed_part(padded(encoded(CONTENT)), key=password_key()), iterations=600_000))
    bad("password", "attack 21: another password", "sealed", with_password, password="password")
    bad("password-normalised", "passwords are not normalised", "sealed", with_password, password="pa\u0308ssword")
    bad("password-stripped", "attack 13: a record with a password that says it has none", "sealed",
        record(opened(place(), sealed_part(padded(encoded(CONTENT)), key=password_key()))))
    bad("password-none", "a password is needed", "password-needed", with_password)

    def bad_sealed(name, description, plain=padded(encoded(CONTENT)), where=None, **fields):
        bad(name, description, "sealed", record(opened(where or place(), sealed_part(plain, **fields))))

    bad_sealed("replayed", "attack 11: an old sealed part under another sequence", sequence=2)
    bad_sealed("prolonged", "attack 22: a sealed part that was to end", expires=NOW)
    bad_sealed("other-salt", "a sealed part of another salt", salt=sha(b"other salt"))
    bad_sealed("version", "attack 13: another version in the context", context=b"\2\1\6")
    bad_sealed("suite", "attack 13: another suite in the context", context=b"\1\0\6")
    bad_sealed("object-kind", "attack 16: sealed as a head", context=b"\1\1\4")
    bad("taken-over", "attack 20: another link's sealed part", "sealed", record(opened(place(), sealed_part(padded(encoded(CONTENT)), OTHER))))
    content = encoded(CONTENT)
    bad_sealed("padding", "padding that is not zeros", padded(content)[:-1] + b"\1")
    bad_sealed("unpadded", "no padding", be(len(content), 4) + content)
    bad_sealed("more-padding", "64 bytes of padding too many", padded(content) + bytes(64))
    bad_sealed("length", "a length beyond the end", be(2**32 - 1, 4) + padded(content)[4:])
    bad_sealed("length-short", "a length that ends within the content", be(len(content) - 1, 4) + padded(content)[4:])
    bad_sealed("nothing", "no content", padded(b""))
    bad_sealed("no-bytes", "a tag alone", b"")

    def bad_content(name, description, items, version=b"\1", where=None):
        bad_sealed(f"content-{name}", description, padded(version + cbor(items)), where)

    root, none, written = content_items(CONTENT)
    bad_content("version-0", "attack 13: version 0", [root, none, written], b"\0")
    bad_content("version-2", "a version that is not known", [root, none, written], b"\2")
    bad_content("4", "a field too many", [root, none, written, 0])
    bad_content("2", "no time", [root, none])
    bad_content("nothing", "neither a root nor a drop box", [[], none, written])
    bad_content("two-roots", "two roots", [root * 2, none, written])
    bad_content("drop-31", "a drop box's key of 31 bytes", [root, bytes(31), written])
    bad_content("drop-33", "a drop box's key of 33 bytes", [root, bytes(33), written])
    bad_content("drop-null", "a null for no drop box", [root, Raw(b"\xf6"), written])
    bad_content("long-integer", "an integer that is not in its shortest form", [root, none, Raw(b"\x18\x01")])
    bad_content("indefinite", "a list of unstated length", Raw(b"\x9f" + b"".join(map(cbor, [root, none, written])) + b"\xff"))
    bad_sealed("content-trailing", "a byte after the content", padded(content + b"\0"))

    def bad_root(name, description, it, where=None):
        bad_content(f"root-{name}", description, [[reference_items(it)], none, written], where=where)

    size = sealed_len(100)
    bad_root("in-cover", "a root that begins within the cover list", root_at(63))
    bad_root("past-end", "a root that ends past its segment", root_at(1000 - size + 1))
    bad_root("segment-1", "a root in a segment that is not there", reference(b"shared", 100, (1, 64, size)))
    bad_root("no-extents", "a root without extents", reference(b"shared", 0))
    bad_root("empty-extent", "an extent of no bytes", reference(b"shared", 100, (0, 64, size), (0, 64, 0)))
    bad_root("short", "extents a byte short", reference(b"shared", 100, (0, 64, size - 1)))
    bad_root("long", "extents a byte too long", reference(b"shared", 100, (0, 64, size + 1)))
    bad_root("huge", "attack 25: a length whose sealed length is above 64 bits", reference(b"shared", 2**64 - 1, (0, 64, size)))
    bad_root("overlap", "attack 25: extents that overlap, and add up to more than there is",
             reference(b"shared", 1024, (0, 64, 936), (0, 64, sealed_len(1024) - 936)))


def covers():
    ids = sorted(sha(b"segment", be(at, 1)) for at in range(3))

    def of(name, description, expect, data, **fields):
        case("link", f"{'ok' if expect == 'ok' else 'bad'}-cover-{name}", description, expect, of="cover", encoded=data.hex(), **fields)

    of("three", "three segments", "ok", b"".join(ids), segments=[it.hex() for it in ids], other=sha(b"another").hex())
    of("none", "no segments", "ok", b"", segments=[], other=ids[0].hex())
    of("unsorted", "segments out of order", "refused", ids[1] + ids[0])
    of("twice", "a segment stands there twice", "refused", ids[0] * 2)
    of("half", "half a segment", "refused", ids[0] + ids[1][:16])


# --- Drop boxes ---


class Sent:
    """A file on its way into a drop box."""

    def __init__(self, private, link=LINK, drop=None):
        self.public, self.context = x25519(private, BASE_POINT), b"\1" + link.id
        shared = x25519(private, drop or link.drop_public)
        salt = self.public + (drop or link.drop_public)
        self.head_key, self.file_key = (Gcm(hkdf(shared, salt, label)) for label in (b"drop-head", b"drop-file"))

    def start(self, head, version=1, length=None, nonce=bytes(12)):
        sealed = self.head_key.seal(nonce, self.context, head)
        return be(version, 1) + self.public + be(len(sealed) if length is None else length, 4) + sealed

    def record(self, at, last, plain):
        return self.file_key.seal(be(at, 11) + be(int(last), 1), self.context, plain)

    def records(self, plain):
        parts = [plain[at : at + PLAIN_MAX] for at in range(0, len(plain), PLAIN_MAX)] or [b""]
        return b"".join(self.record(at, at + 1 == len(parts), part) for at, part in enumerate(parts))


def drop_boxes():
    private = sha(b"sender")
    it = Sent(private)

    def good(name, description, plain, file="report.pdf", modified=1_750_000_000_123, hashed=False):
        sealed = it.start(cbor([file, len(plain), modified])) + it.records(plain)
        fields = {"text_len": str(len(plain)), "sealed_sha256": sha(sealed).hex()} if hashed else {
            "content": plain.hex(), "sealed": sealed.hex()}
        case("link", f"ok-drop-{name}", description, "ok", of="drop", id=LINK.id.hex(), drop_private=LINK.drop_private.hex(),
             sender_private=private.hex(), file_name=file, modified_ms=str(modified), **fields)

    good("file", "a file", text(100))
    good("empty", "an empty file is one empty record", b"")
    good("name", "a long name, and a time before 1970", b"x", "\u65e5" * 85, -1)
    good("record", "one full record", text(PLAIN_MAX), hashed=True)
    good("two", "a byte more than a record", text(PLAIN_MAX + 1), hashed=True)

    def bad(name, description, sealed, link=LINK, private=LINK.drop_private):
        case("link", f"bad-drop-{name}", description, "refused", of="drop", id=link.id.hex(), drop_private=private.hex(),
             sealed=sealed.hex())

    plain, head = text(100), ["report.pdf", 100, 1]
    body, start = it.records(plain), it.start(cbor(head))
    bad("nothing", "no bytes", b"")
    bad("head-alone", "attack 3: the head alone", start)
    bad("cut", "attack 3: the last byte is missing", start + body[:-1])
    bad("longer", "attack 3: a byte after the end", start + body + b"\0")
    bad("twice", "attack 2: the record is repeated", start + body * 2)
    bad("bit-head", "attack 1: a bit is flipped in the head", flip(start, 40) + body)
    bad("bit-file", "attack 1: a bit is flipped in the file", start + flip(body, 40))
    bad("bit-public", "attack 5: a bit is flipped in the sender's key", flip(start, 1) + body)
    bad("version", "attack 13: version 2", b"\2" + start[1:] + body)
    bad("empty-missing", "attack 3: no record for an empty file", it.start(cbor(["a", 0, 1])))
    bad("other-link", "attack 20: sent to another link", Sent(private, OTHER, LINK.drop_public).start(cbor(head)) + body)
    bad("other-box", "attack 20: opened by another link's key", start + body, private=OTHER.drop_private)
    bad("other-file", "attack 2: the records of another sender", start + Sent(sha(b"other sender")).records(plain))
    bad("not-last", "attack 3: the last record is not marked", start + it.record(0, False, plain))
    bad("number", "attack 2: a record with another number", start + it.record(1, True, plain))
    bad("head-as-file", "attack 16: the head's key for the file",
        start + it.head_key.seal(be(1, 12), it.context, plain))
    bad("shorter", "a file shorter than its head says", start + it.records(plain[:-1]))
    bad("small-records", "a file cut into smaller records", start + it.record(0, False, plain[:50]) + it.record(1, True, plain[50:]))
    for name, point in (("zero", bytes(32)), ("one", be(1, 1) + bytes(31)), ("p", P.to_bytes(32, "little")),
                        ("eight", bytes.fromhex("e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800"))):
        assert x25519(LINK.drop_private, point) == bytes(32)
        forged = Sent(private)
        salt = point + LINK.drop_public
        forged.public = point
        forged.head_key, forged.file_key = (Gcm(hkdf(bytes(32), salt, label)) for label in (b"drop-head", b"drop-file"))
        bad(f"small-order-{name}", "attack 5: a sender's key of small order, so that anybody knows what is shared",
            forged.start(cbor(head)) + forged.records(plain))

    def bad_head(name, description, content, **fields):
        bad(f"head-{name}", description, it.start(content, **fields) + body)

    bad_head("length-0", "a head of no bytes", cbor(head), length=0)
    bad_head("length-15", "a head shorter than a tag", cbor(head), length=15)
    bad_head("length-huge", "attack 25: a head that claims 4 GiB", cbor(head), length=2**32 - 1)
    bad_head("4097", "attack 25: a head of 4,097 bytes", cbor(head) + bytes(4081 - len(cbor(head))))
    bad_head("nonce", "another nonce", cbor(head), nonce=be(1, 12))
    bad_head("trailing", "a byte after the head", cbor(head) + b"\0")
    bad_head("4", "a head of four fields", cbor([*head, 0]))
    bad_head("2", "a head without a time", cbor(head[:2]))
    bad_head("bytes", "a name of bytes", cbor([b"a", 100, 1]))
    bad_head("long-integer", "an integer that is not in its shortest form", cbor(["a", Raw(b"\x19\x00\x64"), 1]))
    bad_head("negative", "a negative length", cbor(["a", -1, 1]))
    for name, value in (("empty", ""), ("escape", "../x"), ("dot-dot", ".."), ("nul", "a\0"), ("rlo", "exe.\u202egpj"), ("256", "x" * 256)):
        bad_head(f"name-{name}", "attack 24: a name that is refused", cbor([value, 100, 1]))


def main():
    keys()
    records()
    covers()
    drop_boxes()
    write(("link",))


if __name__ == "__main__":
    main()
