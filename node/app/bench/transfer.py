#!/usr/bin/env python3
"""Measures `commonhold put` and `get` end to end on a local network of six providers.

    cargo build --release -p commonhold
    node/app/bench/transfer.py [--binary PATH] [--runs N] [MIB ...]

For each size (256 MiB without arguments) it puts and gets a file of random bytes N times and
prints a table: throughput (median), CPU seconds per GiB of the owner's node, of all providers
together and of the command itself, peak memory of each kind of process (VmHWM), bytes on the
providers' disks per byte given, and the share of each stage of the work as the owner's node
reports it.

Invariant: it ends only processes that it started, removes only the folder that it made, and gives
up after --limit seconds. Everything, the owner and six providers, shares one machine: the numbers
say what the software costs, not what a network of six machines would do.
"""

import argparse
import hashlib
import json
import os
import pathlib
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time

MIB = 1 << 20
TICKS = os.sysconf("SC_CLK_TCK")
PROVIDERS = 6
# A child that does not stop in order within this time is killed.
STOP_SECONDS = 20


class Deadline(Exception):
    """The time given is over."""


def cpu_seconds(pid):
    """User and system time of a process so far."""
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def peak_mib(pid):
    """The most memory that a process ever had."""
    for line in pathlib.Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) / 1024
    return 0.0


def bytes_on_disk(folder):
    """Blocks of the files below a folder, in bytes."""
    total = 0
    for path in pathlib.Path(folder).rglob("*"):
        try:
            status = path.lstat()
        except FileNotFoundError:
            continue
        total += status.st_blocks * 512
    return total


class Network:
    """A running `commonhold devnet`."""

    def __init__(self, binary, folder, disk_mib):
        self.binary = binary
        self.folder = folder
        self.log = open(folder / "devnet.log", "wb")
        command = [binary, "devnet", "--nodes", str(PROVIDERS), "--dir", str(folder / "net")]
        command += ["--disk", f"{disk_mib} MiB"]
        self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log)
        self.owner = None

    def wait(self, seconds=90):
        described = self.folder / "net" / "devnet.json"
        until = time.monotonic() + seconds
        while not described.exists():
            if self.process.poll() is not None or time.monotonic() > until:
                log = (self.folder / "devnet.log").read_text(errors="replace")
                raise RuntimeError(f"the network did not start:\n{log}")
            time.sleep(0.05)
        description = json.loads(described.read_text())
        self.owner = description["owner"]
        self.providers = [node for node in description["nodes"] if node["role"] == "provider"]

    def stop(self):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        self.log.close()

    def cpu(self):
        return cpu_seconds(self.owner["pid"]), sum(cpu_seconds(node["pid"]) for node in self.providers)

    def call(self, *arguments):
        """Runs one command; answers its JSON, wall seconds, CPU seconds and peak MiB of its own
        and of the nodes."""
        command = [self.binary, "--data-dir", self.owner["data_dir"], "--json", *map(str, arguments)]
        with open(self.folder / "answer.json", "w+b") as answer, open(self.folder / "errors.txt", "w+b") as errors:
            stages = self.stages()
            before = self.cpu()
            begun = time.monotonic()
            process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=answer, stderr=errors)
            try:
                _, status, usage = os.wait4(process.pid, 0)
            except BaseException:
                process.kill()
                process.wait()
                raise
            seconds = time.monotonic() - begun
            process.returncode = os.waitstatus_to_exitcode(status)
            after = self.cpu()
            answer.seek(0)
            errors.seek(0)
            if process.returncode != 0:
                raise RuntimeError(f"{' '.join(command)}: {errors.read().decode(errors='replace')}")
            report = json.loads(answer.read())
        after_stages = self.stages()
        return {
            "stages": {name: after_stages[name] - stages.get(name, 0.0) for name in after_stages},
            "report": report,
            "seconds": seconds,
            "owner": after[0] - before[0],
            "providers": after[1] - before[1],
            "command": usage.ru_utime + usage.ru_stime,
            "command_mib": usage.ru_maxrss / 1024,
        }

    def stages(self):
        """Seconds by stage that the owner's node counts."""
        command = [self.binary, "--data-dir", self.owner["data_dir"], "--json", "status"]
        answer = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, timeout=60, check=True)
        counted = json.loads(answer.stdout).get("stage_milliseconds", {})
        return {name: milliseconds / 1000 for name, milliseconds in counted.items()}

    def store_bytes(self):
        return sum(bytes_on_disk(pathlib.Path(node["data_dir"]) / "store") for node in self.providers)


def write_random(path, mib):
    """A file that no layer can compress or recognise; answers its hash."""
    digest = hashlib.sha256()
    with open(path, "wb") as file:
        for _ in range(mib):
            piece = os.urandom(MIB)
            digest.update(piece)
            file.write(piece)
        file.flush()
        os.fsync(file.fileno())
    return digest.digest()


def hash_of(path):
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").digest()


def measure(binary, scratch, mib, runs):
    """All runs of one size on a fresh network."""
    folder = pathlib.Path(tempfile.mkdtemp(prefix=f"{mib}-", dir=scratch))
    puts, gets, disk = [], [], []
    # Every run's chunks stay: room for three bytes for each, over six providers, and as much again.
    network = Network(binary, folder, 1024 + mib * runs)
    try:
        network.wait()
        for run in range(runs):
            source = folder / f"random-{run}"
            digest = write_random(source, mib)
            held = network.store_bytes()
            puts.append(network.call("put", source))
            disk.append((network.store_bytes() - held) / (mib * MIB))
            source.unlink()
            target = folder / "fetched"
            gets.append(network.call("get", f"/random-{run}", target))
            if hash_of(target) != digest:
                raise RuntimeError("what came back is not what was put")
            target.unlink()
        peaks = {
            "owner": peak_mib(network.owner["pid"]),
            "provider": max(peak_mib(node["pid"]) for node in network.providers),
        }
    finally:
        network.stop()
        shutil.rmtree(folder, ignore_errors=True)
    return {"mib": mib, "put": puts, "get": gets, "disk": disk, "peaks": peaks}


def median(values):
    return statistics.median(list(values))


def show(result):
    mib = result["mib"]
    gib = mib / 1024
    print(f"\n{mib} MiB, median of {len(result['put'])}")
    row = "{:<4} {:>9} {:>9} {:>10} {:>9} {:>9} {:>9}"
    print(row.format("", "MiB/s", "seconds", "owner", "providers", "command", "command"))
    print(row.format("", "", "", "CPU-s/GiB", "CPU-s/GiB", "CPU-s/GiB", "peak MiB"))
    for name in ("put", "get"):
        calls = result[name]
        seconds = median(call["seconds"] for call in calls)
        print(row.format(
            name,
            f"{median(mib / call['seconds'] for call in calls):.0f}",
            f"{seconds:.2f}",
            *(f"{median(call[who] / gib for call in calls):.2f}" for who in ("owner", "providers", "command")),
            f"{max(call['command_mib'] for call in calls):.0f}",
        ))
    peaks = result["peaks"]
    print(f"peak memory: owner {peaks['owner']:.0f} MiB, largest provider {peaks['provider']:.0f} MiB")
    print(f"on the providers' disks: {median(result['disk']):.3f} bytes per byte given")
    for name in ("put", "get"):
        share(name, [call["stages"] for call in result[name]])


def share(name, runs):
    """Stages run beside each other, six sends at a time for instance, so their times add up to more
    than the whole; the share is that of their sum."""
    seconds = {stage: median(run[stage] for run in runs) for stage in runs[0]}
    whole = sum(seconds.values())
    longest_first = sorted(seconds.items(), key=lambda stage: -stage[1])
    parts = [f"{stage} {time:.2f} s ({time / whole:.0%})" for stage, time in longest_first if time >= 0.005]
    if parts:
        print(f"{name} by stage, summed over parallel work: {', '.join(parts)}")


def main():
    root = pathlib.Path(__file__).resolve().parents[3]
    parser = argparse.ArgumentParser(description="put and get end to end, measured")
    parser.add_argument("sizes", nargs="*", type=int, default=[256], metavar="MIB")
    parser.add_argument("--binary", default=str(root / "target" / "release" / "commonhold"))
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--limit", type=int, default=900, help="give up after this many seconds")
    parser.add_argument("--scratch", help="where to make the temporary folder")
    parser.add_argument("--json", action="store_true", help="print everything measured as JSON")
    arguments = parser.parse_args()

    def over(*_):
        raise Deadline(f"gave up after {arguments.limit} s")

    def ended(*_):
        raise KeyboardInterrupt

    signal.signal(signal.SIGALRM, over)
    signal.signal(signal.SIGTERM, ended)
    signal.alarm(arguments.limit)
    scratch = tempfile.mkdtemp(prefix="commonhold-transfer-", dir=arguments.scratch)
    try:
        load = pathlib.Path("/proc/loadavg").read_text().split()[0]
        print(f"{os.cpu_count()} processors, load before: {load}", flush=True)
        for mib in arguments.sizes:
            result = measure(arguments.binary, scratch, mib, arguments.runs)
            if arguments.json:
                print(json.dumps(result))
            else:
                show(result)
            sys.stdout.flush()
    except (Deadline, RuntimeError) as error:
        sys.exit(str(error))
    except KeyboardInterrupt:
        sys.exit("stopped")
    finally:
        signal.alarm(0)
        shutil.rmtree(scratch, ignore_errors=True)


if __name__ == "__main__":
    main()
