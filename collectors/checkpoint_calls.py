"""The functions that write checkpoints, and where their arguments say to write."""

from __future__ import annotations

import io
import os
from dataclasses import dataclass
from typing import Any

_DCP = ("torch.distributed.checkpoint", "torch.distributed.checkpoint.state_dict_saver")


@dataclass(frozen=True)
class Call:
    """A function that writes checkpoints: where it is found, and which argument says where to."""

    name: str
    modules: tuple[str, ...]
    keyword: str
    position: int | None = None

    @property
    def attribute(self) -> str:
        """The function's name in its modules."""
        return self.name.rpartition(".")[2]

    def target(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """The path or the file it is asked to write to."""
        if kwargs.get(self.keyword) is not None:
            return kwargs[self.keyword]
        if self.position is None:
            return getattr(kwargs.get("storage_writer"), "path", None)
        return args[self.position] if len(args) > self.position else None


CALLS = (
    Call("torch.save", ("torch", "torch.serialization"), "f", 1),
    Call("torch.distributed.checkpoint.save", _DCP, "checkpoint_id"),
    Call("torch.distributed.checkpoint.async_save", _DCP, "checkpoint_id"),
    Call("safetensors.torch.save_file", ("safetensors.torch",), "filename", 1),
)


def path_of(target: Any) -> str | None:
    """The path of a path or an open file; None of memory, and of a file known by its number."""
    path = getattr(target, "name", None) if isinstance(target, io.IOBase) else target
    return os.fsdecode(path) if isinstance(path, str | bytes | os.PathLike) else None
