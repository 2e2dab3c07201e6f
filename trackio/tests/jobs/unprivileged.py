"""Run a Python script as somebody whom permissions stop: as root without the capabilities to pass them by.

python unprivileged.py SCRIPT [argument ...]
"""

from __future__ import annotations

import ctypes
import os
import sys

PR_CAPBSET_DROP = 24
CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH = 1, 2

if os.geteuid() == 0:
    libc = ctypes.CDLL(None, use_errno=True)
    for capability in (CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH):
        if libc.prctl(PR_CAPBSET_DROP, capability, 0, 0, 0):
            raise OSError(ctypes.get_errno(), "prctl(PR_CAPBSET_DROP)")
# Capabilities that left the bounding set are gone after exec (capabilities(7)).
os.execv(sys.executable, [sys.executable, *sys.argv[1:]])
