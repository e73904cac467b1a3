//! The clusters behind the databases.

use super::CLUSTER_URL;
use sqlx::Executor;
use std::net::TcpListener;
use std::os::unix::fs::{MetadataExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// PostgreSQL refuses to run as the superuser; then it runs as this one: nobody.
const UNPRIVILEGED: u32 = 65_534;
/// What is run of them.
const PROGRAMS: [&str; 3] = ["initdb", "pg_ctl", "pg_basebackup"];
/// Where Debian keeps the programs of each version.
const DEBIAN: &str = "/usr/lib/postgresql";
/// Connections that all tests of a process may have together.
const CONNECTIONS: u32 = 400;

/// How often it is looked whether a standby follows.
const LOOK: Duration = Duration::from_millis(20);

/// The URL of the cluster's own database, the cluster being up.
pub fn url() -> String {
    static URL: OnceLock<String> = OnceLock::new();
    URL.get_or_init(|| std::env::var(CLUSTER_URL).unwrap_or_else(|_| start())).clone()
}

/// Makes and starts the cluster that most tests share.
fn start() -> String {
    static SHARED: OnceLock<Cluster> = OnceLock::new();
    SHARED.get_or_init(|| Cluster::start(&[])).url()
}

/// A cluster. It is removed when this process has ended.
#[derive(Debug)]
pub struct Cluster {
    directory: PathBuf,
    port: u16,
}

impl Cluster {
    /// A new one, with these settings besides, such as `log_statement=all`.
    ///
    /// # Panics
    /// When there are no PostgreSQL programs, or the cluster doesn't start.
    pub fn start(settings: &[&str]) -> Self {
        let cluster = Self::somewhere();
        run(unprivileged(&programs().join("initdb"))
            .args(["--auth=trust", "--encoding=UTF8", "--locale=C", "--no-sync"])
            .arg("--lc-ctype=C.UTF-8")
            .args(["--username=postgres", "--pgdata"])
            .arg(cluster.data()));
        cluster.run(settings);
        cluster
    }

    /// A folder and a port.
    fn somewhere() -> Self {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let directory = home().join(COUNT.fetch_add(1, Ordering::Relaxed).to_string());
        make_folder(&directory);
        Self { directory, port: free_port() }
    }

    fn data(&self) -> PathBuf {
        self.directory.join("data")
    }

    fn run(&self, settings: &[&str]) {
        let mut options = format!(
            "-c listen_addresses=127.0.0.1 -c port={} -c unix_socket_directories={} \
             -c max_connections={CONNECTIONS} -c fsync=off -c shared_buffers=64MB \
             -c max_wal_size=2GB -c autovacuum_naptime=10s",
            self.port,
            self.directory.display()
        );
        for setting in settings {
            options.push_str(&format!(" -c {setting}"));
        }
        run(unprivileged(&programs().join("pg_ctl"))
            .args(["start", "--wait", "--silent", "--timeout=60", "--pgdata"])
            .arg(self.data())
            .arg("--log")
            .arg(self.directory.join("log"))
            .arg("--options")
            .arg(options));
    }

    /// The URL of its own database.
    pub fn url(&self) -> String {
        format!("postgres://postgres@127.0.0.1:{}/postgres", self.port)
    }

    /// Another cluster that follows this one and has whatever this one acknowledges from now on.
    ///
    /// # Panics
    /// When it can't be made.
    #[must_use]
    pub fn standby(&self) -> Self {
        let standby = Self::somewhere();
        run(unprivileged(&programs().join("pg_basebackup"))
            .args(["--no-sync", "--checkpoint=fast", "--write-recovery-conf", "--dbname"])
            .arg(self.url())
            .arg("--pgdata")
            .arg(standby.data()));
        standby.run(&[]);
        let url = self.url();
        super::blocking(async move {
            let mut connection = super::connect(&url).await;
            for statement in
                ["ALTER SYSTEM SET synchronous_standby_names = '*'", "SELECT pg_reload_conf()"]
            {
                connection.execute(statement).await.expect("it waits for its standby");
            }
            let following = "SELECT FROM pg_stat_replication WHERE sync_state = 'sync'";
            while connection.fetch_optional(following).await.expect("a state").is_none() {
                tokio::time::sleep(LOOK).await;
            }
        });
        standby
    }

    /// Ends it as a power cut would.
    ///
    /// # Panics
    /// When it doesn't run.
    pub fn cut_power(&self) {
        run(unprivileged(&programs().join("pg_ctl"))
            .args(["stop", "--mode=immediate", "--silent", "--pgdata"])
            .arg(self.data()));
    }

    /// Makes a standby a server that takes writes.
    ///
    /// # Panics
    /// When it is none.
    pub fn promote(&self) {
        run(unprivileged(&programs().join("pg_ctl"))
            .args(["promote", "--wait", "--silent", "--pgdata"])
            .arg(self.data()));
    }

    /// What it has logged.
    ///
    /// # Panics
    /// When the log can't be read.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.directory.join("log")).expect("a log")
    }
}

/// The folder of all clusters of this process, with somebody who stops and removes them when the
/// process has ended.
fn home() -> PathBuf {
    // Its input is held until this process ends; the kernel closes it, however that comes about.
    static HOME: OnceLock<(PathBuf, Child)> = OnceLock::new();
    let (home, _) = HOME.get_or_init(|| {
        let home = std::env::temp_dir().join(format!("token-ledger-test-{}", std::process::id()));
        // What a process of the same number may have left long ago.
        let _ = std::fs::remove_dir_all(&home);
        make_folder(&home);
        let watchdog = watchdog(&programs(), &home);
        (home, watchdog)
    });
    home.clone()
}

/// The folder of the newest programs that there are.
fn programs() -> PathBuf {
    let on_path = std::env::var_os("PATH")
        .map(|path| std::env::split_paths(&path).collect::<Vec<_>>())
        .unwrap_or_default()
        .into_iter();
    let mut versions: Vec<PathBuf> = std::fs::read_dir(DEBIAN)
        .map(|entries| entries.flatten().map(|entry| entry.path().join("bin")).collect())
        .unwrap_or_default();
    versions.sort();
    on_path
        .chain(versions.into_iter().rev())
        .find(|folder| PROGRAMS.iter().all(|program| folder.join(program).exists()))
        .expect("PostgreSQL's programs are installed (Debian: postgresql); scripts/test does it")
}

fn make_folder(directory: &Path) {
    std::fs::create_dir(directory).expect("a folder");
    if is_superuser() {
        chown(directory, Some(UNPRIVILEGED), Some(UNPRIVILEGED)).expect("the folder is given away");
    }
}

fn is_superuser() -> bool {
    std::fs::metadata("/proc/self").is_ok_and(|process| process.uid() == 0)
}

/// The program, as a user who may run it.
fn unprivileged(program: &Path) -> Command {
    let mut command = Command::new(program);
    command.current_dir("/").stdin(Stdio::null()).env_remove("LC_ALL");
    if is_superuser() {
        command.uid(UNPRIVILEGED).gid(UNPRIVILEGED);
    }
    command
}

/// Waits for the end of this process, which it sees as the end of its input, then stops the
/// clusters and removes them.
fn watchdog(programs: &Path, directory: &Path) -> Child {
    let script = "trap '' INT TERM HUP; cat >/dev/null; for data in \"$2\"/*/data; do \
                  \"$1/pg_ctl\" stop --mode=immediate --silent --pgdata \"$data\"; done; \
                  rm -rf \"$2\"";
    let mut command = unprivileged(Path::new("/bin/sh"));
    command
        .args(["-c", script, "watchdog"])
        .args([programs, directory])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        // A signal to the tests' process group, such as Ctrl-C, is not for it.
        .process_group(0);
    command.spawn().expect("a watchdog")
}

fn free_port() -> u16 {
    let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a free port");
    listener.local_addr().expect("its address").port()
}

fn run(command: &mut Command) {
    // Its output goes to a file or nowhere: a server that it starts would hold a pipe open.
    let status = command.stdout(Stdio::null()).stderr(Stdio::null()).status().expect("it runs");
    assert!(status.success(), "{command:?}: {status}");
}
