"""How many processors this process may use: those that it may run on, but no more than its control group has time of.

A container, or a unit of systemd with `CPUQuota=`, sees every processor of its machine and gets only so much time of
them. The kernel keeps that in `cpu.max`, microseconds of processor time in a period of so many microseconds, `max` for
all, of the group and of each one above it (https://docs.kernel.org/admin-guide/cgroup-v2.html).
"""

import math
import os
from pathlib import Path

GROUPS = Path("/sys/fs/cgroup")


def processors(groups: Path = GROUPS, own: Path = Path("/proc/self/cgroup")) -> int:
    """At least one; part of a processor counts as one."""
    if hasattr(os, "process_cpu_count"):  # Python 3.13
        count = os.process_cpu_count() or 1
    elif hasattr(os, "sched_getaffinity"):
        count = len(os.sched_getaffinity(0))
    else:
        count = os.cpu_count() or 1
    return max(1, math.ceil(min(count, quota(groups, own))))


def quota(groups: Path, own: Path) -> float:
    """The processors that the control group which the file `own` names may use; infinite where nothing limits it."""
    try:
        lines = own.read_text().splitlines()
    except OSError:
        return math.inf
    group = next((groups / line.removeprefix("0::/") for line in lines if line.startswith("0::/")), None)  # version 2
    if group is None:
        return math.inf
    above = [group, *group.parents]
    return min(_allowed(g / "cpu.max") for g in above[:above.index(groups) + 1])


def _allowed(file: Path) -> float:
    try:
        most, period = file.read_text().split()
        return int(most) / int(period)
    except (OSError, ValueError, ZeroDivisionError):  # no such file at the top, and `max` is no number
        return math.inf
