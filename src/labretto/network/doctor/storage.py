"""Where the data live: can it be written, on which kind of disk, how much is free, whose is it, and is it sound?

Nothing is changed but for one probe file, which is removed at once.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import sqlite3
import stat
import time
from collections.abc import Iterator
from pathlib import Path

from labretto.lab import Lab, home
from labretto.network.doctor.finding import Finding, fault, note, ok
from labretto.network.liveness import held

_SHARES = "nfs nfs4 cifs smb smb2 smb3 smbfs afs ncpfs 9p ceph glusterfs fuse.sshfs fuse.glusterfs"
NETWORK = frozenset(_SHARES.split())
PASSING = frozenset({"tmpfs", "ramfs"})
FEW_BYTES, FEWEST_BYTES = 1_000_000_000, 100_000_000
CHECK_WITHIN = 20.0
"""Seconds for one database."""


def check_home() -> Iterator[Finding]:
    """LABRETTO_HOME: writable, on what, how full."""
    folder = home()
    there = nearest(folder)
    yield check_writable(there, folder)
    with contextlib.suppress(OSError):
        mounts = Path("/proc/mounts").read_text("utf-8", "replace")
        yield check_file_system(folder, file_system(there.resolve(), mounts))
    with contextlib.suppress(OSError):
        yield check_space(folder, shutil.disk_usage(there).free)


def nearest(folder: Path) -> Path:
    """The folder, or the nearest above it that is there."""
    return next((each for each in (folder, *folder.parents) if each.exists()), Path("/"))


def check_writable(there: Path, folder: Path) -> Finding:
    """Write a probe into `there`, which is `folder` or will hold it, and remove it."""
    subject, probe = "LABRETTO_HOME", there / f".labretto-doctor.{os.getpid()}"
    try:
        try:
            with probe.open("xb") as file:
                file.write(b"probe")
                os.fsync(file.fileno())
        finally:
            probe.unlink(missing_ok=True)
    except OSError as error:
        way_out = "Mend the permissions there, or set LABRETTO_HOME to a folder of yours."
        return fault(subject, f"{folder} cannot be written: {(error.strerror or str(error)).lower()}.", way_out)
    return ok(subject, f"{folder} can be written." if there == folder else f"{folder} can be made.")


def file_system(path: Path, mounts: str) -> str:
    """The type of the file system on which `path` stands, as /proc/mounts says; "" if it does not."""
    best, kind = -1, ""
    for line in mounts.splitlines():
        words = line.split()
        if len(words) < 3:
            continue
        point = Path(re.sub(r"\\(\d{3})", lambda code: chr(int(code[1], 8)), words[1]))
        if path.is_relative_to(point) and len(point.parts) >= best:  # the last of two at one place lies on top
            best, kind = len(point.parts), words[2]
    return kind


def check_file_system(folder: Path, kind: str) -> Finding:
    """SQLite's locks do not hold on network shares, and what is acknowledged may not be there after a crash."""
    if kind in NETWORK:
        detail = f"{folder} is on a network share ({kind}), where SQLite loses data and locks do not hold."
        return fault("file system", detail, "Set LABRETTO_HOME to a local disk; copy finished records to the share.")
    if kind in PASSING:
        return note(
            "file system", f"{folder} is in memory ({kind}): a restart loses it.", "Set LABRETTO_HOME to a disk."
        )
    return ok("file system", f"{folder} is on a local disk ({kind or 'kind not known'}).")


def check_space(folder: Path, free: int) -> Finding:
    """`free`: bytes."""
    subject, shown = "disk", f"{free / 1e9:.2f} GB are free at {folder}"
    way_out = "Make room: old records may be moved away, or LABRETTO_HOME set to another disk."
    if free < FEWEST_BYTES:
        return fault(subject, f"Only {shown}; a run would end for want of space.", way_out)
    return note(subject, f"Only {shown}.", way_out) if free < FEW_BYTES else ok(subject, f"{shown}.")


# The lab's folder ---------------------------------------------------------------------------------------------------


def check_permissions(lab: Lab) -> Iterator[Finding]:
    """Whose the lab's folder and its secrets are, and who else gets at them."""
    secrets = [lab.folder / "owner.token", *lab.folder.glob("hosts/*/*.key"), *lab.folder.glob("hosts/*/*secret*")]
    secrets += [entry.token_file for entry in lab.instruments.values() if entry.token_file]
    looked = [(lab.folder, 0o002), (lab.folder / "tokens.json", 0o022), *((path, 0o077) for path in secrets)]
    found = [each for path, mask in looked if path.exists() for each in _check_mode(path, mask)]
    if found:
        yield from found
    elif lab.folder.exists():
        yield ok("permissions", f"{lab.folder} and its secrets are yours alone to change.")


def _check_mode(path: Path, mask: int) -> Iterator[Finding]:
    said = path.stat()
    if said.st_uid not in (os.geteuid(), 0):
        detail = f"{path} belongs to {_owner(path)}, not to you."
        yield fault("permissions", detail, f"Run as that user, or: sudo chown -R {os.geteuid()} {path}")
    if said.st_mode & mask:
        verb = "read" if mask == 0o077 else "changed"
        detail = f"{path} can be {verb} by others (mode {stat.S_IMODE(said.st_mode):o})."
        yield fault("permissions", detail, f"chmod {'o-w' if path.is_dir() else '600'} {path}")


def _owner(path: Path) -> str:
    try:
        return path.owner()
    except KeyError:
        return f"the user {path.stat().st_uid}"


def check_databases(lab: Lab) -> Iterator[Finding]:
    """Journal, search index and every ledger: opened for reading and checked by SQLite itself."""
    for file in [lab.folder / "journal.db", lab.folder / "catalog.db", *sorted(lab.folder.glob("hosts/*/ledger.db"))]:
        if file.exists():
            yield check_database(file, file.relative_to(lab.folder).as_posix())


def check_database(file: Path, subject: str, within: float = CHECK_WITHIN) -> Finding:
    """One file of SQLite."""
    way_out = "Stop the lab, keep a copy of the file, then: sqlite3 FILE .recover, or move it away."
    until = time.monotonic() + within
    try:
        with contextlib.closing(_opened(file)) as connection:
            connection.set_progress_handler(lambda: time.monotonic() > until, 100_000)
            said = [str(row[0]) for row in connection.execute("PRAGMA quick_check(5)")]
    except sqlite3.OperationalError as error:
        if "interrupted" in str(error):
            detail = f"{file} is too large to be checked within {within:g} s; nothing wrong was found by then."
            return note(subject, detail)
        return fault(subject, f"{file} cannot be used: {error}.", way_out)
    except sqlite3.Error as error:
        return fault(subject, f"{file} cannot be used: {error}.", way_out)
    if said != ["ok"]:
        return fault(subject, f"{file} is damaged: {said[0].splitlines()[-1][:200]}.", way_out)
    return ok(subject, f"{file} is sound ({file.stat().st_size / 1e6:.1f} MB).")


def _opened(file: Path) -> sqlite3.Connection:
    """For reading; without even the files beside it that SQLite makes for readers, where nobody else is at it.

    What a crash has left in the write-ahead log must be read too, and then its index is there already.
    """
    log = file.with_name(f"{file.name}-wal")
    folder = file.parent
    alone = not (held(folder / "lock") or held(folder / "hub.lock")) and not (log.exists() and log.stat().st_size)
    address = f"{file.absolute().as_uri()}?mode=ro{'&immutable=1' if alone else ''}"
    return sqlite3.connect(address, uri=True)
