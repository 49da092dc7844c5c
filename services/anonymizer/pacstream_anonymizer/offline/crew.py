"""Tasks in several processes, a whole series in each: what the engine has learnt of a series serves
its next instance."""

from __future__ import annotations

import contextlib
import multiprocessing
import signal
from collections.abc import Iterator, Sequence
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess

from pacstream import logs
from pacstream.errors import PacstreamError, RejectedError, RetryLaterError
from pacstream_anonymizer.offline.book import Entry
from pacstream_anonymizer.offline.work import Bench, Task, entries_of

Answer = list[Entry] | PacstreamError | None
"""A group of results, the error that ended the task, or: the task is done."""


def results(tasks: Sequence[Task], bench: Bench, workers: int) -> Iterator[list[Entry]]:
    """What became of all instances, in the order in which it becomes known.

    Raises RetryLaterError `disk`, or `worker_lost` if a process has died.
    """
    workers = min(workers, len(tasks))
    if workers > 1:
        with _Crew(bench, workers) as crew:
            yield from crew.results(sorted(tasks, key=_bytes, reverse=True))
        return
    for task in tasks:
        yield from entries_of(task, bench)


def _bytes(task: Task) -> int:
    """The largest series first: none of them is what all others wait for in the end."""
    return sum(item.file.size for item in task.items)


class _Crew:
    """Processes that end when their connection does: none outlives this one."""

    def __init__(self, bench: Bench, workers: int) -> None:
        # Not forked: this process may have threads, and a child would hold its siblings' ends.
        context = multiprocessing.get_context("spawn")
        self._members: dict[Connection, BaseProcess] = {}
        for _ in range(workers):
            ours, theirs = context.Pipe()
            process = context.Process(target=_serve, args=(theirs, bench), daemon=True)
            process.start()
            theirs.close()
            self._members[ours] = process

    def __enter__(self) -> _Crew:
        return self

    def __exit__(self, *_: object) -> None:
        for connection in self._members:
            connection.close()
        for process in self._members.values():
            process.join()

    def results(self, tasks: Sequence[Task]) -> Iterator[list[Entry]]:
        waiting = iter(tasks)
        busy = {one for one in self._members if self._give(one, waiting)}
        while busy:
            for connection in wait(list(busy)):
                assert isinstance(connection, Connection)
                answer = self._answer(connection)
                if isinstance(answer, PacstreamError):
                    raise answer
                if answer is not None:
                    yield answer
                elif not self._give(connection, waiting):
                    busy.discard(connection)

    def _give(self, connection: Connection, waiting: Iterator[Task]) -> bool:
        """Whether there was a task left to give."""
        task = next(waiting, None)
        if task is not None:
            with _members_death():
                connection.send(task)
        return task is not None

    def _answer(self, connection: Connection) -> Answer:
        with _members_death():
            answer: Answer = connection.recv()
        return answer


@contextlib.contextmanager
def _members_death() -> Iterator[None]:
    try:
        yield
    except (EOFError, ConnectionError):
        raise RetryLaterError("a worker process has died", code="worker_lost") from None


def _serve(connection: Connection, bench: Bench) -> None:
    """Work until nobody is at the other end."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    logs.silence_libraries()
    with contextlib.suppress(EOFError, ConnectionError):
        while True:
            task = connection.recv()
            try:
                for entries in entries_of(task, bench):
                    connection.send(entries)
            except PacstreamError as error:
                connection.send(error)
            except ConnectionError:
                raise
            except Exception as error:  # noqa: BLE001 - its text may quote a value, or a path
                what = f"{type(error).__name__} at {logs.place_of(error.__traceback__)}"
                connection.send(RejectedError(f"a worker process failed: {what}", code="error"))
            connection.send(None)
