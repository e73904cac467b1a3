//! `token-ledger demo`

use super::demo_history;
use super::demo_script::{COMPANY, OPERATOR, PEOPLE};
use super::serve::{addresses, check_exposure, limits, listen, tls};
use super::server::Server;
use super::signals::Signals;
use super::{Failure, answer, answer_json, companies, tell};
use crate::app::jobs::Intervals;
use crate::app::{App, AppError, Caller};
use crate::config::{DatabaseUrl, Settings};
use crate::console::paths;
use clap::Args;
use serde::Serialize;
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tempfile::TempPath;
use token_ledger_domain::{CompanyId, KeyScope, Secret};
use token_ledger_event_store::clock::SetClock;
use token_ledger_event_store::sqlite::Access;
use token_ledger_event_store::{Clock, StoreError, SystemClock, SystemEntropy};
use tokio::net::TcpListener;

/// Where the demo listens unless asked otherwise; anywhere else where that is taken.
const LISTEN: &str = "127.0.0.1:8080";
const ANYWHERE: &str = "127.0.0.1:0";
/// What is told where nobody can sign in.
const NOT_HERE: &str = "the console can't be signed in to at this address: browsers keep its \
    session over HTTPS, and over HTTP on this machine only; listen on 127.0.0.1, or on 0.0.0.0";
/// What the token that is shown as an example may read, if that is on offer.
const EXAMPLE_SCOPE: &str = "positions";
const LEDGER: &str = "ledger.db";
/// How the folder's name begins in which a ledger is while its history is being made.
const UNFINISHED: &str = "unfinished-";

#[derive(Debug, Args)]
pub(super) struct Demo {
    /// The folder of the demo's ledger
    #[arg(long, value_name = "DIR", default_value = "demo-ledger")]
    dir: PathBuf,
    /// Throw the demo's ledger away and start afresh; what is not the demo's stays
    #[arg(long)]
    reset: bool,
    /// Not offered: the ledger is in the folder
    #[arg(long, global = true, hide = true, value_name = "URL")]
    pub(super) database_url: Option<DatabaseUrl>,
    /// The address to listen on; 127.0.0.1:8080, or a free port where that is taken, unless given
    #[arg(long, value_name = "ADDR")]
    listen: Option<String>,
    /// Serve plain HTTP beyond this machine
    #[arg(long)]
    insecure_http: bool,
    /// Print one line of JSON instead of text
    #[arg(long)]
    json: bool,
}

/// What `--json` prints.
#[derive(Serialize)]
struct Answer<'a> {
    url: &'a str,
    /// Opens the console once, within the hour.
    sign_in_url: &'a str,
    company_id: CompanyId,
    api_key: &'a str,
}

impl Demo {
    /// The demo's ledger, made where there is none yet.
    async fn opened(&self, settings: &Settings, ledger: &Path) -> Result<Arc<App>, Failure> {
        if self.reset {
            reset(settings, ledger).await?;
        }
        if !ledger.exists() {
            make_ledger(&self.dir, settings, ledger).await?;
        }
        open(settings, Access::Write, ledger).await.map_err(|error| match error {
            StoreError::InUse(_) => in_use(ledger),
            error => error.into(),
        })
    }

    pub(super) async fn run(self, settings: &Settings) -> Result<(), Failure> {
        let mut signals = Signals::listen()?;
        let settings = Settings {
            database_url: DatabaseUrl::Sqlite(self.dir.join(LEDGER)),
            insecure_http: self.insecure_http,
            listen: self.listen.clone().unwrap_or_else(|| LISTEN.to_owned()),
            // The demo signs for nobody but itself, and asks nobody to bear witness to it.
            evidence_dir: None,
            log_seed: None,
            witnesses: Vec::new(),
            witness_quorum: None,
            ..settings.clone()
        };
        let wanted = addresses(&settings.listen).await?;
        check_exposure(&settings, &wanted)?;
        let tls = tls(&settings)?;
        std::fs::create_dir_all(&self.dir).map_err(|error| {
            Failure::Failed(format!("{} can't be made: {error}", self.dir.display()))
        })?;
        let ledger = self.dir.join(LEDGER);
        let opening = self.opened(&settings, &ledger);
        let Some(app) = signals.stop.unless_before(opening).await? else { return Ok(()) };
        let company = demo_company(&app, &ledger).await?;
        let link = sign_in_link(&app, company, &ledger).await?;
        let key = app.issue_key(&Caller::command_line(company), "Demo", KeyScope::Admin).await?;
        let listener = match TcpListener::bind(wanted.as_slice()).await {
            Ok(listener) => listener,
            Err(error) if self.listen.is_none() && error.kind() == ErrorKind::AddrInUse => {
                listen(&addresses(ANYWHERE).await?).await?
            }
            Err(_) => listen(&wanted).await?,
        };
        let address = listener.local_addr()?;
        let here = url_here(address, tls.is_some());
        if tls.is_none() && !is_here(address) {
            tell(NOT_HERE);
        }
        let scope = example_scope(&app);
        let server = Server {
            app,
            listener,
            tls,
            proxies: settings.proxies(),
            public_url: here.clone(),
            limits: limits(&settings),
            no_query_credentials: settings.no_query_credentials,
            intervals: Intervals {
                expiry: settings.expiry_interval(),
                use_flush: settings.use_flush_interval(),
            },
        };
        server
            .run(signals, |url| {
                tell(&format!("listening on {url}"));
                let url = here.as_deref().unwrap_or(url);
                let sign_in_url = &paths::sign_in(url, &link);
                if self.json {
                    let api_key = key.reveal();
                    answer_json(&Answer { url, sign_in_url, company_id: company, api_key })
                } else {
                    let example = Example { url, sign_in_url, company, key: &key, scope: &scope };
                    answer(&example.as_text(&self.dir))
                }
            })
            .await
    }
}

/// Opens the ledger, unless another process writes to it.
async fn open(settings: &Settings, access: Access, ledger: &Path) -> Result<Arc<App>, StoreError> {
    let (url, choices) = (DatabaseUrl::Sqlite(ledger.to_owned()), settings.choices());
    App::open(&url, access, Arc::new(SystemClock), Arc::new(SystemEntropy), choices).await
}

/// What is told where another process has the ledger.
fn in_use(ledger: &Path) -> Failure {
    Failure::Failed(format!(
        "another process writes to {}, most likely a demo that runs there: go on with that one, \
         stop it first, or name another folder with --dir",
        ledger.display()
    ))
}

/// Throws the demo's ledger away, unless a process is using it. What is not the demo's stays.
async fn reset(settings: &Settings, ledger: &Path) -> Result<(), Failure> {
    // What evidence keeps outside the database speaks of the ledger that goes.
    let mut evidence = ledger.as_os_str().to_owned();
    evidence.push(".evidence");
    let evidence = PathBuf::from(evidence);
    let companies = if ledger.exists() { demo_companies(settings, ledger).await? } else { vec![] };
    if let Some(other) = not_about(&evidence, &companies)? {
        return Err(Failure::Failed(format!(
            "{} is not of the demo's ledger, so nothing was removed; name another folder with --dir",
            other.display()
        )));
    }
    // In this order: as long as the ledger is there, it says whose the folder is.
    match std::fs::remove_dir_all(&evidence) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(error.into()),
        _ => {}
    }
    Ok(remove(ledger)?)
}

/// The companies of the ledger, which must be the demo's, and in use by nobody.
async fn demo_companies(settings: &Settings, ledger: &Path) -> Result<Vec<CompanyId>, Failure> {
    let app = match open(settings, Access::WriteUnmigrated, ledger).await {
        Ok(app) => app,
        Err(StoreError::InUse(_)) => return Err(in_use(ledger)),
        Err(error) => {
            return Err(Failure::Failed(format!(
                "{error}; nothing was removed, since {} may be no demo's: remove it yourself, or \
                 name another folder with --dir",
                ledger.display()
            )));
        }
    };
    demo_company(&app, ledger).await?;
    companies(&app, None).await
}

/// Something in an evidence folder that is not of these companies' logs.
fn not_about(evidence: &Path, companies: &[CompanyId]) -> std::io::Result<Option<PathBuf>> {
    let entries = |folder: &Path| match std::fs::read_dir(folder) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(Vec::new()),
        read => read?.map(|entry| Ok(entry?.path())).collect::<std::io::Result<Vec<_>>>(),
    };
    let is_known = |note: &PathBuf| {
        let name = note.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let company = name.split_once('.').and_then(|(company, _)| company.parse().ok());
        company.is_some_and(|company| companies.contains(&company))
    };
    for path in entries(evidence)? {
        if path.is_dir() {
            if let Some(other) = entries(&path)?.into_iter().find(|note| !is_known(note)) {
                return Ok(Some(other));
            }
        } else if companies.is_empty() {
            return Ok(Some(path));
        }
    }
    Ok(None)
}

/// Removes an SQLite file with what belongs to it.
fn remove(file: &Path) -> std::io::Result<()> {
    for end in ["", "-wal", "-shm", ".lock"] {
        let mut name = file.as_os_str().to_owned();
        name.push(end);
        match std::fs::remove_file(&name) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    Ok(())
}

/// Makes the ledger with its history, in a folder that nobody else knows. It gets its place when it
/// is finished, so that there is never half a history, unless another demo's is there by then.
async fn make_ledger(dir: &Path, settings: &Settings, ledger: &Path) -> Result<(), Failure> {
    let folder = tempfile::Builder::new().prefix(UNFINISHED).tempdir_in(dir)?;
    let unfinished = folder.path().join(LEDGER);
    let present = SystemClock.now();
    let clock = Arc::new(SetClock::at(present));
    let url = DatabaseUrl::Sqlite(unfinished.clone());
    let entropy = Arc::new(SystemEntropy);
    let choices = settings.choices();
    let app =
        App::open(&url, Access::Write, Arc::clone(&clock) as Arc<dyn Clock>, entropy, choices)
            .await?;
    demo_history::make(&app, &clock, present).await?;
    drop(app);
    match TempPath::try_from_path(unfinished)?.persist_noclobber(ledger) {
        Err(failed) if failed.error.kind() != ErrorKind::AlreadyExists => Err(failed.error.into()),
        _ => Ok(()),
    }
}

/// The demo's company, in a ledger that is the demo's: nobody else's has both the company and one
/// of the demo's people, whose addresses are made up.
async fn demo_company(app: &App, ledger: &Path) -> Result<CompanyId, Failure> {
    let named = app.read.companies_named(COMPANY).await?;
    let emails = PEOPLE.iter().map(|person| person.email).chain([OPERATOR.1]);
    let mut is_demo = false;
    for email in emails {
        is_demo = is_demo || app.people.account(email).await?.is_some();
    }
    match named.first() {
        Some(company) if is_demo => Ok(company.company_id),
        _ => Err(Failure::Failed(format!(
            "{} is not the demo's ledger; name another folder with --dir",
            ledger.display()
        ))),
    }
}

/// The link by which the demo's first Super Admin signs in, unless that person was erased.
async fn sign_in_link(app: &App, company: CompanyId, ledger: &Path) -> Result<Secret, Failure> {
    let email = PEOPLE[0].email;
    match app.sign_in_link(email, company).await {
        Err(AppError::NotFound(_)) => Err(Failure::Failed(format!(
            "{} has no account for {email} any more (erased?), so there is nobody to sign in as; \
             start afresh with --reset, or name another folder with --dir",
            ledger.display()
        ))),
        made => Ok(made?),
    }
}

/// Whether who signs in there from this machine stays signed in: browsers send a session's cookie
/// over plain HTTP only to the machine that they run on.
fn is_here(address: SocketAddr) -> bool {
    let ip = address.ip().to_canonical();
    ip.is_loopback() || ip.is_unspecified()
}

/// The URL by which this machine reaches what listens on all of its addresses.
fn url_here(address: SocketAddr, is_tls: bool) -> Option<String> {
    let scheme = if is_tls { "https" } else { "http" };
    let is_everywhere = address.ip().to_canonical().is_unspecified();
    is_everywhere.then(|| format!("{scheme}://localhost:{}", address.port()))
}

/// A scope on offer, for the token that is shown as an example.
fn example_scope(app: &App) -> String {
    let names: Vec<&str> = app.choices.catalogue.iter().map(|(scope, _)| scope.as_str()).collect();
    let usual = names.iter().find(|name| **name == EXAMPLE_SCOPE);
    usual.or(names.first()).copied().unwrap_or(EXAMPLE_SCOPE).to_owned()
}

/// What there is to try.
struct Example<'a> {
    url: &'a str,
    sign_in_url: &'a str,
    company: CompanyId,
    key: &'a Secret,
    scope: &'a str,
}

impl Example<'_> {
    fn as_text(&self, dir: &Path) -> String {
        let Self { url, sign_in_url, company, scope, .. } = self;
        let key = self.key.reveal();
        let base = format!("{url}/v1/companies/{company}");
        let bearer = format!("-H 'Authorization: Bearer {key}'");
        format!(
            "The demo of {COMPANY}, kept in {}\n\n\
             URL      {url}\n\
             Console  {sign_in_url}\n\
             \x20        (signs in as {}, once, within the hour)\n\
             Company  {company}\n\
             API key  {key}\n\n\
             The company's tokens:\n  curl -s {bearer} '{base}/tokens?limit=5'\n\n\
             A new token:\n  curl -s {bearer} -H 'Content-Type: application/json' \
             -d '{{\"name\":\"My first token\",\"scopes\":[\"{scope}\"]}}' '{base}/tokens'\n\n\
             What has happened, newest first:\n  curl -s {bearer} '{base}/audit/events?limit=5'\n\n\
             Ctrl-C ends it; started again, it goes on with the same ledger.",
            dir.display(),
            PEOPLE[0].name,
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_listens_everywhere_is_reached_from_here() {
        for (address, url, here) in [
            ("0.0.0.0:80", Some("http://localhost:80"), true),
            ("[::]:80", Some("http://localhost:80"), true),
            ("127.0.0.1:80", None, true),
            ("[::1]:80", None, true),
            ("192.0.2.1:80", None, false),
        ] {
            let address = address.parse().unwrap();
            assert_eq!(url_here(address, false).as_deref(), url, "{address}");
            assert_eq!(is_here(address), here, "{address}");
        }
    }
}
