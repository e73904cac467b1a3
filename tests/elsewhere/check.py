"""Checks a ledger with a C2SP implementation that is not ours; see scripts/check-elsewhere."""

import json
import os
import re
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request

from aics_tlog.checkpoint import checkpoint_from_note, verify_checkpoint
from aics_tlog.note import b64_decode, parse_note, parse_vkey
from aics_tlog.tree import verify_consistency, verify_leaf_inclusion
from aics_tlog.verified import audit_tiles

PROGRAM, FOLDER = sys.argv[1:]
# Enough for full tiles of level 0 and a partial one of level 1.
ROUNDS = [3, 40, 260, 300]
PATIENCE = 60


def command(*args):
    url = f"sqlite://{FOLDER}/ledger.db"
    return [PROGRAM, *args, "--database-url", url]


def start():
    serve = command("serve", "--listen", "127.0.0.1:0", "--checkpoint-delay-ms", "50")
    said = f"{FOLDER}/said"
    with open(said, "w") as file:
        process = subprocess.Popen(serve, stderr=file)
    begun = time.monotonic()
    while time.monotonic() - begun < PATIENCE and process.poll() is None:
        with open(said) as file:
            found = re.search(r"listening on (http://\S+)", file.read())
        if found:
            return process, found.group(1)
        time.sleep(0.05)
    process.kill()
    raise SystemExit("the service does not start")


class Log:
    """A company's log over HTTP; what it answers is trusted for nothing."""

    def __init__(self, base, company):
        self.base = f"{base}/v1/companies/{company['company_id']}"
        self.company = company

    def get(self, path):
        headers = {"Authorization": f"Bearer {self.company['audit_key']}"}
        request = urllib.request.Request(f"{self.base}/{path}", headers=headers)
        with urllib.request.urlopen(request, timeout=30) as answer:
            return answer.read()

    def optional(self, path):
        try:
            return self.get(path)
        except urllib.error.HTTPError as error:
            if error.code == 404:
                return None
            raise

    def token(self, name):
        request = urllib.request.Request(
            f"{self.base}/tokens",
            data=json.dumps({"name": name, "scopes": ["positions"]}).encode(),
            headers={
                "Authorization": f"Bearer {self.company['admin_key']}",
                "Content-Type": "application/json",
            },
        )
        urllib.request.urlopen(request, timeout=30).read()

    @staticmethod
    def path(index, width):
        parts = [f"{index % 1000:03}"]
        while index >= 1000:
            index //= 1000
            parts.insert(0, f"x{index % 1000:03}")
        return "/".join(parts) + (f".p/{width}" if width is not None else "")

    # What the checker asks of a reader of tiles.
    def read_tile(self, level, index, width):
        return self.optional(f"log/tile/{level}/{self.path(index, width)}")

    def read_entry_bundle(self, index, width):
        return self.optional(f"log/tile/entries/{self.path(index, width)}")


def expect(condition, what):
    if not condition:
        raise SystemExit(f"NOT AS IT SHOULD BE: {what}")


def checkpoint(log, key, size):
    begun = time.monotonic()
    while True:
        note = parse_note(log.get("log/checkpoint"))
        result = verify_checkpoint(note, key, expected_origin=key.name)
        expect(result.ok, f"checkpoint: {result.error}")
        found, _ = checkpoint_from_note(note)
        if found.size >= size:
            return found
        expect(time.monotonic() - begun < PATIENCE, "the checkpoint is late")
        time.sleep(0.02)


def check_proof(log, key, position, entries):
    head, _, note = log.get(f"log/proof?position={position}").decode().partition("\n\n")
    lines = head.split("\n")
    expect(lines[0] == "c2sp.org/tlog-proof@v1", "the proof's first line")
    expect(lines[1] == f"index {position - 1}", "the proof's index")
    note = parse_note(note)
    expect(verify_checkpoint(note, key, expected_origin=key.name).ok, "the proof's checkpoint")
    tree, _ = checkpoint_from_note(note)
    proof = [b64_decode(line) for line in lines[2:]]
    entry = entries[position - 1]
    expect(
        verify_leaf_inclusion(entry, position - 1, tree.size, proof, tree.root),
        f"the inclusion of position {position}",
    )
    other = entry.replace(b"token.created", b"token.deleted") + b" "
    expect(
        not verify_leaf_inclusion(other, position - 1, tree.size, proof, tree.root),
        "another entry is proved as well",
    )


def entries_of(log, size):
    entries = []
    for index in range((size + 255) // 256):
        width = min(256, size - index * 256)
        bundle = log.read_entry_bundle(index, None if width == 256 else width)
        while bundle:
            length = int.from_bytes(bundle[:2], "big")
            entries.append(bundle[2 : 2 + length])
            bundle = bundle[2 + length :]
    return entries


def check(log):
    key = parse_vkey(log.get("log/key").decode().strip())
    trees, created = [], 6
    for number, tokens in enumerate(ROUNDS):
        for token in range(tokens):
            log.token(f"token {number} {token}")
        created += tokens
        tree = checkpoint(log, key, created)
        trees.append(tree)
        # Raises where a tile or an entry is not what the checkpoint was signed for.
        audit_tiles(log, tree.size, tree.root, entries=True)
    expect(len({tree.size for tree in trees}) == len(ROUNDS), "the ledger grew")
    for old in trees:
        for new in trees:
            if old.size > new.size:
                continue
            answer = json.loads(log.get(f"log/consistency?from={old.size}&to={new.size}"))
            proof = [b64_decode(text) for text in answer["hashes"]]
            what = f"{new.size} extends {old.size}"
            expect(verify_consistency(old.size, new.size, old.root, new.root, proof), what)
    last = trees[-1]
    entries = entries_of(log, last.size)
    expect(len(entries) == last.size, "all entries")
    for position in [1, 2, 6, 255, 256, 257, 512, 513, last.size]:
        check_proof(log, key, position, entries)
    print(f"checked elsewhere: {len(trees)} checkpoints, {last.size} entries, {key.name}")


def main():
    setup = command("setup", "--company", "Acme", "--admin-email", "ada@example.com", "--json")
    company = json.loads(subprocess.run(setup, check=True, capture_output=True).stdout)
    process, base = start()
    try:
        check(Log(base, company))
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(timeout=60)


os.umask(0o077)
main()
