//! Entries alone: signature and form, on every core. What an entry says of others is for [`crate::chain`].

use lotgate_domain::certificate::Certificate;
use lotgate_domain::entry::Frame;
use lotgate_domain::epoch::EpochReason;
use lotgate_domain::ids::{Epoch, Hash, KeyId, SiteId, StationId, TenantId};
use lotgate_domain::merkle::proof::TreeHead;
use lotgate_domain::operation::body::Body;
use lotgate_domain::operation::{self, Content, Header};
use lotgate_domain::signature::{BadSignature, Context, PreparedKey};
use lotgate_domain::statement::Signed;

/// A key of a station, ready to check with.
#[derive(Debug)]
pub struct StationKey {
    /// Its id.
    pub id: KeyId,
    /// The key.
    pub key: PreparedKey,
    /// Hash of its certificate.
    pub certificate: Hash,
}

/// A station whose entries are in the export.
#[derive(Debug)]
pub struct Station {
    /// Whose.
    pub tenant: TenantId,
    /// Which.
    pub id: StationId,
    /// Where.
    pub site: Option<SiteId>,
    /// Its keys, the first one's first.
    pub keys: Vec<StationKey>,
}

impl Station {
    /// The station of these certificates; a key that can verify nothing is left out.
    #[must_use]
    pub fn new(tenant: TenantId, id: StationId, certificates: &[Signed<Certificate>]) -> Self {
        let keys = certificates.iter().filter_map(|certificate| {
            let key = &certificate.value.public_key;
            Some(StationKey {
                id: key.key_id(),
                key: PreparedKey::new(key).ok()?,
                certificate: certificate.hash,
            })
        });
        let site = certificates.last().and_then(|certificate| certificate.value.subject.site);
        Self { tenant, id, site, keys: keys.collect() }
    }
}

/// What is wrong with an entry by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wrong {
    /// The signature.
    Signature,
    /// The form, or whom it names.
    Form,
}

/// What is needed of an entry after it was checked by itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// Its hash.
    pub hash: Hash,
    /// Its head members.
    pub header: Header,
    /// The log that it quotes.
    pub log: Option<TreeHead>,
    /// The reference data that it quotes: cursor and hash.
    pub data: Option<(u64, Hash)>,
    /// The label that it queues: the hash of its bytes.
    pub label: Option<Hash>,
    /// It opens an epoch that nobody confirmed.
    pub unconfirmed: bool,
    /// Its type or version is not known here.
    pub unknown: bool,
}

/// An entry, with what is wrong with it.
#[derive(Debug)]
pub struct Checked {
    /// Its hash.
    pub hash: Hash,
    /// What it says, or what is wrong.
    pub entry: Result<Seen, Wrong>,
}

/// Checks entries on every core; the answers are in the order of the frames.
#[must_use]
pub fn check(frames: &[Frame<'_>], station: &Station) -> Vec<Checked> {
    const WORTH_A_THREAD: usize = 64;
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let share = frames.len().div_ceil(cores).max(WORTH_A_THREAD);
    let check = |share: &[Frame<'_>]| check_share(share, station);
    std::thread::scope(|scope| {
        let threads: Vec<_> = frames.chunks(share).map(|share| scope.spawn(move || check(share))).collect();
        threads.into_iter().flat_map(|thread| thread.join().unwrap_or_default()).collect()
    })
}

/// An epoch has one key, so the one that signed the last entry is tried first on all of a share.
fn check_share(frames: &[Frame<'_>], station: &Station) -> Vec<Checked> {
    let signs = |key: &&StationKey| {
        frames.last().is_some_and(|frame| frame.verify_prepared(&key.key, Context::Operation).is_ok())
    };
    let Some(likely) = station.keys.iter().find(signs).or(station.keys.first()) else {
        return frames
            .iter()
            .map(|frame| Checked { hash: frame.hash(), entry: Err(Wrong::Signature) })
            .collect();
    };
    let signed = Frame::verify_each(frames, &likely.key, Context::Operation);
    let check = |(frame, signed): (&Frame<'_>, Result<(), BadSignature>)| {
        let signer = match signed {
            Ok(()) => Some(likely),
            Err(BadSignature) => {
                station.keys.iter().find(|key| frame.verify_prepared(&key.key, Context::Operation).is_ok())
            }
        };
        check_one(frame, station, signer)
    };
    frames.iter().zip(signed).map(check).collect()
}

fn check_one(frame: &Frame<'_>, station: &Station, signer: Option<&StationKey>) -> Checked {
    let hash = frame.hash();
    let Some(signer) = signer else { return Checked { hash, entry: Err(Wrong::Signature) } };
    let Ok(read) = operation::read(frame) else { return Checked { hash, entry: Err(Wrong::Form) } };
    let header = read.header;
    let ours = header.tenant == station.tenant && header.station == station.id && header.key == signer.id;
    if !ours || read.content.site().is_some_and(|site| Some(site) != station.site) {
        return Checked { hash, entry: Err(Wrong::Form) };
    }
    let knew = match &read.content {
        Content::Known(operation) => operation.knew.as_ref(),
        Content::Body(..) | Content::LaterVersion => None,
    };
    let (unconfirmed, label) = match &read.content {
        Content::Known(operation) => match &operation.body {
            Body::EpochOpened { reason, .. } => {
                (!EpochReason::parse(reason).is_some_and(EpochReason::is_planned), None)
            }
            Body::LabelQueued(label) => (false, Some(label.sha256)),
            _ => (false, None),
        },
        Content::Body(..) | Content::LaterVersion => (false, None),
    };
    let seen = Seen {
        hash,
        log: knew.and_then(|knew| knew.log),
        data: knew.map(|knew| (knew.snapshot, knew.hash)),
        label,
        unconfirmed,
        unknown: !matches!(read.content, Content::Known(_)),
        header,
    };
    Checked { hash, entry: Ok(seen) }
}

/// Where an entry says that it stands.
#[must_use]
pub const fn place(header: &Header) -> (Epoch, u64) {
    (header.epoch, header.seq)
}
