"""Runs schemathesis over the served OpenAPI document, with all checks on."""

import pathlib
import string
import subprocess
import sys

from service import clean, equal, expect

HERE = pathlib.Path(__file__).resolve().parent
# The longest terms and grace periods that any policy can allow.
FREE_POLICY = {"max_validity_seconds": 31_622_400, "max_grace_seconds": 31_622_400}


def check(service):
    service.of_company("PUT", "policy", FREE_POLICY)
    spare = service.api("POST", "/v1/companies", {"name": "Spare"}, "operator_key")
    client_id, secret = service.client("schemathesis", ["employees", "positions"])
    _, token = service.token(["employees", "positions"])
    known = dict(
        API_KEY=service.company["operator_key"],
        TOKEN=token,
        CLIENT_ID=client_id,
        CLIENT_SECRET=secret,
        COMPANY=service.id,
        SPARE_COMPANY=spare["company_id"],
    )
    config = pathlib.Path(service.folder) / "schemathesis.toml"
    config.write_text(string.Template((HERE / config.name).read_text()).substitute(known, HERE=HERE))
    program = pathlib.Path(sys.executable).with_name("schemathesis")
    command = [program, "--config-file", config, "run"]
    # One worker: Python 3.11's compiler fails now and then where another thread is compiling too.
    command += ["--no-color", "--workers", "1", f"{service.url}/openapi.json"]
    done = subprocess.run(command, env=clean(**known), cwd=HERE, capture_output=True, text=True)
    if done.returncode != 0:
        print(done.stdout[-60_000:], done.stderr[-2_000:])
    expect(done.returncode == 0, "schemathesis finds nothing")
    # What it did is not to have taken away what it did it with.
    equal(service.api("GET", "/v1/whoami", key="operator_key")["name"], "operator", "the key's name")
    print(next(line for line in done.stdout.splitlines() if " generated, " in line).strip())
