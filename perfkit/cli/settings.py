"""The table [tool.perfkit] of the nearest pyproject.toml."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import msgspec

from perfkit.errors import PerfkitError
from perfkit.model.settings import Settings


def settings_near(folder: Path) -> Settings:
    """What the pyproject.toml of this folder, or of the nearest above it, wants of the advice.

    Raises `PerfkitError` where it cannot be read, or names what is no setting.
    """
    candidates = (above / "pyproject.toml" for above in (folder, *folder.parents))
    file = next((f for f in candidates if f.is_file()), None)
    return Settings() if file is None else _converted(_table(file), file)


def _table(file: Path) -> Any:
    try:
        return tomllib.loads(file.read_text(encoding="utf-8")).get("tool", {}).get("perfkit", {})
    except (OSError, ValueError) as error:
        raise PerfkitError(f"Cannot read {file} ({error}): mend it, or run elsewhere.") from None


def _converted(table: Any, file: Path) -> Settings:
    try:
        return msgspec.convert(table, Settings)
    except msgspec.ValidationError as error:
        said = str(error).replace("`", "")
        raise PerfkitError(
            f"[tool.perfkit] in {file} is wrong ({said}): it takes ignore, least-share, "
            "limits.CODE with warning-share and critical-share, and peaks.DEVICE with tflops (by "
            "format) and memory-gb-per-s."
        ) from None
