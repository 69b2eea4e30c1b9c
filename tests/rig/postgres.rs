//! A database of its own for every test, on the private cluster that `tests/postgres.sh` keeps.

use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::{Context as _, Result, ensure};

/// A fresh database owned by `lotgate_owner`, dropped with all its connections when this is dropped.
///
/// The cluster is started if it is down. With `LOTGATE_TEST_POSTGRES` set to a superuser's URL, another server
/// stands in for it; the roles `lotgate_owner` and `lotgate_app` must exist there.
#[derive(Debug)]
pub struct TestDatabase {
    name: String,
    /// For what no role of the product may do: proofs that even a superuser's mistake is refused, and looking on.
    pub superuser_url: String,
    /// `lotgate_owner`: migrations.
    pub owner_url: String,
    /// `lotgate_app`: everything else that the cloud does.
    pub app_url: String,
}

impl TestDatabase {
    /// Makes an empty database. `name` (a-z, 0-9, `_`) only helps to recognise it while a test is looked into.
    ///
    /// # Errors
    /// The script's words, if there is no cluster and none can be started.
    pub fn create(name: &str) -> Result<Self> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        static SWEPT: OnceLock<()> = OnceLock::new();
        SWEPT.get_or_init(drop_left_over);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("test_{}_{count}_{name}", std::process::id());
        let said = script(&["database", &name])?;
        Self::of(name, &said)
    }

    fn of(name: String, said: &str) -> Result<Self> {
        let url = |role: &str| {
            let line = said.lines().find_map(|line| line.strip_prefix(role)?.strip_prefix(' '));
            line.map(str::to_owned).with_context(|| format!("no URL of {role} in {said:?}"))
        };
        Ok(Self { superuser_url: url("superuser")?, owner_url: url("owner")?, app_url: url("app")?, name })
    }
}

impl TestDatabase {
    /// A copy of this database as it is now; every connection to it is closed for that.
    ///
    /// # Errors
    /// The script's words.
    pub fn copy(&self, name: &str) -> Result<Self> {
        let copy = Self::create(name)?;
        let (from, to) = (&self.name, &copy.name);
        for statement in [
            format!("DROP DATABASE \"{to}\""),
            format!("REVOKE CONNECT ON DATABASE \"{from}\" FROM lotgate_app"),
            format!("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{from}'"),
            format!("CREATE DATABASE \"{to}\" TEMPLATE \"{from}\" OWNER lotgate_owner"),
            format!("REVOKE ALL ON DATABASE \"{to}\" FROM PUBLIC"),
            format!("GRANT CONNECT ON DATABASE \"{from}\" TO lotgate_app"),
            format!("GRANT CONNECT ON DATABASE \"{to}\" TO lotgate_app"),
        ] {
            script(&["psql", "-X", "-q", "-v", "ON_ERROR_STOP=1", "-c", &statement])?;
        }
        Ok(copy)
    }
}

impl Drop for TestDatabase {
    fn drop(&mut self) {
        // What remains after a failure here is dropped by the next run.
        drop(script(&["drop", &self.name]));
    }
}

/// Drops the databases of test processes that were killed.
fn drop_left_over() {
    if std::env::var_os("LOTGATE_TEST_POSTGRES").is_some() {
        // On a shared server the process may live on another machine.
        return;
    }
    let list = "SELECT datname FROM pg_database WHERE datname ~ '^test_[0-9]+_'";
    for name in script(&["psql", "-X", "-A", "-t", "-c", list]).unwrap_or_default().lines() {
        let pid = name.split('_').nth(1).unwrap_or_default();
        if !Path::new("/proc").join(pid).exists() {
            drop(script(&["drop", name]));
        }
    }
}

/// Runs `tests/postgres.sh` and returns what it printed.
fn script(arguments: &[&str]) -> Result<String> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/postgres.sh");
    let output = Command::new(path).args(arguments).stdin(Stdio::null()).output().context(path)?;
    let (said, complaint) = (String::from_utf8(output.stdout)?, String::from_utf8_lossy(&output.stderr));
    ensure!(output.status.success(), "postgres.sh {}: {complaint}", arguments.join(" "));
    Ok(said)
}
