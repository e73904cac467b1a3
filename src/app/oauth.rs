//! What OAuth clients do themselves: get tokens, refresh them, revoke them.
//!
//! A token that a client gets is a token like any other: it is created, refreshed and deleted by
//! the same commands, under the same rules, with the client as the actor.

use super::keys::Renewal;
use super::outcome::Changed;
use super::tokens::NewToken;
use super::view::TokenView;
use super::{App, AppError, Caller, Conditions};
use std::collections::BTreeSet;
use subtle::{Choice, ConstantTimeEq};
use token_ledger_domain::secret::is_well_formed;
use token_ledger_domain::token::TokenRefusal;
use token_ledger_domain::{ClientId, CompanyId, Digest, Secret, Timestamp, TokenId};
use token_ledger_event_store::StoreError;
use token_ledger_projections::index::ActiveClient;
use token_ledger_projections::tokens::Status;
use uuid::Uuid;

/// How often a refresh is tried again when something else has happened to the token meanwhile.
const MAX_ATTEMPTS: usize = 20;

/// What a client asks for.
#[derive(Clone, Debug, Default)]
pub struct Asked {
    /// The token's name; the client's where none is given.
    pub name: Option<String>,
    /// The scopes; all that the client may ask for where none is given.
    pub scopes: Option<Vec<String>>,
}

/// A token that a client got, with its secret.
#[derive(Debug)]
pub struct Granted {
    /// The token's name.
    pub name: String,
    /// The secret.
    pub secret: Secret,
    /// When the secret was issued.
    pub issued_at: Timestamp,
    /// How long it is good, in seconds.
    pub expires_in: i64,
    /// The token's scopes, sorted.
    pub scopes: Vec<String>,
}

/// Why a client did not get what it asked for.
#[derive(Debug, thiserror::Error)]
pub enum GrantRefusal {
    /// A scope that is unknown, or that the client may not ask for, or the policy does not allow.
    #[error("{0}")]
    Scope(String),
    /// A name that no token can have.
    #[error("name: {0}")]
    Name(String),
    /// The company's OAuth App module is off.
    #[error("the company's OAuth App module is off")]
    ModuleOff,
    /// The client was deleted meanwhile.
    #[error("the client is deleted")]
    ClientDeleted,
    /// The secret is not the current one of a token that the client got.
    #[error("the token is unknown, was deleted or refreshed, or is another client's")]
    NoSuchToken {
        /// The company of whoever's it is, where it is somebody else's.
        others: Option<CompanyId>,
    },
    /// The token belongs to somebody else, of this company.
    #[error("the token is not the client's own")]
    NotOwn(CompanyId),
    /// Others kept changing the same thing.
    #[error("others keep changing the same thing")]
    Contended,
    /// A failure of ours.
    #[error(transparent)]
    Failed(#[from] StoreError),
}

impl GrantRefusal {
    /// The secret is nobody's.
    const NO_SUCH_TOKEN: Self = Self::NoSuchToken { others: None };

    /// The company of somebody else whose secret was presented.
    pub const fn others(&self) -> Option<CompanyId> {
        match self {
            Self::NoSuchToken { others } => *others,
            Self::NotOwn(company) => Some(*company),
            _ => None,
        }
    }
}

impl From<AppError> for GrantRefusal {
    fn from(error: AppError) -> Self {
        match error {
            AppError::Token(TokenRefusal::OauthAppDisabled) => Self::ModuleOff,
            AppError::Token(TokenRefusal::ClientDeleted)
            | AppError::ClientDeleted
            | AppError::Lapsed => Self::ClientDeleted,
            AppError::Token(TokenRefusal::Policy(violation)) => Self::Scope(violation.to_string()),
            AppError::Token(TokenRefusal::Deleted | TokenRefusal::NotFound)
            | AppError::NotFound(_) => Self::NO_SUCH_TOKEN,
            AppError::Invalid(errors) => match errors.into_iter().next() {
                Some(error) if error.field == "name" => Self::Name(error.detail),
                _ => Self::Scope("a scope is unknown".to_owned()),
            },
            AppError::Failed(error) => Self::Failed(error),
            _ => Self::Contended,
        }
    }
}

/// Whose a presented secret is.
enum Presented {
    Own(TokenId),
    /// Somebody else's, of this company.
    Others(CompanyId),
    Unknown,
}

impl App {
    /// The client of this identifier, if the secret is a good one of its. Takes the same work
    /// whether the client is unknown or the secret is wrong.
    ///
    /// # Errors
    /// When it is not; with the client that was named, if there is one.
    pub fn authenticate_client(
        &self,
        client_id: &str,
        secret: &str,
    ) -> Result<ActiveClient, Option<ActiveClient>> {
        let id = client_id.parse().unwrap_or(Uuid::nil());
        let client = self.index.client(ClientId(id));
        let same = |one: &Digest, other: &Digest| one.0.ct_eq(&other.0);
        let good = is_good(client.as_ref(), &Digest::of(secret), self.now(), same);
        match client {
            Some(client) if good => Ok(client),
            named => Err(named),
        }
    }

    /// Creates a token for a client.
    ///
    /// # Errors
    /// When the client asks for more than it may, or the company's rules are against it.
    pub async fn grant_token(
        &self,
        caller: &Caller,
        client: &ActiveClient,
        asked: Asked,
    ) -> Result<Granted, GrantRefusal> {
        let input = NewToken {
            name: asked.name.unwrap_or_else(|| client.name.to_string()),
            scopes: self.scopes_for(client, asked.scopes.as_deref())?,
            client_id: Some(client.client_id),
            ..NewToken::default()
        };
        let changed = self.create_token(caller, input, Conditions::default()).await?;
        let issued_at = changed.view.created_at;
        granted(changed, issued_at)
    }

    /// Refreshes a token that the client got, given its current secret, which stops at once.
    ///
    /// # Errors
    /// When the secret is not such a one, or the company's rules are against it.
    pub async fn refresh_own_token(
        &self,
        caller: &Caller,
        client: &ActiveClient,
        secret: &str,
    ) -> Result<Granted, GrantRefusal> {
        let id = match self.presented(client, secret).await? {
            Presented::Own(id) => id,
            Presented::Others(company) => {
                return Err(GrantRefusal::NoSuchToken { others: Some(company) });
            }
            Presented::Unknown => return Err(GrantRefusal::NO_SUCH_TOKEN),
        };
        let digest = Digest::of(secret);
        for _ in 0..MAX_ATTEMPTS {
            let record = self.read.token(client.company_id, id).await?;
            let row = record.ok_or(GrantRefusal::NO_SUCH_TOKEN)?.row;
            // An old secret that lives on for a grace period can't refresh.
            if row.digest != digest || row.status == Status::Deleted {
                return Err(GrantRefusal::NO_SUCH_TOKEN);
            }
            let conditions = Conditions { expected_version: Some(row.version), idempotency: None };
            match self.refresh_token(caller, id, Renewal::default(), conditions).await {
                Ok(changed) => {
                    let issued_at = changed.view.refreshed_at.unwrap_or(changed.view.created_at);
                    return granted(changed, issued_at);
                }
                Err(AppError::VersionMismatch { .. }) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Err(GrantRefusal::Contended)
    }

    /// Deletes a token that the client got, given a secret of it. A secret that opens nothing is
    /// no error: it does what was wanted.
    ///
    /// # Errors
    /// When the secret is somebody else's.
    pub async fn revoke_own_token(
        &self,
        caller: &Caller,
        client: &ActiveClient,
        secret: &str,
    ) -> Result<(), GrantRefusal> {
        let id = match self.presented(client, secret).await? {
            Presented::Own(id) => id,
            Presented::Others(company) => return Err(GrantRefusal::NotOwn(company)),
            Presented::Unknown => return Ok(()),
        };
        match self.delete_token(caller, id, None, Conditions::default()).await {
            Ok(()) | Err(AppError::Token(TokenRefusal::Deleted)) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Whose this secret is. One that is good is found in memory; only those of the client's own
    /// tokens that are over are asked for.
    async fn presented(
        &self,
        client: &ActiveClient,
        secret: &str,
    ) -> Result<Presented, StoreError> {
        if !is_well_formed(secret) {
            return Ok(Presented::Unknown);
        }
        let digest = Digest::of(secret);
        if let Some(holder) = self.index.holder(&digest) {
            let own = holder.client_id == Some(client.client_id);
            return Ok(if own {
                Presented::Own(holder.token_id)
            } else {
                Presented::Others(holder.company_id)
            });
        }
        if let Some(key) = self.index.key(&digest, self.now()) {
            return Ok(Presented::Others(key.company_id));
        }
        let (company, id) = (client.company_id, client.client_id);
        let found = self.read.client_token_of_secret(company, id, digest).await?;
        Ok(found.map_or(Presented::Unknown, Presented::Own))
    }

    /// The scopes that a client's token gets: those asked for, each once, or all of the client's
    /// that are on offer.
    fn scopes_for(
        &self,
        client: &ActiveClient,
        asked: Option<&[String]>,
    ) -> Result<Vec<String>, GrantRefusal> {
        let offered: BTreeSet<&str> =
            self.choices.catalogue.iter().map(|(scope, _)| scope.as_str()).collect();
        let own: BTreeSet<&str> = client
            .scopes
            .iter()
            .map(token_ledger_domain::Scope::as_str)
            .filter(|scope| offered.contains(scope))
            .collect();
        let names = |scopes: &BTreeSet<&str>| -> Vec<String> {
            scopes.iter().map(|scope| (*scope).to_owned()).collect()
        };
        let chosen = match asked {
            None => own.clone(),
            Some(asked) => asked.iter().map(String::as_str).collect(),
        };
        if own.is_empty() {
            let none = "none of the client's scopes is on offer any more; give it others";
            return Err(GrantRefusal::Scope(none.to_owned()));
        }
        // What was asked for is not repeated: it may be anything, a secret too.
        if chosen.is_empty() || !chosen.is_subset(&own) {
            let own = names(&own).join(" ");
            return Err(GrantRefusal::Scope(format!("the client may ask for these scopes: {own}")));
        }
        Ok(names(&chosen))
    }
}

/// Whether a secret is one that a client has, now. As much is compared where there is no client,
/// or it has no old secret.
pub(super) fn is_good(
    client: Option<&ActiveClient>,
    given: &Digest,
    now: Timestamp,
    mut same: impl FnMut(&Digest, &Digest) -> Choice,
) -> bool {
    let nothing = Digest([0; 32]);
    let (current, previous) = client.map_or((nothing, nothing), |client| {
        let previous = client.previous.filter(|(_, end)| *end > now);
        (client.digest, previous.map_or(nothing, |(digest, _)| digest))
    });
    let good = same(given, &current) | same(given, &previous);
    client.is_some() && bool::from(good)
}

fn granted(changed: Changed<TokenView>, issued_at: Timestamp) -> Result<Granted, GrantRefusal> {
    let Changed { view, secret, .. } = changed;
    let secret =
        secret.ok_or_else(|| StoreError::Rejected("a token without a secret".to_owned()))?;
    // What is recorded is a moment later than what was decided.
    let micros = view.expires_at.as_micros() - issued_at.as_micros();
    let expires_in = (micros + 500_000).div_euclid(1_000_000);
    Ok(Granted { name: view.name, secret, issued_at, expires_in, scopes: view.scopes })
}

#[cfg(test)]
mod tests {
    use super::*;
    use token_ledger_domain::{Name, ScopeSet};

    const NOW: Timestamp = Timestamp::from_micros(1_800_000_000_000_000);

    fn client(previous: Option<(&str, i64)>) -> ActiveClient {
        ActiveClient {
            client_id: ClientId(Uuid::from_u128(1)),
            company_id: CompanyId(Uuid::from_u128(2)),
            name: Name::new("HR portal").unwrap(),
            scopes: ScopeSet::default(),
            digest: Digest::of("current"),
            previous: previous.map(|(secret, left)| (Digest::of(secret), NOW.plus_seconds(left))),
        }
    }

    /// Whether the secret is good, and how many digests were compared for it.
    fn checked(client: Option<&ActiveClient>, secret: &str) -> (bool, usize) {
        let mut compared = 0;
        let good = is_good(client, &Digest::of(secret), NOW, |one, other| {
            compared += 1;
            one.0.ct_eq(&other.0)
        });
        (good, compared)
    }

    #[test]
    fn known_and_unknown_clients_take_the_same_work() {
        let (plain, graced, over) =
            (client(None), client(Some(("old", 1))), client(Some(("old", 0))));
        for (client, secret, good) in [
            (None, "current", false),
            (Some(&plain), "wrong", false),
            (Some(&plain), "current", true),
            (Some(&plain), "old", false),
            (Some(&graced), "wrong", false),
            (Some(&graced), "current", true),
            (Some(&graced), "old", true),
            (Some(&over), "old", false),
        ] {
            assert_eq!(checked(client, secret), (good, 2), "{secret} of {client:?}");
        }
    }

    #[test]
    fn a_secret_whose_digest_is_nothing_is_nobodys() {
        let same = |one: &Digest, other: &Digest| one.0.ct_eq(&other.0);
        assert!(!is_good(None, &Digest([0; 32]), NOW, same));
    }
}
