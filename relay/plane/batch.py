"""The kernel's calls for many datagrams at once, through cffi, and their structures as columns."""

from __future__ import annotations

import sys
from typing import Any, Final

import cffi
import numpy as np
import numpy.typing as npt

ffi = cffi.FFI()
ffi.cdef(
    """
    struct iovec { void *iov_base; size_t iov_len; };
    struct msghdr {
        void *msg_name; unsigned int msg_namelen; struct iovec *msg_iov; size_t msg_iovlen;
        void *msg_control; size_t msg_controllen; int msg_flags;
    };
    struct mmsghdr { struct msghdr msg_hdr; unsigned int msg_len; };
    int recvmmsg(int, struct mmsghdr *, unsigned int, int, void *);
    int sendmmsg(int, struct mmsghdr *, unsigned int, int);
    """
)

# The kernel's structures as numpy columns, so that one assignment fills a field of every row.
MMSGHDR: Final = np.dtype(
    {
        "names": ["name", "namelen", "iov", "iovlen", "control", "controllen", "len"],
        "formats": ["u8", "u4", "u8", "u8", "u8", "u8", "u4"],
        "offsets": [0, 8, 16, 24, 32, 40, 56],
        "itemsize": 64,
    }
)


def available() -> bool:
    """Return whether the batched calls exist here: Linux on a little-endian 64-bit machine."""
    return sys.platform == "linux" and sys.byteorder == "little" and sys.maxsize > 2**32


def list_pointers(array: npt.NDArray[Any]) -> npt.NDArray[np.uint64]:
    """The address of each element, or of each row."""
    return array.ctypes.data + np.arange(len(array), dtype=np.uint64) * np.uint64(array.strides[0])
