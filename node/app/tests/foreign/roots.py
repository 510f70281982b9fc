"""Merkle roots as the library pymerkle computes them, for comparison with ours.

    roots.py log FOLDER       of a log in a folder of tlog-tiles: the root at every size, in hexadecimal
    roots.py chunk FILE...    of each file cut into leaves of 1,024 bytes
"""

import pathlib
import sys

from pymerkle import InmemoryTree

LEAF_LEN = 1024


def entries(folder):
    """Entries of every bundle, in order: the longest partial one is the last."""
    bundles = pathlib.Path(folder, "tile", "entries")
    for path in sorted(path for path in bundles.rglob("*") if path.is_file()):
        bundle = path.read_bytes()
        while bundle:
            end = 2 + int.from_bytes(bundle[:2], "big")
            yield bundle[2:end]
            bundle = bundle[end:]


def tree(leaves):
    merkle = InmemoryTree(algorithm="sha256")
    for leaf in leaves:
        merkle.append_entry(leaf)
    return merkle


def main(what, *paths):
    if what == "log":
        merkle = tree(entries(paths[0]))
        for size in range(merkle.get_size() + 1):
            print(merkle.get_root(size).hex())
    elif what == "chunk":
        for path in paths:
            content = pathlib.Path(path).read_bytes()
            leaves = [content[at:at + LEAF_LEN] for at in range(0, len(content), LEAF_LEN)]
            print(tree(leaves).get_root().hex())
    else:
        sys.exit(__doc__)


main(*sys.argv[1:])
