#!/usr/bin/env python3
"""Real S3 clients against an S3 endpoint: boto3, awscli, rclone, restic, s3cmd.

    S3_ACCESS_KEY=... S3_SECRET_KEY=... s3_clients.py MODE ENDPOINT [--only NAMES] [--large MIB]

MODE is
    all      what each client can do, ending with a comparison byte for byte; leaves nothing behind but
             restic's repository, which no command of restic's removes
    prepare  each client uploads a tree of files to a bucket (or repository) of its own
    verify   each client downloads what it uploaded with `prepare`, and all is compared byte for byte

The tree is made anew from a seed, so that `verify` needs nothing of what `prepare` wrote but the endpoint.
`prepare` may be run again. A client that is not installed is skipped and said so; with
CI=true that is a failure. Keys come from the environment and are never on a command line.
"""

import argparse
import filecmp
import hashlib
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path

MIB = 1 << 20


def content(name, size):
    """The same bytes for the same name, whenever."""
    return random.Random(f"{name} {size}").randbytes(size)


def tree(large):
    """Names and sizes: awkward names, empty files, sizes around every border."""
    files = {
        "empty": 0,
        "one byte": 1,
        "inline.bin": 4096,
        "a.txt": 100,
        "a-b": 101,
        "a/x": 102,
        "a/b/c/deep.bin": 103,
        "a0": 104,
        "with space/plus+percent%25&amp;=.txt": 500,
        "ünï/cödé — 日本語 🎉.bin": 1000,
        "brackets/[x] (y) {z} 'q'.txt": 300,
        "medium.bin": 300_000,
        "packs/one.bin": MIB + 7,
        "large.bin": large * MIB + 12_345,
    }
    files.update({f"many/{number:03}.bin": number * 17 for number in range(60)})
    return files


def write_tree(folder, large, skip=()):
    for name, size in tree(large).items():
        if name in skip:
            continue
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content(name, size))


def compare(expected, found, what):
    """Both trees hold the same files with the same bytes."""
    def names(folder):
        return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())

    left, right = names(expected), names(found)
    assert left == right, f"{what}: files differ: {set(left) ^ set(right)}"
    for name in left:
        assert filecmp.cmp(expected / name, found / name, shallow=False), f"{what}: {name} differs"
    print(f"    {what}: {len(left)} files are the same byte for byte", flush=True)


class Missing(Exception):
    """A client is not there."""


class Client:
    """What all clients have in common."""

    def __init__(self, options, work):
        self.endpoint = options.endpoint
        self.host = options.endpoint.split("://", 1)[1]
        self.access, self.secret = os.environ["S3_ACCESS_KEY"], os.environ["S3_SECRET_KEY"]
        self.large = options.large
        self.work = work
        self.bucket = f"clients-{self.name}"

    def tool(self, name):
        found = shutil.which(name)
        if not found:
            raise Missing(f"{name} is not installed")
        return found

    def run(self, *command, ok=True, **more):
        environment = self.whole_environment()
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=900, **more)
        if ok and done.returncode != 0:
            raise AssertionError(f"{' '.join(map(str, command))}: {done.stdout[-2000:]}{done.stderr[-4000:]}")
        return done

    def whole_environment(self):
        # What the machine says of proxies and certificates is not for a server on loopback.
        kept = {name: value for name, value in os.environ.items()
                if not name.upper().endswith("_PROXY") and name not in ("AWS_CA_BUNDLE", "AWS_PROFILE")}
        return {**kept, **self.environment()}

    def environment(self):
        return {"AWS_ACCESS_KEY_ID": self.access, "AWS_SECRET_ACCESS_KEY": self.secret,
                "AWS_DEFAULT_REGION": "us-east-1", "AWS_EC2_METADATA_DISABLED": "true"}

    def sources(self, skip=()):
        folder = self.work / "source"
        if not folder.exists():
            folder.mkdir()
            write_tree(folder, self.large, skip)
        return folder

    def target(self, name):
        folder = self.work / name
        folder.mkdir()
        return folder

    def functional(self):
        """More than uploads and downloads."""


class Boto3(Client):
    name = "boto3"

    def __init__(self, options, work):
        super().__init__(options, work)
        try:
            import boto3
            import botocore
            from botocore.config import Config
        except ImportError as error:
            raise Missing(f"boto3 is not installed ({error})") from error
        self.errors = botocore.exceptions.ClientError
        config = Config(s3={"addressing_style": "path"}, retries={"max_attempts": 2}, max_pool_connections=32)
        self.s3 = boto3.client("s3", endpoint_url=self.endpoint, region_name="us-east-1", config=config,
                               aws_access_key_id=self.access, aws_secret_access_key=self.secret)
        self.boto3, self.config = boto3, Config
        print(f"    boto3 {boto3.__version__}", flush=True)

    def code(self, call, **arguments):
        """The error's code and status."""
        try:
            call(**arguments)
        except self.errors as error:
            meta = error.response["ResponseMetadata"]["HTTPStatusCode"]
            return error.response["Error"]["Code"], meta
        raise AssertionError(f"{call.__name__} {arguments} did not fail")

    def make_bucket(self):
        try:
            self.s3.create_bucket(Bucket=self.bucket)
        except self.s3.exceptions.BucketAlreadyOwnedByYou:
            pass

    def prepare(self):
        self.make_bucket()
        for name in tree(self.large):
            self.s3.upload_file(str(self.sources() / name), self.bucket, name)

    def verify(self):
        target = self.target("boto3-down")
        pages = self.s3.get_paginator("list_objects_v2").paginate(Bucket=self.bucket, PaginationConfig={"PageSize": 7})
        keys = [item["Key"] for page in pages for item in page.get("Contents", [])]
        assert keys == sorted(tree(self.large), key=lambda key: key.encode()), "keys in the order of their bytes"
        for name in keys:
            path = target / name
            path.parent.mkdir(parents=True, exist_ok=True)
            self.s3.download_file(self.bucket, name, str(path))
        compare(self.sources(), target, "boto3")

    def clean(self):
        pages = self.s3.get_paginator("list_objects_v2").paginate(Bucket=self.bucket)
        for page in pages:
            items = [{"Key": item["Key"]} for item in page.get("Contents", [])]
            if items:
                done = self.s3.delete_objects(Bucket=self.bucket, Delete={"Objects": items})
                assert len(done["Deleted"]) == len(items), done
        self.s3.delete_bucket(Bucket=self.bucket)

    def functional(self):
        s3, bucket = self.s3, "boto3-suite"
        s3.create_bucket(Bucket=bucket)
        assert self.code(s3.create_bucket, Bucket=bucket)[0] == "BucketAlreadyOwnedByYou"
        assert bucket in [one["Name"] for one in s3.list_buckets()["Buckets"]]
        assert s3.get_bucket_location(Bucket=bucket)["LocationConstraint"] is None
        s3.head_bucket(Bucket=bucket)
        assert self.code(s3.head_bucket, Bucket="not-there")[1] == 404
        self.objects(bucket)
        self.conditions(bucket)
        self.listing(bucket)
        self.copies(bucket)
        self.multipart(bucket)
        self.checksums(bucket)
        self.tags(bucket)
        self.presigned(bucket)
        self.refused(bucket)
        self.concurrent(bucket)
        self.empty(bucket)
        s3.delete_bucket(Bucket=bucket)
        assert self.code(s3.head_bucket, Bucket=bucket)[1] == 404
        self.versions()

    def empty(self, bucket):
        while True:
            items = self.s3.list_objects_v2(Bucket=bucket).get("Contents", [])
            if not items:
                return
            self.s3.delete_objects(Bucket=bucket, Delete={"Objects": [{"Key": one["Key"]} for one in items], "Quiet": True})

    def objects(self, bucket):
        s3 = self.s3
        data = content("object", 70_000)
        expires = time.strftime("%a, %d %b %Y %H:%M:%S GMT", time.gmtime(2_000_000_000))
        put = s3.put_object(Bucket=bucket, Key="dir/object", Body=data, ContentType="text/x-test",
                            CacheControl="max-age=5", ContentDisposition="attachment; filename=x",
                            ContentEncoding="identity", ContentLanguage="de", Expires=expires,
                            Metadata={"color": "green", "n": "1"})
        etag = f'"{hashlib.md5(data).hexdigest()}"'
        assert put["ETag"] == etag
        for got in (s3.get_object(Bucket=bucket, Key="dir/object"), s3.head_object(Bucket=bucket, Key="dir/object")):
            assert got["ETag"] == etag and got["ContentLength"] == len(data)
            assert got["ContentType"] == "text/x-test" and got["CacheControl"] == "max-age=5"
            assert got["ContentDisposition"] == "attachment; filename=x" and got["ContentLanguage"] == "de"
            assert got["ContentEncoding"] == "identity" and got["Metadata"] == {"color": "green", "n": "1"}
            assert got["AcceptRanges"] == "bytes"
        assert s3.get_object(Bucket=bucket, Key="dir/object")["Body"].read() == data
        for wanted, first, last in (("bytes=0-0", 0, 1), ("bytes=5-99", 5, 100), ("bytes=69990-", 69_990, 70_000),
                                    ("bytes=-10", 69_990, 70_000), ("bytes=60000-900000", 60_000, 70_000)):
            got = s3.get_object(Bucket=bucket, Key="dir/object", Range=wanted)
            assert got["Body"].read() == data[first:last], wanted
            assert got["ContentRange"] == f"bytes {first}-{last - 1}/70000", wanted
            assert got["ResponseMetadata"]["HTTPStatusCode"] == 206
        assert self.code(s3.get_object, Bucket=bucket, Key="dir/object", Range="bytes=70000-") == ("InvalidRange", 416)
        got = s3.get_object(Bucket=bucket, Key="dir/object", ResponseContentType="image/png")
        assert got["ContentType"] == "image/png"
        assert self.code(s3.get_object, Bucket=bucket, Key="dir") == ("NoSuchKey", 404)
        assert self.code(s3.get_object, Bucket=bucket, Key="nothing") == ("NoSuchKey", 404)
        assert self.code(s3.head_object, Bucket=bucket, Key="nothing")[1] == 404
        # A file cannot stand where a folder stands.
        assert self.code(s3.put_object, Bucket=bucket, Key="dir/object/below", Body=b"") == ("KeyConflict", 409)
        assert self.code(s3.put_object, Bucket=bucket, Key="dir", Body=b"") == ("KeyConflict", 409)
        for bad in ("a//b", "a\u202eb"):
            found = self.code(s3.put_object, Bucket=bucket, Key=bad, Body=b"x")
            assert found == ("InvalidArgument", 400), (bad, found)
        # Folders that are made explicitly stay, the others go with their last object.
        s3.put_object(Bucket=bucket, Key="made/", Body=b"")
        s3.put_object(Bucket=bucket, Key="made/x/y/z", Body=b"1")
        s3.delete_object(Bucket=bucket, Key="made/x/y/z")
        assert [one["Key"] for one in s3.list_objects_v2(Bucket=bucket, Prefix="made")["Contents"]] == ["made/"]
        assert s3.head_object(Bucket=bucket, Key="made/")["ContentLength"] == 0
        s3.delete_object(Bucket=bucket, Key="made/")
        assert s3.list_objects_v2(Bucket=bucket, Prefix="made")["KeyCount"] == 0
        s3.delete_object(Bucket=bucket, Key="dir/object")
        s3.delete_object(Bucket=bucket, Key="dir/object")
        assert s3.list_objects_v2(Bucket=bucket)["KeyCount"] == 0

    def conditions(self, bucket):
        s3 = self.s3
        etag = s3.put_object(Bucket=bucket, Key="c", Body=b"one")["ETag"]
        at = s3.head_object(Bucket=bucket, Key="c")["LastModified"]
        s3.get_object(Bucket=bucket, Key="c", IfMatch=etag)
        assert self.code(s3.get_object, Bucket=bucket, Key="c", IfMatch='"x"')[1] == 412
        assert self.code(s3.get_object, Bucket=bucket, Key="c", IfNoneMatch=etag)[1] == 304
        s3.get_object(Bucket=bucket, Key="c", IfNoneMatch='"x"')
        assert self.code(s3.head_object, Bucket=bucket, Key="c", IfModifiedSince=at)[1] == 304
        s3.get_object(Bucket=bucket, Key="c", IfUnmodifiedSince=at)
        before = at.replace(year=at.year - 1)
        assert self.code(s3.get_object, Bucket=bucket, Key="c", IfUnmodifiedSince=before)[1] == 412
        s3.get_object(Bucket=bucket, Key="c", IfModifiedSince=before)
        # Older ones do not know conditions on writes.
        parameters = s3.meta.service_model.operation_model("PutObject").input_shape.members
        if "IfNoneMatch" in parameters:
            found = self.code(s3.put_object, Bucket=bucket, Key="c", Body=b"2", IfNoneMatch="*")
            assert found == ("PreconditionFailed", 412), found
            s3.put_object(Bucket=bucket, Key="new", Body=b"2", IfNoneMatch="*")
        if "IfMatch" in parameters:
            assert self.code(s3.put_object, Bucket=bucket, Key="c", Body=b"2", IfMatch='"x"')[1] == 412
            etag = s3.put_object(Bucket=bucket, Key="c", Body=b"two", IfMatch=etag)["ETag"]
            assert self.code(s3.put_object, Bucket=bucket, Key="no", Body=b"2", IfMatch=etag) == ("NoSuchKey", 404)
        assert self.code(s3.get_object, Bucket=bucket, Key="c", IfMatch='"x"')[1] == 412
        self.empty(bucket)

    def listing(self, bucket):
        s3 = self.s3
        keys = ["a", "b-c", "b.txt", "b/1", "b/2/3", "b0", "c d/é", "c+d/f", "z/"]
        for key in keys:
            s3.put_object(Bucket=bucket, Key=key, Body=b"" if key.endswith("/") else key.encode())
        ordered = sorted(keys, key=lambda key: key.encode())
        for list_all in ("list_objects", "list_objects_v2"):
            for size in (1, 2, 3, 1000):
                pages = s3.get_paginator(list_all).paginate(Bucket=bucket, PaginationConfig={"PageSize": size})
                assert [item["Key"] for page in pages for item in page.get("Contents", [])] == ordered, (list_all, size)
                pages = s3.get_paginator(list_all).paginate(Bucket=bucket, Delimiter="/", PaginationConfig={"PageSize": size})
                found = [(item["Key"] if "Key" in item else item["Prefix"]) for page in pages
                         for item in sorted(page.get("Contents", []) + page.get("CommonPrefixes", []),
                                            key=lambda item: (item.get("Key") or item["Prefix"]).encode())]
                assert found == ["a", "b-c", "b.txt", "b/", "b0", "c d/", "c+d/", "z/"], (list_all, size, found)
        listed = s3.list_objects_v2(Bucket=bucket, Prefix="b/", Delimiter="/")
        assert [one["Key"] for one in listed["Contents"]] == ["b/1"]
        assert [one["Prefix"] for one in listed["CommonPrefixes"]] == ["b/2/"]
        listed = s3.list_objects_v2(Bucket=bucket, StartAfter="b.txt", FetchOwner=True)
        assert [one["Key"] for one in listed["Contents"]] == ordered[ordered.index("b.txt") + 1:]
        assert listed["Contents"][0]["Owner"]["ID"]
        listed = s3.list_objects_v2(Bucket=bucket, Delimiter="-")
        assert [one["Prefix"] for one in listed["CommonPrefixes"]] == ["b-"]
        assert s3.list_objects_v2(Bucket=bucket, MaxKeys=0)["KeyCount"] == 0
        assert self.code(s3.list_objects_v2, Bucket=bucket, ContinuationToken="?")[1] == 400
        assert self.code(s3.delete_bucket, Bucket=bucket)[0] == "BucketNotEmpty"
        self.empty(bucket)

    def copies(self, bucket):
        s3 = self.s3
        etag = s3.put_object(Bucket=bucket, Key="from ü", Body=b"copy me", ContentType="text/a", Metadata={"a": "b"},
                             Tagging="k=v")["ETag"]
        source = {"Bucket": bucket, "Key": "from ü"}
        copied = s3.copy_object(Bucket=bucket, Key="to/a", CopySource=source)
        assert copied["CopyObjectResult"]["ETag"] == etag
        got = s3.get_object(Bucket=bucket, Key="to/a")
        assert got["Body"].read() == b"copy me" and got["ContentType"] == "text/a" and got["Metadata"] == {"a": "b"}
        assert s3.get_object_tagging(Bucket=bucket, Key="to/a")["TagSet"] == [{"Key": "k", "Value": "v"}]
        s3.copy_object(Bucket=bucket, Key="to/b", CopySource=source, MetadataDirective="REPLACE", ContentType="text/b",
                       Metadata={"c": "d"}, TaggingDirective="REPLACE", Tagging="x=y")
        got = s3.head_object(Bucket=bucket, Key="to/b")
        assert got["ETag"] == etag and got["ContentType"] == "text/b" and got["Metadata"] == {"c": "d"}
        assert s3.get_object_tagging(Bucket=bucket, Key="to/b")["TagSet"] == [{"Key": "x", "Value": "y"}]
        assert self.code(s3.copy_object, Bucket=bucket, Key="x", CopySource=source, CopySourceIfMatch='"x"')[1] == 412
        assert self.code(s3.copy_object, Bucket=bucket, Key="x", CopySource=source, CopySourceIfNoneMatch=etag)[1] == 412
        assert self.code(s3.copy_object, Bucket=bucket, Key="from ü", CopySource=source)[0] == "InvalidRequest"
        s3.copy_object(Bucket=bucket, Key="from ü", CopySource=source, MetadataDirective="REPLACE", Metadata={"e": "f"})
        got = s3.get_object(Bucket=bucket, Key="from ü")
        assert got["Metadata"] == {"e": "f"} and got["Body"].read() == b"copy me" and got["ETag"] == etag
        assert self.code(s3.copy_object, Bucket=bucket, Key="x", CopySource=f"{bucket}/none") == ("NoSuchKey", 404)
        self.empty(bucket)

    def multipart(self, bucket):
        s3 = self.s3
        parts = [content("part 1", 5 * MIB), content("part 2", 5 * MIB + 3), b"end"]
        begun = s3.create_multipart_upload(Bucket=bucket, Key="m/p", ContentType="text/m", Metadata={"m": "p"})["UploadId"]
        named = []
        for number, part in enumerate(parts, 1):
            etag = s3.upload_part(Bucket=bucket, Key="m/p", UploadId=begun, PartNumber=number, Body=part)["ETag"]
            assert etag == f'"{hashlib.md5(part).hexdigest()}"'
            named.append({"PartNumber": number, "ETag": etag})
        assert s3.list_objects_v2(Bucket=bucket)["KeyCount"] == 0
        assert [one["UploadId"] for one in s3.list_multipart_uploads(Bucket=bucket)["Uploads"]] == [begun]
        listed = s3.list_parts(Bucket=bucket, Key="m/p", UploadId=begun, MaxParts=2)
        assert [one["PartNumber"] for one in listed["Parts"]] == [1, 2] and listed["IsTruncated"]
        listed = s3.list_parts(Bucket=bucket, Key="m/p", UploadId=begun, PartNumberMarker=listed["NextPartNumberMarker"])
        assert [one["Size"] for one in listed["Parts"]] == [3]
        arguments = {"Bucket": bucket, "Key": "m/p", "UploadId": begun}
        wrong = [dict(named[0], ETag='"0"')] + named[1:]
        assert self.code(s3.complete_multipart_upload, **arguments, MultipartUpload={"Parts": wrong})[0] == "InvalidPart"
        assert self.code(s3.complete_multipart_upload, **arguments, MultipartUpload={"Parts": named[::-1]})[0] == "InvalidPartOrder"
        done = s3.complete_multipart_upload(**arguments, MultipartUpload={"Parts": named})
        digest = hashlib.md5(b"".join(hashlib.md5(part).digest() for part in parts)).hexdigest()
        assert done["ETag"] == f'"{digest}-3"'
        got = s3.get_object(Bucket=bucket, Key="m/p")
        assert got["Body"].read() == b"".join(parts) and got["ContentType"] == "text/m" and got["Metadata"] == {"m": "p"}
        assert got["ETag"] == done["ETag"]
        second = s3.get_object(Bucket=bucket, Key="m/p", PartNumber=2)
        assert second["Body"].read() == parts[1] and second["PartsCount"] == 3
        # The answer got lost, and the client asks again.
        assert s3.complete_multipart_upload(**arguments, MultipartUpload={"Parts": named})["ETag"] == done["ETag"]
        assert self.code(s3.list_parts, **arguments) == ("NoSuchUpload", 404)
        # Parts that are copied.
        begun = s3.create_multipart_upload(Bucket=bucket, Key="m/q")["UploadId"]
        source = {"Bucket": bucket, "Key": "m/p"}
        named = []
        for number, wanted in ((1, "bytes=0-5242879"), (2, f"bytes=5242880-{sum(map(len, parts)) - 1}")):
            copied = s3.upload_part_copy(Bucket=bucket, Key="m/q", UploadId=begun, PartNumber=number, CopySource=source,
                                         CopySourceRange=wanted)
            named.append({"PartNumber": number, "ETag": copied["CopyPartResult"]["ETag"]})
        s3.complete_multipart_upload(Bucket=bucket, Key="m/q", UploadId=begun, MultipartUpload={"Parts": named})
        assert s3.get_object(Bucket=bucket, Key="m/q")["Body"].read() == b"".join(parts)
        begun = s3.create_multipart_upload(Bucket=bucket, Key="m/r")["UploadId"]
        s3.upload_part(Bucket=bucket, Key="m/r", UploadId=begun, PartNumber=1, Body=b"x")
        s3.abort_multipart_upload(Bucket=bucket, Key="m/r", UploadId=begun)
        assert self.code(s3.abort_multipart_upload, Bucket=bucket, Key="m/r", UploadId=begun) == ("NoSuchUpload", 404)
        assert "Uploads" not in s3.list_multipart_uploads(Bucket=bucket)
        self.empty(bucket)

    def checksums(self, bucket):
        s3 = self.s3
        algorithms = ["CRC32", "SHA1", "SHA256"]
        for algorithm in algorithms:
            for size in (0, 1000, 600_000):
                data = content(algorithm, size)
                put = s3.put_object(Bucket=bucket, Key="sum", Body=data, ChecksumAlgorithm=algorithm)
                field = f"Checksum{algorithm}"
                got = s3.get_object(Bucket=bucket, Key="sum", ChecksumMode="ENABLED")
                assert put[field] == got[field] and got["Body"].read() == data
            shown = s3.get_object_attributes(Bucket=bucket, Key="sum", ObjectAttributes=["Checksum", "ObjectSize", "ETag"])
            assert shown["Checksum"][field] == put[field] and shown["ObjectSize"] == 600_000
        wrong = {"ChecksumSHA256": "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU="}
        assert self.code(s3.put_object, Bucket=bucket, Key="bad", Body=b"x", **wrong)[0] == "BadDigest"
        assert self.code(s3.put_object, Bucket=bucket, Key="bad", Body=b"x", ContentMD5="1B2M2Y8AsgTpgAmY7PhCfg==")[0] == "BadDigest"
        assert self.code(s3.head_object, Bucket=bucket, Key="bad")[1] == 404
        parts = [content("sum 1", 5 * MIB), content("sum 2", 100)]
        begun = s3.create_multipart_upload(Bucket=bucket, Key="sums", ChecksumAlgorithm="SHA256")["UploadId"]
        named = []
        for number, part in enumerate(parts, 1):
            sent = s3.upload_part(Bucket=bucket, Key="sums", UploadId=begun, PartNumber=number, Body=part,
                                  ChecksumAlgorithm="SHA256")
            named.append({"PartNumber": number, "ETag": sent["ETag"], "ChecksumSHA256": sent["ChecksumSHA256"]})
        done = s3.complete_multipart_upload(Bucket=bucket, Key="sums", UploadId=begun, MultipartUpload={"Parts": named})
        import base64
        digest = hashlib.sha256(b"".join(hashlib.sha256(part).digest() for part in parts)).digest()
        assert done["ChecksumSHA256"] == base64.b64encode(digest).decode() + "-2"
        self.empty(bucket)

    def tags(self, bucket):
        s3 = self.s3
        s3.put_object(Bucket=bucket, Key="t", Body=b"", Tagging="a=1&b=x%20y")
        assert s3.get_object_tagging(Bucket=bucket, Key="t")["TagSet"] == [{"Key": "a", "Value": "1"}, {"Key": "b", "Value": "x y"}]
        s3.put_object_tagging(Bucket=bucket, Key="t", Tagging={"TagSet": [{"Key": "ü", "Value": "ö"}]})
        assert s3.get_object_tagging(Bucket=bucket, Key="t")["TagSet"] == [{"Key": "ü", "Value": "ö"}]
        many = [{"Key": str(number), "Value": ""} for number in range(11)]
        assert self.code(s3.put_object_tagging, Bucket=bucket, Key="t", Tagging={"TagSet": many})[0] == "InvalidTag"
        s3.delete_object_tagging(Bucket=bucket, Key="t")
        assert s3.get_object_tagging(Bucket=bucket, Key="t")["TagSet"] == []
        assert self.code(s3.get_bucket_tagging, Bucket=bucket) == ("NoSuchTagSet", 404)
        s3.put_bucket_tagging(Bucket=bucket, Tagging={"TagSet": many})
        assert s3.get_bucket_tagging(Bucket=bucket)["TagSet"] == many
        s3.delete_bucket_tagging(Bucket=bucket)
        assert self.code(s3.get_bucket_tagging, Bucket=bucket) == ("NoSuchTagSet", 404)
        self.empty(bucket)

    def presigned(self, bucket):
        # The client's own default is still the old signature here, which has to be asked for otherwise.
        config = self.config(s3={"addressing_style": "path"}, signature_version="s3v4")
        s3 = self.boto3.client("s3", endpoint_url=self.endpoint, region_name="us-east-1", config=config,
                               aws_access_key_id=self.access, aws_secret_access_key=self.secret)
        url = s3.generate_presigned_url("put_object", {"Bucket": bucket, "Key": "pre signed ü"}, ExpiresIn=60)
        urllib.request.urlopen(urllib.request.Request(url, data=b"by url", method="PUT")).read()
        url = s3.generate_presigned_url("get_object", {"Bucket": bucket, "Key": "pre signed ü"}, ExpiresIn=60)
        assert urllib.request.urlopen(url).read() == b"by url"
        for broken in (url[:-1] + ("0" if url[-1] != "0" else "1"), url.replace("60", "61"), f"{self.endpoint}/{bucket}/x"):
            try:
                urllib.request.urlopen(broken)
                raise AssertionError("a broken signature was taken")
            except urllib.error.HTTPError as error:
                assert error.code == 403, error.code
        other = self.boto3.client("s3", endpoint_url=self.endpoint, region_name="us-east-1", config=config,
                                  aws_access_key_id=self.access, aws_secret_access_key="wrong")
        assert self.code(other.list_buckets) == ("SignatureDoesNotMatch", 403)
        self.empty(bucket)

    def refused(self, bucket):
        s3 = self.s3
        s3.put_object(Bucket=bucket, Key="k", Body=b"")
        for call, arguments in (
                (s3.get_bucket_acl, {}), (s3.get_bucket_policy, {}), (s3.get_bucket_cors, {}),
                (s3.get_bucket_lifecycle_configuration, {}), (s3.get_bucket_encryption, {}),
                (s3.get_object_acl, {"Key": "k"}), (s3.get_object_torrent, {"Key": "k"}),
                (s3.put_object, {"Key": "k", "Body": b"", "ACL": "public-read"}),
                (s3.put_object, {"Key": "k", "Body": b"", "ServerSideEncryption": "aws:kms"}),
                (s3.put_object, {"Key": "k", "Body": b"", "WebsiteRedirectLocation": "/x"}),
                (s3.put_bucket_versioning, {"VersioningConfiguration": {"Status": "Suspended"}})):
            assert self.code(call, Bucket=bucket, **arguments) == ("NotImplemented", 501), call
        assert self.code(s3.put_object, Bucket=bucket, Key="k", Body=b"", StorageClass="GLACIER")[0] == "InvalidStorageClass"
        self.empty(bucket)

    def concurrent(self, bucket):
        """Many puts and deletes at once; folders come and go under them."""
        from concurrent.futures import ThreadPoolExecutor
        keys = [f"many/{number % 7}/{number % 3}/{number}" for number in range(300)]
        with ThreadPoolExecutor(16) as pool:
            list(pool.map(lambda key: self.s3.put_object(Bucket=bucket, Key=key, Body=key.encode()), keys))
            bodies = pool.map(lambda key: self.s3.get_object(Bucket=bucket, Key=key)["Body"].read(), keys)
            assert list(bodies) == [key.encode() for key in keys]
            # Whatever is deleted meanwhile, what was put last is there.
            def churn(number):
                key = f"churn/x/{number % 4}"
                for _ in range(5):
                    self.s3.put_object(Bucket=bucket, Key=key + f"/{number}", Body=b"c")
                    self.s3.delete_object(Bucket=bucket, Key=key + f"/{number}")
                self.s3.put_object(Bucket=bucket, Key=key + f"/{number}", Body=b"c")
            list(pool.map(churn, range(32)))
        assert self.s3.list_objects_v2(Bucket=bucket, Prefix="churn/")["KeyCount"] == 32
        self.empty(bucket)

    def versions(self):
        s3, bucket = self.s3, "boto3-versions"
        s3.create_bucket(Bucket=bucket)
        assert "Status" not in s3.get_bucket_versioning(Bucket=bucket)
        s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
        assert s3.get_bucket_versioning(Bucket=bucket)["Status"] == "Enabled"
        ids = [s3.put_object(Bucket=bucket, Key="dir/v", Body=f"v{number}".encode())["VersionId"] for number in range(4)]
        s3.put_object(Bucket=bucket, Key="w", Body=b"w")
        for number, one in enumerate(ids):
            got = s3.get_object(Bucket=bucket, Key="dir/v", VersionId=one)
            assert got["Body"].read() == f"v{number}".encode() and got["VersionId"] == one
        for size in (1, 2, 1000):
            pages = s3.get_paginator("list_object_versions").paginate(Bucket=bucket, PaginationConfig={"PageSize": size})
            found = [(one["Key"], one["VersionId"], one["IsLatest"]) for page in pages for one in page["Versions"]]
            assert [one[1] for one in found[:4]] == ids[::-1] and found[4][0] == "w", found
            assert [one[2] for one in found] == [True, False, False, False, True]
        s3.delete_object(Bucket=bucket, Key="dir/v", VersionId=ids[1])
        assert self.code(s3.get_object, Bucket=bucket, Key="dir/v", VersionId=ids[1])[0] == "NoSuchVersion"
        s3.delete_object(Bucket=bucket, Key="dir/v", VersionId=ids[3])
        assert s3.get_object(Bucket=bucket, Key="dir/v")["Body"].read() == b"v2"
        s3.copy_object(Bucket=bucket, Key="dir/v", CopySource={"Bucket": bucket, "Key": "dir/v", "VersionId": ids[0]})
        assert s3.get_object(Bucket=bucket, Key="dir/v")["Body"].read() == b"v0"
        s3.delete_object(Bucket=bucket, Key="dir/v")
        assert self.code(s3.get_object, Bucket=bucket, Key="dir/v") == ("NoSuchKey", 404)
        s3.delete_object(Bucket=bucket, Key="w")
        s3.delete_bucket(Bucket=bucket)


class AwsCli(Client):
    name = "awscli"

    def __init__(self, options, work):
        super().__init__(options, work)
        # The one beside this Python is more likely to work than whatever else is on the path.
        beside = Path(sys.executable).with_name("aws")
        self.aws = str(beside) if beside.exists() else self.tool("aws")
        version = self.run(self.aws, "--version", ok=False)
        if version.returncode != 0:
            raise Missing(f"aws does not run: {version.stderr.strip()[-200:]}")
        print(f"    {version.stdout.split()[0]}", flush=True)

    def s3(self, *command, **more):
        return self.run(self.aws, "--endpoint-url", self.endpoint, "s3", *map(str, command), **more)

    def prepare(self):
        self.s3("mb", f"s3://{self.bucket}", ok=False)
        self.s3("cp", "--recursive", "--quiet", self.sources(), f"s3://{self.bucket}/")

    def verify(self):
        target = self.target("awscli-down")
        self.s3("sync", "--quiet", f"s3://{self.bucket}/", target)
        compare(self.sources(), target, "awscli")

    def clean(self):
        self.s3("rb", "--force", f"s3://{self.bucket}")

    def functional(self):
        again = self.s3("sync", self.sources(), f"s3://{self.bucket}/")
        assert again.stdout.strip() == "", again.stdout
        self.s3("mv", f"s3://{self.bucket}/a.txt", f"s3://{self.bucket}/moved.txt")
        self.s3("mv", f"s3://{self.bucket}/moved.txt", f"s3://{self.bucket}/a.txt")
        assert "large.bin" in self.s3("ls", f"s3://{self.bucket}/").stdout


class Rclone(Client):
    name = "rclone"

    def __init__(self, options, work):
        super().__init__(options, work)
        self.tool("rclone")
        print(f"    {self.run('rclone', 'version').stdout.splitlines()[0]}", flush=True)

    def environment(self):
        return {"RCLONE_CONFIG": "/dev/null", "RCLONE_CONFIG_C_TYPE": "s3", "RCLONE_CONFIG_C_PROVIDER": "Other",
                "RCLONE_CONFIG_C_ACCESS_KEY_ID": self.access, "RCLONE_CONFIG_C_SECRET_ACCESS_KEY": self.secret,
                "RCLONE_CONFIG_C_ENDPOINT": self.endpoint, "RCLONE_CONFIG_C_FORCE_PATH_STYLE": "true",
                "RCLONE_S3_UPLOAD_CUTOFF": "16M", "RCLONE_S3_CHUNK_SIZE": "5M", "RCLONE_LOW_LEVEL_RETRIES": "2",
                "RCLONE_RETRIES": "1"}

    def rclone(self, *command, **more):
        return self.run("rclone", *map(str, command), **more)

    def prepare(self):
        self.rclone("copy", self.sources(), f"c:{self.bucket}")

    def verify(self):
        target = self.target("rclone-down")
        self.rclone("copy", f"c:{self.bucket}", target)
        compare(self.sources(), target, "rclone")
        self.rclone("check", "--download", self.sources(), f"c:{self.bucket}")

    def clean(self):
        self.rclone("purge", f"c:{self.bucket}")

    def functional(self):
        self.rclone("check", self.sources(), f"c:{self.bucket}")
        # Nothing is transferred again, times included.
        again = self.rclone("sync", "-v", "--stats-one-line", self.sources(), f"c:{self.bucket}")
        assert "Copied" not in again.stderr and "Updated" not in again.stderr, again.stderr
        changed = self.work / "changed"
        shutil.copytree(self.sources(), changed)
        (changed / "a.txt").write_bytes(b"another content")
        (changed / "empty").unlink()
        os.utime(changed / "a0", (1_600_000_000, 1_600_000_000))
        self.rclone("sync", changed, f"c:{self.bucket}")
        self.rclone("check", "--download", changed, f"c:{self.bucket}")
        self.rclone("sync", self.sources(), f"c:{self.bucket}")
        self.rclone("moveto", f"c:{self.bucket}/a/b", f"c:{self.bucket}/moved/here")
        self.rclone("moveto", f"c:{self.bucket}/moved/here", f"c:{self.bucket}/a/b")
        assert "moved" not in self.rclone("lsf", f"c:{self.bucket}").stdout
        self.mount()

    def mount(self):
        if not os.path.exists("/dev/fuse") or not shutil.which("fusermount3") or os.geteuid() != 0:
            print("    skipped: rclone mount needs /dev/fuse, fusermount3 and root", flush=True)
            return
        point = self.target("mount")
        environment = self.whole_environment()
        process = subprocess.Popen(["rclone", "mount", f"c:{self.bucket}", str(point), "--vfs-cache-mode", "writes",
                                    "--dir-cache-time", "1s", "--vfs-write-back", "0s", "--cache-dir", str(self.work / "cache")],
                                   env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        try:
            for _ in range(300):
                if os.path.ismount(point) or process.poll() is not None:
                    break
                time.sleep(0.1)
            if process.poll() is not None:
                why = process.stderr.read().strip()[-300:]
                if os.environ.get("CI") == "true" and "fuse" not in why.lower():
                    raise AssertionError(f"rclone mount ended: {why}")
                print(f"    skipped: FUSE does not work here ({why})", flush=True)
                return
            compare(self.sources(), point, "rclone mount")
            (point / "written").mkdir()
            (point / "written" / "through the mount").write_bytes(b"mounted")
            for _ in range(300):
                if self.rclone("cat", f"c:{self.bucket}/written/through the mount", ok=False).stdout == "mounted":
                    break
                time.sleep(0.1)
            else:
                raise AssertionError("what was written through the mount did not arrive")
            (point / "written" / "through the mount").unlink()
            (point / "written").rmdir()
        finally:
            subprocess.run(["fusermount3", "-uz", str(point)], capture_output=True)
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.terminate()
                process.wait(20)


class Restic(Client):
    name = "restic"

    def __init__(self, options, work):
        super().__init__(options, work)
        self.tool("restic")
        print(f"    {self.run('restic', 'version').stdout.strip()}", flush=True)

    def environment(self):
        return {**super().environment(), "RESTIC_REPOSITORY": f"s3:{self.endpoint}/{self.bucket}",
                "RESTIC_PASSWORD": "correct horse", "RESTIC_CACHE_DIR": str(self.work / "cache"),
                "RESTIC_PROGRESS_FPS": "0"}

    def restic(self, *command, **more):
        return self.run("restic", *map(str, command), **more)

    def prepare(self):
        if self.restic("cat", "config", ok=False).returncode != 0:
            self.restic("init")
        self.restic("backup", ".", cwd=self.sources())

    def verify(self):
        target = self.target("restic-down")
        # Without a lock, which is a file that is put: there may be too few providers for that now.
        self.restic("check", "--read-data", "--no-cache", "--no-lock")
        self.restic("restore", "latest", "--target", target, "--no-cache", "--no-lock")
        compare(self.sources(), target, "restic")

    def functional(self):
        more = self.sources() / "more.bin"
        more.write_bytes(content("more", 2 * MIB))
        self.restic("backup", ".", cwd=self.sources())
        more.unlink()
        self.restic("backup", ".", cwd=self.sources())
        self.restic("forget", "--keep-last", "1", "--prune")
        self.restic("prune", "--max-unused", "0")
        self.restic("check", "--read-data", "--no-cache")

    def clean(self):
        pass


class S3cmd(Client):
    name = "s3cmd"

    def __init__(self, options, work):
        super().__init__(options, work)
        self.tool("s3cmd")
        print(f"    {self.run('s3cmd', '--version').stdout.strip()}", flush=True)
        self.config = work / "s3cfg"
        self.config.touch(0o600)
        self.config.write_text("\n".join([
            "[default]", f"access_key = {self.access}", f"secret_key = {self.secret}", f"host_base = {self.host}",
            f"host_bucket = {self.host}", "use_https = False", "bucket_location = us-east-1",
            "multipart_chunk_size_mb = 5", "signature_v2 = False", "progress_meter = False", ""]))

    def s3cmd(self, *command, **more):
        return self.run("s3cmd", "-c", self.config, *map(str, command), **more)

    def prepare(self):
        self.s3cmd("mb", f"s3://{self.bucket}", ok=False)
        self.s3cmd("sync", f"{self.sources()}/", f"s3://{self.bucket}/")

    def verify(self):
        target = self.target("s3cmd-down")
        self.s3cmd("sync", f"s3://{self.bucket}/", f"{target}/")
        compare(self.sources(), target, "s3cmd")

    def clean(self):
        self.s3cmd("del", "--recursive", "--force", f"s3://{self.bucket}/")
        self.s3cmd("rb", f"s3://{self.bucket}")

    def functional(self):
        again = self.s3cmd("sync", f"{self.sources()}/", f"s3://{self.bucket}/")
        assert "upload:" not in again.stdout, again.stdout
        self.s3cmd("cp", f"s3://{self.bucket}/a.txt", f"s3://{self.bucket}/copy.txt")
        self.s3cmd("mv", f"s3://{self.bucket}/copy.txt", f"s3://{self.bucket}/moved/copy.txt")
        self.s3cmd("del", f"s3://{self.bucket}/moved/copy.txt")
        assert "moved" not in self.s3cmd("ls", f"s3://{self.bucket}/").stdout
        assert "large.bin" in self.s3cmd("ls", "--recursive", f"s3://{self.bucket}").stdout


CLIENTS = [Boto3, AwsCli, Rclone, Restic, S3cmd]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("mode", choices=["all", "prepare", "verify"])
    parser.add_argument("endpoint", help="like http://127.0.0.1:4790")
    parser.add_argument("--only", default="", help="names of clients, with commas between")
    parser.add_argument("--large", type=int, default=20, help="size of the largest file, MiB")
    options = parser.parse_args()
    only = [name for name in options.only.split(",") if name]
    failed = []
    for kind in CLIENTS:
        if only and kind.name not in only:
            continue
        print(f"{kind.name}: {options.mode}", flush=True)
        began = time.monotonic()
        with tempfile.TemporaryDirectory(prefix=f"s3-{kind.name}-") as work:
            try:
                client = kind(options, Path(work))
                if options.mode in ("all", "prepare"):
                    client.prepare()
                if options.mode == "all":
                    client.functional()
                if options.mode in ("all", "verify"):
                    client.verify()
                if options.mode == "all":
                    client.clean()
            except Missing as missing:
                print(f"skipped: {missing}", flush=True)
                if os.environ.get("CI") == "true":
                    failed.append(kind.name)
                continue
            except Exception as error:  # noqa: BLE001 - the next client is tried all the same
                import traceback
                traceback.print_exc()
                print(f"failed: {kind.name}: {error}", flush=True)
                failed.append(kind.name)
                continue
        print(f"ok: {kind.name} in {time.monotonic() - began:.1f} s", flush=True)
    if failed:
        sys.exit(f"failed: {', '.join(failed)}")


if __name__ == "__main__":
    main()
