"""What a good request needs of the service, and no JSON Schema can say: schemathesis' hooks.

Only requests that are meant to be good are changed; those that are meant to be refused are sent as
they were made. No answer is touched, so that every check sees what the service said.
"""

import datetime
import os
import uuid

import schemathesis

COMPANY = os.environ["COMPANY"]
# A company whose policy and module may change: the other's decide what its tokens may be.
SPARE_COMPANY = os.environ["SPARE_COMPANY"]
RULES = ["set_policy", "set_oauth_app"]
# What the published API needs, wherever it stands.
NEEDED = {
    "published_create": {"grant_type": "client_credentials"},
    "published_refresh": {"token": "tlk_unknown"},
    "published_revoke": {"token": "tlk_unknown"},
}
CLIENTS = ["oauth_token", "oauth_revoke", *NEEDED]


@schemathesis.hook
def before_call(context, case, kwargs):
    operation = case.operation.definition.raw.get("operationId")
    if operation in RULES and case.path_parameters.get("company_id") == COMPANY:
        case.path_parameters["company_id"] = SPARE_COMPANY
    if case.meta is None or not case.meta.generation.mode.is_positive:
        return
    query = case.query = case.query or {}
    body = case.body if isinstance(case.body, dict) else {}
    headers = case.headers or {}
    ask_for_what_there_is(query, headers)
    ask_anew(headers)
    show_something(query, body)
    say_whole_numbers(body)
    if operation in CLIENTS:
        prove_once(query, body)
        say_once(operation, query, body)
    else:
        stay_below_the_platform(body)
        if (case.path_parameters or {}).get("company_id") != COMPANY:
            stay_within_any_policy(body)


def ask_for_what_there_is(query, headers):
    # Only the service makes cursors, and each is good for the list that it is of.
    query.pop("cursor", None)
    # An end before the beginning can't be meant.
    if isinstance(query.get("from"), str) and query["from"] > query.get("to", "~"):
        del query["from"]
    # Nor can a look at what is yet to come.
    if str(query.get("at", "")) > datetime.datetime.now(datetime.UTC).isoformat():
        del query["at"]
    # Positions and sizes are the ledger's: it has this one.
    for name in ["after", "position", "from", "to"]:
        if str(query.get(name)).isdigit():
            query[name] = 1
    if "Last-Event-ID" in headers:
        headers["Last-Event-ID"] = "1"


def ask_anew(headers):
    # A change may not hang on a version that nobody knows, and a key is for one request.
    if "If-Match" in headers:
        headers["If-Match"] = "*"
    headers.pop("If-None-Match", None)
    if "Idempotency-Key" in headers:
        headers["Idempotency-Key"] = str(uuid.uuid4())


def show_something(query, body):
    # What is invisible beyond U+FFFF is out of the patterns' reach.
    for place in [query, body]:
        for name in ["name", "reason"]:
            text = place.get(name)
            if isinstance(text, str):
                seen = "".join(c for c in text if not is_invisible_beyond(c))
                if seen != text:
                    place[name] = seen + "a"
        text = place.get("email")
        if isinstance(text, str):
            place["email"] = "".join("a" if is_invisible_beyond(c) else c for c in text)


def is_invisible_beyond(c):
    return (
        "\U0001bca0" <= c <= "\U0001bca3"
        or "\U0001d173" <= c <= "\U0001d17a"
        or "\U000e0000" <= c <= "\U000e0fff"
    )


def say_whole_numbers(body):
    # JSON Schema counts 60.0 among the integers, which is not how programs write them.
    for name, value in body.items():
        if isinstance(value, float) and value.is_integer():
            body[name] = int(value)


def prove_once(query, body):
    # The client comes by Basic, and so not by parameters too (RFC 6749 §2.3).
    for place in [query, body]:
        place.pop("client_id", None)
        place.pop("client_secret", None)
        # It may ask for no more than is its own.
        for name in ["scope", "scopes"]:
            if isinstance(place.get(name), list):
                place[name] = ["employees"]
            elif isinstance(place.get(name), str):
                place[name] = "employees"


def say_once(operation, query, body):
    # A form has no null: what is nothing is left out.
    for name in [name for name, value in body.items() if value is None]:
        del body[name]
    # What stands in the query does not stand in the body too.
    for name in list(query):
        if name in body:
            del query[name]
    for name, value in NEEDED.get(operation, {}).items():
        if not query.get(name) and not body.get(name):
            body.pop(name, None)
            query[name] = value


def stay_within_any_policy(body):
    # What this company's policy is, another request has just decided.
    for name in ["grace_period_seconds", "expires_in_seconds"]:
        body.pop(name, None)


def stay_below_the_platform(body):
    # The operators' power is for the platform's own keys and members.
    if body.get("role") == "operator":
        body["role"] = "auditor"
    scopes = body.get("scopes")
    if isinstance(scopes, list) and "ledger.operator" in scopes:
        body["scopes"] = ["ledger.audit"]
