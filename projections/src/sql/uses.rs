//! Beside the log: when tokens were last seen to be used.

use super::Statement;
use std::collections::BTreeMap;
use token_ledger_domain::{CompanyId, Timestamp, TokenId};

/// Uses that one statement notes.
const AT_ONCE: usize = 500;

/// Notes when tokens were used; none ever goes back. In the order of the keys, so that two processes
/// that note the same ones wait for each other and not in a circle.
pub(super) fn record(uses: &[(CompanyId, TokenId, Timestamp)]) -> Vec<Statement> {
    let mut latest: BTreeMap<(CompanyId, TokenId), Timestamp> = BTreeMap::new();
    for (company, token, at) in uses {
        let known = latest.entry((*company, *token)).or_insert(*at);
        *known = (*known).max(*at);
    }
    let latest: Vec<_> = latest.into_iter().collect();
    latest.chunks(AT_ONCE).map(statement).collect()
}

fn statement(uses: &[((CompanyId, TokenId), Timestamp)]) -> Statement {
    let mut statement = Statement::new("");
    let rows: Vec<String> = uses
        .iter()
        .map(|((company, token), at)| {
            let (company, token) = (statement.place(*company), statement.place(*token));
            format!("({company}, {token}, {})", statement.place(*at))
        })
        .collect();
    let text = format!(
        "INSERT INTO token_uses (company_id, token_id, last_used_at) VALUES {} \
         ON CONFLICT (company_id, token_id) DO UPDATE SET last_used_at = excluded.last_used_at \
         WHERE excluded.last_used_at > token_uses.last_used_at",
        rows.join(", ")
    );
    Statement { text: text.into(), ..statement }
}
