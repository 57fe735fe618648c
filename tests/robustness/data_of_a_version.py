"""Writes a replica's data, or reads it and prints what it says, with whichever h9s Python finds.

    python data_of_a_version.py write|read FOLDER

Uses only what both versions have.
"""

import json
import sys
from pathlib import Path

from h9s._pb import api_pb2, log_pb2
from h9s.raft.journal import Journal
from h9s.raft.snapshot_files import SnapshotFiles, SnapshotInfo
from h9s.raft.storage import FileStorage
from h9s.store.snapshot import decode, encode
from h9s.store.state_machine import StateMachine

SNAPSHOT_AT = 30
LAST = 60


def open_files(folder):
    journal = Journal(FileStorage(folder / "journal"), identity="c1/r1", segment_bytes=1500)
    return journal, SnapshotFiles(FileStorage(folder / "snapshots"), identity="c1")


def entry(index):
    """Half of the keys are made, the other half deleted again."""
    mutation = log_pb2.Mutation(key=f"/sim/Item//{index // 2}")
    if index % 4:
        mutation.value = b"v%d" % index * 20
    written = log_pb2.Transaction(
        request_id=api_pb2.RequestId(nonce=b"%016d" % index, issued_at_ms=1000), mutations=[mutation]
    )
    return log_pb2.LogEntry(format_version=1, time_ms=1000 + index, transactions=[written])


def write(folder):
    journal, snapshots = open_files(folder)
    machine = StateMachine()
    journal.setCurrentTerm(3, "r2")
    journal.add(b"\x01", 1, 3)
    for index in range(2, LAST + 1):
        journal.add(b"\0" + entry(index).SerializeToString(), index, 3)
        if index % 3 == 0:
            journal.sync()
        machine.apply(entry(index))
        if index == SNAPSHOT_AT:
            snapshots.write(SnapshotInfo(index, 3), encode(machine.capture()))
    journal.sync()


def read(folder):
    journal, snapshots = open_files(folder)
    machine = StateMachine()
    info = snapshots.latest()
    machine.restore(decode(snapshots.parts(info)))
    for found in journal:
        if found[1] > info.last_index and found.command[:1] == b"\0":
            machine.apply(log_pb2.LogEntry.FromString(found.command[1:]))
    return {
        "term": journal.getCurrentTerm(),
        "voted_for": journal.getVotedForNodeId(),
        "last": journal[-1][1],
        "segments": len(list((folder / "journal").iterdir())),
        "revision": machine.revision,
        "compact_revision": machine.history.compact_revision,
        "requests": len(machine.requests),
        "history_hash": machine.history_hash.hex(),
        "items": {item.key: item.value.decode() for item in machine.view().scan("/")},
    }


if __name__ == "__main__":
    command, target = sys.argv[1], Path(sys.argv[2])
    if command == "write":
        write(target)
    else:
        print(json.dumps(read(target), sort_keys=True))
