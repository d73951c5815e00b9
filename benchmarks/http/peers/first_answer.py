"""uvicorn on a socket that listens already: its first client waits in the queue, and need not try again and again.

python first_answer.py APP SOCKET_NUMBER
"""

import socket
import sys

import uvicorn

config = uvicorn.Config(sys.argv[1], log_level="warning", access_log=False)
uvicorn.Server(config).run([socket.socket(fileno=int(sys.argv[2]))])
