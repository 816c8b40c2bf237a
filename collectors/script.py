"""Runs a training script as `python` would, with a session around it."""

from __future__ import annotations

import importlib.machinery
import importlib.util
import os
import runpy
import shlex
import sys
import types
from collections.abc import Callable, Sequence
from importlib.abc import Loader, MetaPathFinder
from pathlib import Path
from typing import Any

from perfkit.collectors.guard import attempt
from perfkit.collectors.session import Options, Session, begin_session, current


def run_script(
    script: str, arguments: list[str], options: Options | None, *, is_module: bool
) -> int:
    """Run a script (or, as `python -m`, a module); its exit status, and its traceback as ever.

    The session starts when the script imports torch; without options there is none. At the end
    it is said on stderr what was recorded, and where. KeyboardInterrupt comes out.
    """
    if options is not None:
        sys.meta_path.insert(0, _AfterImport("torch", lambda: begin_session(options)))
    try:
        if is_module:
            _run_module(script, arguments)
        else:
            _run_file(script, arguments)
    except SystemExit as leaving:
        return _finish(_status(leaving), None)
    except Exception as error:
        theirs = _without_own_frames(error)
        sys.excepthook(type(error), error.with_traceback(theirs), theirs)
        return _finish(1, "exception", type(error))
    if options is not None and "torch" not in sys.modules:
        attempt("Saying so", _say, "nothing was recorded, because the script never imported torch")
    return _finish(0, None)


def _finish(status: int, ended: Any, error: type[Exception] | None = None) -> int:
    session = current()
    if session is not None:
        ended = ended or ("finished" if status == 0 else "exception")
        attempt("Stopping", session.stop, ended, error)
        attempt("Saying where it is", _say_what, session)
    return status


def _say_what(session: Session) -> None:
    """On one rank only."""
    if session.rank == 0:
        shown = os.path.relpath(session.root)
        where = shown if not shown.startswith(os.pardir) else str(session.root)
        what = "recorded; see it" if session.windows else "recorded no window; see why"
        _say(f"{what} with: perfkit analyze {shlex.quote(where)}")


def _say(message: str) -> None:
    print(f"perfkit: {message}", file=sys.stderr)  # noqa: T201


def _status(leaving: SystemExit) -> int:
    """What the interpreter would exit with, having printed what it would print."""
    if leaving.code is None:
        return 0
    if isinstance(leaving.code, int):
        return leaving.code
    print(leaving.code, file=sys.stderr)  # noqa: T201
    return 1


def _run_file(script: str, arguments: list[str]) -> None:
    path = Path(script).absolute()
    code = compile(path.read_bytes(), str(path), "exec")
    main = types.ModuleType("__main__")
    main.__dict__.update(__file__=str(path), __builtins__=__builtins__, __cached__=None)
    sys.argv = [script, *arguments]
    sys.path[0] = str(Path(script).resolve().parent)
    sys.modules["__main__"] = main
    exec(code, main.__dict__)


def _run_module(name: str, arguments: list[str]) -> None:
    sys.argv = [name, *arguments]
    sys.path[0] = str(Path.cwd())
    runpy.run_module(name, run_name="__main__", alter_sys=True)


def _without_own_frames(error: BaseException) -> types.TracebackType | None:
    """The traceback from the script's first frame on."""
    trace = error.__traceback__
    own = (__file__, runpy.__file__, "<frozen runpy>")
    while trace is not None and trace.tb_frame.f_code.co_filename in own:
        trace = trace.tb_next
    return trace


class _AfterImport(MetaPathFinder):
    """Calls back once a module has been imported by whoever imports it first."""

    def __init__(self, module: str, then: Callable[[], object]) -> None:
        self._module = module
        self._then = then

    def find_spec(
        self, name: str, path: Sequence[str] | None, target: types.ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if name != self._module:
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(name)
        if spec is not None and spec.loader is not None:
            spec.loader = _Then(spec.loader, self._then)
        return spec


class _Then(Loader):
    def __init__(self, loader: Loader, then: Callable[[], object]) -> None:
        self._loader = loader
        self._then = then

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> types.ModuleType | None:
        return self._loader.create_module(spec)

    def exec_module(self, module: types.ModuleType) -> None:
        if module.__spec__ is not None:
            module.__spec__.loader = self._loader
        module.__loader__ = self._loader
        self._loader.exec_module(module)
        attempt("Starting", self._then)
