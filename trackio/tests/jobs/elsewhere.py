"""A writer that believes to be on another machine.

    python elsewhere.py HOST BOOT PID TIME NUMBER [end]

Host name, boot id, process id and the time (nanoseconds; the same one for ever) are as given. Logs `NUMBER`
ten times; then waits for its standard input to end and is gone without a word, or with `end` finishes.
"""

from __future__ import annotations

import os
import sys
import time
from types import SimpleNamespace

import trackio
from trackio import journal

host, boot, pid, now, number = sys.argv[1:6]
real = os.getpid
journal.host_name = lambda: host
journal.boot_id = lambda: boot
journal.os = SimpleNamespace(**{**vars(os), "getpid": lambda: int(pid)})
journal.time = SimpleNamespace(**{**vars(time), "time_ns": lambda: int(now)})

trackio.init("p", "n", resume="allow")
for i in range(10):
    trackio.log({"number": int(number), "i": i})
print("logged", flush=True)
sys.stdin.read()
if sys.argv[6:] == ["end"]:
    trackio.finish()
os._exit(0)
