//! The console's words for what the ledger names by codes.

use crate::plural::units;
use token_ledger_domain::{KeyScope, Role};

/// A data access as people read it: `position_applications` is "Position applications".
pub fn access(scope: &str) -> String {
    let mut text = scope.replace(['_', '-'], " ");
    if let Some(first) = text.get_mut(0..1) {
        first.make_ascii_uppercase();
    }
    text
}

/// A text that others wrote too, with the apostrophes of the pages.
pub fn typeset(text: &str) -> String {
    text.replace('\'', "’")
}

/// Data accesses in a row.
pub fn accesses(scopes: &[String]) -> String {
    scopes.iter().map(|scope| access(scope)).collect::<Vec<_>>().join(", ")
}

/// A role as people read it.
pub fn role(role: &str) -> &str {
    match role {
        "operator" => "Operator",
        "super_admin" => "Super Admin",
        "auditor" => "Auditor",
        other => other,
    }
}

/// A scope of API keys in a few words.
pub fn key_scope(scope: &str) -> &str {
    match scope {
        "ledger.operator" => "Run the platform",
        "ledger.admin" => "Manage the company",
        "ledger.audit" => "Read and export everything",
        "ledger.introspect" => "Introspect tokens",
        other => other,
    }
}

/// What a key with this scope may do, in a sentence.
pub const fn key_scope_opens(scope: KeyScope, is_platform: bool) -> &'static str {
    match scope {
        KeyScope::Operator => {
            "Does everything in every company; creates companies, turns the OAuth App module on and \
             off, rebuilds projections and erases people."
        }
        KeyScope::Admin => {
            "Changes tokens, clients, API keys, members and the policy, and reads and exports \
             everything."
        }
        KeyScope::Audit => {
            "Reads tokens, clients, API keys, members, the audit trail and its proofs, and exports \
             them; changes nothing."
        }
        KeyScope::Introspect if is_platform => {
            "Asks whether a token of any company is good, and what it may read."
        }
        KeyScope::Introspect => {
            "Asks whether a token of this company is good, and what it may read."
        }
    }
}

/// What a member with this role may do, in a sentence.
pub const fn role_may(role: Role, is_platform: bool) -> &'static str {
    match role {
        Role::Operator => "Runs the platform and may enter every company.",
        Role::SuperAdmin if is_platform => {
            "Manages the platform’s API keys and members, and reads everything of it."
        }
        Role::SuperAdmin => {
            "Manages tokens, clients, API keys, members and the policy, and reads everything."
        }
        Role::Auditor => "Reads everything and changes nothing.",
    }
}

/// A type of event in a few words, for filters.
pub fn event_type(kind: &str) -> &str {
    match kind {
        "token.created" => "Token created",
        "token.refreshed" => "Token refreshed",
        "token.grace_ended" => "Old secret stopped",
        "token.scopes_changed" => "Data accesses changed",
        "token.deleted" => "Token deleted",
        "token.expired" => "Token expired",
        "key.created" => "API key created",
        "key.refreshed" => "API key refreshed",
        "key.deleted" => "API key deleted",
        "key.expired" => "API key expired",
        "company.registered" => "Company registered",
        "company.oauth_app_enabled" => "OAuth App module turned on",
        "company.oauth_app_disabled" => "OAuth App module turned off",
        "company.policy_changed" => "Policy changed",
        "company.member_added" => "Member added",
        "company.member_role_changed" => "Role changed",
        "company.member_removed" => "Member removed",
        "company.client_created" => "Client created",
        "company.client_rotated" => "Client secret rotated",
        "company.client_deleted" => "Client deleted",
        "company.person_erased" => "Person erased",
        other => other,
    }
}

/// `1 event`, `2 events`, `12,345 events`
pub fn count(number: u64, unit: &str) -> String {
    format!("{} {}", grouped(number), units(number == 1, unit))
}

/// A number with commas between its thousands.
pub fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use token_ledger_domain::event::EVENT_TYPES;

    #[test]
    fn every_type_of_event_has_words() {
        for (kind, _) in EVENT_TYPES {
            assert_ne!(event_type(kind), kind);
        }
    }

    #[test]
    fn every_scope_of_keys_has_words() {
        for scope in KeyScope::ALL {
            assert_ne!(key_scope(scope.as_str()), scope.as_str());
        }
    }

    #[test]
    fn numbers_are_grouped() {
        assert_eq!(count(1, "event"), "1 event");
        assert_eq!(count(0, "event"), "0 events");
        assert_eq!(count(1_234_567, "event"), "1,234,567 events");
    }

    #[test]
    fn data_accesses_read_like_words() {
        assert_eq!(access("position_applications"), "Position applications");
        assert_eq!(access(""), "");
    }
}
