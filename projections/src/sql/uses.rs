//! Beside the log: when tokens were last seen to be used, and from where.

use super::Statement;
use crate::index::Use;
use std::collections::BTreeMap;
use token_ledger_domain::{CompanyId, TokenId};

/// Uses that one statement notes.
const AT_ONCE: usize = 500;

/// Notes when tokens were used; none ever goes back. In the order of the keys, so that two processes
/// that note the same ones wait for each other and not in a circle.
pub(super) fn record(uses: &[Use]) -> Vec<Statement> {
    let mut latest: BTreeMap<(CompanyId, TokenId), &Use> = BTreeMap::new();
    for used in uses {
        let known = latest.entry((used.company_id, used.token_id)).or_insert(used);
        if known.at < used.at {
            *known = used;
        }
    }
    let latest: Vec<&Use> = latest.into_values().collect();
    latest.chunks(AT_ONCE).map(statement).collect()
}

fn statement(uses: &[&Use]) -> Statement {
    let mut statement = Statement::new("");
    let rows: Vec<String> = uses
        .iter()
        .map(|used| {
            let (company, token) =
                (statement.place(used.company_id), statement.place(used.token_id));
            let (at, from) =
                (statement.place(used.at), statement.place(used.from.map(|from| from.to_string())));
            format!("({company}, {token}, {at}, {from})")
        })
        .collect();
    let text = format!(
        "INSERT INTO token_uses (company_id, token_id, last_used_at, last_used_from) VALUES {} \
         ON CONFLICT (company_id, token_id) DO UPDATE \
         SET last_used_at = excluded.last_used_at, last_used_from = excluded.last_used_from \
         WHERE excluded.last_used_at > token_uses.last_used_at",
        rows.join(", ")
    );
    Statement { text: text.into(), ..statement }
}
