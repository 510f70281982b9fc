#!/usr/bin/env python3
"""Writes the vectors of keys and sealing.

This is a second implementation of those formats, made from spec/ with Python's standard library
alone, so that the vectors do not merely repeat what the Rust code says. AES-256-GCM is written out
after FIPS 197 and SP 800-38D, HKDF after RFC 5869, Ed25519 after RFC 8032; all of it is slow and
leaks its keys through timing, which is no harm for test keys. Phrases are the published vectors of
BIP-39, so there is no word list here. drives.py and links.py use what is here. Run it from anywhere:

    python3 spec/vectors/sealed.py           # writes the files
    python3 spec/vectors/sealed.py --check   # fails when a file on disk differs
"""

import hashlib
import hmac
import json
import pathlib
import sys

HERE = pathlib.Path(__file__).resolve().parent
FILES = {}


def case(topic, name, description, expect, **fields):
    assert f"{topic}/{name}" not in FILES, name
    FILES[f"{topic}/{name}"] = {"description": description, "expect": expect, **fields}


def sha(*parts):
    return hashlib.sha256(b"".join(parts)).digest()


def be(value, size):
    return value.to_bytes(size, "big")


def flip(data, at, bit=0):
    return data[:at] + bytes([data[at] ^ 1 << bit]) + data[at + 1 :]


# --- HKDF-SHA-256, RFC 5869; 32 bytes are one block ---


def hkdf(secret, salt, label):
    extracted = hmac.digest(salt or bytes(32), secret, "sha256")
    return hmac.digest(extracted, b"commonhold/v1/" + label + b"\x01", "sha256")


# --- AES-256, FIPS 197 ---


def times2(a):
    return (a << 1 ^ 0x11B) & 0xFF if a & 0x80 else a << 1


def sbox():
    out, p, q = [0x63] * 256, 1, 1
    while True:
        p ^= times2(p)
        for shift in (1, 2, 4):
            q ^= q << shift & 0xFF
        q ^= 0x09 if q & 0x80 else 0
        x = q
        for shift in (1, 2, 3, 4):
            x ^= (q << shift | q >> (8 - shift)) & 0xFF
        out[p] = x ^ 0x63
        if p == 1:
            return out


SBOX = sbox()
DOUBLE = [times2(a) for a in range(256)]
SHIFTED = [0, 5, 10, 15, 4, 9, 14, 3, 8, 13, 2, 7, 12, 1, 6, 11]


def round_keys(key):
    words, constant = [key[at : at + 4] for at in range(0, 32, 4)], 1
    for at in range(8, 60):
        word = words[-1]
        if at % 8 == 0:
            word = bytes(SBOX[b] for b in word[1:] + word[:1])
            word = bytes([word[0] ^ constant]) + word[1:]
            constant = times2(constant)
        elif at % 8 == 4:
            word = bytes(SBOX[b] for b in word)
        words.append(bytes(a ^ b for a, b in zip(words[-8], word)))
    return [b"".join(words[at : at + 4]) for at in range(0, 60, 4)]


def aes(keys, block):
    state = [a ^ b for a, b in zip(block, keys[0])]
    for key in keys[1:14]:
        state = [SBOX[state[at]] for at in SHIFTED]
        mixed = []
        for at in range(0, 16, 4):
            a, b, c, d = state[at : at + 4]
            every = a ^ b ^ c ^ d
            mixed += [
                a ^ every ^ DOUBLE[a ^ b],
                b ^ every ^ DOUBLE[b ^ c],
                c ^ every ^ DOUBLE[c ^ d],
                d ^ every ^ DOUBLE[d ^ a],
            ]
        state = [a ^ b for a, b in zip(mixed, key)]
    return bytes(SBOX[state[at]] ^ k for at, k in zip(SHIFTED, keys[14]))


# --- GCM, SP 800-38D ---

REDUCE = 0xE1 << 120


def field_times(x, y):
    out = 0
    for bit in range(127, -1, -1):
        if x >> bit & 1:
            out ^= y
        y = y >> 1 ^ (REDUCE if y & 1 else 0)
    return out


def field_power(x, exponent):
    out = 1 << 127
    while exponent:
        if exponent & 1:
            out = field_times(out, x)
        x = field_times(x, x)
        exponent >>= 1
    return out


def field_inverse(x):
    return field_power(x, 2**128 - 2)


def blocks_of(data):
    data += bytes(-len(data) % 16)
    return [int.from_bytes(data[at : at + 16], "big") for at in range(0, len(data), 16)]


class Gcm:
    def __init__(self, key):
        self.keys = round_keys(key)
        self.h = int.from_bytes(aes(self.keys, bytes(16)), "big")
        # h times every byte at every place of a block, for long texts.
        bits, power = [], self.h
        for _ in range(128):
            bits.append(power)
            power = power >> 1 ^ (REDUCE if power & 1 else 0)
        self.table = []
        for at in range(0, 128, 8):
            row = [0] * 256
            for byte in range(1, 256):
                low = byte & -byte
                row[byte] = row[byte ^ low] ^ bits[at + 8 - low.bit_length()]
            self.table.append(row)

    def stream(self, nonce, data):
        out = bytearray()
        for number, at in enumerate(range(0, len(data), 16)):
            pad = aes(self.keys, nonce + be(number + 2, 4))
            out += bytes(a ^ b for a, b in zip(data[at : at + 16], pad))
        return bytes(out)

    def ghash(self, blocks):
        y = 0
        for block in blocks:
            y ^= block
            y = sum_of(row[byte] for row, byte in zip(self.table, be(y, 16)))
        return y

    def mask(self, nonce):
        return int.from_bytes(aes(self.keys, nonce + be(1, 4)), "big")

    def tag(self, nonce, aad, sealed):
        lengths = len(aad) * 8 << 64 | len(sealed) * 8
        return be(self.ghash(blocks_of(aad) + blocks_of(sealed) + [lengths]) ^ self.mask(nonce), 16)

    def seal(self, nonce, aad, plain):
        sealed = self.stream(nonce, plain)
        return sealed + self.tag(nonce, aad, sealed)


def sum_of(terms):
    out = 0
    for term in terms:
        out ^= term
    return out


# The last example of the GCM paper (test case 16), so that a mistake above is noticed here.
assert Gcm(
    bytes.fromhex("feffe9928665731c6d6a8f9467308308feffe9928665731c6d6a8f9467308308")
).seal(
    bytes.fromhex("cafebabefacedbaddecaf888"),
    bytes.fromhex("feedfacedeadbeeffeedfacedeadbeefabaddad2"),
    bytes.fromhex(
        "d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a72"
        "1c3c0c95956809532fcf0e2449a6b525b16aedf5aa0de657ba637b39"
    ),
).endswith(bytes.fromhex("76fc6ece0f4e1768cddf8853bb2d551b"))


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
    if (x * x - x2) % P:
        return None
    return P - x if x & 1 != sign else x


def point(y, sign):
    x = recover_x(y, sign)
    return (x, y, 1, x * y % P)


BASE = point(4 * pow(5, P - 2, P) % P, 0)


def compress(p):
    z = pow(p[2], P - 2, P)
    x, y = p[0] * z % P, p[1] * z % P
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
        return self.finish(compress(point_mul(r, BASE)), r, message, self.public)

    def finish(self, start, r, message, public):
        k = number(hashlib.sha512(start + public + message).digest()) % L
        return start + ((r + k * self.scalar) % L).to_bytes(32, "little")


def peer_id(public):
    data = bytes.fromhex("002408011220") + public
    alphabet = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
    value, out = int.from_bytes(data, "big"), ""
    while value:
        value, digit = divmod(value, 58)
        out = alphabet[digit] + out
    return "1" * (len(data) - len(data.lstrip(b"\0"))) + out


# --- spec/keys.md ---

# Published with BIP-39 (github.com/trezor/python-mnemonic, vectors.json).
PHRASES = {
    "00" * 32: "abandon " * 23 + "art",
    "7f" * 32: "legal winner thank year wave sausage worth useful " * 2
    + "legal winner thank year wave sausage worth title",
    "80" * 32: "letter advice cage absurd amount doctor acoustic avoid " * 2
    + "letter advice cage absurd amount doctor acoustic bless",
    "ff" * 32: "zoo " * 23 + "vote",
    "68a79eaca2324873eacc50cb9c6eca8cc68ea5d936f98787c60c7ebc74e6ce7c": (
        "hamster diagram private dutch cause delay private meat slide toddler razor book happy "
        "fancy gospel tennis maple dilemma loan word shrug inflict delay length"
    ),
    "9f6a2878b2520799a44ef18bc7df394e7061a224d2c33cd015b157d746869863": (
        "panda eyebrow bullet gorilla call smoke muffin taste mesh discover soft ostrich alcohol "
        "speed nation flash devote level hobby quick inner drive ghost inside"
    ),
    "066dca1a2bb7e8a1db2832148ce9933eea0f3ac9548d793112d9a95c9407efad": (
        "all hour make first leader extend hole alien behind guard gospel lava path output census "
        "museum junior mass reopen famous sing advance salt reform"
    ),
    "f585c11aec520db57dd353c69554b21a89b20fb0650966fa0a9d6f74fd989d8f": (
        "void come effort suffer camp survey warrior heavy shoot primary clutch crush open amazing "
        "screen patrol group space point ten exist slush involve unfold"
    ),
}


def root_case(name, description, root, phrase, typed):
    seeds = {purpose: hkdf(root, b"", purpose) for purpose in (b"party-key", b"drive-signing")}
    case(
        "keys",
        name,
        description,
        "ok",
        of="root",
        typed=typed,
        phrase=phrase,
        root=root.hex(),
        party_seed=seeds[b"party-key"].hex(),
        party=Key(seeds[b"party-key"]).public.hex(),
        drive_seed=seeds[b"drive-signing"].hex(),
        drive=Key(seeds[b"drive-signing"]).public.hex(),
        drive_sealing=hkdf(root, b"", b"drive-sealing").hex(),
    )


def keys():
    for at, (root, phrase) in enumerate(PHRASES.items()):
        root_case(f"ok-root-{at}", f"published phrase {at}", bytes.fromhex(root), phrase, phrase)
    root, phrase = list(PHRASES.items())[4]
    root = bytes.fromhex(root)
    root_case("ok-root-case", "capital letters are forgiven", root, phrase, phrase.title())
    spaced = "\n\t " + phrase.replace(" ", " \u3000\r\n") + "  \n"
    root_case("ok-root-space", "white space of any kind is forgiven", root, phrase, spaced)

    for at in range(2):
        device = sha(b"device", be(at, 1))
        seed = hkdf(device, b"", b"peer-key")
        case("keys", f"ok-device-{at}", "a device's peer key", "ok", of="device",
             device=device.hex(), peer_seed=seed.hex(), node=Key(seed).public.hex(),
             peer_id=peer_id(Key(seed).public))

    words = phrase.split(" ")

    def refused(name, description, expect, typed, **fields):
        case("keys", f"bad-phrase-{name}", description, expect, of="root", typed=typed, **fields)

    refused("none", "no word", "count", " \n", words="0")
    refused("23", "the last word is missing", "count", " ".join(words[:23]), words="23")
    refused("25", "a word too many", "count", phrase + " zoo", words="25")
    refused("12", "a valid phrase of 12 words", "count", "abandon " * 11 + "about", words="12")
    refused("joined", "commas instead of spaces", "count", ",".join(words), words="1")
    refused("unknown", "a word that is not in the list", "word",
            " ".join(words[:4] + ["causes"] + words[5:]), position="5")
    refused("prefix", "a word cut to its first four letters, which name it, is not completed",
            "word", " ".join(["hams"] + words[1:]), position="1")
    refused("first-of-two", "the first of two unknown words is named", "word",
            " ".join(words[:2] + ["x"] + words[3:23] + ["y"]), position="3")
    refused("kelvin", "a letter that is a k only in lower case", "word",
            " ".join(words[:11]) + " boo\u212a " + " ".join(words[12:]), position="12")
    refused("full-width", "letters of full width", "word", "\uff5aoo " + "zoo " * 22 + "vote", position="1")
    refused("swapped", "two words are swapped", "checksum", " ".join(words[1::-1] + words[2:]))
    refused("other-word", "a word is replaced by another of the list", "checksum", " ".join(words[:23] + ["letter"]))
    refused("zero-checksum", "every word is the first of the list", "checksum", "abandon " * 24)

    key, message = Key(sha(b"signer")), b"commonhold/v1/example a message"
    good = key.sign(message)

    def signature(name, description, expect, public, signature, message=message):
        case("keys", name, description, expect, of="signature", public=public.hex(),
             message=message.hex(), signature=signature.hex())

    signature("ok-signature", "an Ed25519 signature", "ok", key.public, good)
    signature("ok-signature-empty", "of an empty message", "ok", key.public, key.sign(b""), b"")
    # RFC 8032, section 7.1, test 2.
    signature("ok-signature-rfc-8032", "the second example of RFC 8032", "ok",
              Key(bytes.fromhex("4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb")).public,
              bytes.fromhex("92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da"
                            "085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00"), b"\x72")
    signature("bad-signature-message", "another message", "refused", key.public, good, message + b"!")
    signature("bad-signature-key", "another key", "refused", Key(sha(b"other signer")).public, good)
    signature("bad-signature-bit", "a bit is flipped in R", "refused", key.public, flip(good, 3))
    signature("bad-signature-malleable", "the group order is added to S", "refused", key.public,
              good[:32] + (number(good[32:]) + L).to_bytes(32, "little"))
    off_curve = next(y for y in range(2, 99) if recover_x(y, 0) is None).to_bytes(32, "little")
    signature("bad-signature-no-point", "public bytes that are no point", "refused", off_curve, good)
    identity = compress((0, 1, 1, 0))
    signature("bad-signature-identity", "the neutral element as key, which signs everything", "refused",
              identity, identity + bytes(32))
    signature("bad-signature-identity-2", "the neutral element as key and a base point", "refused",
              identity, compress(BASE) + be(1, 1) + bytes(31))
    # A point of order 2: (0, -1). Half of all messages fit this signature under lax rules.
    order_2 = compress((0, P - 1, 1, 0))
    tried = next(m for m in (message + be(at, 2) for at in range(99))
                 if number(hashlib.sha512(compress(BASE) + order_2 + m).digest()) % L % 2 == 0)
    signature("bad-signature-small-key", "a key of order 2", "refused", order_2,
              compress(BASE) + be(1, 1) + bytes(31), tried)
    signature("bad-signature-small-r", "R is the neutral element", "refused", key.public,
              key.finish(identity, 0, message, key.public))
    # With a component of order 2 in R the equation holds only when multiplied by the cofactor.
    r = number(sha(b"r"))
    mixed = compress(point_add(point_mul(r, BASE), (0, P - 1, 1, 0)))
    signature("bad-signature-cofactor", "valid only when multiplied by the cofactor", "refused",
              key.public, key.finish(mixed, r, message, key.public))
    # The neutral element as R, its y written as p + 1.
    odd_r = (P + 1).to_bytes(32, "little")
    signature("bad-signature-non-canonical", "an R that is not in its canonical form", "refused",
              key.public, key.finish(odd_r, 0, message, key.public))


# --- spec/sealing.md ---

FILE, MANIFEST, FOLDER, HISTORY = 1, 2, 3, 5
PLAIN_MAX = 65_520


def padded_len(length):
    if length < 2:
        return length
    exponent = length.bit_length() - 1
    low = 2 ** max(0, exponent - exponent.bit_length())
    rounded = -(-length // low) * low
    return rounded if rounded < 2**64 else length


def record_count(length):
    return max(1, -(-padded_len(length) // PLAIN_MAX))


def sealed_len(length):
    return min(2**64 - 1, padded_len(length) + 16 * record_count(length))


class Sealing:
    def __init__(self, kind, ident, key):
        self.kind, self.ident, self.key = kind, ident, key
        salt = be(kind, 1) + ident
        self.content_key = hkdf(key, salt, b"content-key")
        self.commitment = hkdf(key, salt, b"key-commitment")
        self.gcm = Gcm(self.content_key)

    def aad(self, segment, version=1, suite=1):
        return be(version, 1) + be(suite, 1) + be(self.kind, 1) + self.ident + be(segment, 4)

    @staticmethod
    def nonce(record, last):
        return be(record, 11) + be(int(last), 1)

    def record(self, segment, record, last, plain, **suite):
        return self.gcm.seal(self.nonce(record, last), self.aad(segment, **suite), plain)

    def padded(self, plain, **suite):
        """Seals what has been padded already."""
        parts = [plain[at : at + PLAIN_MAX] for at in range(0, len(plain), PLAIN_MAX)] or [b""]
        return b"".join(
            self.record(0, at, at + 1 == len(parts), part, **suite) for at, part in enumerate(parts)
        )

    def whole(self, plain):
        return self.padded(plain + bytes(padded_len(len(plain)) - len(plain)))

    def fields(self):
        return {
            "kind": str(self.kind),
            "id": self.ident.hex(),
            "key": self.key.hex(),
            "content_key": self.content_key.hex(),
            "commitment": self.commitment.hex(),
        }


def sealing_of(kind, name):
    return Sealing(kind, sha(b"id", name)[:16], sha(b"key", name))


def text(length):
    """Not a zero among its bytes, so that padding is told from text."""
    return bytes(at % 255 + 1 for at in range(length))


def sealing():
    topic = "sealing"
    lengths = sorted(
        set(range(0, 41))
        | {n + d for e in (7, 8, 10, 16, 20, 32, 40) for n in (2**e, 2**e + 2 ** (e // 2)) for d in (-1, 0, 1)}
        | {k * PLAIN_MAX + d for k in (1, 2, 16) for d in (-1, 0, 1)}
        | {10**9, 10**12, 2**63, 2**63 + 1, 2**64 - 2**58, 2**64 - 2**57 - 1, 2**64 - 1}
    )
    case(topic, "ok-lengths", "padded length, number of records and sealed length", "ok", of="lengths",
         lengths=[{"len": str(n), "padded": str(padded_len(n)), "records": str(record_count(n)),
                   "sealed": str(sealed_len(n))} for n in lengths])

    def small(name, description, kind, plain, hashed=False):
        it = sealing_of(kind, name.encode())
        sealed = it.whole(plain)
        fields = {"text_len": str(len(plain))} if hashed else {"plain": plain.hex()}
        fields |= {"sealed_sha256": sha(sealed).hex()} if hashed else {"sealed": sealed.hex()}
        case(topic, f"ok-{name}", description, "ok", of="object", **it.fields(), **fields)

    small("empty", "an empty object is one empty record", FILE, b"")
    small("one", "one byte", FILE, b"\x2a")
    small("manifest", "an object of kind Manifest", MANIFEST, text(20))
    small("folder", "an object of kind Folder", FOLDER, text(20))
    small("history", "an object of kind History", HISTORY, text(20))
    small("padded", "9 bytes and a zero byte of padding", FILE, text(9))
    small("zeros", "attack 4: 64 zero bytes are sealed like others", FILE, bytes(64))
    small("largest-record", "a single record as long as padding lets it be", FILE, text(63_488), True)
    small("two-records", "a byte more: padding makes a second record, of 16 bytes", FILE, text(63_489), True)
    small("three-records", "three records", FOLDER, text(150_000), True)

    it = sealing_of(FILE, b"records")
    places = [(0, 0, False), (0, 1, False), (1, 2, False), (1, 2, True), (7, 2**32 + 5, True),
              (2**32 - 1, 2**64 - 1, True)]
    records = [(s, n, last, text(4 + at)) for at, (s, n, last) in enumerate(places)]
    case(topic, "ok-records", "single records, unpadded, at places of all kinds", "ok", of="records",
         **it.fields(),
         records=[{"segment": str(s), "record": str(n), "last": "yes" if last else "no", "plain": plain.hex(),
                   "sealed": it.record(s, n, last, plain).hex()} for s, n, last, plain in records])

    def moved(name, description, sealed, segment, record, last, by=it):
        case(topic, f"bad-record-{name}", description, "refused", of="record", **by.fields(),
             segment=str(segment), record=str(record), last="yes" if last else "no", sealed=sealed.hex())

    first, second = it.record(0, 0, False, text(32)), it.record(0, 1, True, text(32))
    moved("reordered", "attack 2: record 0 in the place of record 1", first, 0, 1, False)
    moved("other-segment", "attack 2: a record of segment 0 in segment 1", second, 1, 1, True)
    moved("not-last", "attack 3: the last record with something after it", second, 0, 1, False)
    moved("made-last", "attack 3: a record before the last one as the last", first, 0, 0, True)
    other = Sealing(FILE, sha(b"another id")[:16], it.key)
    moved("other-object", "attack 2: a record of another object under the same key", first, 0, 0, False, other)
    moved("short", "fewer bytes than a tag", first[:15], 0, 0, False)
    moved("tag-only", "the tag alone", first[-16:], 0, 0, False)

    it = sealing_of(FOLDER, b"refused")
    plain = text(41)
    good = it.whole(plain)
    assert padded_len(41) == 44

    def refused(name, description, sealed=good, length=len(plain), by=it, commitment=None, **fields):
        fields = by.fields() | {"commitment": (commitment or by.commitment).hex()} | fields
        case(topic, f"bad-{name}", description, "refused", of="object", **fields, len=str(length), sealed=sealed.hex())

    refused("bit-first", "attack 1: a bit is flipped in the first byte", flip(good, 0))
    refused("bit-padding", "attack 1: a bit is flipped in the sealed padding", flip(good, 43, 7))
    refused("bit-tag", "attack 1: a bit is flipped in the tag", flip(good, len(good) - 1))
    refused("cut", "attack 3: the last byte is missing", good[:-1])
    refused("cut-tag", "attack 3: the tag is missing", good[:-16])
    refused("longer", "attack 3: a zero byte is appended", good + b"\0")
    refused("twice", "attack 2: the record is repeated", good + good)
    refused("nothing", "attack 3: no bytes for an empty object", b"", 0)
    refused("shorter-len", "the length is one less, so that text stands where padding should be", length=40)
    refused("longer-len", "a length that is padded to another one", length=45)
    refused("huge-len", "attack 25: a length of 2^64 - 1", length=2**64 - 1)
    refused("version", "attack 13: another version in the context", it.padded(plain + bytes(3), version=0))
    refused("suite", "attack 13: another suite in the context", it.padded(plain + bytes(3), suite=2))
    refused("kind", "attack 16: a file read as a folder",
            sealing_of(FILE, b"refused").whole(plain))
    refused("kind-commitment", "attack 16: a file read as a folder, with the file's commitment",
            sealing_of(FILE, b"refused").whole(plain), commitment=sealing_of(FILE, b"refused").commitment)
    refused("id", "attack 2: an object of another id under the same key",
            Sealing(FOLDER, sha(b"another id")[:16], it.key).whole(plain))
    refused("key", "another key, its own commitment", by=sealing_of(FOLDER, b"another"))
    refused("commitment", "attack 15: a commitment that is not the key's", commitment=flip(it.commitment, 0))
    refused("padding", "padding that is not zeros", it.padded(plain + b"\0\0\1"))
    refused("unpadded", "no padding", it.padded(plain))
    refused("more-padding", "more padding than there should be", it.padded(plain + bytes(7)))
    refused("two-records", "one record cut into two", it.record(0, 0, False, plain + bytes(3)[:1]) + it.record(0, 1, True, bytes(2)))
    two_keys()


def two_keys():
    """A ciphertext that opens under two keys: one block is chosen so that both tags are equal."""
    ident, kind = sha(b"id", b"two keys")[:16], FILE
    one, two = (Sealing(kind, ident, sha(b"key", name)) for name in (b"one", b"two"))
    nonce, aad = Sealing.nonce(0, True), one.aad(0)
    start = one.gcm.stream(nonce, text(16))
    # With a zero block in the free place, the tags differ by this much; the free block is
    # multiplied by h^2 in each of them.
    without = [int.from_bytes(it.gcm.tag(nonce, aad, start + bytes(16)), "big") for it in (one, two)]
    squares = [field_times(it.gcm.h, it.gcm.h) for it in (one, two)]
    free = field_times(without[0] ^ without[1], field_inverse(squares[0] ^ squares[1]))
    sealed = start + be(free, 16)
    tags = [it.gcm.tag(nonce, aad, sealed) for it in (one, two)]
    assert tags[0] == tags[1]
    case("sealing", "bad-two-keys",
         "attack 15: bytes that open under two keys; only the commitment tells which one is meant",
         "refused", of="two-keys", kind=str(kind), id=ident.hex(), sealed=(sealed + tags[0]).hex(),
         keys=[{"key": it.key.hex(), "commitment": it.commitment.hex(),
                "plain": it.gcm.stream(nonce, sealed).hex()} for it in (one, two)])


# --- CBOR (RFC 8949), shortest forms ---


def head_of(major, value):
    for extra, size in ((24, 1), (25, 2), (26, 4), (27, 8)):
        if value < 24:
            return bytes([major << 5 | value])
        if value < 1 << 8 * size:
            return bytes([major << 5 | extra]) + be(value, size)
    raise ValueError(value)


class Raw(bytes):
    """Bytes that are CBOR already."""


def cbor(value):
    if isinstance(value, Raw):
        return bytes(value)
    if isinstance(value, bool):
        return b"\xf5" if value else b"\xf4"
    if isinstance(value, int):
        return head_of(0, value) if value >= 0 else head_of(1, -1 - value)
    if isinstance(value, bytes):
        return head_of(2, len(value)) + value
    if isinstance(value, str):
        return head_of(3, len(value.encode())) + value.encode()
    return head_of(4, len(value)) + b"".join(map(cbor, value))


def write(topics):
    """Writes the files of these topics; with --check, fails when one on disk differs."""
    found = {
        str(path.relative_to(HERE).with_suffix(""))
        for topic in topics
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


def main():
    keys()
    sealing()
    write(("keys", "sealing"))


if __name__ == "__main__":
    main()
