//! What is said of secrets, and what is taken over of those who hold them.

use std::net::IpAddr;
use std::sync::Arc;
use token_ledger_domain::power::KeyScopes;
use token_ledger_domain::{ClientId, CompanyId, Digest, KeyId, Name, Timestamp, TokenId};

/// A token whose secret is good.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ActiveToken {
    /// The token.
    pub token_id: TokenId,
    /// Its company.
    pub company_id: CompanyId,
    /// Its scopes, space-delimited in order.
    pub scopes: Arc<str>,
    /// The client that got it over OAuth.
    pub client_id: Option<ClientId>,
    /// When the secret was issued, in seconds since 1970.
    pub issued_at: u32,
    /// When the secret stops.
    pub expires_at: Timestamp,
    /// Whether this use is to be noted: none was for a while.
    pub use_is_due: bool,
}

impl ActiveToken {
    /// Whether the token has this scope.
    pub fn has_scope(&self, scope: &str) -> bool {
        self.scopes.split(' ').any(|own| own == scope)
    }
}

/// What holds a token's secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SecretHolder {
    /// The token.
    pub token_id: TokenId,
    /// Its company.
    pub company_id: CompanyId,
    /// The client that got it over OAuth.
    pub client_id: Option<ClientId>,
}

/// A key whose secret is good.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ActiveKey {
    /// The key.
    pub key_id: KeyId,
    /// Its company.
    pub company_id: CompanyId,
    /// Its name.
    pub name: Name,
    /// Its scopes.
    pub scopes: KeyScopes,
    /// When the secret stops.
    pub expires_at: Timestamp,
}

/// A secret that may be good, when it stops, and when it was issued.
pub type LiveSecret = (Digest, Timestamp, Timestamp);

/// What the index takes over of a token.
#[derive(Clone, Copy, Debug)]
pub struct LiveToken<'a> {
    /// Its company.
    pub company_id: CompanyId,
    /// The token.
    pub token_id: TokenId,
    /// Its scopes, space-delimited in order.
    pub scopes: &'a str,
    /// The client that got it over OAuth.
    pub client_id: Option<ClientId>,
    /// The sequence of its last event.
    pub version: u64,
    /// The current secret and the one before, where they may be good.
    pub secrets: [Option<LiveSecret>; 2],
}

/// A token that was seen to be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Use {
    /// Its company.
    pub company_id: CompanyId,
    /// The token.
    pub token_id: TokenId,
    /// When.
    pub at: Timestamp,
    /// The address from which its secret was shown, as far as known.
    pub from: Option<IpAddr>,
}
