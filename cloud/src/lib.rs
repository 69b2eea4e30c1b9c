//! The reference cloud API: signed requests in, append-only rows behind row-level security, signed answers out.
//!
//! The flow of a request: [`routes`] names it, [`request`] reads it (digest over the bytes as sent, then the
//! signed parts, then the [`nonce`]), and [`gate`] lets it pass: one transaction for one tenant, in which the
//! caller is authenticated and authorised, the work is done ([`enrol`], [`head`], [`push`], [`feed`]), an audit
//! row is written and everything is committed before anything is answered. [`heartbeat`], [`evidence`], [`rotate`]
//! and [`retire`] look after a station; [`mod@time`] is the one route for anybody. [`push`] is `domain::ledger` over
//! [`store`], in two passages: the second ([`mod@log`]) gives what waits its log indexes. The program's own commands ([`tenant`], [`token`], [`mod@reference`], [`stations`],
//! [`export`], [`import`], [`recovered`], [`admit`]) pass the same gate. [`migrate`]
//! makes the schema, [`startup`] refuses to work where row-level security would not hold or under another master
//! key, [`server`] listens.
//!
//! # Invariants
//! - Nothing of one tenant is visible to another, whatever the connection carried before
//!   (`tests/tests/isolation.rs`).
//! - Entries, leaves, receipts, pages and audit rows are never changed, by no role
//!   (`isolation::every_append_only_table_refuses_every_role`).
//! - No route passes without signature or token but the signed time, which can change nothing, and none changes
//!   anything without its audit row (`tests/tests/gate.rs`).
//! - The store decides nothing: it gives the rows that the store in memory gives (`tests/tests/ledger_stores.rs`).
//! - What a crash leaves between the two halves of a push is finished by whoever comes next
//!   (`ledger_stores::what_a_crash_left_waiting_is_numbered_by_whoever_pushes_next`).
//! - No station keeps the connections of the others
//!   (`gate::turns::a_station_that_waits_for_its_turn_is_busy_and_stops_nobody_else`).
//! - The cloud does not start where the first two would not hold
//!   (`isolation::weakened::the_cloud_does_not_start_on_a_schema_that_was_weakened_or_is_newer`).
//! - Every reply carries a nonce (`gate::every_reply_carries_a_nonce`).

pub mod admit;
pub mod certificates;
pub mod config;
pub mod crypto;
pub mod database;
pub mod enrol;
pub mod error;
pub mod evidence;
pub mod export;
pub mod feed;
pub mod gate;
pub mod head;
pub mod heartbeat;
pub mod import;
pub mod keys;
pub mod log;
pub mod migrate;
pub mod nonce;
pub mod push;
pub mod recovered;
pub mod reference;
pub mod request;
pub mod retire;
pub mod rotate;
pub mod routes;
pub mod server;
pub mod session;
pub mod startup;
pub mod stations;
pub mod store;
pub mod tenant;
pub mod time;
pub mod token;

use crypto::MasterKey;
use deadpool_postgres::Pool;
use gate::in_flight::InFlight;
use log::arrivals::Arrivals;
use lotgate_domain::time::Timestamp;
use nonce::NonceKeys;
use std::sync::Arc;

/// Where the cloud takes its time from.
pub type Clock = Arc<dyn Fn() -> Timestamp + Send + Sync>;

/// What a cloud works with, once read from its configuration.
pub struct Settings {
    /// Database, as the app role.
    pub database_url: String,
    /// Most connections to it.
    pub connections: usize,
    /// Seals the tenants' private keys.
    pub master: MasterKey,
    /// Make and check challenge nonces.
    pub nonces: NonceKeys,
    /// How far back the database may be restored, in seconds.
    pub restore_window_s: u64,
    /// The time.
    pub clock: Clock,
}

/// The cloud: a pool of connections and the keys. What it counts is its own load, so any number may run at once.
pub struct Cloud {
    pub(crate) pool: Pool,
    pub(crate) master: MasterKey,
    pub(crate) nonces: NonceKeys,
    pub(crate) restore_window_s: u64,
    pub(crate) clock: Clock,
    pub(crate) in_flight: InFlight,
    pub(crate) arrivals: Arrivals,
    pub(crate) open_route: time::limit::Limit,
}

impl Cloud {
    /// Connects, and checks that the database is fit to be served from.
    ///
    /// # Errors
    /// [`startup::StartupError`].
    pub async fn open(settings: Settings) -> Result<Arc<Self>, startup::StartupError> {
        let pool = database::pool(&settings.database_url, settings.connections)?;
        let client = pool.get().await.map_err(startup::StartupError::Unreachable)?;
        startup::check(&**client).await?;
        startup::check_master_key(&**client, &settings.master).await?;
        drop(client);
        Ok(Arc::new(Self {
            pool,
            master: settings.master,
            nonces: settings.nonces,
            restore_window_s: settings.restore_window_s,
            clock: settings.clock,
            in_flight: InFlight::default(),
            arrivals: Arrivals::default(),
            open_route: time::limit::Limit::default(),
        }))
    }

    /// The cloud's time now.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        (self.clock)()
    }

    /// The connections, for those who look on.
    #[must_use]
    pub fn pool(&self) -> &Pool {
        &self.pool
    }

    /// The keys of its challenge nonces.
    #[must_use]
    pub fn nonces(&self) -> &NonceKeys {
        &self.nonces
    }
}

impl std::fmt::Debug for Cloud {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Cloud").finish_non_exhaustive()
    }
}

/// The machine's clock.
#[must_use]
pub fn system_clock() -> Clock {
    Arc::new(|| database::from_system_time(std::time::SystemTime::now()))
}
