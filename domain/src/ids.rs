//! Identifiers and fixed-size byte strings, with their one text form (PROTOCOL §9.1).

use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;
use uuid::Uuid;

/// A text that is not the one form of an identifier.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("expected {expected}")]
pub struct ParseIdError {
    /// The form that was expected, in words.
    pub expected: &'static str,
}

/// Reads a text as a `T`, where it lies: an operation holds twenty of them.
pub(crate) fn from_text<'de, T, D>(deserializer: D) -> Result<T, D::Error>
where
    T: FromStr<Err: fmt::Display>,
    D: serde::Deserializer<'de>,
{
    struct Text<T>(std::marker::PhantomData<T>);
    impl<T: FromStr<Err: fmt::Display>> serde::de::Visitor<'_> for Text<T> {
        type Value = T;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a text")
        }

        fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<T, E> {
            text.parse().map_err(E::custom)
        }
    }
    deserializer.deserialize_str(Text(std::marker::PhantomData))
}

macro_rules! uuid_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
        #[serde(transparent)]
        pub struct $name(pub Uuid);

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                from_text(deserializer)
            }
        }

        impl $name {
            /// Makes a UUIDv7 from a time in milliseconds since 1970 and ten random bytes.
            #[must_use]
            pub fn from_parts(unix_ms: u64, random: &[u8; 10]) -> Self {
                Self(uuid::Builder::from_unix_timestamp_millis(unix_ms, random).into_uuid())
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.hyphenated().fmt(f)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.hyphenated().fmt(f)
            }
        }

        impl FromStr for $name {
            type Err = ParseIdError;

            fn from_str(text: &str) -> Result<Self, ParseIdError> {
                let expected = ParseIdError { expected: "a lower-case UUID with hyphens" };
                let id = Uuid::try_parse(text).map_err(|_| expected)?;
                let same = *id.hyphenated().encode_lower(&mut Uuid::encode_buffer()) == *text;
                if same { Ok(Self(id)) } else { Err(expected) }
            }
        }
    };
}

uuid_id!(
    /// A customer of the platform; every row of the cloud belongs to one.
    TenantId
);
uuid_id!(
    /// A plant of a tenant; reference data is per site.
    SiteId
);
uuid_id!(
    /// One enrolled kiosk.
    StationId
);
uuid_id!(
    /// A person, pseudonymous in operations (PRV-1).
    PersonId
);
uuid_id!(
    /// One operation.
    OperationId
);
uuid_id!(
    /// The serial of one certificate.
    CertificateSerial
);
uuid_id!(
    /// One start of the operating system, or of the program where the system has no such id.
    BootId
);

macro_rules! hex_bytes {
    ($(#[$doc:meta])* $name:ident, $len:literal, $expected:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub [u8; $len]);

        impl $name {
            /// The bytes.
            #[must_use]
            pub const fn as_bytes(&self) -> &[u8; $len] {
                &self.0
            }

            /// Takes the bytes from a slice of exactly this length.
            ///
            /// # Errors
            /// Any other length.
            pub fn from_slice(bytes: &[u8]) -> Result<Self, ParseIdError> {
                bytes.try_into().map(Self).map_err(|_| ParseIdError { expected: $expected })
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&hex::encode(self.0))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }

        impl FromStr for $name {
            type Err = ParseIdError;

            fn from_str(text: &str) -> Result<Self, ParseIdError> {
                let expected = ParseIdError { expected: $expected };
                let mut bytes = [0u8; $len];
                hex::decode_to_slice(text, &mut bytes).map_err(|_| expected)?;
                if text.bytes().any(|b| b.is_ascii_uppercase()) { Err(expected) } else { Ok(Self(bytes)) }
            }
        }

        impl Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                let mut digits = [0u8; 2 * $len];
                hex::encode_to_slice(self.0, &mut digits).map_err(serde::ser::Error::custom)?;
                serializer.serialize_str(std::str::from_utf8(&digits).map_err(serde::ser::Error::custom)?)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                from_text(deserializer)
            }
        }
    };
}

hex_bytes!(
    /// A SHA-256.
    Hash, 32, "64 lower-case hexadecimal digits"
);
hex_bytes!(
    /// An Ed25519 public key in its 32-byte form (RFC 8032), or an X25519 one where said.
    PublicKey, 32, "64 lower-case hexadecimal digits"
);
hex_bytes!(
    /// An Ed25519 signature.
    Signature, 64, "128 lower-case hexadecimal digits"
);
hex_bytes!(
    /// The first 16 bytes of the SHA-256 of a public key.
    KeyId, 16, "32 lower-case hexadecimal digits"
);
hex_bytes!(
    /// The random half of an epoch.
    EpochId, 16, "32 lower-case hexadecimal digits"
);

impl Hash {
    /// 64 zeros: what stands where there is nothing before.
    pub const ZERO: Self = Self([0; 32]);

    /// The SHA-256 of `bytes`.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        use sha2::Digest as _;
        Self(sha2::Sha256::digest(bytes).into())
    }

    /// The SHA-256 of `parts`, one after the other.
    #[must_use]
    pub fn of_parts(parts: &[&[u8]]) -> Self {
        use sha2::Digest as _;
        let mut digest = sha2::Sha256::new();
        for part in parts {
            digest.update(part);
        }
        Self(digest.finalize().into())
    }
}

impl PublicKey {
    /// The key id (PROTOCOL §9.1).
    #[must_use]
    pub fn key_id(&self) -> KeyId {
        let hash = Hash::of(&self.0);
        let mut id = [0u8; 16];
        id.copy_from_slice(hash.0.split_at(16).0);
        KeyId(id)
    }

    /// SHA-256 of the 32 bytes: for a tenant's root key, the fingerprint that a site prints in its own
    /// qualification record.
    #[must_use]
    pub fn fingerprint(&self) -> Hash {
        Hash::of(&self.0)
    }
}

/// One uninterrupted run of a station's chain. A new one is opened after rollback, loss or doubt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Epoch {
    /// Counts from 1.
    pub n: u64,
    /// Tells two epochs with the same count apart.
    pub id: EpochId,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn upper_case_and_wrong_lengths_are_no_ids() {
        assert!("00112233445566778899aabbccddeeff".parse::<KeyId>().is_ok());
        assert!("00112233445566778899AABBCCDDEEFF".parse::<KeyId>().is_err(), "upper case");
        assert!("0011".parse::<KeyId>().is_err(), "too short");
        assert!("0198f3a0-1111-7abc-8abc-0123456789ab".parse::<StationId>().is_ok());
        assert!("0198F3A0-1111-7abc-8abc-0123456789ab".parse::<StationId>().is_err(), "upper case");
        assert!("0198f3a011117abc8abc0123456789ab".parse::<StationId>().is_err(), "no hyphens");
        let json = "\"0198F3A0-1111-7abc-8abc-0123456789ab\"";
        assert!(serde_json::from_str::<StationId>(json).is_err(), "upper case in JSON");
    }

    #[test]
    fn an_id_made_from_parts_is_a_version_7_uuid_of_its_time() {
        let id = OperationId::from_parts(1_700_000_000_000, &[0xff; 10]);
        assert_eq!(id.0.get_version_num(), 7);
        assert!(id.to_string().starts_with("018bcfe5-6800-7"), "{id}");
    }
}
