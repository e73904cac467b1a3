"""What OAuth libraries of Python do: requests-oauthlib and Authlib."""

import os

# Both refuse plain HTTP unless they are told that it is meant.
os.environ["OAUTHLIB_INSECURE_TRANSPORT"] = "1"
os.environ["AUTHLIB_INSECURE_TRANSPORT"] = "1"

from authlib.integrations.requests_client import OAuth2Session as AuthlibSession
from authlib.oauth2.rfc8414 import AuthorizationServerMetadata
from oauthlib.oauth2 import BackendApplicationClient, OAuth2Error
from requests.auth import HTTPBasicAuth
from requests_oauthlib import OAuth2Session
from service import equal, expect, http


def metadata_of(service):
    answer = http.get(f"{service.url}/.well-known/oauth-authorization-server", timeout=30)
    metadata = AuthorizationServerMetadata(answer.json())
    equal(metadata["issuer"], service.url, "the issuer")
    # Authlib validates as RFC 8414 has it: https everywhere, which loopback is excused from, and
    # some response type. RFC 8414 §2 requires the member; where no user is ever sent anywhere, it
    # has nothing to name, and Authlib takes an empty list for a missing one.
    equal(metadata["response_types_supported"], [], "the response types")
    secured = {
        name: value.replace("http://", "https://") if isinstance(value, str) else value
        for name, value in metadata.items()
    }
    secured["response_types_supported"] = ["none"]
    AuthorizationServerMetadata(secured).validate()
    return metadata


def requests_oauthlib(service, metadata):
    client_id, secret = service.client("requests-oauthlib", ["employees", "positions"])
    ways = [
        {"auth": HTTPBasicAuth(client_id, secret)},
        {"client_secret": secret, "include_client_id": True},
    ]
    for way in ways:
        client = BackendApplicationClient(client_id=client_id, scope=["employees"])
        session = OAuth2Session(client=client)
        session.trust_env = False
        token = session.fetch_token(metadata["token_endpoint"], **way)
        equal(token["token_type"], "Bearer", "the token's type")
        equal(token["expires_in"], 604800, "the token's validity")
        used = session.get(f"{service.url}/v1/verify", params={"scope": "employees"})
        equal(used.status_code, 200, "the use of a token")
        beyond = session.get(f"{service.url}/v1/verify", params={"scope": "positions"})
        equal(beyond.status_code, 403, "the use of a token for more")
        url, headers, body = client.prepare_token_revocation_request(
            metadata["revocation_endpoint"].replace("http://", "https://"), token["access_token"]
        )
        url = url.replace("https://", "http://")
        revoked = http.post(url, data=body, headers=headers, auth=HTTPBasicAuth(client_id, secret))
        equal(revoked.status_code, 200, "a revocation")
        equal(session.get(f"{service.url}/v1/verify").status_code, 401, "a revoked token")

    greedy = OAuth2Session(client=BackendApplicationClient(client_id=client_id, scope=["locations"]))
    refuses(greedy, metadata, HTTPBasicAuth(client_id, secret), "invalid_scope")
    stranger = OAuth2Session(client=BackendApplicationClient(client_id=client_id))
    refuses(stranger, metadata, HTTPBasicAuth(client_id, "wrong"), "invalid_client")


def refuses(session, metadata, auth, error):
    session.trust_env = False
    try:
        session.fetch_token(metadata["token_endpoint"], auth=auth)
    except OAuth2Error as raised:
        equal(raised.error, error, "why a token was refused")
    else:
        expect(False, f"a token was to be refused with {error}")


def authlib(service, metadata):
    client_id, secret = service.client("Authlib", ["employees", "positions"])
    for method in metadata["token_endpoint_auth_methods_supported"]:
        session = AuthlibSession(
            client_id, secret, token_endpoint_auth_method=method, scope="employees positions"
        )
        session.trust_env = False
        for name in ["introspection", "revocation"]:
            expect(
                method in metadata[f"{name}_endpoint_auth_methods_supported"],
                f"{name} takes what the token endpoint does",
            )
        token = session.fetch_token(
            metadata["token_endpoint"], grant_type="client_credentials", name=f"By {method}"
        )["access_token"]
        equal(session.get(f"{service.url}/v1/verify").status_code, 200, "the use of a token")
        found = session.introspect_token(metadata["introspection_endpoint"], token=token).json()
        equal(found["active"], True, "introspection of a good token")
        equal(found["scope"], "employees positions", "the scopes that introspection names")
        equal(found["client_id"], client_id, "the client that introspection names")
        equal(found["token_type"], "Bearer", "the type that introspection names")
        equal(found["exp"] - found["iat"], 604800, "the validity that introspection names")
        named = service.of_company("GET", f"tokens/{found['sub']}")
        equal(named["name"], f"By {method}", "the name in the ledger")
        equal(named["created_by"]["type"], "client", "who created it, in the ledger")
        revoked = session.revoke_token(
            metadata["revocation_endpoint"], token=token, token_type_hint="access_token"
        )
        equal(revoked.status_code, 200, "a revocation")
        found = session.introspect_token(metadata["introspection_endpoint"], token=token).json()
        equal(found, {"active": False}, "introspection of a revoked token")
        equal(service.verify(token).status_code, 401, "a revoked token")
        again = session.revoke_token(metadata["revocation_endpoint"], token=token)
        equal(again.status_code, 200, "a second revocation")


def check(service):
    metadata = metadata_of(service)
    requests_oauthlib(service, metadata)
    authlib(service, metadata)
