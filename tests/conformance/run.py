"""Runs clients that others wrote against the service; see scripts/check-conformance."""

import contextlib
import os
import sys

import clients
import description
import oauth
import proxy
import published
import resource_servers
from service import Service

PROGRAM, RESOURCE_SERVER, NGINX, FOLDER, *PARTS = sys.argv[1:]
# schemathesis sends bad credentials by the hundred, on purpose and from one address.
PATIENT = ["--bad-credentials-per-network", "1000000"]


@contextlib.contextmanager
def serving(name, *options):
    folder = os.path.join(FOLDER, name)
    os.mkdir(folder)
    service = Service(PROGRAM, folder, *options)
    try:
        yield service
    finally:
        service.stop()


def others():
    with serving("others") as service:
        published.check(service)
        print("a program for the published API runs unchanged")
        oauth.check(service)
        clients.check(service)
        print("requests-oauthlib, Authlib and openid-client get, use, introspect and revoke tokens")
        proxy.check(service, NGINX, FOLDER)
        resource_servers.check(service, FOLDER, RESOURCE_SERVER)
        print("the resource servers let good tokens through, and nothing else")


def described():
    with serving("described", *PATIENT) as service:
        description.check(service)
        print("schemathesis finds nothing in what /openapi.json says and the service does")


ALL = {"others": others, "described": described}
os.umask(0o077)
for part in PARTS or ALL:
    ALL[part]()
