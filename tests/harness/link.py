"""A piece of network between a broker and a server, which can fail in the ways that networks do."""
import contextlib
import socket
import threading

from .process import free_port


class Link:
    """Whoever dials `address` reaches what listens on `target_port`, while the link is healthy.

    `silence`: nothing passes, in no direction, and nobody is told; it all arrives when the link is healthy again, as what
    TCP sends again does. `deafen`: what is sent arrives, and answers do not; they are lost, and the connections with them,
    when it is healthy again. `cut`: connections break, and new ones are refused."""

    def __init__(self, target_port):
        self.target_port, self.port = target_port, free_port()
        self.address = f"127.0.0.1:{self.port}"
        self.there, self.back = threading.Event(), threading.Event()
        self.ends, self.lock, self.server = set(), threading.Lock(), None
        self.heal()

    def heal(self):
        """Healthy, as at first."""
        if not self.back.is_set() and self.there.is_set():
            self._break_connections()
        if self.server is None:
            self.server = socket.create_server(("127.0.0.1", self.port), backlog=256)
            threading.Thread(target=self._accept, args=(self.server,), daemon=True).start()
        self.there.set()
        self.back.set()

    def silence(self):
        self.there.clear()
        self.back.clear()

    def deafen(self):
        self.back.clear()

    def cut(self):
        # Closing alone does not wake up who waits in `accept`, and he would take one more.
        self.server.shutdown(socket.SHUT_RDWR)
        self.server.close()
        self.server = None
        self._break_connections()

    def _break_connections(self):
        with self.lock:
            ends, self.ends = self.ends, set()
        for end in ends:
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def _accept(self, server):
        with contextlib.suppress(OSError):
            while True:
                near, _ = server.accept()
                threading.Thread(target=self._join, args=(near,), daemon=True).start()

    def _join(self, near):
        try:
            far = socket.create_connection(("127.0.0.1", self.target_port))
        except OSError:
            return near.close()
        for end in (near, far):
            end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with self.lock:
            self.ends |= {near, far}
        answers = threading.Thread(target=self._copy, args=(far, near, self.back), daemon=True)
        answers.start()
        self._copy(near, far, self.there)
        answers.join()
        with self.lock:
            self.ends -= {near, far}
        near.close()
        far.close()

    @staticmethod
    def _copy(source, sink, passes):
        with contextlib.suppress(OSError):
            while data := source.recv(1 << 16):
                passes.wait()
                sink.sendall(data)
            passes.wait()
            sink.shutdown(socket.SHUT_WR)
