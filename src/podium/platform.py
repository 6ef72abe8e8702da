"""What differs between operating systems and C libraries, each with what is done where it is missing. Standard library only."""

from __future__ import annotations

import contextlib
import ctypes
import functools
import importlib.util
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from platform import machine, processor
from typing import BinaryIO

SHARED = Path("/dev/shm")  # noqa: S108 - where Linux has what processes share

# Parameters of mallopt, from glibc's malloc.h.
_TRIM_THRESHOLD, _TOP_PAD, _MMAP_MAX, _ARENA_MAX = -1, -2, -4, -8


def processors() -> int:
    """The number of processors that this process may use: those it is bound to, or all where the system binds none."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def cores() -> int:
    """The number of threads to compute with: OMP_NUM_THREADS where it is set, as torch has it, else `processors`."""
    if (given := os.environ.get("OMP_NUM_THREADS", "")).isdecimal() and int(given) > 0:
        return int(given)
    return processors()


def seconds_waited() -> float | None:
    """Seconds that the threads of this process have waited for a processor so far, as Linux counts them; None elsewhere."""
    waited = 0
    try:
        for thread in os.listdir("/proc/self/task"):
            with contextlib.suppress(FileNotFoundError, ProcessLookupError):  # it has ended
                waited += int(Path(f"/proc/self/task/{thread}/schedstat").read_text().split()[1])
    except (OSError, ValueError, IndexError):
        return None
    return waited / 1e9


def processor_seconds() -> float | None:
    """Seconds of computing so far, by all programs and by the host of a virtual machine, on the processors that this process may use.

    Linux counts them, in hundredths of a second. None where the system does not say.
    """
    try:
        own = {f"cpu{number}" for number in os.sched_getaffinity(0)}
        lines = [line.split() for line in Path("/proc/stat").read_text().splitlines()]
        # user, nice, system, (idle, iowait,) irq, softirq, steal
        ticks = sum(int(line[field]) for line in lines if line[0] in own for field in (1, 2, 3, 6, 7, 8))
        return ticks / os.sysconf("SC_CLK_TCK")
    except (OSError, ValueError, IndexError, AttributeError):
        return None


def stop_signals() -> list[signal.Signals]:
    """The signals that ask a process to stop: Ctrl-C, SIGTERM, a scheduler's SIGUSR1, and SIGHUP unless `nohup` ignores it."""
    wanted = ["SIGINT", "SIGTERM", "SIGUSR1", *([] if hangup_ignored() else ["SIGHUP"])]
    return [signal.Signals[name] for name in wanted if hasattr(signal, name)]


@contextlib.contextmanager
def signals_held() -> Iterator[None]:
    """Hold back the signals that ask for a stop within this context, also from processes that start in it, where they can be."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, stop_signals())
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextlib.contextmanager
def signals_kept() -> Iterator[None]:
    """Keep the handlers of the signals that ask for a stop, which a library may replace within this context."""
    if threading.current_thread() is not threading.main_thread():  # no handler can be set in another
        yield
        return
    before = {number: signal.getsignal(number) for number in stop_signals()}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def release_signals() -> None:
    """Let the signals through that were held back when this process was started."""
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_UNBLOCK, stop_signals())


def leave_terminal() -> None:
    """Leave the session of the terminal, whose Ctrl-C then does not reach this process; nothing where there are no sessions."""
    if hasattr(os, "setsid"):
        with contextlib.suppress(OSError):  # it leads one already
            os.setsid()


def send_signal(process: int | None, number: int) -> None:
    """Send a signal to another process; nothing is done where it has ended."""
    if process is not None:
        with contextlib.suppress(OSError):
            os.kill(process, number)


def after_fork(action: Callable[[], None]) -> Callable[[], None]:
    """Do something first in every process that is forked from this one, where the system has forks."""
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=action)
    return action


_inherits_torch = False


@after_fork
def _note_torch() -> None:
    global _inherits_torch
    _inherits_torch = "torch" in sys.modules


def inherits_torch() -> bool:
    """Whether this process was forked from one that had loaded torch, as far as that had imported Podium before."""
    return _inherits_torch


def hangup_ignored() -> bool:
    """Whether this process ignores that its terminal is gone, as one that `nohup` started."""
    return hasattr(signal, "SIGHUP") and signal.getsignal(signal.SIGHUP) is signal.SIG_IGN


@functools.cache
def quiet_libtiff() -> None:
    """Keep the libtiff inside Pillow's wheel from printing each fault of a damaged file; Pillow raises an error all the same."""
    try:
        spec = importlib.util.find_spec("PIL")
        folder = Path(spec.origin).parents[1] / "pillow.libs" if spec is not None and spec.origin else None
        for library in folder.glob("libtiff*.so*") if folder is not None else ():
            ctypes.CDLL(str(library)).TIFFSetErrorHandler(None)
    except (ImportError, OSError, AttributeError):
        return  # other builds of Pillow, whose libtiff goes on printing


def read_at(file: BinaryIO, size: int, offset: int) -> bytes:
    """Read a part of a file that other threads do not have open; fewer bytes where the file ends."""
    if hasattr(os, "pread"):
        return os.pread(file.fileno(), size, offset)
    file.seek(offset)
    return file.read(size)


def lock(handle: int) -> bool | None:
    """Take the lock of an open file or folder, which the system gives back when it is closed or the process ends.

    Returns:
        Whether it was free; None where the system or the file system has no such locks.
    """
    try:
        import fcntl
    except ImportError:
        return None
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:  # another process holds it
        return False
    except OSError:  # some network file systems have no locks
        return None
    return True


def peak_memory() -> int | None:
    """The most bytes of memory that this process has had so far, as macOS counts them; None where the system does not say."""
    try:
        import resource
    except ImportError:
        return None
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def address_limit() -> int | None:
    """The bytes of addresses that this process may use (`ulimit -v`); None where there is no limit."""
    try:
        import resource
    except ImportError:
        return None
    limit, _ = resource.getrlimit(resource.RLIMIT_AS)
    return None if limit == resource.RLIM_INFINITY else limit


def limit_memory(more: int) -> bool:
    """Let this process take so many bytes more of memory, and no others; what it asks for beyond is a MemoryError.

    Returns:
        Whether the system has such a limit and says how much the process has; Linux does.
    """
    try:
        import resource

        has = int(Path("/proc/self/statm").read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE")
        limits = resource.getrlimit(resource.RLIMIT_AS)
        most = min(has + more, *(limit for limit in limits if limit != resource.RLIM_INFINITY), sys.maxsize)
        resource.setrlimit(resource.RLIMIT_AS, (most, limits[1]))
    except (ImportError, OSError, ValueError, IndexError):
        return False
    return True


@contextlib.contextmanager
def memory_limited(more: int) -> Iterator[None]:
    """`limit_memory` until the end of this context."""
    before = address_limit()
    limited = limit_memory(more)
    try:
        yield
    finally:
        if limited:
            import resource

            hard = resource.getrlimit(resource.RLIMIT_AS)[1]
            resource.setrlimit(resource.RLIMIT_AS, (resource.RLIM_INFINITY if before is None else before, hard))


def memory_of_process(reset: bool = False) -> tuple[int, int]:
    """The bytes that this process has in use now, and at their peak; the peak for both where the system says no more.

    Args:
        reset: count the peak from here on, where the system allows it.
    """
    status = Path("/proc/self/status")
    if not status.is_file():
        most = peak_memory() or 0
        return most, most
    if reset:
        trim_freed_memory()  # what was freed is not in use
        with contextlib.suppress(OSError):
            Path("/proc/self/clear_refs").write_text("5")
    lines = dict(line.split(":", 1) for line in status.read_text().splitlines())
    now, peak = (1024 * int(lines[key].split()[0]) for key in ("VmRSS", "VmHWM"))
    return now, peak


def memory_of_machine() -> int | None:
    """The bytes of memory that the machine has; None where the system does not say."""
    if not hasattr(os, "sysconf"):
        return None
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def memory_left_here() -> int | None:
    """The bytes that this process may still take of the machine, its container and its address space; None where it is not known."""
    if (total := memory_of_machine()) is None:
        return None
    left = [total]
    with contextlib.suppress(OSError, ValueError, IndexError):
        fields = dict(line.split(":", 1) for line in Path("/proc/meminfo").read_text().splitlines())
        left.append(1024 * int(fields["MemAvailable"].split()[0]))
    left += container_left(Path("/proc/self/cgroup"), Path("/sys/fs/cgroup"))
    if (limit := address_limit()) is not None:
        with contextlib.suppress(OSError, ValueError):
            pages = int(Path("/proc/self/statm").read_text().split()[0])
            left.append(limit - pages * os.sysconf("SC_PAGE_SIZE"))
    return max(0, min(left))


def container_left(own: Path, root: Path) -> list[int]:
    """The bytes that each control group around this process leaves it; cached pages of files count as free.

    Args:
        own: the file /proc/self/cgroup of version 1 or 2, with a line "number:controllers:path" for each hierarchy.
        root: where the control groups are mounted.
    """
    left: list[int] = []
    try:
        lines = own.read_text().splitlines()
    except OSError:
        return left
    for controllers, path in (line.split(":", 2)[1:] for line in lines if line.count(":") >= 2):
        if controllers not in ("", "memory"):
            continue
        names = ("memory.limit_in_bytes", "memory.usage_in_bytes") if controllers else ("memory.max", "memory.current")
        group = root / controllers / path.strip("/")
        for folder in (group, *group.parents):
            with contextlib.suppress(OSError, ValueError, IndexError):  # absent, as within a container, or "max"
                limit, used = (int((folder / name).read_text()) for name in names)
                rows = dict(row.split() for row in (folder / "memory.stat").read_text().splitlines())
                left.append(limit - used + int(rows.get("inactive_file", 0)))
            if folder == root / controllers:
                break
    return left


def process_lives(process: int) -> bool:
    """Whether another process of this number runs on this machine; False where the system cannot tell."""
    if process == os.getpid() or os.name != "posix":
        return False
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:  # it belongs to somebody else
        return True
    return True


def processor_name() -> str:
    """The processor's name, as the system gives it."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return processor() or machine()


def processor_features() -> frozenset[str]:
    """The instruction sets that the processor has, as Linux calls them; none where the system does not list them."""
    with contextlib.suppress(OSError):
        return frozenset(Path("/proc/cpuinfo").read_text().split())
    return frozenset()


def keep_freed_memory() -> None:
    """Let malloc keep the memory that is freed, in one heap: every training step needs the same gigabyte of activations again.

    By default glibc maps each large tensor anew and unmaps it when it is freed, so every step has the kernel clear all of
    its pages: 4-6 % of a step of ResNet-50 or VGG-11 on two cores. Where the C library is another one, nothing is done.
    """
    if not sys.platform.startswith("linux"):
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return
    for parameter, value in ((_MMAP_MAX, 0), (_TRIM_THRESHOLD, -1), (_TOP_PAD, 64 << 20), (_ARENA_MAX, 1)):
        mallopt(parameter, value)


def trim_freed_memory() -> None:
    """Give back to the system the freed memory that glibc's malloc keeps; nothing is done with another C library."""
    with contextlib.suppress(OSError, AttributeError, TypeError):
        ctypes.CDLL(None).malloc_trim(0)
