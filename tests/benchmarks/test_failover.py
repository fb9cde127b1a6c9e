import subprocess
import sys

from benchmarks.subjects import ROOT


def test_the_documented_command_prints_what_a_failover_lost() -> None:
    command = [sys.executable, "-m", "benchmarks.failover", "--runs", "1"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True, timeout=50)
    lines = done.stdout.splitlines()
    assert [line.split(":")[0] for line in lines] == ["replica 1 ms away", "replica 10 ms away"]
    assert all("1 failovers, " in line for line in lines)
