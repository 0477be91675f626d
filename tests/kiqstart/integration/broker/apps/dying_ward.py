"""What tests start in place of a ward: it says who it is, and does what DYING_WARD says."""

import os
import signal
import socket
import sys
import time

signal.signal(signal.SIGTERM, signal.SIG_IGN)
connection = socket.socket(fileno=int(sys.argv[1]))
what = os.environ["DYING_WARD"]
connection.sendall(b"name first\n")
match what:
    case "renamed":
        connection.sendall(b"name second\n")
        os.kill(os.getpid(), signal.SIGKILL)
    case "bye":
        connection.sendall(b"bye\n")
        os._exit(7)
    case _:
        time.sleep(60)
