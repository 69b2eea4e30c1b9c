//! A plant: one tenant with one site on a cloud of its own, and stations with a scanner each.

use crate::network::Network;
use crate::postgres::TestDatabase;
use crate::programs::{PATIENCE, Process, program, run, run_json, wait_for, write};
use anyhow::{Context as _, Result, ensure};
use lotgate_devices::sim::printer::SimPrinter;
use lotgate_devices::sim::scanner::SimScanner;
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio_postgres::types::ToSql;
use tokio_postgres::{NoTls, Row};

/// How long a simulated printer needs for a label.
const LABEL_TIME: Duration = Duration::from_millis(100);

/// A GTIN whose item is in [`reference_data`].
pub const GTIN: &str = "04012345678901";

/// Items and lots as a site would import them: `L-0001` may be used; `L-HELD`, `L-QUAR`, `L-REJ` and `L-OLD`
/// may not.
pub fn reference_data() -> Value {
    let lot = |lot: &str, status: &str, expiry: &str, codes: Value| json!({"lot": lot, "item": "LACTOSE", "status": status, "expiry": expiry, "codes": codes});
    json!({
        "items": [{"item": "LACTOSE", "gtin": GTIN}, {"item": "MCC"}],
        "lots": [
            lot("L-0001", "released", "2099-12-31", json!(["SITE-0001"])),
            lot("L-HELD", "hold", "2099-12-31", json!([])),
            lot("L-QUAR", "quarantine", "2099-12-31", json!([])),
            lot("L-REJ", "rejected", "2099-12-31", json!([])),
            lot("L-OLD", "released", "2020-01-31", json!([])),
        ],
    })
}

/// The scan of a lot's GS1 DataMatrix.
pub fn lot_scan(lot: &str) -> Vec<u8> {
    format!("]d201{GTIN}10{lot}").into_bytes()
}

/// The whole plant.
#[derive(Debug)]
pub struct Plant {
    /// Everything that it keeps on disk lies here.
    pub dir: PathBuf,
    /// Its database.
    pub database: TestDatabase,
    /// The tenant's id.
    pub tenant: String,
    /// The site's id.
    pub site: String,
    /// Fingerprint of the tenant's root key.
    pub root_fingerprint: String,
    /// The cloud's process, while it runs.
    pub cloud: Option<Process>,
    /// The cable between the stations and the cloud.
    pub network: Network,
    address: SocketAddr,
    runtime: tokio::runtime::Runtime,
    _temporary: Option<tempfile::TempDir>,
}

impl Plant {
    /// A plant in a directory of its own that goes with it.
    pub fn new(name: &str) -> Result<Self> {
        let temporary = tempfile::tempdir()?;
        let mut plant = Self::at(name, temporary.path(), &reference_data())?;
        plant._temporary = Some(temporary);
        Ok(plant)
    }

    /// A plant in `dir`: database migrated, tenant and site made, `reference` imported, cloud serving.
    pub fn at(name: &str, dir: &Path, reference: &Value) -> Result<Self> {
        let database = TestDatabase::create(name)?;
        let address = free_address()?;
        let config = cloud_config(dir, &database, address)?;
        let cloud = || -> Result<Command> {
            let mut command = Command::new(program("lotgate-cloud")?);
            command.arg("--config").arg(&config);
            Ok(command)
        };
        let migrated = run(cloud()?.arg("migrate"))?;
        ensure!(migrated.status.success(), "migrate: {}", String::from_utf8_lossy(&migrated.stderr));
        let made = run_json(
            cloud()?
                .args(["tenant", "create", "--name", name, "--site", "Plant 1", "--zone", "Europe/Berlin"])
                .arg("--root-key-out")
                .arg(dir.join("root.key"))
                .arg("--recovery-key-out")
                .arg(dir.join("recovery-1.key"))
                .arg("--recovery-key-out")
                .arg(dir.join("recovery-2.key")),
        )?;
        let text = |key: &str| Ok::<_, anyhow::Error>(made[key].as_str().context("no id")?.to_owned());
        let mut plant = Self {
            dir: dir.to_owned(),
            tenant: text("tenant")?,
            site: text("site")?,
            root_fingerprint: text("root_fingerprint")?,
            cloud: None,
            network: Network::to(address)?,
            address,
            runtime: tokio::runtime::Builder::new_current_thread().enable_all().build()?,
            database,
            _temporary: None,
        };
        plant.import(reference)?;
        plant.start_cloud()?;
        Ok(plant)
    }

    /// A command of `lotgate-cloud` with the plant's configuration.
    pub fn cloud_command(&self) -> Result<Command> {
        let mut command = Command::new(program("lotgate-cloud")?);
        command.arg("--config").arg(self.dir.join("cloud.toml"));
        Ok(command)
    }

    /// Imports reference data for the site.
    pub fn import(&self, reference: &Value) -> Result<()> {
        let file = self.dir.join("reference.json");
        write(&file, &reference.to_string())?;
        let mut command = self.cloud_command()?;
        command.args(["reference", "import"]).arg(&file);
        command.args(["--tenant", &self.tenant, "--site", &self.site]);
        let output = run(&mut command)?;
        ensure!(output.status.success(), "import: {}", String::from_utf8_lossy(&output.stderr));
        Ok(())
    }

    /// Starts the cloud on the plant's address and waits until it listens.
    pub fn start_cloud(&mut self) -> Result<Instant> {
        let mut process = Process::start(self.cloud_command()?.arg("serve"))?;
        let address = self.address;
        let listening = wait_for("the cloud listens", || {
            ensure!(process.is_running(), "the cloud ended");
            Ok(std::net::TcpStream::connect(address).ok().map(|_| Instant::now()))
        });
        match listening {
            Ok(at) => {
                self.cloud = Some(process);
                Ok(at)
            }
            Err(error) => Err(error.context(process.wait().map(|(.., said)| said).unwrap_or_default())),
        }
    }

    /// Stops the cloud as an operator of it would.
    pub fn stop_cloud(&mut self) -> Result<()> {
        if let Some(process) = self.cloud.take() {
            let (code, _, said) = process.stop()?;
            ensure!(code == Some(0), "the cloud ended with {code:?}: {said}");
        }
        Ok(())
    }

    /// Where stations find the cloud: through the network that a test can cut.
    pub fn server(&self) -> String {
        format!("http://{}", self.network.address())
    }

    /// A token file for one station.
    pub fn token(&self, name: &str, training: bool) -> Result<PathBuf> {
        let file = self.dir.join(format!("{name}.token"));
        let mut command = self.cloud_command()?;
        command
            .args(["station", "token", "--tenant", &self.tenant, "--site", &self.site])
            .arg("--out")
            .arg(&file);
        if training {
            command.arg("--training");
        }
        let output = run(&mut command)?;
        ensure!(output.status.success(), "token: {}", String::from_utf8_lossy(&output.stderr));
        Ok(file)
    }

    /// An enrolled training station with a simulated scanner.
    pub fn station(&self, name: &str) -> Result<Station> {
        let station = self.machine(name)?;
        let token = self.token(name, true)?;
        let output = run(station
            .command()?
            .args(["enrol", "--server", &self.server()])
            .arg("--token-file")
            .arg(&token))?;
        ensure!(output.status.success(), "enrol: {}", String::from_utf8_lossy(&output.stderr));
        Ok(station)
    }

    /// An enrolled training station with a simulated scanner and a simulated printer, whose labels lie in
    /// `labels` of the station's directory.
    pub fn station_with_printer(&self, name: &str) -> Result<Station> {
        let mut station = self.station(name)?;
        let listen = SocketAddr::from(([127, 0, 0, 1], 0));
        let printer = SimPrinter::new(listen, Some(&station.dir.join("labels")), LABEL_TIME)?;
        let file = station.dir.join("lotgate.toml");
        let device = format!(
            "[[device]]\nrole = \"printer\"\ntransport = \"tcp\"\nname = \"Container labels\"\naddress = \"{}\"\n",
            printer.address()
        );
        write(&file, &(std::fs::read_to_string(&file)? + &device))?;
        station.printer = Some(Arc::new(printer));
        Ok(station)
    }

    /// A machine with a configuration and a simulated scanner, not enrolled.
    pub fn machine(&self, name: &str) -> Result<Station> {
        let dir = self.dir.join(name);
        std::fs::create_dir_all(&dir)?;
        let link = dir.join("scanner");
        let config = format!(
            "[cloud]\nserver = \"{}\"\n[paths]\ndata = \"{}\"\n[station]\nname = \"{name}\"\n\
             [[device]]\nrole = \"scanner\"\ntransport = \"serial\"\npath = \"{}\"\n",
            self.server(),
            dir.join("data").display(),
            link.display(),
        );
        write(&dir.join("lotgate.toml"), &config)?;
        let scanner = Arc::new(SimScanner::new(&link)?);
        Ok(Station { scanner, printer: None, dir, agent: None, confirmed: Vec::new() })
    }

    /// Rows of a query as superuser, who sees every tenant.
    pub fn rows(&self, sql: &str, parameters: &[&(dyn ToSql + Sync)]) -> Result<Vec<Row>> {
        self.runtime.block_on(async {
            let (client, connection) = tokio_postgres::connect(&self.database.superuser_url, NoTls).await?;
            let connection = tokio::spawn(connection);
            let rows = client.query(sql, parameters).await;
            drop(client);
            let _ = connection.await;
            rows.with_context(|| sql.to_owned())
        })
    }

    /// Runs statements as superuser.
    pub fn execute(&self, sql: &str) -> Result<()> {
        self.runtime.block_on(async {
            let (client, connection) = tokio_postgres::connect(&self.database.superuser_url, NoTls).await?;
            let connection = tokio::spawn(connection);
            let done = client.batch_execute(sql).await;
            drop(client);
            let _ = connection.await;
            done.with_context(|| sql.to_owned())
        })
    }

    /// The hashes of a station's entries in the cloud, in log order.
    pub fn entry_hashes(&self, station: &str) -> Result<Vec<String>> {
        let sql = "SELECT encode(e.hash, 'hex') FROM entry e JOIN leaf l ON l.tenant_id = e.tenant_id \
                   AND l.hash = e.hash WHERE e.station_id::text = $1 ORDER BY l.index";
        Ok(self.rows(sql, &[&station])?.iter().map(|row| row.get(0)).collect())
    }
}

/// A station's machine: its directories, its scanner, its agent.
#[derive(Debug)]
pub struct Station {
    /// Configuration, data and secure directories.
    pub dir: PathBuf,
    /// Its scanner.
    pub scanner: Arc<SimScanner>,
    /// Its printer, if it has one.
    pub printer: Option<Arc<SimPrinter>>,
    agent: Option<Process>,
    /// Every operation that the agent printed, in order, over all its lives.
    pub confirmed: Vec<Value>,
}

impl Station {
    /// A command of `lotgate` with the station's configuration. Variables for the tests are not the station's.
    pub fn command(&self) -> Result<Command> {
        let mut command = Command::new(program("lotgate")?);
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("LOTGATE_") && name != "LOTGATE_LOG" {
                command.env_remove(name);
            }
        }
        command.arg("--config").arg(self.dir.join("lotgate.toml"));
        Ok(command)
    }

    /// Starts `lotgate agent --events` and waits until it has its scanner.
    pub fn start(&mut self) -> Result<()> {
        ensure!(self.agent.is_none(), "the agent runs already");
        let mut agent = Process::start(self.command()?.args(["agent", "--events"]))?;
        let opened = wait_for("the agent opens its scanner", || {
            ensure!(agent.is_running(), "the agent ended");
            Ok(self.scanner.is_open().then_some(()))
        });
        if let Err(error) = opened {
            return Err(error.context(agent.wait().map(|(.., said)| said).unwrap_or_default()));
        }
        self.agent = Some(agent);
        Ok(())
    }

    /// SIGKILL. What the agent had printed by then counts as confirmed.
    pub fn kill(&mut self) -> Result<()> {
        let agent = self.agent.take().context("no agent runs")?;
        let lines = agent.kill();
        self.take(lines)
    }

    /// SIGTERM; returns the exit code and what it said on standard error.
    pub fn stop(&mut self) -> Result<(Option<i32>, String)> {
        let agent = self.agent.take().context("no agent runs")?;
        let (code, lines, said) = agent.stop()?;
        self.take(lines)?;
        Ok((code, said))
    }

    /// Waits until `count` operations in all are confirmed.
    pub fn wait_confirmed(&mut self, count: usize) -> Result<()> {
        let deadline = Instant::now() + PATIENCE;
        while self.confirmed.len() < count {
            let agent = self.agent.as_mut().context("no agent runs")?;
            if let Some(line) = agent.line(Duration::from_millis(200)) {
                self.take(vec![line])?;
                continue;
            }
            ensure!(agent.is_running(), "the agent ended with {} of {count} confirmed", self.confirmed.len());
            ensure!(Instant::now() < deadline, "{} of {count} confirmed", self.confirmed.len());
        }
        Ok(())
    }

    /// The running agent's process id.
    pub fn agent_pid(&self) -> Option<u32> {
        self.agent.as_ref().map(Process::pid)
    }

    /// Waits until the agent has said `words` on standard error.
    pub fn wait_said(&self, words: &str) -> Result<()> {
        let agent = self.agent.as_ref().context("no agent runs")?;
        wait_for(words, || {
            Ok(agent.complaint(Duration::from_millis(100)).filter(|line| line.contains(words)).map(|_| ()))
        })
    }

    /// Takes what the agent printed until now.
    pub fn collect(&mut self) -> Result<()> {
        let lines = self.agent.as_ref().map(Process::lines_until_now).unwrap_or_default();
        self.take(lines)
    }

    fn take(&mut self, lines: Vec<String>) -> Result<()> {
        for line in lines {
            self.confirmed.push(serde_json::from_str(&line).with_context(|| line.clone())?);
        }
        Ok(())
    }

    /// `lotgate status --json`.
    pub fn status(&self) -> Result<Value> {
        run_json(self.command()?.args(["status", "--json"]))
    }

    /// The station's id.
    pub fn id(&self) -> Result<String> {
        Ok(self.status()?["station"].as_str().context("no station id")?.to_owned())
    }

    /// Waits until the cloud has settled everything.
    pub fn wait_settled(&self) -> Result<()> {
        wait_for("the queue is settled", || Ok((self.status()?["queue"]["queued"] == json!(0)).then_some(())))
    }

    /// Hashes of everything confirmed, in order.
    pub fn confirmed_hashes(&self) -> Vec<String> {
        self.confirmed.iter().filter_map(|line| line["hash"].as_str().map(str::to_owned)).collect()
    }
}

fn free_address() -> Result<SocketAddr> {
    Ok(std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?)
}

fn cloud_config(dir: &Path, database: &TestDatabase, address: SocketAddr) -> Result<PathBuf> {
    let key = |name: &str, byte: u8| -> Result<String> {
        let path = dir.join(name);
        write(&path, &hex::encode([byte; 32]))?;
        #[cfg(unix)]
        std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o600))?;
        Ok(path.display().to_string())
    };
    let file = dir.join("cloud.toml");
    let config = format!(
        "[listen]\naddress = \"{address}\"\n[database]\nurl = \"{}\"\nowner_url = \"{}\"\n\
         [keys]\nmaster_key_file = \"{}\"\nnonce_key_file = \"{}\"\n",
        database.app_url,
        database.owner_url,
        key("master.key", 1)?,
        key("nonce.key", 2)?,
    );
    write(&file, &config)?;
    Ok(file)
}
