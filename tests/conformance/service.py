"""The service under test, on loopback, on a ledger of its own."""

import json
import os
import re
import signal
import subprocess
import time

import requests

PATIENCE = 60
# Whatever the environment says about proxies is not meant for loopback.
http = requests.Session()
http.trust_env = False


def expect(condition, what):
    if not condition:
        raise SystemExit(f"NOT AS IT SHOULD BE: {what}")


def equal(found, wanted, what):
    expect(found == wanted, f"{what}: {found!r} instead of {wanted!r}")


def eventually(check, what):
    """Asks until it is so, for a bounded time."""
    begun = time.monotonic()
    while time.monotonic() - begun < PATIENCE:
        if check():
            return
        time.sleep(0.05)
    raise SystemExit(f"NOT AS IT SHOULD BE: waited in vain for {what}")


class Service:
    """`token-ledger serve`, and the company that `setup --json` made."""

    def __init__(self, program, folder, *options):
        self.program, self.folder, self.options = program, folder, options
        self.database = f"sqlite://{folder}/ledger.db"
        made = self.command("setup", "--company", "Acme", "--admin-email", "ada@example.com", "--json")
        made = subprocess.run(made, check=True, capture_output=True).stdout
        self.company = json.loads(made)
        self.id = self.company["company_id"]
        self.listen = "127.0.0.1:0"
        self.process = None
        self.start()

    def command(self, *args):
        return [self.program, *args, "--database-url", self.database]

    def start(self):
        """Starts it; again on the port that it had."""
        said = f"{self.folder}/said"
        with open(said, "w") as file:
            serve = self.command("serve", "--listen", self.listen, *self.options)
            self.process = subprocess.Popen(serve, stderr=file, env=clean())
        found = None

        def listening():
            nonlocal found
            expect(self.process.poll() is None, f"the service ended: {open(said).read()}")
            found = re.search(r"listening on (http://(\S+))", open(said).read())
            return found

        eventually(listening, "the service to listen")
        self.url, self.listen = found.group(1), found.group(2)

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        equal(self.process.wait(timeout=PATIENCE), 0, "the service's exit code")

    def api(self, method, path, body=None, key="admin_key"):
        """A call of the admin API that must work; answers what it answers."""
        headers = {"Authorization": f"Bearer {self.company[key]}"}
        answer = http.request(method, f"{self.url}{path}", json=body, headers=headers, timeout=30)
        expect(answer.ok, f"{method} {path}: {answer.status_code} {answer.text}")
        return answer.json() if answer.content else None

    def of_company(self, method, path, body=None, key="admin_key"):
        return self.api(method, f"/v1/companies/{self.id}/{path}", body, key)

    def client(self, name, scopes):
        """A new OAuth client: its identifier and its secret."""
        made = self.of_company("POST", "clients", {"name": name, "scopes": scopes})
        return made["client_id"], made["client_secret"]

    def token(self, scopes):
        """A new token of the Super Admin's: its identifier and its secret."""
        made = self.of_company("POST", "tokens", {"name": "A token", "scopes": scopes})
        return made["token_id"], made["token"]

    def verify(self, token, **needs):
        """How `/v1/verify` answers."""
        headers = {"Authorization": f"Bearer {token}"}
        return http.get(f"{self.url}/v1/verify", params=needs, headers=headers, timeout=30)


def clean(**more):
    """The environment without what would configure the program or the proxies of clients."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith("TOKEN_LEDGER_") and not name.lower().endswith("_proxy")
    }
    return kept | more
