"""The kernel's keyrings: whether a process may keep a key there, and processes that may not, as in many containers."""

import ctypes
import errno
import platform
import struct

LIBC = ctypes.CDLL(None, use_errno=True)
# add_key and keyctl, in the kernel's table of each architecture.
ADD_KEY, KEYCTL = (248, 250) if platform.machine() == "x86_64" else (217, 219)
PROCESS_KEYRING = -2
JOIN_SESSION_KEYRING = 1


def are_there():
    """Whether a key of this process's own can be made."""
    return LIBC.syscall(ADD_KEY, b"user", b"git-credential-pwb-test", b"1", 1, PROCESS_KEYRING) > 0


def leave_session():
    """From now on, this process has a session keyring that does not lead to the user's, as under some services."""
    LIBC.syscall(KEYCTL, JOIN_SESSION_KEYRING, None)


def refuse():
    """From now on, this process and all that it starts are refused keyrings, by a seccomp filter."""
    load, jump_if_equal, result = 0x20, 0x15, 0x06
    refusal, allowance = 0x00050000 | errno.EPERM, 0x7FFF0000
    instructions = [
        # The system call's number.
        (load, 0, 0, 0),
        (jump_if_equal, 2, 0, ADD_KEY),
        (jump_if_equal, 1, 0, KEYCTL),
        (result, 0, 0, allowance),
        (result, 0, 0, refusal),
    ]
    text = b"".join(struct.pack("HBBI", *instruction) for instruction in instructions)
    instructions = ctypes.create_string_buffer(text, len(text))
    program = ctypes.create_string_buffer(struct.pack("HP", len(text) // 8, ctypes.addressof(instructions)))
    no_new_privileges, seccomp, filters = 38, 22, 2
    LIBC.prctl(no_new_privileges, 1, 0, 0, 0)
    if LIBC.prctl(seccomp, filters, ctypes.byref(program), 0, 0):
        raise OSError(ctypes.get_errno(), "no seccomp filter")
