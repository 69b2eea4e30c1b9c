//! `lotgate-cloud station admit`: a station whose certificates the cloud lost, because its database was restored to
//! before they were issued.
//!
//! The station itself cannot ask: the cloud does not know the key that it signs with. Somebody brings its
//! certificates instead. The tenant's issuer signed them, and that alone is what admits the station.

use crate::certificates::{self, Issued};
use crate::database::to_system_time;
use crate::enrol::read_site;
use crate::error::Rejection;
use crate::gate::audit::Change;
use crate::gate::{Access, Passage, Work};
use crate::log;
use crate::rotate::rotated;
use crate::store::PgStore;
use lotgate_domain::certificate::{self, Certificate, KeyUse, SubjectType, Trust};
use lotgate_domain::entry::Frame;
use lotgate_domain::ids::{CertificateSerial, Hash, SiteId, StationId};
use lotgate_domain::protocol::HexBytes;
use lotgate_domain::signature::KeyPair;
use lotgate_domain::statement;
use serde::{Deserialize, Serialize};
use serde_json::json;
use uuid::Uuid;

/// What the station said at its enrolment, and nobody knows any more.
const LOST: &str = "unknown";

/// Admits a station by its certificates.
#[derive(Debug)]
pub struct Admit {
    /// A file of a station: `certificates.bin` of an export of its queue (frames back to back), or `identity.json`
    /// of its secure directory. What is no certificate of a station is passed over.
    pub file: Vec<u8>,
}

/// What was admitted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Admitted {
    /// The station.
    pub station: StationId,
    /// Its certificates that the cloud did not hold, in order; none where it held all of them.
    pub admitted: Vec<CertificateSerial>,
    /// Whether it did not know the station at all; its name is then its id.
    pub enrolled: bool,
}

impl Work for Admit {
    type Reply = Admitted;
    const ACTION: &'static str = "station.admitted";
    const ACCESS: Access = Access::Program;

    async fn run(self, passage: &Passage<'_>) -> Result<(Admitted, Change), Rejection> {
        let frames = read_file(&self.file)?;
        let trust = trust(passage).await?;
        let station = only_station(&trust, &frames)?;
        let chain: Vec<Issued> = certificate::of_station(&trust, &frames, station)
            .into_iter()
            .map(|signed| Issued { certificate: signed.value, hash: signed.hash, bytes: signed.bytes })
            .collect();
        check_chain(&chain)?;
        PgStore::of(passage).wait_for_station(station).await?;
        let held = held(passage, station).await?;
        let (known, missing) = chain.split_at_checked(held.len()).ok_or(Rejection::BadRequest(OTHER_KEYS))?;
        if known.iter().zip(&held).any(|(known, held)| known.certificate.serial != *held) {
            return Err(Rejection::BadRequest(OTHER_KEYS));
        }
        if let (true, Some(first)) = (held.is_empty(), missing.first()) {
            insert_station(passage, station, &first.certificate).await?;
        }
        let statement_key = certificates::tenant_key(passage, KeyUse::Statement).await?;
        keep(passage, &statement_key, station, missing).await?;
        let admitted: Vec<_> = missing.iter().map(|issued| issued.certificate.serial).collect();
        let enrolled = held.is_empty();
        let prior: Option<Hash> = known.last().map(|issued| issued.hash);
        let change = Change {
            enrolled: None,
            detail: json!({"station": station, "certificates": admitted, "enrolled": enrolled}),
            prior,
            next: chain.last().map(|issued| issued.hash),
        };
        Ok((Admitted { station, admitted, enrolled }, change))
    }
}

const OTHER_KEYS: &str = "the cloud holds a key of this station that the file does not have";

/// What is read of a station's `identity.json`.
#[derive(Deserialize)]
struct Identity {
    certificates: Vec<HexBytes>,
}

fn read_file(bytes: &[u8]) -> Result<Vec<Vec<u8>>, Rejection> {
    let unreadable = Rejection::BadRequest("the file holds no certificates of a station");
    // The length before a frame begins with a zero.
    if bytes.starts_with(b"{") {
        let identity: Identity = serde_json::from_slice(bytes).map_err(|_| unreadable)?;
        return Ok(identity.certificates.into_iter().map(|frame| frame.0).collect());
    }
    let (mut frames, mut rest) = (Vec::new(), bytes);
    while !rest.is_empty() {
        let Ok((frame, left)) = Frame::split_first(rest) else { return Err(unreadable) };
        frames.push(frame.bytes().to_vec());
        rest = left;
    }
    Ok(frames)
}

/// The tenant's keys, from its root's fingerprint down.
async fn trust(passage: &Passage<'_>) -> Result<Trust, Rejection> {
    let row = passage.transaction.query_opt("SELECT root_fingerprint FROM tenant", &[]).await?;
    let row = row.ok_or(Rejection::Missing("tenant with this id"))?;
    let damaged = Rejection::Stored("the tenant's certificates do not verify");
    let Ok(fingerprint) = Hash::from_slice(row.try_get(0)?) else { return Err(damaged) };
    let own = certificates::tenant_certificates(passage).await?;
    Trust::establish(passage.tenant, fingerprint, &own).map_err(|_| damaged)
}

fn only_station(trust: &Trust, frames: &[Vec<u8>]) -> Result<StationId, Rejection> {
    let subject = |bytes: &Vec<u8>| {
        let signed = statement::read::<Certificate>(bytes, trust.tenant, &trust.issuer).ok()?;
        let subject = signed.value.subject;
        (subject.kind == SubjectType::Station).then(|| subject.id.parse::<StationId>().ok())?
    };
    let mut stations: Vec<StationId> = frames.iter().filter_map(subject).collect();
    stations.sort();
    stations.dedup();
    match stations.as_slice() {
        [station] => Ok(*station),
        [] => Err(Rejection::BadRequest("no certificate of a station that this tenant's issuer signed")),
        _ => Err(Rejection::BadRequest("certificates of more than one station")),
    }
}

/// Each certificate replaces the one before, from the first on: none is missing in between.
fn check_chain(chain: &[Issued]) -> Result<(), Rejection> {
    let before = std::iter::once(None).chain(chain.iter().map(|issued| Some(issued.certificate.serial)));
    if chain.is_empty()
        || chain.iter().zip(before).any(|(issued, before)| issued.certificate.previous != before)
    {
        return Err(Rejection::BadRequest("a certificate of the station is missing in the file"));
    }
    Ok(())
}

async fn held(passage: &Passage<'_>, station: StationId) -> Result<Vec<CertificateSerial>, Rejection> {
    let query = "SELECT certificate_serial FROM station_key WHERE station_id = $1 ORDER BY number";
    let rows = passage.transaction.query(query, &[&station.0]).await?;
    rows.iter().map(|row| Ok(CertificateSerial(row.try_get::<_, Uuid>(0)?))).collect()
}

async fn insert_station(
    passage: &Passage<'_>,
    station: StationId,
    first: &Certificate,
) -> Result<(), Rejection> {
    let site: SiteId = first.subject.site.ok_or(Rejection::BadRequest("the certificate names no site"))?;
    read_site(passage, site).await?;
    let insert = "INSERT INTO station
            (tenant_id, station_id, site_id, name, training, program, key_protection, enrolled_at)
        VALUES ($1, $2, $3, $4, $5, $6, $6, $7)";
    let name = station.to_string();
    let parameters: [&(dyn tokio_postgres::types::ToSql + Sync); 7] = [
        &passage.tenant.0,
        &station.0,
        &site.0,
        &name,
        &first.training,
        &LOST,
        &to_system_time(first.issued_at),
    ];
    passage.transaction.execute(insert, &parameters).await?;
    Ok(())
}

/// Keeps certificates as the station's newest keys and as leaves of the log, as if they were issued now.
async fn keep(
    passage: &Passage<'_>,
    statement_key: &KeyPair,
    station: StationId,
    missing: &[Issued],
) -> Result<(), Rejection> {
    let mut leaves = Vec::new();
    for issued in missing {
        certificates::insert(passage, issued).await?;
        certificates::insert_station_key(passage, station, issued).await?;
        leaves.push(issued.leaf());
        if let Some(previous) = issued.certificate.previous {
            leaves.push(rotated(statement_key, station, previous, &issued.certificate)?);
        }
    }
    if !leaves.is_empty() {
        log::append(passage, leaves).await?;
    }
    Ok(())
}
