"""The client programs of docs/integrating.md, and openid-client at length."""

import pathlib
import subprocess
import sys

import document
from service import PATIENCE, clean, equal

HERE = pathlib.Path(__file__).resolve().parent
SHOWN = {
    "client_requests_oauthlib.py": sys.executable,
    "client_authlib.py": sys.executable,
    "client_openid.mjs": "node",
}


def run(command, service, name):
    client_id, secret = service.client(name, ["employees", "positions"])
    environment = clean(
        ISSUER=service.url,
        CLIENT_ID=client_id,
        CLIENT_SECRET=secret,
        RESOURCE=f"{service.url}/v1/verify?scope=employees",
        OAUTHLIB_INSECURE_TRANSPORT="1",
        AUTHLIB_INSECURE_TRANSPORT="1",
    )
    done = subprocess.run(
        command, env=environment, check=True, timeout=PATIENCE, stdout=subprocess.PIPE, text=True
    )
    return done.stdout


def check(service):
    equal(run(["node", HERE / "openid.mjs"], service, "openid-client"), "", "what openid.mjs says")
    # Node looks for packages beside the program.
    folder = HERE / "node_modules" / ".shown"
    folder.mkdir(exist_ok=True)
    for name, program in SHOWN.items():
        (folder / name).write_text(document.block(name))
        equal(run([program, folder / name], service, name), "200\n", f"what {name} says")
