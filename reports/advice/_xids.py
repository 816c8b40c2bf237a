"""What Xids stand for, and what NVIDIA's catalogue says to do first.

https://docs.nvidia.com/deploy/xid-errors/analyzing-xid-catalog.html; texts in our own words, parted
by its column "Resolution Bucket (Immediate Action)".
"""

from __future__ import annotations

RESTART = {79: "the GPU has fallen off the bus"}  # RESTART_BM
RESET = {  # RESET_GPU; 48 and 74: "a GPU reset or node reboot is needed to clear this error"
    46: "the GPU stopped processing",
    48: "a double-bit ECC error",
    62: "the GPU's internal microcontroller halted",
    64: "a row or page of memory could not be remapped",
    74: "an NVLink error",
    95: "a memory error that was not contained",
    109: "a context switch timed out",
    119: "the GPU's system processor does not answer",
    120: "an error of the GPU's system processor",
    140: "ECC errors that were not recovered",
}
LATER = {  # IGNORE, or RESTART_APP for 94; a reset when convenient
    63: "a row or page of memory was remapped",
    92: "many single-bit ECC errors",
    94: "a memory error that was contained",
}
PROGRAM = {  # "typically application-level bugs"; 43: the GPU remains in a healthy state
    13: "an exception on the GPU, mostly of the program",
    31: "an illegal memory access, mostly of the program",
    43: "the program was stopped for a fault of its own",
}
FOLLOWS = {
    45: "work was cleaned up, after another error or because the program was ended",
    154: "the recovery that other Xids ask for has changed: the kernel's log says to what",
}
NOTHING = {14, 106, 107, 121}  # faked, tests, and corrected errors "with no operational impact"
TEXTS = {**RESTART, **RESET, **LATER, **PROGRAM, **FOLLOWS}
