"""What processes have used, by Linux's own books in /proc."""

from __future__ import annotations

import os
import platform
from pathlib import Path
from typing import Final

PROC: Final = Path("/proc")


def parse_cpu_ticks(stat: str) -> int:
    """User and system time in clock ticks from a `/proc/<pid>/stat`: all threads, and children that have ended."""
    # The second field is the command in parentheses, which may itself hold spaces and parentheses.
    fields = stat.rpartition(")")[2].split()
    return sum(int(field) for field in fields[11:15])


def parse_rss_bytes(status: str) -> int:
    """Resident memory from a `/proc/<pid>/status`; 0 for a process that has just ended."""
    for line in status.splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024
    return 0


def parse_cpu_model(cpuinfo: str) -> str:
    """The processor's name from `/proc/cpuinfo`."""
    for line in cpuinfo.splitlines():
        name, _, value = line.partition(":")
        if name.strip() == "model name":
            return value.strip()
    return "unknown processor"


def family(pid: int, proc: Path = PROC) -> list[int]:
    """A process and all its living descendants."""
    found = [pid]
    for parent in found:  # grows as it goes
        for children in (proc / str(parent) / "task").glob("*/children"):
            found += map(int, _read(children).split())
    return found


def cpu_s(pid: int, proc: Path = PROC) -> float:
    """CPU seconds used so far by a process and its descendants."""
    stats = (_read(proc / str(member) / "stat") for member in family(pid, proc))
    return sum(parse_cpu_ticks(stat) for stat in stats if stat) / os.sysconf("SC_CLK_TCK")


def rss_bytes(pid: int, proc: Path = PROC) -> int:
    """Resident memory of a process and its descendants; shared pages count once for each."""
    return sum(parse_rss_bytes(_read(proc / str(member) / "status")) for member in family(pid, proc))


def machine() -> str:
    """Processor, cores, memory, kernel and Python in a line."""
    model = parse_cpu_model(_read(PROC / "cpuinfo"))
    memory_gib = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30
    python = f"{platform.python_implementation()} {platform.python_version()}"
    return f"{model}, {os.cpu_count()} cores, {memory_gib:.0f} GiB, Linux {platform.release()}, {python}"


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except (FileNotFoundError, ProcessLookupError):
        return ""  # it ended while we looked
