//! Whether whoever asks still may once a request was held up.

use super::oauth::is_good;
use super::{App, AppError, Caller};
use async_trait::async_trait;
use subtle::ConstantTimeEq;
use token_ledger_domain::{ClientId, CompanyId, Digest, KeyScope, Power};
use token_ledger_event_store::{
    Context, Decidable, ExecuteError, Executed, Moment, Request, STANDS_FOR, Standing, StoreError,
};
use token_ledger_projections::index::ActiveKey;

/// What a caller has shown to be let through.
#[derive(Clone, Copy, Debug)]
pub enum Shown {
    /// Nothing: they sit at the machine that holds the ledger.
    Nothing,
    /// An API key of this digest.
    Key(Digest),
    /// A secret of their OAuth client, of this digest.
    Client(Digest),
    /// The cookie of a session, of this digest.
    Session(Digest),
}

/// The power that a key gives in a company: the operator's everywhere, others in their own.
pub fn power_of(key: &ActiveKey, company: CompanyId) -> Option<Power> {
    if key.company_id == CompanyId::PLATFORM && key.scopes.contains(&KeyScope::Operator) {
        return Some(Power::Operator);
    }
    if key.company_id != company {
        return None;
    }
    key.scopes.iter().filter_map(|scope| scope.power()).max()
}

/// What lets a caller's request through.
struct OfCaller<'a> {
    app: &'a App,
    caller: &'a Caller,
}

#[async_trait]
impl Standing for OfCaller<'_> {
    fn since(&self) -> Moment {
        self.caller.let_through_at
    }

    async fn holds(&self) -> Result<bool, StoreError> {
        let Self { app, caller } = self;
        if matches!(caller.shown, Shown::Key(_) | Shown::Client(_)) && !app.knows().await {
            return Err(StoreError::Unavailable(
                "whether the credential is still good can't be known right now".to_owned(),
            ));
        }
        Ok(match &caller.shown {
            Shown::Nothing => true,
            Shown::Key(digest) => {
                let key = app.index.key(digest, app.now());
                key.and_then(|key| power_of(&key, caller.company)) >= Some(caller.power)
            }
            Shown::Client(digest) => {
                let client = app.index.client(ClientId(caller.actor.id));
                let same = |one: &Digest, other: &Digest| one.0.ct_eq(&other.0);
                is_good(client.as_ref(), digest, app.now(), same)
            }
            Shown::Session(digest) => {
                app.power_in(*digest, caller.company).await? >= Some(caller.power)
            }
        })
    }
}

impl App {
    /// Refuses whoever was held up and has lost the right to what is asked for meanwhile. For what
    /// is no command: the ledger looks again itself before it records one.
    ///
    /// # Errors
    /// [`AppError::Lapsed`], and a failure where that can't be known.
    pub(super) async fn still_stands(&self, caller: &Caller) -> Result<(), AppError> {
        let standing = OfCaller { app: self, caller };
        if standing.since().elapsed() < STANDS_FOR || standing.holds().await? {
            return Ok(());
        }
        Err(AppError::Lapsed)
    }

    /// Executes a caller's command, while what let the caller through still does.
    pub(super) async fn execute<A: Decidable>(
        &self,
        caller: &Caller,
        context: &Context,
        request: Request<<A as Decidable>::Command>,
    ) -> Result<Executed<A>, ExecuteError<A::Error>> {
        let standing = OfCaller { app: self, caller };
        self.ledger.execute_for(&standing, caller.company, caller.power, context, request).await
    }
}
