//! Where a command works: the configuration in force, the directories, the way to the cloud.

use super::{Exit, Failure, system_clock, version};
use crate::config::{Config, Flags, KeyStore, Sources, WayOut};
use clap::Args;
use lotgate_domain::operation::Program;
use lotgate_sync::clock::Clock;
use lotgate_sync::http::{HttpCloud, HttpOptions, HttpSetupError, Proxy, RequestKeys};
use lotgate_sync::queue::{CapacityLimits, Identity, Queue, QueueOptions};
use lotgate_sync::secure::{Places, Secure, StationKeys, SystemRandom};
use std::path::PathBuf;
use std::sync::Arc;

/// What the system hands to the program, in `$CREDENTIALS_DIRECTORY`: if it is there it is the device secret.
const CREDENTIAL: &str = "lotgate.device";
/// Beside the queue: the server that enrolled this station, for when the configuration names none.
pub(crate) const SERVER_FILE: &str = "server";

#[derive(Debug, Clone, Args)]
pub(crate) struct PlaceArgs {
    /// Configuration file [default: /etc/lotgate/lotgate.toml]
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Directory of the queue [default: /var/lib/lotgate]
    #[arg(long, global = true, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// Directory of keys and rollback anchor [default: the data directory with ".secure" added]
    #[arg(long, global = true, value_name = "DIR")]
    secure_dir: Option<PathBuf>,
    /// The cloud, https://host[:port] [default: the one that enrolled this station]
    #[arg(long, global = true, value_name = "URL")]
    server: Option<String>,
}

impl PlaceArgs {
    pub(crate) fn config(&self) -> Result<Config, Failure> {
        let Self { config, data_dir, secure_dir, server } = self.clone();
        let sources = Sources::of_this_machine(Flags { config, data_dir, secure_dir, server });
        Ok(Config::load(&sources)?)
    }

    pub(crate) fn load(&self) -> Result<Site, Failure> {
        let config = self.config()?;
        #[cfg(unix)]
        super::owner::switch_from_root(&config.data_dir)?;
        Ok(Site::of(config))
    }
}

/// Where a command works.
pub(crate) struct Site {
    pub(crate) config: Config,
    pub(crate) places: Places,
}

impl Site {
    pub(crate) fn of(config: Config) -> Self {
        let credential = std::env::var_os("CREDENTIALS_DIRECTORY")
            .map(|dir| PathBuf::from(dir).join(CREDENTIAL))
            .filter(|file| file.exists());
        let places = Places::new(config.data_dir.clone(), Some(config.secure_dir.clone()), credential)
            .with_secret_service(config.key_store == KeyStore::SecretService);
        Self { config, places }
    }

    /// The configured server, else the one that enrolled this station.
    pub(crate) fn server(&self) -> Result<String, Failure> {
        let server = self.config.server.clone().or_else(|| self.enrolled_at());
        server.ok_or_else(|| Failure::new(Exit::Usage, "no_server", ""))
    }

    /// The server that enrolled this station.
    pub(crate) fn enrolled_at(&self) -> Option<String> {
        let bytes = self.places.storage.read(&self.places.data.join(SERVER_FILE)).ok()?;
        String::from_utf8(bytes).ok()
    }

    pub(crate) fn program(&self) -> Program {
        Program {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            build: version::build().to_owned(),
            config_sha256: self.config.sha256,
        }
    }

    pub(crate) fn http(&self, clock: Arc<dyn Clock>) -> Result<HttpOptions, Failure> {
        Ok(HttpOptions {
            server: self.server()?,
            ca_file: self.config.ca_file.clone(),
            proxy: match &self.config.proxy {
                WayOut::System => Proxy::System,
                WayOut::Direct => Proxy::Off,
                WayOut::Proxy(url) => Proxy::Url(url.clone()),
            },
            clock,
        })
    }

    /// The cloud as the station with these keys asks it.
    pub(crate) fn cloud(
        &self,
        identity: &Identity,
        keys: &StationKeys,
        clock: Arc<dyn Clock>,
    ) -> Result<HttpCloud, Failure> {
        let keys = RequestKeys {
            tenant: identity.tenant,
            station: identity.station,
            keys: Arc::clone(&keys.signing),
        };
        Ok(HttpCloud::for_station(self.http(clock)?, keys)?)
    }

    /// The station, to work with: this process holds its locks as long as that lives.
    pub(crate) fn lock(&self) -> Result<Secure, Failure> {
        Ok(Secure::open(self.places.clone())?)
    }

    /// Its queue.
    pub(crate) fn open_queue(&self, secure: Secure, clock: Arc<dyn Clock>) -> Result<Queue, Failure> {
        let options = QueueOptions {
            secure,
            clock,
            random: Arc::new(SystemRandom),
            program: self.program(),
            limits: CapacityLimits::default(),
        };
        Ok(Queue::open(options)?)
    }
}

/// The machine's clock, for whoever shares it.
pub(crate) fn shared_clock() -> Arc<dyn Clock> {
    Arc::new(system_clock())
}

impl From<HttpSetupError> for Failure {
    fn from(error: HttpSetupError) -> Self {
        Self::new(Exit::Usage, error.code(), super::chain(&error))
    }
}
