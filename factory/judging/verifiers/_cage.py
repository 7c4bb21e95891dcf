"""The cage a hostile program runs in: a script of its own, with the standard library alone.

Two processes. The keeper, which never runs a line of the program, makes namespaces (no network, its
own processes, a file system that is read-only but for a scratch disk in memory) where the kernel
allows them, starts the inmate and reads what comes back. The inmate takes its limits, closes the
doors behind itself with Landlock (it reads Python's own files and its scratch disk, and no others),
a system call filter and an audit hook, loads the program and runs the tests.

That a test passed is proved by a token that lies in a pipe until the test is over: a program that
exits, prints or patches what it finds has not read it. Layers that are missing (another system, a
kernel without user namespaces or Landlock) are missing quietly; limits, filter and hook remain.
"""

import ast
import builtins
import ctypes
import json
import os
import platform
import resource
import select
import signal
import struct
import sys
import time
from collections.abc import Callable
from decimal import Decimal
from fractions import Fraction
from typing import Any, NoReturn

MB = 1 << 20
_NEW = 0x00020000 | 0x04000000 | 0x08000000 | 0x10000000 | 0x20000000 | 0x40000000
"""Mounts, host name, IPC, users, processes, network."""
_PLAIN = (bool, int, float, complex, str, bytes, list, tuple, dict, set, frozenset, type(None))


# --- the keeper -----------------------------------------------------------------------------------


def keep(asked: dict[str, Any]) -> dict[str, Any]:
    """Run the program and its tests; which of them passed, and why it ended."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # die with the verifier's process
    tokens = [os.urandom(16) for _ in asked["tests"]]
    secret, hidden = os.pipe()
    said, says = os.pipe()
    os.write(hidden, b"".join(tokens))
    os.close(hidden)
    isolated = _namespaces()
    child = os.fork()
    if child == 0:
        os.close(said)
        _inmate(asked, secret, says, isolated)
    os.close(secret)
    os.close(says)
    heard, ended = _listen(said, child, asked["seconds"])
    proved = [heard[i * 17 : i * 17 + 17] == b"+" + token for i, token in enumerate(tokens)]
    return {"passed": proved, "ended": ended or _reason(heard, len(tokens)), "isolated": isolated}


def _listen(said: int, child: int, seconds: float) -> tuple[bytes, str]:
    until, heard, ended = time.monotonic() + seconds, b"", ""
    while True:
        left = until - time.monotonic()
        if left <= 0 or not select.select([said], [], [], left)[0]:
            ended = "time_limit"
            break
        part = os.read(said, 65536)
        if not part or len(heard) > MB:
            break
        heard += part
    os.kill(child, signal.SIGKILL)  # the first of its namespace: all of its processes go with it
    _, status = os.waitpid(child, 0)
    if not ended and os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGXCPU:
        ended = "time_limit"
    return heard, ended


def _reason(heard: bytes, tests: int) -> str:
    """The inmate's last word: `!` and a stable word; nothing where it went without one."""
    whole = 17 * (len(heard) // 17)
    rest = heard[heard.rindex(b"!") + 1 :] if b"!" in heard else heard[whole:]
    word = rest.decode("ascii", "replace")
    return word if word in _WORDS else ("" if len(heard) >= 17 * tests else "exited")


_WORDS = (
    "does_not_compile", "raised", "memory_limit", "exited", "done", "tests_do_not_compile",
    "cage_failed",
)  # fmt: skip


def _namespaces() -> bool:
    """Namespaces of our own; False where the kernel refuses them."""
    if sys.platform != "linux":
        return False
    libc = ctypes.CDLL(None, use_errno=True)
    user, group = os.getuid(), os.getgid()
    if libc.unshare(_NEW) != 0:
        return False
    try:
        for name, line in (
            ("setgroups", "deny"), ("uid_map", f"0 {user} 1"), ("gid_map", f"0 {group} 1"),
        ):  # fmt: skip
            with open(f"/proc/self/{name}", "w") as file:
                file.write(line)
    except OSError:
        return False
    return True


def _mounts(libc: ctypes.CDLL, megabytes: int) -> None:
    def mount(kind: bytes, place: bytes, flags: int, data: bytes = b"") -> int:
        return libc.mount(b"none", place, kind, ctypes.c_ulong(flags), data or None)

    mount(b"", b"/", 0x4000 | 0x40000)  # private: nothing of this is seen outside
    here = os.getcwd().encode()
    # mount_setattr(2): everything read-only in one call; then a disk of our own over the scratch.
    attributes = struct.pack("<QQQQ", 1, 0, 0, 0)
    libc.syscall(442, -100, b"/", 0x8000, attributes, len(attributes))
    mount(b"tmpfs", here, 2 | 4, f"size={megabytes}m,mode=700".encode())
    mount(b"tmpfs", b"/proc", 1, b"size=4k")
    os.chdir(here)


# --- the inmate -----------------------------------------------------------------------------------


def _inmate(asked: dict[str, Any], secret: int, says: int, isolated: bool) -> None:
    """Never returns."""
    # References of our own: the program may put anything in the place of these names.
    write, read, leave, run, equal = os.write, os.read, os._exit, exec, _equality()
    failure, anything = Exception, BaseException

    def last(word: str) -> NoReturn:
        write(says, b"!" + word.encode())
        leave(0)
        raise AssertionError

    try:
        _close_doors(asked, isolated, keep_open=(secret, says))
    except anything:  # of no program of theirs, so no score either
        last("cage_failed")
    try:
        space: dict[str, object] = {"__name__": "__main__", "__builtins__": builtins}
        try:
            code = compile(asked["program"], "program.py", "exec")
        except (SyntaxError, ValueError, RecursionError):
            last("does_not_compile")
        tests = []
        for source in asked["tests"]:
            try:
                tests.append(compile(_strict(source), "test.py", "exec"))
            except (SyntaxError, ValueError, RecursionError):
                last("tests_do_not_compile")
        run(code, space)
        for test in tests:
            try:
                run(test, {**space, "__equal__": equal})
                mark = b"+"
            except failure:
                mark = b"-"
            write(says, mark + read(secret, 16))
        last("done")
    except MemoryError:
        last("memory_limit")
    except SystemExit:
        last("exited")
    except anything:
        last("raised")
    leave(1)


def _strict(source: str) -> ast.Module:
    """The test, with `assert a == b` asked of us: an object that equals everything is no answer."""

    class Comparisons(ast.NodeTransformer):
        def visit_Assert(self, node: ast.Assert) -> ast.AST:
            test = node.test
            if (
                isinstance(test, ast.Compare)
                and len(test.ops) == 1
                and isinstance(test.ops[0], ast.Eq)
            ):
                name = ast.Name("__equal__", ast.Load())
                given, wanted = test.left, test.comparators[0]
                if literal(given) and not literal(wanted):
                    given, wanted = wanted, given
                node.test = ast.Call(name, [given, wanted], [])
            return node

    def literal(node: ast.expr) -> bool:
        try:
            ast.literal_eval(node)
        except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
            return False
        return True

    return ast.fix_missing_locations(Comparisons().visit(ast.parse(source)))


def _equality() -> Callable[[object, object], bool]:
    """Whether what a test got equals what it wants, by the wanted value's own notion of it.

    Everything that is needed is kept here: the program may replace names, not these.
    """
    kinds, kept, most = _PLAIN, (Decimal, Fraction), 1_000_000
    type_, bool_, isinstance_, plain_type = type, bool, isinstance, type
    notions = tuple(kind.__eq__ for kind in kinds)
    containers, mappings = (list, tuple, set, frozenset), dict

    def honest(value: object) -> bool:
        todo, seen = [value], 0
        while todo:
            one, seen = todo.pop(), seen + 1
            kind = type_(one)
            if kind not in kinds and kind not in kept:
                # A named tuple or a counter is fine, a type that says itself what it equals is not.
                own = type_(kind) is plain_type and isinstance_(one, kinds)
                if not own or not any_of(kind.__eq__, notions):
                    return False
            if seen > most:
                return False
            if isinstance_(one, mappings):
                todo += [*mappings.keys(one), *mappings.values(one)]
            elif isinstance_(one, containers):
                todo += [*one]
        return True

    def any_of(one: object, others: tuple[object, ...]) -> bool:
        for other in others:  # noqa: SIM110  # any() is a name that the program may replace
            if one is other:
                return True
        return False

    def equal(given: object, wanted: object) -> bool:
        if type_(wanted) in kinds and not honest(given):
            return False
        return bool_(given == wanted)

    return equal


def _close_doors(asked: dict[str, Any], isolated: bool, *, keep_open: tuple[int, ...]) -> None:
    if sys.platform == "linux":
        libc = ctypes.CDLL(None, use_errno=True)
        libc.prctl(1, signal.SIGKILL)  # die with the keeper
        if isolated:
            _mounts(libc, asked["disk_mb"])
    os.environ.clear()
    null = os.open(os.devnull, os.O_RDWR)
    for fd in (0, 1, 2):
        os.dup2(null, fd)
    memory, seconds = asked["memory_mb"] * MB, int(asked["seconds"]) + 1
    limits = [
        (resource.RLIMIT_AS, memory), (resource.RLIMIT_CPU, seconds), (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_FSIZE, asked["disk_mb"] * MB), (resource.RLIMIT_NOFILE, 64),
    ]  # fmt: skip
    if isolated:  # elsewhere it counts all that the user runs, and an honest thread would fail
        limits.append((resource.RLIMIT_NPROC, 64))
    for kind, wanted in limits:
        _, hard = resource.getrlimit(kind)
        most = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(kind, (most, most))
    scratch = os.path.realpath(os.getcwd())
    sys.path[:] = [p for p in sys.path if p and not p.startswith(scratch)]
    readable = tuple(os.path.realpath(p) for p in (*sys.path, f"{sys.base_prefix}/lib", *_READABLE))
    if sys.platform == "linux":
        libc = ctypes.CDLL(None)
        libc.prctl(38, 1, 0, 0, 0)  # no new privileges
        _wall(libc, scratch, readable)
        _filter(libc)
    sys.addaudithook(
        _hook(scratch, readable, os.path.realpath, isinstance, str, bytes, PermissionError)
    )
    sys.setrecursionlimit(3_000)


_REFUSED = (
    "socket.", "subprocess.", "os.system", "os.exec", "os.fork", "os.posix_spawn", "os.spawn",
    "os.kill", "os.killpg", "signal.pthread_kill", "ctypes.", "os.chmod", "os.chown", "os.symlink",
    "os.link", "os.setxattr", "shutil.chown", "sys.addaudithook", "pty.spawn", "os.forkpty",
    "syslog.", "webbrowser.", "urllib.", "ftplib.", "smtplib.", "resource.setrlimit",
)  # fmt: skip
_LOOKS = ("open", "os.listdir", "os.scandir", "sqlite3.connect")
_READABLE = (
    "/lib", "/lib64", "/usr/lib", "/usr/lib64", "/usr/local/lib", "/usr/share/zoneinfo",
    "/etc/localtime", "/etc/mime.types", "/etc/ld.so.cache",
    "/dev/urandom", "/dev/random", "/dev/zero",
)  # fmt: skip
"""What Python itself may have to open."""
_CHANGES = ("os.remove", "os.rename", "os.rmdir", "os.mkdir", "os.truncate", "shutil.rmtree")


def _hook(
    scratch: str,
    readable: tuple[str, ...],
    realpath: Any,
    isinstance_: Any,
    str_: Any,
    bytes_: Any,
    error: Any,
) -> Callable[[str, tuple[Any, ...]], None]:
    """Refuses what no exercise needs. A hook cannot be taken out again, not even by itself."""
    refused, changes, looks = _REFUSED, _CHANGES, _LOOKS
    inside = (scratch + "/", "/dev/null/")
    legible = inside + tuple([place + "/" for place in readable])

    def outside(path: Any, places: tuple[str, ...] = inside) -> bool:
        if isinstance_(path, bytes_):
            path = path.decode("utf-8", "replace")
        return isinstance_(path, str_) and not (realpath(path) + "/").startswith(places)

    def hook(event: str, args: tuple[Any, ...]) -> None:
        if event.startswith(refused):
            raise error(f"{event} is not allowed here")
        writes = event == "open" and (
            (isinstance_(args[1], str_) and any(c in args[1] for c in "wax+"))
            or (args[1] is None and args[2] & 3)
        )
        if (writes or event in changes) and outside(args[0]):
            raise error("outside of the scratch folder")
        if event in looks and outside("." if args[0] is None else args[0], legible):
            raise error("not a file of this program")

    return hook


def _wall(libc: ctypes.CDLL, scratch: str, readable: tuple[str, ...]) -> None:
    """Landlock: what may be opened, kept by the kernel; nothing where it has none (before 5.13)."""
    everything, read, file = (1 << 13) - 1, 1 | 4 | 8, 1 | 2 | 4
    rules = libc.syscall(444, struct.pack("<Q", everything), 8, 0)
    if rules < 0:
        return
    for place, access in (
        (scratch, everything),
        ("/dev/null", 2 | 4),
        *((p, read) for p in readable),
    ):
        try:
            fd = os.open(place, os.O_PATH | os.O_CLOEXEC)
        except OSError:
            continue
        allowed = access if os.path.isdir(place) else access & file
        libc.syscall(445, rules, 1, struct.pack("<Qi", allowed, fd), 0)
        os.close(fd)
    libc.syscall(446, rules, 0)
    os.close(rules)


# Refused with EPERM: sockets, new processes, other programs, signals to others, debugging, mounts.
_CALLS = {
    "x86_64": (0xC000003E, 56, (41, 42, 43, 44, 49, 50, 53, 57, 58, 59, 62, 101, 165, 166, 200, 234,
                                 246, 250, 272, 308, 310, 311, 321, 322, 323, 425, 434, 438)),
    "aarch64": (0xC00000B7, 220, (198, 199, 200, 201, 202, 203, 129, 130, 131, 117, 221, 40, 39, 97,
                                   104, 217, 268, 270, 271, 280, 281, 282, 425, 434, 438)),
}  # fmt: skip
_CLONE3 = 435


def _filter(libc: ctypes.CDLL) -> None:
    """A seccomp filter: threads may be made, processes may not (clone without CLONE_THREAD)."""
    known = _CALLS.get(platform.machine())
    if known is None:
        return
    arch, clone, refused = known
    allow, deny, gone = 0x7FFF0000, 0x00050000 | 1, 0x00050000 | 38

    def step(code: int, jump: int, other: int, value: int) -> bytes:
        return struct.pack("<HBBI", code, jump, other, value)

    load_nr, load_arch, load_arg = step(0x20, 0, 0, 0), step(0x20, 0, 0, 4), step(0x20, 0, 0, 16)
    steps = [load_arch, step(0x15, 1, 0, arch), step(0x06, 0, 0, deny), load_nr]
    for number in refused:
        steps += [step(0x15, 0, 1, number), step(0x06, 0, 0, deny)]
    steps += [step(0x15, 0, 1, _CLONE3), step(0x06, 0, 0, gone)]
    steps += [step(0x15, 0, 3, clone), load_arg, step(0x45, 1, 0, 0x10000), step(0x06, 0, 0, deny)]
    steps += [step(0x06, 0, 0, allow)]
    program = ctypes.create_string_buffer(b"".join(steps))
    header = struct.pack("<HxxxxxxQ", len(steps), ctypes.addressof(program))
    libc.prctl(22, 2, header, 0, 0)


if __name__ == "__main__":
    found = keep(json.loads(sys.stdin.buffer.read()))
    sys.stdout.write(json.dumps(found))
