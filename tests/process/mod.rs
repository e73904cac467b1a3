//! The built program, run as a user would run it, over a ledger in a folder of its own.

#![allow(dead_code, reason = "each test file uses what it needs")]

use serde_json::Value;
use std::io::{BufRead, BufReader, Read};
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::time::Duration;
use tempfile::TempDir;
use token_ledger_test_cluster::TestDatabase;

/// How long a process may take to say what is waited for.
const PATIENCE: Duration = Duration::from_secs(60);
/// A user of PostgreSQL who owns nothing.
const SERVICE: &str = "ledger_test_service";

/// A folder, and a ledger in it or in a PostgreSQL database.
pub struct Place {
    dir: TempDir,
    postgres: Option<TestDatabase>,
}

/// What a command that has ended left behind.
#[derive(Debug)]
pub struct Ended {
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

impl Ended {
    /// The output of a command that must have worked.
    #[track_caller]
    pub fn done(self) -> String {
        assert_eq!(self.code, Some(0), "{self:?}");
        self.stdout
    }

    /// What a command said that must have ended with this code.
    #[track_caller]
    pub fn refused(self, code: i32) -> String {
        assert_eq!(self.code, Some(code), "{self:?}");
        assert!(!self.stderr.contains("panicked"), "{self:?}");
        format!("{}{}", self.stdout, self.stderr)
    }
}

/// What `setup --json` prints.
#[derive(Clone)]
pub struct Company {
    pub id: String,
    pub operator_key: String,
    pub admin_key: String,
    pub audit_key: String,
    pub introspect_key: String,
}

impl Place {
    /// On the database that tests run on.
    pub fn new() -> Self {
        let chosen = token_ledger_test_cluster::is_chosen();
        Self { postgres: chosen.then(TestDatabase::fresh_blocking), ..Self::sqlite() }
    }

    /// On PostgreSQL, whichever database tests run on.
    pub fn postgres() -> Self {
        Self { postgres: Some(TestDatabase::fresh_blocking()), ..Self::sqlite() }
    }

    /// On this PostgreSQL database.
    pub fn on(database: TestDatabase) -> Self {
        Self { postgres: Some(database), ..Self::sqlite() }
    }

    /// The PostgreSQL database that it is on.
    pub fn database(&self) -> &TestDatabase {
        self.postgres.as_ref().expect("it is on PostgreSQL")
    }

    /// On a file, whichever database tests run on.
    pub fn sqlite() -> Self {
        Self { dir: TempDir::new().expect("a folder for the test"), postgres: None }
    }

    /// The same ledger, at rest, in a place of its own.
    pub fn copy(&self) -> Self {
        let copy = Self {
            postgres: self.postgres.as_ref().map(TestDatabase::copy_blocking),
            ..Self::sqlite()
        };
        if copy.postgres.is_none() {
            std::fs::copy(self.ledger(), copy.ledger()).expect("the ledger can be copied");
        }
        copy
    }

    pub fn file(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// A copy of the program, where whoever is let into the folder may run it. A process of its own
    /// writes it: what is open to be written, a child of another test may hold, can't be run.
    pub fn program(&self) -> PathBuf {
        let program = self.file("program");
        let copied =
            Command::new("cp").arg(env!("CARGO_BIN_EXE_token-ledger")).arg(&program).status();
        assert!(copied.expect("cp can be run").success());
        program
    }

    pub fn ledger(&self) -> PathBuf {
        self.file("ledger.db")
    }

    pub fn url(&self) -> String {
        match &self.postgres {
            None => format!("sqlite://{}", self.ledger().display()),
            Some(place) => place.url(),
        }
    }

    /// The program, without anything from the environment, on this ledger.
    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_token-ledger"));
        command.env_clear().current_dir(self.dir.path()).args(args);
        command.env("TOKEN_LEDGER_DATABASE_URL", self.url());
        command
    }

    /// Runs a command to its end.
    pub fn run(&self, args: &[&str]) -> Ended {
        ended(&mut self.command(args))
    }

    /// Sets a company up.
    pub fn setup(&self, name: &str) -> Company {
        let text = self
            .run(&["setup", "--company", name, "--admin-email", "ada@example.com", "--json"])
            .done();
        let value: Value = serde_json::from_str(&text).expect("setup prints JSON");
        let field = |name: &str| value[name].as_str().expect(name).to_owned();
        Company {
            id: field("company_id"),
            operator_key: field("operator_key"),
            admin_key: field("admin_key"),
            audit_key: field("audit_key"),
            introspect_key: field("introspect_key"),
        }
    }

    /// Starts the service on a free port and waits until it listens.
    pub fn serve(&self, args: &[&str]) -> Serving {
        let mut all = vec!["serve", "--listen", "127.0.0.1:0"];
        all.extend(args);
        Serving::start(self.command(&all))
    }

    /// The folder of what is kept outside the database.
    pub fn evidence(&self) -> PathBuf {
        match &self.postgres {
            None => self.file("ledger.db.evidence"),
            Some(_) => self.file("token-ledger-evidence"),
        }
    }

    /// Whether the ledger is in a PostgreSQL database.
    pub fn is_postgres(&self) -> bool {
        self.postgres.is_some()
    }

    /// An identifier as the database's SQL has it.
    pub fn sql_id(&self, id: &str) -> String {
        match &self.postgres {
            None => format!("x'{}'", id.replace('-', "")),
            Some(_) => format!("'{id}'"),
        }
    }

    /// Bytes, given in hexadecimal, as the database's SQL has them.
    pub fn sql_bytes(&self, hexadecimal: &str) -> String {
        match &self.postgres {
            None => format!("x'{hexadecimal}'"),
            Some(_) => format!("'\\x{hexadecimal}'::bytea"),
        }
    }

    /// The same ledger as somebody sees it who may use the database as the service may, and no more.
    #[must_use]
    pub fn as_service(&self, args: &[&str]) -> Command {
        let mut command = self.command(args);
        if let Some(place) = &self.postgres {
            place.let_in_blocking(SERVICE, "token_ledger_service");
            command.env("TOKEN_LEDGER_DATABASE_URL", place.url_as(SERVICE));
        }
        command
    }

    /// Runs statements in the database's own words, as its owner.
    pub fn alter(&self, sql: &str) {
        if let Some(place) = &self.postgres {
            return place.run_blocking(sql);
        }
        let connection = rusqlite::Connection::open(self.ledger()).expect("the ledger's file");
        connection.execute_batch(sql).expect("the file can be changed");
    }

    /// Changes the ledger behind the program's back, triggers or not, which are there again
    /// afterwards.
    pub fn tamper(&self, sql: &str) {
        if self.is_postgres() {
            // Written for SQLite, where bytes look different and JSON is any text. What is none
            // afterwards stays a text.
            let sql = sql.replace(" x'", " '\\x");
            return self.alter(&format!(
                "ALTER TABLE events DISABLE TRIGGER ALL, ALTER payload TYPE text, \
                 ALTER metadata TYPE text; {sql}; \
                 DO $$ BEGIN ALTER TABLE events ALTER payload TYPE json USING payload::json, \
                 ALTER metadata TYPE json USING metadata::json; \
                 EXCEPTION WHEN invalid_text_representation THEN NULL; END $$; \
                 ALTER TABLE events ENABLE TRIGGER ALL"
            ));
        }
        let connection = rusqlite::Connection::open(self.ledger()).expect("the ledger's file");
        let mut triggers = connection
            .prepare("SELECT name, sql FROM sqlite_schema WHERE type = 'trigger'")
            .expect("a query");
        let triggers: Vec<(String, String)> = triggers
            .query_map([], |row| Ok((row.get(0)?, row.get(1)?)))
            .and_then(Iterator::collect)
            .expect("triggers");
        let (drop, make): (String, String) = triggers
            .iter()
            .map(|(name, made)| (format!("DROP TRIGGER {name};"), format!("{made};")))
            .unzip();
        connection.execute_batch(&format!("{drop}{sql};{make}")).expect("the file can be changed");
    }
}

/// Runs a command to its end.
pub fn ended(command: &mut Command) -> Ended {
    let output = command.output().expect("the program can be run");
    Ended {
        code: output.status.code(),
        stdout: String::from_utf8(output.stdout).expect("UTF-8 on stdout"),
        stderr: String::from_utf8(output.stderr).expect("UTF-8 on stderr"),
    }
}

/// A service that runs.
pub struct Serving {
    child: Child,
    pub base: String,
    /// What it said before it listened.
    before: Vec<String>,
    stderr: mpsc::Receiver<String>,
}

impl Serving {
    /// Starts it and waits until it says where it listens.
    pub fn start(command: Command) -> Self {
        let mut serving = Self::spawn(command);
        serving.listens();
        serving
    }

    /// Starts it.
    pub fn spawn(mut command: Command) -> Self {
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the program can be run");
        let lines = BufReader::new(child.stderr.take().expect("stderr"));
        let (sender, stderr) = mpsc::channel();
        std::thread::spawn(move || {
            for line in lines.lines().map_while(Result::ok) {
                // Whoever waited for it may be gone.
                let _ = sender.send(line);
            }
        });
        Self { child, base: String::new(), before: Vec::new(), stderr }
    }

    /// Waits until it says where it listens.
    pub fn listens(&mut self) {
        assert!(self.comes_to_listen(), "it does not listen; it said: {}", self.before.join("\n"));
    }

    /// Waits until it says where it listens, or says nothing any more.
    pub fn comes_to_listen(&mut self) -> bool {
        self.base = loop {
            let Ok(line) = self.stderr.recv_timeout(PATIENCE) else { return false };
            if let Some((_, rest)) = line.split_once("listening on ") {
                let end = rest.find(|c: char| c == '"' || c.is_whitespace()).unwrap_or(rest.len());
                break rest[..end].to_owned();
            }
            self.before.push(line);
        };
        true
    }

    /// What it said before it listened, or in vain.
    pub fn before(&self) -> String {
        self.before.join("\n")
    }

    /// The first line that it prints as its answer.
    pub fn first_line(&mut self) -> String {
        self.answer(|_| true)
    }

    /// What it prints as its answer, up to the first line that ends it.
    pub fn answer(&mut self, ends: impl Fn(&str) -> bool) -> String {
        let mut stdout = BufReader::new(self.child.stdout.take().expect("stdout, once"));
        let mut text = String::new();
        loop {
            let before = text.len();
            assert!(stdout.read_line(&mut text).expect("a line") > 0, "no such line: {text}");
            if ends(&text[before..]) {
                // Else whoever is not done with what it says would end.
                self.child.stdout = Some(stdout.into_inner());
                return text;
            }
        }
    }

    /// Its process.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Sends a signal.
    pub fn signal(&self, name: &str) {
        let sent = Command::new("kill")
            .arg(format!("-{name}"))
            .arg(self.child.id().to_string())
            .status()
            .expect("kill can be run");
        assert!(sent.success());
    }

    /// Waits until it has said something with this text in it.
    #[track_caller]
    pub fn says(&self, text: &str) -> String {
        if let Some(line) = self.before.iter().find(|line| line.contains(text)) {
            return line.clone();
        }
        loop {
            let line = self.stderr.recv_timeout(PATIENCE).expect("it goes on and says it");
            if line.contains(text) {
                return line;
            }
        }
    }

    /// Waits for the end, and answers what it said meanwhile.
    pub fn wait(mut self) -> (ExitStatus, String) {
        let status = self.child.wait().expect("it ends");
        let said: Vec<String> = self.stderr.iter().collect();
        (status, said.join("\n"))
    }

    /// Stops it in good order.
    #[track_caller]
    pub fn stop(self) {
        self.signal("TERM");
        let (status, said) = self.wait();
        assert_eq!(status.code(), Some(0), "{said}");
        assert!(!said.contains("panicked"), "{said}");
    }

    /// Ends it as a power cut would.
    pub fn kill(mut self) {
        self.child.kill().expect("it can be killed");
        self.child.wait().expect("it ends");
    }

    pub fn url(&self, path: &str) -> String {
        format!("{}{path}", self.base)
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        // It has ended already unless the test failed.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if let Some(mut stdout) = self.child.stdout.take() {
            let _ = stdout.read_to_end(&mut Vec::new());
        }
    }
}

/// Asks with a key, and answers status and JSON.
pub async fn get(url: &str, key: &str) -> (u16, Value) {
    answered(reqwest::Client::new().get(url).bearer_auth(key)).await
}

/// Sends JSON with a key, and answers status and JSON.
pub async fn post(url: &str, key: &str, body: &Value) -> (u16, Value) {
    answered(reqwest::Client::new().post(url).bearer_auth(key).json(body)).await
}

async fn answered(request: reqwest::RequestBuilder) -> (u16, Value) {
    let response = request.send().await.expect("an answer");
    let status = response.status().as_u16();
    (status, response.json().await.unwrap_or(Value::Null))
}
