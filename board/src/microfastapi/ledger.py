"""What a board remembers of the actions it was asked for: a ring of the last ones, and of `once` actions a file on
the flash.

A line is written before the driver is called and another before the end is answered. After a restart an action that
has the
first line and not the second is *interrupted*; it is never done again by itself. The file is bounded: when it has
grown, it is
written anew aside and renamed. A line without its end-of-line was torn by a power cut and does not count.
"""

import json
import os

from .clock import born, is_set, milliseconds


class Ledger:
    """The invocations of one instrument.

    Args:
        file: on the flash; None remembers until the next restart only.
        most: invocations kept.
    """

    def __init__(self, file: "str | None", most: int = 16):
        self.file = file
        self.most = most
        self.entries = []  # invocations, oldest first
        self.birth = milliseconds() if is_set() else 0  # 0: nobody knows
        self.boot = self.birth
        self.forgotten = 0  # birth of the youngest id that fell out of the ring
        self.lease = 0
        self.written = 0
        if file:
            self._read()

    def find(self, identity: str) -> "dict | None":
        for entry in self.entries:
            if entry["id"] == identity:
                return entry
        return None

    def missing(self, identity: str, lasting: bool) -> str:
        """What an id that is not here means: `not arrived` (safe to send) or `cannot tell`."""
        made = born(identity)
        start = self.birth if lasting and self.file else self.boot
        if not made or not start or made < start or made <= self.forgotten:
            return "cannot tell"
        return "not arrived"

    def begin(self, entry: dict, lasting: bool) -> None:
        """Remembers an action that is about to begin; OSError if a lasting one cannot be written: then nothing may
        move.
        """
        if not self.birth:
            self.birth = self.boot = born(entry["id"]) or 0
            if self.file:
                self._rewrite()
        if lasting:
            self._write(entry)
        self.entries.append(entry)
        self._forget()

    def end(self, entry: dict, lasting: bool) -> None:
        """Remembers how an action ended."""
        if lasting:
            self._write({key: entry[key] for key in ("id", "state", "started", "ended", "result", "error")})

    def raise_lease(self, number: int) -> None:
        """Remembers the highest lease number; lower ones are refused from now on, after a restart too."""
        self.lease = number
        self._write({"lease": number})

    def _forget(self) -> None:
        while len(self.entries) > self.most:
            old = self.entries.pop(0)
            self.forgotten = max(self.forgotten, born(old["id"]) or 0)

    # The file

    def _head(self) -> dict:
        return {"birth": self.birth, "forgotten": self.forgotten, "lease": self.lease}

    def _write(self, line: dict) -> None:
        if not self.file:
            return
        if self.written >= 4 * self.most:
            self._rewrite()
        text = json.dumps(line)
        if len(text) > 4096:  # a long measurement; that it ended lasts, its rows do not
            line = dict(line)
            line["result"] = None
            text = json.dumps(line)
        with open(self.file, "a") as file:
            file.write(text + "\n")
            _sync(file)
        self.written += 1

    def _rewrite(self) -> None:
        aside = self.file + ".new"
        with open(aside, "w") as file:
            for line in [self._head()] + [entry for entry in self.entries if entry["effect"] == "once"]:
                file.write(json.dumps(line) + "\n")
            _sync(file)
        try:
            os.rename(aside, self.file)
        except OSError:  # a FAT flash does not rename onto a file
            os.remove(self.file)
            os.rename(aside, self.file)
        self.written = len(self.entries)

    def _read(self) -> None:
        whole = True
        for name in (self.file, self.file + ".new"):
            try:
                with open(name) as file:
                    for line in file:
                        whole = line[-1:] == "\n"
                        if whole:
                            self._replay(json.loads(line))
                break
            except OSError:
                pass  # not there: the first start, or the renaming was cut off and the copy aside is the one
        for entry in self.entries:
            if entry["state"] == "running":
                entry["state"] = "interrupted"
                entry["error"] = {
                    "type": "urn:labretto:error:InterruptedActionError",
                    "title": "Interrupted; the end was not seen",
                    "status": 409,
                    "detail": "The board restarted while %s was running." % entry["action"],
                    "way_out": "Look at the instrument; nobody knows how far it came.",
                }
        self._forget()
        self._rewrite()

    def _replay(self, line: dict) -> None:
        if "birth" in line:
            self.birth = line["birth"]
            self.forgotten = line["forgotten"]
        if "lease" in line:
            self.lease = line["lease"]
        if "action" in line:
            self.entries.append(line)
        elif "id" in line:
            entry = self.find(line["id"])
            if entry:
                entry.update(line)


def _sync(file) -> None:
    """Takes what was written as far towards the flash as this interpreter can."""
    file.flush()
    if hasattr(os, "fsync"):
        os.fsync(file.fileno())
    elif hasattr(os, "sync"):
        os.sync()
