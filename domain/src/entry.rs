//! The frame around signed JSON: one form for operations and for the cloud's statements (PROTOCOL §9.2, §9.7).
//!
//! u32 big-endian n ‖ n bytes of JSON ‖ 64 bytes signature.

use crate::ids::{Hash, PublicKey, Signature};
use crate::signature::{BadSignature, Context, KeyPair, PreparedKey, verify};

/// The largest frame, prefix and signature included: 32 KiB.
pub const MAX_FRAME: usize = 32_768;

const PREFIX: usize = 4;
const SIGNATURE: usize = 64;

/// Why bytes are not a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// Fewer bytes than the prefix announces.
    #[error("cut short")]
    Short,
    /// More than [`MAX_FRAME`].
    #[error("longer than 32 KiB")]
    Long,
    /// Bytes after the end of the frame.
    #[error("bytes left over")]
    LeftOver,
}

/// A signed frame, borrowed from the bytes that it was read from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Frame<'a> {
    bytes: &'a [u8],
    json: &'a [u8],
    signature: Signature,
}

impl<'a> Frame<'a> {
    /// Takes the first frame off `bytes`; returns it and the rest.
    ///
    /// # Errors
    /// [`FrameError::Short`], [`FrameError::Long`].
    pub fn split_first(bytes: &'a [u8]) -> Result<(Self, &'a [u8]), FrameError> {
        let (prefix, after) = bytes.split_first_chunk::<PREFIX>().ok_or(FrameError::Short)?;
        let len = usize::try_from(u32::from_be_bytes(*prefix)).map_err(|_| FrameError::Long)?;
        let whole = len.checked_add(PREFIX + SIGNATURE).ok_or(FrameError::Long)?;
        if whole > MAX_FRAME {
            return Err(FrameError::Long);
        }
        let (json, after) = after.split_at_checked(len).ok_or(FrameError::Short)?;
        let (signature, rest) = after.split_first_chunk::<SIGNATURE>().ok_or(FrameError::Short)?;
        let (bytes, _) = bytes.split_at_checked(whole).ok_or(FrameError::Short)?;
        Ok((Self { bytes, json, signature: Signature(*signature) }, rest))
    }

    /// Reads bytes that are one frame and nothing else.
    ///
    /// # Errors
    /// Every [`FrameError`].
    pub fn read(bytes: &'a [u8]) -> Result<Self, FrameError> {
        match Self::split_first(bytes)? {
            (frame, []) => Ok(frame),
            _ => Err(FrameError::LeftOver),
        }
    }

    /// All bytes of the frame, as they were read.
    #[must_use]
    pub fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// The JSON that is signed.
    #[must_use]
    pub fn json(&self) -> &'a [u8] {
        self.json
    }

    /// The signature.
    #[must_use]
    pub fn signature(&self) -> &Signature {
        &self.signature
    }

    /// SHA-256(0x00 ‖ frame): link of the chain and RFC 6962 leaf hash in one.
    #[must_use]
    pub fn hash(&self) -> Hash {
        hash(self.bytes)
    }

    /// Checks the signature.
    ///
    /// # Errors
    /// [`BadSignature`].
    pub fn verify(&self, key: &PublicKey, context: Context) -> Result<(), BadSignature> {
        verify(key, context, self.json, &self.signature)
    }

    /// Checks the signature with a key that many frames are checked with.
    ///
    /// # Errors
    /// [`BadSignature`].
    pub fn verify_prepared(&self, key: &PreparedKey, context: Context) -> Result<(), BadSignature> {
        key.verify(context, self.json, &self.signature)
    }

    /// Checks the signatures of many frames by one key; the answers stand in their order. Cheaper than one by
    /// one.
    #[must_use]
    pub fn verify_each(
        frames: &[Self],
        key: &PreparedKey,
        context: Context,
    ) -> Vec<Result<(), BadSignature>> {
        key.verify_each(context, frames.iter().map(|frame| (frame.json, &frame.signature)))
    }
}

/// The hash of a whole frame: SHA-256(0x00 ‖ bytes).
#[must_use]
pub fn hash(frame: &[u8]) -> Hash {
    Hash::of_parts(&[&[0], frame])
}

/// Signs `json` and frames it.
///
/// # Errors
/// [`FrameError::Long`].
pub fn sign(json: &[u8], context: Context, keys: &KeyPair) -> Result<Vec<u8>, FrameError> {
    let whole = json.len().saturating_add(PREFIX + SIGNATURE);
    if whole > MAX_FRAME {
        return Err(FrameError::Long);
    }
    let len = u32::try_from(json.len()).map_err(|_| FrameError::Long)?;
    let mut bytes = Vec::with_capacity(whole);
    bytes.extend_from_slice(&len.to_be_bytes());
    bytes.extend_from_slice(json);
    bytes.extend_from_slice(keys.sign(context, json).as_bytes());
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys() -> KeyPair {
        KeyPair::from_seed(&[7; 32])
    }

    #[test]
    fn a_frame_keeps_its_bytes() {
        let bytes = sign(b"{}", Context::Operation, &keys()).unwrap();
        let frame = Frame::read(&bytes).unwrap();
        assert_eq!(frame.bytes(), bytes);
        assert_eq!(frame.json(), b"{}");
        assert_eq!(frame.verify(&keys().public(), Context::Operation), Ok(()));
        assert_eq!(frame.hash(), hash(&bytes));
    }

    #[test]
    fn a_signature_of_one_context_does_not_hold_in_another() {
        let bytes = sign(b"{}", Context::Operation, &keys()).unwrap();
        let frame = Frame::read(&bytes).unwrap();
        for context in Context::ALL.into_iter().filter(|c| *c != Context::Operation) {
            assert!(frame.verify(&keys().public(), context).is_err(), "{context:?}");
        }
    }

    #[test]
    fn cut_long_and_left_over_bytes_are_told_apart() {
        let bytes = sign(b"{}", Context::Operation, &keys()).unwrap();
        for end in 0..bytes.len() {
            assert_eq!(Frame::read(&bytes[..end]), Err(FrameError::Short), "{end} bytes");
        }
        let mut more = bytes.clone();
        more.push(0);
        assert_eq!(Frame::read(&more), Err(FrameError::LeftOver));
        assert_eq!(Frame::read(&[0xff; 70]), Err(FrameError::Long));
        assert_eq!(sign(&vec![b' '; MAX_FRAME], Context::Operation, &keys()), Err(FrameError::Long));
    }
}
