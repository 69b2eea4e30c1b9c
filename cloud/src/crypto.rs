//! Tenants' private keys at rest: sealed under the master key from the cloud's configuration.
//!
//! A sealed seed is 24 bytes of nonce ‖ XChaCha20-Poly1305; tenant, use and key id are its associated data, so
//! that a row copied to another tenant or use does not open.

use chacha20poly1305::aead::{Aead as _, KeyInit as _, Payload};
use chacha20poly1305::{Key, XChaCha20Poly1305, XNonce};
use lotgate_domain::certificate::KeyUse;
use lotgate_domain::ids::{Hash, KeyId, PublicKey, TenantId};
use lotgate_domain::signature::KeyPair;
use zeroize::Zeroizing;

const NONCE: usize = 24;

/// 32 random bytes that seal every tenant's private keys.
#[derive(Clone)]
pub struct MasterKey(Zeroizing<[u8; 32]>);

/// A private key cannot be sealed or opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SealError {
    /// The system gives no random bytes.
    #[error("no random bytes")]
    Random,
    /// It cannot be encrypted.
    #[error("cannot be sealed")]
    Seal,
    /// Sealed under another master key, for another tenant or use, or damaged.
    #[error("does not open with this master key")]
    Open,
    /// The database's keys are sealed under another master key.
    #[error("the tenants' keys of this database are sealed under another master key")]
    OtherMaster,
    /// It opens, but belongs to another public key.
    #[error("opens to another key than its row says")]
    OtherKey,
}

/// What a sealed key is for: its associated data.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SealedFor {
    /// Whose.
    pub tenant: TenantId,
    /// What for.
    pub key_use: KeyUse,
    /// Which.
    pub key: KeyId,
}

impl SealedFor {
    fn associated_data(&self) -> Vec<u8> {
        let mut data = self.tenant.0.as_bytes().to_vec();
        data.extend_from_slice(key_use_text(self.key_use).as_bytes());
        data.push(0);
        data.extend_from_slice(self.key.as_bytes());
        data
    }
}

impl MasterKey {
    /// Takes the 32 bytes.
    #[must_use]
    pub fn new(bytes: [u8; 32]) -> Self {
        Self(Zeroizing::new(bytes))
    }

    /// What the database remembers of it; nothing can be opened with that.
    #[must_use]
    pub fn fingerprint(&self) -> Hash {
        Hash::of_parts(&[b"lotgate/master-key/v1", &[0], self.0.as_slice()])
    }

    /// Seals the seed of `keys` for its tenant and use.
    ///
    /// # Errors
    /// [`SealError::Random`], [`SealError::Seal`].
    pub fn seal(&self, tenant: TenantId, key_use: KeyUse, keys: &KeyPair) -> Result<Vec<u8>, SealError> {
        let nonce: [u8; NONCE] = random()?;
        let aad = SealedFor { tenant, key_use, key: keys.public().key_id() }.associated_data();
        let seed = keys.seed();
        let payload = Payload { msg: seed.as_slice(), aad: &aad };
        let sealed = self.cipher().encrypt(&XNonce::from(nonce), payload).map_err(|_| SealError::Seal)?;
        Ok([nonce.as_slice(), &sealed].concat())
    }

    /// Opens a sealed seed.
    ///
    /// # Errors
    /// [`SealError::Open`], [`SealError::OtherKey`].
    pub fn open(&self, sealed_for: SealedFor, sealed: &[u8]) -> Result<KeyPair, SealError> {
        let (nonce, rest) = sealed.split_first_chunk::<NONCE>().ok_or(SealError::Open)?;
        let aad = sealed_for.associated_data();
        let payload = Payload { msg: rest, aad: &aad };
        let seed = self.cipher().decrypt(&XNonce::from(*nonce), payload).map_err(|_| SealError::Open)?;
        let seed = Zeroizing::new(seed);
        let seed: Zeroizing<[u8; 32]> =
            Zeroizing::new(seed.as_slice().try_into().map_err(|_| SealError::Open)?);
        let keys = KeyPair::from_seed(&seed);
        if keys.public().key_id() == sealed_for.key { Ok(keys) } else { Err(SealError::OtherKey) }
    }

    fn cipher(&self) -> XChaCha20Poly1305 {
        XChaCha20Poly1305::new(&Key::from(*self.0))
    }
}

impl std::fmt::Debug for MasterKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("MasterKey")
    }
}

/// The use of a key as columns and associated data hold it.
#[must_use]
pub const fn key_use_text(key_use: KeyUse) -> &'static str {
    match key_use {
        KeyUse::Root => "root",
        KeyUse::Issuer => "issuer",
        KeyUse::Log => "log",
        KeyUse::Statement => "statement",
        KeyUse::Recovery => "recovery",
        KeyUse::Operation => "operation",
        KeyUse::Esig => "esig",
    }
}

/// An X25519 key pair for a holder who opens lost queues: the private half, then the public one.
///
/// # Errors
/// [`SealError::Random`].
pub fn recovery_pair() -> Result<(Zeroizing<[u8; 32]>, PublicKey), SealError> {
    let private = Zeroizing::new(random::<32>()?);
    let public = x25519_dalek::PublicKey::from(&x25519_dalek::StaticSecret::from(*private));
    Ok((private, PublicKey(public.to_bytes())))
}

/// Random bytes of the system.
///
/// # Errors
/// [`SealError::Random`].
pub fn random<const N: usize>() -> Result<[u8; N], SealError> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).map_err(|_| SealError::Random)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sealed_key_opens_only_for_its_tenant_use_and_master_key() {
        let (master, keys) = (MasterKey::new([1; 32]), KeyPair::from_seed(&[2; 32]));
        let tenant = TenantId::from_parts(1, &[1; 10]);
        let right = SealedFor { tenant, key_use: KeyUse::Issuer, key: keys.public().key_id() };
        let sealed = master.seal(tenant, KeyUse::Issuer, &keys).unwrap();
        assert_eq!(master.open(right, &sealed).unwrap().public(), keys.public());
        let other_tenant = SealedFor { tenant: TenantId::from_parts(2, &[1; 10]), ..right };
        for wrong in [
            other_tenant,
            SealedFor { key_use: KeyUse::Statement, ..right },
            SealedFor { key: KeyId([0; 16]), ..right },
        ] {
            assert_eq!(master.open(wrong, &sealed).unwrap_err(), SealError::Open, "{wrong:?}");
        }
        assert_eq!(MasterKey::new([9; 32]).open(right, &sealed).unwrap_err(), SealError::Open);
        assert_eq!(master.open(right, &sealed[..23]).unwrap_err(), SealError::Open, "cut");
        let again = master.seal(tenant, KeyUse::Issuer, &keys).unwrap();
        assert_ne!(sealed, again, "every sealing has its own nonce");
    }
}
