"""The parent of one container's process: outlives the howbelet, keeps the output, notes the end.

Run as `python -S -E -I shim.py DIRECTORY`. Stands alone, and imports as little as it can: there is one
per container, and it starts with each. The directory holds `config.json`: argv, env, cwd, stdin, tty.
The shim adds, each file in one step:

  shim.json   its own pid and start; claims the directory: a second shim leaves at once
  start.json  the container's pid and start, once its program runs
  exit.json   exit_code, signal, reason and message, when it has ended or could not be started
  log, log.1  its output, a line each: time, stream, F (whole line) or P (part of one), text
  shim.err    why the shim itself failed

The command returns once the program runs or has failed to. Nothing survives the container's main
process: what it left behind is killed. If the shim is killed, the kernel kills the main process.
"""

from __future__ import annotations

import json
import os
import select
import signal
import sys
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, NoReturn

LOG_BYTES = 10 * 1024 * 1024
LINE_BYTES = 16 * 1024
#: How often to look whether everything that was killed is gone: two seconds at most.
REAP_ROUNDS, REAP_SECONDS = 400, 0.005
READ_BYTES = 64 * 1024
PR_SET_PDEATHSIG, PR_SET_CHILD_SUBREAPER = 1, 36
CANNOT_RUN = "ContainerCannotRun"


def main(directory: str) -> int:
    """Leave a shim in the background; 0 if the directory was free to claim."""
    os.chdir(directory)
    ready, done = os.pipe()
    if os.fork():
        os.close(done)
        return 0 if os.read(ready, 1) else 1
    os.close(ready)
    os.setsid()
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    null = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):
        os.dup2(null, descriptor)
    try:
        if claim():
            supervise(done)
    except BaseException:
        report_failure()
        raise
    finally:
        os._exit(0)


def claim() -> bool:
    """Whether this shim is the first in its directory."""
    temporary = f"shim.{os.getpid()}"
    write_json(temporary, process_record(os.getpid()))
    try:
        os.link(temporary, "shim.json")
    except FileExistsError:
        return False
    finally:
        os.unlink(temporary)
    return True


def supervise(done: int) -> None:
    """Run the container from its start to its end; `done` is written to once it runs or has failed."""
    with open("config.json", encoding="utf-8") as file:
        config = json.load(file)
    prctl(PR_SET_CHILD_SUBREAPER, 1)
    pid, outputs, fault = launch(config)
    if fault:
        write_exit(exit_code=127, reason=CANNOT_RUN, message=fault)
        os.write(done, b"!")
        return
    write_json("start.json", process_record(pid))
    os.write(done, b"!")
    os.close(done)
    log = Log()
    copy_output(pid, outputs, log)
    status = reap(pid)
    drain(outputs, log)
    code = os.waitstatus_to_exitcode(status)
    if code < 0:
        write_exit(exit_code=128 - code, signal_number=-code, reason="Error")
    else:
        write_exit(exit_code=code, reason="Error" if code else "Completed")


def launch(config: dict[str, Any]) -> tuple[int, dict[int, str], str]:
    """Start the program: (pid, {descriptor of its output: stream}, why not)."""
    fault_read, fault_write = os.pipe()
    if config["tty"]:
        master, slave = os.openpty()
        child_ends, outputs = (slave, slave, slave), {master: "stdout"}
    else:
        out, child_out = os.pipe()
        err, child_err = os.pipe()
        child_in = os.open(os.devnull, os.O_RDONLY)
        if config["stdin"]:
            # Nobody writes, but it does not end either: a shell that reads it stays.
            os.close(child_in)
            child_in, _ = os.pipe()
        child_ends, outputs = (child_in, child_out, child_err), {out: "stdout", err: "stderr"}
    pid = os.fork()
    if pid == 0:
        become(config, child_ends, fault_write)
    for descriptor in {*child_ends, fault_write}:
        os.close(descriptor)
    fault = b""
    while piece := os.read(fault_read, READ_BYTES):
        fault += piece
    os.close(fault_read)
    if fault:
        os.waitpid(pid, 0)
    return pid, outputs, fault.decode(errors="replace")


def become(config: dict[str, Any], ends: tuple[int, int, int], fault_write: int) -> NoReturn:
    """In the child: turn into the program, or say why not. Never returns."""
    try:
        os.setsid()
        prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        for target, descriptor in enumerate(ends):
            os.dup2(descriptor, target)
        if config["tty"]:
            import fcntl
            import termios

            fcntl.ioctl(0, termios.TIOCSCTTY, 0)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGPIPE):
            signal.signal(number, signal.SIG_DFL)
        os.chdir(config["cwd"])
        os.execvpe(config["argv"][0], config["argv"], config["env"])
    except OSError as error:
        os.write(fault_write, f"cannot run {config['argv'][0]!r}: {error.strerror}".encode())
    finally:
        os._exit(127)


def copy_output(pid: int, outputs: dict[int, str], log: Log) -> None:
    """Keep the output until the main process ends."""
    ended = os.pidfd_open(pid)
    poll = select.poll()
    poll.register(ended, select.POLLIN)
    for descriptor in outputs:
        os.set_blocking(descriptor, False)
        poll.register(descriptor, select.POLLIN)
    while True:
        for descriptor, _ in poll.poll():
            if descriptor == ended:
                os.close(ended)
                return
            piece = read(descriptor)
            if piece:
                log.add(outputs[descriptor], piece)
            elif piece is not None:
                poll.unregister(descriptor)


def drain(outputs: dict[int, str], log: Log) -> None:
    """What was written before the end."""
    for descriptor, stream in outputs.items():
        while piece := read(descriptor):
            log.add(stream, piece)
    log.finish()


def read(descriptor: int) -> bytes | None:
    """What there is to read; None: nothing now; empty: nothing more will come."""
    try:
        return os.read(descriptor, READ_BYTES)
    except BlockingIOError:
        return None
    except OSError:
        # The far side of a terminal is closed.
        return b""


def reap(pid: int) -> int:
    """Kill what the main process left behind, its group and whoever was handed down to this shim; gives
    the main process's wait status. It is not waited for before, so that its number stays taken."""
    try:
        os.killpg(pid, signal.SIGKILL)
    except OSError:
        pass
    status = os.waitpid(pid, 0)[1]
    for _ in range(REAP_ROUNDS):
        try:
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        except ChildProcessError:
            break
        for child in children():
            os.kill(child, signal.SIGKILL)
        time.sleep(REAP_SECONDS)
    return status


def children() -> list[int]:
    """The pids of this process's children."""
    own = os.getpid()
    try:
        with open(f"/proc/{own}/task/{own}/children", encoding="ascii") as file:
            return [int(pid) for pid in file.read().split()]
    except FileNotFoundError:
        return []


class Log:
    """The container's output on disk: two files of a bounded size, the older one as `log.1`."""

    def __init__(self) -> None:
        self.file = os.open("log", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        self.size = 0
        self.rest = {"stdout": b"", "stderr": b""}
        self.last, self.second, self.prefix = 0, -1, ""

    def add(self, stream: str, piece: bytes) -> None:
        """Write the lines that are whole; keep the rest until it is."""
        *lines, rest = (self.rest[stream] + piece).split(b"\n")
        written = []
        for line in lines:
            parts, last = in_parts(line)
            written += [self.record(stream, b"P", part) for part in parts]
            written.append(self.record(stream, b"F", last))
        parts, self.rest[stream] = in_parts(rest)
        written += [self.record(stream, b"P", part) for part in parts]
        self.write(b"".join(written))

    def finish(self) -> None:
        """Last lines that have no end."""
        for stream, rest in self.rest.items():
            if rest:
                self.write(self.record(stream, b"P", rest))

    def write(self, content: bytes) -> None:
        """Append, making room first. A full disk loses output, not the container."""
        try:
            if self.size and self.size + len(content) > LOG_BYTES:
                os.rename("log", "log.1")
                os.close(self.file)
                self.file = os.open("log", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
                self.size = 0
            self.size += os.write(self.file, content)
        except OSError:
            pass

    def record(self, stream: str, tag: bytes, text: bytes) -> bytes:
        """One line of the file."""
        return b"%s %s %s %s\n" % (self.stamp(), stream.encode(), tag, text)

    def stamp(self) -> bytes:
        """The time, to the nanosecond; no two lines have the same, so that a reader can go on after one."""
        self.last = max(time.time_ns(), self.last + 1)
        second, fraction = divmod(self.last, 1_000_000_000)
        if second != self.second:
            self.second, self.prefix = second, time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second))
        return f"{self.prefix}.{fraction:09d}Z".encode()


def in_parts(line: bytes) -> tuple[list[bytes], bytes]:
    """A line cut where it is too long: (all pieces but the last, the last)."""
    cuts = range(0, len(line), LINE_BYTES)
    pieces = [line[start : start + LINE_BYTES] for start in cuts] or [b""]
    return pieces[:-1], pieces[-1]


def report_failure() -> None:
    """Leave the reason for whoever looks for it."""
    import traceback

    try:
        with open("shim.err", "w", encoding="utf-8") as file:
            traceback.print_exc(file=file)
    except OSError:
        pass


def process_record(pid: int) -> dict[str, Any]:
    """What tells this process from a later one with its pid: its start, in clock ticks since the boot."""
    with open(f"/proc/{pid}/stat", "rb") as file:
        start_ticks = int(file.read().rpartition(b")")[2].split()[19])
    return {"pid": pid, "start_ticks": start_ticks, "at": time.time_ns() / 1e9}


def write_exit(exit_code: int, reason: str, message: str = "", signal_number: int = 0) -> None:
    """How it ended."""
    record = {"exit_code": exit_code, "signal": signal_number, "reason": reason, "message": message}
    write_json("exit.json", {**record, "at": time.time_ns() / 1e9})


def write_json(name: str, content: dict[str, Any]) -> None:
    """A whole file or none."""
    temporary = f"{name}.{os.getpid()}"
    with open(temporary, "w", encoding="utf-8") as file:
        json.dump(content, file)
    os.rename(temporary, name)


def prctl(option: int, value: int) -> None:
    """Best effort: without it a killed shim leaves its container, and strays leave theirs."""
    try:
        import ctypes

        ctypes.CDLL(None).prctl(option, value, 0, 0, 0)
    except (ImportError, OSError, AttributeError):
        pass


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
