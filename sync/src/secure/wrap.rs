//! Keys wrapped by the device secret: 0x01 ‖ 24 bytes nonce ‖ XChaCha20-Poly1305 of 32 bytes. The associated
//! data names version and item, so that none can be put in the place of another.

use super::device_secret::DeviceSecret;
use super::{Places, Random, SecureError, lock};
use chacha20poly1305::aead::{Aead as _, Payload};
use chacha20poly1305::{KeyInit as _, XChaCha20Poly1305, XNonce};
use zeroize::Zeroizing;

const VERSION: u8 = 1;
const NONCE: usize = 24;

/// What is wrapped. Seeds are numbered from 1, which is enrolment's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Item {
    QueueKey,
    StationSeed(u32),
    HpkeSeed(u32),
}

impl Item {
    pub(super) const AT_ENROLMENT: [Self; 3] = [Self::QueueKey, Self::StationSeed(1), Self::HpkeSeed(1)];

    pub(super) fn file(self) -> String {
        match self {
            Self::QueueKey => "queue.key".to_owned(),
            Self::StationSeed(1) => "station.seed".to_owned(),
            Self::StationSeed(generation) => format!("station-{generation}.seed"),
            Self::HpkeSeed(1) => "hpke.seed".to_owned(),
            Self::HpkeSeed(generation) => format!("hpke-{generation}.seed"),
        }
    }

    fn associated(self) -> Vec<u8> {
        [b"lotgate/wrap/v1", &[0][..], self.file().as_bytes()].concat()
    }
}

pub(super) fn store(
    places: &Places,
    item: Item,
    secret: &DeviceSecret,
    key: &[u8; 32],
    random: &dyn Random,
) -> Result<(), SecureError> {
    let path = places.secure.join(item.file());
    let mut nonce = [0; NONCE];
    random.fill(&mut nonce)?;
    let payload = Payload { msg: key, aad: &item.associated() };
    let sealed = XChaCha20Poly1305::new(secret.bytes().into())
        .encrypt(&XNonce::from(nonce), payload)
        .map_err(|_| SecureError::Unwrap(path.clone()))?;
    let bytes = [&[VERSION], &nonce[..], &sealed].concat();
    places.storage.write_durably(&places.secure, &item.file(), &bytes).map_err(SecureError::io(&path))
}

pub(super) fn load(
    places: &Places,
    item: Item,
    secret: &DeviceSecret,
) -> Result<Zeroizing<[u8; 32]>, SecureError> {
    let path = places.secure.join(item.file());
    let bytes = match places.storage.read(&path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            return Err(SecureError::Missing(path));
        }
        Err(source) => return Err(SecureError::Io { path, source }),
    };
    lock::check_private(places, &path)?;
    let malformed = || SecureError::Malformed { path: path.clone(), what: "wrapped key" };
    let ([VERSION], rest) = bytes.split_first_chunk::<1>().ok_or_else(malformed)? else {
        return Err(malformed());
    };
    let (nonce, sealed) = rest.split_first_chunk::<NONCE>().ok_or_else(malformed)?;
    let payload = Payload { msg: sealed, aad: &item.associated() };
    let key = XChaCha20Poly1305::new(secret.bytes().into())
        .decrypt(&XNonce::from(*nonce), payload)
        .map_err(|_| SecureError::Unwrap(path.clone()))?;
    let key = Zeroizing::new(key);
    let bytes: [u8; 32] = key.as_slice().try_into().map_err(|_| malformed())?;
    Ok(Zeroizing::new(bytes))
}
