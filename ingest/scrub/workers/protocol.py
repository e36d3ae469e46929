"""The two fixed messages between a template and whoever asks it for workers."""

from __future__ import annotations

import struct
from typing import Final

COMMAND: Final = struct.Struct(">q?")  # the process to end (0: none), and whether a socket comes along to fork for
REPLY: Final = struct.Struct(">qq")  # the process that was forked (0: none), and how the one to end did end
