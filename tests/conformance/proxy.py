"""Debian's nginx with `auth_request`, configured as docs/integrating.md says."""

import pathlib
import socket
import subprocess

import document
from service import PATIENCE, clean, equal, eventually, expect, http
from upstream import Upstream

# The whole of a configuration that runs as anybody, in a folder of its own.
AROUND = """
daemon off;
master_process off;
error_log stderr;
pid {folder}/nginx.pid;
events {{ }}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    include {folder}/shown.conf;
}}
"""


def free_port():
    with socket.socket() as asked:
        asked.bind(("127.0.0.1", 0))
        return asked.getsockname()[1]


class Nginx:
    def __init__(self, program, folder, service, upstream):
        folder = pathlib.Path(folder) / "nginx"
        folder.mkdir()
        address = f"127.0.0.1:{free_port()}"
        shown = document.block("nginx.conf")
        for written, here in {
            "server 127.0.0.1:8080;": f"server {service.listen};",
            "server 127.0.0.1:9000;": f"server {upstream.address};",
            "listen 127.0.0.1:8000;": f"listen {address};",
            "company=COMPANY_ID;": f"company={service.id};",
        }.items():
            equal(shown.count(written), 1, f"how often the configuration has {written}")
            shown = shown.replace(written, here)
        (folder / "shown.conf").write_text(shown)
        (folder / "nginx.conf").write_text(AROUND.format(folder=folder))
        command = [program, "-e", "stderr", "-p", folder, "-c", folder / "nginx.conf"]
        self.said = folder / "said"
        self.process = subprocess.Popen(command, stderr=self.said.open("w"), env=clean())
        self.url = f"http://{address}"
        eventually(self.answers, "nginx to answer")

    def answers(self):
        expect(self.process.poll() is None, f"nginx ended: {self.said.read_text()}")
        try:
            return http.get(self.url, timeout=5).status_code == 404
        except OSError:
            return False

    def get(self, token, method="GET", **headers):
        if token is not None:
            headers["Authorization"] = f"Bearer {token}"
        url = f"{self.url}/employees/7?of=now"
        data = b"a body" if method == "POST" else None
        return http.request(method, url, headers=headers, data=data, timeout=30)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait(timeout=PATIENCE)


def check(service, program, folder):
    token_id, good = service.token(["employees", "positions"])
    _, other = service.token(["positions"])
    with Upstream() as upstream, Nginx(program, folder, service, upstream) as nginx:
        forged = {"X-Token-Id": "forged", "X-Company-Id": "forged", "X-Scopes": "forged"}
        for method in ["GET", "POST"]:
            answer = nginx.get(good, method, **forged)
            equal(answer.status_code, 200, f"{method} with a good token")
            seen = answer.json()
            equal(seen["path"], "/employees/7?of=now", "the path that the upstream sees")
            equal(seen["headers"]["X-Token-Id"], token_id, "the token that the upstream is told")
            equal(seen["headers"]["X-Company-Id"], service.id, "the company that it is told")
            equal(seen["headers"]["X-Scopes"], "employees positions", "the scopes that it is told")
            expect("Authorization" not in seen["headers"], "the secret stops at the proxy")

        is_refused(nginx.get(None), 401, None)
        is_refused(nginx.get("tlk_wrong"), 401, "invalid_token")
        is_refused(nginx.get(service.company["admin_key"]), 401, "invalid_token")
        is_refused(nginx.get(other), 403, "insufficient_scope")
        equal(http.get(f"{nginx.url}/token", timeout=30).status_code, 404, "the inner location")
        # A caller can ask for more than the proxy does, never for less.
        is_refused(nginx.get(good, **{"X-Required-Scope": "locations"}), 403, "insufficient_scope")
        is_refused(nginx.get(other, **{"X-Required-Scope": "positions"}), 403, "insufficient_scope")

        service.of_company("DELETE", f"tokens/{token_id}")
        is_refused(nginx.get(good), 401, "invalid_token")

        _, fresh = service.token(["employees"])
        equal(nginx.get(fresh).status_code, 200, "another good token")
        service.stop()
        equal(nginx.get(fresh).status_code, 500, "a good token while the service is down")
        equal(nginx.get("tlk_wrong").status_code, 500, "a bad one while the service is down")
        service.start()
        eventually(lambda: nginx.get(fresh).status_code == 200, "nginx to find the service again")


def is_refused(answer, status, error):
    equal(answer.status_code, status, "a refusal")
    challenge = answer.headers.get("WWW-Authenticate", "")
    expect(challenge.startswith("Bearer "), f"the challenge of {status}: {challenge!r}")
    equal(challenge.count("Bearer "), 1, "the number of challenges")
    equal(f'error="{error}"' in challenge, error is not None, f"the error in {challenge!r}")
