//! The program `lotgate`: everything that IT and tests need, without a window (DESIGN §8).

pub(crate) mod agent;
mod config_show;
mod decode;
mod doctor;
pub(crate) mod enrol;
mod export;
#[cfg(unix)]
mod owner;
mod recover;
mod retire;
mod rotate;
pub(crate) mod site;
mod status;
pub(crate) mod sync;
pub(crate) mod upkeep;
mod verify;
mod version;

use crate::config::ConfigError;
use crate::retired::Retirement;
use clap::{Args, Parser, Subcommand};
use lotgate_domain::ids::BootId;
use lotgate_domain::text::Language;
use lotgate_sync::clock::SystemClock;
use lotgate_sync::queue::{OpenError, QueueError};
use lotgate_sync::secure::{Places, Random as _, SecureError, SystemRandom};
use site::{PlaceArgs, Site};
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;
use tracing_subscriber::EnvFilter;

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
    /// The station was retired.
    Retired = 21,
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
    pub(crate) fn new(exit: Exit, code: &'static str, detail: impl Into<String>) -> Self {
        Self { exit: exit as u8, code, detail: detail.into(), config: None }
    }

    /// A part of the program ended without having done its work.
    pub(crate) fn stopped(detail: &str) -> Self {
        Self::new(Exit::Queue, "closed", detail)
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
    /// The configuration in force.
    #[command(subcommand)]
    Config(ConfigCommand),
    /// The local queue.
    #[command(subcommand)]
    Queue(QueueCommand),
    /// Give the station a new key, as planned; the agent must not run.
    Rotate(rotate::Arguments),
    /// End this station: empty its queue, have the cloud close it. It cannot be taken back.
    Retire(retire::Arguments),
    /// Read barcodes: one JSON string a line on standard input, one JSON object a line on standard output.
    Decode,
}

#[derive(Debug, Subcommand)]
enum ConfigCommand {
    /// Every key, its value, and where it comes from.
    Show(config_show::Arguments),
}

#[derive(Debug, Subcommand)]
enum QueueCommand {
    /// Check every entry: bytes, hash, link, signature, and that the columns say what the bytes say.
    Verify(JsonArgument),
    /// Write everything that the queue holds as signed files, for a courier or an auditor.
    Export {
        /// The directory to write; it must not exist.
        dir: PathBuf,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// Get the entries out of a queue whose key store is gone, with the keys of the tenant's two holders.
    Recover(recover::Arguments),
}

impl Command {
    fn wants_json(&self) -> bool {
        match self {
            Self::Status(a) | Self::Doctor(a) | Self::Queue(QueueCommand::Verify(a)) => a.json,
            Self::Config(ConfigCommand::Show(a)) => a.json,
            Self::Queue(QueueCommand::Export { json, .. }) => *json,
            Self::Queue(QueueCommand::Recover(a)) => a.json,
            Self::Enrol(_) | Self::Agent(_) | Self::Rotate(_) | Self::Retire(_) | Self::Decode => false,
        }
    }
}

#[derive(Debug, Clone, Copy, Args)]
struct JsonArgument {
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// The whole program: reads the command line, does what it says, tells what went wrong.
#[must_use]
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    let json = cli.json || cli.command.as_ref().is_some_and(Command::wants_json);
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
        Some(Command::Decode) => decode::run(&cli.places.config()?.site_codes, std::io::stdin().lock(), out),
        Some(Command::Enrol(arguments)) => enrol::run(&cli.places.load()?, &arguments, out),
        Some(Command::Agent(arguments)) => agent::run(cli.places.load()?, arguments),
        Some(Command::Status(argument)) => status::run(&cli.places.load()?, argument.json, out),
        Some(Command::Doctor(argument)) => doctor::run(&cli.places.load()?, argument.json, out),
        Some(Command::Config(ConfigCommand::Show(arguments))) => {
            config_show::run(&cli.places.load()?, arguments, out)
        }
        Some(Command::Queue(QueueCommand::Verify(argument))) => {
            verify::run(&cli.places.load()?, argument.json, out)
        }
        Some(Command::Queue(QueueCommand::Export { dir, json })) => {
            export::run(&cli.places.load()?, &dir, json, out)
        }
        Some(Command::Queue(QueueCommand::Recover(arguments))) => {
            recover::run(&cli.places.load()?, &arguments, out)
        }
        Some(Command::Rotate(arguments)) => rotate::run(&cli.places.load()?, arguments, out),
        Some(Command::Retire(arguments)) => retire::run(&cli.places.load()?, &arguments, out),
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

/// JSON lines on standard error.
fn log_to_stderr(site: &Site) {
    // The configuration was read with this very check.
    let filter = EnvFilter::try_new(&site.config.log_filter).unwrap_or_default();
    tracing_subscriber::fmt().json().with_env_filter(filter).with_writer(std::io::stderr).init();
}

fn runtime() -> Result<tokio::runtime::Runtime, Failure> {
    tokio::runtime::Runtime::new().map_err(|error| Failure::new(Exit::Queue, "no_runtime", error.to_string()))
}

/// A station that was closed does no more work.
pub(crate) fn refuse_retired(places: &Places) -> Result<(), Failure> {
    match Retirement::read(places) {
        Ok(None) => Ok(()),
        Ok(Some(retirement)) => Err(Failure::new(Exit::Retired, retirement.code(), "")),
        Err(error) => Err(Failure::new(Exit::KeyStore, "key_store", error.to_string())),
    }
}

/// A closed value as it is written in JSON, without the quotation marks.
fn word(value: &impl serde::Serialize) -> String {
    serde_json::json!(value).as_str().unwrap_or_default().to_owned()
}

/// Prints one JSON document, readable.
fn print_json(out: &mut impl Write, value: &serde_json::Value) -> Result<(), Failure> {
    writeln!(out, "{value:#}").map_err(|error| Failure::output(&error))
}
