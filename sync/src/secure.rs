//! The secure directory: the device secret, the keys that it wraps, and the lock (DESIGN §4, PROTOCOL §2).
//!
//! It lies beside the data directory, never in it, so that a copied data directory alone opens nothing and
//! a data directory that was put back is noticed by the rollback anchor, which is kept here too.

mod device_secret;
mod lock;
mod random;
pub mod recovery;
mod wrap;

pub use random::{Random, RandomError, SystemRandom};

use crate::storage::{LocalDisk, Storage};
use device_secret::DeviceSecret;
pub(crate) use lock::DataLock;
use lock::Locks;
use lotgate_domain::ids::PublicKey;
use lotgate_domain::signature::KeyPair;
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use zeroize::Zeroizing;

const RECORD: &str = "protection.json";
const QUEUE_FILE: &str = "queue.db";

/// Where a station keeps its files.
#[derive(Debug, Clone)]
pub struct Places {
    /// The data directory: the queue.
    pub data: PathBuf,
    /// The secure directory: wrapped keys and the rollback anchor.
    pub secure: PathBuf,
    /// The device secret as the system hands it to the program (`$CREDENTIALS_DIRECTORY/lotgate.device`).
    pub credential: Option<PathBuf>,
    /// At enrolment the device secret goes to the Secret Service instead of a file, unless there is a credential.
    pub secret_service: bool,
    /// The disk that both directories are on.
    pub storage: Arc<dyn Storage>,
}

impl Places {
    /// The places of a data directory; the secure directory is `<data>.secure` beside it unless it is given.
    #[must_use]
    pub fn new(data: PathBuf, secure: Option<PathBuf>, credential: Option<PathBuf>) -> Self {
        let secure = secure.unwrap_or_else(|| {
            let mut name = data.file_name().unwrap_or_default().to_owned();
            name.push(".secure");
            data.with_file_name(name)
        });
        Self { data, secure, credential, secret_service: false, storage: Arc::new(LocalDisk) }
    }

    /// The same places on another disk.
    #[must_use]
    pub fn on(self, storage: Arc<dyn Storage>) -> Self {
        Self { storage, ..self }
    }

    /// The same places with the Secret Service asked for, or not.
    #[must_use]
    pub fn with_secret_service(self, asked: bool) -> Self {
        Self { secret_service: asked, ..self }
    }

    /// The file of the queue.
    #[must_use]
    pub fn queue_file(&self) -> PathBuf {
        self.data.join(QUEUE_FILE)
    }
}

/// Where the device secret lies; chosen at enrolment and recorded, never changed silently.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum KeyProtection {
    /// A credential that the system hands to the program.
    Credential,
    /// A file in the secure directory, readable by the kiosk's user alone.
    File,
    /// The Windows Credential Manager.
    CredentialManager,
    /// The Secret Service of the user's session.
    SecretService,
}

impl KeyProtection {
    /// The code as written.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Credential => "credential",
            Self::File => "file",
            Self::CredentialManager => "credential_manager",
            Self::SecretService => "secret_service",
        }
    }
}

/// Why the secure directory cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SecureError {
    /// Nothing here was ever enrolled.
    #[error("not enrolled: there is neither a queue in {data} nor a key store in {secure}")]
    NotEnrolled {
        /// The data directory.
        data: PathBuf,
        /// The secure directory.
        secure: PathBuf,
    },
    /// There is a queue, but what was recorded as its key store is gone.
    #[error("the recorded key store is missing: {}", .0.display())]
    Missing(PathBuf),
    /// A directory or file belongs to another user.
    #[error("{} belongs to user {owner}, this program runs as user {user}; run it as {owner}", path.display())]
    Owner {
        /// Which.
        path: PathBuf,
        /// Its owner's number.
        owner: u32,
        /// The program's user number.
        user: u32,
    },
    /// A directory or file can be read by others.
    #[error("{} can be read by other users (mode {mode:o}); it must be private", path.display())]
    Permissions {
        /// Which.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// A file is not what it must be.
    #[error("{} is not a {what}", path.display())]
    Malformed {
        /// Which.
        path: PathBuf,
        /// What it should be.
        what: &'static str,
    },
    /// The device secret does not open a wrapped key.
    #[error("{} was not wrapped by this machine's device secret", .0.display())]
    Unwrap(PathBuf),
    /// The store did not give back what was written to it.
    #[error("the key store does not keep what is written to it")]
    Probe,
    /// The system's key store (Credential Manager, Secret Service) failed.
    #[cfg(any(windows, target_os = "linux"))]
    #[error("the system's key store failed")]
    SystemStore(#[source] keyring::Error),
    /// The system's key store gave no answer in time; perhaps it waits for somebody to unlock it.
    #[error("the system's key store does not answer")]
    SystemStoreSilent,
    /// This system has no such key store.
    #[error("this system has no Secret Service")]
    NoSecretService,
    /// No random bytes.
    #[error("the system gives no random bytes")]
    Random(#[from] RandomError),
    /// Reading or writing failed.
    #[error("cannot use {}", path.display())]
    Io {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// Another process has it.
    #[error("{} is in use by process {}", path.display(), pid.map_or("?".to_owned(), |pid| pid.to_string()))]
    Locked {
        /// Which directory.
        path: PathBuf,
        /// The holder's process id, if it could be read.
        pid: Option<u32>,
    },
}

impl SecureError {
    /// The closed code.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::NotEnrolled { .. } => "not_enrolled",
            Self::Missing(_) => "key_store_missing",
            Self::Owner { .. } => "wrong_user",
            Self::Permissions { .. } => "wrong_permissions",
            Self::Malformed { .. } => "key_store_malformed",
            Self::Unwrap(_) => "key_store_mismatch",
            Self::Probe => "key_store_probe",
            #[cfg(any(windows, target_os = "linux"))]
            Self::SystemStore(_) => "system_key_store",
            Self::SystemStoreSilent | Self::NoSecretService => "system_key_store",
            Self::Random(_) | Self::Io { .. } => "key_store",
            Self::Locked { .. } => "locked",
        }
    }

    /// The exit code of the program (DESIGN §8).
    #[must_use]
    pub const fn exit_code(&self) -> u8 {
        match self {
            Self::NotEnrolled { .. } => 10,
            Self::Locked { .. } => 14,
            _ => 13,
        }
    }

    pub(crate) fn io(path: &Path) -> impl FnOnce(std::io::Error) -> Self + '_ {
        |source| Self::Io { path: path.to_owned(), source }
    }
}

/// What is recorded at enrolment; written last, so its presence says that everything else is there.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Record {
    v: u64,
    key_protection: KeyProtection,
    /// Name of the entry in the system's key store.
    name: Option<String>,
}

/// The station's own keys. The private halves never leave the machine.
#[derive(Clone)]
pub struct StationKeys {
    /// Signs operations and requests; Ed25519.
    pub signing: Arc<KeyPair>,
    /// Opens what is sealed to this station; X25519.
    pub hpke: x25519_dalek::StaticSecret,
}

impl StationKeys {
    /// The public half of the signing key.
    #[must_use]
    pub fn public(&self) -> PublicKey {
        self.signing.public()
    }

    /// The public half of the X25519 key.
    #[must_use]
    pub fn hpke_public(&self) -> PublicKey {
        PublicKey(x25519_dalek::PublicKey::from(&self.hpke).to_bytes())
    }
}

impl std::fmt::Debug for StationKeys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "StationKeys({})", self.public().key_id())
    }
}

/// An opened secure directory; holds the locks of both directories unless it was opened as a view.
#[derive(Debug)]
pub struct Secure {
    places: Places,
    protection: KeyProtection,
    first_keys: StationKeys,
    later_keys: Vec<StationKeys>,
    queue_key: QueueKey,
    locks: Option<Locks>,
}

/// The key of the queue's file.
#[derive(Clone)]
pub(crate) struct QueueKey(Zeroizing<[u8; 32]>);

impl QueueKey {
    pub(crate) fn bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl std::fmt::Debug for QueueKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("QueueKey")
    }
}

impl Secure {
    /// Makes both directories, takes their locks, and makes device secret and keys; for enrolment. Where they
    /// were made before, the same keys come back, so that a lost reply can be asked for again.
    ///
    /// # Errors
    /// [`SecureError`].
    pub fn prepare(places: Places, random: &dyn Random) -> Result<Self, SecureError> {
        lock::make_private_dir(&places, &places.data)?;
        lock::make_private_dir(&places, &places.secure)?;
        let locks = Locks::take(&places)?;
        if read_record(&places)?.is_none() {
            if places.storage.exists(&places.queue_file()) {
                return Err(SecureError::Missing(places.secure.join(RECORD)));
            }
            let (secret, record) = DeviceSecret::make(&places, random)?;
            for item in wrap::Item::AT_ENROLMENT {
                let mut key = Zeroizing::new([0; 32]);
                random.fill(key.as_mut())?;
                wrap::store(&places, item, &secret, &key, random)?;
            }
            let json = serde_json::to_vec(&record).map_err(std::io::Error::from);
            let path = places.secure.join(RECORD);
            let json = json.map_err(SecureError::io(&path))?;
            places.storage.write_durably(&places.secure, RECORD, &json).map_err(SecureError::io(&path))?;
        }
        Self::read(places, Some(locks))
    }

    /// Takes the locks of both directories and reads the keys; for `agent` and `retire`.
    ///
    /// # Errors
    /// [`SecureError`].
    pub fn open(places: Places) -> Result<Self, SecureError> {
        enrolled(&places)?;
        lock::make_private_dir(&places, &places.data)?;
        let locks = Locks::take(&places)?;
        Self::read(places, Some(locks))
    }

    /// Reads the keys without a lock, beside a running station; for `status`, `doctor`, `queue verify`.
    ///
    /// # Errors
    /// [`SecureError`], never `Locked`.
    pub fn view(places: Places) -> Result<Self, SecureError> {
        enrolled(&places)?;
        Self::read(places, None)
    }

    fn read(places: Places, locks: Option<Locks>) -> Result<Self, SecureError> {
        if places.storage.is_dir(&places.data) {
            lock::check_owner(&places, &places.data)?;
        }
        lock::check_private(&places, &places.secure)?;
        let Some(record) = read_record(&places)? else {
            return Err(SecureError::Missing(places.secure.join(RECORD)));
        };
        let secret = DeviceSecret::load(&places, &record)?;
        let first_keys = load_keys(&places, &secret, 1)?;
        let mut later_keys = Vec::new();
        for generation in 2.. {
            // The signing seed is written last: where it is, its pair is whole.
            if !places.storage.exists(&places.secure.join(wrap::Item::StationSeed(generation).file())) {
                break;
            }
            later_keys.push(load_keys(&places, &secret, generation)?);
        }
        let queue_key = QueueKey(wrap::load(&places, wrap::Item::QueueKey, &secret)?);
        Ok(Self { protection: record.key_protection, first_keys, later_keys, queue_key, locks, places })
    }

    /// Where everything lies.
    #[must_use]
    pub fn places(&self) -> &Places {
        &self.places
    }

    /// Where the device secret lies.
    #[must_use]
    pub fn protection(&self) -> KeyProtection {
        self.protection
    }

    /// The keys that were made at enrolment. Which ones the station uses now, its queue knows.
    #[must_use]
    pub fn station_keys(&self) -> &StationKeys {
        &self.first_keys
    }

    /// The keys with this public half, if they are here: those made at enrolment, or later ones.
    #[must_use]
    pub fn keys_of(&self, public: &PublicKey) -> Option<&StationKeys> {
        self.all_keys().find(|keys| keys.public() == *public)
    }

    /// All keys that are here, those made at enrolment first.
    pub(crate) fn all_keys(&self) -> impl DoubleEndedIterator<Item = &StationKeys> {
        std::iter::once(&self.first_keys).chain(&self.later_keys)
    }

    /// The keys that were made last.
    pub(crate) fn newest_keys(&self) -> &StationKeys {
        self.later_keys.last().unwrap_or(&self.first_keys)
    }

    /// Makes one more pair of keys and keeps it, wrapped, before anybody hears of it. The older ones stay: their
    /// entries and certificates do, too.
    ///
    /// # Errors
    /// [`SecureError`]; the next attempt begins anew.
    pub(crate) fn make_keys(&mut self, random: &dyn Random) -> Result<&StationKeys, SecureError> {
        let generation = u32::try_from(self.later_keys.len()).unwrap_or(u32::MAX).saturating_add(2);
        let record = read_record(&self.places)?;
        let record = record.ok_or_else(|| SecureError::Missing(self.places.secure.join(RECORD)))?;
        let secret = DeviceSecret::load(&self.places, &record)?;
        for item in [wrap::Item::HpkeSeed(generation), wrap::Item::StationSeed(generation)] {
            let mut seed = Zeroizing::new([0; 32]);
            random.fill(seed.as_mut())?;
            wrap::store(&self.places, item, &secret, &seed, random)?;
        }
        // Read back: what is certified must be what a restart will find.
        self.later_keys.push(load_keys(&self.places, &secret, generation)?);
        Ok(self.newest_keys())
    }

    /// Whether this process is the one that may write.
    #[must_use]
    pub fn is_locked(&self) -> bool {
        self.locks.is_some()
    }

    pub(crate) fn queue_key(&self) -> &QueueKey {
        &self.queue_key
    }
}

fn load_keys(places: &Places, secret: &DeviceSecret, generation: u32) -> Result<StationKeys, SecureError> {
    let load = |item| wrap::load(places, item, secret);
    Ok(StationKeys {
        signing: Arc::new(KeyPair::from_seed(&*load(wrap::Item::StationSeed(generation))?)),
        hpke: x25519_dalek::StaticSecret::from(*load(wrap::Item::HpkeSeed(generation))?),
    })
}

fn read_record(places: &Places) -> Result<Option<Record>, SecureError> {
    let path = places.secure.join(RECORD);
    let bytes = match places.storage.read(&path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(SecureError::Io { path, source }),
    };
    match serde_json::from_slice::<Record>(&bytes) {
        Ok(record) if record.v == 1 => Ok(Some(record)),
        _ => Err(SecureError::Malformed { path, what: "record of the key store" }),
    }
}

/// Tells "never enrolled" from "the keys are gone", without making anything.
fn enrolled(places: &Places) -> Result<(), SecureError> {
    let missing = |what: PathBuf| {
        if places.storage.exists(&places.queue_file()) {
            SecureError::Missing(what)
        } else {
            SecureError::NotEnrolled { data: places.data.clone(), secure: places.secure.clone() }
        }
    };
    if !places.storage.is_dir(&places.secure) {
        return Err(missing(places.secure.clone()));
    }
    lock::check_private(places, &places.secure)?;
    match read_record(places)? {
        Some(_) => Ok(()),
        None => Err(missing(places.secure.join(RECORD))),
    }
}
