//! The admin API, as its users see it.

use crate::support::{Answered, Client, START, TestApp, at};
use axum::http::Method;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use futures::future::join_all;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::future::IntoFuture;
use std::sync::Arc;
use std::time::Duration;
use token_ledger::http::access::Access;
use token_ledger::http::routes;
use token_ledger_domain::{CompanyId, Name, Power, TokenId};
use token_ledger_event_store::clock::SetClock;
use token_ledger_projections::read_models::Operation;

const DAY: i64 = 86_400;
const WEEK: i64 = 7 * DAY;
const NO_ID: &str = "01890000-0000-7000-8000-000000000000";

fn text(value: &Value) -> &str {
    value.as_str().expect("a text")
}

fn version(answer: &Answered) -> String {
    let etag = format!("\"{}\"", answer.body["version"]);
    assert_eq!(answer.header("etag"), etag);
    etag
}

mod tokens {
    use super::*;

    #[tokio::test]
    async fn a_created_token_is_shown_with_its_secret_once() {
        let app = TestApp::new().await;
        let body = json!({"name": "Payroll 🔑", "scopes": ["positions", "employees"],
            "expires_in_seconds": 3600, "reason": "for the sync"});
        let created = app.admin.post(&app.path("/tokens")).json(&body).await.expect(201);
        let token = &created.body;
        assert_eq!(token["company_id"], app.company.to_string());
        assert_eq!(token["name"], "Payroll 🔑");
        assert_eq!(token["scopes"], json!(["employees", "positions"]));
        assert_eq!(token["status"], "active");
        assert_eq!(token["created_at"], at(0).to_string());
        assert_eq!(token["expires_at"], at(3600).to_string());
        assert_eq!(token["created_by"]["type"], "key");
        assert_eq!(token["created_by"]["name"], "ledger.admin");
        assert_eq!(token["version"], 1);
        for absent in [
            "refreshed_at",
            "previous_secret_expires_at",
            "deleted_at",
            "last_used_at",
            "last_used_from",
        ] {
            assert_eq!(token.get(absent), Some(&Value::Null), "{absent}");
        }
        let secret = text(&token["token"]);
        assert!(token_ledger_domain::secret::is_well_formed(secret));
        assert_eq!(token["secret_hint"], format!("tlk_…{}", &secret[secret.len() - 4..]));
        assert!(app.is_active(&token["token"]));
        assert_eq!(created.header("location"), app.token_path(token));
        assert_eq!(created.header("cache-control"), "no-store");

        let read = app.auditor.get(created.header("location")).await.expect(200);
        assert_eq!(version(&read), version(&created));
        let mut expected = token.clone();
        expected.as_object_mut().expect("an object").remove("token");
        for used in ["last_used_at", "last_used_from"] {
            expected[used] = read.body[used].clone();
        }
        assert_eq!(read.body, expected);
    }

    #[tokio::test]
    async fn a_token_lasts_a_week_unless_asked_otherwise() {
        let app = TestApp::new().await;
        let token = app.token("default").await;
        assert_eq!(token["expires_at"], at(WEEK).to_string());
        app.after(WEEK - 1);
        assert!(app.is_active(&token["token"]));
        app.after(WEEK);
        assert!(!app.is_active(&token["token"]));
        let read = app.auditor.get(&app.token_path(&token)).await.expect(200);
        assert_eq!(read.body["status"], "expired");
    }

    #[tokio::test]
    async fn unacceptable_fields_are_all_named() {
        let app = TestApp::new().await;
        let scopes = json!(["positions"]);
        let too_long = "x".repeat(101);
        for (body, fields) in [
            (json!({}), &["name", "scopes"][..]),
            (json!({"name": "", "scopes": []}), &["name", "scopes"]),
            (json!({"name": " ", "scopes": scopes}), &["name"]),
            (json!({"name": too_long, "scopes": scopes}), &["name"]),
            (json!({"name": "a\u{0}b", "scopes": scopes}), &["name"]),
            (json!({"name": "a\nb", "scopes": scopes}), &["name"]),
            (json!({"name": "a\u{85}b", "scopes": scopes}), &["name"]),
            (json!({"name": 7, "scopes": scopes}), &["name"]),
            (json!({"name": null, "scopes": scopes}), &["name"]),
            (json!({"name": "a", "scopes": ["salaries"]}), &["scopes"]),
            (json!({"name": "a", "scopes": ["positions", "positions"]}), &["scopes"]),
            (json!({"name": "a", "scopes": [""]}), &["scopes"]),
            (json!({"name": "a", "scopes": ["positions employees"]}), &["scopes"]),
            (json!({"name": "a", "scopes": "positions"}), &["scopes"]),
            (json!({"name": "a", "scopes": [7]}), &["scopes[0]"]),
            (json!({"name": "a", "scopes": ["ledger.admin"]}), &["scopes"]),
            (json!({"name": "a", "scopes": scopes, "reason": "x".repeat(501)}), &["reason"]),
            (json!({"name": "a", "scopes": scopes, "reason": "a\u{1b}b"}), &["reason"]),
            (json!({"name": "a", "scopes": scopes, "reason": "a\u{202e}b"}), &["reason"]),
            (json!({"name": "", "scopes": [], "reason": "\u{0}"}), &["name", "scopes", "reason"]),
            (
                json!({"name": "a", "scopes": scopes, "expires_in_seconds": "60"}),
                &["expires_in_seconds"],
            ),
            (
                json!({"name": "a", "scopes": scopes, "expires_in_seconds": 60.5}),
                &["expires_in_seconds"],
            ),
            (
                json!({"name": "a", "scopes": scopes, "expires_in_seconds": 1e30}),
                &["expires_in_seconds"],
            ),
            (json!({"name": "a", "scopes": scopes, "colour": "red"}), &["colour"]),
            (json!(["a"]), &["body"]),
            (json!("a"), &["body"]),
        ] {
            let answer = app.admin.post(&app.path("/tokens")).json(&body).await;
            eprintln!("{body}");
            if fields == ["body"] {
                answer.expect(400);
            } else {
                answer.problem(400, "invalid-input").invalid(fields);
            }
        }
        assert_eq!(app.count_events("token.created").await, 0);
    }

    #[tokio::test]
    async fn terms_and_grace_periods_keep_to_the_policy() {
        let app = TestApp::new().await;
        for seconds in [59, 0, -1, i64::MIN, WEEK + 1, i64::MAX] {
            let body = json!({"name": "a", "scopes": ["positions"], "expires_in_seconds": seconds});
            let answer = app.admin.post(&app.path("/tokens")).json(&body).await;
            answer.problem(400, "policy-violation").invalid(&["expires_in_seconds"]);
        }
        let token = app.token("kept").await;
        let refresh = format!("{}/refresh", app.token_path(&token));
        for seconds in [-1, DAY + 1, i64::MAX] {
            let body = json!({"grace_period_seconds": seconds});
            let answer = app.admin.post(&refresh).json(&body).await;
            answer.problem(400, "policy-violation").invalid(&["grace_period_seconds"]);
        }
        assert!(app.is_active(&token["token"]));
    }

    #[tokio::test]
    async fn a_body_must_be_json_and_small() {
        let app = TestApp::new().await;
        let path = app.path("/tokens");
        for broken in ["{", "[1,", "{\"name\":\"a\"} x", "{'name':'a'}", "\u{feff}{}", "{} {}"] {
            let answer = app.admin.post(&path).text("application/json", broken).await;
            answer.problem(400, "malformed-body");
        }
        for content_type in ["text/plain", "application/x-www-form-urlencoded", ""] {
            let answer = app.admin.post(&path).text(content_type, "{}").await;
            answer.problem(415, "unsupported-media-type");
        }
        let large = json!({"name": "x".repeat(70_000), "scopes": []});
        app.admin.post(&path).json(&large).await.problem(413, "body-too-large");
        let deep = format!("{}{}", "[".repeat(10_000), "]".repeat(10_000));
        app.admin.post(&path).text("application/json", &deep).await.expect(400);
    }

    #[tokio::test]
    async fn unknown_parameters_and_malformed_identifiers_are_refused() {
        let app = TestApp::new().await;
        let token = app.token("a").await;
        let path = app.token_path(&token);
        app.auditor.get(&format!("{path}?colour=red")).await.invalid(&["colour"]);
        app.admin.post(&app.path("/tokens?name=a")).json(&json!({})).await.invalid(&["name"]);
        app.admin.delete(&format!("{path}?force=1")).await.invalid(&["force"]);
        app.auditor.get(&app.path("/tokens?limit=1&limit=2")).await.expect(400);
        for id in ["x", "1", "..%2f", "01890000-0000-7000-8000-00000000000g", "%00"] {
            let answer = app.auditor.get(&app.path(&format!("/tokens/{id}"))).await;
            answer.problem(400, "invalid-input").invalid(&["token_id"]);
            let answer = app.auditor.get(&format!("/v1/companies/{id}/tokens")).await;
            answer.problem(400, "invalid-input").invalid(&["company_id"]);
        }
        let path = app.path(&format!("/tokens/{NO_ID}"));
        app.auditor.get(&path).await.problem(404, "not-found");
        app.admin.delete(&path).await.problem(404, "not-found");
        let body = json!({"scopes": ["positions"]});
        app.admin.patch(&path).json(&body).await.problem(404, "not-found");
        app.admin.post(&format!("{path}/refresh")).await.problem(404, "not-found");
        app.admin.post(&format!("{path}/end-grace")).await.problem(404, "not-found");
        app.admin.put(&path).await.problem(405, "method-not-allowed");
    }

    #[tokio::test]
    async fn a_refreshed_secret_stops_at_once_or_with_its_grace_period() {
        let app = TestApp::new().await;
        let first = app.token("a").await;
        let path = app.token_path(&first);
        let refresh = format!("{path}/refresh");
        app.after(100);
        let nothing = json!({"grace_period_seconds": null, "expires_in_seconds": null});
        let second = app.admin.post(&refresh).json(&nothing).await.expect(200);
        assert!(!app.is_active(&first["token"]));
        assert!(app.is_active(&second.body["token"]));
        assert_eq!(second.body["refreshed_at"], at(100).to_string());
        assert_eq!(second.body["expires_at"], at(100 + WEEK).to_string());
        assert_eq!(second.body["previous_secret_expires_at"], Value::Null);
        assert_eq!(version(&second), "\"2\"");

        let body = json!({"grace_period_seconds": 600, "expires_in_seconds": 3600});
        let third = app.admin.post(&refresh).json(&body).await.expect(200);
        assert_eq!(third.body["previous_secret_expires_at"], at(700).to_string());
        assert_eq!(third.body["expires_at"], at(3700).to_string());
        app.after(699);
        assert!(app.is_active(&second.body["token"]) && app.is_active(&third.body["token"]));
        app.after(700);
        assert!(!app.is_active(&second.body["token"]) && app.is_active(&third.body["token"]));
        let read = app.auditor.get(&path).await.expect(200);
        assert_eq!(read.body["previous_secret_expires_at"], Value::Null);

        // Of two refreshes with a grace period only the last old secret lives.
        let fourth = app.admin.post(&refresh).json(&body).await.expect(200);
        let fifth = app.admin.post(&refresh).json(&body).await.expect(200);
        assert!(!app.is_active(&third.body["token"]));
        assert!(app.is_active(&fourth.body["token"]) && app.is_active(&fifth.body["token"]));

        let ended = app.admin.post(&format!("{path}/end-grace")).await.expect(200);
        assert_eq!(ended.body["previous_secret_expires_at"], Value::Null);
        assert_eq!(ended.body.get("token"), None);
        assert!(!app.is_active(&fourth.body["token"]) && app.is_active(&fifth.body["token"]));
        let again = app.admin.post(&format!("{path}/end-grace")).await.expect(200);
        assert_eq!(version(&again), version(&ended), "nothing was left to end");
    }

    #[tokio::test]
    async fn an_expired_token_can_be_refreshed_for_a_full_term() {
        let app = TestApp::new().await;
        let token = app.token("a").await;
        app.after(2 * WEEK);
        let body = json!({"grace_period_seconds": 600});
        let refreshed =
            app.admin.post(&format!("{}/refresh", app.token_path(&token))).json(&body).await;
        let refreshed = refreshed.expect(200);
        assert_eq!(refreshed.body["status"], "active");
        assert_eq!(refreshed.body["expires_at"], at(3 * WEEK).to_string());
        assert_eq!(refreshed.body["previous_secret_expires_at"], Value::Null);
        assert!(!app.is_active(&token["token"]));
        assert!(app.is_active(&refreshed.body["token"]));
        assert_eq!(app.count_events("token.expired").await, 1);
    }

    #[tokio::test]
    async fn scopes_are_replaced_as_a_whole() {
        let app = TestApp::new().await;
        let token = app.token("a").await;
        let path = app.token_path(&token);
        let body = json!({"scopes": ["locations", "employees"], "reason": "narrower"});
        let changed = app.admin.patch(&path).json(&body).await.expect(200);
        assert_eq!(changed.body["scopes"], json!(["employees", "locations"]));
        assert_eq!(version(&changed), "\"2\"");
        assert_eq!(changed.body.get("token"), None);
        let same = app.admin.patch(&path).json(&body).await.expect(200);
        assert_eq!(version(&same), "\"2\"", "no change is no event");
        for (body, fields) in [
            (json!({}), &["scopes"][..]),
            (json!({"scopes": []}), &["scopes"]),
            (json!({"scopes": ["locations", "locations"]}), &["scopes"]),
            (json!({"scopes": ["salaries"], "reason": "\u{7}"}), &["scopes", "reason"]),
            (json!({"scopes": ["locations"], "name": "b"}), &["name"]),
        ] {
            app.admin.patch(&path).json(&body).await.invalid(fields);
        }
        assert_eq!(app.count_events("token.scopes_changed").await, 1);
    }

    #[tokio::test]
    async fn a_deleted_token_can_be_read_and_nothing_else() {
        let app = TestApp::new().await;
        let token = app.token("a").await;
        let path = app.token_path(&token);
        app.after(10);
        let deleted = app.admin.delete(&format!("{path}?reason=leaked%20by%20mail")).await;
        assert_eq!(deleted.expect(204).text, "");
        assert!(!app.is_active(&token["token"]));
        let read = app.auditor.get(&path).await.expect(200);
        assert_eq!(read.body["status"], "deleted");
        assert_eq!(read.body["deleted_at"], at(10).to_string());
        app.admin.delete(&path).await.problem(409, "token-deleted");
        app.admin.post(&format!("{path}/refresh")).await.problem(409, "token-deleted");
        app.admin.post(&format!("{path}/end-grace")).await.problem(409, "token-deleted");
        let body = json!({"scopes": ["employees"]});
        app.admin.patch(&path).json(&body).await.problem(409, "token-deleted");
        assert_eq!(app.auditor.get(&path).await.expect(200).body, read.body);

        let events = app.app.store().read(app.company, 0, 1000).await.unwrap();
        let position = events.last().expect("the deletion").position;
        let private = app.app.store().private_parts(app.company, &[position]).await.unwrap();
        let private = private[0].as_ref().expect("a private part").part();
        assert_eq!(private.reason.as_deref(), Some("leaked by mail"));
        assert_eq!(private.ip.as_deref(), Some("192.0.2.7"));
        assert_eq!(private.user_agent.as_deref(), Some("tests/1"));
        assert_eq!(private.actor_name.as_deref(), Some("ledger.admin"));

        let other = app.token_path(&app.token("b").await);
        let reason = "x".repeat(501);
        app.admin.delete(&format!("{other}?reason={reason}")).await.invalid(&["reason"]);
        app.auditor.get(&other).await.expect(200);
    }

    #[tokio::test]
    async fn a_stale_version_changes_nothing() {
        let app = TestApp::new().await;
        let token = app.token("a").await;
        let path = app.token_path(&token);
        let body = json!({"scopes": ["employees"]});
        let fresh = app.admin.patch(&path).header("if-match", "\"1\"").json(&body).await;
        assert_eq!(version(&fresh.expect(200)), "\"2\"");
        let refresh = format!("{path}/refresh");
        let end_grace = format!("{path}/end-grace");
        let other = json!({"scopes": ["locations"]});
        for stale in [
            app.admin.patch(&path).json(&other),
            app.admin.post(&refresh),
            app.admin.post(&end_grace),
            app.admin.delete(&path),
        ] {
            stale.header("if-match", "\"1\"").await.problem(412, "version-mismatch");
        }
        for malformed in ["2", "\"2", "\"1\" \"2\"", "*, \"2\"", ""] {
            let answer = app.admin.delete(&path).header("if-match", malformed).await;
            answer.problem(400, "invalid-input").invalid(&["If-Match"]);
        }
        for never in ["W/\"2\"", "\"x\"", "\"02\"", "\"1\", \"3\""] {
            let answer = app.admin.delete(&path).header("if-match", never).await;
            answer.problem(412, "version-mismatch");
        }
        assert_eq!(app.auditor.get(&path).await.expect(200).body["version"], 2);
        app.admin.post(&refresh).header("if-match", "*").await.expect(200);
        let one_of = "W/\"9\", \"3\", \"1\"";
        app.admin.post(&refresh).header("if-match", one_of).await.expect(200);
        let delete = app.admin.delete(&path).header("if-match", "\"3\"");
        delete.header("if-match", "\"4\"").await.expect(204);
    }

    #[tokio::test]
    async fn a_token_is_read_as_it_was() {
        let app = TestApp::new().await;
        app.after(10);
        let token = app.token("a").await;
        let path = app.token_path(&token);
        app.after(20);
        let refresh = format!("{path}/refresh");
        let body = json!({"grace_period_seconds": 5});
        let refreshed = app.admin.post(&refresh).json(&body).await.expect(200);
        app.after(30);
        let body = json!({"scopes": ["employees"]});
        app.admin.patch(&path).json(&body).await.expect(200);
        app.after(40);
        app.admin.delete(&path).await.expect(204);
        app.after(2 * WEEK);
        let then =
            async |seconds: i64| app.auditor.get(&format!("{path}?at={}", at(seconds))).await;
        then(9).await.problem(404, "not-found");
        let created = then(10).await.expect(200);
        assert_eq!(version(&created), "\"1\"");
        assert_eq!(created.body["secret_hint"], token["secret_hint"]);
        assert_eq!(created.body["created_by"], token["created_by"]);
        assert_eq!(created.body["last_used_at"], Value::Null);
        assert_eq!(then(19).await.body["refreshed_at"], Value::Null);
        let in_grace = then(20).await.expect(200);
        assert_eq!(in_grace.body["secret_hint"], refreshed.body["secret_hint"]);
        assert_eq!(in_grace.body["previous_secret_expires_at"], at(25).to_string());
        assert_eq!(then(25).await.body["previous_secret_expires_at"], Value::Null);
        assert_eq!(then(29).await.body["scopes"], json!(["positions"]));
        assert_eq!(then(30).await.body["scopes"], json!(["employees"]));
        assert_eq!(then(39).await.body["status"], "active");
        assert_eq!(then(40).await.body["status"], "deleted");
        let now = then(2 * WEEK).await.expect(200);
        assert_eq!(now.body, app.auditor.get(&path).await.body);

        // In another zone, with the offset's sign encoded.
        let zoned = app.auditor.get(&format!("{path}?at=2026-03-01T11:00:30%2B02:00")).await;
        assert_eq!(zoned.expect(200).body["version"], 3);
        app.auditor.get(&format!("{path}?at=0000-01-01T00:00:00Z")).await.expect(404);
        for wrong in [
            "9999-12-31T23:59:59Z",
            &at(2 * WEEK + 1).to_string(),
            "10000-01-01T00:00:00Z",
            "2026-02-30T00:00:00Z",
            "2026-03-01",
            "yesterday",
            "",
        ] {
            let answer = app.auditor.get(&format!("{path}?at={wrong}")).await;
            answer.problem(400, "invalid-input").invalid(&["at"]);
        }
    }

    #[tokio::test]
    async fn expiry_is_judged_then_whenever_it_was_recorded() {
        let app = TestApp::new().await;
        let token = app.token("a").await;
        let path = app.token_path(&token);
        app.after(2 * WEEK);
        app.admin.post(&format!("{path}/refresh")).await.expect(200);
        for (seconds, status) in [
            (WEEK - 1, "active"),
            (WEEK, "expired"),
            (2 * WEEK - 1, "expired"),
            (2 * WEEK, "active"),
        ] {
            let read = app.auditor.get(&format!("{path}?at={}", at(seconds))).await.expect(200);
            assert_eq!(read.body["status"], status, "after {seconds} s");
        }
    }

    #[tokio::test]
    async fn a_name_can_be_seen() {
        let app = TestApp::new().await;
        let before = app.app.head(app.company).await.expect("a head");
        for name in ["\u{200B}", "\u{2060}\u{FEFF} \u{AD}", "\u{115F}", "\u{3164}"] {
            for (path, more) in [
                ("/tokens", json!({"scopes": ["positions"]})),
                ("/clients", json!({"scopes": ["positions"]})),
                ("/keys", json!({"scopes": ["ledger.audit"]})),
                ("/members", json!({"email": "ada@example.com", "role": "auditor"})),
            ] {
                let mut body = more;
                body["name"] = json!(name);
                let refused = app.admin.post(&app.path(path)).json(&body).await.invalid(&["name"]);
                assert!(refused.text.contains("can be seen"), "{}", refused.text);
            }
            let company = app.operator.post("/v1/companies").json(&json!({"name": name}));
            company.await.invalid(&["name"]);
        }
        assert_eq!(app.app.head(app.company).await.expect("a head"), before);
        app.token("\u{200B}seen").await;
    }

    #[tokio::test]
    async fn a_reported_secret_leads_to_its_token() {
        let app = TestApp::new().await;
        let token = app.token("a").await;
        let path = app.token_path(&token);
        let refreshed = app.admin.post(&format!("{path}/refresh")).await.expect(200);
        app.admin.delete(&path).await.expect(204);
        let find = app.path("/tokens/find");
        for secret in [&token["token"], &refreshed.body["token"]] {
            let found = app.admin.post(&find).json(&json!({"token": secret})).await.expect(200);
            assert_eq!(found.body["token_id"], token["token_id"]);
            assert_eq!(found.body["status"], "deleted");
            assert_eq!(version(&found), "\"3\"");
            assert!(!found.text.contains(text(secret)));
        }
        let unknown = token_ledger_domain::Secret::from_random("tlk_", [7; 32]);
        let mut typo = text(&token["token"]).to_owned();
        typo.pop();
        for secret in [unknown.reveal(), &typo, "", "x", "🔑"] {
            let answer = app.admin.post(&find).json(&json!({"token": secret})).await;
            let answer = answer.problem(404, "not-found");
            assert_eq!(answer.text.contains("mistyped"), secret != unknown.reveal());
        }
        let copied = format!(" {}\r\n", text(&token["token"]));
        let found = app.admin.post(&find).json(&json!({"token": copied})).await.expect(200);
        assert_eq!(found.body["token_id"], token["token_id"]);
        app.admin.post(&find).json(&json!({})).await.invalid(&["token"]);
        let (_, stranger) = app.another_company("Other").await;
        let body = json!({"token": token["token"]});
        stranger.post(&find).json(&body).await.problem(404, "not-found");
        // It is reading, whichever way it is asked.
        let found = app.auditor.post(&find).json(&body).await.expect(200);
        assert_eq!(found.body["token_id"], token["token_id"]);
        app.resource_server.post(&find).json(&body).await.problem(403, "forbidden");

        let once = |secret: &Value| {
            let body = json!({"token": secret});
            app.admin.post(&find).header("idempotency-key", "k").json(&body)
        };
        assert_eq!(once(&token["token"]).await.expect(200).header("idempotent-replay"), "");
        let again = once(&token["token"]).await.expect(200);
        assert_eq!(again.header("idempotent-replay"), "true");
        assert_eq!(again.body["token_id"], token["token_id"]);
        once(&refreshed.body["token"]).await.problem(422, "idempotency-key-reused");

        // A repeat answers as the first did, whatever happened since.
        let other = app.token("b").await;
        let body = json!({"token": other["token"]});
        let once = || app.admin.post(&find).header("idempotency-key", "other").json(&body);
        let first = once().await.expect(200);
        app.after(1);
        app.admin.delete(&app.token_path(&other)).await.expect(204);
        let again = once().await.expect(200);
        assert_eq!((version(&again), &again.body), (version(&first), &first.body));
        assert_eq!(again.body["status"], "active");
    }

    #[tokio::test]
    async fn changes_at_once_are_applied_one_after_the_other() {
        let app = TestApp::new().await;
        let token = app.token("a").await;
        let path = app.token_path(&token);
        let scopes = ["employees", "locations", "departments", "team_members"];
        let patches = (0..20).map(|number| {
            let body = json!({"scopes": [scopes[number % 4], "positions"]});
            app.admin.patch(&path).json(&body).into_future()
        });
        let deletions = (0..3).map(|_| app.admin.delete(&path).into_future());
        let answers = join_all(patches.chain(deletions)).await;
        let deleted = answers.iter().filter(|answer| answer.status == 204).count();
        assert_eq!(deleted, 1, "one deletion, the others come too late");
        let mut versions = BTreeSet::new();
        for answer in answers.into_iter().filter(|answer| answer.status != 204) {
            if answer.status == 200 {
                versions.insert(answer.body["version"].as_u64());
            } else {
                answer.problem(409, "token-deleted");
            }
        }
        let changes = app.count_events("token.scopes_changed").await as u64;
        let read = app.auditor.get(&path).await.expect(200);
        assert_eq!(read.body["version"], changes + 2, "nothing was lost");
        assert_eq!(read.body["status"], "deleted");
        assert!(versions.iter().all(|version| version.is_some_and(|v| v <= changes + 1)));
    }

    #[tokio::test]
    async fn of_many_that_name_one_version_one_changes_it() {
        let app = TestApp::new().await;
        let path = app.token_path(&app.token("a").await);
        let scopes = ["employees", "locations", "departments", "team_members"];
        let answers = join_all(scopes.map(|scope| {
            let body = json!({"scopes": [scope]});
            app.admin.patch(&path).header("if-match", "\"1\"").json(&body).into_future()
        }))
        .await;
        assert_eq!(answers.iter().filter(|answer| answer.status == 200).count(), 1);
        assert_eq!(answers.iter().filter(|answer| answer.status == 412).count(), 3);
        assert_eq!(app.count_events("token.scopes_changed").await, 1);
    }

    #[tokio::test]
    async fn while_the_module_is_off_nothing_is_created_or_refreshed() {
        let app = TestApp::new().await;
        let token = app.token("a").await;
        let path = app.token_path(&token);
        let module = app.path("/oauth-app");
        let off = app.operator.put(&module).json(&json!({"enabled": false})).await.expect(200);
        assert_eq!(off.body["oauth_app_enabled"], false);
        assert!(!app.is_active(&token["token"]));
        let body = json!({"name": "b", "scopes": ["positions"]});
        let answer = app.admin.post(&app.path("/tokens")).json(&body).await;
        answer.problem(409, "oauth-app-disabled");
        app.admin.post(&format!("{path}/refresh")).await.problem(409, "oauth-app-disabled");
        app.auditor.get(&path).await.expect(200);
        let body = json!({"scopes": ["employees"]});
        app.admin.patch(&path).json(&body).await.expect(200);
        app.operator.put(&module).json(&json!({"enabled": true})).await.expect(200);
        assert!(app.is_active(&token["token"]));
        app.token("b").await;
        app.admin.delete(&path).await.expect(204);
    }
}

mod lists {
    use super::*;

    #[tokio::test]
    async fn a_name_is_found_by_itself_whatever_the_database_knows_of_capitals() {
        let app = TestApp::new().await;
        for name in ["ΣΊΣΥΦΟΣ", "İstanbul", "Ⅷ", "ÄLPS", "ß", "ﬃ"] {
            let body = json!({"name": name, "scopes": ["positions"]});
            app.admin.post(&app.path("/tokens")).json(&body).await.expect(201);
            let q = utf8_percent_encode(name, NON_ALPHANUMERIC);
            let found = app.admin.get(&app.path(&format!("/tokens?q={q}"))).await.expect(200);
            assert_eq!(found.names(), [name]);
        }
    }

    #[tokio::test]
    async fn filters_narrow_a_list() {
        let app = TestApp::new().await;
        let list = async |query: &str| {
            app.auditor.get(&app.path(&format!("/tokens{query}"))).await.expect(200)
        };
        let make = async |name: &str, scope: &str, seconds: i64| {
            let body = json!({"name": name, "scopes": [scope], "expires_in_seconds": seconds});
            app.admin.post(&app.path("/tokens")).json(&body).await.expect(201).body
        };
        make("Short", "positions", 60).await;
        app.after(1);
        make("Long payroll", "employees", 3600).await;
        app.after(2);
        let gone = make("Gone Payroll", "employees", 3600).await;
        app.admin.delete(&app.token_path(&gone)).await.expect(204);
        app.after(3);
        let body = json!({"name": "Operators'", "scopes": ["positions"]});
        let by_operator = app.operator.post(&app.path("/tokens")).json(&body).await.expect(201);
        app.after(100);

        assert_eq!(list("").await.names(), ["Operators'", "Long payroll", "Short"]);
        assert_eq!(list("?status=active").await.names(), ["Operators'", "Long payroll"]);
        assert_eq!(list("?status=expired").await.names(), ["Short"]);
        assert_eq!(list("?status=deleted").await.names(), ["Gone Payroll"]);
        let both = list("?status=deleted&status=expired&status=deleted").await;
        assert_eq!(both.names(), ["Gone Payroll", "Short"]);
        assert_eq!(list("?scope=employees").await.names(), ["Long payroll"]);
        assert_eq!(list("?scope=employee").await.names(), Vec::<&str>::new());
        assert_eq!(list("?q=PAYROLL").await.names(), ["Long payroll"]);
        assert_eq!(list("?q=%25").await.names(), Vec::<&str>::new());
        let creator = text(&by_operator.body["created_by"]["id"]);
        assert_eq!(list(&format!("?created_by={creator}")).await.names(), ["Operators'"]);
        let before = format!("?expires_before={}", at(60));
        assert_eq!(list(&before).await.names(), Vec::<&str>::new());
        let before = format!("?expires_before={}", at(61));
        assert_eq!(list(&before).await.names(), ["Short"]);
        assert_eq!(list("?expires_before=9999-12-31T23:59:59Z").await.names().len(), 3);
        assert_eq!(list("?expires_before=0000-01-01T00:00:00Z").await.names().len(), 0);
        assert_eq!(list("").await.body["items"][2]["status"], "expired");
        assert_eq!(list("").await.body["next_cursor"], Value::Null);
    }

    #[tokio::test]
    async fn every_order_pages_through_all_tokens_once() {
        let app = TestApp::new().await;
        let mut tokens = Vec::new();
        for number in 0..7_i64 {
            // Some share their time, some their name.
            app.after(number / 3);
            let name = format!("n{}", (number * 5) % 4);
            let body = json!({"name": name, "scopes": ["positions"],
                "expires_in_seconds": 3600 - 60 * (number % 2)});
            tokens.push(app.admin.post(&app.path("/tokens")).json(&body).await.expect(201).body);
        }
        app.after(200);
        app.nobody.with(text(&tokens[3]["token"])).get("/v1/verify").await.expect(200);
        app.app.flush_uses().await;
        for column in ["created_at", "expires_at", "name", "last_used_at"] {
            let mut expected: Vec<_> = tokens
                .iter()
                .map(|token| {
                    let used = token["token_id"] == tokens[3]["token_id"];
                    let value = if column == "last_used_at" {
                        used.to_string()
                    } else {
                        text(&token[column]).to_owned()
                    };
                    (value, text(&token["token_id"]).to_owned())
                })
                .collect();
            expected.sort();
            for sign in ["", "-"] {
                let query = format!("/tokens?sort={sign}{column}&limit=2");
                let ids = pages(&app.auditor, &app.path(&query)).await;
                assert!(ids.iter().eq(expected.iter().map(|(_, id)| id)), "{sign}{column}");
                expected.reverse();
            }
        }
    }

    /// The identifiers on all pages of a list.
    async fn pages(client: &Client, path: &str) -> Vec<String> {
        let mut ids = Vec::new();
        let mut cursor = String::new();
        loop {
            let page = client.get(&format!("{path}{cursor}")).await.expect(200);
            for item in page.body["items"].as_array().expect("items") {
                ids.push(text(&item["token_id"]).to_owned());
            }
            match page.body["next_cursor"].as_str() {
                None => return ids,
                Some(next) => cursor = format!("&cursor={next}"),
            }
        }
    }

    #[tokio::test]
    async fn a_list_is_stable_while_tokens_come_and_go() {
        let app = TestApp::new().await;
        let mut tokens = Vec::new();
        for number in 0..6 {
            app.after(number);
            tokens.push(app.token(&format!("t{number}")).await);
        }
        let path = app.path("/tokens?limit=2");
        let first = app.auditor.get(&path).await.expect(200);
        assert_eq!(first.names(), ["t5", "t4"]);
        app.after(10);
        app.token("new").await;
        // The very token that the cursor stands at goes, and one behind it.
        app.admin.delete(&app.token_path(&tokens[4])).await.expect(204);
        app.admin.delete(&app.token_path(&tokens[2])).await.expect(204);
        let cursor = text(&first.body["next_cursor"]);
        let second = app.auditor.get(&format!("{path}&cursor={cursor}")).await.expect(200);
        assert_eq!(second.names(), ["t3", "t1"]);
        let cursor = text(&second.body["next_cursor"]);
        let third = app.auditor.get(&format!("{path}&cursor={cursor}")).await.expect(200);
        assert_eq!(third.names(), ["t0"]);
        assert_eq!(third.body["next_cursor"], Value::Null);
    }

    #[tokio::test]
    async fn unacceptable_parameters_are_all_named() {
        let app = TestApp::new().await;
        for (query, fields) in [
            ("limit=0", &["limit"][..]),
            ("limit=1001", &["limit"]),
            ("limit=-1", &["limit"]),
            ("limit=x", &["limit"]),
            ("limit=99999999999999999999", &["limit"]),
            ("status=gone", &["status"]),
            ("status=active&status=", &["status"]),
            ("sort=colour", &["sort"]),
            ("sort=--name", &["sort"]),
            ("created_by=me", &["created_by"]),
            ("expires_before=soon", &["expires_before"]),
            ("scope=a%20b", &["scope"]),
            ("cursor=x", &["cursor"]),
            ("cursor=", &["cursor"]),
            ("cursor=%00", &["cursor"]),
            ("q=a%00", &["q"]),
            ("colour=red", &["colour"]),
            ("status=x&sort=x&limit=0&cursor=x", &["status", "sort", "limit", "cursor"]),
        ] {
            eprintln!("{query}");
            let answer = app.auditor.get(&app.path(&format!("/tokens?{query}"))).await;
            answer.problem(400, "invalid-input").invalid(fields);
        }
    }

    #[tokio::test]
    async fn parameters_are_refused_in_words() {
        let app = TestApp::new().await;
        for (below, detail) in [
            ("/tokens?limit=x", "must be a whole number of at most 64 bits"),
            ("/tokens?limit=1.5", "must be a whole number of at most 64 bits"),
            ("/tokens?limit=1&limit=2", "must be given once"),
            ("/audit/events?actor_id=me", "must be a UUID"),
            ("/audit/stream?after=-1", "must be 0 or more"),
            (
                "/audit/stream?after=99999999999999999999",
                "must be a whole number of at most 64 bits",
            ),
            ("/audit/events?order=up", "must be asc or desc"),
            ("/audit/events?order=found%20in%20string", "must be asc or desc"),
            ("/audit/events?order=asc&order=desc", "must be given once"),
            ("/log/proof", "is missing"),
            (
                "/tokens?colour=red",
                concat!(
                    "is unknown; there are status, scope, q, created_by, expires_before, sort, limit ",
                    "and cursor"
                ),
            ),
            ("?limit=1", "is unknown; there are none"),
        ] {
            let answer = app.auditor.get(&app.path(below)).await.problem(400, "invalid-input");
            assert_eq!(answer.body["errors"][0]["detail"], detail, "{below}");
        }
    }

    #[tokio::test]
    async fn bodies_are_refused_in_words() {
        let app = TestApp::new().await;
        let member = json!({"email": "tom@example.com", "role": "auditor"});
        let member = app.admin.post(&app.path("/members")).json(&member).await.expect(201);
        let member = member.header("location").to_owned();
        let post = |below: &str| app.admin.post(&app.path(below));
        let roles = "there are auditor, super_admin and, on the platform, operator";
        let missing_role = format!("is missing; {roles}");
        let no_role = format!("\"boss\" is no role; {roles}");
        let number = "must be a whole number of at most 64 bits";
        for (call, body, detail) in [
            (post("/tokens"), json!({"name": "x", "scopes": "employees"}), "must be a list"),
            (post("/tokens"), json!({"name": "x", "scopes": [1]}), "must be a text"),
            (post("/tokens"), json!({"name": "x", "reason": []}), "must be a text"),
            (post("/tokens"), json!({"name": null}), "must be a text"),
            (post("/tokens"), json!({"expires_in_seconds": "60"}), number),
            (post("/tokens"), json!({"expires_in_seconds": 60.5}), number),
            (post("/tokens"), json!({"expires_in_seconds": u64::MAX}), number),
            (
                post("/tokens"),
                json!({"name, expected a map": 1}),
                "is unknown; there are name, scopes, expires_in_seconds and reason",
            ),
            (post("/tokens/find"), json!({}), "is missing"),
            (post("/tokens/delete-all"), json!({"client_id": 5}), "must be a UUID"),
            (post("/tokens/delete-all"), json!({"client_id": "me"}), "must be a UUID"),
            (post("/members"), json!({"email": "eve@example.com"}), &missing_role),
            (post("/members"), json!({"email": "eve@example.com", "role": "boss"}), &no_role),
            (app.admin.patch(&member), json!({}), &missing_role),
            (
                app.operator.put(&app.path("/oauth-app")),
                json!({"enabled": "yes"}),
                "must be true or false",
            ),
            (app.operator.put(&app.path("/oauth-app")), json!({}), "is missing"),
        ] {
            let answer = call.json(&body).await.problem(400, "invalid-input");
            assert_eq!(answer.body["errors"][0]["detail"], detail, "{body}");
        }
        let twice = "{\"name\":\"a\",\"name\":\"b\"}";
        let answer = post("/tokens").text("application/json", twice).await.invalid(&["name"]);
        assert_eq!(answer.body["errors"][0]["detail"], "must be given once");
    }

    #[tokio::test]
    async fn a_cursor_belongs_to_its_list() {
        let app = TestApp::new().await;
        app.token("a").await;
        app.token("b").await;
        let page = app.auditor.get(&app.path("/tokens?limit=1&sort=name")).await.expect(200);
        let cursor = text(&page.body["next_cursor"]).to_owned();
        for query in ["sort=-name", "sort=created_at", "sort=name&q=a", "sort=name&status=active"] {
            let path = app.path(&format!("/tokens?{query}&cursor={cursor}"));
            app.auditor.get(&path).await.invalid(&["cursor"]);
        }
        app.auditor.get(&app.path(&format!("/keys?cursor={cursor}"))).await.invalid(&["cursor"]);
        let (other, _) = app.another_company("Other").await;
        let path = format!("/v1/companies/{other}/tokens?sort=name&cursor={cursor}");
        app.operator.get(&path).await.invalid(&["cursor"]);
        let path = app.path(&format!("/tokens?sort=name&limit=7&cursor={cursor}"));
        assert_eq!(app.auditor.get(&path).await.expect(200).names(), ["b"]);
    }

    #[tokio::test]
    async fn a_cursor_that_was_changed_is_refused() {
        let app = TestApp::new().await;
        let token = app.token("a").await;
        app.token("b").await;
        app.admin.post(&format!("{}/refresh", app.token_path(&token))).await.expect(200);
        let history = format!("{}/history?limit=1", app.token_path(&token));
        let changed = |cursor: &Value, change: &dyn Fn(&mut Value)| {
            let bytes = URL_SAFE_NO_PAD.decode(text(cursor)).expect("a cursor");
            let mut cursor: Value = serde_json::from_slice(&bytes).expect("JSON");
            change(&mut cursor);
            URL_SAFE_NO_PAD.encode(cursor.to_string())
        };
        let page = app.auditor.get(&history).await.expect(200);
        let beyond =
            changed(&page.body["next_cursor"], &|cursor| cursor["at"] = json!(1_u64 << 63));
        app.auditor.get(&format!("{history}&cursor={beyond}")).await.invalid(&["cursor"]);
        for (sort, value) in
            [("created_at", json!("a")), ("name", json!(1)), ("name", json!("a\0"))]
        {
            let path = app.path(&format!("/tokens?limit=1&sort={sort}"));
            let page = app.auditor.get(&path).await.expect(200);
            let other = changed(&page.body["next_cursor"], &|cursor| {
                cursor["at"]["value"] = value.clone();
            });
            app.auditor.get(&format!("{path}&cursor={other}")).await.invalid(&["cursor"]);
        }
    }

    #[tokio::test]
    async fn scopes_on_offer_are_listed() {
        let app = TestApp::new().await;
        let scopes = app.resource_server.get("/v1/scopes").await.expect(200);
        assert_eq!(scopes.names().len(), 10);
        assert!(scopes.names().contains(&"imported_employee_infos"));
        assert_eq!(scopes.body["next_cursor"], Value::Null);
        assert!(!text(&scopes.body["items"][0]["description"]).is_empty());
        app.resource_server.get("/v1/scopes?x=1").await.invalid(&["x"]);
    }

    #[tokio::test]
    async fn short_lists_are_paged_as_well() {
        let app = TestApp::new().await;
        for list in ["/v1/scopes", "/v1/projections"] {
            let whole = app.operator.get(list).await.expect(200).body["items"].clone();
            let (mut paged, mut cursor) = (Vec::new(), String::new());
            loop {
                let page = app.operator.get(&format!("{list}?limit=3{cursor}")).await.expect(200);
                let items = page.body["items"].as_array().expect("a list");
                assert!((1..=3).contains(&items.len()), "{list}");
                paged.extend(items.iter().map(|item| item["name"].clone()));
                let Some(next) = page.body["next_cursor"].as_str() else { break };
                cursor = format!("&cursor={next}");
            }
            let names = whole.as_array().expect("a list").iter().map(|item| item["name"].clone());
            assert_eq!(paged, names.collect::<Vec<_>>(), "{list}");
            app.operator.get(&format!("{list}?limit=0")).await.invalid(&["limit"]);
            app.operator.get(&format!("{list}?cursor=x")).await.invalid(&["cursor"]);
        }
    }
}

mod access {
    use super::*;

    /// The path with identifiers in the place of its parameters.
    fn concrete(path: &str, company: CompanyId) -> String {
        let parts = path.split('/').map(|part| match part {
            "{company_id}" => company.to_string(),
            part if part.starts_with('{') => NO_ID.to_owned(),
            part => part.to_owned(),
        });
        parts.collect::<Vec<_>>().join("/")
    }

    /// Whether a route takes API keys; those of OAuth clients are tested where OAuth is.
    fn asks_for_a_key(access: Access) -> bool {
        !matches!(access, Access::Public | Access::Client)
    }

    #[tokio::test]
    async fn every_route_asks_for_its_power_and_hides_other_companies() {
        let app = TestApp::new().await;
        let (_, stranger) = app.another_company("Other").await;
        let table = routes(Arc::clone(&app.service));
        let guarded: Vec<_> =
            table.list().iter().filter(|(_, _, access)| asks_for_a_key(*access)).collect();
        assert!(guarded.len() > 15);
        for ((method, path, access), seconds) in guarded.into_iter().zip((0..).step_by(10)) {
            // Bad keys are slowed down; here it is their refusal that counts.
            app.after(seconds);
            eprintln!("{method} {path}");
            let call = |client: &Client| {
                client.call(method.clone(), &concrete(path, app.company)).into_future()
            };
            let answer = call(&app.nobody).await.problem(401, "unauthorized");
            assert!(answer.header("www-authenticate").starts_with("Bearer"));
            for bad in ["x", "tla_", "🔑", "a b"] {
                call(&app.nobody.with(bad)).await.problem(401, "unauthorized");
            }
            let lacks = |answer: Answered, scope: &str| {
                let challenge =
                    answer.problem(403, "forbidden").header("www-authenticate").to_owned();
                let said = format!("error=\"insufficient_scope\", scope=\"{scope}\"");
                assert!(
                    challenge.starts_with("Bearer") && challenge.ends_with(&said),
                    "{challenge}"
                );
            };
            let scope = match access {
                Access::Power(Power::SuperAdmin) => {
                    lacks(call(&app.auditor).await, "ledger.admin");
                    "ledger.admin"
                }
                Access::Power(Power::Operator) => {
                    lacks(call(&app.admin).await, "ledger.operator");
                    "ledger.operator"
                }
                _ => "ledger.audit",
            };
            if matches!(access, Access::Power(_)) {
                lacks(call(&app.resource_server).await, scope);
            }
            if matches!(access, Access::Power(_)) && path.contains("{company_id}") {
                let hidden = call(&stranger).await.problem(404, "not-found");
                let path = concrete(path, CompanyId(NO_ID.parse().unwrap()));
                let missing = stranger.call(method.clone(), &path).await.problem(404, "not-found");
                assert_eq!(hidden.body, missing.body, "they look the same");
            }
        }
        assert_eq!(app.count_events("token.created").await, 0);
    }

    #[tokio::test]
    async fn a_token_is_no_credential_here() {
        let app = TestApp::new().await;
        let token = app.token("a").await;
        let answer = app.nobody.with(text(&token["token"])).get("/v1/whoami").await;
        answer.problem(401, "unauthorized");
        let basic = app.nobody.get("/v1/whoami").header("authorization", "Basic eDp5").await;
        basic.problem(401, "unauthorized");
    }

    #[tokio::test]
    async fn one_company_sees_nothing_of_another() {
        let app = TestApp::new().await;
        let (other, stranger) = app.another_company("Other").await;
        let token = app.token("secret plans").await;
        let id = text(&token["token_id"]);
        let theirs = format!("/v1/companies/{other}/tokens");
        assert_eq!(stranger.get(&theirs).await.expect(200).names(), Vec::<&str>::new());
        for path in [app.token_path(&token), format!("{theirs}/{id}")] {
            stranger.get(&path).await.problem(404, "not-found");
            stranger.get(&format!("{path}?at={START}")).await.problem(404, "not-found");
            stranger.delete(&path).await.problem(404, "not-found");
            stranger.post(&format!("{path}/refresh")).await.problem(404, "not-found");
            stranger.post(&format!("{path}/end-grace")).await.problem(404, "not-found");
            let body = json!({"scopes": ["employees"]});
            stranger.patch(&path).json(&body).await.problem(404, "not-found");
        }
        let read = app.operator.get(&app.token_path(&token)).await.expect(200);
        assert_eq!(read.body["version"], 1);
        // An operator may ask about every company, so only real ones are found.
        for below in ["", "/tokens", "/keys"] {
            let path = format!("/v1/companies/{NO_ID}{below}");
            app.operator.get(&path).await.problem(404, "not-found");
        }
        let body = json!({"name": "a", "scopes": ["positions"]});
        let path = format!("/v1/companies/{NO_ID}/tokens");
        app.operator.post(&path).json(&body).await.problem(404, "not-found");
    }
}

mod keys {
    use super::*;

    async fn create(app: &TestApp, scope: &str) -> Value {
        let body = json!({"name": "Robot", "scopes": [scope]});
        app.admin.post(&app.path("/keys")).json(&body).await.expect(201).body
    }

    #[tokio::test]
    async fn a_key_is_created_used_and_deleted() {
        let app = TestApp::new().await;
        let body = json!({"name": "Robot", "scopes": ["ledger.audit", "ledger.introspect"]});
        let created = app.admin.post(&app.path("/keys")).json(&body).await.expect(201);
        let key = &created.body;
        assert_eq!(key["scopes"], json!(["ledger.audit", "ledger.introspect"]));
        assert_eq!(key["status"], "active");
        assert_eq!(key["expires_at"], at(90 * DAY).to_string());
        assert!(text(&key["key"]).starts_with("tla_"));
        let robot = app.nobody.with(text(&key["key"]));
        let me = robot.get("/v1/whoami").await.expect(200);
        let expected = json!({
            "company_id": app.company.to_string(), "key_id": key["key_id"], "name": "Robot",
            "scopes": ["ledger.audit", "ledger.introspect"],
            "powers": ["auditor", "resource_server"], "expires_at": key["expires_at"],
        });
        assert_eq!(me.body, expected);
        let path = created.header("location").to_owned();
        let read = robot.get(&path).await.expect(200);
        assert_eq!(read.body["created_by"]["name"], "ledger.admin");
        assert_eq!(read.body.get("key"), None);
        assert_eq!(version(&read), "\"1\"");
        app.admin.delete(&format!("{path}?reason=done")).await.expect(204);
        robot.get("/v1/whoami").await.problem(401, "unauthorized");
        app.admin.delete(&path).await.problem(409, "key-deleted");
        app.admin.post(&format!("{path}/refresh")).await.problem(409, "key-deleted");
        assert_eq!(app.auditor.get(&path).await.expect(200).body["status"], "deleted");
    }

    #[tokio::test]
    async fn a_key_is_refreshed_like_a_token() {
        let app = TestApp::new().await;
        let first = create(&app, "ledger.audit").await;
        let path = app.path(&format!("/keys/{}", text(&first["key_id"])));
        let body = json!({"grace_period_seconds": 60, "expires_in_seconds": 3600});
        let refresh = format!("{path}/refresh");
        let second = app.admin.post(&refresh).json(&body).await.expect(200);
        assert_eq!(second.body["previous_secret_expires_at"], at(60).to_string());
        let [old, new] = [&first["key"], &second.body["key"]].map(|k| app.nobody.with(text(k)));
        assert_eq!(old.get("/v1/whoami").await.expect(200).body["expires_at"], at(60).to_string());
        app.after(60);
        old.get("/v1/whoami").await.problem(401, "unauthorized");
        new.get("/v1/whoami").await.expect(200);
        app.after(3600);
        new.get("/v1/whoami").await.problem(401, "unauthorized");
        for body in [json!({"grace_period_seconds": -1}), json!({"grace_period_seconds": DAY + 1})]
        {
            app.admin.post(&refresh).json(&body).await.invalid(&["grace_period_seconds"]);
        }
        let stale = app.admin.post(&refresh).header("if-match", "\"1\"").await;
        stale.problem(412, "version-mismatch");
        let stale = app.admin.delete(&path).header("if-match", "\"1\"").await;
        stale.problem(412, "version-mismatch");
    }

    #[tokio::test]
    async fn an_old_secret_does_not_refresh_its_key() {
        let app = TestApp::new().await;
        let first = create(&app, "ledger.admin").await;
        let path = app.path(&format!("/keys/{}", text(&first["key_id"])));
        let refresh = format!("{path}/refresh");
        let old = app.nobody.with(text(&first["key"]));
        let body = json!({"grace_period_seconds": 60});
        let renew = |client: &Client, key: &str| {
            client.post(&refresh).header("idempotency-key", key).json(&body)
        };
        let second = renew(&old, "first").await.expect(200);
        let new = app.nobody.with(text(&second.body["key"]));
        renew(&old, "other").await.problem(403, "forbidden");
        old.post(&refresh).await.problem(403, "forbidden");
        assert_eq!(renew(&old, "first").await.expect(200).header("idempotent-replay"), "true");
        old.get(&path).await.expect(200);
        let third = new.post(&refresh).json(&body).await.expect(200);
        assert_eq!(third.body["version"], 3);
        app.admin.post(&refresh).await.expect(200);
    }

    #[tokio::test]
    async fn of_refreshes_by_one_secret_at_the_same_time_one_is_done() {
        let app = TestApp::new().await;
        let first = create(&app, "ledger.admin").await;
        let path = app.path(&format!("/keys/{}", text(&first["key_id"])));
        let own = app.nobody.with(text(&first["key"]));
        let body = json!({"grace_period_seconds": 600});
        let refresh = || own.post(&format!("{path}/refresh")).json(&body).into_future();
        let answers = join_all((0..6).map(|_| refresh())).await;
        let (done, refused): (Vec<_>, Vec<_>) =
            answers.into_iter().partition(|answer| answer.status == 200);
        assert_eq!(done.len(), 1);
        for answer in refused {
            answer.problem(403, "forbidden");
        }
        app.nobody.with(text(&done[0].body["key"])).get("/v1/whoami").await.expect(200);
        own.get("/v1/whoami").await.expect(200);
    }

    #[tokio::test]
    async fn nobody_grants_above_their_power() {
        let app = TestApp::new().await;
        let keys = app.path("/keys");
        let ask = |scope: &str| json!({"name": "k", "scopes": [scope]});
        let answer = app.admin.post(&keys).json(&ask("ledger.operator")).await;
        answer.problem(403, "above-own-power");
        app.operator.post(&keys).json(&ask("ledger.operator")).await.invalid(&["scopes"]);
        let platform = format!("/v1/companies/{}/keys", CompanyId::PLATFORM);
        let made = app.operator.post(&platform).json(&ask("ledger.admin")).await.expect(201);
        let lesser = app.nobody.with(text(&made.body["key"]));
        let answer = lesser.post(&platform).json(&ask("ledger.operator")).await;
        answer.problem(403, "above-own-power");
        let operators = app.operator.get(&platform).await.expect(200);
        let operator = operators.body["items"].as_array().unwrap().iter();
        let operator = operator.clone().find(|key| key["name"] == "ledger.operator").unwrap();
        let path = format!("{platform}/{}", text(&operator["key_id"]));
        lesser.delete(&path).await.problem(403, "above-own-power");
        lesser.post(&format!("{path}/refresh")).await.problem(403, "above-own-power");
        app.admin.post(&platform).json(&ask("ledger.audit")).await.problem(404, "not-found");
        let made = app.operator.post(&platform).json(&ask("ledger.operator")).await.expect(201);
        let me = app.nobody.with(text(&made.body["key"])).get("/v1/whoami").await.expect(200);
        assert_eq!(
            me.body["powers"],
            json!(["operator", "super_admin", "auditor", "resource_server"])
        );
    }

    #[tokio::test]
    async fn unacceptable_keys_are_refused() {
        let app = TestApp::new().await;
        for (body, fields) in [
            (json!({}), &["name", "scopes"][..]),
            (json!({"name": "a\u{7f}", "scopes": ["positions"]}), &["name", "scopes"]),
            (json!({"name": "a", "scopes": ["ledger.audit", "ledger.audit"]}), &["scopes"]),
            (
                json!({"name": "a", "scopes": ["ledger.audit"], "expires_in_seconds": 59}),
                &["expires_in_seconds"],
            ),
            (
                json!({"name": "a", "scopes": ["ledger.audit"], "expires_in_seconds": 366 * DAY + 1}),
                &["expires_in_seconds"],
            ),
            (json!({"name": "a", "scopes": ["ledger.audit"], "power": "all"}), &["power"]),
        ] {
            app.admin.post(&app.path("/keys")).json(&body).await.invalid(fields);
        }
        app.auditor.get(&app.path(&format!("/keys/{NO_ID}"))).await.problem(404, "not-found");
        app.auditor.get(&app.path("/keys/x")).await.invalid(&["key_id"]);
    }

    #[tokio::test]
    async fn keys_are_listed_newest_first() {
        let app = TestApp::new().await;
        app.after(1);
        create(&app, "ledger.audit").await;
        let first = app.auditor.get(&app.path("/keys?limit=3")).await.expect(200);
        assert_eq!(first.names()[0], "Robot");
        let cursor = text(&first.body["next_cursor"]);
        let next = app.auditor.get(&app.path(&format!("/keys?limit=3&cursor={cursor}"))).await;
        assert_eq!(next.clone().expect(200).names().len(), 1);
        assert_eq!(next.body["next_cursor"], Value::Null);
        app.auditor.get(&app.path("/keys?limit=0&cursor=x")).await.invalid(&["limit", "cursor"]);
        app.auditor.get(&app.path("/keys?status=active")).await.invalid(&["status"]);
    }

    #[tokio::test]
    async fn an_operator_is_told_all_its_powers() {
        let app = TestApp::new().await;
        let powers = |answer: Answered| answer.expect(200).body["powers"].clone();
        let all = json!(["operator", "super_admin", "auditor", "resource_server"]);
        assert_eq!(powers(app.operator.get("/v1/whoami").await), all);
        let admins = json!(["super_admin", "auditor"]);
        assert_eq!(powers(app.admin.get("/v1/whoami").await), admins);
        let introspects = json!(["resource_server"]);
        assert_eq!(powers(app.resource_server.get("/v1/whoami").await), introspects);
    }

    #[tokio::test]
    async fn the_module_leaves_keys_alone() {
        let app = TestApp::new().await;
        let off = json!({"enabled": false});
        app.operator.put(&app.path("/oauth-app")).json(&off).await.expect(200);
        app.auditor.get("/v1/whoami").await.expect(200);
        create(&app, "ledger.audit").await;
    }
}

mod companies {
    use super::*;

    #[tokio::test]
    async fn a_company_is_registered_with_its_module_off() {
        let app = TestApp::new().await;
        let body = json!({"name": "Globex"});
        let created = app.operator.post("/v1/companies").json(&body).await.expect(201);
        let read = app.operator.get(created.header("location")).await.expect(200);
        assert_eq!(created.header("etag"), read.header("etag"));
        let path = created.header("location").to_owned();
        assert_eq!(created.body["name"], "Globex");
        assert_eq!(created.body["oauth_app_enabled"], false);
        assert_eq!(created.body["created_at"], at(0).to_string());
        assert_eq!(path, format!("/v1/companies/{}", text(&created.body["company_id"])));
        assert_eq!(app.operator.get(&path).await.expect(200).body, created.body);
        let again = app.operator.post("/v1/companies").json(&body).await;
        again.problem(409, "already-exists");
        let on = json!({"enabled": true});
        let enabled = app.operator.put(&format!("{path}/oauth-app")).json(&on).await.expect(200);
        assert_eq!(enabled.body["oauth_app_enabled"], true);
        let mine = app.auditor.get(&app.path("")).await.expect(200);
        assert_eq!(mine.body["name"], "Acme");
    }

    #[tokio::test]
    async fn a_name_that_is_taken_is_told_as_it_was_sent() {
        let app = TestApp::new().await;
        let create = |name: &str| app.operator.post("/v1/companies").json(&json!({"name": name}));
        for name in ["Cafe\u{301}", "The \"Inn\"", "C:\\Inn", "👩\u{200D}💻 ❤\u{FE0F}"] {
            create(name).await.expect(201);
            let refused = create(name).await.problem(409, "already-exists");
            let detail = text(&refused.body["detail"]);
            assert!(detail.contains(&format!("named \"{name}\" exists already")), "{detail}");
        }
        let refused = create("Cafe\u{301}\u{200B}").await.problem(409, "already-exists");
        assert!(text(&refused.body["detail"]).contains("\"Cafe\u{301}\\u{200b}\""));
    }

    #[tokio::test]
    async fn names_that_differ_in_their_spaces_alone_are_the_same() {
        let app = TestApp::new().await;
        let create = |name: &str| app.operator.post("/v1/companies").json(&json!({"name": name}));
        create("Alpha GmbH").await.expect(201);
        for same in ["Alpha  GmbH", "Alpha\u{A0}GmbH", "Alpha\u{2009}gmbh ", "\u{3000}Alpha GmbH"] {
            create(same).await.problem(409, "already-exists");
        }
        create("AlphaGmbH").await.expect(201);
    }

    #[tokio::test]
    async fn the_module_is_turned_for_a_reason() {
        let app = TestApp::new().await;
        let module = app.path("/oauth-app");
        let off = |reason: &str| json!({"enabled": false, "reason": reason});
        app.operator.put(&module).json(&off("a\0")).await.invalid(&["reason"]);
        app.operator.put(&module).json(&off("not paid")).await.expect(200);
        let path = app.path("/audit/events?type=company.oauth_app_disabled");
        let events = app.auditor.get(&path).await.expect(200);
        assert_eq!(events.body["items"][0]["context"]["reason"], "not paid");
    }

    #[tokio::test]
    async fn the_module_is_turned_on_conditions() {
        let app = TestApp::new().await;
        let (company, module) = (app.path(""), app.path("/oauth-app"));
        let read = app.auditor.get(&company).await.expect(200);
        let etag = read.header("etag").to_owned();
        assert_eq!(app.auditor.get(&app.path("/policy")).await.header("etag"), etag);
        let off = json!({"enabled": false});
        let put = |etag: &str| app.operator.put(&module).header("if-match", etag).json(&off);
        put("\"1\"").await.problem(412, "version-mismatch");
        put("1").await.invalid(&["If-Match"]);
        let changed = put(&etag).await.expect(200);
        assert_eq!(changed.body["oauth_app_enabled"], false);
        assert_ne!(changed.header("etag"), etag);
        put(&etag).await.problem(412, "version-mismatch");
    }

    #[tokio::test]
    async fn of_many_registrations_of_one_name_one_is_done() {
        let app = TestApp::new().await;
        let answers = join_all((0..8).map(|_| {
            app.operator.post("/v1/companies").json(&json!({"name": "Globex"})).into_future()
        }))
        .await;
        assert_eq!(answers.iter().filter(|answer| answer.status == 201).count(), 1);
        assert_eq!(answers.iter().filter(|answer| answer.status == 409).count(), 7);
    }

    #[tokio::test]
    async fn unacceptable_input_is_refused() {
        let app = TestApp::new().await;
        for (body, field) in [
            (json!({}), "name"),
            (json!({"name": ""}), "name"),
            (json!({"name": "x".repeat(101)}), "name"),
            (json!({"name": "a\tb"}), "name"),
            (json!({"name": ["a"]}), "name"),
            (json!({"name": "a", "oauth_app_enabled": true}), "oauth_app_enabled"),
        ] {
            app.operator.post("/v1/companies").json(&body).await.invalid(&[field]);
        }
        for body in [json!({}), json!({"enabled": "yes"}), json!({"enabled": null})] {
            app.operator.put(&app.path("/oauth-app")).json(&body).await.invalid(&["enabled"]);
        }
        let path = format!("/v1/companies/{NO_ID}/oauth-app");
        let answer = app.operator.put(&path).json(&json!({"enabled": true})).await;
        answer.problem(404, "not-found");
    }

    #[tokio::test]
    async fn companies_are_listed_page_by_page() {
        let app = TestApp::new().await;
        app.after(1);
        app.another_company("Other").await;
        let first = app.operator.get("/v1/companies?limit=2").await.expect(200);
        assert_eq!(first.names(), ["platform", "Acme"]);
        let cursor = text(&first.body["next_cursor"]);
        let path = format!("/v1/companies?limit=2&cursor={cursor}");
        let second = app.operator.get(&path).await.expect(200);
        assert_eq!(second.names(), ["Other"]);
        assert_eq!(second.body["next_cursor"], Value::Null);
    }
}

mod repeats {
    use super::*;

    /// Sends the same request twice, and another one with the same key.
    async fn twice(
        client: &Client,
        path: &str,
        body: &Value,
        other: &Value,
        status: u16,
    ) -> (Answered, Answered) {
        let send = |body: &Value| {
            client.post(path).header("idempotency-key", "k-1").json(body).into_future()
        };
        let first = send(body).await.expect(status);
        assert_eq!(first.header("idempotent-replay"), "");
        let second = send(body).await.expect(status);
        assert_eq!(second.header("idempotent-replay"), "true");
        assert_eq!(second.header("location"), first.header("location"));
        assert_eq!(second.header("etag"), first.header("etag"));
        send(other).await.problem(422, "idempotency-key-reused");
        (first, second)
    }

    fn without(mut body: Value, secret: &str) -> Value {
        body[secret] = Value::Null;
        body
    }

    #[tokio::test]
    async fn a_repeated_creation_answers_as_the_first_without_the_secret() {
        let app = TestApp::new().await;
        let body = json!({"name": "a", "scopes": ["positions"]});
        let other = json!({"name": "b", "scopes": ["positions"]});
        let path = app.path("/tokens");
        let (first, second) = twice(&app.admin, &path, &body, &other, 201).await;
        assert_eq!(second.body, without(first.body.clone(), "token"));

        // Also after the token has changed, and after its term.
        app.admin.delete(first.header("location")).await.expect(204);
        app.after(DAY - 1);
        let again = app.admin.post(&path).header("idempotency-key", "k-1").json(&body).await;
        assert_eq!(again.expect(201).body, second.body);
        app.after(DAY);
        let anew = app.admin.post(&path).header("idempotency-key", "k-1").json(&body).await;
        let anew = anew.expect(201);
        assert_ne!(anew.body["token_id"], first.body["token_id"]);
        assert_eq!(app.count_events("token.created").await, 2);

        // Another credential has keys of its own.
        let theirs = app.operator.post(&path).header("idempotency-key", "k-1").json(&other).await;
        assert_eq!(theirs.expect(201).body["name"], "b");
        let long = "k".repeat(256);
        for bad in ["", &long] {
            let answer = app.admin.post(&path).header("idempotency-key", bad).json(&body).await;
            answer.invalid(&["Idempotency-Key"]);
        }
    }

    #[tokio::test]
    async fn a_repeated_change_of_a_token_is_made_once() {
        let app = TestApp::new().await;
        let token = app.token("a").await;
        let path = app.token_path(&token);
        let body = json!({"grace_period_seconds": 60});
        let refresh = format!("{path}/refresh");
        let (first, second) = twice(&app.admin, &refresh, &body, &json!({}), 200).await;
        assert_eq!(second.body, without(first.body.clone(), "token"));
        assert!(app.is_active(&first.body["token"]));
        let end = format!("{path}/end-grace");
        let reason = json!({"reason": "b"});
        let (first, second) = twice(&app.admin, &end, &json!({"reason": "a"}), &reason, 200).await;
        assert_eq!(second.body, first.body);
        assert_eq!(app.count_events("token.refreshed").await, 1);
        assert_eq!(app.count_events("token.grace_ended").await, 1);
    }

    #[tokio::test]
    async fn a_repeated_creation_or_refresh_of_a_key_is_made_once() {
        let app = TestApp::new().await;
        let body = json!({"name": "a", "scopes": ["ledger.audit"]});
        let other = json!({"name": "b", "scopes": ["ledger.audit"]});
        let before = app.count_events("key.created").await;
        let (first, second) = twice(&app.admin, &app.path("/keys"), &body, &other, 201).await;
        assert_eq!(second.body, without(first.body.clone(), "key"));
        assert_eq!(app.count_events("key.created").await, before + 1);
        let refresh = format!("{}/refresh", first.header("location"));
        let body = json!({"grace_period_seconds": 60});
        let (first, second) = twice(&app.admin, &refresh, &body, &json!({}), 200).await;
        assert_eq!(second.body, without(first.body, "key"));
        assert_eq!(app.count_events("key.refreshed").await, 1);
    }

    #[tokio::test]
    async fn a_repeated_registration_leads_to_the_same_company() {
        let app = TestApp::new().await;
        let [body, other] = ["Globex", "Initech"].map(|name| json!({"name": name}));
        let (first, second) = twice(&app.operator, "/v1/companies", &body, &other, 201).await;
        assert_eq!(second.body, first.body);
        let named = app.app.read.companies_named("Globex").await.unwrap();
        assert_eq!(named.len(), 1);
        // The platform's own ledger goes on as before.
        let platform = format!("/v1/companies/{}", CompanyId::PLATFORM);
        for enabled in [false, true] {
            let body = json!({"enabled": enabled});
            let path = format!("{platform}/oauth-app");
            app.operator.put(&path).json(&body).await.expect(200);
        }
        let body = json!({"name": "a", "scopes": ["positions"]});
        app.operator.post(&format!("{platform}/tokens")).json(&body).await.expect(201);
        // A day later the key is free again, for another company too.
        app.after(DAY);
        let call = app.operator.post("/v1/companies").header("idempotency-key", "k-1");
        let later = call.json(&other).await.expect(201);
        assert_ne!(later.body["company_id"], first.body["company_id"]);
    }

    #[tokio::test]
    async fn of_many_registrations_at_once_each_key_keeps_its_answer() {
        let app = TestApp::new().await;
        let post = |key: String, name: &str| {
            let call = app.operator.post("/v1/companies").header("idempotency-key", &key);
            call.json(&json!({"name": name})).into_future()
        };
        // One key, many times: all hear of the same company.
        let same = join_all((0..8).map(|_| post("same".to_owned(), "Globex"))).await;
        let ids: BTreeSet<&str> =
            same.iter().map(|answer| text(&answer.body["company_id"])).collect();
        assert_eq!((same.iter().all(|answer| answer.status == 201), ids.len()), (true, 1));
        // One name by many keys: one of them registers it, then and whenever it is repeated.
        let first = join_all((0..8).map(|n| post(format!("k-{n}"), "Initech"))).await;
        let statuses: Vec<_> = first.iter().map(|answer| answer.status).collect();
        assert_eq!(statuses.iter().filter(|status| **status == 201).count(), 1, "{statuses:?}");
        for (n, status) in statuses.into_iter().enumerate() {
            let again = post(format!("k-{n}"), "Initech").await;
            assert_eq!(again.status, status, "k-{n}");
        }
        // A name that was reserved by a process that was killed is registered once.
        let name = Name::new("Hooli").unwrap();
        app.app.people.reserve_name(&name, CompanyId(app.app.new_id())).await.unwrap();
        for replay in ["", "true", "true"] {
            let answer = post("left".to_owned(), "Hooli").await.expect(201);
            assert_eq!(answer.header("idempotent-replay"), replay);
        }
    }

    #[tokio::test]
    async fn of_many_repeats_at_once_one_creates() {
        let app = TestApp::new().await;
        let body = json!({"name": "a", "scopes": ["positions"]});
        let answers = join_all((0..10).map(|_| {
            let call = app.admin.post(&app.path("/tokens")).header("idempotency-key", "k");
            call.json(&body).into_future()
        }))
        .await;
        let ids: BTreeSet<String> =
            answers.iter().map(|answer| answer.body["token_id"].to_string()).collect();
        assert!(answers.iter().all(|answer| answer.status == 201));
        assert_eq!(ids.len(), 1);
        let secrets = answers.iter().filter(|answer| answer.body["token"] != Value::Null);
        assert_eq!(secrets.count(), 1, "one of them got the secret");
        assert_eq!(app.count_events("token.created").await, 1);
    }
}

mod incidents {
    use super::*;

    /// Asks until the operation is done.
    async fn finished(client: &Client, path: &str) -> Value {
        loop {
            let progress = client.get(path).await.expect(200);
            if progress.body["state"] == "done" {
                return progress.body;
            }
            assert_eq!(progress.body["state"], "running");
            tokio::task::yield_now().await;
        }
    }

    async fn statuses(app: &TestApp) -> Vec<(String, String)> {
        let path = app.path("/tokens?status=active&status=expired&status=deleted&sort=name");
        let list = app.auditor.get(&path).await.expect(200);
        let items = list.body["items"].as_array().expect("items").clone();
        let pair = |item: &Value| (text(&item["name"]).into(), text(&item["status"]).into());
        items.iter().map(pair).collect()
    }

    fn pairs(expected: &[(&str, &str)]) -> Vec<(String, String)> {
        expected.iter().map(|(name, status)| ((*name).into(), (*status).into())).collect()
    }

    #[tokio::test]
    async fn all_that_match_are_deleted_and_nothing_else() {
        let app = TestApp::new().await;
        let make = async |client: &Client, name: &str, scope: &str| {
            let body = json!({"name": name, "scopes": [scope], "expires_in_seconds": 60});
            client.post(&app.path("/tokens")).json(&body).await.expect(201).body
        };
        make(&app.admin, "a", "positions").await;
        make(&app.admin, "b", "employees").await;
        let by_operator = make(&app.operator, "c", "positions").await;
        let gone = make(&app.admin, "d", "positions").await;
        app.admin.delete(&app.token_path(&gone)).await.expect(204);
        app.after(100);
        let path = app.path("/tokens/delete-all");
        let creator = &by_operator["created_by"]["id"];
        let body = json!({"scope": "positions", "created_by": creator, "reason": "leak"});
        let begun = app.admin.post(&path).json(&body).await.expect(202);
        assert_eq!(begun.body["matched"], 1);
        let done = finished(&app.admin, begun.header("location")).await;
        assert_eq!((&done["matched"], &done["deleted"]), (&json!(1), &json!(1)));
        assert_eq!(done["finished_at"], at(100).to_string());
        let expected = [("a", "expired"), ("b", "expired"), ("c", "deleted"), ("d", "deleted")];
        assert_eq!(statuses(&app).await, pairs(&expected));

        app.after(200);
        let body = json!({"reason": "everything"});
        let begun = app.admin.post(&path).json(&body).await.expect(202);
        let done = finished(&app.admin, begun.header("location")).await;
        assert_eq!((&done["matched"], &done["deleted"]), (&json!(2), &json!(2)));
        assert!(statuses(&app).await.iter().all(|(_, status)| status == "deleted"));
        assert_eq!(app.count_events("token.deleted").await, 4, "each once");

        // What names people is with the events, and no longer with the operation.
        let id = text(&done["operation_id"]).parse().unwrap();
        let stored = app.app.read.operation(app.company, id).await.unwrap().expect("stored");
        for personal in ["everything", "192.0.2.7", "tests/1", "ledger.admin"] {
            assert!(!stored.request.contains(personal), "{}", stored.request);
        }
        // Whoever else carries it out and comes later makes no open one of it again.
        let late = Operation { state: "running".into(), finished_at: None, ..stored.clone() };
        app.app.read.save_operation(&late).await.unwrap();
        let kept = app.app.read.operation(app.company, id).await.unwrap();
        assert_eq!(kept.as_ref(), Some(&stored));
        let head = app.app.store().head(app.company).await.unwrap().expect("a head").position;
        let private = app.app.store().private_parts(app.company, &[head]).await.unwrap();
        let private = private[0].as_ref().expect("a private part").part();
        assert_eq!(private.reason.as_deref(), Some("everything"));
        assert_eq!(private.actor_name.as_deref(), Some("ledger.admin"));
        assert_eq!(private.ip.as_deref(), Some("192.0.2.7"));

        let (_, stranger) = app.another_company("Other").await;
        stranger.get(begun.header("location")).await.problem(404, "not-found");
        app.auditor.get(begun.header("location")).await.expect(200);
        let introspects = app.resource_server.get(begun.header("location"));
        introspects.await.problem(403, "forbidden");
        app.admin.get(&format!("{path}/{NO_ID}")).await.problem(404, "not-found");
        app.admin.get(&format!("{path}/x")).await.invalid(&["operation_id"]);
    }

    #[tokio::test]
    async fn unacceptable_input_is_refused() {
        let app = TestApp::new().await;
        app.token("kept").await;
        let path = app.path("/tokens/delete-all");
        for (body, fields) in [
            (json!({}), &["reason"][..]),
            (json!({"reason": ""}), &["reason"]),
            (json!({"reason": " \n"}), &["reason"]),
            (json!({"reason": "x".repeat(501)}), &["reason"]),
            (json!({"reason": "x", "client_id": "x"}), &["client_id"]),
            (json!({"reason": "x", "created_by": "x"}), &["created_by"]),
            (json!({"reason": "x", "created_by": null}), &["created_by"]),
            (json!({"reason": "x", "client_id": null}), &["client_id"]),
            (json!({"reason": "x", "scope": null}), &["scope"]),
            (json!({"scope": "a b"}), &["scope", "reason"]),
            (json!({"reason": "x", "status": "active"}), &["status"]),
        ] {
            app.admin.post(&path).json(&body).await.invalid(fields);
        }
        let malformed = app.admin.post(&path).json(&json!({"reason": "x", "client_id": "x"})).await;
        assert_eq!(malformed.body["detail"], "client_id: must be a UUID");
        assert_eq!(statuses(&app).await, pairs(&[("kept", "active")]));
    }

    #[tokio::test]
    async fn what_can_not_be_deleted_is_counted_and_tried_again() {
        let app = TestApp::new().await;
        app.after(1000);
        app.token("a").await;
        // So far behind the ledger that nothing is recorded.
        let app = app.restarted_after(0).await;
        let path = app.path("/tokens/delete-all");
        let begun = app.admin.post(&path).json(&json!({"reason": "leak"})).await.expect(202);
        let progress = || app.admin.get(begun.header("location")).into_future();
        let counted = async {
            while progress().await.expect(200).body["failed"] != 1 {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(Duration::from_secs(10), counted).await.expect("it is counted");
        app.after(1000);
        let done = finished(&app.admin, begun.header("location")).await;
        assert_eq!((&done["deleted"], &done["failed"]), (&json!(1), &json!(0)));
    }

    #[tokio::test]
    async fn a_repeat_shows_the_first_operation() {
        let app = TestApp::new().await;
        app.token("a").await;
        let path = app.path("/tokens/delete-all");
        let send = |body: Value| {
            app.admin.post(&path).header("idempotency-key", "k").json(&body).into_future()
        };
        let answers = join_all((0..5).map(|_| send(json!({"reason": "leak"})))).await;
        let ids: BTreeSet<_> =
            answers.iter().map(|answer| answer.body["operation_id"].to_string()).collect();
        assert_eq!(ids.len(), 1);
        let first =
            answers.iter().filter(|answer| answer.header("idempotent-replay").is_empty()).count();
        assert_eq!(first, 1);
        let location = answers[0].header("location").to_owned();
        finished(&app.admin, &location).await;
        app.after(10);
        app.token("b").await;
        let repeat = send(json!({"reason": "leak"})).await.expect(202);
        assert_eq!(repeat.header("idempotent-replay"), "true");
        assert_eq!(repeat.header("location"), location);
        assert_eq!(repeat.body, answers[0].body);
        send(json!({"reason": "other"})).await.problem(422, "idempotency-key-reused");
        assert_eq!(statuses(&app).await, pairs(&[("a", "deleted"), ("b", "active")]));
        let body = json!({"enabled": false});
        app.operator.put(&app.path("/oauth-app")).json(&body).await.expect(200);
    }

    /// Runs something in a process of its own, as far as the database can tell: whatever is under
    /// way when it returns is cut off.
    fn process<T>(work: impl Future<Output = T>) -> T {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        runtime.expect("a runtime").block_on(work)
    }

    #[test]
    fn an_operation_survives_a_crash_before_its_first_batch() {
        survives_a_crash_after(0);
    }

    #[test]
    fn an_operation_survives_a_crash_in_the_middle() {
        survives_a_crash_after(1);
    }

    fn survives_a_crash_after(deleted: u64) {
        const TOKENS: usize = 1200;
        let (storage, company, id) = process(async {
            let app = TestApp::new().await;
            let tokens: Vec<_> = (0..TOKENS).map(|_| app.token("a")).collect();
            join_all(tokens).await;
            let body = json!({"reason": "leak"});
            let begun = app.admin.post(&app.path("/tokens/delete-all")).json(&body).await;
            let mut progress = begun.expect(202);
            assert_eq!(progress.body["matched"], TOKENS);
            let path = progress.header("location").to_owned();
            while progress.body["deleted"].as_u64() < Some(deleted) {
                progress = app.admin.get(&path).await.expect(200);
            }
            let id = text(&progress.body["operation_id"]).parse().expect("an id");
            (app.storage, app.company, id)
        });
        process(async {
            let clock = Arc::new(SetClock::at(at(60)));
            let app = storage.open(&clock).await;
            let before = app.read.operation(company, id).await.unwrap().expect("stored");
            if deleted == 0 {
                assert_eq!((before.state.as_str(), before.done), ("running", 0));
            }
            for task in app.resume_operations().await.unwrap() {
                task.await.expect("it ends");
            }
            let after = app.read.operation(company, id).await.unwrap().expect("stored");
            assert_eq!(after.state, "done");
            assert!(after.finished_at.is_some());
            assert_eq!((after.matched, after.done), (TOKENS as u64, TOKENS as u64));
            let events = app.store().read(company, 0, 100_000).await.unwrap();
            let deletions: Vec<TokenId> = events
                .iter()
                .filter(|event| event.event_type == "token.deleted")
                .map(|event| TokenId(event.stream.id))
                .collect();
            let distinct: BTreeSet<&TokenId> = deletions.iter().collect();
            assert_eq!((distinct.len(), deletions.len()), (TOKENS, TOKENS), "each once");
            assert!(app.resume_operations().await.unwrap().is_empty());
        });
    }
}

#[tokio::test]
async fn a_failed_request_can_be_found_in_the_log() {
    let app = TestApp::new().await;
    let answer = app.auditor.get(&app.path("/nowhere")).await.problem(404, "not-found");
    assert_eq!(answer.header("x-request-id").len(), 36);
    assert_eq!(answer.body.get("request_id"), None, "only failures of ours carry it");
    let answer = app.auditor.call(Method::OPTIONS, &app.path("/tokens")).await;
    assert_eq!(answer.header("access-control-allow-origin"), "");
}
