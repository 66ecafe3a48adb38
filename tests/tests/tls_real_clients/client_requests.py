"""Asks over the pool of `requests`: a line of stdin is a path, a line of stdout is an answer.

The answer's line: status, connections opened so far, the client's address as the server saw it, the body.
"""

import ssl
import sys
import warnings

import requests
import requests.adapters
import urllib3
import urllib3.connection

address, version = sys.argv[1:]
warnings.simplefilter("ignore")


class Counting(urllib3.connection.HTTPSConnection):
    opened = 0

    # Its pool counts only the connections that it made, not those that a connection made again.
    def connect(self):
        Counting.opened += 1
        super().connect()


urllib3.HTTPSConnectionPool.ConnectionCls = Counting


class Adapter(requests.adapters.HTTPAdapter):
    def init_poolmanager(self, *args, **kwargs):
        context = ssl.create_default_context()
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        context.minimum_version = context.maximum_version = getattr(ssl.TLSVersion, version)
        super().init_poolmanager(*args, ssl_context=context, **kwargs)


session = requests.Session()
session.trust_env = False
session.mount("https://", Adapter())
for line in sys.stdin:
    answer = session.get(f"https://{address}{line.strip()}", verify=False)
    print(answer.status_code, Counting.opened, answer.headers.get("peer"), answer.text, flush=True)
