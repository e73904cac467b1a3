"""The resource servers of docs/integrating.md, which ask by introspection."""

import pathlib
import subprocess
import sys

import document
from proxy import free_port
from service import PATIENCE, clean, equal, eventually, expect, http


class Running:
    """A resource server, while the `with` lasts."""

    def __init__(self, name, command, service):
        port = free_port()
        self.name, self.url = name, f"http://127.0.0.1:{port}/employees"
        environment = clean(
            LEDGER_URL=service.url, LEDGER_KEY=service.company["introspect_key"], PORT=str(port)
        )
        self.process = subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL)

    def __enter__(self):
        def answers():
            expect(self.process.poll() is None, f"{self.name} ended")
            try:
                return http.get(self.url, timeout=5) is not None
            except OSError:
                return False

        eventually(answers, f"{self.name} to answer")
        return self

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait(timeout=PATIENCE)

    def asked(self, token):
        headers = {} if token is None else {"Authorization": f"Bearer {token}"}
        answer = http.get(self.url, headers=headers, timeout=30)
        return answer.status_code, answer.headers.get("WWW-Authenticate"), answer


def check(service, folder, rust):
    folder = pathlib.Path(folder) / "resource_servers"
    folder.mkdir()
    document.rust_is_shown()
    commands = {"Rust": [rust]}
    for language, program, name in [
        ("Python", sys.executable, "resource_server.py"),
        ("JavaScript", "node", "resource_server.mjs"),
    ]:
        (folder / name).write_text(document.block(name))
        commands[language] = [program, folder / name]
    for language, command in commands.items():
        with Running(language, command, service) as running:
            guards(running, service)


def guards(running, service):
    token_id, good = service.token(["employees", "positions"])
    _, other = service.token(["positions"])
    name = running.name
    status, _, answer = running.asked(good)
    equal(status, 200, f"{name}: a good token")
    equal(answer.json(), {"employees": [], "asked_by": token_id}, f"{name}: its answer")
    for token, expected in [
        (None, (401, "Bearer")),
        ("tlk_wrong", (401, 'Bearer error="invalid_token"')),
        (service.company["admin_key"], (401, 'Bearer error="invalid_token"')),
        (other, (403, 'Bearer error="insufficient_scope", scope="employees"')),
    ]:
        equal(running.asked(token)[:2], expected, f"{name}: a refusal")
    service.of_company("DELETE", f"tokens/{token_id}")
    equal(running.asked(good)[:2], (401, 'Bearer error="invalid_token"'), f"{name}: a deleted token")
    _, fresh = service.token(["employees"])
    service.stop()
    equal(running.asked(fresh)[0], 503, f"{name}: a good token while the service is down")
    service.start()
    equal(running.asked(fresh)[0], 200, f"{name}: a good token when the service is back")
