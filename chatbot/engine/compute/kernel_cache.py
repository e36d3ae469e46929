"""Compile functions to machine code and cache that in a folder, so that the next process need not compile.

Nearly all of the engine's start is numba inferring types in Python. The cache holds object code as LLVM writes it,
behind its SHA-256; nothing is unpickled. A file is used only where it was made of the same source, by the same
compiler, for the same processor, and where no other user could have written it. Knows nothing of what the functions
compute.
"""

from __future__ import annotations

import hashlib
import os
import stat
import tempfile
from functools import cache
from pathlib import Path
from typing import Any

import numba
import structlog
from llvmlite import binding
from numba.core.registry import cpu_target
from numba.core.runtime import rtsys

log = structlog.get_logger(__name__)
OTHERS_MAY_WRITE = stat.S_IWGRP | stat.S_IWOTH


class KernelCompiler:
    """Compiler whose machine code stays valid as long as this object lives."""

    def __init__(self, folder: Path | None) -> None:
        """Cache the code in `folder`; None: do not cache it."""
        self._folder = folder
        self._alive: list[Any] = []

    def address(self, name: str, signature: Any, body: Any) -> int:
        """Compile `body`, or link its cached code; return the address of its machine code.

        `name` must hold all that the code depends on beside the source files of this folder.
        """
        path = self._folder and self._folder / f"{_key(name, signature)}.o"
        code = _read(path) if path else None
        if code is None:
            compiled = numba.cfunc(signature, error_model="numpy")(body)
            self._alive.append(compiled)
            if path:
                _write(path, compiled)
            return int(compiled.address)
        symbol, _, code = code.partition(b"\n")
        engine = _engine()
        engine.add_object_file(binding.ObjectFileRef.from_data(code))
        engine.finalize_object()
        self._alive.append(engine)
        return int(engine.get_function_address(symbol.decode()))


def _engine() -> binding.ExecutionEngine:
    """Return an engine of its own for each function, since symbols in two files may be the same."""
    rtsys.initialize(cpu_target.target_context)  # the symbols that compiled code refers to
    machine = binding.Target.from_default_triple().create_target_machine(opt=3, jit=True, codemodel="jitdefault")
    module = binding.parse_assembly("")
    module.triple = binding.get_process_triple()
    return binding.create_mcjit_compiler(module, machine)


@cache
def _environment() -> str:
    """Return what machine code depends on beside name and types: sources, compiler, processor, options."""
    sources = [path.read_bytes() for path in sorted(Path(__file__).parent.glob("*.py"))]
    options = sorted(pair for pair in os.environ.items() if pair[0].startswith("NUMBA_"))
    compiler = (numba.__version__, binding.llvm_version_info, cpu_target.target_context.codegen().magic_tuple())
    return repr((compiler, options, [hashlib.sha256(source).hexdigest() for source in sources]))


def _key(name: str, signature: Any) -> str:
    return hashlib.sha256(repr((_environment(), name, str(signature))).encode()).hexdigest()


def _read(path: Path) -> bytes | None:
    """Return the file's content after its digest; None where there is no file, or none that can be trusted."""
    try:
        with os.fdopen(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC), "rb") as file:
            found = (os.fstat(file.fileno()), path.parent.stat())
            if any(each.st_uid != os.geteuid() or each.st_mode & OTHERS_MAY_WRITE for each in found):
                log.warning("compiled kernel not used", path=str(path), problem="other users may write it")
                return None
            digest, _, content = file.read().partition(b"\n")
    except FileNotFoundError:
        return None
    except OSError as error:
        log.warning("compiled kernel not used", path=str(path), problem=str(error))
        return None
    if digest.decode("ascii", "replace") != hashlib.sha256(content).hexdigest():
        log.warning("compiled kernel not used", path=str(path), problem="the file is damaged")
        return None
    return content


def _write(path: Path, compiled: Any) -> None:
    """Write the code in one rename; where that fails, the next process compiles again."""
    _, _, (code, _) = compiled._library.serialize_using_object_code()
    content = compiled.native_name.encode() + b"\n" + code
    temporary = None
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=".")
        with os.fdopen(handle, "wb") as file:
            file.write(hashlib.sha256(content).hexdigest().encode() + b"\n" + content)
        os.replace(temporary, path)
    except OSError as error:
        log.info("compiled kernel not cached", path=str(path), problem=str(error))
        if temporary:
            Path(temporary).unlink(missing_ok=True)
