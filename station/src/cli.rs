//! The program `lotgate`: everything that IT and tests need, without a window (DESIGN §8).

mod agent;
mod decode;
mod doctor;
mod enrol;
#[cfg(unix)]
mod owner;
mod status;
mod verify;
mod version;

use crate::config::{Config, ConfigError};
use clap::{Args, Parser, Subcommand};
use lotgate_domain::ids::BootId;
use lotgate_domain::operation::Program;
use lotgate_domain::text::Language;
use lotgate_sync::clock::SystemClock;
use lotgate_sync::queue::{OpenError, QueueError};
use lotgate_sync::secure::{Places, Random as _, SecureError, SystemRandom};
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

/// Exit codes (DESIGN §8).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// Wrong command line or configuration.
    Usage = 2,
    /// This machine is no station yet.
    NotEnrolled = 10,
    /// The cloud cannot be reached, or did not do what was asked.
    Unreachable = 11,
    /// The clock differs from the cloud's.
    Clock = 12,
    /// The key store.
    KeyStore = 13,
    /// The queue accepts no work, or is held by another process.
    Queue = 14,
    /// A configured device is not there.
    DeviceMissing = 15,
    /// The queue holds operations that the cloud has not received.
    BlockedByUnsynced = 20,
}

/// Why a command did not do what it was asked to: a closed code with words from the catalogue.
#[derive(Debug)]
pub struct Failure {
    /// The program's exit code.
    pub exit: u8,
    /// Code of the message catalogue.
    pub code: &'static str,
    /// Particulars: a file, a line, a pid, a cause.
    pub detail: String,
    /// Where in the configuration, if it is about that.
    config: Option<Box<ConfigError>>,
}

impl Failure {
    fn new(exit: Exit, code: &'static str, detail: impl Into<String>) -> Self {
        Self { exit: exit as u8, code, detail: detail.into(), config: None }
    }

    fn output(error: &std::io::Error) -> Self {
        Self::new(Exit::Usage, "output_closed", error.to_string())
    }
}

/// The error and its causes, one after the other.
fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |cause| cause.source()).map(ToString::to_string);
    std::iter::once(error.to_string()).chain(causes).collect::<Vec<_>>().join(": ")
}

impl From<ConfigError> for Failure {
    fn from(error: ConfigError) -> Self {
        let failure = Self::new(Exit::Usage, error.code.as_str(), error.to_string());
        Self { config: Some(Box::new(error)), ..failure }
    }
}

impl From<SecureError> for Failure {
    fn from(error: SecureError) -> Self {
        Self { exit: error.exit_code(), code: error.code(), detail: chain(&error), config: None }
    }
}

impl From<OpenError> for Failure {
    fn from(error: OpenError) -> Self {
        Self { exit: error.exit_code(), code: error.code(), detail: chain(&error), config: None }
    }
}

impl From<QueueError> for Failure {
    fn from(error: QueueError) -> Self {
        Self { exit: error.exit_code(), code: error.code(), detail: chain(&error), config: None }
    }
}

/// Lotgate: one station without a window.
#[derive(Debug, Parser)]
#[command(name = "lotgate", disable_version_flag = true, arg_required_else_help = true)]
struct Cli {
    /// Print the version and what the program is built on.
    #[arg(long)]
    version: bool,
    /// With --version: as JSON.
    #[arg(long, requires = "version")]
    json: bool,
    #[command(flatten)]
    places: PlaceArgs,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Clone, Args)]
struct PlaceArgs {
    /// Configuration file [default: /etc/lotgate/lotgate.toml]
    #[arg(long, global = true, value_name = "FILE", env = "LOTGATE_CONFIG")]
    config: Option<PathBuf>,
    /// Directory of the queue [default: /var/lib/lotgate]
    #[arg(long, global = true, value_name = "DIR", env = "LOTGATE_DATA_DIR")]
    data_dir: Option<PathBuf>,
    /// Directory of keys and rollback anchor [default: the data directory with ".secure" added]
    #[arg(long, global = true, value_name = "DIR", env = "LOTGATE_SECURE_DIR")]
    secure_dir: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Make this machine a station, with a single-use token.
    Enrol(enrol::Arguments),
    /// Run the whole station without a window until it is told to stop.
    Agent(agent::Arguments),
    /// What the station is and how its queue stands; works beside a running agent.
    Status(JsonArgument),
    /// Check everything that the station needs, one line each.
    Doctor(JsonArgument),
    /// Look at the local queue.
    #[command(subcommand)]
    Queue(QueueCommand),
    /// Read barcodes: one JSON string a line on standard input, one JSON object a line on standard output.
    Decode,
}

#[derive(Debug, Subcommand)]
enum QueueCommand {
    /// Check every entry: bytes, hash, link, signature, and that the columns say what the bytes say.
    Verify(JsonArgument),
}

#[derive(Debug, Clone, Copy, Args)]
struct JsonArgument {
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// Where a command works: configuration with the command line over it.
struct Site {
    config: Config,
    places: Places,
}

impl PlaceArgs {
    fn load(&self) -> Result<Site, Failure> {
        let config = Config::load(self.config.as_deref())?
            .with_directories(self.data_dir.clone(), self.secure_dir.clone())
            .ok_or_else(|| Failure::new(Exit::Usage, "directories_not_apart", ""))?;
        #[cfg(unix)]
        owner::switch_from_root(&config.data_dir)?;
        let credential = std::env::var_os("CREDENTIALS_DIRECTORY")
            .map(|dir| PathBuf::from(dir).join("lotgate.device"))
            .filter(|file| file.exists());
        let places = Places::new(config.data_dir.clone(), Some(config.secure_dir.clone()), credential);
        Ok(Site { config, places })
    }
}

/// Beside the queue: the server that enrolled this station, for when the configuration names none.
const SERVER_FILE: &str = "server";

impl Site {
    /// The configured server, else the one that enrolled this station.
    fn server(&self) -> Result<String, Failure> {
        let enrolled_at = || std::fs::read_to_string(self.places.data.join(SERVER_FILE)).ok();
        let server = self.config.server.clone().or_else(enrolled_at);
        server.ok_or_else(|| Failure::new(Exit::Usage, "no_server", ""))
    }

    fn program(&self) -> Program {
        Program {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            build: version::build().to_owned(),
            config_sha256: self.config.sha256,
        }
    }
}

/// The whole program: reads the command line, does what it says, tells what went wrong.
#[must_use]
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    let json = cli.json
        || match &cli.command {
            Some(Command::Status(a) | Command::Doctor(a) | Command::Queue(QueueCommand::Verify(a))) => a.json,
            Some(Command::Enrol(_) | Command::Agent(_) | Command::Decode) | None => false,
        };
    match run(cli) {
        Ok(exit) => exit,
        Err(failure) => {
            tell(&failure, json);
            ExitCode::from(failure.exit)
        }
    }
}

fn run(cli: Cli) -> Result<ExitCode, Failure> {
    // Not locked for the whole run: the agent prints from a thread of its own.
    let out = &mut std::io::stdout();
    match cli.command {
        _ if cli.version => version::run(cli.json, out),
        None => Err(Failure::new(Exit::Usage, "no_command", "")),
        Some(Command::Decode) => {
            let config = Config::load(cli.places.config.as_deref())?;
            decode::run(&config.site_codes, std::io::stdin().lock(), out)
        }
        Some(Command::Enrol(arguments)) => enrol::run(&cli.places.load()?, &arguments, out),
        Some(Command::Agent(arguments)) => agent::run(cli.places.load()?, arguments),
        Some(Command::Status(argument)) => status::run(&cli.places.load()?, argument.json, out),
        Some(Command::Doctor(argument)) => doctor::run(&cli.places.load()?, argument.json, out),
        Some(Command::Queue(QueueCommand::Verify(argument))) => {
            verify::run(&cli.places.load()?, argument.json, out)
        }
    }
}

/// Tells a person on standard error; a machine that asked for JSON gets it on standard output.
fn tell(failure: &Failure, json: bool) {
    let text = language().text(failure.code);
    if json {
        let mut error = serde_json::json!({"code": failure.code, "text": text, "detail": failure.detail});
        if let (Some(config), Some(members)) = (&failure.config, error.as_object_mut()) {
            members.insert("file".to_owned(), config.file.display().to_string().into());
            members.insert("line".to_owned(), config.line.into());
            members.insert("key".to_owned(), config.key.clone().into());
        }
        let _ = writeln!(std::io::stdout(), "{}", serde_json::json!({"error": error}));
    }
    let detail = if failure.detail.is_empty() { String::new() } else { format!("\n  {}", failure.detail) };
    let _ = writeln!(std::io::stderr(), "{text}{detail}\n  ({})", failure.code);
}

/// German where the system speaks German, else English.
fn language() -> Language {
    let german = ["LC_ALL", "LC_MESSAGES", "LANG"]
        .into_iter()
        .filter_map(std::env::var_os)
        .find(|value| !value.is_empty())
        .is_some_and(|value| value.to_string_lossy().starts_with("de"));
    if german { Language::De } else { Language::En }
}

/// The machine's clock. Where the system has no boot id, this start of the program gets one of its own.
fn system_clock() -> SystemClock {
    let mut random = [0u8; 10];
    let _ = SystemRandom.fill(&mut random);
    SystemClock::new(BootId::from_parts(0, &random))
}

/// Prints one JSON document, readable.
fn print_json(out: &mut impl Write, value: &serde_json::Value) -> Result<(), Failure> {
    writeln!(out, "{value:#}").map_err(|error| Failure::output(&error))
}
