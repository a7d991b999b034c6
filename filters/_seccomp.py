"""The system-call filter of the sandbox, assembled by hand: names and numbers in, classic BPF bytes out.

It takes away what programs that compute never need and kernels were attacked through. It is one wall of several:
`filters._sandbox` puts namespaces, limits and an unprivileged user around it. Standard library only.
"""

import errno
import functools
import platform
import struct
from typing import NamedTuple

_ARCHITECTURES = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
_DENIED = {
    # Other processes, and the kernel's own machinery.
    "ptrace": (101, 117), "process_vm_readv": (310, 270), "process_vm_writev": (311, 271), "kcmp": (312, 272),
    "pidfd_getfd": (438, 438), "process_madvise": (440, 440), "bpf": (321, 280), "perf_event_open": (298, 241),
    "userfaultfd": (323, 282), "io_uring_setup": (425, 425), "io_uring_enter": (426, 426),
    "io_uring_register": (427, 427), "keyctl": (250, 219), "add_key": (248, 217), "request_key": (249, 218),
    "kexec_load": (246, 104), "kexec_file_load": (320, 294), "init_module": (175, 105),
    "finit_module": (313, 273), "delete_module": (176, 106), "reboot": (169, 142), "syslog": (103, 116),
    "swapon": (167, 224), "swapoff": (168, 225), "acct": (163, 89), "quotactl": (179, 60),
    "quotactl_fd": (443, 443), "settimeofday": (164, 170), "clock_settime": (227, 112),
    "clock_adjtime": (305, 266), "adjtimex": (159, 171), "sethostname": (170, 161), "setdomainname": (171, 162),
    "personality": (135, 92), "vhangup": (153, 58), "lookup_dcookie": (212, 18), "nfsservctl": (180, 42),
    "migrate_pages": (256, 238), "move_pages": (279, 239), "vmsplice": (278, 75),
    "iopl": (172, None), "ioperm": (173, None), "modify_ldt": (154, None), "uselib": (134, None),
    # New namespaces and mounts.
    "unshare": (272, 97), "setns": (308, 268), "mount": (165, 40), "umount2": (166, 39), "pivot_root": (155, 41),
    "chroot": (161, 51), "open_tree": (428, 428), "move_mount": (429, 429), "fsopen": (430, 430),
    "fsconfig": (431, 431), "fsmount": (432, 432), "fspick": (433, 433), "mount_setattr": (442, 442),
    "open_tree_attr": (467, 467), "name_to_handle_at": (303, 264), "open_by_handle_at": (304, 265),
    "fanotify_init": (300, 262),
    # Memory that no process's resident size shows.
    "memfd_create": (319, 279), "memfd_secret": (447, 447), "shmget": (29, 194),
}  # fmt: skip
"""Numbers on x86_64 and aarch64; None where the architecture does not have the call."""
_CLONE, _CLONE3, _SOCKET, _IOCTL = (56, 220), (435, 435), (41, 198), (16, 29)
_NEW_NAMESPACES = 0x7E020080
"""CLONE_NEW* of user, mount, pid, net, ipc, uts, cgroup and time."""
_FAMILIES = (1, 2, 10)
"""Unix, IPv4, IPv6: all of them stay within the sandbox's own network. AF_VSOCK, for one, would not."""
_INJECT = (0x5412, 0x541C)
"""TIOCSTI and TIOCLINUX put characters into the terminal's input."""

_NR, _ARCH, _ARG0, _ARG1 = 0, 4, 16, 24
_X32 = 0x40000000
_ALLOW, _KILL, _ERRNO = 0x7FFF0000, 0x80000000, 0x00050000


class _Op(NamedTuple):
    code: int
    k: int
    if_true: int = 0
    if_false: int = 0


def _load(offset: int) -> _Op:
    return _Op(0x20, offset)


def _return(action: int) -> _Op:
    return _Op(0x06, action)


def _skip_unless(code: int, k: int, skipped: int) -> _Op:
    return _Op(code, k, 0, skipped)


_EQUAL, _AT_LEAST, _ANY_BIT = 0x15, 0x35, 0x45


def _argument_rule(number: int, offset: int, body: list[_Op]) -> list[_Op]:
    """Look at one argument of one call; after the body, whoever was not refused is allowed."""
    return [_skip_unless(_EQUAL, number, len(body) + 2), _load(offset), *body, _return(_ALLOW)]


@functools.cache
def program(machine: str | None = None) -> bytes:
    """The filter for this machine, as ``bwrap --seccomp`` reads it.

    Calls of another architecture kill the process; denied calls fail with EPERM. clone3 hides its flags in memory,
    so it fails with ENOSYS and the C library falls back to clone, whose flags are seen.

    Raises:
        OSError: The architecture has no table here.
    """
    machine = machine or platform.machine()
    if machine not in _ARCHITECTURES:
        raise OSError(f"no system-call filter for {machine!r}; there is one for {', '.join(_ARCHITECTURES)}")
    column = list(_ARCHITECTURES).index(machine)
    deny = _return(_ERRNO | errno.EPERM)
    ops = [_load(_ARCH), _Op(_EQUAL, _ARCHITECTURES[machine], 1, 0), _return(_KILL), _load(_NR)]
    ops += [_skip_unless(_AT_LEAST, _X32, 1), deny]
    for numbers in _DENIED.values():
        if (number := numbers[column]) is not None:
            ops += [_skip_unless(_EQUAL, number, 1), deny]
    ops += [_skip_unless(_EQUAL, _CLONE3[column], 1), _return(_ERRNO | errno.ENOSYS)]
    ops += _argument_rule(_CLONE[column], _ARG0, [_skip_unless(_ANY_BIT, _NEW_NAMESPACES, 1), deny])
    families = [op for family in _FAMILIES for op in (_skip_unless(_EQUAL, family, 1), _return(_ALLOW))]
    ops += _argument_rule(_SOCKET[column], _ARG0, [*families, _return(_ERRNO | errno.EAFNOSUPPORT)])
    injections = [op for request in _INJECT for op in (_skip_unless(_EQUAL, request, 1), deny)]
    ops += _argument_rule(_IOCTL[column], _ARG1, injections)
    ops.append(_return(_ALLOW))
    return b"".join(struct.pack("<HBBI", op.code, op.if_true, op.if_false, op.k) for op in ops)
