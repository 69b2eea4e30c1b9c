//! The program `lotgate-cloud`: serves stations, makes the schema, and does what a tenant's IT asks of the cloud.

use anyhow::{Context as _, Result};
use clap::{Args, Parser, Subcommand};
use lotgate_cloud::config::Config;
use lotgate_cloud::crypto::SealError;
use lotgate_cloud::error::{Rejection, chain};
use lotgate_cloud::gate::{self, Caller, Work};
use lotgate_cloud::reference::ImportReference;
use lotgate_cloud::tenant::CreateTenant;
use lotgate_cloud::token::MakeToken;
use lotgate_cloud::{Cloud, crypto, keys, migrate, server};
use lotgate_domain::ids::{SiteId, TenantId};
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
}

#[derive(Debug, Subcommand)]
enum StationCommand {
    /// Make a single-use token that enrols one station
    Token(TokenArguments),
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
        Command::Station(StationCommand::Token(arguments)) => make_token(&config, &arguments).await,
        Command::Reference(ReferenceCommand::Import(arguments)) => import(&config, &arguments).await,
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
    let cloud = Cloud::open(config.settings()?).await?;
    let seed = Zeroizing::new(crypto::random::<32>()?);
    let root = KeyPair::from_seed(&seed);
    let unix_ms = u64::try_from(cloud.now().unix_ms()).context("clock")?;
    let tenant = TenantId::from_parts(unix_ms, &crypto::random()?);
    let public = root.public();
    let out = &arguments.root_key_out;
    let file = Zeroizing::new(format!(
        "{{\"v\":1,\"use\":\"root\",\"tenant\":\"{tenant}\",\"public_key\":\"{public}\",\"seed\":\"{}\"}}\n",
        *Zeroizing::new(hex::encode(*seed))
    ));
    keys::write_secret(out, file.as_bytes())?;
    let work = CreateTenant { name: arguments.name, site: arguments.site, zone: arguments.zone, root };
    match pass(&cloud, tenant, work).await {
        Ok(site) => say(&json!({
            "tenant": tenant,
            "site": site,
            "root_fingerprint": public.fingerprint(),
            "root_key_file": out,
        })),
        Err(error) => {
            // The key of a tenant that does not exist.
            std::fs::remove_file(out).with_context(|| format!("cannot remove {}", out.display()))?;
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

async fn pass<W: Work>(cloud: &Arc<Cloud>, tenant: TenantId, work: W) -> Result<W::Reply> {
    let passed = gate::pass(cloud, &Caller::Program { tenant }, work).await;
    passed.map_err(|rejection| {
        let code = match rejection {
            Rejection::Missing(_) => "not_found",
            Rejection::Seal(SealError::OtherMaster) => "master_key_changed",
            _ => rejection.problem().code.as_str(),
        };
        anyhow::Error::new(rejection).context(code)
    })
}

fn say(value: &Value) -> Result<()> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{value}").and_then(|()| out.flush()).context("standard output")
}
