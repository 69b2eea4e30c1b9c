//! The program `lotgate-cloud`: serves stations, makes the schema, and does what a tenant's IT asks of the cloud.

use anyhow::{Context as _, Result};
use clap::{Args, Parser, Subcommand};
use lotgate_cloud::admit::Admit;
use lotgate_cloud::config::Config;
use lotgate_cloud::crypto::SealError;
use lotgate_cloud::error::{Rejection, chain};
use lotgate_cloud::export::{self, ExportError};
use lotgate_cloud::gate::{self, Caller, Work};
use lotgate_cloud::import::{self, ImportError};
use lotgate_cloud::recovered::{Recover, ShowLog};
use lotgate_cloud::reference::ImportReference;
use lotgate_cloud::retire::Revoke;
use lotgate_cloud::stations::ListStations;
use lotgate_cloud::tenant::CreateTenant;
use lotgate_cloud::token::MakeToken;
use lotgate_cloud::{Cloud, crypto, keys, migrate, server};
use lotgate_domain::ids::{PublicKey, SiteId, StationId, TenantId};
use lotgate_domain::reference::ReferenceFile;
use lotgate_domain::signature::KeyPair;
use serde_json::{Value, json};
use std::io::Write as _;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use tracing_subscriber::EnvFilter;
use zeroize::Zeroizing;

/// The reference cloud of Lotgate. Exit codes: 0 done, 1 failed with a coded message, 2 usage.
#[derive(Debug, Parser)]
#[command(version, max_term_width = 100)]
struct Arguments {
    /// The configuration file
    #[arg(long, value_name = "FILE", global = true, default_value = "lotgate-cloud.toml")]
    config: PathBuf,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve stations until SIGTERM or Ctrl-C
    Serve,
    /// Bring the schema up to date, as the owner role
    Migrate,
    /// Key files
    #[command(subcommand)]
    Keys(KeysCommand),
    /// Tenants
    #[command(subcommand)]
    Tenant(TenantCommand),
    /// Stations
    #[command(subcommand)]
    Station(StationCommand),
    /// Reference data
    #[command(subcommand)]
    Reference(ReferenceCommand),
    /// Stations' queues
    #[command(subcommand)]
    Queue(QueueCommand),
    /// The tenant's log
    #[command(subcommand)]
    Log(LogCommand),
    /// Write everything of a tenant to a directory that can be checked without this cloud
    Export(ExportArguments),
}

#[derive(Debug, Subcommand)]
enum KeysCommand {
    /// Make the key files of the configuration that are missing
    Create,
}

#[derive(Debug, Subcommand)]
enum TenantCommand {
    /// Make a tenant with its keys and its first site
    Create(CreateArguments),
}

#[derive(Debug, Args)]
struct CreateArguments {
    /// What people call the tenant
    #[arg(long)]
    name: String,
    /// What people call its first site
    #[arg(long)]
    site: String,
    /// IANA name of the site's time zone
    #[arg(long)]
    zone: String,
    /// Where the private half of the root key goes, once; an existing file is never overwritten
    #[arg(long, value_name = "FILE")]
    root_key_out: PathBuf,
    /// Where the private halves of the two recovery keys go, once; name it twice, a file a holder. Both together
    /// open the queue of a station whose key store is lost
    #[arg(long, value_name = "FILE", required_unless_present = "without_recovery")]
    recovery_key_out: Vec<PathBuf>,
    /// Make no recovery keys: a queue whose key store is lost is lost, too
    #[arg(long, conflicts_with = "recovery_key_out")]
    without_recovery: bool,
}

#[derive(Debug, Subcommand)]
enum StationCommand {
    /// Take back a station whose enrolment or new key came after the backup that the database was restored from
    Admit(AdmitArguments),
    /// Show every station: last seen, what is held and told of its chain, alarms, what to look at
    List(ListArguments),
    /// End the trust in a station's key; it may still push, and nothing of that is applied
    Revoke(RevokeArguments),
    /// Make a single-use token that enrols one station
    Token(TokenArguments),
}

#[derive(Debug, Args)]
struct AdmitArguments {
    /// Id of the tenant
    #[arg(long)]
    tenant: TenantId,
    /// The station's certificates: certificates.bin of an export of its queue, or identity.json of its secure
    /// directory. If it was revoked after the backup, revoke it again
    #[arg(long, value_name = "FILE")]
    certificates: PathBuf,
}

#[derive(Debug, Args)]
struct ListArguments {
    /// Id of the tenant
    #[arg(long)]
    tenant: TenantId,
    /// One line of JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
struct RevokeArguments {
    /// Id of the tenant
    #[arg(long)]
    tenant: TenantId,
    /// Id of the station
    #[arg(long)]
    station: StationId,
    /// Why, in people's words; it stands in the signed log
    #[arg(long)]
    reason: String,
}

#[derive(Debug, Subcommand)]
enum QueueCommand {
    /// Take what a courier brought: an export of a station's queue, or what was recovered of one
    Import(QueueImportArguments),
}

#[derive(Debug, Args)]
struct QueueImportArguments {
    /// The directory of the export
    directory: PathBuf,
    /// Id of the tenant
    #[arg(long)]
    tenant: TenantId,
}

#[derive(Debug, Subcommand)]
enum LogCommand {
    /// Show generation, size and root of the log; after a restore, run it before the cloud serves again
    Head(HeadArguments),
    /// Say, signed by the tenant's root key, that the database was restored to before what stations have receipts for
    Recovered(RecoveredArguments),
}

#[derive(Debug, Args)]
struct HeadArguments {
    /// Id of the tenant
    #[arg(long)]
    tenant: TenantId,
}

#[derive(Debug, Args)]
struct RecoveredArguments {
    /// Id of the tenant
    #[arg(long)]
    tenant: TenantId,
    /// The file that `tenant create` wrote the root key to
    #[arg(long, value_name = "FILE")]
    root_key: PathBuf,
    /// The size of the log as the backup held it: what `log head` showed directly after the restore, before the
    /// cloud served anybody. With one that is too large no station goes on
    #[arg(long, value_name = "SIZE")]
    restored: u64,
    /// The newest checkpoint that anybody holds: from a station's alarm or an export
    #[arg(long, value_name = "FILE")]
    known_checkpoint: PathBuf,
    /// Where the backup is older than an earlier recovery, the statements of all recoveries that it does not know:
    /// statements.bin of an export of the cloud or of a station's queue; may be named several times
    #[arg(long, value_name = "FILE")]
    earlier: Vec<PathBuf>,
    /// Why, in people's words; it stands in the signed log
    #[arg(long)]
    reason: String,
    /// Who decided it; name it twice, two different people
    #[arg(long, required = true, num_args = 1)]
    person: Vec<String>,
}

#[derive(Debug, Args)]
struct ExportArguments {
    /// Id of the tenant
    #[arg(long)]
    tenant: TenantId,
    /// The directory to make
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
}

#[derive(Debug, Args)]
struct TokenArguments {
    /// Id of the tenant
    #[arg(long)]
    tenant: TenantId,
    /// Id of the site where the station will stand
    #[arg(long)]
    site: SiteId,
    /// Certify the station for training only
    #[arg(long)]
    training: bool,
    /// Hours until the token ends
    #[arg(long, default_value_t = 72, value_parser = clap::value_parser!(u16).range(1..=720))]
    ttl_hours: u16,
    /// Where the token goes; `-` is standard output
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
}

#[derive(Debug, Subcommand)]
enum ReferenceCommand {
    /// Make the next page of a site's reference data
    Import(ImportArguments),
}

#[derive(Debug, Args)]
struct ImportArguments {
    /// {"items": [{"item", "gtin"?}], "lots": [{"lot", "item", "status", "expiry", "codes"}]}
    file: PathBuf,
    /// Id of the tenant
    #[arg(long)]
    tenant: TenantId,
    /// Id of the site
    #[arg(long)]
    site: SiteId,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    tracing_subscriber::fmt().json().with_env_filter(filter).with_writer(std::io::stderr).init();
    let done = tokio::runtime::Runtime::new()
        .context("runtime")
        .and_then(|runtime| runtime.block_on(run(arguments)));
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let text = chain(error.as_ref());
            // Nothing is left to be done if standard error is gone.
            drop(writeln!(std::io::stderr(), "lotgate-cloud: {text}"));
            ExitCode::FAILURE
        }
    }
}

async fn run(arguments: Arguments) -> Result<()> {
    let config = Config::read(&arguments.config)?;
    match arguments.command {
        Command::Serve => serve(&config).await,
        Command::Migrate => {
            let url = config.database.owner_url.as_deref();
            let url = url.context("config_invalid: database.owner_url is needed to migrate")?;
            let applied = migrate::run(url).await.context("migrate_failed")?;
            say(&json!({"applied": applied}))
        }
        Command::Keys(KeysCommand::Create) => create_keys(&config),
        Command::Tenant(TenantCommand::Create(arguments)) => create_tenant(&config, arguments).await,
        Command::Station(StationCommand::Admit(arguments)) => admit(&config, &arguments).await,
        Command::Station(StationCommand::Token(arguments)) => make_token(&config, &arguments).await,
        Command::Station(StationCommand::List(arguments)) => list_stations(&config, &arguments).await,
        Command::Station(StationCommand::Revoke(arguments)) => revoke(&config, arguments).await,
        Command::Reference(ReferenceCommand::Import(arguments)) => import(&config, &arguments).await,
        Command::Queue(QueueCommand::Import(arguments)) => import_queue(&config, &arguments).await,
        Command::Log(LogCommand::Head(arguments)) => show_log(&config, &arguments).await,
        Command::Log(LogCommand::Recovered(arguments)) => recovered(&config, arguments).await,
        Command::Export(arguments) => export_tenant(&config, &arguments).await,
    }
}

async fn serve(config: &Config) -> Result<()> {
    let tls = match config.tls.as_ref().map(|tls| (&tls.certificate, &tls.key)) {
        Some((Some(certificate), Some(key))) => Some(server::tls(certificate, key)?),
        _ => None,
    };
    let cloud = Cloud::open(config.settings()?).await?;
    let address = config.listen.address;
    let listener = TcpListener::bind(address).with_context(|| format!("listen_failed: {address}"))?;
    let scheme = if tls.is_some() { "https" } else { "http" };
    let bound = listener.local_addr().context("listen_failed")?;
    // Before the line is out, so that whoever reads it may already ask to stop.
    let stop = stop_signal()?;
    tracing::info!(address = %bound, scheme, "listening");
    say(&json!({"listening": bound, "url": format!("{scheme}://{bound}")}))?;
    server::serve(cloud, listener, tls, stop).await.context("serve_failed")?;
    tracing::info!("stopped");
    Ok(())
}

#[cfg(unix)]
fn stop_signal() -> Result<impl Future<Output = ()> + Send + 'static> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut terminate = signal(SignalKind::terminate()).context("signal")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("signal")?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    })
}

#[cfg(not(unix))]
fn stop_signal() -> Result<impl Future<Output = ()> + Send + 'static> {
    Ok(async {
        // Without signals it serves until it is ended.
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending::<()>().await;
        }
    })
}

fn create_keys(config: &Config) -> Result<()> {
    let keys = &config.keys;
    let mut made = Vec::new();
    for path in [&keys.master_key_file, &keys.nonce_key_file] {
        if keys::make_missing(path)? {
            made.push(path);
        }
    }
    say(&json!({"made": made}))
}

async fn create_tenant(config: &Config, arguments: CreateArguments) -> Result<()> {
    let holders = match (arguments.recovery_key_out.as_slice(), arguments.without_recovery) {
        ([], true) => None,
        ([first, second], false) => Some([first.clone(), second.clone()]),
        _ => {
            anyhow::bail!("recovery_keys: --recovery-key-out is named twice, a file for each of two holders")
        }
    };
    let cloud = Cloud::open(config.settings()?).await?;
    let unix_ms = u64::try_from(cloud.now().unix_ms()).context("clock")?;
    let tenant = TenantId::from_parts(unix_ms, &crypto::random()?);
    let seed = Zeroizing::new(crypto::random::<32>()?);
    let root = KeyPair::from_seed(&seed);
    let public = root.public();
    let mut written = Vec::new();
    let made = async {
        let file = Zeroizing::new(format!(
            "{{\"v\":1,\"use\":\"root\",\"tenant\":\"{tenant}\",\"public_key\":\"{public}\",\"seed\":\"{}\"}}\n",
            *Zeroizing::new(hex::encode(*seed))
        ));
        keys::write_secret(&arguments.root_key_out, file.as_bytes())?;
        written.push(arguments.root_key_out.clone());
        let mut recovery = Vec::with_capacity(2);
        for path in holders.iter().flatten() {
            let (private, public) = crypto::recovery_pair()?;
            keys::write_key(path, &private)?;
            written.push(path.clone());
            recovery.push(public);
        }
        let recovery = <[PublicKey; 2]>::try_from(recovery).ok();
        let (name, site, zone) = (arguments.name, arguments.site, arguments.zone);
        pass(&cloud, tenant, CreateTenant { name, site, zone, root, recovery }).await
    }
    .await;
    match made {
        Ok(site) => say(&json!({
            "tenant": tenant,
            "site": site,
            "root_fingerprint": public.fingerprint(),
            "root_key_file": arguments.root_key_out,
            "recovery_key_files": holders,
        })),
        Err(error) => {
            // Keys of a tenant that does not exist.
            for path in written {
                std::fs::remove_file(&path).with_context(|| format!("cannot remove {}", path.display()))?;
            }
            Err(error)
        }
    }
}

async fn make_token(config: &Config, arguments: &TokenArguments) -> Result<()> {
    let cloud = Cloud::open(config.settings()?).await?;
    let to_file = (arguments.out != Path::new("-")).then_some(&arguments.out);
    // Before the token is made, so that none is left that nobody has.
    let file = to_file.map(|path| keys::create_secret(path)).transpose()?;
    let work = MakeToken {
        site: arguments.site,
        training: arguments.training,
        ttl_ms: i64::from(arguments.ttl_hours) * 60 * 60 * 1000,
    };
    let made = match (pass(&cloud, arguments.tenant, work).await, to_file) {
        (Err(error), Some(path)) => {
            std::fs::remove_file(path).with_context(|| format!("cannot remove {}", path.display()))?;
            return Err(error);
        }
        (made, _) => made?,
    };
    let line = Zeroizing::new(format!("{}\n", made.token.line()));
    let Some((mut file, path)) = file.zip(to_file) else {
        return std::io::stdout().write_all(line.as_bytes()).context("standard output");
    };
    keys::fill_secret(&mut file, path, line.as_bytes())?;
    say(&json!({
        "tenant": arguments.tenant,
        "site": arguments.site,
        "training": arguments.training,
        "expires": made.expires,
        "token_file": path,
    }))
}

async fn import(config: &Config, arguments: &ImportArguments) -> Result<()> {
    let path = arguments.file.display();
    let bytes = std::fs::read(&arguments.file).with_context(|| format!("reference_unreadable: {path}"))?;
    let file: ReferenceFile =
        serde_json::from_slice(&bytes).with_context(|| format!("reference_invalid: {path}"))?;
    let (items, lots) = (file.items.len(), file.lots.len());
    let cloud = Cloud::open(config.settings()?).await?;
    let imported = pass(&cloud, arguments.tenant, ImportReference { site: arguments.site, file }).await?;
    say(&json!({
        "tenant": arguments.tenant,
        "site": arguments.site,
        "cursor": imported.cursor,
        "hash": imported.hash,
        "changed": imported.changed,
        "items": items,
        "lots": lots,
    }))
}

async fn admit(config: &Config, arguments: &AdmitArguments) -> Result<()> {
    let path = arguments.certificates.display();
    let file =
        std::fs::read(&arguments.certificates).with_context(|| format!("certificates_unreadable: {path}"))?;
    let cloud = Cloud::open(config.settings()?).await?;
    let admitted = pass(&cloud, arguments.tenant, Admit { file }).await?;
    say(&json!({
        "tenant": arguments.tenant,
        "station": admitted.station,
        "admitted": admitted.admitted,
        "enrolled": admitted.enrolled,
    }))
}

async fn list_stations(config: &Config, arguments: &ListArguments) -> Result<()> {
    let cloud = Cloud::open(config.settings()?).await?;
    let stations = pass(&cloud, arguments.tenant, ListStations).await?;
    if arguments.json {
        return say(&json!({"tenant": arguments.tenant, "stations": stations}));
    }
    let mut out = std::io::stdout().lock();
    for station in &stations {
        writeln!(out, "{station}").context("standard output")?;
    }
    out.flush().context("standard output")
}

async fn revoke(config: &Config, arguments: RevokeArguments) -> Result<()> {
    let cloud = Cloud::open(config.settings()?).await?;
    let RevokeArguments { tenant, station, reason } = arguments;
    let revoked = pass(&cloud, tenant, Revoke { station, reason }).await?;
    say(&json!({
        "tenant": tenant,
        "station": station,
        "closing": revoked.closing,
        "through": revoked.through,
        "held": revoked.held,
        "changed": revoked.changed,
    }))
}

async fn import_queue(config: &Config, arguments: &QueueImportArguments) -> Result<()> {
    let cloud = Cloud::open(config.settings()?).await?;
    let imported = match import::import(&cloud, arguments.tenant, &arguments.directory).await {
        Err(ImportError::Rejected(rejection)) => return Err(coded(rejection)),
        imported => imported?,
    };
    say(&json!(imported))?;
    let left = imported.left;
    anyhow::ensure!(
        imported.is_whole(),
        "import_incomplete: {left} entries could not be taken; keep the export"
    );
    Ok(())
}

async fn export_tenant(config: &Config, arguments: &ExportArguments) -> Result<()> {
    let cloud = Cloud::open(config.settings()?).await?;
    match export::export(&cloud, arguments.tenant, &arguments.out).await {
        Err(ExportError::Rejected(rejection)) => Err(coded(rejection)),
        exported => say(&json!(exported?)),
    }
}

async fn show_log(config: &Config, arguments: &HeadArguments) -> Result<()> {
    let cloud = Cloud::open(config.settings()?).await?;
    let log = pass(&cloud, arguments.tenant, ShowLog).await?;
    say(&json!({
        "tenant": arguments.tenant,
        "generation": log.generation,
        "size": log.head.size,
        "root": log.head.root,
    }))
}

async fn recovered(config: &Config, arguments: RecoveredArguments) -> Result<()> {
    let people = <[String; 2]>::try_from(arguments.person).ok();
    let people = people.context("two_people_needed: two people decide this, each with --person")?;
    let path = arguments.known_checkpoint.display();
    let known = std::fs::read_to_string(&arguments.known_checkpoint)
        .with_context(|| format!("checkpoint_unreadable: {path}"))?;
    let mut earlier = Vec::new();
    for path in &arguments.earlier {
        let read = std::fs::read(path);
        earlier.extend(read.with_context(|| format!("statements_unreadable: {}", path.display()))?);
    }
    let root = keys::read_root(&arguments.root_key, arguments.tenant)?;
    let cloud = Cloud::open(config.settings()?).await?;
    let (restored, reason) = (arguments.restored, arguments.reason);
    let work = Recover { root, restored, known, earlier, reason, people };
    let recovered = pass(&cloud, arguments.tenant, work).await?;
    say(&json!({
        "tenant": arguments.tenant,
        "generation": recovered.generation,
        "restored": recovered.restored,
        "known": recovered.known,
        "tree": recovered.tree,
    }))
}

async fn pass<W: Work>(cloud: &Arc<Cloud>, tenant: TenantId, work: W) -> Result<W::Reply> {
    gate::pass(cloud, &Caller::Program { tenant }, work).await.map_err(coded)
}

/// A rejection, led by its code.
fn coded(rejection: Rejection) -> anyhow::Error {
    let code = match rejection {
        Rejection::Missing(_) => "not_found",
        Rejection::Seal(SealError::OtherMaster) => "master_key_changed",
        _ => rejection.problem().code.as_str(),
    };
    anyhow::Error::new(rejection).context(code)
}

fn say(value: &Value) -> Result<()> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{value}").and_then(|()| out.flush()).context("standard output")
}
