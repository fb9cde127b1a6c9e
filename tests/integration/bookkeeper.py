"""A process that keeps books and is killed for it: `python -m tests.integration.bookkeeper settle|fill FOLDER`, or
`share FOLDER URL` for books on Redis.
"""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from datetime import UTC
from itertools import count
from pathlib import Path
from time import time

from proxy.accounting import ledger
from proxy.accounting.books import Books, open_books
from proxy.accounting.journal import Journal
from proxy.accounting.ledger import Ledger
from proxy.accounting.periods import Calendar
from proxy.config import AccountingConfig, StateConfig
from proxy.state import SqliteLedger
from tests.books import intent, settlement

CLIENTS = 8


def shared(folder: Path, url: str) -> Books:
    """Books on Redis that are folded all the while, and not every two seconds."""
    ledger._EVERY_S = 0.02  # type: ignore[misc]
    return open_books(StateConfig(url=url, journal=str(folder / "journal"), namespace="kept"), AccountingConfig())


async def settle(folder: Path) -> None:
    """Settle calls for ever, and print the id of each as soon as it is said to be written."""
    journal = Journal(folder / "journal")
    Ledger(journal, SqliteLedger(folder / "books.db"), Calendar(UTC), 3600, time).start()
    await work(journal)


async def share(folder: Path, url: str) -> None:
    """The same, on Redis."""
    await work(shared(folder, url).journal)


async def work(journal: Journal) -> None:
    """Settle calls for ever, and print the id of each as soon as it is said to be written."""

    async def client(name: str) -> None:
        for number in count():
            call_id, began_ms = f"{name}-{number}", int(time() * 1000)
            journal.intend(intent(call_id, began_ms=began_ms))
            await asyncio.sleep(0.001)
            if await journal.written(journal.settle(settlement(call_id, began_ms=began_ms))):
                os.write(1, f"{call_id}\n".encode())

    await asyncio.gather(*(client(f"{os.getpid()}-{time():.3f}-{number}") for number in range(CLIENTS)))


async def fill(folder: Path) -> None:
    """Fill the disk in `folder`/full, mounted for this process alone; then make it larger. Prints what came of it."""
    full = folder / "full"
    journal = Journal(full / "journal")
    number = 0
    while not journal.unwritten:
        number += 1
        await journal.written(journal.settle(settlement(str(number), began_ms=int(time() * 1000))))
    journal.settle(settlement("one more", began_ms=int(time() * 1000)))
    kept = journal.unwritten
    subprocess.run(["mount", "-o", "remount,size=64m", str(full)], check=True)
    while journal.unwritten or journal.is_degraded:
        await asyncio.sleep(0.01)
    store = SqliteLedger(folder / "books.db")
    Ledger(journal, store, Calendar(UTC), 3600, time).fold()
    store.close()
    sys.stdout.write(f"{number + 1} {kept} {journal.lost} {journal.close()}\n")


if __name__ == "__main__":
    if sys.argv[1] == "share":
        asyncio.run(share(Path(sys.argv[2]), sys.argv[3]))
    else:
        asyncio.run({"settle": settle, "fill": fill}[sys.argv[1]](Path(sys.argv[2])))
