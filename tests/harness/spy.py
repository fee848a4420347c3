"""A relay in front of a broker that notes which APIs, in which versions, its clients ask for."""
import socket
import socketserver
import struct
import threading


class Spy:
    """Clients dial `address`; the broker must advertise it."""

    def __init__(self, port, target_port):
        self.address = f"127.0.0.1:{port}"
        self.seen = set()  # (API key, version)
        spy = self

        class Relay(socketserver.BaseRequestHandler):
            def handle(self):
                with socket.create_connection(("127.0.0.1", target_port)) as broker:
                    replies = threading.Thread(target=copy, args=(broker, self.request), daemon=True)
                    replies.start()
                    with self.request.makefile("rb") as requests:
                        while size := requests.read(4):
                            frame = requests.read(*struct.unpack(">i", size))
                            spy.seen.add(struct.unpack(">hh", frame[:4]))
                            broker.sendall(size + frame)
                    broker.shutdown(socket.SHUT_WR)
                    replies.join()

        socketserver.ThreadingTCPServer.daemon_threads = True
        self.server = socketserver.ThreadingTCPServer(("127.0.0.1", port), Relay)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def take(self):
        """What was asked for since the last time."""
        taken, self.seen = self.seen, set()
        return taken

    def stop(self):
        self.server.shutdown()
        self.server.server_close()


def copy(source, sink):
    try:
        while data := source.recv(1 << 16):
            sink.sendall(data)
        sink.shutdown(socket.SHUT_WR)
    except OSError:
        pass  # one side went away; the other notices by itself
