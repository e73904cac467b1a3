"""A program for the published API: it knows nothing of what has replaced it but the host."""

from service import equal, expect, http

# What the program asks for, in each form that the published API takes.
SCOPES_IN_PARAMETERS = [
    [("scopes", "employees positions")],
    [("scopes", "employees,positions")],
    [("scopes", "employees, positions")],
    [("scopes", "employees"), ("scopes", "positions")],
    [("scopes[]", "employees"), ("scopes[]", "positions")],
]
SCOPES_IN_JSON = ["employees positions", "employees,positions", ["employees", "positions"]]


class Program:
    """Gets, uses, refreshes and revokes tokens."""

    def __init__(self, host, client_id, client_secret):
        self.host = host
        self.credentials = [
            ("grant_type", "client_credentials"),
            ("client_id", client_id),
            ("client_secret", client_secret),
        ]

    def call(self, path, parameters, place):
        all_parameters = self.credentials + parameters
        sent = {
            "query": {"params": all_parameters},
            "form": {"data": all_parameters},
            "json": {"json": dict(all_parameters)},
        }
        return http.post(f"{self.host}{path}", timeout=30, **sent[place])


def token_of(answer, name):
    """Checks an answer against the published one."""
    equal(answer.status_code, 200, f"the status of {answer.text}")
    equal(answer.headers["Content-Type"], "application/json", "the type of a token")
    equal(answer.headers["Cache-Control"], "no-store", "what caches may do with a token")
    body = answer.json()
    equal(body["name"], name, "the token's name")
    equal(body["expires_in"], 604800, "the token's validity")
    equal(sorted(body["scopes"]), ["employees", "positions"], "the token's scopes")
    expect(body["created_at"].endswith("Z"), f"when the token was created: {body['created_at']}")
    return body["token"]


def is_refused(service, token):
    equal(service.verify(token).status_code, 401, "a token that is over")


def lives_through(service, program, place, scopes):
    """The life of a token, as the program knows it."""
    name = f"Sync by {place}"
    creation = [("name", name), *scopes]
    token = token_of(program.call("/tokens", creation, place), name)
    used = service.verify(token, scope=["employees", "positions"])
    equal(used.status_code, 200, "a token that was created")
    refreshed = token_of(
        program.call("/tokens/refresh_token", [("token", token)], place), name
    )
    is_refused(service, token)
    equal(service.verify(refreshed).status_code, 200, "a token that was refreshed")
    revoked = program.call("/revoke", [("token", refreshed)], place)
    equal((revoked.status_code, revoked.json()), (200, {}), "a revocation")
    is_refused(service, refreshed)


def check(service):
    program = Program(service.url, *service.client("Sync", ["employees", "positions"]))
    for scopes in SCOPES_IN_PARAMETERS:
        lives_through(service, program, "query", scopes)
        lives_through(service, program, "form", scopes)
    for scopes in SCOPES_IN_JSON:
        lives_through(service, program, "json", [("scopes", scopes)])

    stranger = Program(service.url, *service.client("Other", ["employees", "positions"]))
    token = token_of(program.call("/tokens", [("name", "Own")], "query"), "Own")
    for place in ["query", "form", "json"]:
        refused = stranger.call("/revoke", [("token", token)], place)
        equal(refused.status_code, 403, "the revocation of another's token")
        equal(
            refused.json(),
            {
                "error": "unauthorized_client",
                "error_description": "You are not authorized to revoke this token",
            },
            "what is said of another's token",
        )
        nobody = Program(service.url, program.credentials[1][1], "wrong")
        refused = nobody.call("/tokens", [("name", "None")], place)
        equal(refused.status_code, 401, "a client with a wrong secret")
        equal(refused.headers["Content-Type"], "application/problem+json", "its type")
        equal(refused.json()["error_code"], 13401, "its code")
        expect(refused.json()["message"], "its message")
    equal(service.verify(token).status_code, 200, "a token that nobody revoked")
