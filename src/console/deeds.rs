//! What requests ask for, in words: as the auditor reads of those that were refused, and of those
//! that signed somebody in or took records out.

/// What a request to this route asks for, if the route is known.
pub fn words(method: &str, route: &str) -> Option<&'static str> {
    let below = ["/v1/companies/{company_id}", "/console"];
    let path = below.iter().find_map(|above| route.strip_prefix(above)).unwrap_or(route);
    tokens(method, path)
        .or_else(|| credentials(method, path))
        .or_else(|| company(method, path))
        .or_else(|| records(path))
        .or_else(|| account(path))
        .or_else(|| platform(method, path))
}

fn tokens(method: &str, path: &str) -> Option<&'static str> {
    Some(match (method, path) {
        ("GET", "/tokens") => "See the access tokens",
        ("GET", "/tokens/{token_id}" | "/tokens/{token_id}/history") => "See an access token",
        ("POST", "/tokens") | (_, "/tokens/new") => "Create an access token",
        (_, "/tokens/{token_id}/refresh" | "/tokens/refresh_token") => "Refresh an access token",
        ("PATCH", "/tokens/{token_id}") | (_, "/tokens/{token_id}/edit") => {
            "Edit the data accesses of a token"
        }
        ("DELETE", "/tokens/{token_id}") | (_, "/tokens/{token_id}/delete") => {
            "Delete an access token"
        }
        (_, "/tokens/{token_id}/end-grace") => "Stop the old secret of a token",
        (_, "/tokens/{token_id}/evidence") => "Download an evidence pack",
        (_, "/tokens/find") => "Find the token of a secret",
        ("POST", "/tokens/delete-all") => "Delete many tokens",
        (_, "/tokens/delete-all/{operation_id}") => "See how a deletion of many tokens goes",
        (_, "/oauth/token") => "Get a token as a client",
        (_, "/oauth/introspect") => "Introspect a token",
        (_, "/oauth/revoke" | "/revoke") => "Revoke a token as a client",
        _ => return None,
    })
}

fn credentials(method: &str, path: &str) -> Option<&'static str> {
    Some(match (method, path) {
        ("GET", "/clients" | "/clients/{client_id}") => "See the clients",
        ("POST", "/clients") | (_, "/clients/new") => "Create a client",
        (_, "/clients/{client_id}/rotate") => "Rotate the secret of a client",
        ("DELETE", "/clients/{client_id}") | (_, "/clients/{client_id}/delete") => {
            "Delete a client"
        }
        ("GET", "/keys" | "/keys/{key_id}") => "See the API keys",
        ("POST", "/keys") | (_, "/keys/new") => "Create an API key",
        (_, "/keys/{key_id}/refresh") => "Refresh an API key",
        ("DELETE", "/keys/{key_id}") | (_, "/keys/{key_id}/delete") => "Delete an API key",
        (_, "/v1/whoami") => "See whose API key it is",
        (_, "/v1/scopes") => "See the data accesses on offer",
        _ => return None,
    })
}

fn company(method: &str, path: &str) -> Option<&'static str> {
    Some(match (method, path) {
        ("GET", "") => "See the company",
        ("GET", "/members" | "/members/{member_id}") => "See the members",
        ("POST", "/members") | (_, "/members/new") => "Add a member",
        ("PATCH", "/members/{member_id}") | (_, "/members/{member_id}/role") => {
            "Change the role of a member"
        }
        ("DELETE", "/members/{member_id}") | (_, "/members/{member_id}/remove") => {
            "Remove a member"
        }
        (_, "/members/{member_id}/password-link" | "/members/{member_id}/link") => {
            "Make a link to set a password"
        }
        (_, "/people/{person_id}/erase") => "Erase a person’s data",
        ("GET", "/policy") => "See the policy",
        (_, "/policy") => "Change the policy",
        _ => return None,
    })
}

fn records(path: &str) -> Option<&'static str> {
    Some(match path {
        "/audit" | "/audit/events" | "/audit/events/{position}" | "/v1/audit/events" => {
            "See the audit trail"
        }
        "/audit/stream" | "/audit/live" => "Follow the audit trail",
        "/audit/export" => "Export the audit trail",
        "/audit/denials" => "See the denied attempts",
        "/audit/sign-ins" => "See the sign-ins",
        "/audit/exports" => "See the exports",
        "/audit/password-links" => "See the links to set passwords",
        "/actors" => "See who acts in the company",
        "/log" | "/log/checkpoint" | "/log/checkpoints" => "See the checkpoints",
        "/log/key" => "Get the key of the log",
        "/log/proof" | "/log/consistency" => "Get a proof",
        "/log/tile/entries/{tile}" | "/log/tile/{level}/{tile}" => "Read the log",
        _ => return None,
    })
}

fn account(path: &str) -> Option<&'static str> {
    Some(match path {
        "/sign-in" => "Sign in with a password",
        "/sign-in/{link}" => "Sign in with a one-time link",
        "/set-password/{link}" => "Set a password by a one-time link",
        "/sign-out" => "Sign out",
        "/companies" => "Enter a company",
        "/sessions/{session_id}/end" => "End a session",
        "/password" => "Change the own password",
        "/confirm" => "Give the password again",
        "/theme" => "Choose light or dark",
        _ => return None,
    })
}

fn platform(method: &str, path: &str) -> Option<&'static str> {
    Some(match (method, path) {
        ("GET", "/v1/companies" | "/platform/companies") => "See all companies",
        ("POST", "/v1/companies") | (_, "/platform/companies/new") => "Register a company",
        (_, "/oauth-app" | "/platform/companies/{company_id}/oauth-app") => {
            "Turn the OAuth App module on or off"
        }
        ("GET", "/v1/projections" | "/v1/projections/{name}/rebuild" | "/platform/projections") => {
            "See the projections"
        }
        (_, "/v1/projections/{name}/rebuild" | "/platform/projections/{name}/rebuild") => {
            "Rebuild a projection"
        }
        _ => return None,
    })
}
