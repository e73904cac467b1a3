//! The cluster behind the databases.

use super::CLUSTER_URL;
use std::net::TcpListener;
use std::os::unix::fs::{MetadataExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;

/// PostgreSQL refuses to run as the superuser; then it runs as this one: nobody.
const UNPRIVILEGED: u32 = 65_534;
/// Where Debian keeps the programs of each version.
const DEBIAN: &str = "/usr/lib/postgresql";
/// Connections that all tests of a process may have together.
const CONNECTIONS: u32 = 400;

/// The URL of the cluster's own database, the cluster being up.
pub fn url() -> String {
    static URL: OnceLock<String> = OnceLock::new();
    URL.get_or_init(|| std::env::var(CLUSTER_URL).unwrap_or_else(|_| start())).clone()
}

/// Makes and starts a cluster, and somebody who removes it when this process has ended.
fn start() -> String {
    // Its input is held until this process ends; the kernel closes it, however that comes about.
    static WATCHDOG: OnceLock<Child> = OnceLock::new();
    let programs = programs();
    let directory = directory();
    WATCHDOG.get_or_init(|| watchdog(&programs, &directory));
    let data = directory.join("data");
    run(unprivileged(&programs.join("initdb"))
        .args(["--auth=trust", "--encoding=UTF8", "--locale=C", "--no-sync", "--username=postgres"])
        .arg("--pgdata")
        .arg(&data));
    let port = free_port();
    let options = format!(
        "-c listen_addresses=127.0.0.1 -c port={port} -c unix_socket_directories={} \
         -c max_connections={CONNECTIONS} -c fsync=off -c shared_buffers=64MB \
         -c max_wal_size=2GB -c autovacuum_naptime=10s",
        directory.display()
    );
    run(unprivileged(&programs.join("pg_ctl"))
        .args(["start", "--wait", "--silent", "--timeout=60", "--pgdata"])
        .arg(&data)
        .arg("--log")
        .arg(directory.join("log"))
        .arg("--options")
        .arg(options));
    format!("postgres://postgres@127.0.0.1:{port}/postgres")
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
        .find(|folder| ["initdb", "pg_ctl"].iter().all(|program| folder.join(program).exists()))
        .expect("PostgreSQL's programs are installed (Debian: postgresql); scripts/test does it")
}

fn directory() -> PathBuf {
    let directory = std::env::temp_dir().join(format!("token-ledger-test-{}", std::process::id()));
    // What a process of the same number may have left long ago.
    let _ = std::fs::remove_dir_all(&directory);
    std::fs::create_dir(&directory).expect("a folder");
    if is_superuser() {
        chown(&directory, Some(UNPRIVILEGED), Some(UNPRIVILEGED))
            .expect("the folder is given away");
    }
    directory
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
/// cluster and removes it.
fn watchdog(programs: &Path, directory: &Path) -> Child {
    let script = "trap '' INT TERM HUP; cat >/dev/null; \
                  \"$1/pg_ctl\" stop --mode=immediate --silent --pgdata \"$2/data\"; rm -rf \"$2\"";
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
