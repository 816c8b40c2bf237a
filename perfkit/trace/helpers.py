"""Blocks to columns on every core: this process and its children, results in file order."""

from __future__ import annotations

import gc
import pickle
import queue
import sys
import threading
from collections import deque
from collections.abc import Iterator
from contextlib import suppress
from itertools import islice
from subprocess import Popen
from typing import IO

from perfkit.trace.children import children
from perfkit.trace.columns import BlockColumns
from perfkit.trace.garbage import collector_off
from perfkit.trace.regular import forget, read_columns
from perfkit.trace.stretch import Stretch, text_of

_ALONE_BLOCKS = 16  # below this much text a child's start costs more than it saves
_IN_FLIGHT = 2  # at the end a child works on what it was given while this process waits


def map_blocks(blocks: Iterator[bytes | Stretch]) -> Iterator[BlockColumns]:
    """Columns of each block, in order."""
    with collector_off():
        try:
            yield from _mapped(blocks)
        finally:
            forget()


def _mapped(blocks: Iterator[bytes | Stretch]) -> Iterator[BlockColumns]:
    first = list(islice(blocks, _ALONE_BLOCKS))
    helpers = [_Helper(child) for child in children()] if len(first) == _ALONE_BLOCKS else []
    results: dict[int, BlockColumns] = {}
    try:
        for number, block in enumerate(_both(first, blocks)):
            if not any(helper.offer(number, block) for helper in helpers):
                results[number] = _work(block)
        for helper in helpers:
            results |= helper.finish()
    finally:
        for helper in helpers:
            helper.stop()
    for number in sorted(results):
        yield results.pop(number)


def _both(
    first: list[bytes | Stretch], rest: Iterator[bytes | Stretch]
) -> Iterator[bytes | Stretch]:
    while first:
        yield first.pop(0)
    yield from rest


def _work(block: bytes | Stretch) -> BlockColumns:
    text = text_of(block)
    columns = read_columns(text)
    if columns.rows == 0:
        columns.text = text
    return columns


class _Helper:
    """A child that turns blocks into columns; what it fails to return is done here."""

    def __init__(self, child: Popen[bytes]) -> None:
        self._process = child
        self._waiting: queue.SimpleQueue[bytes | Stretch | None] = queue.SimpleQueue()
        self._sent: deque[tuple[int, bytes | Stretch]] = deque()  # both threads change it
        self._results: dict[int, BlockColumns] = {}
        self._threads = [threading.Thread(target=t, daemon=True) for t in (self._send, self._read)]
        for thread in self._threads:
            thread.start()

    def offer(self, number: int, block: bytes | Stretch) -> bool:
        """Take the block unless enough are under way or the child is gone."""
        if len(self._sent) >= _IN_FLIGHT or self._process.poll() is not None:
            return False
        self._sent.append((number, block))
        self._waiting.put(block)
        return True

    def finish(self) -> dict[int, BlockColumns]:
        """All results; blocks of a child that died are done in this process."""
        self._waiting.put(None)
        for thread in self._threads:
            thread.join()
        lost = {number: _work(block) for number, block in self._sent}
        return self._results | lost

    def stop(self) -> None:
        """End the child, whatever it is doing."""
        self._process.kill()
        self._process.wait()
        self._waiting.put(None)
        for thread in self._threads:
            thread.join()

    def _send(self) -> None:
        assert self._process.stdin is not None
        try:
            with self._process.stdin as pipe:
                while (block := self._waiting.get()) is not None:
                    _write(pipe, block)
        except OSError:
            return

    def _read(self) -> None:
        assert self._process.stdout is not None
        # Whatever comes that is no result, such as what a sitecustomize prints, ends the work.
        with suppress(Exception), self._process.stdout as pipe:
            while True:
                columns = pickle.load(pipe)
                if not isinstance(columns, BlockColumns):
                    return
                self._results[self._sent[0][0]] = columns
                self._sent.popleft()


def serve() -> None:
    """A helper's life: pickled blocks from standard input, their columns to standard output."""
    gc.disable()
    with suppress(EOFError):
        while True:
            _write(sys.stdout.buffer, _work(pickle.load(sys.stdin.buffer)))


def _write(pipe: IO[bytes], value: object) -> None:
    pickle.dump(value, pipe, pickle.HIGHEST_PROTOCOL)
    pipe.flush()
