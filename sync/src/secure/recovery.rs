//! The queue key, sealed so that two people can open a queue whose key store is lost (PROTOCOL §2, §9.21).
//!
//! HPKE base mode, twice: inside to holder 2, around that to holder 1. So neither opens it alone, and they need
//! not meet: holder 1 takes off the outer layer and passes on the half. No signing key is ever in it.

use super::{Places, QueueKey, Random, RandomError};
use hpke::aead::ChaCha20Poly1305;
use hpke::kdf::HkdfSha256;
use hpke::kem::X25519HkdfSha256;
use hpke::rand_core::{TryCryptoRng, TryRng};
use hpke::{Deserializable as _, Kem, OpModeR, OpModeS, Serializable as _};
use lotgate_domain::certificate::Trust;
use lotgate_domain::ids::{Hash, PublicKey, StationId, TenantId};
use lotgate_domain::protocol::HexBytes;
use serde::{Deserialize, Serialize};
use std::convert::Infallible;
use std::io;
use std::path::{Path, PathBuf};
use zeroize::Zeroizing;

/// Name of the sealed key, in the data directory: it is copied and kept with the queue.
pub const SEALED: &str = "recovery.sealed";
const KEPT_BEGIN: &str = "recovery-";
const KEPT_END: &str = ".sealed";
/// Usual name of what holder 1 passes on to holder 2.
pub const HALF: &str = "recovery.half";

const CONTEXT: &[u8] = b"lotgate/recovery/v1";
const ENCAPSULATED: usize = 32;

/// Why a queue key cannot be sealed or recovered.
#[derive(Debug, thiserror::Error)]
pub enum RecoveryError {
    /// Not a sealed key, or not a half.
    #[error("not a sealed queue key")]
    Malformed,
    /// It is sealed to another key than this holder's.
    #[error("sealed to the key {sealed_to}, this is {given}")]
    WrongHolder {
        /// The public key that can open it.
        sealed_to: PublicKey,
        /// The one that was given.
        given: PublicKey,
    },
    /// The layer does not open: it was changed.
    #[error("the sealed key does not open")]
    NotOpened,
    /// A holder's key file is not 64 hexadecimal digits.
    #[error("{} is not a holder's key: 64 hexadecimal digits", .0.display())]
    KeyFile(PathBuf),
    /// A holder's key file can be read by others.
    #[error("{} can be read by other users (mode {mode:o}); it must be private", path.display())]
    Permissions {
        /// Which.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// A tenant's recovery key is none that can be sealed to.
    #[error("a recovery key of the tenant cannot be sealed to")]
    Holder,
    /// No random bytes.
    #[error("the system gives no random bytes")]
    Random(#[from] RandomError),
    /// A file cannot be read or written.
    #[error("cannot use {}", path.display())]
    Io {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
}

impl RecoveryError {
    /// The closed code.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Malformed => "recovery_malformed",
            Self::WrongHolder { .. } => "recovery_wrong_holder",
            Self::NotOpened => "recovery_not_opened",
            Self::KeyFile(_) => "recovery_key_file",
            Self::Permissions { .. } => "wrong_permissions",
            Self::Holder => "recovery_holder_invalid",
            Self::Random(_) => "no_random",
            Self::Io { .. } => "disk_io",
        }
    }

    /// The exit code of the program (DESIGN §8).
    #[must_use]
    pub const fn exit_code(&self) -> u8 {
        13
    }
}

/// Whether the queue could be recovered; for `doctor`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RecoveryState {
    /// The tenant has no recovery keys: with the key store, the queue is lost.
    NoHolders,
    /// The two holders can open the queue together.
    Sealed,
    /// There is no sealed key; the next start of the station makes it.
    Missing,
    /// It is another queue's or sealed to other holders; the next start of the station makes it anew, and keeps
    /// that of another queue beside it.
    Stale,
}

impl RecoveryState {
    /// The state as written.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NoHolders => "no_holders",
            Self::Sealed => "sealed",
            Self::Missing => "missing",
            Self::Stale => "stale",
        }
    }
}

/// Whose queue a key is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Of {
    /// Whose tenant.
    pub tenant: TenantId,
    /// Which station.
    pub station: StationId,
}

impl Of {
    fn info(&self) -> Vec<u8> {
        [CONTEXT, self.tenant.0.as_bytes(), self.station.0.as_bytes()].concat()
    }
}

/// `recovery.sealed`.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Sealed {
    v: u64,
    tenant: TenantId,
    station: StationId,
    /// X25519 keys of both, the first one's first.
    holders: [PublicKey; 2],
    /// Tells whether it is this key that is sealed, and tells nothing else of it.
    check: Hash,
    /// Encapsulated key ‖ ciphertext of the inner layer, which is encapsulated key ‖ ciphertext of the key.
    sealed: HexBytes,
}

/// `recovery.half`: the inner layer.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Half {
    v: u64,
    tenant: TenantId,
    station: StationId,
    holder: PublicKey,
    check: Hash,
    sealed: HexBytes,
}

/// A holder's private key.
pub struct HolderKey(Zeroizing<[u8; 32]>);

impl HolderKey {
    /// The key of these bytes.
    #[must_use]
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(Zeroizing::new(bytes))
    }

    /// Reads a file of 64 hexadecimal digits that nobody else can read.
    ///
    /// # Errors
    /// [`RecoveryError::Io`], [`RecoveryError::Permissions`], [`RecoveryError::KeyFile`].
    pub fn read(path: &Path) -> Result<Self, RecoveryError> {
        let io = |source| RecoveryError::Io { path: path.to_owned(), source };
        let bytes = Zeroizing::new(std::fs::read(path).map_err(io)?);
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt as _;
            let mode = std::fs::metadata(path).map_err(io)?.permissions().mode() & 0o7777;
            if mode & 0o077 != 0 {
                return Err(RecoveryError::Permissions { path: path.to_owned(), mode });
            }
        }
        let mut key = Zeroizing::new([0; 32]);
        hex::decode_to_slice(bytes.trim_ascii(), key.as_mut())
            .map_err(|_| RecoveryError::KeyFile(path.to_owned()))?;
        Ok(Self(key))
    }

    /// The public half, as the tenant's recovery certificate has it.
    #[must_use]
    pub fn public(&self) -> PublicKey {
        let secret = x25519_dalek::StaticSecret::from(*self.0);
        PublicKey(x25519_dalek::PublicKey::from(&secret).to_bytes())
    }
}

impl std::fmt::Debug for HolderKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "HolderKey({})", self.public().key_id())
    }
}

/// A recovered queue key.
#[derive(Debug)]
pub struct Recovered {
    /// Whose queue it opens.
    pub of: Of,
    key: QueueKey,
}

impl Recovered {
    pub(crate) fn key(&self) -> &QueueKey {
        &self.key
    }
}

/// Takes off the outer layer with the first holder's key; gives the content of `recovery.half`.
///
/// # Errors
/// [`RecoveryError::Malformed`], [`RecoveryError::WrongHolder`], [`RecoveryError::NotOpened`].
pub fn open_outer(sealed: &[u8], holder1: &HolderKey) -> Result<Vec<u8>, RecoveryError> {
    let sealed: Sealed = serde_json::from_slice(sealed).map_err(|_| RecoveryError::Malformed)?;
    let Sealed { v: 1, tenant, station, holders: [first, second], check, sealed } = sealed else {
        return Err(RecoveryError::Malformed);
    };
    let inner = open(&sealed.0, holder1, first, Of { tenant, station })?;
    let half = Half { v: 1, tenant, station, holder: second, check, sealed: HexBytes(inner.to_vec()) };
    serde_json::to_vec(&half).map_err(|_| RecoveryError::Malformed)
}

/// Takes off the inner layer with the second holder's key.
///
/// # Errors
/// [`RecoveryError::Malformed`], [`RecoveryError::WrongHolder`], [`RecoveryError::NotOpened`].
pub fn open_inner(half: &[u8], holder2: &HolderKey) -> Result<Recovered, RecoveryError> {
    let half: Half = serde_json::from_slice(half).map_err(|_| RecoveryError::Malformed)?;
    let Half { v: 1, tenant, station, holder, check, sealed } = half else {
        return Err(RecoveryError::Malformed);
    };
    let of = Of { tenant, station };
    let key = open(&sealed.0, holder2, holder, of)?;
    let key: [u8; 32] = key.as_slice().try_into().map_err(|_| RecoveryError::NotOpened)?;
    let key = QueueKey(Zeroizing::new(key));
    if check_of(&key, of) == check { Ok(Recovered { of, key }) } else { Err(RecoveryError::NotOpened) }
}

/// Opens a sealed queue key with both holders' keys.
///
/// # Errors
/// [`RecoveryError::Malformed`], [`RecoveryError::WrongHolder`], [`RecoveryError::NotOpened`].
pub fn recover(sealed: &[u8], holder1: &HolderKey, holder2: &HolderKey) -> Result<Recovered, RecoveryError> {
    open_inner(&Zeroizing::new(open_outer(sealed, holder1)?), holder2)
}

/// Seals the queue key to both holders, if the tenant has them and it is not sealed yet. A sealed key of another
/// queue is kept beside it: it may be the only way into a file that was set aside.
pub(crate) fn ensure(
    places: &Places,
    trust: &Trust,
    of: Of,
    key: &QueueKey,
    random: &dyn Random,
) -> Result<RecoveryState, RecoveryError> {
    let state = state(places, trust, of, key)?;
    let Some(holders) = trust.recovery.filter(|_| state != RecoveryState::Sealed) else { return Ok(state) };
    let bytes = seal_to(holders, of, key, random)?;
    let path = places.data.join(SEALED);
    if state == RecoveryState::Stale {
        keep_of_another(places, check_of(key, of))
            .map_err(|source| RecoveryError::Io { path: path.clone(), source })?;
    }
    let stored = places.storage.write_durably(&places.data, SEALED, &bytes);
    stored.map_err(|source| RecoveryError::Io { path, source })?;
    Ok(RecoveryState::Sealed)
}

/// Gives what is sealed, and is not the key with this `check`, a name of its own: that of the key it seals.
fn keep_of_another(places: &Places, check: Hash) -> io::Result<()> {
    let path = places.data.join(SEALED);
    let bytes = places.storage.read(&path)?;
    let sealed_in = match serde_json::from_slice::<Sealed>(&bytes) {
        Ok(sealed) if sealed.check == check => return Ok(()),
        Ok(sealed) => sealed.check,
        // Nobody can tell by now what it seals.
        Err(_) => Hash::of(&bytes),
    };
    let mark: String = sealed_in.to_string().chars().take(16).collect();
    let name = |n: u32| match n {
        1 => format!("{KEPT_BEGIN}{mark}{KEPT_END}"),
        n => format!("{KEPT_BEGIN}{mark}-{n}{KEPT_END}"),
    };
    let free = (1..=u32::MAX).map(name).find(|name| !places.storage.exists(&places.data.join(name)));
    let Some(kept) = free else { return Err(io::ErrorKind::AlreadyExists.into()) };
    tracing::warn!(kept, "queue.recovery_kept");
    places.storage.rename(&path, &places.data.join(kept))?;
    places.storage.sync_dir(&places.data)
}

/// Whether the key is sealed to the tenant's holders.
pub(crate) fn state(
    places: &Places,
    trust: &Trust,
    of: Of,
    key: &QueueKey,
) -> Result<RecoveryState, RecoveryError> {
    let Some(holders) = trust.recovery else { return Ok(RecoveryState::NoHolders) };
    let path = places.data.join(SEALED);
    let bytes = match places.storage.read(&path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(RecoveryState::Missing),
        Err(source) => return Err(RecoveryError::Io { path, source }),
    };
    let fits = serde_json::from_slice::<Sealed>(&bytes).is_ok_and(|sealed| {
        sealed.v == 1
            && Of { tenant: sealed.tenant, station: sealed.station } == of
            && sealed.holders == holders
            && sealed.check == check_of(key, of)
    });
    Ok(if fits { RecoveryState::Sealed } else { RecoveryState::Stale })
}

fn seal_to(
    [first, second]: [PublicKey; 2],
    of: Of,
    key: &QueueKey,
    random: &dyn Random,
) -> Result<Vec<u8>, RecoveryError> {
    let inner = seal(key.bytes(), second, of, random)?;
    let sealed = Sealed {
        v: 1,
        tenant: of.tenant,
        station: of.station,
        holders: [first, second],
        check: check_of(key, of),
        sealed: HexBytes(seal(&inner, first, of, random)?),
    };
    serde_json::to_vec(&sealed).map_err(|_| RecoveryError::Malformed)
}

/// The key is 32 random bytes: its hash gives away nothing of it.
fn check_of(key: &QueueKey, of: Of) -> Hash {
    Hash::of_parts(&[&of.info(), b"/check", key.bytes()])
}

fn seal(plain: &[u8], to: PublicKey, of: Of, random: &dyn Random) -> Result<Vec<u8>, RecoveryError> {
    let mut drawn = Drawn { bytes: Zeroizing::new([0; 32]), calls: 0 };
    random.fill(drawn.bytes.as_mut())?;
    let to = hpke_public(to)?;
    let (encapsulated, sealed) = hpke::single_shot_seal_with_rng::<
        ChaCha20Poly1305,
        HkdfSha256,
        X25519HkdfSha256,
    >(&OpModeS::Base, &to, &of.info(), plain, b"", &mut drawn)
    .map_err(|_| RecoveryError::Holder)?;
    // It takes one draw for its one-time key. Another one would have been the same bytes again.
    if drawn.calls != 1 {
        return Err(RecoveryError::Holder);
    }
    Ok([encapsulated.to_bytes().as_slice(), &sealed].concat())
}

fn open(
    sealed: &[u8],
    holder: &HolderKey,
    sealed_to: PublicKey,
    of: Of,
) -> Result<Zeroizing<Vec<u8>>, RecoveryError> {
    let given = holder.public();
    if given != sealed_to {
        return Err(RecoveryError::WrongHolder { sealed_to, given });
    }
    let (encapsulated, sealed) = sealed.split_at_checked(ENCAPSULATED).ok_or(RecoveryError::Malformed)?;
    let encapsulated = <X25519HkdfSha256 as Kem>::EncappedKey::from_bytes(encapsulated)
        .map_err(|_| RecoveryError::Malformed)?;
    let private = <X25519HkdfSha256 as Kem>::PrivateKey::from_bytes(&*holder.0)
        .map_err(|_| RecoveryError::NotOpened)?;
    hpke::single_shot_open::<ChaCha20Poly1305, HkdfSha256, X25519HkdfSha256>(
        &OpModeR::Base,
        &private,
        &encapsulated,
        &of.info(),
        sealed,
        b"",
    )
    .map(Zeroizing::new)
    .map_err(|_| RecoveryError::NotOpened)
}

fn hpke_public(key: PublicKey) -> Result<<X25519HkdfSha256 as Kem>::PublicKey, RecoveryError> {
    <X25519HkdfSha256 as Kem>::PublicKey::from_bytes(key.as_bytes()).map_err(|_| RecoveryError::Holder)
}

/// Random bytes that were drawn beforehand, since the library knows no source that can fail.
struct Drawn {
    bytes: Zeroizing<[u8; 32]>,
    calls: u32,
}

impl TryRng for Drawn {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        let mut bytes = [0; 4];
        self.try_fill_bytes(&mut bytes)?;
        Ok(u32::from_le_bytes(bytes))
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        let mut bytes = [0; 8];
        self.try_fill_bytes(&mut bytes)?;
        Ok(u64::from_le_bytes(bytes))
    }

    fn try_fill_bytes(&mut self, to: &mut [u8]) -> Result<(), Infallible> {
        self.calls = self.calls.saturating_add(if to.len() <= self.bytes.len() { 1 } else { 2 });
        for (to, byte) in to.iter_mut().zip(self.bytes.iter().cycle()) {
            *to = *byte;
        }
        Ok(())
    }
}

impl TryCryptoRng for Drawn {}

#[cfg(test)]
mod tests {
    use super::*;

    /// Gives the same bytes each time.
    struct Fixed([u8; 32]);

    impl Random for Fixed {
        fn fill(&self, bytes: &mut [u8]) -> Result<(), RandomError> {
            bytes.copy_from_slice(&self.0[..bytes.len()]);
            Ok(())
        }
    }

    fn bytes(text: &str) -> Vec<u8> {
        hex::decode(text).unwrap()
    }

    #[test]
    fn the_suite_is_that_of_rfc_9180_a_2_1() {
        // The known answer of the RFC for DHKEM(X25519, HKDF-SHA256), HKDF-SHA256, ChaCha20Poly1305, base mode.
        let ikm = bytes("909a9b35d3dc4713a5e72a4da274b55d3d3821a37e5d099e74a647db583a904b");
        let public = bytes("4310ee97d88cc1f088a5576c77ab0cf5c3ac797f3d95139c6c84b5429c59662a");
        let private = bytes("8057991eef8f1f1af18f4a9491d16a1ce333f695d4db8e38da75975c4478e0fb");
        let info = bytes("4f6465206f6e2061204772656369616e2055726e");
        let plain = bytes("4265617574792069732074727574682c20747275746820626561757479");
        let aad = bytes("436f756e742d30");
        let mut drawn = Drawn { bytes: Zeroizing::new(ikm.try_into().unwrap()), calls: 0 };
        let to = hpke_public(PublicKey::from_slice(&public).unwrap()).unwrap();
        let (encapsulated, sealed) = hpke::single_shot_seal_with_rng::<
            ChaCha20Poly1305,
            HkdfSha256,
            X25519HkdfSha256,
        >(&OpModeS::Base, &to, &info, &plain, &aad, &mut drawn)
        .unwrap();
        assert_eq!(drawn.calls, 1);
        assert_eq!(
            hex::encode(encapsulated.to_bytes()),
            "1afa08d3dec047a643885163f1180476fa7ddb54c6a8029ea33f95796bf2ac4a"
        );
        assert_eq!(
            hex::encode(&sealed),
            "1c5250d8034ec2b784ba2cfd69dbdb8af406cfe3ff938e131f0def8c8b60b4db21993c62ce81883d2dd1b51a28"
        );
        let private_key = <X25519HkdfSha256 as Kem>::PrivateKey::from_bytes(&private).unwrap();
        let opened = hpke::single_shot_open::<ChaCha20Poly1305, HkdfSha256, X25519HkdfSha256>(
            &OpModeR::Base,
            &private_key,
            &encapsulated,
            &info,
            &sealed,
            &aad,
        );
        assert_eq!(opened.unwrap(), plain);
        let holder = HolderKey::from_bytes(private.try_into().unwrap());
        assert_eq!(hex::encode(holder.public().0), hex::encode(public), "the same key for us");
    }

    fn of() -> Of {
        Of { tenant: TenantId::from_parts(1, &[1; 10]), station: StationId::from_parts(2, &[2; 10]) }
    }

    fn key() -> QueueKey {
        QueueKey(Zeroizing::new([42; 32]))
    }

    fn holders() -> [HolderKey; 2] {
        [HolderKey::from_bytes([7; 32]), HolderKey::from_bytes([8; 32])]
    }

    fn sealed() -> Vec<u8> {
        let [first, second] = holders();
        seal_to([first.public(), second.public()], of(), &key(), &Fixed([5; 32])).unwrap()
    }

    #[test]
    fn both_holders_open_it_together_and_one_after_the_other() {
        let [first, second] = holders();
        let together = recover(&sealed(), &first, &second).unwrap();
        assert_eq!((together.of, together.key.bytes()), (of(), &[42; 32]));
        let half = open_outer(&sealed(), &first).unwrap();
        let apart = open_inner(&half, &second).unwrap();
        assert_eq!(apart.key.bytes(), &[42; 32]);
    }

    #[test]
    fn one_holder_alone_opens_nothing() {
        let [first, second] = holders();
        assert!(matches!(recover(&sealed(), &first, &first), Err(RecoveryError::WrongHolder { .. })));
        assert!(matches!(recover(&sealed(), &second, &second), Err(RecoveryError::WrongHolder { .. })));
        assert!(matches!(recover(&sealed(), &second, &first), Err(RecoveryError::WrongHolder { .. })));
        // Nor by writing oneself in as the other one.
        let mut changed: Sealed = serde_json::from_slice(&sealed()).unwrap();
        changed.holders = [first.public(), first.public()];
        let changed = serde_json::to_vec(&changed).unwrap();
        assert!(matches!(recover(&changed, &first, &first), Err(RecoveryError::NotOpened)));
    }

    #[test]
    fn whatever_is_changed_does_not_open() {
        let [first, second] = holders();
        let whole = sealed();
        for place in 0..whole.len() {
            let mut changed = whole.clone();
            changed[place] ^= 1;
            assert!(recover(&changed, &first, &second).is_err(), "byte {place}");
        }
        for end in 0..whole.len() {
            assert!(recover(&whole[..end], &first, &second).is_err(), "{end} bytes");
        }
        let mut other: Sealed = serde_json::from_slice(&whole).unwrap();
        other.station = StationId::from_parts(3, &[3; 10]);
        let other = serde_json::to_vec(&other).unwrap();
        assert!(
            matches!(recover(&other, &first, &second), Err(RecoveryError::NotOpened)),
            "another station's"
        );
    }
}
