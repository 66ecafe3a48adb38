"""Asks over one kept connection, with the standard library: a line of stdin is a path, a line of stdout is an answer.

The answer's line: status, connections opened so far, the client's address as the server saw it, the body.
"""

import http.client
import ssl
import sys

address, version = sys.argv[1:]
context = ssl.create_default_context()
context.check_hostname = False
context.verify_mode = ssl.CERT_NONE
context.minimum_version = context.maximum_version = getattr(ssl.TLSVersion, version)


class Counting(http.client.HTTPSConnection):
    opened = 0

    def connect(self):
        Counting.opened += 1
        super().connect()


connection = Counting(address, context=context)
for line in sys.stdin:
    connection.request("GET", line.strip())
    answer = connection.getresponse()
    body = answer.read().decode()
    print(answer.status, Counting.opened, answer.getheader("peer"), body, flush=True)
