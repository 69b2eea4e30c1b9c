//! Row 5: the cloud's side alone, in this process, without HTTP; against bare strict verification on every core and
//! COPY of the same rows into a bare table.

use crate::{bare_verification, cores, met};
use anyhow::{Context as _, Result};
use lotgate_cloud::crypto::MasterKey;
use lotgate_cloud::gate::{self, Caller};
use lotgate_cloud::nonce::NonceKeys;
use lotgate_cloud::push::{self, Push};
use lotgate_cloud::reference::ImportReference;
use lotgate_cloud::session::Session;
use lotgate_cloud::tenant::CreateTenant;
use lotgate_cloud::token::MakeToken;
use lotgate_cloud::{Cloud, Settings, migrate};
use lotgate_domain::entry;
use lotgate_domain::ids::TenantId;
use lotgate_domain::signature::KeyPair;
use lotgate_tests::postgres::TestDatabase;
use lotgate_tests::station_keys::{StationKeys, at, enrol};
use serde_json::json;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio_postgres::NoTls;
use tokio_postgres::binary_copy::BinaryCopyInWriter;
use tokio_postgres::types::Type;

const OPERATIONS: usize = 9_900;
/// As many of these as fit 1 MiB.
const BATCH: usize = 900;

pub(crate) async fn row() -> Result<()> {
    let database = TestDatabase::create("bench_cloud")?;
    migrate::run(&database.owner_url).await?;
    let settings = Settings {
        database_url: database.app_url.clone(),
        connections: 6,
        master: MasterKey::new([1; 32]),
        nonces: NonceKeys::new([2; 32], None),
        restore_window_s: 7,
        clock: Arc::new(|| at(0)),
    };
    let cloud = Cloud::open(settings).await?;
    let mut station = enrolled(&cloud).await?;
    station.append_enrolled();
    while station.entries.len() < OPERATIONS {
        station.append_scan("API-100", "L-0001");
    }
    let bare = bare(&database, &station).await?;
    let start = Instant::now();
    for from in (0..OPERATIONS).step_by(BATCH) {
        let caller = Caller::Station { tenant: station.tenant, station: station.id };
        let reply = push::push(&cloud, &caller, Push::Read(station.push(from, from + BATCH))).await?;
        anyhow::ensure!(reply.accepted_through.seq as usize == from + BATCH, "not taken whole");
    }
    let ours = start.elapsed();
    let part = 100.0 * bare.as_secs_f64() / ours.as_secs_f64();
    println!(
        "5  cloud side alone, {OPERATIONS} operations, batches of {BATCH}: {ours:.2?} against bare strict verification on {} cores + COPY {bare:.2?}: {part:.0} %",
        cores()
    );
    println!("   gate 35 % {}   goal 60 % {}", met(part >= 35.0), met(part >= 60.0));
    Ok(())
}

async fn enrolled(cloud: &Arc<Cloud>) -> Result<StationKeys> {
    let tenant = TenantId::from_parts(1, &[1; 10]);
    let (root, recovery) = (KeyPair::from_seed(&[1; 32]), None);
    let create = CreateTenant {
        name: "Bench".into(),
        site: "Site".into(),
        zone: "Europe/Berlin".into(),
        root,
        recovery,
    };
    let site = gate::pass(cloud, &Caller::Program { tenant }, create).await?;
    let lots = json!({"items": [{"item": "API-100"}], "lots": [{"lot": "L-0001", "item": "API-100", "status": "released"}]});
    let import = ImportReference { site, file: serde_json::from_value(lots)? };
    gate::pass(cloud, &Caller::Program { tenant }, import).await?;
    let work = MakeToken { site, training: true, ttl_ms: 3_600_000 };
    let token = gate::pass(cloud, &Caller::Program { tenant }, work).await?.token;
    enrol(&Session::of_nobody(Arc::clone(cloud), None), &token, 1).await.context("enrolment")
}

/// The floor: each batch verified on every core, then copied.
async fn bare(database: &TestDatabase, station: &StationKeys) -> Result<Duration> {
    let (mut client, connection) = tokio_postgres::connect(&database.superuser_url, NoTls).await?;
    tokio::spawn(connection);
    client
        .batch_execute("CREATE TABLE bare (tenant uuid, station uuid, epoch bigint, seq bigint, hash bytea, bytes bytea)")
        .await?;
    let mut verifying = Duration::ZERO;
    let start = Instant::now();
    let mut seq = 0i64;
    for batch in station.entries.chunks(BATCH) {
        verifying += bare_verification(&batch.concat(), &station.keys.public(), cores())?;
        let transaction = client.transaction().await?;
        let sink = transaction.copy_in("COPY bare FROM STDIN BINARY").await?;
        let types = [Type::UUID, Type::UUID, Type::INT8, Type::INT8, Type::BYTEA, Type::BYTEA];
        let writer = BinaryCopyInWriter::new(sink, &types);
        let mut writer = std::pin::pin!(writer);
        for bytes in batch {
            seq += 1;
            let hash = entry::hash(bytes);
            writer
                .as_mut()
                .write(&[
                    &station.tenant.0,
                    &station.id.0,
                    &1i64,
                    &seq,
                    &hash.0.as_slice(),
                    &bytes.as_slice(),
                ])
                .await?;
        }
        writer.finish().await?;
        transaction.commit().await?;
    }
    let took = start.elapsed();
    println!(
        "   (bare: verification {verifying:.2?}, hashing and COPY {:.2?})",
        took.saturating_sub(verifying)
    );
    Ok(took)
}
