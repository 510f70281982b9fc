#!/usr/bin/env python3
"""How fast a drive is: many small files, the first byte of a large one over S3, and S3 beside the command line.

    python3 node/app/bench/drive.py [--runs N] [--large MIB] [--files N]

Starts six providers and an owner with the release binary (`cargo build --release`), measures in turn, and
prints medians and ratios. All processes share this machine's processors and disk.
"""

import argparse
import datetime
import hashlib
import hmac
import http.client
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
PROGRAM = ROOT / "target" / "release" / "commonhold"
MIB = 1 << 20


class S3:
    """Just enough of S3: signed requests without a hash of their body."""

    def __init__(self, endpoint, access, secret):
        self.host, self.access, self.secret = endpoint.removeprefix("http://"), access, secret

    def request(self, method, path, body=None, headers=None):
        now = datetime.datetime.now(datetime.timezone.utc).strftime("%Y%m%dT%H%M%SZ")
        scope = f"{now[:8]}/us-east-1/s3/aws4_request"
        signed = {"host": self.host, "x-amz-content-sha256": "UNSIGNED-PAYLOAD", "x-amz-date": now}
        names = ";".join(sorted(signed))
        canonical = "\n".join([method, path, "", *(f"{name}:{signed[name]}" for name in sorted(signed)), "", names,
                               "UNSIGNED-PAYLOAD"])
        to_sign = "\n".join(["AWS4-HMAC-SHA256", now, scope, hashlib.sha256(canonical.encode()).hexdigest()])
        key = f"AWS4{self.secret}".encode()
        for part in (now[:8], "us-east-1", "s3", "aws4_request"):
            key = hmac.new(key, part.encode(), hashlib.sha256).digest()
        signature = hmac.new(key, to_sign.encode(), hashlib.sha256).hexdigest()
        signed["authorization"] = (f"AWS4-HMAC-SHA256 Credential={self.access}/{scope}, SignedHeaders={names}, "
                                   f"Signature={signature}")
        connection = http.client.HTTPConnection(self.host)
        connection.request(method, path, body, {**signed, **(headers or {})})
        answer = connection.getresponse()
        if answer.status >= 300:
            sys.exit(f"{method} {path}: {answer.status} {answer.read(500)}")
        return answer


def seconds(work):
    begun = time.monotonic()
    work()
    return time.monotonic() - begun


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--large", type=int, default=1024, help="MiB of the file whose first byte is timed")
    parser.add_argument("--files", type=int, default=10_000)
    options = parser.parse_args()
    if not PROGRAM.exists():
        sys.exit("build it first: cargo build --release")
    with tempfile.TemporaryDirectory(prefix="commonhold-bench-") as work:
        measure(Path(work), options)


def measure(work, options):
    net = subprocess.Popen([PROGRAM, "devnet", "--dir", work / "net", "--nodes", "6"], stdout=subprocess.PIPE, text=True)
    try:
        if net.stdout.readline().strip() != "devnet: ready":
            sys.exit("devnet did not start")

        def run(*arguments):
            done = subprocess.run([PROGRAM, "--data-dir", work / "net" / "owner", "--json", *map(str, arguments)],
                                  capture_output=True, text=True)
            if done.returncode:
                sys.exit(f"{arguments}: {done.stderr}")
            return done.stdout

        small(run, work, options)
        key = json.loads(run("s3", "key", "new", "bench"))
        s3 = S3(key["endpoint"], key["access_key"], key["secret_key"])
        s3.request("PUT", "/bench").read()
        beside(run, s3, work, options)
        first_byte(run, s3, work, options)
    finally:
        net.terminate()
        net.wait()


def small(run, work, options):
    """Many files of 4 kB in one folder."""
    source = work / "small"
    source.mkdir()
    for at in range(options.files):
        (source / f"file-{at:06}.bin").write_bytes(os.urandom(4000))
    puts, gets = [], []
    for number in range(options.runs):
        puts.append(seconds(lambda: run("put", "-r", source, "--to", f"/small-{number}")))
        back = work / f"back-{number}"
        gets.append(seconds(lambda: run("get", "-r", f"/small-{number}", back)))
        names = sorted(os.listdir(source))
        if names != sorted(os.listdir(back)) or any((source / it).read_bytes() != (back / it).read_bytes() for it in names[::97]):
            sys.exit("what came back differs")
        shutil.rmtree(back)
    put, get = statistics.median(puts), statistics.median(gets)
    print(f"{options.files} files of 4 kB: put {options.files / put:,.0f} a second, get {options.files / get:,.0f} a second")


def beside(run, s3, work, options):
    """256 MiB over S3 beside the command line, in turn."""
    size = 256 * MIB
    source = work / "large"
    source.write_bytes(os.urandom(size))
    times = {"put": [], "s3 put": [], "get": [], "s3 get": []}
    back = work / "large-back"

    def fetch(path):
        answer = s3.request("GET", path)
        with open(back, "wb") as out:
            shutil.copyfileobj(answer, out, 1 << 20)

    for number in range(options.runs):
        times["put"].append(seconds(lambda: run("put", source, "--to", f"/cli-{number}")))
        with open(source, "rb") as body:
            times["s3 put"].append(seconds(
                lambda: s3.request("PUT", f"/bench/s3-{number}", body, {"content-length": str(size)}).read()))
        times["get"].append(seconds(lambda: run("get", f"/cli-{number}", back)))
        back.unlink()
        times["s3 get"].append(seconds(lambda: fetch(f"/bench/s3-{number}")))
        if back.read_bytes() != source.read_bytes():
            sys.exit("what came back differs")
        back.unlink()
        run("rm", "--forever", "--yes", f"/cli-{number}")
    rate = {what: 256 / statistics.median(took) for what, took in times.items()}
    for what in ("put", "get"):
        print(f"256 MiB {what}: command line {rate[what]:.0f} MiB/s, S3 {rate['s3 ' + what]:.0f} MiB/s "
              f"({rate['s3 ' + what] / rate[what]:.2f} of it)")


def first_byte(run, s3, work, options):
    """The first byte of a range of a large file over S3."""
    size = options.large * MIB
    source = work / "huge"
    with open(source, "wb") as out:
        for _ in range(options.large):
            out.write(os.urandom(MIB))
    run("put", source, "--to", "/bench/huge")
    source.unlink()
    took = []
    for number in range(15):
        start = (number * 7919 * 65_537) % (size - 100)
        begun = time.monotonic()
        answer = s3.request("GET", "/bench/huge", None, {"range": f"bytes={start}-"})
        answer.read(1)
        took.append((time.monotonic() - begun) * 1000)
        answer.close()
    print(f"first byte of {options.large} MiB through an S3 range: median {statistics.median(took):.0f} ms, "
          f"worst of {len(took)} {max(took):.0f} ms")


if __name__ == "__main__":
    main()
