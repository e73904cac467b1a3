//! What a million tokens in the verification index take. Alone in its process, whose memory it
//! measures.

#![cfg(target_os = "linux")]

#[allow(dead_code, unused_imports, unused_macros, reason = "every suite uses its part")]
mod support;

use support::{COMPANY, DAY, at, digest, name, scopes};
use token_ledger_domain::{Actor, Digest, Policy, TokenId};
use token_ledger_projections::companies::CompanyRow;
use token_ledger_projections::index::VerificationIndex;
use token_ledger_projections::tokens::{Status, TokenRow};
use uuid::Uuid;

const TOKENS: u64 = 1_000_000;
/// Bytes that a token may take: 80 of its own, the tables that lead to it, and room to grow.
const BYTES_EACH: u64 = 160;

#[test]
fn a_million_tokens_are_found_and_take_little() {
    let index = VerificationIndex::new();
    index.apply_company(&CompanyRow {
        company_id: COMPANY,
        name: name("Acme"),
        oauth_app_enabled: true,
        policy: Policy::default(),
        created_at: at(0),
        version: 1,
        position: 1,
    });
    let mut row = TokenRow {
        company_id: COMPANY,
        token_id: TokenId(Uuid::nil()),
        name: name("Payroll"),
        scopes: scopes("employees positions"),
        status: Status::Active,
        client_id: None,
        term: 1,
        digest: digest("none yet"),
        hint: "tlk_…0000".to_owned(),
        expires_at: at(DAY),
        issued_at: at(0),
        previous: None,
        created_at: at(0),
        created_by: Actor::SYSTEM,
        created_position: 1,
        refreshed_at: None,
        deleted_at: None,
        version: 1,
        position: 1,
    };
    let before = resident_bytes();
    for number in 0..TOKENS {
        row.token_id = token(number);
        row.digest = secret(number);
        index.apply_token(&row);
    }
    let each = resident_bytes().saturating_sub(before) / TOKENS;
    assert!(each <= BYTES_EACH, "{each} bytes for each token");
    assert_eq!(index.len() as u64, TOKENS);
    for number in (0..TOKENS).step_by(997) {
        let found = index.token(&secret(number), at(1)).expect("it is good");
        assert_eq!(found.token_id, token(number));
    }
    assert_eq!(index.token(&secret(TOKENS), at(1)), None);
}

fn token(number: u64) -> TokenId {
    TokenId(Uuid::from_u128(u128::from(number)))
}

/// As good as random, as digests are.
fn secret(number: u64) -> Digest {
    Digest::of(&number.to_string())
}

/// The memory of this process.
fn resident_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("this process");
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).expect("its memory");
    let kilobytes = line.split_whitespace().nth(1).expect("a number");
    kilobytes.parse::<u64>().expect("a number") * 1024
}
