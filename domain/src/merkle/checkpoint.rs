//! Checkpoints: the signed head of the tenant's log as a C2SP tlog-checkpoint, a signed note of three lines
//! (PROTOCOL §9.17).

use super::proof::TreeHead;
use crate::ids::{Hash, PublicKey, Signature, TenantId};
use crate::signature::{KeyPair, verify_bytes};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// The note's signature type for Ed25519.
const ED25519: u8 = 0x01;
/// What a note's signature lines begin with.
const SIGNATURE_LINE: &str = "\u{2014} ";
/// More than the largest checkpoint with one signature.
const MAX_NOTE: usize = 1_024;

/// Which log, and how it stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Checkpoint {
    /// Whose log.
    pub tenant: TenantId,
    /// 1, and one more after each restore of the cloud (PROTOCOL §4, Recovery).
    pub generation: u64,
    /// Size and root.
    pub head: TreeHead,
}

/// Why a text is not a checkpoint of this tenant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CheckpointError {
    /// Not a signed note of three lines with one signature of its origin.
    #[error("checkpoint is not as specified")]
    Form,
    /// The checkpoint of another log.
    #[error("checkpoint of another log")]
    Foreign,
    /// The signature does not verify.
    #[error("checkpoint's signature does not verify")]
    Signature,
}

impl Checkpoint {
    /// Name of the log and of its key.
    #[must_use]
    pub fn origin(&self) -> String {
        format!("lotgate/{}/{}", self.tenant, self.generation)
    }

    fn text(&self) -> String {
        format!("{}\n{}\n{}\n", self.origin(), self.head.size, STANDARD.encode(self.head.root.0))
    }

    /// The signed note.
    #[must_use]
    pub fn sign(&self, log: &KeyPair) -> String {
        sign_note(&self.text(), &self.origin(), log)
    }

    /// Reads a note that is signed by the tenant's log key.
    ///
    /// # Errors
    /// [`CheckpointError`].
    pub fn read(note: &str, tenant: TenantId, log: &PublicKey) -> Result<Self, CheckpointError> {
        let (checkpoint, key, signature) = parse(note).ok_or(CheckpointError::Form)?;
        if checkpoint.tenant != tenant || key != key_hash(&checkpoint.origin(), log) {
            return Err(CheckpointError::Foreign);
        }
        verify_bytes(log, checkpoint.text().as_bytes(), &signature)
            .map_err(|_| CheckpointError::Signature)?;
        Ok(checkpoint)
    }
}

/// The text with one signature of `name`.
fn sign_note(text: &str, name: &str, keys: &KeyPair) -> String {
    let signature = keys.sign_bytes(text.as_bytes());
    let blob = [key_hash(name, &keys.public()).as_slice(), signature.as_bytes()].concat();
    format!("{text}\n{SIGNATURE_LINE}{name} {}\n", STANDARD.encode(blob))
}

/// Key id of a note: the first 4 bytes of SHA-256(name ‖ 0x0A ‖ type ‖ key).
fn key_hash(name: &str, key: &PublicKey) -> [u8; 4] {
    let hash = Hash::of_parts(&[name.as_bytes(), b"\n", &[ED25519], key.as_bytes()]);
    let [a, b, c, d, ..] = hash.0;
    [a, b, c, d]
}

/// What the note says, whose key it names, and its signature. There is one way to write each note.
fn parse(note: &str) -> Option<(Checkpoint, [u8; 4], Signature)> {
    if note.len() > MAX_NOTE {
        return None;
    }
    let (text, signatures) = note.split_once("\n\n")?;
    let mut lines = text.split('\n');
    let (origin, size, root) = (lines.next()?, lines.next()?, lines.next()?);
    let mut names = origin.split('/');
    let (product, tenant, generation) = (names.next()?, names.next()?, names.next()?);
    let root = Hash::from_slice(&STANDARD.decode(root).ok()?).ok()?;
    let checkpoint = Checkpoint {
        tenant: tenant.parse().ok()?,
        generation: generation.parse().ok()?,
        head: TreeHead { size: size.parse().ok()?, root },
    };
    // Written again it must be the same text: no sign, no leading zero, no fourth line, no other base64.
    if product != "lotgate" || checkpoint.generation == 0 || format!("{text}\n") != checkpoint.text() {
        return None;
    }
    let line = signatures.strip_suffix('\n')?.strip_prefix(SIGNATURE_LINE)?;
    let (name, blob) = line.split_once(' ')?;
    let blob = STANDARD.decode(blob).ok()?;
    let (key, signature) = blob.split_first_chunk::<4>()?;
    (name == origin).then_some((checkpoint, *key, Signature::from_slice(signature).ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_note_is_signed_as_other_programs_sign_it() {
        // The example of Go's package for signed notes, which the specification took over.
        let key = STANDARD.decode("AYEKFALVFGyNhPJEMzD1QIDr+Y7hfZx09iUvxdXHKDFz").unwrap();
        let seed: &[u8; 32] = key[1..].try_into().unwrap();
        let keys = KeyPair::from_seed(seed);
        assert_eq!(hex::encode(key_hash("PeterNeumann", &keys.public())), "c74f20a3");
        let text = "If you think cryptography is the answer to your problem,\n\
                    then you don't know what your problem is.\n";
        let signature =
            "x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=";
        let note = format!("{text}\n\u{2014} PeterNeumann {signature}\n");
        assert_eq!(sign_note(text, "PeterNeumann", &keys), note);
    }
}
