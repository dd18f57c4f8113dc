"""The system call filters of the jail: small BPF programs for seccomp, assembled here for x86_64 and aarch64.

`jail()` is put on a whole jail by bubblewrap, `player()` on top of it on all of the player's side, and `alone()`, short since the
kernel walks it for every call when it is put on, on every program. All are lists of what is refused
(EPERM; ENOSYS where a library then takes another way), since the set of calls that Python and its extension modules need
differs between C libraries; calls newer than the table are refused as a whole, a foreign instruction set kills.

Sources: seccomp(2), Linux's asm/unistd_64.h and asm-generic/unistd.h, and what Docker's default profile refuses.
"""

from __future__ import annotations

import platform
import struct
from functools import lru_cache

from engine.errors import StepError

EPERM, ENOSYS = 1, 38
ALLOW, KILL, ERRNO = 0x7FFF0000, 0x80000000, 0x00050000
ARCHITECTURES = {"x86_64": (0xC000003E, 0), "aarch64": (0xC00000B7, 1)}
NEWEST = 451  # both tables share their numbers from 424 on; what came after nobody has looked at
X32 = 0x40000000
CLONE_THREAD = 0x00010000
NAMESPACES = 0x7E020080  # every CLONE_NEW* flag: time, mount, cgroup, uts, ipc, user, pid, net
AF_UNIX = 1

# name: (x86_64, aarch64); -1 where the architecture has no such call
CALLS = {
    # looking into or steering other processes
    "ptrace": (101, 117), "process_vm_readv": (310, 270), "process_vm_writev": (311, 271), "pidfd_getfd": (438, 438),
    "kcmp": (312, 272), "process_madvise": (440, 440), "process_mrelease": (448, 448), "move_pages": (279, 239),
    "migrate_pages": (256, 238),
    # keys, kernel programs, performance counters, page faults, rings
    "keyctl": (250, 219), "add_key": (248, 217), "request_key": (249, 218), "bpf": (321, 280), "perf_event_open": (298, 241),
    "userfaultfd": (323, 282), "io_uring_setup": (425, 425), "io_uring_enter": (426, 426), "io_uring_register": (427, 427),
    # namespaces, mounts, roots, handles
    "unshare": (272, 97), "setns": (308, 268), "mount": (165, 40), "umount2": (166, 39), "pivot_root": (155, 41),
    "chroot": (161, 51), "move_mount": (429, 429), "open_tree": (428, 428), "fsopen": (430, 430), "fsconfig": (431, 431),
    "fsmount": (432, 432), "fspick": (433, 433), "mount_setattr": (442, 442), "open_by_handle_at": (304, 265),
    "name_to_handle_at": (303, 264), "mknod": (133, -1), "mknodat": (259, 33),
    # the machine
    "kexec_load": (246, 104), "kexec_file_load": (320, 294), "init_module": (175, 105), "finit_module": (313, 273),
    "delete_module": (176, 106), "reboot": (169, 142), "swapon": (167, 224), "swapoff": (168, 225), "quotactl": (179, 60),
    "quotactl_fd": (443, 443), "syslog": (103, 116), "acct": (163, 89), "settimeofday": (164, 170), "clock_settime": (227, 112),
    "clock_adjtime": (305, 266), "adjtimex": (159, 171), "sethostname": (170, 161), "setdomainname": (171, 162),
    "lookup_dcookie": (212, 18), "vhangup": (153, 58), "personality": (135, 92), "iopl": (172, -1), "ioperm": (173, -1),
    "modify_ldt": (154, -1), "uselib": (134, -1), "ustat": (136, -1), "sysfs": (139, -1), "_sysctl": (156, -1),
    "nfsservctl": (180, 42), "ioprio_set": (251, 30), "sched_setscheduler": (144, 119), "sched_setparam": (142, 118),
    "sched_setattr": (314, 274), "mbind": (237, 235), "set_mempolicy": (238, 237), "set_mempolicy_home_node": (450, 450),
    # memory and queues that no limit of a process bounds
    "memfd_create": (319, 279), "memfd_secret": (447, 447), "shmget": (29, 194), "shmat": (30, 196), "shmctl": (31, 195),
    "msgget": (68, 186), "msgsnd": (69, 189), "msgrcv": (70, 188), "msgctl": (71, 187), "semget": (64, 190),
    "semop": (65, 193), "semctl": (66, 191), "semtimedop": (220, 192), "mq_open": (240, 180), "mq_unlink": (241, 181),
    "mlock": (149, 228), "mlockall": (151, 230), "mlock2": (325, 284), "vmsplice": (278, 75), "inotify_init": (253, -1),
    "inotify_init1": (294, 26), "inotify_add_watch": (254, 27), "fanotify_init": (300, 262), "fanotify_mark": (301, 263),
}  # fmt: skip
# what a program may not do on top of it: be another user, talk to the network or to other sockets than its own pair
PLAYER = {
    "socket": (41, 198), "connect": (42, 203), "bind": (49, 200), "listen": (50, 201), "accept": (43, 202), "accept4": (288, 242),
    "setuid": (105, 146), "setgid": (106, 144), "setresuid": (117, 147), "setresgid": (119, 149), "setreuid": (113, 145),
    "setregid": (114, 143), "setgroups": (116, 159), "setfsuid": (122, 151), "setfsgid": (123, 152), "capset": (126, 91),
    "setpriority": (141, 140), "sched_setaffinity": (203, 122), "sendmsg": (46, 211), "sendmmsg": (307, 269),
}  # fmt: skip
ALONE = {"fork": (57, -1), "vfork": (58, -1), "execve": (59, 221), "execveat": (322, 281)}
SOCKET, CLONE, CLONE3 = (41, 198), (56, 220), (435, 435)


def supported() -> bool:
    """Whether the filters know this machine's system calls."""
    return platform.machine() in ARCHITECTURES


@lru_cache(maxsize=1)
def jail() -> bytes:
    """The filter of a whole jail: no kernel interface that Python does not need, no new namespace, sockets of AF_UNIX only."""
    return _assemble(CALLS, clone_needs=0, sockets=True)


@lru_cache(maxsize=1)
def player() -> bytes:
    """The filter of the player's process 1 and of its programs: what `jail` refuses, sockets, and to be another user."""
    return _assemble({**CALLS, **PLAYER}, clone_needs=0, sockets=False)


@lru_cache(maxsize=1)
def alone() -> bytes:
    """The filter of one program on top of `player`: neither processes nor programs, threads only."""
    return _assemble(ALONE, clone_needs=CLONE_THREAD, sockets=False)


def _assemble(refused: dict[str, tuple[int, int]], clone_needs: int, sockets: bool) -> bytes:
    """Bytes of an array of struct sock_filter. StepError on an architecture that the tables do not cover."""
    if not supported():
        raise StepError(
            f"the system call filter knows {', '.join(ARCHITECTURES)}, this machine is {platform.machine()}",
            hint="run model-written code on one of them",
        )
    audit, column = ARCHITECTURES[platform.machine()]
    code = [_load(4), *_unless_equal(audit, KILL), _load(0)]
    if column == 0:
        code += _if_at_least(X32, KILL)
    code += _if_at_least(NEWEST, ERRNO | ENOSYS)
    # clone3 hides its flags behind a pointer; glibc falls back to clone where it does not exist
    code += _if_equal(CLONE3[column], ERRNO | ENOSYS)
    code += _with_argument(CLONE[column], 0, _clone(clone_needs))
    if sockets:
        code += _with_argument(SOCKET[column], 0, _unless_equal(AF_UNIX, ERRNO | EPERM))
    for number in sorted(numbers[column] for numbers in refused.values()):
        if number >= 0:
            code += _if_equal(number, ERRNO | EPERM)
    code.append(_return(ALLOW))
    return b"".join(code)


def _instruction(operation: int, value: int, yes: int = 0, no: int = 0) -> bytes:
    return struct.pack("=HBBI", operation, yes, no, value)


def _load(offset: int) -> bytes:
    """Loads a 32-bit word of struct seccomp_data: 0 the number, 4 the architecture, 16 and on the arguments' low halves."""
    return _instruction(0x20, offset)


def _return(action: int) -> bytes:
    return _instruction(0x06, action)


def _if_equal(value: int, action: int) -> list[bytes]:
    return [_instruction(0x15, value, 0, 1), _return(action)]


def _unless_equal(value: int, action: int) -> list[bytes]:
    return [_instruction(0x15, value, 1, 0), _return(action)]


def _if_at_least(value: int, action: int) -> list[bytes]:
    return [_instruction(0x35, value, 0, 1), _return(action)]


def _clone(needs: int) -> list[bytes]:
    """No new namespace; with `needs`, threads only."""
    code = [_instruction(0x45, NAMESPACES, 0, 1), _return(ERRNO | EPERM)]
    return code + ([_instruction(0x45, needs, 1, 0), _return(ERRNO | EPERM)] if needs else [])


def _with_argument(number: int, argument: int, body: list[bytes]) -> list[bytes]:
    """Runs `body` over the low half of an argument of this call, then loads the number again."""
    inner = [_load(16 + 8 * argument), *body, _load(0)]
    return [_instruction(0x15, number, 0, len(inner)), *inner]
