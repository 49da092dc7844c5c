"""Several workers on one port: started, replaced when they die, stopped together."""

from __future__ import annotations

import logging
import signal
import threading
import time
from http.server import ThreadingHTTPServer
from multiprocessing import connection, get_context, resource_tracker
from multiprocessing.context import SpawnProcess

from pacstream import logs
from pacstream.archive import Archive
from pacstream.errors import InputError
from pacstream.receiving.siblings import Presence, living
from pacstream.settings import Settings
from pacstream_store_scp.board import NOT_LISTENING, OK, STATUSES, Entry, Place, new_board
from pacstream_store_scp.health import serve_health
from pacstream_store_scp.port import HTTP_PORT, not_listening, open_port
from pacstream_store_scp.process import ASSOCIATION_GRACE_S, COMMIT_GRACE_S
from pacstream_store_scp.worker import STOPS, work

log = logging.getLogger(__name__)

CHECK_S = 0.1
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.1, 10.0
PROVEN_S = 60.0
"""A worker that has lived so long did not die of how it was started."""
SILENT_S = 5.0
"""A worker that has not looked at the port for so long is not well."""
STOP_S = ASSOCIATION_GRACE_S + 2 * COMMIT_GRACE_S + 5.0


class Post:
    """A worker, or when the next one is to be started in the place of a dead one."""

    def __init__(self, number: int, entry: Entry) -> None:
        self.number = number
        self.entry = entry
        self.process: SpawnProcess | None = None
        self.due = 0.0
        self._started = 0.0
        self._pause_s = FIRST_PAUSE_S

    def take(self, process: SpawnProcess) -> None:
        self.process = process
        self._started = time.monotonic()

    def vacate(self) -> float:
        """The worker is dead: the pause in seconds before the next one is due."""
        now = time.monotonic()
        if now - self._started >= PROVEN_S:
            self._pause_s = FIRST_PAUSE_S
        pause_s, self._pause_s = self._pause_s, min(2 * self._pause_s, LONGEST_PAUSE_S)
        self.entry.clear()
        self.process, self.due = None, now + pause_s
        return pause_s

    @property
    def status(self) -> int:
        is_up = self.process is not None and self.entry.listens(SILENT_S)
        return self.entry.status if is_up else NOT_LISTENING


class Supervisor:
    """Holds the port and /health; what is received, the workers receive.

    Workers are spawned, not forked: replacements are started when there are threads here.
    """

    def __init__(self, settings: Settings, workers: int) -> None:
        self._settings = settings
        self._context = get_context("spawn")
        self._board = new_board(self._context, workers)
        self._posts = [Post(number, entry) for number, entry in enumerate(self._board)]
        self._restarts = 0
        # Its start sets the signal mask, which is ours while a worker is started.
        resource_tracker.ensure_running()

    def start(self) -> None:
        """Open the ports. Raises InputError if one is taken."""
        settings = self._settings
        run = Archive(settings.data).run
        self._presence = Presence(run)
        try:
            siblings = set(living(run).values())
            self._listener = open_port(settings.store_host, settings.store_port, siblings)
            self._http = self._serve_health()
        except InputError:
            self._presence.end()
            raise

    def run(self, stopping: threading.Event) -> bool:
        """Keep all workers alive until `stopping`; False if not even the first one can start."""
        if not self._first_starts(stopping):
            return False
        while not stopping.is_set():
            for post in self._posts:
                if post.process is not None and post.process.exitcode is not None:
                    self._bury(post)
                if post.process is None and time.monotonic() >= post.due:
                    self._appoint(post)
            connection.wait([process.sentinel for process in self._processes], CHECK_S)
        return True

    def stop(self) -> bool:
        """End all workers: no new associations, those under way may end; whether all ended well."""
        self._listener.close()
        workers = self._processes
        for worker in workers:
            worker.terminate()
        end = time.monotonic() + STOP_S
        for worker in workers:
            worker.join(max(0.0, end - time.monotonic()))
            if worker.is_alive():
                worker.kill()
                worker.join()
        ended_well = all(worker.exitcode == 0 for worker in workers)
        self._http.shutdown()
        self._presence.end()
        logs.event(log, "workers stopped", ended_well=ended_well, restarts=self._restarts)
        return ended_well

    def health(self) -> tuple[bool, dict[str, object]]:
        """Whether every worker takes and announces instances, and what /health says of them."""
        worst = min(post.status for post in self._posts)
        return worst == OK, {
            "service": "store_scp",
            "status": STATUSES[worst],
            "associations": sum(entry.associations for entry in self._board),
            "queued": sum(entry.queued for entry in self._board),
            "workers": sum(post.status != NOT_LISTENING for post in self._posts),
            "workers_wanted": len(self._posts),
            "restarts": self._restarts,
        }

    @property
    def _processes(self) -> list[SpawnProcess]:
        return [post.process for post in self._posts if post.process is not None]

    def _first_starts(self, stopping: threading.Event) -> bool:
        """One worker alone tries the settings: what is wrong is said once."""
        first = self._posts[0]
        worker = self._appoint(first)
        while not stopping.is_set() and not first.entry.listens(SILENT_S):
            if worker.exitcode is not None:
                return False
            connection.wait([worker.sentinel], CHECK_S)
        return True

    def _appoint(self, post: Post) -> SpawnProcess:
        place = Place(self._listener, self._board, post.number)
        worker = self._context.Process(
            target=work, args=(self._settings, place), name=f"worker-{post.number}"
        )
        # A signal to the whole process group waits until the worker can heed it.
        before = signal.pthread_sigmask(signal.SIG_BLOCK, STOPS)
        try:
            worker.start()
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
        post.take(worker)
        return worker

    def _bury(self, post: Post) -> None:
        assert post.process is not None
        exit_code = post.process.exitcode
        post.process.close()
        fields = {"exit_code": exit_code, "pause_s": post.vacate()}
        logs.event(log, "worker died", logging.WARNING, worker=post.number, **fields)
        self._restarts += 1

    def _serve_health(self) -> ThreadingHTTPServer:
        host, port = self._settings.http_host, self._settings.http_port
        try:
            return serve_health(host, port, self.health)
        except OSError as error:
            self._listener.close()
            raise not_listening(error, HTTP_PORT, port) from None
